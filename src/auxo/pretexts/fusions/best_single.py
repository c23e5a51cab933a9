"""Use one encoder, the one whose features classify the training images best under cross-validation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from auxo.errors import DataError, OptionError
from auxo.options import Range
from auxo.pretexts.fusions._interface import AbstractFusion, EncoderShapes, Fused
from auxo.pretexts.fusions._mixture import MixtureConfig
from auxo.pretexts.fusions.mean import Mean

SOURCE = (
    "A baseline: nothing is fused. The encoder is chosen by the accuracy of scikit-learn's logistic regression on "
    "standardised features in stratified folds of the training images, so that neither validation nor test is read."
)


class BestSingle(AbstractFusion):
    """A projection and a linear head for each encoder, each trained by itself; one of them predicts.

    Args:
        config: options.
        shapes: of the encoders.
    """

    weighs = True
    chosen: Tensor
    scores: Float[Tensor, " encoders"]

    @dataclass(frozen=True, kw_only=True)
    class Config(MixtureConfig):
        """Options of a single encoder."""

        encoder: str = ""
        """Its name; empty chooses by cross-validation."""
        folds: Annotated[int, Range(low=2)] = 5
        """Parts of the training images in cross-validation; fewer where a class has fewer images."""

        @property
        def prepares(self) -> bool:
            """Whether an encoder is to be chosen."""
            return not self.encoder

        def build(self, shapes: EncoderShapes) -> "BestSingle":
            """Return the fusion."""
            if self.encoder and self.encoder not in shapes.names:
                raise OptionError(
                    "encoder", f"one of {', '.join(shapes.names)}", repr(self.encoder), "name one of them"
                )
            return BestSingle(self, shapes)

    def __init__(self, config: Config, shapes: EncoderShapes) -> None:
        super().__init__()
        self.folds, self.count = config.folds, len(shapes.names)
        self.places = [shapes.names.index(config.encoder)] if config.encoder else list(range(self.count))
        # One for each: which is chosen is known when the images have been seen, and weights are made before.
        self.singles = nn.ModuleList(
            Mean(config, shapes._replace(names=(shapes.names[place],), widths=(shapes.widths[place],)))
            for place in self.places
        )
        self.register_buffer("chosen", torch.tensor(self.places[0]))
        self.register_buffer("scores", torch.zeros(self.count))

    def prepare(
        self, parts: Sequence[Float[Tensor, "n _"]], labels: Int[Tensor, " n"], *, generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return the cross-validated accuracy of each encoder, and the number of the best, the first among equals.

        Raises:
            DataError: a class has a single image.
        """
        from sklearn.linear_model import LogisticRegression  # takes seconds to import
        from sklearn.model_selection import StratifiedKFold, cross_val_score
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        fewest = int(labels.unique(return_counts=True)[1].min())
        if fewest < 2:
            fix = "label more images, or name the encoder with fusion.encoder"
            raise DataError("two training images or more of every class to choose an encoder", str(fewest), fix)
        seed = int(torch.randint(2**31, (), generator=generator))
        folds = StratifiedKFold(min(self.folds, fewest), shuffle=True, random_state=seed)
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        found = [cross_val_score(model, part.double().numpy(), labels.numpy(), cv=folds).mean() for part in parts]
        scores = torch.tensor(found)
        return {"scores": scores, "chosen": scores.argmax()}

    def forward(self, parts: Sequence[Float[Tensor, "batch _"]], own: Float[Tensor, "batch _"] | None = None) -> Fused:
        """Return the logits of the chosen encoder, and those of all, which learn."""
        del own
        each = tuple(single([parts[place]]).logits for place, single in zip(self.places, self.singles, strict=True))
        logits = each[0] if len(each) == 1 else torch.stack(each)[self.chosen]
        weights = functional.one_hot(self.chosen, self.count).to(logits.dtype).expand(logits.shape[0], 1, -1)
        return Fused(logits, learning=each, weights=weights)
