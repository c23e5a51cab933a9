"""What the methods share that train a pretext: which one it is, a stage or the whole run says."""

from dataclasses import dataclass, replace
from typing import Any

from auxo.errors import ConfigError
from auxo.interfaces.method import AbstractMethod, MethodConfig, TrainState
from auxo.interfaces.pretext import AbstractPretextModule, PretextConfig, PretextHead, PretextLoss
from auxo.runtime import Runtime
from auxo.types import Batches


@dataclass(frozen=True, kw_only=True)
class PretextMethodConfig(MethodConfig):
    """Options of a method that trains a pretext."""

    pretext: PretextConfig | None = None
    """The pretext of this stage, if it is another than the run's."""

    @property
    def needs_pretext(self) -> bool:
        """Whether the pretext is trained; by default it is."""
        return True

    @property
    def chosen_pretext(self) -> PretextConfig:
        """The pretext.

        Raises:
            ConfigError: none is said, neither here nor by the run.
        """
        if self.pretext is None:
            method = type(self).__qualname__.partition(".")[0]
            raise ConfigError(f"a pretext for {method}", "none", "pass --pretext.name (auxo list pretexts)")
        return self.pretext

    def with_pretext(self, pretext: PretextConfig | None) -> "PretextMethodConfig":
        """Return the options with a pretext where they say none."""
        return self if self.pretext is not None else replace(self, pretext=pretext)


class AbstractPretextMethod(AbstractMethod):
    """A method that trains a pretext, whose answers are measured and whose followers are not trained.

    Attributes:
        pretext: its heads.
    """

    pretext: AbstractPretextModule[Any]

    def pretext_loss(self, state: TrainState, batches: Batches, runtime: Runtime) -> PretextLoss:
        """Return the loss of a training step, and move what follows the trained weights.

        Args:
            state: of the step.
            batches: a batch of each of the pretext's views.
            runtime: autocast, and the other processes.
        """
        inputs = self.pretext.prepare(batches, draws=state.draws, runtime=runtime)
        self.pretext.follow(self.backbone, progress=state.progress)
        with runtime.autocast():
            answer: PretextLoss = self.pretext(self.backbone, inputs)
        return answer

    def pretext_heads(self) -> dict[str, PretextHead]:
        """Return the pretext's heads whose answers are classes."""
        return self.pretext.heads(self.backbone)

    def frozen_parameters(self) -> dict[str, str]:
        """Return what follows the trained weights without gradients, if the pretext has such."""
        return {f"pretext.{name}": reason for name, reason in self.pretext.frozen_parameters().items()}
