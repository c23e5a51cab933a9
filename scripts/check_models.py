#!/usr/bin/env python3
"""Train, resume, explain and export networks of timm and transformers, each at two sizes; scripts/check-timm runs it.

A row for each: whether a run of two epochs and one that was stopped after the first and went on have the same weights
to the bit, which layer Grad-CAM looked at, and the largest difference between the probabilities of the run and those of
its ONNX file. It ends with 1 if a command fails or a number is not as it must be.
"""

import argparse
import contextlib
import csv
import io
import json
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from safetensors.torch import load_file

from auxo.cli import main as run_auxo
from auxo.data.fake import oriented_shapes

_MOST_DIFFERENCE = 1e-4  # of a probability, between torch and onnxruntime


class Model(NamedTuple):
    """A network and the sizes that it is run at.

    Args:
        name: as ``--backbone.name`` takes it.
        sizes: sides of the images, in pixels; not the one that it was made for.
    """

    name: str
    sizes: tuple[int, int]


MODELS = {
    "ResNet": Model("timm:resnet18", (64, 96)),
    "ConvNeXt": Model("timm:convnext_atto", (64, 96)),
    "ViT": Model("timm:vit_tiny_patch16_224", (64, 96)),
    "Swin": Model("timm:swin_tiny_patch4_window7_224", (64, 96)),
    "DINOv2": Model("timm:vit_small_patch14_dinov2", (56, 98)),
    "ViT-MAE": Model("hf:facebook/vit-mae-base", (64, 96)),
}


def check_models(names: Sequence[str]) -> int:
    """Print a row for each model and size, and return the command's exit code."""
    has_hub = _reach_hub()
    print(f"torch {torch.__version__}, weights: {'published' if has_hub else 'random (no connection to the hub)'}")
    print("| network | name | pixels | resumed | Grad-CAM | exported | s |\n|---|---|---:|---|---|---|---:|")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for title in names:
            model = MODELS[title]
            name = model.name
            if not has_hub and name.startswith("hf:"):
                name = f"hf:{_publish(Path(folder) / 'vit-mae')}"
            for size in model.sizes:
                started = time.monotonic()
                place = Path(folder) / f"{title}-{size}"
                try:
                    cells = _check(name, size, place, is_pretrained=has_hub or name.startswith("hf:"))
                except _CommandError as error:
                    failed += 1
                    cells = [f"failed: {error}", "", ""]
                row = [title, model.name, str(size), *cells, f"{time.monotonic() - started:.0f}"]
                print(f"| {' | '.join(row)} |", flush=True)
    return 1 if failed else 0


class _CommandError(Exception):
    """A command that failed, or a result that is not as it must be."""


def _check(name: str, size: int, place: Path, *, is_pretrained: bool) -> list[str]:
    """Return the cells of a row: what resuming, explaining and exporting came to."""
    images = _write_images(place / "images", size)
    weights = "--backbone.pretrained" if is_pretrained else "--backbone.no-pretrained"
    train = ["train", "supervised", "--backbone.name", name, weights, "--data.train", str(images), "--batch-size", "8"]
    train += ["--method.optimizer.schedule", "constant", "--method.optimizer.lr", "0.001", "--training.no-tensorboard"]
    whole, parts = place / "whole", place / "parts"
    _run(*train, "--epochs", "2", "--out", str(whole))
    _run(*train, "--epochs", "1", "--out", str(parts))
    _run("train", "--resume", str(parts), "--epochs", "2")
    first, second = (load_file(folder / "model.safetensors") for folder in (whole, parts))
    if first.keys() != second.keys() or not all(torch.equal(value, second[key]) for key, value in first.items()):
        raise _CommandError("the resumed run has other weights than the whole one")
    _run("explain", str(whole), "--per-class", "1", "--split", "train")
    settings = json.loads((whole / "explain" / "train" / "gradcam.jsonl").read_text().splitlines()[0])
    if not (whole / "explain" / "train" / "tsne.png").is_file():
        raise _CommandError("no t-SNE")
    _run("export", str(whole), "--format", "all", "--out", str(place / "export"))
    found = [_predict(model, images, place) for model in (whole, place / "export" / "model.onnx")]
    difference = max(abs(a - b) for ours, theirs in zip(*found, strict=True) for a, b in zip(ours, theirs, strict=True))
    if not difference <= _MOST_DIFFERENCE:
        raise _CommandError(f"probabilities differ by {difference:.1e}")
    return [
        "to the bit",
        f"{settings['layer']}, {settings['map_size'][0]}x{settings['map_size'][1]}",
        f"{difference:.0e}",
    ]


def _run(*words: str) -> None:
    """Run a command of auxo in this process, quietly."""
    said, told = io.StringIO(), io.StringIO()
    code: object = 0
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(told):
        try:
            run_auxo(list(words))
        except SystemExit as stop:
            code = stop.code or 0
    if code:
        raise _CommandError(f"auxo {words[0]} ended with {code}: {told.getvalue().strip().splitlines()[-1:]}")


def _predict(model: Path, images: Path, place: Path) -> list[list[float]]:
    """Return the probabilities of every class for every image."""
    table = place / f"{model.name}.csv"
    _run("predict", str(model), str(images), "--out", str(table), "--device", "cpu")
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    return [[float(cell) for cell in row[3:]] for row in rows[1:]]


def _write_images(folder: Path, size: int) -> Path:
    """Write forty images of four shapes, a little larger than the network takes them."""
    source = oriented_shapes(40, size=size + size // 4, seed=0)
    for number, (pixels, label) in enumerate(zip(source.images, source.columns["label"].values, strict=True)):
        path = folder / source.vocabulary["label"][int(label)] / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).resize((size, size)).save(path)
    return folder


def _publish(folder: Path) -> Path:
    """Write a small masked autoencoder with random weights as its authors publish theirs, and return its folder."""
    import transformers  # noqa: PLC0415

    torch.manual_seed(0)
    sizes = {"hidden_size": 192, "num_hidden_layers": 6, "num_attention_heads": 3, "intermediate_size": 768}
    transformers.ViTMAEModel(transformers.ViTMAEConfig(**sizes)).save_pretrained(folder)
    stated = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (folder / "preprocessor_config.json").write_text(json.dumps(stated))
    return folder


def _reach_hub() -> bool:
    """Whether the hub can be reached."""
    try:
        socket.create_connection(("huggingface.co", 443), timeout=5).close()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(MODELS), default=list(MODELS), help="networks to check")
    sys.exit(check_models(parser.parse_args().only))
