"""What to train and test on, as options."""

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import tyro

from auxo.data.decode import MIN_PIXELS
from auxo.data.fitting import FitMethod, ImageFit
from auxo.data.imbalance import Imbalance
from auxo.data.mask_legend import MOST_INDICES
from auxo.data.shortcuts import ShortcutConfig
from auxo.errors import ConfigError, OptionError
from auxo.files.moved import find_path, find_place
from auxo.losses import IGNORE
from auxo.options import LATER, Options, Range
from auxo.registry.outside import absolute_name
from auxo.types import LABEL

Augment: TypeAlias = Literal["none", "crop", "crop_flip", "crop_resize", "crop_resize_flip"]
Normalise: TypeAlias = Literal["auto", "backbone", "train", "imagenet"]
Unknown: TypeAlias = Literal["refuse", "ignore"]

_WIDE = ("camvid",)  # scenarios whose images are not square, and are always brought to a size
_WITH_SHORTCUT = ("coloured_digits", "patched_digits", "digits_on_scenes", "objects_on_scenes")


@dataclass(frozen=True, kw_only=True)
class DataConfig(Options):
    """Which images a run uses: a built-in scenario, or one's own.

    A set of one's own is named by a folder of class folders, a Parquet file or folder, a CSV of paths and labels, or
    ``hf://owner/name[:split]`` for a data set of the Hugging Face hub or of the ``datasets`` library on disk, or
    ``file.py:Name`` for a function of one's own that takes these options and returns a source. Where the task wants a
    mask for every image, a folder has the folders images and masks, and the others have a column of masks.
    """

    scenario: str = "digits"
    """Built-in set of splits, by name; ignored once train is given. "auxo list" shows all."""
    train: Annotated[str | None, tyro.conf.arg(aliases=["--train"])] = None
    """Your own training images; replaces the scenario wholly. Folder, Parquet, CSV, hf://owner/name[:split] or
    file.py:Name. A folder with train, val and test in it, and a set of the hub with such splits, are divided so."""
    val: str | None = None
    """Your own validation images, which decide under selection.keep best; else val_fraction of train is cut off."""
    test: str | None = None
    """Your own test images; without them test_fraction of train is cut off."""
    ood: tuple[str, ...] = ()
    """Images from elsewhere with the classes of train or of the scenario; measured at the end, never used to choose."""
    source_domains: tuple[str, ...] = field(default=(), metadata=LATER)
    """Domains of your own images that train, as "photo,art": folders of train that hold class folders, or values of
    domain_column. Every other domain is an unseen set, as if given to ood."""
    domain_column: str | None = field(default=None, metadata=LATER)
    """Column of the domains in Parquet, CSV and hf:// sets."""
    root: str | None = None
    """Folder of real copies, <name>/{train,test}.parquet, that scenarios read instead of the hub; default AUXO_DATA."""
    num_train: Annotated[int | None, Range(low=2)] = None
    """Number of training images, drawn with the class proportions kept; default the scenario's own, or all."""
    num_labelled: Annotated[int | None, Range(low=2)] = None
    """Training images that keep their label, the same number of every class, or any where the task has masks; all
    training images are also used without labels, by methods that train on such. Default the scenario's own, or all;
    ignored once unlabelled is given."""
    keep_hidden: bool = False
    """Keep what num_labelled hides in the unlabelled images under another name, hidden_mask for masks: for upper bounds
    alone, that are allowed to look."""
    unlabelled: str | None = None
    """Your own images without labels, for methods that train on such: a folder, Parquet, CSV or hf://owner/name."""
    imbalance: Imbalance = "none"
    """Make the training classes uneven, in the order of the labels: sizes that fall from class to class to
    imbalance_ratio of the largest (exp), or that small for the last half of the classes (step); validation and test
    stay as they are."""
    imbalance_ratio: Annotated[float, Range(above=0, high=1)] = 0.01
    """Smallest over largest training class under imbalance."""
    val_fraction: Annotated[float, Range(above=0, below=1)] = 0.1
    """Part of train cut off for validation where none is given."""
    test_fraction: Annotated[float, Range(low=0, below=1)] = 0.1
    """Part of train cut off for the test where none is given; 0 means no test set."""
    meta_fraction: Annotated[float, Range(low=0, below=1)] = 0.0
    """Part of the training images set apart for methods that learn on a second set (meta); 0 means none."""
    image_size: Annotated[int | None, Range(low=MIN_PIXELS, high=4096)] = None
    """Side in pixels that images are resized (short side) and centre-cropped to, and their masks with them (nearest);
    default as they are, or where the sizes of your own images differ one that is chosen by them."""
    image_width: Annotated[int | None, Range(low=MIN_PIXELS, high=4096)] = None
    """Width in pixels, where images are not to be square; image_size is then their height. Images of your own and of
    camvid are scaled until they cover that, and cropped around the centre."""
    fit: FitMethod = field(default="crop", metadata=LATER)
    """How images of another shape are brought to the size: scaled until they cover it and cut around the centre (crop),
    scaled until they fit in, with grey beside them (letterbox), or in height and width apart (squash)."""
    image_column: str = "image"
    """Column of the images in Parquet and hf:// sets."""
    label_column: str = "label"
    """Column of the labels in Parquet, CSV and hf:// sets; of cifar100 also the level of its classes."""
    mask_column: str = "mask"
    """Column of the masks in Parquet and hf:// sets, and of their paths in a CSV, where the task wants masks."""
    classes: str | None = None
    """CSV that says what the values of masks stand for: name, and index, colour (#rrggbb) or both, and ignored (yes or
    no); default classes.csv beside the images, else the numbers in the training masks are the classes."""
    ignore_index: Annotated[int | None, Range(low=0, high=MOST_INDICES - 1)] = IGNORE
    """Value of masks of numbers that says nothing; None where all values are classes."""
    path_column: str = "path"
    """Column of the image paths in a CSV; relative paths start at the CSV's folder."""
    columns: tuple[str, ...] = ()
    """Further columns of names or whole numbers, that results are grouped by and methods may learn, as "a,b": of
    Parquet, CSV and hf:// sets, and for a folder of a labels.csv in it, whose column path gives each image's path from
    there."""
    block_column: str | None = None
    """Further column whose equal values are of images that depend on each other, such as patient or video: parts that
    are cut off train keep them together, val and test given beside train must share none, and intervals draw blocks."""
    unknown: Unknown = "refuse"
    """What to do with an image that has no label, mask or value of a further column, or one that train does not have
    where it must: stop (refuse), or leave it out and say how many were (ignore)."""
    storage: Literal["auto", "memory", "stream"] = "auto"
    """Decode images once into memory, or each time they are used; "auto" takes memory up to 1 GiB of pixels."""
    workers: Annotated[int, Range(low=0, high=256)] = 0
    """Processes that decode images; 0 decodes in the training process."""
    augment: Augment = "none"
    """Augmentation in training: none, crops after padding by an eighth (crop), parts of 8 to 100 % of the area scaled
    to the image's size (crop_resize), or either with flips (not for digits or text)."""
    colour_jitter: Annotated[float, Range(low=0, high=1)] = field(default=0.0, metadata=LATER)
    """Part of the training images whose brightness, contrast, saturation and hue are drawn anew; 0 is none."""
    rand_augment: Annotated[int, Range(low=0, high=16)] = field(default=0, metadata=LATER)
    """Operations of RandAugment that every training image goes through, each of a random strength; 2 is usual, 0 is
    none."""
    erase: Annotated[float, Range(low=0, high=1)] = field(default=0.0, metadata=LATER)
    """Part of the training images of which a rectangle of 2 to 33 % of the area is hidden; 0 is none."""
    crop_aspect: tuple[Annotated[float, Range(above=0)], Annotated[float, Range(above=0)]] = field(
        default=(3 / 4, 4 / 3), metadata=LATER
    )
    """Range of width over height of the parts that crop_resize, and both views of self-supervised learning, scale."""
    normalise: Normalise = "auto"
    """Which mean and deviation of each channel normalise pixels: the training images' (train), those that the
    backbone's first weights were trained with (backbone), those of ImageNet (imagenet), or the backbone's where they
    are known for as many channels as the images have, else the training images' (auto)."""
    on_overlap: Literal["error", "drop"] = "error"
    """What to do when one image is in two splits: stop, or drop the copy on the training side."""
    shortcut: ShortcutConfig = field(default_factory=ShortcutConfig)
    """Of the scenarios that have one, coloured_digits, patched_digits, digits_on_scenes and objects_on_scenes: the
    shortcut that the images are given."""

    def __post_init__(self) -> None:
        for name in ("train", "val", "test", "unlabelled"):
            place = getattr(self, name)
            object.__setattr__(self, name, None if place is None else absolute_name(place))
        object.__setattr__(self, "ood", tuple(map(absolute_name, self.ood)))
        for option in ("columns", "source_domains"):
            names = tuple(name.strip() for each in getattr(self, option) for name in each.split(","))
            object.__setattr__(self, option, names)
        super().__post_init__()
        if not self.val_fraction + self.test_fraction < 1:
            got = f"{self.val_fraction + self.test_fraction}"
            raise OptionError("val_fraction", "+ test-fraction < 1", got, "lower one of them")
        if self.crop_aspect[0] > self.crop_aspect[1]:
            got, fix = " ".join(map(str, self.crop_aspect)), "give the narrower part's first"
            raise OptionError("crop_aspect", "the smallest ratio and the largest", got, fix)
        self._check_columns()
        self._check_domains()
        if self.shortcut != ShortcutConfig() and (self.train is not None or self.scenario not in _WITH_SHORTCUT):
            got = f"data.shortcut with {self.scenario if self.train is None else 'data.train'}"
            fix = "choose one of them, or leave data.shortcut out"
            raise ConfigError(f"data.shortcut with data.scenario {', '.join(_WITH_SHORTCUT)}", got, fix)
        self._check_width()
        given = [name for name in ("val", "test") if getattr(self, name) is not None]
        if self.train is None and given:
            raise ConfigError(
                f"data.train with data.{given[0]}", f"data.{given[0]} alone", "give --data.train, or only --data.ood"
            )

    def _check_width(self) -> None:
        """Refuse a width of images without a height, or of a scenario that has a shape of its own."""
        if self.image_width is None:
            return
        if self.image_size is None:
            got, fix = f"data.image_width {self.image_width} alone", "give the height by --data.image-size"
            raise ConfigError("data.image_width with data.image_size", got, fix)
        if self.train is None and self.scenario not in _WIDE:
            got, fix = f"data.scenario {self.scenario}", "leave data.image_width out"
            raise ConfigError(f"data.image_width with data.train or data.scenario {', '.join(_WIDE)}", got, fix)

    def _check_domains(self) -> None:
        """Refuse domains of a scenario, a column of them that is something else, and a domain that is named twice."""
        given = [name for name in ("source_domains", "domain_column") if getattr(self, name)]
        if given and self.train is None:
            option, got = given[0].replace("_", "-"), f"data.scenario {self.scenario}"
            raise ConfigError(f"data.train with data.{option}", got, "name the images by --train")
        if self.domain_column is not None and self.domain_column in ("", LABEL, self.label_column):
            rule, got = "a column that is not that of the labels", repr(self.domain_column)
            raise OptionError("domain_column", rule, got, "name that of the domains")
        if len(set(self.source_domains)) < len(self.source_domains) or "" in self.source_domains:
            got, fix = ",".join(self.source_domains), "write them as photo,art"
            raise OptionError("source_domains", "names that differ", got, fix)

    def _check_columns(self) -> None:
        """Refuse further columns without a name, named twice, or that are the labels."""
        checks = (
            (all(self.columns), "names in data.columns", "an empty one", "write them as a,b"),
            (len(set(self.columns)) == len(self.columns), "each of data.columns once", None, "name every column once"),
            (self.label_column not in self.columns, "further columns in data.columns", None, "leave the labels out"),
            (
                self.block_column not in ("", LABEL, self.label_column),
                "a further column in data.block-column",
                self.block_column,
                "name one that says which images belong together",
            ),
            (
                self.block_column is None or self.train is not None,
                "data.block-column with data.train",
                f"data.scenario {self.scenario}",
                "leave it out: scenarios know their blocks",
            ),
            (
                LABEL not in self.columns,
                f"data.columns without '{LABEL}'",
                None,
                "the labels have that name: rename it",
            ),
        )
        for is_valid, expected, got, fix in checks:
            if not is_valid:
                raise ConfigError(expected, got or ",".join(self.columns), fix)

    @property
    def further_columns(self) -> tuple[str, ...]:
        """All further columns that are read: those that results are grouped by, and that of the blocks."""
        return tuple(dict.fromkeys([*self.columns, *([] if self.block_column is None else [self.block_column])]))

    @property
    def target_size(self) -> ImageFit | None:
        """What images are brought to, and how; ``None`` leaves them as they are."""
        if self.image_size is None:
            return None
        return ImageFit(self.image_size, self.image_width or self.image_size, self.fit)

    @property
    def is_resized(self) -> bool:
        """Whether images are brought to a size, by these options or by the scenario."""
        return self.image_size is not None or (self.train is None and self.scenario in _WIDE)

    def at_places(self) -> "DataConfig":
        """Return the options with the places where training images and tables are now, for a set beside them."""
        train = None if self.train is None else find_place(self.train)
        return replace(self, train=train, classes=None if self.classes is None else find_place(self.classes))

    @property
    def optional(self) -> tuple[str, ...]:
        """Further columns without whose value an image stays, in a group of its own."""
        return ()

    @property
    def data_root(self) -> Path | None:
        """The folder of real copies: ``root``, else the environment variable ``AUXO_DATA``, else none."""
        root = self.root if self.root is not None else os.environ.get("AUXO_DATA")
        if not root:
            return None
        return find_path(root) if root == self.root else Path(root).expanduser()


@dataclass(frozen=True, kw_only=True)
class RegroupedDataConfig(DataConfig):
    """Data of a run that is over, with columns that it was made without and that only group.

    They decide neither which images there are nor how these are cut: an image without a value is in the group
    ``(none)``.
    """

    regrouped: tuple[str, ...] = ()
    """Names of these columns, which are among ``columns``."""

    @property
    def optional(self) -> tuple[str, ...]:
        """See :attr:`DataConfig.optional`."""
        return self.regrouped
