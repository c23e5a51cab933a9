"""4,000 MNIST digits; unseen: USPS (other writers and scanner) and MNIST-M (over photographs)."""

from auxo.data.config import DataConfig
from auxo.data.digits_rendering import centre_digits, grey_to_rgb
from auxo.data.loader import in_memory
from auxo.data.readers import store
from auxo.data.scenarios._copies import KnownSet, cut_train_and_val
from auxo.data.scenarios._memory import made_source
from auxo.data.sources import AbstractSource, InMemorySource
from auxo.data.splits import OODSplit, Splits, TestSplit, TrainSplit, ValSplit
from auxo.random import derive_seed
from auxo.tasks import AbstractTask

NAMES = ("mnist-usps-mnistm",)

SOURCE = """\
Training and validation: 4,000 (or num_train) and 1,000 images of the training part of MNIST, stratified and seeded;
test: its test part (LeCun et al., Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 1998).
usps: the 2,007 test digits of USPS (Hull, A Database for Handwritten Text Recognition Research, IEEE TPAMI 1994;
this part as in Hastie, Tibshirani & Friedman, The Elements of Statistical Learning), 16x16 pixels filling the frame,
enlarged and centred as MNIST's are. mnistm: the test part of MNIST-M (Ganin & Lempitsky, Unsupervised Domain Adaptation
by Backpropagation, ICML 2015); its digits are MNIST's test digits over other backgrounds, so its errors are not
independent of the test split's. All images are 28x28, grey ones repeated over three channels.
Read from <root>/{mnist,usps,mnistm}/{train,test}.parquet, or from the Hugging Face hub as ylecun/mnist, flwrlabs/usps
and Mike0307/MNIST-M (32x32 pixels there, resized to 28x28). The way over the hub was written offline and is untested.
"""

_MNIST = KnownSet(name="mnist", hub="ylecun/mnist")
_USPS = KnownSet(name="usps", hub="flwrlabs/usps")
_MNISTM = KnownSet(name="mnistm", hub="Mike0307/MNIST-M")
_SIDE = 28
_NUM_TRAIN = 4000
_NUM_VAL = 1000


def build(config: DataConfig, *, seed: int, task: type[AbstractTask]) -> Splits:
    """Return the splits.

    Args:
        config: gives the root, ``num_train`` (default 4,000), ``image_size`` (default 28) and storage; ``usps`` is
            always held in memory, because its images are made here.
        seed: decides which images train and validate.
        task: says what proportions every part keeps.

    Raises:
        DataError: a set is missing, cannot be used, or is too small for ``num_train``.
    """
    size = config.image_size or _SIDE
    mnist = _MNIST.read("train", config, image_size=size)
    train_part, val_part = cut_train_and_val(
        mnist,
        _MNIST.name,
        num_train=config.num_train or _NUM_TRAIN,
        num_val=_NUM_VAL,
        seed=derive_seed(seed, "mnist", "parts"),
        task=task,
    )
    test_part = _MNIST.read("test", config, image_size=size, like=mnist)
    mnistm_part = _MNISTM.read("test", config, image_size=size, like=mnist)
    test_part.name, mnistm_part.name = "mnist-test", "mnistm"
    train, val, test, mnistm = store([train_part, val_part, test_part, mnistm_part], config)
    return Splits(
        train=TrainSplit(train),
        val=ValSplit(val),
        test=TestSplit(test),
        ood=(OODSplit(_read_usps(config, mnist)), OODSplit(mnistm)),
        task_kind=task,
    )


def _read_usps(config: DataConfig, mnist: AbstractSource) -> InMemorySource:
    """Return the test digits of USPS drawn as MNIST is."""
    scanned = _USPS.read("test", config, image_size=None, like=mnist)
    raw = in_memory(scanned, workers=config.workers)
    digits = centre_digits(raw.images[:, 0])
    origins = [raw.describe(i) for i in range(len(raw))]
    return made_source("usps", grey_to_rgb(digits), raw.columns, config, origins=origins, notes=raw.notes)
