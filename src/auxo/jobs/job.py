"""A run to be made, what became of it, and whether its folder holds it already."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auxo.errors import ConfigError
from auxo.files.pipes import refuse_pipe
from auxo.files.tensor_file import read_tensor_file
from auxo.runs.document import config_digest, from_json, outside_files, to_json
from auxo.runs.experiment import ExperimentConfig, method_name, named_options
from auxo.runs.history import RunHistory


@dataclass(frozen=True)
class Job:
    """A run to be made.

    Args:
        name: what it is called where it is told of; one of a kind.
        config: the run.
        folder: its run directory; one of a kind.
    """

    name: str
    config: ExperimentConfig
    folder: Path

    @property
    def log(self) -> Path:
        """File with what the run says and, where it fails, the traceback."""
        return self.folder / "log.txt"


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Args:
        job: the job.
        status: "finished" now, "reused" from earlier, or "failed".
        seconds: wall-clock time that its process took; 0 where it was reused.
        error: in one line, why it failed; ``None`` where it did not.
    """

    job: Job
    status: Literal["finished", "reused", "failed"]
    seconds: float = 0.0
    error: str | None = None


def is_finished(folder: Path) -> bool:
    """Return whether a run directory holds a run that was trained and judged to its end.

    Raises:
        CheckpointError: its records are damaged.
    """
    return RunHistory.read(folder).is_finished


def check_jobs(jobs: Iterable[Job]) -> None:
    """Refuse jobs that cannot be made beside each other, or whose folders hold other runs.

    Raises:
        ConfigError: two have one name or folder, or a folder holds a run of another config.
        CheckpointError: a folder's files are damaged.
    """
    names: set[str] = set()
    folders: set[Path] = set()
    for job in jobs:
        folder = job.folder.resolve()
        if job.name in names or folder in folders:
            got = f"{job.name} twice" if job.name in names else f"{job.folder} twice"
            raise ConfigError("runs of different names and folders", got, "rename one")
        names.add(job.name)
        folders.add(folder)
        check_job(job)


def check_job(job: Job) -> bool:
    """Return whether the run is finished already.

    A finished run with something outside auxo counts only with the text that its files have now. What a run left that
    failed before it saved anything holds nobody up.

    Raises:
        ConfigError: the folder holds a run of another config, or of another text of a file outside auxo.
        CheckpointError: its files are damaged.
    """
    path = job.folder / "config.json"
    if job.folder.exists() and not job.folder.is_dir():
        raise ConfigError(f"a folder for the run {job.name}", f"the file {job.folder}", "choose another folder")
    code = outside_files(job.config)
    if not path.exists() or not _has_trained(job.folder):
        return False
    refuse_pipe(path, expected=f"the config of the run {job.name} in {path}", fix="choose another folder")
    stored = from_json(path.read_bytes(), origin=str(path), code=[str(file) for file in code])
    if to_json(stored) != to_json(job.config):
        different = ", ".join(_find_differences(stored, job.config)) or "all"
        fix = "choose another folder, or delete that run"
        raise ConfigError(f"the run {job.name} in {job.folder}", f"one of another config ({different})", fix)
    if not is_finished(job.folder):
        return False
    model = job.folder / "model.safetensors"
    if code and read_tensor_file(model).header.get("run") != config_digest(job.config):
        fix = f"delete {job.folder}, or choose another folder"
        files = ", ".join(map(str, code))
        raise ConfigError(f"the run {job.name} of {files} as now", "one of an earlier text of such a file", fix)
    return True


def forget_untrained(job: Job) -> None:
    """Delete the config of a run that failed before it saved anything, so that it can be made with another."""
    if not _has_trained(job.folder):
        (job.folder / "config.json").unlink(missing_ok=True)


def _has_trained(folder: Path) -> bool:
    """Return whether a run directory holds a state of a run, or its end."""
    return (folder / "model.safetensors").is_file() or any((folder / "checkpoints").glob("*.safetensors"))


def _find_differences(stored: ExperimentConfig, wanted: ExperimentConfig) -> list[str]:
    """Return the first places where two configs differ, each with both values."""
    flat = [_describe_config(config) for config in (stored, wanted)]
    names = [name for name in {**flat[0], **flat[1]} if flat[0].get(name) != flat[1].get(name)]
    return [f"{name} {flat[0].get(name)}, not {flat[1].get(name)}" for name in names[:2]]


def _describe_config(config: ExperimentConfig) -> dict[str, object]:
    """Return the options of a run, the methods of its stages, and what it notes of its backbone."""
    noted = {f"backbone.{name}": getattr(config.backbone, name) for name in ("architecture", "normalisation")}
    methods = {f"method of stage {stage.name}": method_name(stage) for stage in config.stages}
    return {**methods, **{name: option.value for name, option in named_options(config).items()}, **noted}
