"""Checkpoints: everything a stage needs to go on to the bit."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Required, TypedDict

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from auxo.backbones import stored_state
from auxo.data.digests import SplitDigests
from auxo.errors import CheckpointError, DataError
from auxo.files.atomic import delete_file
from auxo.files.json_text import check_json
from auxo.files.moved import must_match
from auxo.files.tensor_file import read_tensor_file, require_finite, write_tensor_file
from auxo.interfaces import AbstractMethod, Prepared, TrainState
from auxo.runs.results import Compute, Selection

_DIVERGED = "take the file from a copy, or train again with a lower learning rate"


class RunHeader(TypedDict, total=False):
    """The types of what files of a run say of themselves."""

    run: str
    stage: str
    data: dict[str, str]
    judged: dict[str, str]
    step: int
    seed: int
    seconds: float
    flops: float | None
    progress: dict[str, Any]
    task: dict[str, Any]
    columns: list[list[Any]]
    resized: bool


class _ProgressFields(TypedDict, total=False):
    """The types of what a stage has spent and found."""

    train_seconds: float
    images: int
    steps: dict[str, int]
    flops_per_step: dict[str, int]
    best: Required[dict[str, Any] | None]
    start_seconds: float
    start_flops: float | None
    num_rows: int | None
    environments: list[dict[str, Any]]


@dataclass
class Progress:
    """What a stage has spent and found so far; saved with every checkpoint.

    Args:
        train_seconds: spent in updates.
        images: training images seen, labelled and not; one that several views show counts once, the copies that
            pretexts make and the images of a meta split do not.
        steps: updates done, by their kind (:class:`auxo.interfaces.StepPlan`).
        flops_per_step: floating-point operations of the first update of each kind, which has a full batch, forward and
            backward; a kind is missing where they are not counted.
        best: the best evaluation on the validation set.
        start_seconds: spent before the first step.
        start_flops: floating-point operations before the first step; ``None`` where they are not counted.
        num_rows: rows of the run's records, on the disk before this is; ``None`` where that was not counted.
        environments: what the bits depend on beside the config, each with the step that it was so from on
            (:mod:`auxo.runs.environment`); none in a run of an earlier version.
    """

    train_seconds: float = 0.0
    images: int = 0
    steps: dict[str, int] = field(default_factory=dict)
    flops_per_step: dict[str, int] = field(default_factory=dict)
    best: Selection | None = None
    start_seconds: float = 0.0
    start_flops: float | None = 0.0
    num_rows: int | None = None
    environments: list[dict[str, Any]] = field(default_factory=list)

    @property
    def compute(self) -> Compute:
        """What the stage cost so far."""
        return Compute(self.start_seconds + self.train_seconds, self.images, self.flops)

    @property
    def flops(self) -> float | None:
        """Floating-point operations so far: before the first step, and each update's like the first of its kind."""
        if self.steps.keys() != self.flops_per_step.keys() or self.start_flops is None:
            return None
        return self.start_flops + sum(count * self.flops_per_step[kind] for kind, count in self.steps.items())


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], *, origin: str) -> None:
    """Copy ``weights`` into ``module``, all of them and nothing else; those of frozen networks in it may be left out.

    Raises:
        CheckpointError: names or shapes differ; the message says which.
        NonFiniteError: a weight is not finite.
    """
    own = module.state_dict()
    names = sorted((set(stored_state(module)) - set(weights)) | (set(weights) - set(own)))
    if names:
        got = f"others, first {names[0]!r}"
        raise CheckpointError(f"the weights of this method and backbone in {origin}", got, "name the run's own config")
    for name, tensor in weights.items():
        if own[name].shape != tensor.shape:
            expected = f"{name} of shape {tuple(own[name].shape)} in {origin}"
            raise CheckpointError(expected, str(tuple(tensor.shape)), "name the run's own config")
    require_finite(weights, origin=origin, fix=_DIVERGED)
    module.load_state_dict(dict(weights), strict=False)


def load_matching(module: nn.Module, weights: Mapping[str, Tensor], *, origin: str) -> int:
    """Copy the weights whose name and shape ``module`` has, and return how many those are.

    Raises:
        NonFiniteError: one of them is not finite.
    """
    own = module.state_dict()
    matching = {name: t for name, t in weights.items() if name in own and own[name].shape == t.shape}
    require_finite(matching, origin=origin, fix=_DIVERGED)
    module.load_state_dict(matching, strict=False)
    return len(matching)


def load_part(module: nn.Module, weights: Mapping[str, Tensor], *, part: str, to: str, origin: str) -> None:
    """Copy the weights whose names begin with ``part`` and a dot into the submodule ``to``, all that it has.

    Raises:
        CheckpointError: there is no such part or submodule, or names or shapes differ.
    """
    taken = {name.removeprefix(f"{part}."): t for name, t in weights.items() if name.startswith(f"{part}.")}
    modules = dict(module.named_modules())
    if not taken or to not in modules:
        got = f"none called {part!r} in {origin}" if not taken else f"none called {to!r} to start from it"
        known = ", ".join(dict.fromkeys(name.partition(".")[0] for name in (weights if not taken else modules) if name))
        raise CheckpointError("a part of the network", got, f"name one of {known}")
    load_weights(modules[to], taken, origin=f"{part} of {origin}")


