"""What normalises and augments the images of a run."""

from auxo.data import InputPipeline, Splits
from auxo.data.augmentations import Recolouring
from auxo.errors import ConfigError
from auxo.runs.experiment import ExperimentConfig

# Of the training images of ImageNet, as torchvision and timm print them.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def build_pipeline(config: ExperimentConfig, splits: Splits) -> InputPipeline:
    """Return the pipeline of a run, on the CPU.

    Pretrained weights get their input as they were trained: by the mean and deviation that were noted with them. All
    others are given the training images' (:attr:`auxo.data.DataConfig.normalise`).

    Args:
        config: the run.
        splits: its data.

    Raises:
        ConfigError: the weights' own are asked for, and they do not say or have other channels than the images.
        DataError: the images' own are taken, and all pixels of a channel are equal.
    """
    source, places = splits.train.source, splits.places()
    stated = _state_normalisation(config, source.image_shape[0])
    views = [view for stage in config.trained_stages for view in stage.method.required_views().values()]
    draws_tints = any(view.augment == "retint" for view in views)
    return InputPipeline.from_source(
        source,
        augment=config.data.augment,
        place_fill=places,
        stated=stated,
        draws_tints=draws_tints,
        crop_aspect=config.data.crop_aspect,
        recolouring=Recolouring(config.data.colour_jitter, config.data.rand_augment, config.data.erase),
    )


def _state_normalisation(config: ExperimentConfig, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return mean and deviation of the first weights, if they are to be used, else ``None``."""
    rule = config.data.normalise
    if rule == "imagenet":
        if channels != len(_IMAGENET[0]):
            fix = "pass --data.normalise train"
            raise ConfigError("images of three channels, with data.normalise imagenet", f"of {channels}", fix)
        return _IMAGENET
    found = None if rule == "train" else config.backbone.first_normalisation()
    if found is not None and len(found[0]) == len(found[1]) == channels:
        return found
    if rule == "backbone":
        got = "random ones, or ones that do not say" if found is None else f"ones for {len(found[0])} channels"
        expected = f"first weights that say how images of as many channels as they have ({channels}) are normalised"
        fix = "pass --data.normalise train, or pretrained weights (docs: Backbones, From pretrained weights)"
        raise ConfigError(f"{expected}, with data.normalise backbone", got, fix)
    return None
