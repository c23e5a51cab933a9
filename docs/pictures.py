"""Draw the images of the documentation into docs/assets: python docs/pictures.py (needs no download)."""

import io
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.text import Text
from sklearn.datasets import load_sample_images
from torch import Tensor
from torch.nn import functional

from auxo.data import AbstractSource, DataConfig, load_splits
from auxo.data.corruptions import KINDS, SEVERITIES, corrupt
from auxo.data.two_views import SIMCLR_VIEWS, crop_images, draw_crops, recolour_view
from auxo.interfaces import StageStart
from auxo.pretexts import colour_labels
from auxo.pretexts.channel_shuffle import ORDERS, ChannelShuffle
from auxo.pretexts.compose import Compose
from auxo.pretexts.flip import Flip
from auxo.pretexts.inpaint import Inpaint
from auxo.pretexts.jigsaw import Jigsaw
from auxo.pretexts.labellers.encoder import Encoder
from auxo.pretexts.labellers.oracle import Oracle
from auxo.pretexts.labellers.patch_energy import PatchEnergy
from auxo.pretexts.labellers.segmenter import Segmenter
from auxo.pretexts.labellers.superpixels import Superpixels
from auxo.pretexts.lorot import LoRot
from auxo.pretexts.relative_patch import NEIGHBOURS, RelativePatch
from auxo.pretexts.rotation import Rotation, rotate_all
from auxo.random import Draws, named_generator
from auxo.runs.document import load_recipe
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.tasks import Segmentation
from auxo.training.run import untrained_stages

mpl.use("Agg")
from matplotlib import pyplot as plt  # after the choice of a backend without a window
from matplotlib.patches import Patch

ASSETS = Path(__file__).parent / "assets"
FONT_SIZE = 8


def save(figure: plt.Figure, name: str, *, dots_per_inch: int = 120) -> None:
    """Write a figure and close it."""
    figure.savefig(
        ASSETS / name, dpi=dots_per_inch, bbox_inches="tight", facecolor="white", metadata={"Software": None}
    )
    plt.close(figure)


def show(axes: plt.Axes, image: Tensor, title: str = "") -> None:
    """Show one image of shape (3, height, width) without ticks."""
    axes.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    if title:
        axes.set_title(title, fontsize=FONT_SIZE - 1, pad=3)


def name_row(axes: plt.Axes, name: str) -> None:
    """Write a name to the left of a row."""
    axes.set_ylabel(name, fontsize=FONT_SIZE, rotation=0, ha="right", va="center")


def one_of_each(source: AbstractSource) -> Tensor:
    """Return the first image of every class."""
    numbers, names = source.columns["label"]
    first = [int((numbers == number).nonzero()[0]) for number in range(len(names))]
    return source.fetch(torch.tensor(first))


def draw_rotation(train: AbstractSource) -> None:
    """Draw what the pretext rotation makes of a few digits."""
    images = one_of_each(train)[[1, 2, 4, 5, 7, 8]]
    made = Rotation("expand").make_all(images)
    figure, grid = plt.subplots(4, len(images), figsize=(len(images), 4.3))
    for place, axes in enumerate(grid.flat):
        show(axes, made.inputs[place])
        if place % len(images) == 0:
            target = int(made.targets[place])
            name_row(axes, f"answer {target}\n({90 * target}°)")
    save(figure, "rotation.png")


