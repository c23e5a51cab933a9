"""``auxo audit``: which columns of the data a trained model leans on."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from auxo.cli.changes import read_options
from auxo.cli.columns import add_columns, name_columns
from auxo.cli.explain import name_model
from auxo.cli.options import ModelOptions
from auxo.cli.terminal import print_table
from auxo.cli.train import read_run_config
from auxo.cli.words import say
from auxo.data import EvaluationSplit, TrainSplit, ood_splits
from auxo.data.config import Unknown
from auxo.errors import ConfigError
from auxo.evaluation import to_csv
from auxo.evaluation.audit import AuditConfig
from auxo.explain import ExplainConfig, Subject
from auxo.files import make_folder, remove_temporaries, require_place, write_atomically
from auxo.options import Options as CheckedOptions
from auxo.reporting import (
    Audit,
    audit_model,
    build_audit_page,
    build_audit_table,
    list_reasons,
    render_page,
)
from auxo.runs.experiment import ExperimentConfig
from auxo.runs.model import TrainedModel, load_model, splits_of
from auxo.runtime import RuntimeConfig, open_runtime

DESCRIPTION = """Say which columns of your data a trained model leans on: differences between their values within the
classes, tests of predictions and of features, strengths, and what the model looks at."""


@dataclass(frozen=True, kw_only=True)
class Options(CheckedOptions):
    """Options of ``auxo audit``."""

    run: Annotated[Positional[str], tyro.conf.arg(metavar="RUN")]
    """Run directory of a finished run, or of one in which the stage that is named is finished."""
    columns: tuple[str, ...] = ()
    """Further columns of the data, as "a,b", also those that the run was trained without: of Parquet, CSV and hf://
    sets, and for a folder of a labels.csv in it. Names, whole numbers, or quantities, which are cut into ranges."""
    stage: str | None = None
    """Audit what this stage of the run ended with; by default the model that the run ended with."""
    split: str | None = None
    """Set of the run whose images are asked: val, test or ood/NAME; default test, or val where there is none."""
    data: str | None = None
    """Labelled set to ask instead: folder, Parquet, CSV or hf://owner/name[:split]; then the run's own sets need no
    columns."""
    unknown: Annotated[Unknown | None, tyro.conf.arg(name="data.unknown")] = None
    """With --data: what to do with an image that has no label or one that train does not have: stop (refuse), or leave
    it out (ignore); default the run's own choice."""
    how: Annotated[AuditConfig, tyro.conf.arg(name="")] = field(default_factory=AuditConfig)
    """How to audit."""
    per_class: int = 3
    """Images that Grad-CAM shows of each value, beside their mean; 1 to 20."""
    layer: str | None = None
    """Map that Grad-CAM looks at, such as stage3; default the last with at least 4 pixels on both sides."""
    out: str | None = None
    """Folder for page, records and table; default audit/SPLIT in the run directory, audit/STAGE/SPLIT of a stage."""
    use: Annotated[ModelOptions, tyro.conf.arg(name="")] = field(default_factory=ModelOptions)
    """How the model is loaded and run."""


def run(words: Sequence[str]) -> None:
    """Audit the columns, print the table, and write page, records and table."""
    options = read_options(Options, words, command="auxo audit", description=DESCRIPTION)
    if not options.columns:
        fix = f"name some, as auxo audit {options.run} --columns background,site"
        raise ConfigError("further columns of the data", "none", fix)
    if options.data is not None and options.split is not None:
        got = f"--split {options.split} --data {options.data}"
        raise ConfigError("one of --split and --data", got, "leave one out")
    if options.unknown is not None and options.data is None:
        raise ConfigError("--data beside --data.unknown", "none", "leave it out: the run's sets are as they were")
    if options.out is not None:
        require_place(Path(options.out))
    show = ExplainConfig(per_class=options.per_class, layer=options.layer, seed=options.how.seed)
    folder = Path(options.run)
    config = read_run_config(folder, code=options.use.code)
    names = name_columns(config.data, options.columns)
    config = replace(config, data=add_columns(config.data, names))
    with open_runtime(RuntimeConfig(device=options.use.device, precision="float32")) as runtime:
        model = load_model(config, folder, runtime=runtime, stage=options.stage)
        split, train = _read_sets(config, model, options)
        subject = Subject(
            model=model,
            source=split.source,
            run=name_model(config, folder, options.stage),
            split=split.name,
            runtime=runtime,
            batch_size=options.use.batch_size,
        )
        audit = audit_model(subject, split, names, train=train, config=options.how, show=show)
        default = folder / "audit" / (options.stage or "") / split.name.replace("/", "-")
        out = Path(options.out) if options.out else default
        if runtime.is_main:
            _write_audit(audit, out)
            print_table(build_audit_table(audit))
            notes = [f"note: {note}" for note in split.source.notes]
            files = [f"page: {out / 'audit.html'}", f"records: {out / 'audit.json'}", f"cells: {out / 'audit.csv'}"]
            say("\n".join([*list_reasons(audit), *notes, *files]))


def _read_sets(
    config: ExperimentConfig, model: TrainedModel, options: Options
) -> tuple[EvaluationSplit, TrainSplit | None]:
    """Return the set that is asked, and the training images where they have the columns."""
    if options.data is not None:
        data = replace(config.data, unknown=options.unknown or config.data.unknown)
        (split,) = ood_splits([model.read_judged(options.data, data)])
        return split, None
    splits = splits_of(config)
    model.check_splits(splits)
    known = {split.name: split for split in splits.evaluation()}
    name = options.split or ("test" if "test" in known else "val")
    if name not in known:
        fix = f"pass --split with one of {', '.join(known)}"
        raise ConfigError("a set of the run that was not trained on", repr(name), fix)
    return known[name], splits.train


def _write_audit(audit: Audit, folder: Path) -> None:
    """Write the page, the records and the table of cells."""
    remove_temporaries(make_folder(folder))
    write_atomically(folder / "audit.html", render_page(build_audit_page(audit)))
    write_atomically(folder / "audit.json", json.dumps(audit.to_record(), indent=2) + "\n")
    write_atomically(folder / "audit.csv", to_csv(audit.cell_rows()))
