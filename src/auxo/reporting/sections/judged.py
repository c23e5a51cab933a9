"""What the models say of every set now: which classes they take for which, and how sure they are of it."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Int

from auxo.evaluation import begin_sentence
from auxo.reporting.blocks import Block, Chart, Charts, Confusion, Numbers, Section, SectionPart
from auxo.reporting.charts import Line, build_heat, build_lines
from auxo.reporting.colours import Style
from auxo.reporting.judgement import Judgement, Omission, SetJudgement
from auxo.reporting.run_record import RunRecord
from auxo.reporting.sections.legend import legend_of
from auxo.reporting.sections.words import counted, listed, percent
from auxo.tasks import calibration_error

_Counts: TypeAlias = Int[np.ndarray, "answers answers"]

_MOST_IN_TABLE = 20  # classes; more are drawn
_MOST_PAIRS = 100
_MOST_OPEN = 3  # runs whose table is open from the start
_LARGEST, _SMALLEST = 15, 5  # pixels of a point


def confusion_section(runs: Sequence[RunRecord], judgements: Sequence[Judgement]) -> Section | None:
    """Return which answers are confused on every set; nothing where no task has answers to be confused.

    Args:
        runs: at least one.
        judgements: one per run.
    """
    parts = []
    for number, (run, judgement) in enumerate(zip(runs, judgements, strict=True)):
        title = run.name if len(runs) > 1 else ""
        if isinstance(judgement.sets, Omission):
            parts.append(SectionPart(title, [f"Left out: {judgement.sets.reason}."]))
            continue
        sets = [(each.name, each.confusion) for each in judgement.sets if each.confusion is not None]
        if not sets:
            continue
        confused = judgement.sets[0].confused
        main = next((name for name, _ in sets if name == "test"), sets[0][0])
        blocks: list[Block] = []
        for place, (name, counts) in enumerate(sets):
            is_open, key = name == main and len(runs) <= _MOST_OPEN, f"confusion-{number}-{place}"
            blocks += _show_confusions(name, counts, judgement.answers, confused, key=key, is_open=is_open)
        sentences = [_describe_worst(sets, judgement.answers), *_note_differences(run, judgement.sets)]
        parts.append(SectionPart(title, sentences, blocks))
    return Section("confusion", "Confusions", parts) if parts else None


def reliability_section(
    runs: Sequence[RunRecord], judgements: Sequence[Judgement], styles: Mapping[str, Style]
) -> Section | None:
    """Return how often the models were correct at a given confidence, on every set; nothing without confidences.

    Args:
        runs: at least one.
        judgements: one per run.
        styles: of the runs, by name.
    """
    judged = [
        (run, [each for each in judgement.sets if each.bins])
        for run, judgement in zip(runs, judgements, strict=True)
        if not isinstance(judgement.sets, Omission) and any(each.bins for each in judgement.sets)
    ]
    sentences = [
        f"{run.name + ': left' if len(runs) > 1 else 'Left'} out: {judgement.sets.reason}."
        for run, judgement in zip(runs, judgements, strict=True)
        if isinstance(judgement.sets, Omission)
    ]
    if not judged and not sentences:
        return None
    names = list(dict.fromkeys(each.name for _, sets in judged for each in sets))
    panels, lines = [], []
    for number, name in enumerate(names):
        own = [(run, each) for run, sets in judged for each in sets if each.name == name]
        panels.append(_draw_diagram(own, styles, name, key=f"reliability-{number}"))
        lines += [line for run, each in own for line in _bin_lines(run, each)]
    items = []
    for run, sets in judged:
        worst = max(sets, key=lambda each: calibration_error(each.bins))
        text = _describe_sureness(worst)
        items.append(f"{run.name}: {text}" if len(runs) > 1 else begin_sentence(text))
    blocks: list[Block] = []
    if panels:
        columns = ["set", "run", "confidence, %", "images", "mean confidence, %", "accuracy, %"]
        blocks = [*legend_of([run for run, _ in judged], styles), Charts(panels), _make_error_table(judged)]
        blocks.append(Numbers("The points of the diagrams", columns, lines))
    part = SectionPart("", sentences, blocks, items) if len(runs) > 1 else SectionPart("", [*sentences, *items], blocks)
    return Section("reliability", "Reliability", [part])


def _summarise_confusions(counts: _Counts, answers: Sequence[str], confused: str) -> str:
    """Return how many answers were right and which pairs were confused the most."""
    correct, total = int(np.trace(counts)), int(counts.sum())
    text = f"{correct:,} of {total:,} {confused} correct ({percent(correct / total)})"
    pairs = _list_mistakes(counts)[:3]
    if not pairs:
        return f"{text}; nothing was confused."
    words = [
        f"{answers[label]} predicted as {answers[taken]} ({counted(count, 'time')})" for label, taken, count in pairs
    ]
    return f"{text}; confused the most: {listed(words)}."


def _describe_worst(sets: Sequence[tuple[str, _Counts]], answers: Sequence[str]) -> str:
    """Return the pair that is confused the most often, of all sets, by the share of its class."""
    pairs = [
        (count / int(counts[label].sum()), count, name, label, taken)
        for name, counts in sets
        for label, taken, count in _list_mistakes(counts)[:3]
    ]
    if not pairs:
        return "Nothing was confused on any set."
    share, count, name, label, taken = max(pairs, key=lambda pair: pair[:2])
    return (
        f"Over {counted(len(sets), 'set')}, the pair confused the most is {answers[label]}, predicted as "
        f"{answers[taken]} on {name}: {counted(count, 'time')}, {percent(share)} of that class."
    )


def _list_mistakes(counts: _Counts) -> list[tuple[int, int, int]]:
    """Return class, predicted class and how often, of all mistakes, the most frequent first."""
    wrong = counts - np.diag(np.diag(counts))
    right, taken = np.nonzero(wrong)
    found = zip(right.tolist(), taken.tolist(), wrong[right, taken].tolist(), strict=True)
    return sorted(found, key=lambda pair: -pair[2])


def _show_confusions(
    name: str, counts: _Counts, answers: Sequence[str], confused: str, *, key: str, is_open: bool
) -> list[Block]:
    """Return the confusions on a set: as a table, or of many classes as a drawing with a table of the pairs."""
    summary = _summarise_confusions(counts, answers, confused)
    if len(answers) <= _MOST_IN_TABLE:
        return [Confusion(name, summary, answers, counts.tolist(), is_open, confused)]
    title = f"Confusions on {name}: rows are classes, columns the predictions"
    chart = Chart(key, title, f"On {name}, {summary}", build_heat(counts.tolist(), answers), height=620)
    pairs = [(answers[label], answers[taken], f"{count:,}") for label, taken, count in _list_mistakes(counts)]
    caption = f"The most frequent of {len(pairs):,} confused pairs on {name}"
    return [Charts([chart]), Numbers(caption, ["class", "prediction", confused], pairs[:_MOST_PAIRS])]


def _note_differences(run: RunRecord, sets: Sequence[SetJudgement]) -> list[str]:
    """Return a sentence for each set whose answers are not those of the end of the run."""
    recorded = {row.split: row for row in run.history.first_head()}
    sentences = []
    for each in sets:
        row = recorded.get(each.name)
        if row is not None and (row.n, row.main.value) != (each.row.n, each.row.main.value):
            sentences.append(
                f"Asked again just now; when the run ended it was {row.main.describe()} of {row.n:,} on {each.name}."
            )
    return sentences


def _draw_diagram(
    own: Sequence[tuple[RunRecord, SetJudgement]], styles: Mapping[str, Style], name: str, *, key: str
) -> Chart:
    """Return the reliability diagram of a set, one line per run."""
    lines, words = [], []
    for run, each in own:
        error = f"{100 * calibration_error(each.bins):.1f} %"
        largest = max(part.n for part in each.bins)
        lines.append(
            Line(
                run.name,
                [100 * part.confidence for part in each.bins],
                [100 * part.accuracy for part in each.bins],
                styles[run.name],
                [
                    f"{run.name}: {counted(part.n, 'image')}, {percent(part.confidence)} sure, "
                    f"{percent(part.accuracy)} correct"
                    for part in each.bins
                ],
                [_SMALLEST + (_LARGEST - _SMALLEST) * (part.n / largest) ** 0.5 for part in each.bins],
            )
        )
        words.append(f"{run.name} {error}" if len(own) > 1 else error)
    figure = build_lines(lines, x_title="confidence, %", y_title="accuracy, %", is_square=True)
    label = f"Reliability diagram of {name}: accuracy against confidence; expected calibration error {listed(words)}."
    return Chart(key, name if len(own) > 1 else f"{name}: ECE {words[0]}", label, figure)


def _describe_sureness(each: SetJudgement) -> str:
    """Return whether a set's answers were surer than right."""
    total = sum(part.n for part in each.bins)
    mean_confidence = sum(part.n * part.confidence for part in each.bins) / total
    accuracy = sum(part.n * part.accuracy for part in each.bins) / total
    gap = mean_confidence - accuracy
    how = "overconfident" if gap > 0 else "underconfident"
    return (
        f"the expected calibration error is largest on {each.name}, {percent(calibration_error(each.bins))}: the "
        f"mean confidence there is {percent(mean_confidence)}, accuracy {percent(accuracy)}: {how}."
    )


