"""How fast hypergradients are beside TorchOpt, Betty, higher and a plain loop, at equal mathematics; prints Markdown.

Every library gets an environment of its own, made once under --environments, and computes the same hypergradients of
the same weights and batches. Each measurement is made in a process that does nothing else; the libraries take turns,
so that whatever else the machine does falls on all alike. Times are medians with quartiles, one thread; nothing here
asserts a time. Memory is the most that tensors made during one hypergradient hold at once. Errors are relative to a
plain loop in float64, the larger one of the two hyper-parameters; those in float32 are to be read beside what weights
moved by their own rounding do to the plain loop's answer, which is much where a ReLU flips.

    python benchmarks/hypergradient.py                  half an hour on one core, beside the installations
    python benchmarks/hypergradient.py --quick          a smoke test of a minute, without installations
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
import tyro

from hypergradient_problems import DAMPING, RATE, SCALE, Task, load_workload, save_workload
from measurement import Spread, describe_machine, markdown_table, time_in_turn

_ROOT = Path(__file__).parents[1]
_TASKS = (Task("cg", 5), Task("cg", 10), Task("neumann", 10), Task("unrolled", 1))
_REPEATS = {"resnet20": 1, "transformer": 1, "mlp": 5}
_RIGHT = 1e-6  # relative error in float64 from which an answer is another system's
_ROUNDING = 1e-7  # relative, of a weight in float32


@dataclass(frozen=True, kw_only=True)
class Library:
    """A way to compute hypergradients.

    Args:
        name: of its module here, without the prefix.
        title: what tables call it.
        requirements: what pip gets to make its environment; none where this one serves.
        kinds: what it can compute.
        note: how its products are taken, and what else a reader must know.
    """

    name: str
    title: str
    requirements: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("cg", "neumann", "unrolled")
    note: str


_AUXO = Library(
    name="auxo",
    title="auxo",
    note="one graph of the inner gradient for all products, with second derivatives of its own for convolutions and "
    "batch norm.",
)
_FORWARD = Library(
    name="auxo_forward",
    title="auxo, forward mode",
    kinds=("unrolled",),
    note="the same step without a second backward pass, for a loss written as weights times losses.",
)
_PLAIN = Library(
    name="plain",
    title="plain loop",
    note="forward and gradient made anew for every product, as the released BiSSL does in conjugate gradients (here "
    "with one step length for all tensors).",
)
_CONTROL = replace(_PLAIN, title=f"plain loop, weights moved by {_ROUNDING:.0e}")
_LIBRARIES = {
    "torchopt": Library(
        name="torchopt",
        title="TorchOpt 0.7.3",
        requirements=("torchopt==0.7.3",),
        note="custom_root with solve_cg or solve_inv(ns=True), damping by ridge, and MetaSGD; one graph for the "
        "products, another for the mixed product; one more product for the start at zero in conjugate gradients.",
    ),
    "betty": Library(
        name="betty",
        title="Betty 0.2.1",
        requirements=("--ignore-requires-python", "betty-ml==0.2.1"),
        note="damping as a proximal term in the inner loss; one graph for all products. Its conjugate gradients take "
        "the new direction from the residual of the iteration before, so no setting of them is right beyond one "
        "iteration. Its IterativeProblem, for unrolled steps, reads what it has removed while it is set up.",
    ),
    "higher": Library(
        name="higher",
        title="higher 0.2.1",
        requirements=("higher==0.2.1",),
        kinds=("unrolled",),
        note="unrolled steps only.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to measure."""

    problems: tuple[Literal["resnet20", "transformer", "mlp"], ...] = ("resnet20", "transformer", "mlp")
    """Inner problems, in order."""
    libraries: tuple[Literal["torchopt", "betty", "higher"], ...] = ("torchopt", "betty", "higher")
    """What to compare with, beside the plain loop."""
    environments: Path = _ROOT / "runs" / "benchmarks" / "venvs"
    """Folder of the libraries' environments; those that are missing are made."""
    rounds: int = 7
    """Measurements of every variant."""
    quick: bool = False
    """A smoke test: the smallest network with a small batch, one round, no library that would have to be installed."""


