"""What a gate may know of a step, from a method's parts and a function that says their losses."""

from collections.abc import Callable, Mapping

from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from auxo.bilevel.module import CalledModule
from auxo.gates._interface import GateStep, TaskLosses
from auxo.interfaces import TrainState
from auxo.layers.batch_norm import keep_running_statistics
from auxo.runtime import Runtime
from auxo.types import Batch, Batches

_SHARED = "backbone"


def build_gate_step(
    state: TrainState,
    batches: Batches,
    runtime: Runtime,
    *,
    parts: Mapping[str, nn.Module],
    answer: Callable[[Batch], TaskLosses],
    primary: int | None,
    primary_loss: Float[Tensor, ""] | None,
    scale: float,
) -> GateStep:
    """Return what a gate may know of a step on the view ``train``, its own images those of the view ``gate``.

    Args:
        state: of the step.
        batches: of the step.
        runtime: the processes.
        parts: all modules that the losses follow from, by name; ``backbone`` is the one that the tasks share.
        answer: the losses of a batch by the parts as they are, without autocast; read with other weights in them.
        primary: see :class:`GateStep`, as the rest.
        primary_loss: see there.
        scale: see there.
    """
    called = CalledModule(nn.ModuleDict(parts))  # functional_call replaces weights of a module, while it is called

    def losses_at(weights: Mapping[str, Tensor], shown: Batch) -> TaskLosses:
        given = {f"module.{name}": value for name, value in weights.items()}
        with keep_running_statistics(called):
            found: TaskLosses = functional_call(called, given, (lambda: answer(shown),))
        return found

    trained = {name: value for name, value in called.module.named_parameters() if value.requires_grad}
    return GateStep(
        batches["train"],
        runtime,
        progress=state.progress,
        number=state.step,
        epoch=state.epoch,
        primary=primary,
        primary_loss=primary_loss,
        scale=scale,
        shared={name: value for name, value in trained.items() if name.startswith(f"{_SHARED}.")},
        heads={name: value for name, value in trained.items() if not name.startswith(f"{_SHARED}.")},
        train=batches["train"],
        own=batches.get("gate"),
        losses_at=losses_at,
    )
