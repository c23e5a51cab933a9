"""Images and masks that cannot be pairs: one line that names the file, and nothing written; pairs train in one word."""

import numpy as np
import pytest
from PIL import Image

CASES = []


def case(says):
    """Register a function that spoils a folder of pairs and returns further words of the command."""

    def add(spoil):
        CASES.append(pytest.param(spoil, says, id=spoil.__name__))
        return spoil

    return add


@pytest.fixture
def street(place):
    """Twelve noisy images of two halves, and what each half is."""
    root, noise = place.root / "street", np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(12):
        mask = np.zeros((16, 24), dtype=np.uint8)
        mask[:, 6 + number :] = 1
        pixels = noise.integers(0, 120, (16, 24, 3)) + 100 * mask[..., None]
        Image.fromarray(pixels.astype(np.uint8)).save(root / "images" / f"{number:03d}.png")
        Image.fromarray(mask).save(root / "masks" / f"{number:03d}.png")
    return root


def change_mask(root, change):
    path = root / "masks" / "004.png"
    image = Image.open(path)
    image.load()
    change(image).save(path)


@case(r"a mask of the size of its image, got 20x16 in .*masks/004.png for 24x16 in .*images/004.png")
def another_size(root):
    change_mask(root, lambda mask: mask.crop((0, 0, 20, 16)))


@case(r"values of masks among 0, 1, 255 .*, got 7 in 384 pixels of .*004.png")
def unknown_value(root):
    (root / "classes.csv").write_text("name,index\nsky,0\nroad,1\n")
    change_mask(root, lambda mask: mask.point(lambda value: 7))


@case(r"a mask for every image, got none for .*images/004.png")
def no_twin(root):
    (root / "masks" / "004.png").unlink()


@case(r"masks of indices, or a colour for every class, got one of mode RGB: .*004.png")
def colours_without_a_table(root):
    change_mask(root, lambda mask: mask.convert("RGB"))


@case(r"a format that keeps every value, got JPEG in .*masks/004.jpg: save it anew")
def saved_as_jpeg(root):
    (root / "masks" / "004.png").unlink()
    Image.open(root / "masks" / "005.png").save(root / "masks" / "004.jpg")


@case(r"only ignored ones in the mask of .*004.png")
def nothing_known(root):
    change_mask(root, lambda mask: mask.point(lambda value: 255))


@case(r"the folders images and masks \(or annotations, labels\), got cats in")
def folders_of_classes(root):
    (root / "images").rename(root / "cats")
    for path in (root / "masks").iterdir():
        path.unlink()
    (root / "masks").rmdir()


@case(r"data.num-labelled of no more than the training images, got 50 for 10")
def too_many_labelled(root):
    return ["--data.num-labelled", "50"]


@case(r"a table of classes: a CSV in UTF-8, got nowhere.csv")
def table_missing(root):
    return ["--data.classes", "nowhere.csv"]


def train(place, *options):
    return [
        "train",
        "segmenter",
        "--data.train",
        place.root / "street",
        *place.tiny_options,
        "--out",
        place.out,
        *options,
    ]


@pytest.mark.parametrize(("spoil", "says"), CASES)
def test_train__bad_pairs__are_refused_in_one_line_and_nothing_is_written(assert_refused, place, street, spoil, says):
    further = spoil(street) or ()
    assert_refused(*train(place, *further), says=says)


def test_train__pairs__are_learned_and_evaluated_on_other_pairs(auxo, place, street):
    (street / "classes.csv").write_text("name,index\nsky,0\nroad,1\n")
    answer = auxo(*train(place, "--data.num-labelled", "4"))
    assert (answer.code, answer.err) == (0, "")
    for path in sorted(street.rglob("*.png")):
        Image.open(path).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path)
    answer = auxo("evaluate", place.out, "--data", street)
    assert answer.code == 0
    assert "ood/street" in answer.out