class LibraryError(RuntimeError):
    """A library's installation or process failed; the last line of what it printed."""


class Remote:
    """A :class:`hypergradient_server.Server` in a process of a library's own environment.

    Args:
        python: the environment's interpreter.
        library: whose hypergradient.
        path: of the problem.
        task: how it is computed.
    """

    def __init__(self, python: Path, library: Library, path: Path, task: Task) -> None:
        server = Path(__file__).with_name("hypergradient_server.py")
        with ExitStack() as stack:
            self._errors = stack.enter_context(tempfile.TemporaryFile("w+"))
            self._process = subprocess.Popen(
                [str(python), str(server), library.name, str(path), task.kind, str(task.count)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
            )
            self._stack = stack.pop_all()

    def call(self, method: str, *arguments: object) -> Any:  # whatever the method returns
        """Run a method of the server and return its result.

        Raises:
            LibraryError: the process died.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise LibraryError("the process has no pipes")
        try:
            print(json.dumps([method, *arguments]), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise LibraryError(self._last_line()) from None
        line = self._process.stdout.readline()
        if not line:
            raise LibraryError(self._last_line())
        return json.loads(line)

    def _last_line(self) -> str:
        """Return the last line of the error stream."""
        self._process.wait(timeout=60)
        self._errors.seek(0)
        return (self._errors.read().strip().splitlines() or [f"exit status {self._process.returncode}"])[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._stack.close()


def prepare_environment(library: Library, folder: Path) -> Path:
    """Return the interpreter that runs a library, installing it first where that has not been done.

    Raises:
        LibraryError: it cannot be installed.
    """
    if not library.requirements:
        return Path(sys.executable)
    home = folder / library.name
    python, stamp = home / "bin" / "python", home / "installed.txt"
    wanted = " ".join(library.requirements)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"installing {library.title}", file=sys.stderr, flush=True)
    constraint = ["--constraint", str(_ROOT / "requirements" / "core.txt")]
    install = [str(python), "-m", "pip", "install", "--quiet", *constraint, "torch", "numpy", *library.requirements]
    for command in ([sys.executable, "-m", "venv", str(home)], install):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise LibraryError(([*done.stderr.strip().splitlines()] or ["pip failed"])[-1])
    stamp.write_text(wanted, encoding="utf-8")
    return python


@dataclass(frozen=True)
class Finding:
    """What was measured of one library on one task.

    Args:
        times: seconds of a hypergradient, one per round; empty for the control.
        peak: bytes.
        error: relative, in float32.
        error64: relative, in float64.
        failure: why there are none; empty if there are.
    """

    times: Sequence[float] = ()
    peak: int = 0
    error: float | None = None
    error64: float = 0.0
    failure: str = ""

    def cells(self, base: "Finding") -> list[str]:
        """Return the table's cells, time and memory also in multiples of another finding's."""
        cells = [""] * 4
        if self.times:
            spread = Spread.of(self.times)
            cells = [
                f"{1e3 * spread.median:.1f} ({1e3 * spread.low:.1f}-{1e3 * spread.high:.1f})",
                f"{spread.median / Spread.of(base.times).median:.2f}",
                f"{self.peak / 2**20:.0f}",
                f"{self.peak / base.peak:.2f}",
            ]
        is_wrong = self.error is not None and self.error64 > _RIGHT
        return [*cells, "" if self.error is None else f"{self.error:.0e}", f"{self.error64:.0e}{' wrong' * is_wrong}"]


def measure(task: Task, path: Path, pythons: dict[Library, Path], repeats: int, rounds: int) -> dict[Library, Finding]:
    """Return what every library does on one task."""
    findings: dict[Library, Finding] = {}
    remotes: dict[Library, Remote] = {}
    answers: dict[Library, list[list[list[float]]]] = {}
    peaks: dict[Library, int] = {}
    with ExitStack() as stack:
        for library, python in pythons.items():
            if task.kind not in library.kinds:
                continue
            remote = stack.enter_context(Remote(python, library, path, task))
            try:
                version = remote.call("version")
                if version != torch.__version__:
                    raise LibraryError(f"its torch is {version}")
                answers[library] = [remote.call("gradients", dtype) for dtype in ("float32", "float64")]
                peaks[library] = remote.call("peak")
            except LibraryError as error:
                findings[library] = Finding(failure=str(error))
                continue
            remotes[library] = remote
        moved = remotes[_PLAIN].call("gradients", "float64", _ROUNDING)
        times = time_in_turn(remotes, repeats, rounds=rounds)
    reference = answers[_PLAIN][1]
    findings[_CONTROL] = Finding(error64=_relative_error(moved, reference))
    for library in remotes:
        rounding, difference = (_relative_error(answer, reference) for answer in answers[library])
        findings[library] = Finding(times[library], peaks[library], rounding, difference)
    return findings


def _relative_error(answer: list[list[float]], reference: list[list[float]]) -> float:
    """Return the length of the difference over that of the reference, for the worse hyper-parameter."""
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(answer, reference, strict=True)]
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)


def print_problem(name: str, path: Path, pythons: dict[Library, Path], options: Options) -> None:
    """Measure every task on one problem and print the table."""
    save_workload(name, path, batch_size=4 if options.quick else 0)
    workload = load_workload(path)
    rows: list[list[str]] = []
    failures: list[str] = []
    for task in _TASKS:
        findings = measure(task, path, pythons, 1 if options.quick else _REPEATS[name], options.rounds)
        for library in (*pythons, _CONTROL):
            finding = findings.get(library)
            if finding is not None and finding.failure:
                failures.append(f"{library.title}, {task.title}: {finding.failure}")
            elif finding is not None:
                rows.append([task.title, library.title, *finding.cells(findings[_AUXO])])
    sizes = [parameter.numel() for parameter in workload.module.parameters()]
    images = "x".join(map(str, workload.inner.images.shape))
    print(f"\n### {name}, {sum(sizes):,} parameters in {len(sizes)} tensors, batches of {images}\n")
    header = ["by", "library", "ms (quartiles)", "time / auxo", "MiB", "memory / auxo", "error", "error in float64"]
    print(markdown_table(header, rows))
    for failure in failures:
        print(f"\nFailed: {failure}")
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    options = tyro.cli(Options, description=__doc__)
    os.environ |= {"OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR", "KINETO_LOG_LEVEL": "99"}
    os.environ |= {"PYTHONWARNINGS": "ignore"}  # old libraries warn of what torch has deprecated
    torch.set_num_threads(1)
    if options.quick:
        options = replace(options, problems=("mlp",), libraries=(), rounds=1)
    pythons, notes = {}, []
    for library in (_AUXO, _FORWARD, *(_LIBRARIES[name] for name in options.libraries), _PLAIN):
        notes.append(f"- {library.title}: {library.note}")
        try:
            pythons[library] = prepare_environment(library, options.environments)
        except LibraryError as error:
            notes[-1] = f"- {library.title}: cannot be installed: {error}"
    print(f"{describe_machine(torch.device('cpu'))}; load {os.getloadavg()[0]:.1f} at the start.\n")
    print(f"Damping {DAMPING:g}, scale of the Neumann series {SCALE:g}, rate of the SGD step {RATE:g}; float32.\n")
    print("\n".join(notes))
    with tempfile.TemporaryDirectory() as folder:
        for name in options.problems:
            print_problem(name, Path(folder) / f"{name}.pt", pythons, options)
    print(f"\nLoad {os.getloadavg()[0]:.1f} at the end; {options.rounds} rounds.")


if __name__ == "__main__":
    main()
