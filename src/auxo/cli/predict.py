"""``auxo predict``: answers for images that nobody labelled."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tyro.conf import Positional

from auxo.cli.answer_lines import AnswerLines
from auxo.cli.changes import read_options
from auxo.cli.earlier import write_results
from auxo.cli.named_images import find_images
from auxo.cli.options import ModelOptions
from auxo.cli.train import read_run_config
from auxo.cli.words import say
from auxo.data import DataConfig
from auxo.errors import CheckpointError, ConfigError, DeviceError, OutputError
from auxo.export import (
    AnsweredImage,
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
from auxo.options import Options as CheckedOptions
from auxo.options import Range
from auxo.runs.document import from_json
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.model import load_model
from auxo.runtime import RuntimeConfig, open_runtime

DESCRIPTION = """Write a table of predictions for images, resized and cropped to the model's input. Networks that answer
every pixel take images of any size, and write a PNG for each."""


@dataclass(frozen=True, kw_only=True)
class Options(CheckedOptions):
    """Options of ``auxo predict``."""

    model: Annotated[Positional[str], tyro.conf.arg(metavar="MODEL")]
    """Run directory of a finished run, folder of an export, or its model.pt2 or model.onnx, which run on the CPU."""
    images: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="IMAGE [IMAGE ...]")]
    """Images, folders that are searched for images (of one with images/ and masks/ the former alone), Parquet files,
    CSV files of paths, or hf://owner/name[:split]."""
    out: str = "predictions.csv"
    """File to write: path, then the task's answer, such as the predicted class, its probability and that of every
    class; JSON if it ends in .json, one object a line in .jsonl, else CSV. An earlier file is kept, as NAME-1 and so
    on. Answers that are images go to the folder NAME-images beside it, which must be empty."""
    top: Annotated[int | None, Range(low=1)] = None
    """Write only so many of the likeliest classes of each image, with their probabilities, the first the most."""
    embeddings: bool = False
    """Write the pooled features that the head reads, too: NAME-embeddings.npy beside the file, a row of float32 for
    each of its lines. Runs and safetensors exports have them."""
    image_column: Annotated[str, tyro.conf.arg(name="data.image-column")] = "image"
    """Column of the images in Parquet and hf:// sets."""
    path_column: Annotated[str, tyro.conf.arg(name="data.path-column")] = "path"
    """Column of the image paths in a CSV; relative paths start at the CSV's folder."""
    windows: Annotated[WindowConfig, tyro.conf.arg(name="")] = field(default_factory=WindowConfig)
    """How images are shown to a network that answers every pixel; each answer has the size of its image."""
    overlays: bool = False
    """Where answers are images: write each also over its image, half transparent, as NAME-overlay.png beside it."""
    use: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=lambda: ModelOptions(batch_size=256))
    """How the model is loaded and run."""
    trust_pt2: bool = False
    """Load a .pt2 file although it can run code of its maker's; not needed for other files."""


def run(words: Sequence[str]) -> None:
    """Predict every image and write the table."""
    options = read_options(Options, words, command="auxo predict", description=DESCRIPTION)
    if not options.images:
        raise ConfigError("images, or folders of images", "none", f"name them: auxo predict {options.model} DIR")
    out = prepare_place(Path(options.out))
    columns = DataConfig(image_column=options.image_column, path_column=options.path_column)
    paths = [image for place in options.images for image in find_images(place, out, columns)]
    images = out.with_name(f"{out.stem}-images")
    with _open_predictor(options) as predictor:
        _check_windows(options, predictor)
        lines = AnswerLines(predictor.description.task, out, options.top)
        answered = predictor.answer_images(
            paths,
            batch_size=options.use.batch_size,
            windows=options.windows,
            with_embeddings=options.embeddings,
        )
        embeddings: list[np.ndarray] = []
        rows = list(_write_answers(answered, lines, embeddings, images=images, options=options))
    notes = [f"{len(paths)} predictions: {options.out}" + (f", images in {images}" if "image" in rows[0] else "")]
    kept = []
    if embeddings:
        stream, place = io.BytesIO(), out.with_name(f"{out.stem}-embeddings.npy")
        np.save(stream, np.stack(embeddings))
        kept.append(write_results(place, stream.getvalue()))
        notes.append(f"embeddings of {len(embeddings[0])} numbers: {place}")
    kept.append(write_results(out, lines.write(rows)))  # last: it says that all the rest is there
    notes += [f"an earlier file is now {place}" for place in kept if place is not None]
    say("\n".join(notes))


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
    answered: Iterable[AnsweredImage],
    lines: AnswerLines,
    embeddings: list[np.ndarray],
    *,
    images: Path,
    options: Options,
) -> Iterator[dict[str, Any]]:
    """Yield each image's line, after the image that answers it was written, if one does.

    Args:
        answered: images with their answers.
        lines: what a line holds.
        embeddings: gets those that are given.
        images: folder of answers that are images; made with the first of them.
        options: of the command.

    Raises:
        ConfigError: an answer has not a cell for each of the task's columns.
        NonFiniteError: an output is not finite.
    """
    is_checked = False
    for number, each in enumerate(answered):
        row = {"path": each.image.where, **lines.describe(each)}
        if each.embedding is not None:
            embeddings.append(each.embedding.numpy())
        if each.answer.image is not None:
            if not is_checked:
                _check_place(images, options.images)
                is_checked = True
            # the number tells apart images of two folders that share a name
            place = make_folder(images) / f"{number:05d}-{each.image.name}.png"
            write_atomically(place, encode_answer(each.answer.image, each.answer.palette))
            if options.overlays:
                drawn = encode_overlay(each.pixels, each.answer, where=each.image.where)
                write_atomically(place.with_name(f"{place.stem}-overlay.png"), drawn)
            row["image"] = str(place)
        elif options.overlays:
            got = f"{type(lines.task).__name__}, whose answers are none"
            raise ConfigError("--overlays for a task whose answers are images", got, "leave it out")
        yield row


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
