"""``auxo predict``: answers for pictures that nobody labelled."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro
from PIL import Image
from tyro.conf import Positional

from auxo.cli.options import ModelOptions, parse_options
from auxo.cli.train import read_run_config
from auxo.errors import CheckpointError, ConfigError, DataError, DeviceError
from auxo.export import Predictor, is_export, load_network, open_onnx, open_program, predictor_of
from auxo.files import make_folder, require_folder_of, write_atomically
from auxo.runs.document import from_json
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.model import load_model
from auxo.runtime import RuntimeConfig, open_runtime

__all__ = ["run"]

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``auxo predict``."""

    model: Annotated[Positional[str], tyro.conf.arg(metavar="MODEL")]
    """Run directory of a finished run, folder of an export, or its model.pt2 or model.onnx, which run on the CPU."""
    pictures: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="PICTURE [PICTURE ...]")]
    """Pictures, or folders that are searched for pictures."""
    out: str = "predictions.csv"
    """CSV to write: path, then the task's answer, such as the predicted class, its probability and that of every class.
    Answers that are images go to a folder beside it."""
    use: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=lambda: ModelOptions(batch_size=256))
    """How the model is loaded and run."""
    trust_pt2: bool = False
    """Load a .pt2 file although it can run code of its maker's; not needed for other files."""


def run(words: Sequence[str]) -> None:
    """Predict every picture and write the CSV."""
    description = "Write a CSV of predictions for pictures, resized and cropped to the model's input."
    options = parse_options(Options, words, command="auxo predict", description=description)
    if not options.pictures:
        raise ConfigError("pictures, or folders of pictures", "none", f"name them: auxo predict {options.model} DIR")
    require_folder_of(Path(options.out))
    paths = [path for place in options.pictures for path in _pictures(Path(place))]
    out = Path(options.out)
    images = out.with_suffix("") if out.suffix else out.with_name(f"{out.name}-images")
    with _predictor(options) as predictor:
        lines = list(_answer_pictures(predictor, paths, images=images, batch_size=options.use.batch_size))
        columns = ["path", *predictor.description.task.answer_columns()]
    has_images = any(place is not None for _, place in lines)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*columns, *(["image"] if has_images else [])])
    writer.writerows([*cells, *([place] if has_images else [])] for cells, place in lines)
    write_atomically(out, text.getvalue())  # last: it says that all images are there
    print(f"{len(paths)} predictions: {options.out}" + (f", images in {images}" if has_images else ""))


def _answer_pictures(
    predictor: Predictor, paths: Sequence[Path], *, images: Path, batch_size: int
) -> Iterator[tuple[list[object], Path | None]]:
    """Yield the cells of each picture's line, and where the image that answers it was written, if one does.

    Args:
        predictor: of the model.
        paths: of the pictures.
        images: folder of answers that are images; made with the first of them.
        batch_size: pictures of one pass.
    """
    for first in range(0, len(paths), batch_size):
        chunk = paths[first : first + batch_size]
        pixels = torch.stack([predictor.read(path) for path in chunk])
        for number, (path, answer) in enumerate(zip(chunk, predictor.answers(pixels), strict=True), start=first):
            place = None
            if answer.image is not None:
                # the number tells apart pictures of two folders that share a name
                place = make_folder(images) / f"{number:05d}-{path.stem}.png"
                stream = io.BytesIO()
                Image.fromarray(answer.image).save(stream, format="PNG")
                write_atomically(place, stream.getvalue())
            yield [path, *answer.cells], place


def _pictures(place: Path) -> Iterator[Path]:
    """Yield a picture, or the pictures below a folder in order."""
    if not place.exists():
        raise DataError("a picture or a folder", f"'{place}', which is not there", "check it")
    if place.is_file():
        yield place
        return
    found = sorted(path for path in place.rglob("[!.]*") if path.suffix.lower() in ENDINGS)
    if not found:
        raise DataError(f"pictures ({', '.join(ENDINGS)}) in {place}", "none", "name another folder")
    yield from found


@contextmanager
def _predictor(options: Options) -> Iterator[Predictor]:
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
    text = path.read_text(encoding="utf-8")
    return from_json(text, origin=str(path), code=code, is_published=True)
