"""A folder with one whole input of every kind that auxo reads, which the tests of bad input spoil copies of."""

import csv
import json
import shutil

import numpy as np
from PIL import Image

from .inputs import make_space
from .words import run_command

CLASSES = ("cat", "dog")


def build_world(root, run):
    """Write the inputs below a folder.

    Args:
        root: an empty folder.
        run: a finished run.
    """
    shutil.copytree(run, root / "run")
    _show_curve(root / "run")
    _write_sets(root)
    _write_tables(root)
    _write_pairs(root)
    _describe_export(root)
    _track_run(root)
    _write_studies(root)


def write_shapes(root):
    """Write images of four classes that a run of a second learns from, and return their folder."""
    from auxo.data.fake import oriented_shapes

    source = oriented_shapes(48, size=28, seed=0)
    for number, (image, label) in enumerate(zip(source.images, source.columns["label"].values, strict=True)):
        path = root / source.vocabulary["label"][int(label)] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return root


def write_images(root, names, *, seed=0, side=8):
    """Write images of noise below a folder, and return their paths."""
    noise = np.random.default_rng(seed)
    paths = [root / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
    return paths


def _write_csv(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def _write_sets(root):
    names = [f"{CLASSES[number % 2]}/{number}.png" for number in range(6)]
    write_images(root / "folder", names)
    _write_csv(root / "folder" / "labels.csv", [["path", "site"], *([name, f"s{len(name)}"] for name in names)])
    write_images(root / "divided", [f"{part}/{name}" for part in ("train", "val", "test") for name in names])
    paths = write_images(root / "table", names)
    rows = [[str(path.relative_to(root / "table")), path.parent.name] for path in paths]
    _write_csv(root / "table" / "set.csv", [["path", "label"], *rows])
    write_images(root / "card", [f"train/{name}" for name in names])
    card = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: train/**\n"
    (root / "card" / "README.md").write_text(f"{card}license: mit\n---\n# A set, of images\n")


def _write_tables(root):
    import pyarrow
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as ImageFeature
    from pyarrow import parquet

    paths = sorted((root / "table").rglob("*.png"))
    cells = [{"bytes": path.read_bytes(), "path": path.name} for path in paths]
    labels = [number % 2 for number in range(len(cells))]
    (root / "parquet").mkdir()
    parquet.write_table(pyarrow.table({"image": cells, "label": labels}), root / "parquet" / "set.parquet")
    features = Features({"image": ImageFeature(), "label": ClassLabel(names=[*CLASSES])})
    Dataset.from_dict({"image": cells, "label": labels}, features=features).save_to_disk(str(root / "saved"))


def _write_pairs(root):
    import pyarrow
    from pyarrow import parquet

    images = write_images(root / "pairs" / "images", [f"{number}.png" for number in range(4)])
    (root / "pairs" / "masks").mkdir()
    for number, path in enumerate(images):
        mask = np.zeros((8, 8), dtype=np.uint8)
        mask[:, number + 1 :] = 1
        Image.fromarray(mask).save(root / "pairs" / "masks" / path.name)
    _write_csv(root / "pairs" / "classes.csv", [["name", "index", "colour"], ["sky", 0, "#0000ff"], ["road", 1, ""]])
    masks = [(root / "pairs" / "masks" / path.name).read_bytes() for path in images]
    table = pyarrow.table({"image": [path.read_bytes() for path in images], "mask": masks})
    (root / "mask_table").mkdir()
    table = table.replace_schema_metadata({"classes": json.dumps(["sky", "road"])})
    parquet.write_table(table, root / "mask_table" / "masks.parquet")


def add_exports(root):
    """Export the run of a world in every format, which takes seconds."""
    said = run_command(["export", root / "run", "--format", "all", "--out", root / "export"])
    assert said.code == 0, said.err


def _describe_export(root):
    """Write what a network that is exported says of itself."""
    from auxo.export.description import Description
    from auxo.tasks import Classification

    task = Classification(CLASSES, channels=3, height=8, width=8, class_counts=(3, 3))
    (root / "description").mkdir()
    text = Description(task, (0.5,) * 3, (0.2,) * 3, "classification").to_json()
    (root / "description" / "description.json").write_text(text)


def _track_run(root):
    """Write what a tracker calls a run."""
    (root / "tracked").mkdir()
    (root / "tracked" / "trackers.json").write_text('{"wandb": {"identity": "1a2b", "failure": null}}\n')


def _show_curve(run):
    """Let a run show a curve."""
    place = run / "exhibits" / "train"
    place.mkdir(parents=True)
    entry = {"title": "A curve", "file": "01-curve.json", "kind": "curve"}
    (place / "index.json").write_text(json.dumps([entry]))
    (place / "01-curve.json").write_text(json.dumps({"x": "step", "y": "loss", "lines": {"a": [[1, 2.5], [2, 2.0]]}}))


def _write_studies(root):
    """Write the description of a comparison, and a sweep of which one trial is asked for and one failed."""
    from auxo.sweep import contents_of, open_study, write_contents

    run = json.loads((root / "run" / "config.json").read_text())["run"]
    shared = {name: run[name] for name in ("task", "backbone", "data", "training", "runtime")}
    described = {"format": 3, "auxo": "0", "title": "own", "budget": "equal", "flops": 1.0, "chosen": ""}
    methods = {"ossl": {"recipe": "ossl", "num_parameters": 3, "seeds": [0], "controls": None}}
    contrasts = [{"method": "ossl", "baseline": "supervised", "is_declared": True}]
    declaration = {
        "measure": "primary",
        "split": None,
        "margin": "1",
        "looks": 1,
        "contrasts": contrasts,
        "group": None,
    }
    described |= {"declaration": declaration, "looks": [{"ossl": [0]}], "redrawn": {"test": 0.1}}
    (root / "comparison").mkdir()
    document = {**described, "epochs": None, "shared": shared, "methods": methods}
    (root / "comparison" / "comparison.json").write_text(json.dumps(document, indent=2))
    space, objective = make_space()
    folder = root / "sweep"
    write_contents(folder, contents_of(space, recipe="supervised", strategy="random", rule=objective.rule))
    study = open_study(folder, space, strategy="random", objective=objective, seed=0)
    study.fail(study.ask(), "it failed")
    study.ask()
