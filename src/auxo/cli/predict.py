"""``auxo predict``: answers for images that nobody labelled."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from auxo.cli.changes import read_options
from auxo.cli.options import ModelOptions
from auxo.cli.train import read_run_config
from auxo.cli.words import say
from auxo.data.decode import FORMATS
from auxo.data.readers.files import find_tree
from auxo.data.readers.leftovers import describe_leftovers
from auxo.errors import CheckpointError, ConfigError, DataError, DeviceError, OutputError
from auxo.export import (
    AnsweredFile,
    Predictor,
    WindowConfig,
    encode_answer,
    encode_overlay,
    is_export,
    load_network,
    open_onnx,
    open_program,
    predictor_of,
)
from auxo.files import make_folder, prepare_place, write_atomically
from auxo.files.csv_cells import safe_cell
from auxo.options import Options as CheckedOptions
from auxo.runs.document import from_json
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.model import load_model
from auxo.runtime import RuntimeConfig, open_runtime

DESCRIPTION = """Write a CSV of predictions for images, resized and cropped to the model's input. Networks that answer
every pixel take images of any size, and write a PNG for each."""


@dataclass(frozen=True, kw_only=True)
class Options(CheckedOptions):
    """Options of ``auxo predict``."""

    model: Annotated[Positional[str], tyro.conf.arg(metavar="MODEL")]
    """Run directory of a finished run, folder of an export, or its model.pt2 or model.onnx, which run on the CPU."""
    images: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="IMAGE [IMAGE ...]")]
    """Images, or folders that are searched for images; of a folder with images/ and masks/ the former alone."""
    out: str = "predictions.csv"
    """CSV to write: path, then the task's answer, such as the predicted class, its probability and that of every class.
    Answers that are images go to the folder NAME-images beside it, which must be empty."""
    windows: Annotated[WindowConfig, tyro.conf.arg(name="")] = field(default_factory=WindowConfig)
    """How images are shown to a network that answers every pixel; each answer has the size of its image."""
    overlays: bool = False
    """Where answers are images: write each also over its image, half transparent, as NAME-overlay.png beside it."""
    use: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=lambda: ModelOptions(batch_size=256))
    """How the model is loaded and run."""
    trust_pt2: bool = False
    """Load a .pt2 file although it can run code of its maker's; not needed for other files."""


def run(words: Sequence[str]) -> None:
    """Predict every image and write the CSV."""
    options = read_options(Options, words, command="auxo predict", description=DESCRIPTION)
    if not options.images:
        raise ConfigError("images, or folders of images", "none", f"name them: auxo predict {options.model} DIR")
    out = prepare_place(Path(options.out))
    paths = [path for place in options.images for path in _find_images(Path(place), out)]
    images = out.with_name(f"{out.stem}-images")
    with _open_predictor(options) as predictor:
        _check_windows(options, predictor)
        answered = predictor.answer_files(paths, batch_size=options.use.batch_size, windows=options.windows)
        lines = list(_write_answers(predictor, answered, images=images, options=options))
        columns = ["path", *predictor.description.task.answer_columns()]
    has_images = any(place is not None for _, place in lines)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*columns, *(["image"] if has_images else [])])
    writer.writerows(map(safe_cell, [*cells, *([str(place)] if has_images else [])]) for cells, place in lines)
    write_atomically(out, text.getvalue())  # last: it says that all images are there
    say(f"{len(paths)} predictions: {options.out}" + (f", images in {images}" if has_images else ""))


def _check_place(images: Path, read: Sequence[str]) -> None:
    """Refuse a folder of answers among the images that are read, or one that holds others already."""
    if any(images.resolve().is_relative_to(Path(place).resolve()) for place in read):
        raise OutputError("a place for answers outside the images that are read", str(images), "choose another --out")
    if images.is_dir() and any(images.iterdir()):
        raise OutputError(f"no answers in {images} yet", "some", "move them away, or choose another --out")


def _check_windows(options: Options, predictor: Predictor) -> None:
    """Refuse options about windows that the model does not read."""
    about, asked = predictor.description, options.windows
    if not about.answers_any_size and asked != WindowConfig():
        got = f"them with {predictor.path}, which takes images of {about.task.width}x{about.task.height} pixels"
        fix = "leave --window, --overlap and --scale out"
        raise ConfigError("--window, --overlap and --scale for a model that answers every pixel of any image", got, fix)
    if about.answers_any_size and not about.takes_any_size and asked.window is not None:
        got, fix = f"--window {asked.window} with {predictor.path}", "leave it out, or predict with the run"
        expected = f"no --window for a file whose network takes {about.task.width}x{about.task.height} pixels only"
        raise ConfigError(expected, got, fix)