def _make_error_table(judged: Sequence[tuple[RunRecord, Sequence[SetJudgement]]]) -> Numbers:
    """Return calibration errors, one line per set, one column per run."""
    names = list(dict.fromkeys(each.name for _, sets in judged for each in sets))
    errors = {(run.name, each.name): calibration_error(each.bins) for run, sets in judged for each in sets}
    lines = []
    for name in names:
        found = [errors.get((run.name, name)) for run, _ in judged]
        lines.append((name, *("-" if error is None else f"{100 * error:.1f}" for error in found)))
    note = (
        "A point is the images of one of 15 ranges of confidence, larger for more of them; on the dotted line the "
        "network is correct as often as its confidence says. ECE is the mean distance from it over the images."
    )
    columns = ["set", *(run.name for run, _ in judged)]
    return Numbers("Expected calibration error, %", columns, lines, is_open=len(judged) > 1, note=note)


def _bin_lines(run: RunRecord, each: SetJudgement) -> list[tuple[str, ...]]:
    """Return the bins of a set as lines of a table."""
    return [
        (
            each.name,
            run.name,
            f"{100 * part.low:.0f} to {100 * part.high:.0f}",
            f"{part.n:,}",
            f"{100 * part.confidence:.1f}",
            f"{100 * part.accuracy:.1f}",
        )
        for part in each.bins
    ]
