"""The small runs of ``same_numbers.py``, and what is read from them: digests of tensors, and values of records."""

import csv
import hashlib
import itertools
import json
import re
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors import deserialize

__all__ = ["RUNS", "SEPARATOR", "Later", "Run", "Value", "make_pictures", "read_values", "record_run"]

Value = float | str | None
"""A number, or a text of a CSV; ``None`` stands for a value that is not there."""

SEPARATOR = " | "
"""Stands between kind, stage, step, split, head and measure in the key of a value."""

_TIMEOUT = 300
_REFUSED = 2
_FORMER = {
    "accuracy": "accuracy.value",
    "value": "accuracy.value",
    "low": "accuracy.low",
    "high": "accuracy.high",
    "nll": "nll.value",
    "calibration_error": "ece.value",
    "per_class": "accuracy.per_class",
}
_PLACE = ("kind", "stage", "stage_number", "step", "split", "head")


@dataclass(frozen=True)
class Later:
    """A command that is given a finished run.

    Args:
        name: what its values are called.
        spellings: its words without ``--out`` and ``--device``, the newest spelling first; ``{run}`` is the run.
        ending: of the file that it writes, ``jsonl`` or ``csv``.
    """

    name: str
    spellings: tuple[str, ...]
    ending: str = "jsonl"


@dataclass(frozen=True)
class Run:
    """A run that is trained.

    Args:
        name: unique.
        spellings: words after ``auxo train``, the newest spelling first. When an option is renamed, put the new
            spelling before the old one, which then serves older checkouts: a spelling is left for the next one where
            the command line refuses it with exit code 2.
        later: commands on the finished run.
        processes: more than one are started by torchrun.
    """

    name: str
    spellings: tuple[str, ...]
    later: tuple[Later, ...] = ()
    processes: int = 1


COMMON = (
    "--data.num-train 300 --training.log-every 1 --training.no-tensorboard --runtime.device cpu --runtime.threads 1",
)
"""Words before those of every run, the newest spelling first; each is tried with each spelling of a run."""

_STEPS = "--epochs 1 --batch-size 20"
_TASKS = "--method.pretexts.tasks flip lorot channel_shuffle"
_OLD_TASKS = "--method.pretexts.tasks rotation flip channel_shuffle"
_UNEVEN = "--data.imbalance exp --data.imbalance-ratio 0.1"
_STAGES = "--data.num-labelled 100 --pretrain.epochs 1 --pretrain.batch-size 50 --fine-tune.epochs 1"

RUNS = (
    Run(
        "ossl-two-processes",
        (f"ossl {_STEPS} --backbone.name resnet8",),
        processes=2,
    ),
    Run(
        "supervised",
        ("supervised --epochs 2 --batch-size 20 --method.optimizer.lr 0.05",),
        later=(
            Later("probes", ("evaluate {run} --probe knn linear --split test",)),
            Later("corruptions", ("evaluate {run} --corruptions --kinds contrast fog --severities 1 5 --images 100",)),
            Later("predictions", ("predict {run} pictures",), ending="csv"),
        ),
    ),
    Run(
        "ossl",
        (f"ossl {_STEPS}",),
        later=(
            Later("evaluation", ("evaluate {run}",)),
            Later(
                "attacks",
                (
                    "evaluate {run} --attack pgd noise --attack.pgd.steps 3 --split test --images 60",
                    "evaluate {run} --attack pgd noise --steps 3 --split test --images 60",
                ),
            ),
            Later("estimate", ("estimate {run} pictures --sets 40 --images 50 --resamples 100",)),
        ),
    ),
    Run(
        "supervised-best-val",
        (
            "supervised --epochs 5 --batch-size 20 --selection.keep best --backbone.name resnet8"
            " --method.optimizer.lr 0.1 --method.optimizer.schedule constant --seed 1",
            "supervised --epochs 5 --batch-size 20 --selection best_val --backbone.name resnet8"
            " --method.optimizer.lr 0.1 --method.optimizer.schedule constant --seed 1",
        ),
    ),
    Run(
        "supervised-long-tailed",
        (
            f"supervised --epochs 2 --batch-size 20 {_UNEVEN} --data.num-train 1000 --method.head cosine"
            " --method.class-loss.name ldam --method.class-loss.class-weights effective_number"
            " --method.class-loss.reweight-after 0.5 --method.optimizer.lr 0.05",
        ),
    ),
    Run(
        "supervised-own-pictures",
        (
            "supervised --epochs 2 --batch-size 10 --backbone.name resnet8 --data.train pictures --data.num-train 60"
            " --data.augment crop_flip --method.optimizer.name adamw",
        ),
    ),
    Run("rotation", (f"rotation {_STEPS} --pretext.mode expand", f"rotation {_STEPS} --method.rotation expand")),
    Run(
        "rotation-random",
        (f"rotation {_STEPS} --pretext.mode random", f"rotation {_STEPS} --method.rotation random"),
    ),
    Run("ossl-implicit", (f"ossl {_STEPS} --method.scope implicit",)),
    Run(
        "gssl-uniform",
        tuple(f"gssl {_STEPS} {tasks} --method.pretexts.gate.name uniform" for tasks in (_TASKS, _OLD_TASKS)),
    ),
    Run(
        "gssl-learned-long-tailed",
        tuple(
            f"gssl {_STEPS} {tasks} --method.covers all --method.pretexts.gate.name learned"
            f" {_UNEVEN} --data.num-train 1000"
            for tasks in (_TASKS, _OLD_TASKS)
        ),
    ),
    Run(
        "gssl-uncertainty-attack",
        tuple(
            f"gssl {_STEPS} --method.pretexts.tasks {tasks} --method.pretexts.gate.name uncertainty"
            " --method.attack.steps 2"
            for tasks in ("flip lorot", "rotation flip")
        ),
    ),
    Run(
        "fixmatch",
        ("fixmatch --epochs 1 --batch-size 10 --data.num-labelled 100 --method.threshold 0.12 --method.ratio 3",),
    ),
    Run(
        "pretrain-byol",
        (
            f"pretrain {_STAGES} --fine-tune.batch-size 20 --pretext.name byol",
            f"pretrain {_STAGES} --fine-tune.batch-size 20 --pretrain.method.pretext.name byol",
        ),
    ),
    Run("linear-probe", (f"linear_probe {_STEPS}",)),
    Run("linear-probe-pretext", (f"linear_probe {_STEPS} --method.warm-up-pretext --method.pretext.name vicreg",)),
    Run(
        "bissl",
        (
            f"bissl {_STAGES} --warm-up.epochs 1 --bilevel.epochs 2 --warm-up.batch-size 20 --bilevel.batch-size 20"
            " --fine-tune.batch-size 20 --bilevel.method.lower-steps 2 --bilevel.method.upper-steps 2",
        ),
    ),
)
"""Every method, every way of choosing, and two processes; the longest come first, so that no process waits for them."""


