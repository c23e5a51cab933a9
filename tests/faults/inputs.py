"""What auxo reads: a whole input of every kind, what may happen to it, and the function that reads it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .spoil import BYTES, FOLDER, IMAGE, JSON, TABLE, WEIGHTS, spoil_file


@dataclass(frozen=True)
class Input:
    """A kind of input.

    Args:
        source: folder of the world that holds a whole one.
        read: reads a copy of that folder.
        changes: what may happen to its files, by pattern.
        is_folder: whether files may also come, go and become something else.
    """

    source: str
    read: Callable[[Path], object]
    changes: dict[str, Sequence[Callable]]
    is_folder: bool = False

    def spoil(self, root, draws):
        """Spoil one file of a copy, or the folder."""
        patterns = [*self.changes, *([""] if self.is_folder else [])]
        pattern = draws.choice(patterns)
        if not pattern:
            draws.choice(FOLDER)(root, draws)
            return
        path = draws.choice(sorted(root.glob(pattern)))
        spoil_file(path, self.changes[pattern], draws)


def _read_set(root, *, place="", mask=None, **options):
    from auxo.data.config import DataConfig
    from auxo.data.readers import read_source, read_unlabelled

    spec = f"{place}{root}" if place.endswith("//") else str(root / place)
    config = DataConfig(train=spec, storage="memory", **options)
    if mask is None and not options:
        read_unlabelled(spec, config)
    source = read_source(spec, config, mask=mask)
    source.content_hashes()


def _read_divided(root):
    """Read a folder of train, val and test as a run does."""
    from auxo.data import DataConfig, load_splits

    load_splits(DataConfig(train=str(root), storage="memory"), seed=0).digests()


def _read_pairs(root):
    from auxo.types import MASK

    _read_set(root, mask=MASK)


def _read_mask_table(root):
    from auxo.types import MASK

    _read_set(root, place="masks.parquet", mask=MASK)


def _read_classes(root):
    from auxo.data.mask_legend import MaskLegend, read_legend

    MaskLegend.of_entries(read_legend(root / "classes.csv"), ignore_index=255, origin="classes.csv")


def _read_config(root):
    from auxo.cli.train import read_run_config

    read_run_config(root)


def _read_history(root):
    from auxo.reporting import read_run_record
    from auxo.runs.history import RunHistory

    history = RunHistory.read(root)
    if history.is_finished:
        from auxo.cli.train import read_run_config

        read_run_record(root, read_run_config(root), name="run")
        assert history.rows
        assert history.epochs
        list(history.first_head())


def _load_run(root):
    from auxo.cli.train import read_run_config
    from auxo.runs.model import load_model
    from auxo.runtime import RuntimeConfig, open_runtime

    config = read_run_config(root)
    with open_runtime(RuntimeConfig(device="cpu", threads=1)) as runtime:
        load_model(config, root, runtime=runtime)


def _restore(root):
    """Read the newest checkpoint as a run does that goes on."""
    from auxo.cli.train import read_run_config
    from auxo.files.tensor_file import read_tensor_file
    from auxo.runs.checkpoint import Checkpoints
    from auxo.runs.document import config_digest

    config = read_run_config(root)
    for path in sorted((root / "checkpoints").glob("*.safetensors")):
        read_tensor_file(path)
    stage = config.stages[-1].name
    Checkpoints(root / "checkpoints", stage, config_digest(config)).final_progress()


def _load_export(root):
    from auxo.cli.predict import _exported_config
    from auxo.export import load_network
    from auxo.runtime import RuntimeConfig, open_runtime

    config = _exported_config(root, ())
    with open_runtime(RuntimeConfig(device="cpu", threads=1)) as runtime:
        load_network(config, root, runtime=runtime)


def _open_onnx(root):
    from auxo.export import open_onnx

    open_onnx(root / "model.onnx")


def _read_description(root):
    from auxo.export.description import Description

    Description.from_json((root / "description.json").read_text("latin-1"), origin="description.json")


def _read_comparison(root):
    from auxo.comparison import read_contents

    read_contents(root)


def _read_exhibits(root):
    from auxo.runs.exhibits import read_exhibits

    read_exhibits(root, ["train"])


def _read_trackers(root):
    from auxo.runs.trackers import read_trackers

    read_trackers(root)


def _read_sweep(root):
    """Open a sweep as the command does that goes on with it."""
    from auxo.sweep import check_contents, contents_of, open_study

    space, objective = make_space()
    check_contents(root, contents_of(space, recipe="supervised", strategy="random", rule=objective.rule))
    open_study(root, space, strategy="random", objective=objective, seed=0).ask()


def make_space():
    """Return what a sweep searches, and for what."""
    from auxo.runs.document import load_recipe
    from auxo.runs.selection import SelectionRule
    from auxo.sweep import Objective, parse_space

    space = parse_space(load_recipe("supervised"), ["method.optimizer.lr=log:1e-4,0.3"])
    return space, Objective(SelectionRule(), higher_is_better=True)


INPUTS = {
    "folder": Input("folder", _read_set, {"*/*": IMAGE}, is_folder=True),
    "divided folder": Input("divided", _read_divided, {"*/*/*": IMAGE}, is_folder=True),
    "labels.csv": Input("folder", lambda root: _read_set(root, columns=("site",)), {"labels.csv": TABLE}),
    "csv": Input("table", lambda root: _read_set(root, place="set.csv"), {"set.csv": TABLE}),
    "parquet": Input("parquet", lambda root: _read_set(root, place="set.parquet"), {"set.parquet": BYTES}),
    "hub": Input("saved", lambda root: _read_set(root, place="hf://"), {"*.json": JSON, "*.arrow": BYTES}, True),
    "data card": Input("card", lambda root: _read_set(root, place="hf://"), {"README.md": TABLE}, is_folder=True),
    "masks": Input("pairs", _read_pairs, {"masks/*": IMAGE, "images/*": IMAGE, "classes.csv": TABLE}, is_folder=True),
    "mask table": Input("mask_table", _read_mask_table, {"masks.parquet": BYTES}),
    "classes.csv": Input("pairs", _read_classes, {"classes.csv": TABLE}),
    "config.json": Input("run", _read_config, {"config.json": JSON}),
    "records.jsonl": Input("run", _read_history, {"records.jsonl": JSON}),
    "model": Input("run", _load_run, {"model.safetensors": WEIGHTS, "config.json": JSON}, is_folder=True),
    "checkpoint": Input("run", _restore, {"checkpoints/*": WEIGHTS, "config.json": JSON}),
    "description": Input("description", _read_description, {"description.json": JSON}),
    "comparison.json": Input("comparison", _read_comparison, {"comparison.json": JSON}, is_folder=True),
    "sweep": Input("sweep", _read_sweep, {"sweep.json": JSON, "study.journal": JSON}, is_folder=True),
    "trackers.json": Input("tracked", _read_trackers, {"trackers.json": JSON}),
    "exhibits": Input("run", _read_exhibits, {"exhibits/train/*": JSON}, is_folder=True),
}
"""What is read, by what it is called."""

EXPORTS = {
    "export": Input("export", _load_export, {"model.safetensors": WEIGHTS, "config.json": JSON}, is_folder=True),
    "onnx": Input("export", _open_onnx, {"model.onnx": BYTES}),
}
"""What is read of an export."""
