"""Whether auxiliary tasks pull the shared weights where the primary task pulls them: recorded, and shown at the end."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auxo.gates._interface import GateStep
from auxo.interfaces import Exhibit, TableExhibit, TextExhibit
from auxo.types import Metrics

_COLUMNS = ("task", "mean cosine", "lowest", "highest", "conflicts")


class ConflictMonitor(nn.Module):
    """Cosines between the gradient of each auxiliary loss and that of the primary one, in the shared weights.

    To first order a step on a task whose cosine is below 0 raises the primary loss. The cosines of all looks of a stage
    are summed up in buffers, so that they are in checkpoints, and the exhibits can show them.

    Args:
        names: of the auxiliary tasks.

    Cost of a look: one backward pass for each task, and one for the primary task. Memory: two gradients.
    """

    totals: Float[Tensor, "statistics tasks"]
    looks: Tensor

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        self.register_buffer("totals", torch.zeros(4, len(self.names)))  # sum, lowest, highest, looks below 0
        self.register_buffer("looks", torch.zeros((), dtype=torch.int64))

    def restart(self) -> None:
        """Forget all looks, as at the start of a stage."""
        self.totals.zero_()
        self.looks.zero_()

    def look(self, step: GateStep, losses: Mapping[str, Float[Tensor, ""]]) -> Metrics:
        """Return ``NAME_cosine`` and ``NAME_gradient``, the norm, of each task, and ``primary_gradient``; detached.

        The graph is kept. Where a gradient is zero the cosine is 0.

        Args:
            step: says what the shared weights are, and the primary loss.
            losses: the mean loss of each task by name, made with :meth:`auxo.types.Batch.mean`.

        Raises:
            ValueError: the step does not say the primary loss.
        """
        if step.primary_loss is None:
            raise ValueError("expected a step with its primary loss, got none: pass primary_loss")
        primary = step.gradient(step.primary_loss)
        size = primary.norm()
        metrics = {"primary_gradient": size}
        cosines = []
        for name in self.names:
            gradient = step.gradient(losses[name])
            norm = gradient.norm()
            smallest = torch.finfo(norm.dtype).tiny
            cosine = (gradient / norm.clamp_min(smallest)) @ (primary / size.clamp_min(smallest))
            metrics |= {f"{name}_cosine": cosine, f"{name}_gradient": norm}
            cosines.append(cosine)
        if cosines:
            self._add_look(torch.stack(cosines).to(self.totals))
        return metrics

    def exhibits(self) -> tuple[Exhibit, ...]:
        """Return a table of the cosines of the stage, with a sentence on what they are; nothing without a look."""
        count = int(self.looks)
        if not count:
            return ()
        sums, lowest, highest, below = self.totals.tolist()
        numbers = zip(self.names, sums, lowest, highest, below, strict=True)
        rows = [
            (name, f"{total / count:.3f}", f"{low:.3f}", f"{high:.3f}", f"{100 * rare / count:.0f} %")
            for name, total, low, high, rare in numbers
        ]
        text = (
            f"The cosine between the gradients of an auxiliary loss and of the primary one, in the shared weights, at "
            f"{count} steps. Below 0, a conflict, a small step on the task alone raises the primary loss of the batch."
        )
        return TextExhibit("Agreement of gradients", text), TableExhibit(
            "Cosines with the primary task", _COLUMNS, rows
        )

    @torch.no_grad()
    def _add_look(self, cosines: Float[Tensor, " tasks"]) -> None:
        """Add the cosines of one look to the totals."""
        is_first = self.looks == 0
        sums, lowest, highest, below = self.totals.unbind(0)
        lowest = torch.where(is_first, cosines, torch.minimum(lowest, cosines))
        highest = torch.where(is_first, cosines, torch.maximum(highest, cosines))
        self.totals.copy_(torch.stack([sums + cosines, lowest, highest, below + (cosines < 0)]))
        self.looks += 1
