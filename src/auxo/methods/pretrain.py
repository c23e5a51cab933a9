"""A pretext, without labels and without a class head."""

from dataclasses import dataclass, field

from torch import Tensor
from torch.optim import Optimizer

from auxo.interfaces import AbstractNetworks, AbstractPretextMethod, PretextMethodConfig, TrainState, View
from auxo.optimizers import OptimizerConfig
from auxo.pretexts import collapse_metrics
from auxo.pretexts.simclr import SimCLR
from auxo.runtime import Runtime
from auxo.types import Batches, Images, Metrics

SOURCE = (
    "The pretexts' own: Chen et al., SimCLR, ICML 2020 (arXiv 2002.05709); Grill et al., BYOL, NeurIPS 2020 (arXiv "
    "2006.07733); Zbontar et al., Barlow Twins, ICML 2021 (arXiv 2103.03230); Bardes et al., VICReg, ICLR 2022 (arXiv "
    "2105.04906); pretexts of one image have theirs. Ours: two views are resized crops whose flips follow the run's "
    "own augmentation, one image is augmented as the run says; schedules move as the optimiser's options say."
)


class Pretraining(AbstractPretextMethod):
    """Trains backbone and pretext heads on the images alone; later stages start from the backbone.

    Where two views are compared, a warning sign of collapse, all images mapped to one point, is in the records of
    every step: ``embedding_std`` near 0, ``effective_rank`` near 1 (:func:`auxo.pretexts.collapse_metrics`).

    Args:
        config: options.
        networks: the shared backbone, the task and the seed of heads' first weights.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(PretextMethodConfig):
        """Options of pretraining."""

        optimizer: OptimizerConfig = field(
            default_factory=lambda: OptimizerConfig(lr=0.03, schedule="cosine", moves="step", warmup_epochs=1)
        )
        """How the weights follow their gradients; released BiSSL has name lars, lr 4.8 and batches of 1,024."""

        @classmethod
        def tiny(cls) -> "Pretraining.Config":
            """Return options with narrow heads."""
            return cls(pretext=SimCLR.Config(hidden=16, outputs=8))

        def required_views(self) -> dict[str, View]:
            """Return the pretext's views of all images: ``first``, and where two are compared ``second``."""
            return self.chosen_pretext.views()

    config: Config
    head_names = ()

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        self.pretext = config.chosen_pretext.build(self.backbone, seed=networks.seed)

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser over all trained weights."""
        return {"main": self.config.optimizer.build(self.trained_parameters())}

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step on the pretext's loss."""
        answer = self.pretext_loss(state, batches, runtime)
        runtime.step(state.optimizers["main"], answer.loss)
        return {"pretext_loss": answer.loss.detach(), **collapse_metrics(answer.embeddings)}

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return nothing: there is no class head."""
        del images
        return {}
