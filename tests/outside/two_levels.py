"""A method outside auxo that uses all that one may: two networks that train in turns, clusters, a measure, exhibits.

The classifier learns the classes and, by a second head, which of the clusters an image belongs to. The clusters are
found once, before the first step, among the features of the untrained network. In each epoch the classifier passes over
all training images; then the generator, a second network, passes over them and learns what the classifier answers.
"""

from dataclasses import dataclass, field

import torch
from torch import nn

from auxo.backbones import BackboneConfig
from auxo.interfaces import (
    AbstractMethod,
    CurveExhibit,
    ImageExhibit,
    MethodConfig,
    Prepared,
    StepPlan,
    TableExhibit,
    TextExhibit,
    View,
)
from auxo.losses import cross_entropy_losses
from auxo.optimizers import OptimizerConfig
from auxo.runs import ExperimentConfig, StageConfig
from auxo.runs.selection import SelectionRule
from auxo.tasks import Classification, Measure

CALLS = []
"""What has begun in this process, for tests."""


class TwoLevels(AbstractMethod):
    """Two whole passes an epoch: one of the classifier, one of the generator."""

    @dataclass(frozen=True, kw_only=True)
    class Config(MethodConfig):
        """Options."""

        serves = (Classification,)

        generator: BackboneConfig = field(default_factory=lambda: BackboneConfig(name="resnet8"))
        """The second network."""
        num_clusters: int = 3
        """Clusters of the training images, >= 2."""

        def required_views(self):
            return {"train": View(), "second": View(stream="second")}

        def plan(self, step, passes):
            epoch, place = divmod(step, self.steps_per_epoch(passes))
            if place < passes["train"]:
                return StepPlan({"train": epoch * passes["train"] + place}, ("classifier",), "classifier")
            number = epoch * passes["second"] + place - passes["train"]
            return StepPlan({"second": number}, ("generator",), "generator")

        def steps_per_epoch(self, passes):
            return passes["train"] + passes["second"]

    def __init__(self, config, networks):
        super().__init__(config, networks)
        self.generator = networks.new("generator", config.generator)
        self.semantic = networks.linear_head("semantic")
        self.clusters = networks.linear_head("clusters", config.num_clusters)
        self.answer = nn.Linear(self.generator.num_features, self.task.num_outputs)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)
        self.register_buffer("centres", torch.zeros(config.num_clusters, self.backbone.num_features))

    def optimizers(self):
        classifier = [*self.backbone.parameters(), *self.semantic.parameters(), *self.clusters.parameters()]
        generator = [*self.generator.parameters(), *self.answer.parameters()]
        return {
            name: self.config.optimizer.build(p) for name, p in (("classifier", classifier), ("generator", generator))
        }

    def begin(self, start):
        """K-means with a few rounds from images that a stream names."""
        CALLS.append("begin")
        features = start.images["train"].features(self.backbone).double()
        first = torch.randperm(len(features), generator=start.generator("centres"))[: self.config.num_clusters]
        centres = features[first]
        for _ in range(5):
            nearest = torch.cdist(features, centres).argmin(1)
            centres = torch.stack([features[nearest == number].mean(0) for number in range(self.config.num_clusters)])
        nearest = torch.cdist(features, centres).argmin(1)
        halves = torch.zeros(len(features), *self.task.image_shape[1:], dtype=torch.int64)
        halves[:, : halves.shape[1] // 2] = 1
        return Prepared(
            tensors={"centres": centres.float()},
            targets={"train": {"cluster": nearest, "upper_half": halves}},
            fills={"upper_half": -1},
        )

    def update(self, state, batches, runtime):
        assert "cluster" in next(iter(batches.values())).targets
        if state.step == 0:
            self.centres.copy_(state.prepared["centres"])
        return (
            self._teach(state, batches["second"], runtime)
            if state.kind == "generator"
            else self._learn(state, batches["train"], runtime)
        )

    def _learn(self, state, batch, runtime):
        with runtime.autocast():
            pooled = self.backbone(batch.images).pooled
            logits, clusters = self.semantic(pooled), self.clusters(pooled)
        class_loss = batch.mean(cross_entropy_losses(logits, batch.labels))
        cluster_loss = batch.mean(cross_entropy_losses(clusters, batch.targets["cluster"]))
        runtime.step(state.optimizers["classifier"], class_loss + 0.5 * cluster_loss)
        return {"class_loss": class_loss.detach(), "cluster_loss": cluster_loss.detach()}

    def _teach(self, state, batch, runtime):
        with torch.no_grad():
            taught = self.semantic(self.backbone(batch.images).pooled).argmax(1)
        with runtime.autocast():
            answers = self.answer(self.generator(batch.images).pooled)
        generator_loss = batch.mean(cross_entropy_losses(answers, taught))
        runtime.step(state.optimizers["generator"], generator_loss)
        return {"generator_loss": generator_loss.detach()}

    def head_logits(self, images):
        return {"semantic": self.semantic(self.backbone(images).pooled)}

    def measures(self, images):
        """How far apart the predicted probabilities of the two networks are."""

        def apart(batch):
            own = self.semantic(self.backbone(batch.images).pooled).float().softmax(1)
            other = self.answer(self.generator(batch.images).pooled).float().softmax(1)
            return (own - other).abs().sum(1) / 2

        distance = images.read(apart)
        return {"disagreement": Measure(float(distance.double().mean()), unit="", higher_is_better=False)}

    def exhibits(self, images):
        features = images["train"].features(self.backbone)
        nearest = torch.cdist(features, self.centres.cpu()).argmin(1)
        counts = nearest.bincount(minlength=self.config.num_clusters).tolist()
        shown = torch.arange(min(6, len(features)))
        captions = [f"cluster {number}" for number in nearest[shown].tolist()]
        spread = features.std(0).sort(descending=True).values[:10].tolist()
        return (
            ImageExhibit("Images and their clusters", images["train"].pixels(shown), captions, columns=3),
            TableExhibit("Images of each cluster", ("cluster", "images"), list(enumerate(counts))),
            CurveExhibit("Spread of features", "feature", "standard deviation", {"train": list(enumerate(spread))}),
            TextExhibit("Reading", "Clusters are of the untrained network."),
        )


def recipe():
    """Return a run of a few seconds."""
    method = TwoLevels.Config(optimizer=OptimizerConfig(lr=0.02, schedule="constant"))
    selection = SelectionRule(keep="best", measure="disagreement")
    return ExperimentConfig(
        stages=(StageConfig(method=method, epochs=2, batch_size=32, selection=selection),),
        backbone=BackboneConfig(name="resnet8"),
    )