def draw_shortcut(train: AbstractSource) -> None:
    """Draw the mean training digit under the four turns, with its centre of mass and the centre of rotation."""
    mean = train.fetch(torch.arange(len(train))).float().mean(0, keepdim=True)
    figure, grid = plt.subplots(1, 4, figsize=(8, 2.4))
    for turns, (axes, image) in enumerate(zip(grid, rotate_all(mean)[:, 0], strict=True)):
        axes.imshow(image.numpy(), cmap="Greys", interpolation="nearest")
        positions = torch.arange(28.0)
        row, column = (float((image.sum(axis) * positions).sum() / image.sum()) for axis in (1, 0))
        axes.plot(13.5, 13.5, "+", color="black", markersize=14, label="centre of rotation (13.5, 13.5)")
        axes.plot(column, row, "o", color="red", markersize=5, label="centre of mass")
        axes.set_xlim(9.5, 17.5)
        axes.set_ylim(17.5, 9.5)
        axes.tick_params(labelsize=FONT_SIZE - 1)
        axes.set_title(f"{90 * turns}°: mass at ({row:.1f}, {column:.1f})", fontsize=FONT_SIZE)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncol=2, fontsize=FONT_SIZE, frameon=False)
    figure.subplots_adjust(bottom=0.22)
    save(figure, "rotation_shortcut.png")


def draw_scenario(named: dict[str, AbstractSource]) -> None:
    """Draw ten images of every set of the scenario digits."""
    figure, grid = plt.subplots(len(named), 10, figsize=(8, 0.86 * len(named)))
    for row, (name, source) in zip(grid, named.items(), strict=True):
        for axes, image in zip(row, one_of_each(source), strict=True):
            show(axes, image)
        name_row(row[0], name)
    save(figure, "digits.png")


def draw_textured_scenes(named: dict[str, AbstractSource]) -> None:
    """Draw eight scenes of every set of the scenario textured_scenes with their masks."""
    task = Segmentation.from_source(named["train"])
    palette = torch.tensor(task.palette, dtype=torch.uint8)
    figure, grid = plt.subplots(2 * len(named), 8, figsize=(8, 2.04 * len(named)))
    for (name, source), rows in zip(named.items(), grid.reshape(len(named), 2, 8), strict=True):
        shown = torch.arange(8)
        masks = source.fetch_targets(shown)["mask"].long()
        for place, (image, mask) in enumerate(zip(source.fetch(shown), masks, strict=True)):
            show(rows[0, place], image)
            show(rows[1, place], palette[mask].permute(2, 0, 1))
        name_row(rows[0, 0], name)
        name_row(rows[1, 0], "mask")
    patches = [Patch(color=(palette[number] / 255).tolist()) for number in range(len(task.class_names))]
    figure.legend(patches, task.class_names, loc="lower center", ncol=len(patches), fontsize=FONT_SIZE, frameon=False)
    figure.subplots_adjust(wspace=0.06, hspace=0.06, bottom=0.07)
    save(figure, "textured_scenes.png", dots_per_inch=90)


def draw_corruptions(image: Tensor, name: str) -> None:
    """Draw one image under every corruption at every severity."""
    figure, grid = plt.subplots(len(SEVERITIES) + 1, len(KINDS), figsize=(13, 5.9))
    for column, kind in enumerate(KINDS):
        show(grid[0, column], image[0], kind.replace("_", "\n"))
        for severity in SEVERITIES:
            show(grid[severity, column], corrupt(image, kind, severity, seed=0)[0])
    for level, axes in enumerate(grid[:, 0]):
        name_row(axes, str(level) if level else "clean")
    figure.subplots_adjust(wspace=0.06, hspace=0.06)
    save(figure, name, dots_per_inch=80)


def photograph(side: int) -> Tensor:
    """Return the middle of scikit-learn's photograph of a temple, shape (1, 3, side, side)."""
    pixels = torch.from_numpy(np.array(load_sample_images().images[0])).permute(2, 0, 1)
    square = pixels[None, :, :, 106 : 106 + pixels.shape[1]]
    return functional.interpolate(square, size=(side, side), mode="bilinear", antialias=True)


