"""No penalty: the weighted mean of the class loss, which is plain training where no image has a weight."""

from dataclasses import dataclass

from auxo.losses.invariance._interface import AbstractInvariance, InvarianceTerms, JoinedRows, WeightedLossConfig

SOURCE = "Importance weighting alone; the weighted baseline of Makar et al., AISTATS 2022."


class NoPenalty(AbstractInvariance):
    """The class loss alone."""

    @dataclass(frozen=True, kw_only=True)
    class Config(WeightedLossConfig):
        """Options of training without a penalty."""

        def build(self, *, num_classes: int, num_values: int) -> "NoPenalty":
            """Return it."""
            return NoPenalty(self, num_classes=num_classes, num_values=num_values)

    config: Config

    def forward(self, rows: JoinedRows) -> InvarianceTerms:
        """Return the class loss, and 0."""
        return InvarianceTerms(self.config.predict(rows), rows.losses.new_zeros(()))
