"""What the runs cost."""

from collections.abc import Sequence

from auxo.reporting.blocks import Numbers, Section, SectionPart
from auxo.reporting.judgement import Judgement
from auxo.reporting.run_record import RunRecord
from auxo.reporting.sections.words import counted


def cost_section(runs: Sequence[RunRecord], judgements: Sequence[Judgement]) -> Section:
    """Return seconds, images, operations and parameters of each run.

    Args:
        runs: at least one.
        judgements: one per run.
    """
    lines = []
    for run, judgement in zip(runs, judgements, strict=True):
        spent = run.history.compute
        lines.append(
            (
                run.name,
                f"{spent.train_seconds:,.1f}",
                f"{spent.images:,}",
                f"{run.history.steps:,}",
                "not counted" if spent.flops is None else f"{spent.flops / 1e9:,.1f}",
                f"{judgement.num_parameters:,}",
                f"{spent.images / spent.train_seconds:,.0f}" if spent.train_seconds > 0 else "-",
            )
        )
    columns = ["run", "seconds", "images", "steps", "10⁹ operations", "parameters", "images a second"]
    note = (
        "Training of all stages together, without reading data and judging. Each training image counts as often as it "
        "was seen; what a pretext makes of one is not counted again. Operations are counted at the first step of each "
        "kind. Parameters are those of the last stage's network, with heads that only training needs."
    )
    table = Numbers("What training took", columns, lines, is_open=True, note=note)
    return Section("cost", "Cost", [SectionPart("", [_write_sentence(runs)], [table])])


def _write_sentence(runs: Sequence[RunRecord]) -> str:
    """Return what all cost together, and the cheapest and the dearest."""
    seconds = [run.history.compute.train_seconds for run in runs]
    images = sum(run.history.compute.images for run in runs)
    if len(runs) == 1:
        return f"Training took {seconds[0]:,.1f} seconds and saw {counted(images, 'image')}."
    cheap, dear = (pick(runs, key=lambda run: run.history.compute.train_seconds) for pick in (min, max))
    return (
        f"Training took {sum(seconds):,.1f} seconds together, from {cheap.history.compute.train_seconds:,.1f} "
        f"({cheap.name}) to {dear.history.compute.train_seconds:,.1f} ({dear.name})."
    )