class Photograph:
    """A photograph as a network sees it, normalised, and the way back to colours.

    Args:
        side: pixels.
    """

    def __init__(self, side: int) -> None:
        pixels = photograph(side).float() / 255
        self.mean, self.std = pixels.mean((0, 2, 3), keepdim=True), pixels.std((0, 2, 3), keepdim=True)
        self.image = (pixels - self.mean) / self.std

    def colours(self, inputs: Tensor) -> Tensor:
        """Return normalised images of shape (n, 3, height, width) as colours in [0, 1]; zero becomes the mean."""
        return (inputs * self.std + self.mean).clamp(0, 1)


def draw_rows(rows: dict[str, list[tuple[str, Tensor]]], name: str) -> None:
    """Draw rows of images, each with its title."""
    columns = max(map(len, rows.values()))
    figure, grid = plt.subplots(len(rows), columns, figsize=(1.05 * columns, 1.28 * len(rows)), squeeze=False)
    for line, (row_name, pictures) in zip(grid, rows.items(), strict=True):
        for axes in line[len(pictures) :]:
            axes.axis("off")
        for axes, (title, picture) in zip(line, pictures, strict=False):
            show(axes, picture, title)
        name_row(line[0], row_name)
    figure.subplots_adjust(wspace=0.08, hspace=0.3)
    save(figure, name)


def draw_quadrants(photo: Photograph) -> None:
    """Draw what the pretexts on one quadrant make of a photograph."""

    def chosen(pretext: Flip | LoRot | ChannelShuffle, blocks: list[int]) -> list[tuple[str, Tensor]]:
        made = pretext.make_all(photo.image)
        pictures = photo.colours(made.inputs)
        return [(f"answer {int(made.targets[block])}", pictures[block]) for block in blocks]

    draw_rows(
        {"horizontal": chosen(Flip(), [0, 1, 3, 5, 7]), "vertical": chosen(Flip("vertical"), [0, 1, 3, 5, 7])},
        "flip.png",
    )
    turns = {"E": chosen(LoRot(), [0, 1, 2, 3, 5, 10, 15]), "I": chosen(LoRot("I"), [0, 17, 18, 19, 5, 10, 15])}
    draw_rows(turns, "lorot.png")
    names = ["".join("RGB"[channel] for channel in order) for order in ORDERS]
    shuffled = chosen(ChannelShuffle(), [0, 7, 14, 21, 4, 11])
    draw_rows(
        {"": [(f"{title}: {order}", picture) for (title, picture), order in zip(shuffled, names, strict=True)]},
        "channel_shuffle.png",
    )
    made = Compose().make(photo.image.expand(8, -1, -1, -1), draws=Draws(named_generator(3, "picture")))
    titles = ["flip {}\nrotation {}\nchannels {}".format(*answers) for answers in made.targets.tolist()]
    draw_rows({"": list(zip(titles, photo.colours(made.inputs), strict=True))}, "compose.png")


def draw_patches(photo: Photograph) -> None:
    """Draw what the pretexts on tiles, patches and holes make of a photograph."""
    jigsaws = {f"{jigsaw.grid}x{jigsaw.grid}": jigsaw for jigsaw in (Jigsaw(grid=2), Jigsaw(grid=3))}
    rows = {name: photo.colours(jigsaw.make_all(photo.image).inputs[:7]) for name, jigsaw in jigsaws.items()}
    answers = [f"answer {k}" for k in range(7)]
    draw_rows({name: list(zip(answers, pictures, strict=True)) for name, pictures in rows.items()}, "jigsaw.png")
    pairs = photo.colours(RelativePatch().make_all(photo.image).inputs)
    titles = [f"answer {k}\n({down}, {right})" for k, (down, right) in enumerate(NEIGHBOURS)]
    cells = list(zip(titles, pairs, strict=True))
    draw_rows({"image": [("", photo.colours(photo.image)[0])], "": cells[:4], " ": cells[4:]}, "relative_patch.png")
    made = Inpaint().make_all(photo.image)
    means = photo.colours(made.targets.view(-1, 3, 4, 4))
    holes = photo.colours(made.inputs)
    draw_rows({"input": [("", hole) for hole in holes], "answer": [("", mean) for mean in means]}, "inpaint.png")


