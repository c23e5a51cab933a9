"""``auxo verify``: whether a run is what its config says."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from tyro.conf import Positional

from auxo.cli.options import parse_options
from auxo.cli.progress import QuietObserver, TerminalObserver
from auxo.cli.train import read_run_config
from auxo.cli.words import say
from auxo.data.hub import may_ask_hub, offline_libraries
from auxo.files import prepare_place, write_atomically
from auxo.runs.adapted import require_trained
from auxo.runs.document import config_digest
from auxo.runs.environment import describe_environment
from auxo.runs.experiment import ExperimentConfig
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.training.verification import Finding, Verification, VerifyConfig, read_stored, verify_run

EXIT_CODES = {"equal": 0, "differs": 1, "undecided": 4}
"""What the command leaves with, by its verdict."""
_SIGNS = {"equal": "equal", "differs": "DIFFERS", "undecided": "not decided", "noted": "note"}

DESCRIPTION = """Say whether a run is what its config says: compare its files with each other, train parts of it again
in a temporary folder, measure its model again, and compare all of it to the bit. Exit code 0 where all that was
compared is equal, 1 where something differs, 4 where this machine cannot decide."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``auxo verify``."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory, finished or not; it is only read."""
    how: Annotated[VerifyConfig, tyro.conf.arg(name="")] = field(default_factory=VerifyConfig)
    """How much of the run is done again."""
    device: str | None = None
    """"cpu", "cuda", "cuda:1" or "mps"; default that of the run."""
    code: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Python file of what is outside auxo that the run may import; repeat it for several."""
    moved: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """OLD=NEW: a file or folder that the run names is at another place now; repeat it for several."""
    hub: bool = False
    """Contact the Hugging Face hub for sets and first weights that the run names and this machine does not have."""
    out: str | None = None
    """File for the findings, as JSON; by default none is written."""


def run(words: Sequence[str]) -> int:
    """Hold the run against its config, print the findings and a verdict, and return the exit code."""
    options = parse_options(Options, words, command="auxo verify", description=DESCRIPTION)
    folder = Path(options.run)
    out = None if options.out is None else prepare_place(Path(options.out))
    require_trained(folder, "to train parts of it again")
    config = read_run_config(folder, code=options.code)
    with ExitStack() as stack:
        if not may_ask_hub():  # first weights, too
            stack.enter_context(offline_libraries())
        stored = read_stored(config, folder, digest=config_digest(config))
        runtime = stack.enter_context(open_runtime(_choose_runtime(config, options.device or stored.device)))
        screen = _Screen(is_main=runtime.is_main)
        stack.callback(screen.close)
        found = verify_run(
            config, stored, runtime=runtime, how=options.how, observer=screen, report=screen.print_finding
        )
        if runtime.is_main:
            say(_describe_verdict(found))
            if out is not None:
                document = _to_document(found, folder, describe_environment(runtime))
                write_atomically(out, json.dumps(document, indent=2) + "\n")
                say(f"findings: {out}")
        return EXIT_CODES[found.verdict] if runtime.is_main else 0


class _Screen(QuietObserver):
    """Prints findings, and on a terminal a bar while a segment is trained.

    Args:
        is_main: whether this process prints.
    """

    def __init__(self, *, is_main: bool) -> None:
        self._is_main = is_main
        self._bar: TerminalObserver | None = None

    def noted(self, note: str) -> None:
        """Print a note on the data."""
        if self._is_main:
            say(f"note: {note}")

    def stage_started(self, stage: str, *, step: int, num_steps: int) -> None:
        """Begin a bar."""
        self.close()
        if self._is_main and sys.stdout.isatty():
            self._bar = TerminalObserver(Console())
            self._bar.stage_started(stage, step=step, num_steps=num_steps)

    def step_done(self, step: int, *, images_per_second: float, losses: dict[str, float]) -> None:
        """Move it."""
        if self._bar is not None:
            self._bar.step_done(step, images_per_second=images_per_second, losses=losses)

    def print_finding(self, finding: Finding) -> None:
        """Print a finding below the bar, which is done."""
        self.close()
        if self._is_main:
            say(f"{_SIGNS[finding.status]}: {finding.subject}: {finding.text}", flush=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def _choose_runtime(config: ExperimentConfig, device: str | None) -> RuntimeConfig:
    """Return how the run was computed, on another device where one is asked for or was used."""
    kind = config.runtime.device.partition(":")[0]
    return config.runtime if device in (None, kind) else replace(config.runtime, device=str(device))


def _describe_verdict(found: Verification) -> str:
    """Return the verdict in a line."""
    share = "nothing was trained again" if found.share is None else f"trained again: {found.share.describe()}"
    counts = {status: sum(each.status == status for each in found.findings) for status in _SIGNS}
    if found.verdict == "differs":
        return f"verdict: the run is not what its config says: {counts['differs']} findings differ; {share}"
    if found.verdict == "undecided":
        told = f"nothing differs, and {counts['undecided']} findings cannot be decided here"
        return f"verdict: {told}; {share}"
    return f"verdict: all that was compared is equal to the bit; {share}"


def _to_document(found: Verification, folder: Path, environment: Mapping[str, str | int]) -> dict[str, Any]:
    """Return the findings as JSON has them."""
    return {
        "run": str(folder),
        "verdict": found.verdict,
        "seed": found.seed,
        "share": None if found.share is None else {**found.share._asdict(), "part": found.share.part},
        "environment": dict(environment),
        "findings": [finding._asdict() for finding in found.findings],
    }