def check_images(
    recorded: Mapping[str, str],
    present: SplitDigests,
    *,
    origin: str,
    fix: str,
    judged: Mapping[str, str] | None = None,
) -> None:
    """Refuse images other than those that weights were made from: what was trained on could pass for held out.

    Args:
        recorded: from :meth:`auxo.data.Splits.digests`, when the weights were made.
        present: the same of the splits that are at hand.
        origin: the file that the weights are in, for messages.
        fix: what the user can do.
        judged: what was recorded of splits that decide nothing; they are compared where the user says that something
            moved, so that nothing else is taken for it.

    Raises:
        DataError: a split differs; the message says which.
    """
    if must_match():
        fix = "name the place that has them with --moved"
        for name, digest in (judged or {}).items():
            if present.judged.get(name) != digest:
                raise DataError(f"the {name} images and targets that {origin} was judged on", "others", fix)
    for name in (*recorded, *present):
        if not present.is_same(name, recorded.get(name)):
            raise DataError(f"the {name} images and targets that {origin} was made with", "others", fix)


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one stage of a run.

    Args:
        folder: of the run's checkpoints; exists.
        stage: the stage's name.
        run_digest: of the run's config; a checkpoint of another run is refused.
        keep: how many of the newest stay.
        data: digests of the run's splits; a checkpoint of other images is refused.
        keep_every: epochs between those that stay beside the newest; 0 keeps none of them.
    """

    folder: Path
    stage: str
    run_digest: str
    keep: int = 2
    data: SplitDigests = field(default_factory=lambda: SplitDigests({}))
    keep_every: int = 0
    _pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_pattern", re.compile(rf"{re.escape(self.stage)}-(\d{{8}})\.safetensors"))

    @property
    def final(self) -> Path:
        """Where the weights that the stage ends with are."""
        return self.folder / f"{self.stage}-final.safetensors"

    @property
    def best(self) -> Path:
        """Where the best weights on the validation set so far are."""
        return self.folder / f"{self.stage}-best.safetensors"

    @property
    def prepared(self) -> Path:
        """Where what the method made before the first step is."""
        return self.folder / f"{self.stage}-prepared.safetensors"

    def save_prepared(self, prepared: Prepared, progress: Progress) -> None:
        """Write what the method made before the first step, and what that cost."""
        header = {**self._build_header(), "seconds": progress.start_seconds, "flops": progress.start_flops}
        write_tensor_file(self.prepared, prepared._asdict(), header)

    def read_prepared(self, progress: Progress) -> Prepared:
        """Return what :meth:`save_prepared` wrote, and note in the progress what it cost.

        Raises:
            CheckpointError: the file is damaged, or belongs to another run.
            DataError: the run's images are no longer those that it was made of.
        """
        tree, header = read_tensor_file(self.prepared, header=RunHeader)
        self._check_run(header, self.prepared)
        self._check_images(header, self.prepared)
        try:
            progress.start_seconds, progress.start_flops = header["seconds"], header["flops"]
            return Prepared(**tree)
        except (KeyError, TypeError) as error:
            raise _refuse_fields(self.prepared, error) from error

    def saved(self) -> list[Path]:
        """Return the stage's checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("*.safetensors") if self._pattern.fullmatch(path.name))

    def place(self, step: int) -> Path:
        """Return where the checkpoint at a step is."""
        return self.folder / f"{self.stage}-{step:08d}.safetensors"

    def stays(self, step: int, *, steps_per_epoch: int) -> bool:
        """Return whether the checkpoint at a step stays when it is no longer among the newest."""
        return self.keep_every > 0 and step % (self.keep_every * steps_per_epoch) == 0

    def save(self, method: AbstractMethod, state: TrainState, progress: Progress) -> Path:
        """Write a checkpoint at ``state.step`` and delete those that are too old and do not stay."""
        path = self.place(state.step)
        tree = {
            "weights": stored_state(method),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in state.optimizers.items()},
            "schedulers": {name: _keep_plain(scheduler.state_dict()) for name, scheduler in state.schedulers.items()},
            "progress": asdict(progress),
        }
        if state.averaged:
            tree["averaged"] = state.averaged
        write_tensor_file(path, tree, {**self._build_header(), "step": state.step, "seed": state.seed})
        self.delete_old(steps_per_epoch=state.steps_per_epoch)
        return path

    def delete_old(self, *, steps_per_epoch: int) -> None:
        """Delete the checkpoints that are too old and do not stay."""
        for old in self.saved()[: -self.keep]:
            if not self.stays(step_of(old), steps_per_epoch=steps_per_epoch):
                delete_file(old)

    def restore(self, path: Path, method: AbstractMethod, state: TrainState) -> Progress:
        """Put weights, optimisers, schedulers and step back as they were.

        Raises:
            CheckpointError: the file is damaged or belongs to another run.
            DataError: the run's images are no longer those that the checkpoint was made with.
        """
        tree, header = read_tensor_file(path, header=RunHeader, holds=("weights",))
        self._check_run(header, path)
        if "step" not in header:
            raise CheckpointError(f"a checkpoint at {path}", "weights only", "delete it to go on from an older one")
        self._check_images(header, path)
        load_weights(method, tree["weights"], origin=str(path))
        state.step = header["step"]
        try:
            _restore_state(tree, state, path)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _refuse_fields(path, error) from error
        return read_progress(tree.get("progress"), path)

    def save_weights(self, path: Path, method: AbstractMethod, progress: Progress) -> None:
        """Write the method's weights, and what they cost, without the rest of the state."""
        write_tensor_file(
            path, {"weights": stored_state(method)}, {**self._build_header(), "progress": asdict(progress)}
        )

    def read_weights(self, path: Path) -> dict[str, Tensor]:
        """Return the weights that :meth:`save_weights` wrote.

        Raises:
            CheckpointError: the file is missing or damaged.
            DataError: the run's images are no longer those that the weights were made with.
        """
        tree, header = read_tensor_file(path, header=RunHeader, holds=("weights",))
        self._check_images(header, path)
        weights: dict[str, Tensor] = tree["weights"]
        return weights

    def final_progress(self) -> Progress:
        """Return what the finished stage spent and found."""
        return read_progress(read_tensor_file(self.final, header=RunHeader).header.get("progress"), self.final)

    def _build_header(self) -> dict[str, Any]:
        """Return what every file says of the run it belongs to."""
        return {"run": self.run_digest, "stage": self.stage, "data": dict(self.data), "judged": dict(self.data.judged)}

    def _check_run(self, header: Mapping[str, Any], path: Path) -> None:
        """Refuse a file of another run or stage."""
        if header.get("run") != self.run_digest or header.get("stage") != self.stage:
            fix = "resume the run that wrote it, or delete it"
            got = "one of a run with another config, or with another text of a file that it names"
            raise CheckpointError(f"a checkpoint of this run at {path}", got, fix)

    def _check_images(self, header: Mapping[str, Any], path: Path) -> None:
        """Refuse weights that were made with other images."""
        recorded, judged = header.get("data", {}), header.get("judged")
        check_images(recorded, self.data, origin=str(path), fix="put them back, or train anew", judged=judged)