def draw_two_views(images: dict[str, tuple[Tensor, float]]) -> None:
    """Draw uint8 images, each with its part of flips, eight times under either view of self-supervised learning."""
    rows = {}
    for name, (image, flip_prob) in images.items():
        for view in SIMCLR_VIEWS:
            drawn = Draws(named_generator(21, "picture", view))
            many = (image.float() / 255).expand(8, -1, -1, -1)
            crops = draw_crops(drawn, len(many), (many.shape[2], many.shape[3]), flip_prob=flip_prob)
            seen = recolour_view(crop_images(many, crops), drawn, view=SIMCLR_VIEWS[view])
            rows[f"{name},\n{view}"] = [("", image[0]), *(("", picture) for picture in seen)]
    draw_rows(rows, "two_views.png")


def draw_pixel_labels() -> None:
    """Draw scenes, their classes, and what labellers say of their pixels: half a minute."""
    config = load_recipe("segmentation")
    config = replace(config, data=replace(config.data, keep_hidden=True))
    splits = load_splits(config.data, seed=0, task=Segmentation)
    labellers = {
        "classes": Oracle.Config(),
        "texture energy": PatchEnergy.Config(patch=9, window=9),
        "EfficientNet-Lite0": Encoder.Config(source="efficientnet_lite0", scale=3.0),
        "ten masks": Segmenter.Config(min_confidence=0.7),
        "superpixels": Superpixels.Config(),
    }
    shown = torch.tensor([0, 1, 2, 3, 4, 5])
    rows = {}
    with open_runtime(RuntimeConfig(device="cpu")) as runtime:
        trainer, *_ = untrained_stages(config, splits=splits, runtime=runtime)
        reader = trainer.reader
        images = {split.name: reader.images(split) for split in (splits.train, splits.unlabelled)}
        start = StageStart(images, trainer.seed, runtime.device)
        rows["scenes"] = [("", image) for image in images["unlabelled"].pixels(shown)]
        for name, config in labellers.items():
            labels = config.make(images["unlabelled"], start, trainer.method.label_tools())[shown]
            rows[name] = [("", image) for image in colour_labels(labels)]
    draw_rows(rows, "pixel_labels.png")


def draw_hypergradients() -> None:
    """Draw errors and costs of hypergradients, which the benchmark measures: some minutes."""
    script = Path(__file__).parents[1] / "benchmarks" / "hypergradient_accuracy.py"
    subprocess.run([sys.executable, script, "--picture", ASSETS / "hypergradient_accuracy.png"], check=True)


def draw_explanation() -> None:
    """Train on the digits for three epochs and draw what the network looks at: some seconds."""
    with TemporaryDirectory() as place:
        folder = Path(place) / "digits"
        run_auxo("train", "supervised", "--epochs", "3", "--out", folder)
        run_auxo("explain", folder)
        for drawn, name in (("gradcam.png", "explain_gradcam.png"), ("tsne.png", "explain_tsne.png")):
            shutil.copy(folder / "explain" / "test" / drawn, ASSETS / name)


def draw_segmentation() -> None:
    """Pretrain and fine-tune on generated scenes and draw what auxo explain shows of the answers: a minute."""
    with TemporaryDirectory() as place:
        folder = Path(place) / "scenes"
        run_auxo("train", "segmentation", "--out", folder)
        run_auxo("explain", folder, "--per-class", "1")
        shutil.copy(folder / "explain" / "test" / "answers.png", ASSETS / "segmentation.png")


