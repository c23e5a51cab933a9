"""Shortcut removal: weights make class and column independent, and a penalty keeps features from telling the column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim import Optimizer

from auxo.data import Balanced, DataConfig
from auxo.errors import ConfigError, DataError
from auxo.interfaces import (
    AbstractImageReader,
    AbstractMethod,
    AbstractNetworks,
    Exhibit,
    ImageExhibit,
    MethodConfig,
    Prepared,
    StageStart,
    TableExhibit,
    TextExhibit,
    TrainState,
    View,
)
from auxo.layers.cell_weights import count_cells, effective_size, independence_weights
from auxo.losses import cross_entropy_losses
from auxo.losses.invariance import InvarianceConfig, JoinedRows
from auxo.losses.invariance.mmd import MMD
from auxo.losses.kernels.rbf import RBF
from auxo.optimizers import OptimizerConfig
from auxo.options import Range
from auxo.pretexts import join_rows
from auxo.runs.experiment import ExperimentConfig, StageConfig, TrainingConfig
from auxo.runs.independence.permutation import Permutation
from auxo.runtime import Runtime
from auxo.tasks import Classification
from auxo.types import LABEL, Batch, Batches, Images, Metrics

SOURCE = (
    "Makar, Packer, Moldovan, Blalock, Halpern, D'Amour, Causally motivated shortcut removal using auxiliary labels, "
    "AISTATS 2022 (PMLR 151, arXiv 2105.06422). Of the paper only the abstract and the first page could be read: "
    "weights, penalty and selection are those of the released code "
    "(github.com/mymakar/causally_motivated_shortcut_removal) and of the authors' working repository "
    "(github.com/google/structured_labels). Its class loss is not weighted, because weights and losses are multiplied "
    "in shapes that cancel them: loss_scale=sum_unweighted; here it is. It keeps models by a t-test of three values "
    "that are never negative: the selection two_step has it as chunks, and a permutation test by default. Differs: a "
    "softmax over two outputs for a sigmoid; a batch without one of the groups has no penalty, where the release takes "
    "the other's mean kernel. Ours: more than two classes or values, other kernels, the unbiased estimator, a penalty "
    "that grows over the first steps, and the baselines beside V-REx."
)

_CELL_WEIGHTS = "cell_weights"
_CELLS_SHOWN, _PER_ROW = 10, 10


class ShortcutRemoval(AbstractMethod):
    r"""One head on the backbone, trained so that features tell nothing of a column under weights.

    With the class ``y``, the value ``v`` of the column and the frequencies of the whole training split,

    .. math:: u(y, v) = \frac{P(y) P(v)}{P(y, v)}, \qquad
        L = \frac{\sum_i u_i \ell_i}{\sum_i u_i} + \alpha \mathrm{MMD}^2_u(z \mid v) .

    The column is needed to train and to choose, never to predict.

    Args:
        config: options.
        networks: the shared backbone, the task, the column and the seed of the head's first weights.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Options of shortcut removal and of its baselines."""

        serves = (Classification,)

        column: str
        """The column that the network is not to use, of the scenario or among data.columns."""
        weighting: Literal["product", "inverse", "stratified", "none"] = "product"
        """What makes class and column independent: weights P(y) P(v) / P(y, v); 1 / P(y | v), under which classes are
        equally frequent, too; batches of equally many images of every class with every value, without weights; or
        nothing."""
        clip_weights: Annotated[float, Range(above=0)] | None = None
        """Largest weight; larger ones are cut off, so class and column stay a little dependent; none cuts nothing."""
        invariance: InvarianceConfig = field(default_factory=MMD.Config, metadata={"search": {"weight": "around:100"}})
        """What keeps features from telling the column, or a baseline that makes groups equal in another way."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if not self.column or self.column == LABEL:
                fix = "name another with --method.column"
                raise ConfigError("a further column that is not to be used", repr(self.column), fix)
            if self.clip_weights is not None and self.weighting not in ("product", "inverse"):
                got = f"clip-weights {self.clip_weights:g} with weighting {self.weighting}"
                raise ConfigError("clip-weights with weighting product or inverse", got, "leave it out")

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse parts of a batch, over which distributions are compared."""
            return {
                "accumulate": "its penalty compares the images of a batch",
                "label_smoothing": "its loss weighs images by class and column, and has no smoothed form",
            }

        @classmethod
        def tiny(cls) -> "ShortcutRemoval.Config":
            """Return options for a column called ``fine``."""
            return cls(column="fine")

        @property
        def learned_columns(self) -> tuple[str, ...]:
            """The column."""
            return (self.column,)

        def required_views(self) -> dict[str, View]:
            """Return the training images; stratified, every class with every value is shown equally often."""
            is_stratified = self.weighting == "stratified"
            return {"train": View(order=Balanced((LABEL, self.column)) if is_stratified else None)}

    config: Config

    def __init__(self, config: Config, networks: AbstractNetworks) -> None:
        super().__init__(config, networks)
        column = networks.columns[config.column]
        if column.has_places or len(column.names) < 2:
            got = f"{config.column} with {'places' if column.has_places else f'only {column.names[0]!r}'}"
            raise DataError("a column of two values or more, one for each image", got, "name another --method.column")
        self.values = column.names
        self.semantic = networks.linear_head("semantic")
        self.invariance = config.invariance.build(num_classes=self.task.num_outputs, num_values=len(self.values))

    def optimizers(self) -> dict[str, Optimizer]:
        """Return one optimiser over everything."""
        return {"main": self.config.optimizer.build(self.trained_parameters())}

    def begin(self, start: StageStart) -> Prepared:
        """Return the weight of every class with every value, from the whole training split."""
        counts = self._count_cells(start.images["train"])
        return Prepared(tensors={_CELL_WEIGHTS: self._weigh_cells(counts).float()})

    def update(self, state: TrainState, batches: Batches, runtime: Runtime) -> Metrics:
        """Take one step on both terms of the joined batch."""
        batch = batches["train"]
        with runtime.autocast():
            embedding = self.backbone(batch.images).pooled
            logits = self.semantic(embedding)
        rows = self._join_rows(batch, embedding, logits, state, runtime)
        terms = self.invariance(rows)
        runtime.step(state.optimizers["main"], terms.prediction + terms.penalty)
        return {"classification_loss": terms.prediction.detach(), "invariance_loss": terms.penalty.detach()}

    def head_logits(self, images: Images) -> dict[str, Tensor]:
        """Return the logits of the only head, ``semantic``."""
        return {"semantic": self.semantic(self.backbone(images).pooled)}

    def exhibits(self, images: Mapping[str, AbstractImageReader]) -> Sequence[Exhibit]:
        """Return images and weights of the cells, what is right in each, and whether features tell the column."""
        counts = self._count_cells(images["train"])
        weights = self._weigh_cells(counts)
        part = effective_size(weights.flatten().repeat_interleave(counts.flatten())) / int(counts.sum())
        text = (
            f"Weighted, {int(counts.sum()):,} training images count as much as {part:.0%} of them. The less that is, "
            "the larger are the weights of rare cells, and the noisier is training."
        )
        names = [target.names for target in self.task.targets]
        right = self._measure_cells(images["val"])
        header = (LABEL, self.config.column, "training images", "weight", "right on val, %")
        rows = [
            (name, value, int(counts[y, v]), f"{float(weights[y, v]):.3g}", right[y][v])
            for y, name in enumerate(names[0])
            for v, value in enumerate(self.values)
        ]
        test = Permutation(column=self.config.column, kernel=RBF(sigma=None))
        found = test.measure(self.predict, images["val"])
        told = [(name, f"{measure.value:.3g}") for name, measure in found.items()]
        return (
            TextExhibit("Weights", text),
            self._show_cells(images["train"], counts),
            TableExhibit(f"Classes and {self.config.column}", header, rows),
            TableExhibit(f"What features tell of {self.config.column} on val", ("measure", "value"), told),
        )

    def _join_rows(
        self,
        batch: Batch,
        embedding: Float[Tensor, "batch dim"],
        logits: Float[Tensor, "batch classes"],
        state: TrainState,
        runtime: Runtime,
    ) -> JoinedRows:
        """Return what the terms are made of, of all images of the joined batch, in one message."""
        embedding, logits = (each if each.dtype.itemsize >= 4 else each.float() for each in (embedding, logits))
        classes, values = batch.labels, batch.targets[self.config.column]
        losses = cross_entropy_losses(logits, classes)
        # Class and value ride along as numbers of the features' type, which has whole ones up to 2^24.
        numbers = torch.stack([losses, classes.to(losses.dtype), values.to(losses.dtype)], dim=1)
        joined = join_rows(runtime, batch)(torch.cat([numbers, embedding, logits], dim=1))
        numbers, embedding, logits = joined.split([3, embedding.shape[1], logits.shape[1]], dim=1)
        losses, classes, values = numbers[:, 0], numbers[:, 1].detach().long(), numbers[:, 2].detach().long()
        weights = state.prepared[_CELL_WEIGHTS][classes, values].to(losses.dtype)
        return JoinedRows(losses, weights, embedding, logits, classes, values, progress=state.progress)

    def _show_cells(self, images: AbstractImageReader, counts: Tensor) -> ImageExhibit:
        """Return a row of images of every class with every value, the first few cells only."""
        own, cells = images.targets, counts.nonzero().tolist()[:_CELLS_SHOWN]
        shown = [((own[LABEL] == y) & (own[self.config.column] == v)).nonzero().flatten()[:_PER_ROW] for y, v in cells]
        names = [f"{self.task.targets[0].names[y]} / {self.values[v]}" for y, v in cells]
        captions = [name for name, places in zip(names, shown, strict=True) for _ in places]
        title = f"Training images by class and {self.config.column}"
        return ImageExhibit(title, images.pixels(torch.cat(shown)), captions, columns=_PER_ROW)

    def _count_cells(self, images: AbstractImageReader) -> Tensor:
        """Return how many images there are of every class with every value."""
        targets = images.targets
        shape = self.task.num_outputs, len(self.values)
        return count_cells(targets[LABEL], targets[self.config.column], shape=shape)

    def _weigh_cells(self, counts: Tensor) -> Tensor:
        """Return the weights of the cells, all 1 where images are not weighted.

        Raises:
            DataError: weights are asked for, or equally many images, and there is no image of a cell.
        """
        config = self.config
        if config.weighting == "none":
            return torch.ones_like(counts, dtype=torch.float64)
        empty = (counts == 0).nonzero()
        if len(empty):
            y, v = empty[0].tolist()
            got = f"none of {self.task.targets[0].names[y]!r} with {self.values[v]!r} among {int(counts.sum())}"
            fix = "add some, leave that class or value out, or pass --method.weighting none"
            raise DataError(f"training images of every class with every {config.column}", got, fix)
        if config.weighting == "stratified":
            return torch.ones_like(counts, dtype=torch.float64)
        weights = independence_weights(counts, config.weighting)
        return weights if config.clip_weights is None else weights.clamp(max=config.clip_weights)

    def _measure_cells(self, images: AbstractImageReader) -> list[list[str]]:
        """Return the percentage of right answers on every class with every value."""
        given = images.read(lambda batch: self.predict(batch.images)).argmax(1)
        is_right = (given == images.targets[LABEL]).double()
        own = images.targets
        return [
            [
                f"{100 * float(is_right[chosen].mean()):.1f}" if bool(chosen.any()) else "-"
                for value in range(len(self.values))
                for chosen in [(own[LABEL] == number) & (own[self.config.column] == value)]
            ]
            for number in range(self.task.num_outputs)
        ]


def recipe() -> ExperimentConfig:
    """Return shortcut removal with LeNet-5 on digits whose colour tells their half in nine of ten images."""
    penalty = MMD.Config(weight=30.0)
    method = ShortcutRemoval.Config(column="colour", optimizer=OptimizerConfig(lr=0.02), invariance=penalty)
    return ExperimentConfig(
        data=DataConfig(scenario="coloured_digits"),
        stages=(StageConfig(method=method, epochs=40, batch_size=64),),
        training=TrainingConfig(evaluate_every=2),
    )
