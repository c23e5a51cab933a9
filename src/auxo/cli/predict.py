"""``auxo predict``: classes for pictures without labels."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor
from tyro.conf import Positional

from auxo.cli.options import parse_options
from auxo.cli.train import read_run_config
from auxo.data import decode_image, read_bytes
from auxo.errors import ConfigError, DataError
from auxo.runtime import Runtime, RuntimeConfig, open_runtime
from auxo.training import TrainedModel, load_model, require_folder_of, write_atomically
from auxo.types import Batch

__all__ = ["run"]

ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``auxo predict``."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory of a finished run."""
    pictures: Annotated[Positional[tuple[str, ...]], tyro.conf.arg(metavar="PICTURE [PICTURE ...]")]
    """Pictures, or folders that are searched for pictures."""
    out: str = "predictions.csv"
    """CSV to write: path, predicted class, its probability, then the probability of every class."""
    device: str = "auto"
    """"auto", "cpu", "cuda", "cuda:1" or "mps"."""
    batch_size: int = 256
    """Pictures per forward pass, >= 1."""
    code: str | None = None
    """Python file of a method outside auxo that the run may import."""


def run(words: Sequence[str]) -> None:
    """Predict every picture and write the CSV."""
    description = "Write a CSV of predictions for pictures, resized and cropped to the model's input."
    options = parse_options(Options, words, command="auxo predict", description=description)
    if options.batch_size < 1:
        raise ConfigError("batch-size >= 1", str(options.batch_size), "give the number of pictures per pass")
    if not options.pictures:
        raise ConfigError("pictures, or folders of pictures", "none", f"name them: auxo predict {options.run} DIR")
    require_folder_of(Path(options.out))
    folder = Path(options.run)
    config = read_run_config(folder, code=options.code)
    paths = [path for place in options.pictures for path in _pictures(Path(place))]
    with open_runtime(RuntimeConfig(device=options.device, precision=config.runtime.precision)) as runtime:
        model = load_model(config, folder, runtime=runtime)
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["path", "prediction", "probability", *(f"p({name})" for name in model.task.class_names)])
        for first in range(0, len(paths), options.batch_size):
            chunk = paths[first : first + options.batch_size]
            for path, probs in zip(chunk, _probabilities(model, chunk, runtime), strict=True):
                best = int(probs.argmax())
                values = [f"{value:.6f}" for value in probs.tolist()]
                writer.writerow([path, model.task.class_names[best], values[best], *values])
        write_atomically(Path(options.out), text.getvalue())
    print(f"{len(paths)} predictions: {options.out}")


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


def _probabilities(model: TrainedModel, paths: Sequence[Path], runtime: Runtime) -> Tensor:
    """Return class probabilities, shape ``(pictures, classes)``, on the CPU."""
    pictures = []
    for path in paths:
        picture = decode_image(read_bytes(str(path)), where=str(path), image_size=model.image_size)
        model.check_shape(tuple(picture.shape), where=str(path))
        pictures.append(picture)
    images = torch.stack(pictures)
    nothing = torch.zeros(len(paths), dtype=torch.int64, device=runtime.device)
    batch = Batch(runtime.to_device(images), nothing, nothing)
    with torch.inference_mode(), runtime.autocast():
        logits = model.method.predict(model.pipeline(batch, seed=None).images)
    return torch.softmax(logits.float(), dim=1).cpu()