def draw_report() -> None:
    """Train on the digits for six epochs and photograph the report in Debian's Chromium: half a minute."""
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as place, sync_playwright() as running:
        folder = Path(place) / "ossl-digits-seed0"
        run_auxo("train", "ossl", "--epochs", "6", "--out", folder)
        run_auxo("report", folder)
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        taken = []
        for scheme, size, section in (("light", (1120, 960), "results"), ("dark", (400, 960), "points")):
            page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
            page.goto((folder / "report.html").as_uri())
            page.locator(f"#{section}").evaluate("each => each.scrollIntoView({behavior: 'instant'})")
            page.wait_for_selector(f"#{section} .js-plotly-plot .main-svg")
            if section == "points":
                page.locator("#points .chart").focus()
                page.keyboard.press("ArrowRight")
            page.wait_for_timeout(1000)
            taken.append(Image.open(io.BytesIO(page.screenshot())))
        browser.close()
    whole = Image.new("RGB", (sum(each.width for each in taken) + 24, taken[0].height), "white")
    whole.paste(taken[0], (0, 0))
    whole.paste(taken[1], (taken[0].width + 24, 0))
    whole.quantize(128).save(ASSETS / "report.png", optimize=True)


def draw_labels() -> None:
    """Train MAXL on the digits and enlarge what it shows of its labels: a minute and a half."""
    with TemporaryDirectory() as place:
        folder = Path(place) / "maxl"
        run_auxo("train", "maxl", "--out", folder)
        enlarge_labels(folder)


def enlarge_labels(folder: Path) -> None:
    """Write the training images by sub-class of a run of MAXL."""
    (path,) = (folder / "exhibits" / "train").glob("*-training-images-by-sub-class.png")
    with Image.open(path) as shown:
        shown.resize((2 * shown.width, 2 * shown.height), Image.Resampling.NEAREST).save(
            ASSETS / "maxl_labels.png", optimize=True
        )


def run_auxo(*words: str | Path) -> str:
    """Run a command on the CPU and return what it prints."""
    program = [sys.executable, "-m", "auxo", *words, "--device", "cpu"]
    wide = {**os.environ, "COLUMNS": "132"}
    return subprocess.run(program, check=True, stdout=subprocess.PIPE, text=True, env=wide).stdout


def draw_demo() -> None:
    """Run what make demo runs and photograph the end of what it prints: two minutes."""
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as place, sync_playwright() as running:
        folder = Path(place) / "runs" / "ossl-digits-seed0"
        printed = run_auxo("train", "ossl", "--out", folder) + run_auxo("report", folder)
        printed = printed.replace(f"{place}/", "")
        terminal = Console(record=True, width=132, file=io.StringIO())
        terminal.print(Text("\n".join(printed.splitlines()[-24:])))
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1240, "height": 900})
        page.set_content(terminal.export_svg(title="make demo"))
        taken = Image.open(io.BytesIO(page.locator("svg").first.screenshot()))
        browser.close()
    taken.convert("RGB").quantize(64).save(ASSETS / "demo.png", optimize=True)


def main() -> None:
    """Draw everything."""
    ASSETS.mkdir(exist_ok=True)
    splits = load_splits(DataConfig(scenario="digits"), seed=0)
    train = splits.train.source
    draw_rotation(train)
    draw_shortcut(train)
    draw_scenario({"train": train} | {split.name: split.source for split in splits.ood})
    scenes = load_splits(DataConfig(scenario="textured_scenes"), seed=0, task=Segmentation)
    draw_textured_scenes({"train": scenes.train.source} | {split.name: split.source for split in scenes.ood})
    draw_corruptions(one_of_each(train)[5:6], "corruptions_digit.png")
    draw_corruptions(photograph(64), "corruptions_photograph.png")
    photo = Photograph(96)
    draw_quadrants(photo)
    draw_patches(photo)
    draw_two_views({"photograph": (photograph(96), 0.5), "digit": (one_of_each(train)[5:6], 0.0)})
    draw_pixel_labels()
    draw_explanation()
    draw_segmentation()
    draw_labels()
    draw_report()
    draw_demo()
    draw_hypergradients()


if __name__ == "__main__":
    main()
