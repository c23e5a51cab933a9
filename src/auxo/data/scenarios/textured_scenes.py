"""Generated scenes of six textures with masks, 64x64; unseen: stronger colours, turned scenes. Needs no download."""

from auxo.data.config import DataConfig
from auxo.data.sources import InMemorySource, PlaceMap
from auxo.data.splits import OODSplit, Splits, TestSplit, TrainSplit, ValSplit
from auxo.data.textures import SIDE, TEXTURES, Lighting, draw_scenes
from auxo.losses import IGNORE
from auxo.tasks import AbstractTask
from auxo.types import MASK

SOURCE = """\
Made by auxo itself from random numbers: no photographs. Every image has six regions, the Voronoi cells of random
points, and every region one of six textures (five gratings and a chequered one). Colour and contrast are drawn anew for
every image, and a colour for every texture of an image, so that colours tell the regions of one image apart and say
nothing of what they are: textures have to be learned across images. 200 to train, of which 10 keep their masks unless
data.num_labelled says otherwise, 50 to validate, 100 to test. strong-tints: 100 scenes whose textures are coloured
three times as strongly. turned: 100 scenes, each turned by up to 20 degrees to either side. No scene is in two sets."""

NUM_LABELLED = 10
"""Training images that keep their masks, where data.num_labelled does not say it."""
REDRAWN, HAS_POOL = "all", False  # every seed draws scenes of its own

_NUM_TRAIN = 200
_NUM_VAL = 50
_NUM_TEST = 100
_UNSEEN = {"strong-tints": Lighting(class_tint=1.5), "turned": Lighting(turn=20.0)}


def build(config: DataConfig, *, seed: int, task: type[AbstractTask]) -> Splits:
    """Return the splits.

    Args:
        config: gives ``num_train`` (default 200, any number) and ``image_size`` (default 64): larger scenes show more
            of the same textures.
        seed: decides everything; the scenes of a smaller number are among those of a larger one.
        task: what is predicted.
    """

    def make(name: str, count: int, lighting: Lighting | None = None) -> InMemorySource:
        scenes = draw_scenes(count, seed=seed, name=name, side=config.image_size or SIDE, lighting=lighting)
        return InMemorySource(name, scenes.images, maps={MASK: PlaceMap(scenes.masks, TEXTURES, IGNORE)})

    return Splits(
        train=TrainSplit(make("textured_scenes-train", config.num_train or _NUM_TRAIN)),
        val=ValSplit(make("textured_scenes-val", _NUM_VAL)),
        test=TestSplit(make("textured_scenes-test", _NUM_TEST)),
        ood=tuple(OODSplit(make(name, _NUM_TEST, lighting)) for name, lighting in _UNSEEN.items()),
        task_kind=task,
    )