def measured_weights(tree: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights in a file that were measured, or would be: their average where there is one."""
    return {**tree["weights"], **tree.get("averaged", {})}


def step_of(path: Path) -> int:
    """Return the step of a checkpoint by its name."""
    return int(path.stem.rpartition("-")[2])


def _restore_state(tree: Mapping[str, Any], state: TrainState, path: Path) -> None:
    """Put optimisers and schedulers back as they were."""
    if tree["optimizers"].keys() != state.optimizers.keys():
        expected = f"the optimizers {', '.join(sorted(state.optimizers))} in {path}"
        fix = "give them the names of the interrupted run, or train anew"
        raise CheckpointError(expected, ", ".join(sorted(tree["optimizers"])), fix)
    for name, optimizer in state.optimizers.items():
        optimizer.load_state_dict(tree["optimizers"][name])
        _match_layout(optimizer)
    for name, scheduler in state.schedulers.items():
        scheduler.load_state_dict(tree["schedulers"][name])
    state.averaged.clear()
    state.averaged.update(tree.get("averaged", {}))


def read_progress(values: object, path: Path) -> Progress:
    """Return a progress from its dictionary in a file.

    Raises:
        CheckpointError: it is that of another version.
    """
    fix = "delete it to go on from an older one, or take it from a copy"
    known = check_json(values, _ProgressFields, expected=f"what a stage has spent in {path}", fix=fix)
    best = known["best"]
    try:
        spent: dict[str, Any] = {**known, "best": None if best is None else Selection(**best)}
        return Progress(**spent)
    except TypeError as error:
        raise _refuse_fields(path, error) from error


def _refuse_fields(path: Path, error: Exception) -> CheckpointError:
    """Describe a file whose fields are not those of this version."""
    got = f"others ({type(error).__name__}: {next(iter(str(error).splitlines()), '')})"
    return CheckpointError(f"the fields of this version of auxo in {path}", got, "delete it to go on from an older one")


def _keep_plain(state: dict[str, Any]) -> dict[str, Any]:
    """Return a scheduler's state without what its constructor sets anew (a Counter of milestones, callables)."""
    return {key: value for key, value in state.items() if isinstance(value, int | float | bool | list | None)}


def _match_layout(optimizer: Optimizer) -> None:
    """Give restored buffers the memory layout of their parameters, as they had when they were made."""
    for parameter, values in optimizer.state.items():
        for key, value in values.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                values[key] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
