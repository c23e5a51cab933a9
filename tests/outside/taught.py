"""A method outside auxo that takes a trained network."""

from dataclasses import dataclass

from auxo.methods.supervised import Supervised


class Taught(Supervised):
    """Predicts from its own features and those of a network that stays as it is."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        """Options."""

        teacher: str = ""
        """Where the trained network is."""

    def __init__(self, config, networks):
        super().__init__(config, networks)
        self.teacher = networks.load("teacher", config.teacher)

    def head_logits(self, images):
        both = self.backbone(images).pooled + self.teacher(images).pooled
        return {"semantic": self.semantic(both)}
