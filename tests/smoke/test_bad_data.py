"""Images and tables that cannot be used: one line that names the file or row; nothing half-written."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

from auxo.data import InMemorySource
from auxo.errors import DataError

CASES = []


def case(says):
    """Register a function that prepares the bad input and returns the words of the command."""

    def add(prepare):
        CASES.append(pytest.param(prepare, says, id=prepare.__name__))
        return prepare

    return add


# What is wrong with a folder of images.


@case(r"a folder, a Parquet or CSV file, .*'nowhere', which is not there")
def data_missing(place):
    return place.train(data="nowhere")


@case(r"a folder, a Parquet or CSV file")
def data_of_unknown_kind(place):
    return place.train(data=place.write("data.zip", "PK"))


@case(r"one folder of images per class, got none in")
def data_empty_folder(place):
    (place.root / "empty").mkdir()
    return place.train(data=place.root / "empty")


@case(r"images in every class folder, got none in .*zebra")
def data_empty_class_folder(place):
    (place.pictures / "zebra").mkdir()
    return place.train(data=place.pictures)


@case(r"at least two classes, got only \['arrow'\]")
def data_one_class(place):
    for name in ("corner", "tee", "wedge"):
        for path in (place.pictures / name).iterdir():
            path.rename(place.pictures / "arrow" / path.name)
        (place.pictures / name).rmdir()
    return place.train(data=place.pictures)


def spoiled(place, content, name="004.png"):
    """Return the words that train on images of which one, not the first, is replaced."""
    (place.pictures / "arrow" / name).write_bytes(content)
    return place.train(data=place.pictures)


def encoded(array, file_format="PNG"):
    """Return an image file of an array."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, file_format)
    return file.getvalue()


GREY = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)


@case(r"a whole image, got a damaged one in .*004\.png")
def picture_truncated(place):
    return spoiled(place, encoded(GREY)[:300])


@case(r"an image \(PNG.*\), got 5 bytes of something else in .*004\.png")
def picture_is_text(place):
    return spoiled(place, b"hello")


@case(r"0 bytes of something else in .*004\.png")
def picture_is_empty(place):
    return spoiled(place, b"")


@case(r"an 8-bit image.*, got mode I;16.* in .*004\.png")
def picture_of_16_bits(place):
    return spoiled(place, encoded(GREY.astype(np.uint16) * 256))


@case(r"an 8-bit image.*, got NaN pixels in .*004\.tif")
def picture_with_nan(place):
    return spoiled(place, encoded(np.full((28, 28), np.nan, dtype=np.float32), "TIFF"), name="004.tif")


@case(r"at least 8x8 pixels, got 5x6 in .*004\.png")
def picture_too_small(place):
    return spoiled(place, encoded(GREY[:6, :5]))


@case(r"square images for quarter turns, got 28x32 pixels")
def pictures_not_square(place):
    for path in place.pictures.rglob("*.png"):
        Image.open(path).resize((32, 28)).save(path)
    return place.train(data=place.pictures)


