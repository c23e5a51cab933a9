"""The tensor files of a run, each read once: whole, of its config, and of which weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from auxo.data.digests import list_differing
from auxo.errors import CheckpointError
from auxo.files.tensor_file import TensorFile, digest_tensors, read_tensor_file
from auxo.random import derive_seed
from auxo.runs.checkpoint import Checkpoints, Progress, RunHeader, measured_weights, read_progress, step_of
from auxo.runs.experiment import ExperimentConfig
from auxo.training.verification.findings import Finding


class Stored(NamedTuple):
    """What a file of weights says, without the weights.

    Args:
        path: of the file.
        step: of its stage; ``None`` where the file does not say.
        progress: what its stage had spent and found; ``None`` in ``model.safetensors``.
        weights: digest of names, types, shapes and bytes.
        header: what it says of itself.
    """

    path: Path
    step: int | None
    progress: Progress | None
    weights: str
    header: Mapping[str, Any]


@dataclass(frozen=True)
class StoredStage:
    """The files of one stage that are whole and of the run.

    Args:
        name: of the stage.
        number: of the stage, from 0.
        saved: its checkpoints, oldest first.
        final: the weights that it ended with; ``None`` where it is not finished, or the file is refused.
        best: the best weights on the validation set, likewise.
        prepared: what its method made before the first step, likewise.
        refused: steps of checkpoints that are damaged or of something else.
    """

    name: str
    number: int
    saved: tuple[Stored, ...]
    final: Stored | None
    best: Stored | None
    prepared: Path | None
    refused: tuple[int, ...]

    @property
    def newest(self) -> Stored | None:
        """What there is of it that was written last."""
        return self.final or (self.saved[-1] if self.saved else None)


@dataclass(frozen=True)
class StoredRun:
    """The files of a run that are whole and of its config.

    Args:
        folder: the run directory.
        stages: in order.
        model: the final weights; ``None`` where the run is not finished, or the file is refused.
        data: digests of the images that it was made of; none before the first file.
        findings: what is wrong with its files, or that nothing is.
    """

    folder: Path
    stages: tuple[StoredStage, ...]
    model: Stored | None
    data: Mapping[str, str]
    findings: tuple[Finding, ...]

    @property
    def device(self) -> str | None:
        """Kind of the device that the newest weights were computed on; ``None`` where the run does not say."""
        reached = [stage.newest.progress for stage in self.stages if stage.newest is not None]
        known = reached[-1].environments if reached and reached[-1] is not None else []
        device = known[-1].get("device") if known else None
        return None if device is None else device if device in ("cpu", "mps") else "cuda"


def read_stored(config: ExperimentConfig, folder: Path, *, digest: str) -> StoredRun:
    """Return the files of a run, and what is wrong with some of them or that nothing is.

    Args:
        config: of the run.
        folder: the run directory.
        digest: of the config, from :func:`auxo.runs.document.config_digest`.
    """
    desk = _Desk(folder, digest)
    stages = []
    for number, stage in enumerate(config.stages):
        checkpoints = Checkpoints(folder / "checkpoints", stage.name, digest)
        seed = derive_seed(config.seed, "stage", stage.name)
        found = {step_of(path): desk.read(path, stage=stage.name, seed=seed) for path in checkpoints.saved()}
        prepared = checkpoints.prepared
        stages.append(
            StoredStage(
                stage.name,
                number,
                tuple(stored for stored in found.values() if stored is not None),
                desk.read(checkpoints.final, stage=stage.name),
                desk.read(checkpoints.best, stage=stage.name),
                prepared if desk.read(prepared, stage=stage.name, holds=()) is not None else None,
                tuple(step for step, stored in found.items() if stored is None),
            )
        )
    for path in sorted((folder / "networks").glob("*.safetensors")):
        desk.read(path, is_of_run=False)
    model = desk.read(folder / "model.safetensors")
    return StoredRun(folder, tuple(stages), model, desk.data or {}, tuple(desk.list_findings()))


class _Desk:
    """Reads files one after the other, and notes what is wrong with them."""

    def __init__(self, folder: Path, digest: str) -> None:
        self._folder, self._digest = folder, digest
        self.data: Mapping[str, str] | None = None
        self._findings: list[Finding] = []
        self._foreign: dict[str, str] = {}
        self._num_whole = 0

    def read(
        self,
        path: Path,
        *,
        stage: str | None = None,
        seed: int | None = None,
        holds: tuple[str, ...] = ("weights",),
        is_of_run: bool = True,
    ) -> Stored | None:
        """Return what a file says; ``None`` if it is not there, or not what it should be, which is noted.

        Args:
            path: of the file.
            stage: that it must be of.
            seed: of that stage, which it must have; only checkpoints do.
            holds: see :func:`auxo.files.tensor_file.read_tensor_file`.
            is_of_run: whether it says of which run it is; networks that a run keeps do not.
        """
        if not path.exists():
            return None
        subject = str(path.relative_to(self._folder))
        try:
            file = read_tensor_file(path, header=RunHeader, holds=holds)
            problem = self._find_problem(file, path, stage, seed) if is_of_run else ""
            values = file.tree.get("progress") if seed is not None else file.header.get("progress")
            progress = None if values is None else read_progress(values, path)
        except CheckpointError as error:
            problem = f"expected {error.expected}, got {error.got}"
        if problem:
            self._findings.append(Finding("differs", subject, problem))
        if problem or subject in self._foreign:
            return None
        self._num_whole += is_of_run
        weights = digest_tensors(measured_weights(file.tree)) if holds else ""
        return Stored(path, file.header.get("step"), progress, weights, file.header)

    def list_findings(self) -> list[Finding]:
        """Return what is wrong with files, or that nothing is."""
        findings = list(self._findings)
        if not self._num_whole and len(set(self._foreign.values())) == 1:  # it is not the files that were changed
            text = f"it, or a file that it names, was changed: its digest is {self._digest}, and all "
            text += f"{len(self._foreign)} tensor files were made under {next(iter(self._foreign.values()))}"
            return [*findings, Finding("differs", "config.json", text)]
        for subject, digest in self._foreign.items():
            text = f"of a run with another config or seed: of digest {digest}, not {self._digest}"
            findings.append(Finding("differs", subject, text))
        if self._num_whole:
            count = f"{self._num_whole} tensor files are" if self._num_whole > 1 else "1 tensor file is"
            findings.append(
                Finding("equal", "files", f"{count} whole, of this config and seed, and of the same images")
            )
        return findings

    def _find_problem(self, file: TensorFile, path: Path, stage: str | None, seed: int | None) -> str:
        """Return what a whole file says that it should not; nothing if all is right."""
        header = file.header
        if header.get("run") != self._digest:
            self._foreign[str(path.relative_to(self._folder))] = str(header.get("run"))
            return ""
        if stage is not None and header.get("stage") != stage:
            return f"of stage {header.get('stage')}, not {stage}"
        if seed is not None and header.get("seed") != seed:
            return f"of another seed: {header.get('seed')} for stage {stage}, not {seed}"
        if seed is not None and header.get("step") != step_of(path):
            return f"of step {header.get('step')}, not {step_of(path)}"
        data = header.get("data", {})
        if self.data is None:
            self.data = data
        names = list_differing(data, self.data)
        if names:
            return f"made with other {', '.join(names)} images than the files before it"
        return ""