def make_pictures(folder: Path) -> None:
    """Write 90 images of 28x28 pixels in three class folders, the same at every call."""
    generator = np.random.default_rng(0)
    for number in range(90):
        label = number % 3
        pixels = generator.integers(0, 128, (28, 28, 3), dtype=np.uint8)
        pixels[9 * label : 9 * label + 9, 4:20] += 100
        path = folder / "abc"[label] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def record_run(run: Run, place: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Train a run and return what it came to, ready for JSON.

    Args:
        run: which.
        place: folder to work in, where the folder ``pictures`` lies.
        environment: of the processes; says which auxo they find.

    Returns:
        ``words`` that were accepted, ``seconds``, ``error`` or ``None``, ``tensors`` (digests by file and name),
        ``values`` by key and ``later``, the error or ``None`` of each command that came after.
    """
    started = time.perf_counter()
    spellings = [_train_words(own, common) for own, common in itertools.product(run.spellings, COMMON)]
    words, error = _first_accepted(spellings, place / run.name, place, environment, processes=run.processes)
    record: dict[str, Any] = {"words": words, "error": error, "tensors": {}, "values": {}, "later": {}}
    if error is None:
        record["tensors"] = _read_digests(place / run.name)
        record["values"] = read_values(place / run.name / "records.jsonl")
        for later in run.later:
            target = place / f"{run.name}-{later.name}.{later.ending}"
            asked = [f"{spelling.format(run=run.name)} --device cpu" for spelling in later.spellings]
            _, error = _first_accepted(asked, target, place, environment)
            record["later"][later.name] = error
            if error is None:
                read = _read_csv if later.ending == "csv" else read_values
                record["values"] |= read(target, name=later.name)
    return {**record, "seconds": round(time.perf_counter() - started, 1)}


def _train_words(own: str, common: str) -> str:
    """Return the words of a run: the recipe, what all runs share, and its own options, which win."""
    recipe, _, options = own.partition(" ")
    return f"train {recipe} {common} {options}"


def _first_accepted(
    spellings: Sequence[str], out: Path, place: Path, environment: Mapping[str, str], *, processes: int = 1
) -> tuple[str, str | None]:
    """Run the first spelling that the command line does not refuse; return it with the error, ``None`` for success."""
    refusals = []
    for spelling in spellings:
        words = [*shlex.split(spelling), "--out", out.name]
        code, errors = _run_auxo(words, place, environment, processes=processes)
        if code == 0:
            return spelling, None
        message = _message(errors)
        if code != _REFUSED and not re.search(rf"exitcode\s*: {_REFUSED}\b", errors):
            return spelling, f"exit code {code}: {message}"
        refusals.append(message)
        if out.exists():
            return spelling, f"refused after it wrote {out.name}: {message}"
    return spellings[0], "refused: " + "; then the older spelling: ".join(refusals)


def _run_auxo(words: Sequence[str], place: Path, environment: Mapping[str, str], *, processes: int) -> tuple[int, str]:
    """Run a command in ``place`` and return its exit code and what it wrote to standard error."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes))
    command = [sys.executable, *(torchrun if processes > 1 else ()), "-m", "auxo", *words]
    process = subprocess.Popen(
        command, cwd=place, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        _, errors = process.communicate(timeout=_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.terminate()  # torchrun ends its workers
        _, errors = process.communicate()
        return 124, f"{errors}\nauxo: longer than {_TIMEOUT} seconds"
    return process.returncode, errors


def _message(errors: str) -> str:
    """Return auxo's own line of an error, or the last that is not empty."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()] or ["no message"]
    own = [line for line in lines if line.startswith("auxo: ")]
    return (own or lines)[-1]


def _read_digests(folder: Path) -> dict[str, dict[str, str]]:
    """Return a digest of dtype, shape and bytes of every tensor of the model and of what each stage ended with.

    Headers, which hold versions and the digest of the configuration, do not count.
    """
    digests = {}
    for path in (folder / "model.safetensors", *sorted((folder / "checkpoints").glob("*final*.safetensors"))):
        tensors = deserialize(path.read_bytes())
        digests[path.relative_to(folder).as_posix()] = {
            name: hashlib.sha256(f"{item['dtype']} {item['shape']} ".encode() + item["data"]).hexdigest()
            for name, item in sorted(tensors, key=lambda pair: pair[0])
        }
    return digests


def read_values(path: Path, name: str = "") -> dict[str, Value]:
    """Return the numbers of a file of records by kind, stage, step, split, head and measure, without times.

    Rows with ``accuracy``, ``low``, ``high``, ``nll``, ``calibration_error`` and ``per_class`` and rows with a mapping
    or list ``measures`` give the same keys: ``accuracy.value``, ``accuracy.low``, ``nll.value``, ``ece.value``,
    ``accuracy.per_class[3]``. Other numbers are called by their place in the row, such as ``losses.pretext_loss``.
    Texts are left out. Of rows with one place the second has ``#2`` before the measure, and so on.

    Args:
        path: one JSON object a line.
        name: set before the kind.
    """
    values: dict[str, Value] = {}
    rows_at: Counter[tuple[str, ...]] = Counter()
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        kind = " ".join(part for part in (name, str(row.get("kind", ""))) if part)
        split, head = row.get("split", row.get("name", "")), row.get("head", row.get("estimator", ""))
        place = (kind, *(str(word) for word in (row.get("stage", ""), row.get("step", ""), split, head)))
        rows_at[place] += 1
        again = (f"#{rows_at[place]}",) if rows_at[place] > 1 else ()
        for measure, value in _row_values({key: item for key, item in row.items() if key not in _PLACE}):
            values[SEPARATOR.join((*place, *again, measure))] = value
    return values


def _row_values(row: Mapping[str, Any]) -> Iterator[tuple[str, Value]]:
    """Yield the numbers of a row or of a mapping in it, whichever its format."""
    for name, item in row.items():
        if name == "measures":
            for measure, content in item.items():
                for key in ("value", "low", "high"):
                    yield from _leaves(f"{measure}.{key}", content[key])
        elif name == "parts":
            for number, pair in enumerate(item.get("class", item.get("answer", {})).values()):
                yield from _leaves(f"accuracy.per_class[{number}]", pair[1])
        elif name == "selection" and item is not None:
            former = {"value": "accuracy.value", "tie_value": "nll.value"}
            for key, value in item.items():
                yield from _leaves(f"{name}.{former.get(key, key)}", value)
        elif not _is_time(name):
            yield from _leaves(_FORMER.get(name, name), item)


def _leaves(name: str, value: Any) -> Iterator[tuple[str, Value]]:
    """Yield the numbers in a value, and ``None``, with their names."""
    if isinstance(value, Mapping):
        for inner, item in _row_values(value):
            yield f"{name}.{inner}", item
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(f"{name}[{number}]", item)
    elif value is None or isinstance(value, int | float):
        yield name, value


def _is_time(name: str) -> bool:
    """Return whether a field tells when or how fast something happened."""
    return name in ("date", "time") or name.endswith(("seconds", "per_second"))


def _read_csv(path: Path, name: str) -> dict[str, Value]:
    """Return the cells of a CSV by row and column, without the column of paths; numbers as such."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    values: dict[str, Value] = {}
    for number, row in enumerate(rows):
        for column, cell in row.items():
            if column != "path":
                is_number = re.fullmatch(r"[-+\d.eE]*\d", cell) is not None
                values[SEPARATOR.join((name, "", "", str(number), "", column))] = float(cell) if is_number else cell
    return values