@case(r"pixels that differ, got only the value 0 in channel 0")
def pictures_blank(place):
    for path in place.pictures.rglob("*.png"):
        number = int(path.stem)
        pixels = np.zeros((28, 28, 3), dtype=np.uint8)
        pixels[number // 28, number % 28, 1:] = 255
        Image.fromarray(pixels).save(path)
    return place.train(data=place.pictures)


@case(r"no image in two splits, .* remove the copies, or pass --data.on-overlap drop")
def own_test_set_is_training_set(place):
    return place.train("--data.test", place.shapes)


@case(r"values of 'label' that train has \(arrow, corner, tee, wedge\), got 'zebra'")
def unseen_set_with_unknown_class(place):
    (place.pictures / "tee").rename(place.pictures / "zebra")
    return place.train("--data.ood", place.pictures)


# What is wrong with a table.


def table(place, change):
    """Return the words that train on a CSV of which ``change(header, rows)`` spoils the cells."""
    header, rows = ["path", "label"], [[str(path), path.parent.name] for path in sorted(place.shapes.rglob("*.png"))]
    change(header, rows)
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return place.train(data=place.write("table.csv", text.getvalue()))


@case(r"a column 'label', got the columns path, class in .*: name it with --data.label-column")
def csv_without_label_column(place):
    return table(place, lambda header, rows: header.__setitem__(1, "class"))


@case(r"an image that is there, got 'gone.png' in line 3 of .*table.csv")
def csv_with_missing_picture(place):
    return table(place, lambda header, rows: rows[1].__setitem__(0, "gone.png"))


@case(r"a value of 'label' for every image, got none for .* \(line 3 of .*table.csv\)")
def csv_with_empty_cell(place):
    return table(place, lambda header, rows: rows[1].__setitem__(1, ""))


@case(r"rows below the header, got none in .*table.csv")
def csv_without_rows(place):
    return table(place, lambda header, rows: rows.clear())


@case(r"values of 'label' of whole numbers from 0 or names, got -1 at .*line 3 of .*table.csv")
def csv_with_negative_label(place):
    def change(header, rows):
        rows[:] = [[path, str(["arrow", "corner", "tee", "wedge"].index(label))] for path, label in rows]
        rows[1][1] = "-1"

    return table(place, change)


@case(r"a column 'path', got the columns \(none\) in .*empty.csv")
def csv_empty(place):
    return place.train(data=place.write("empty.csv", ""))


@case(r"a CSV in UTF-8, got .*binary.csv")
def csv_of_bytes(place):
    return place.train(data=place.write("binary.csv", b"path,label\n\xff\xfe,\xff\n"))


def parquet(place, columns):
    """Return the path of a Parquet file of encoded images with the given columns."""
    import pyarrow
    import pyarrow.parquet

    pictures = sorted(place.shapes.rglob("*.png"))[::4]
    images = [{"bytes": path.read_bytes(), "path": None} for path in pictures]
    values = {"image": images, "label": [number % 4 for number in range(len(images))]}
    pyarrow.parquet.write_table(pyarrow.table({name: values[name] for name in columns}), place.root / "set.parquet")
    return place.root / "set.parquet"


@case(r"a column 'label', got the columns image in .*set.parquet: name it with --data.label-column")
def parquet_without_label_column(place):
    return place.train(data=parquet(place, ["image"]))


@case(r"a data set that can be loaded, got .*set.parquet .*: check that it is a whole Parquet file")
def parquet_damaged(place):
    path = parquet(place, ["image", "label"])
    path.write_bytes(path.read_bytes()[:-100])
    return place.train(data=path)


@case(r"values of 'label' that train has \(0, 1, 2, 3\), got 9 at .*")
def parquet_label_out_of_range(place):
    rows = [[str(path), "9"] for path in sorted(place.shapes.rglob("*.png"))[:4]]
    text = io.StringIO()
    csv.writer(text).writerows([["path", "label"], *rows])
    return place.train("--data.ood", place.write("other.csv", text.getvalue()), data=parquet(place, ["image", "label"]))


@case(r"a data set that can be loaded, got hf://nobody/nothing .*: check the name and the network")
def hub_out_of_reach(place):
    return place.train(data="hf://nobody/nothing")


@case(r"no folder .*nowhere")
def hub_folder_missing(place):
    return place.train(data="hf://./nowhere")


@pytest.mark.parametrize(("prepare", "says"), CASES)
def test_train__bad_data__is_refused_in_one_line_and_nothing_is_written(assert_refused, place, prepare, says):
    assert_refused(*prepare(place), says=says)


def test_from_arrays__pixel_that_is_no_number__is_named():
    images = np.zeros((4, 28, 28), dtype=np.float32)
    images[2, 3, 4] = np.nan
    with pytest.raises(DataError, match="expected finite pixels, got nan in image 2 of 'mine': "):
        InMemorySource.from_arrays("mine", images, {"label": [0, 1, 0, 1]}, {"label": ["cat", "dog"]})