def _write_answers(
    predictor: Predictor, answered: Iterable[AnsweredFile], *, images: Path, options: Options
) -> Iterator[tuple[list[object], Path | None]]:
    """Yield the cells of each image's line, and where the image that answers it was written, if one does.

    Args:
        predictor: of the model.
        answered: images with their answers.
        images: folder of answers that are images; made with the first of them.
        options: of the command.

    Raises:
        ConfigError: an answer has not a cell for each of the task's columns.
        NonFiniteError: an output is not finite.
    """
    is_checked, num_columns = False, len(predictor.description.task.answer_columns())
    for number, (path, pixels, answer) in enumerate(answered):
        if len(answer.cells) != num_columns:
            got, fix = f"{len(answer.cells)} in the answer to {path}", "mend the task's answers or answer_columns"
            raise ConfigError(f"{num_columns} cells, one for each of answer_columns", got, fix)
        place = None
        if answer.image is not None:
            if not is_checked:
                _check_place(images, options.images)
                is_checked = True
            # the number tells apart images of two folders that share a name
            place = make_folder(images) / f"{number:05d}-{path.stem}.png"
            write_atomically(place, encode_answer(answer.image, answer.palette))
            if options.overlays:
                drawn = encode_overlay(pixels, answer, where=str(path))
                write_atomically(place.with_name(f"{place.stem}-overlay.png"), drawn)
        elif options.overlays:
            got = f"{type(predictor.description.task).__name__}, whose answers are none"
            raise ConfigError("--overlays for a task whose answers are images", got, "leave it out")
        yield [path, *answer.cells], place


def _find_images(place: Path, out: Path) -> Iterator[Path]:
    """Yield an image, or those of a folder and of all below, as sets without labels have them; tell what is no image.

    Args:
        place: what the user named.
        out: the CSV of answers, which may lie among the images from the last time.
    """
    if os.path.isfile(place):
        yield place
        return
    if not os.path.isdir(place):
        got = f"'{place}', which is " + ("a pipe, socket or device" if os.path.exists(place) else "not there")
        raise DataError("an image or a folder", got, "check it")
    images, _, others, leftovers = find_tree(place)
    strange = [path for path in others if path.resolve() != out.resolve()]
    if not images:
        raise DataError(f"images ({', '.join(FORMATS)}) in {place} or below", "none", "name another folder")
    for note in describe_leftovers(str(place), [*strange, *leftovers]):
        say(f"note: {note}", is_error=True)
    yield from images


@contextmanager
def _open_predictor(options: Options) -> Iterator[Predictor]:
    """Open the network that the first word names."""
    path = _network_file(Path(options.model))
    if path.suffix in (".pt2", ".onnx"):
        if options.use.device not in ("auto", "cpu"):
            fix = "leave --device out, or predict with the run or its safetensors export"
            raise DeviceError(f"--device cpu for {path}", options.use.device, fix)
        if path.suffix == ".pt2" and not options.trust_pt2:
            fix = "pass --trust-pt2 if you trust where it comes from, or use the safetensors or onnx export"
            raise ConfigError("your leave to load a .pt2 file, which can run code", str(path), fix)
        open_file = open_program if path.suffix == ".pt2" else open_onnx
        yield open_file(path, code=options.use.code)
        return
    folder = path.parent
    code = options.use.code
    config = _exported_config(folder, code) if is_export(folder) else read_run_config(folder, code=code)
    with open_runtime(RuntimeConfig(device=options.use.device, precision=config.runtime.precision)) as runtime:
        load = load_network if is_export(folder) else load_model
        yield predictor_of(load(config, folder, runtime=runtime), runtime)


def _network_file(model: Path) -> Path:
    """Return the file to load: the one that is named, or the best of a folder, safetensors before ONNX before .pt2."""
    if model.suffix in (".pt2", ".onnx", ".safetensors") and not model.is_dir():
        return model
    if is_export(model):
        for name in ("model.safetensors", "model.onnx", "model.pt2"):
            if (model / name).is_file():
                return model / name
        raise CheckpointError(f"a network in the export {model}", "none", "export the run again")
    return model / "model.safetensors"


def _exported_config(folder: Path, code: Sequence[str]) -> ExperimentConfig:
    """Return the config of an export."""
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(
            f"config.json beside {folder / 'model.safetensors'}", "none", "keep an export's files together"
        )
    return from_json(path.read_bytes(), origin=str(path), code=code, is_published=True)
