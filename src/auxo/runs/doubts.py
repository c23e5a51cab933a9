"""What speaks against taking the result of a finished run at its word, found in its records."""

from collections.abc import Sequence
from statistics import fmean

from auxo.runs.history import Evaluated, LoggedMetrics, RunHistory
from auxo.runs.results import EvaluationRow

_FEW_IMAGES = 100
_FEWEST_EVALUATIONS = 4  # of which quarters can be compared
_GAIN = 0.01  # of a fraction, or of the value itself, in the last quarter of a stage
_ABOVE_START = 1.1  # how far above its start a loss must end to have diverged; noise of a batch is less
_ABOVE_LOWEST = 1.5


def find_doubts(history: RunHistory) -> list[str]:
    """Return a sentence for each reason to doubt the result of a finished run, with what to do; most runs have none.

    * The head that predicts is no better than guessing on the validation set: guessing is within its 95 % interval.
    * The first loss of the last stage ended above where it began, and far above its lowest value: it diverged, though
      no number ceased to be finite.
    * The primary measure was still improving: in the last quarter of the evaluations it is better by more than a
      point, or by a hundredth of its value where it is no fraction, than in the quarter before, and the best is there.
    * The checkpoint was chosen by fewer than 100 validation images.

    The test sets are not looked at.

    Raises:
        CheckpointError: the run is not finished, or its records are damaged.
    """
    row = next((row for row in history.first_head() if row.split == "val"), None)
    if row is None:
        return []
    evaluated = [each for each in history.evaluated() if each.row.kind == "task" and each.row.head == row.head]
    stage = evaluated[-1].stage if evaluated else None
    doubts = [
        _doubt_guess(row),
        _doubt_loss([each for each in history.measured() if each.stage == stage]),
        _doubt_end([each for each in evaluated if each.stage == stage]),
    ]
    if history.selection is not None and row.n < _FEW_IMAGES:
        doubts.append(
            f"the checkpoint was chosen by {row.n} validation images, fewer than {_FEW_IMAGES}, so that chance has its "
            "part in it: give more by --data.val or --data.val-fraction, or keep the last epoch (--selection.keep last)"
        )
    return [doubt for doubt in doubts if doubt is not None]


def _doubt_guess(row: EvaluationRow) -> str | None:
    """Return a doubt where a head is no better than guessing."""
    main, guess = row.main, row.guessing
    if guess is None:
        return None
    end = main.low if main.higher_is_better else main.high
    worst = main.value if end is None else end
    if worst > guess.value if main.higher_is_better else worst < guess.value:
        return None
    return (
        f"{row.primary} on val, {main.describe()}, is no better than guessing, {guess.describe()}: look at the labels, "
        "raise --epochs, or try other learning rates"
    )


def _doubt_loss(logged: Sequence[LoggedMetrics]) -> str | None:
    """Return a doubt where the first loss of a stage ended above where it began."""
    name = next((name for each in logged for name in each.values if name.endswith("loss")), None)
    values = [each.values[name] for each in logged if name in each.values] if name is not None else []
    if len(values) < 2 or name is None:
        return None
    first, last = values[0], values[-1]
    if first <= 0 or last <= _ABOVE_START * first or last <= _ABOVE_LOWEST * min(values):
        return None
    return (
        f"the {name.replace('_', ' ')} ended at {last:.3g}, above where it began, {first:.3g}: training diverged; "
        "lower the learning rate"
    )


def _doubt_end(evaluated: Sequence[Evaluated]) -> str | None:
    """Return a doubt where the primary measure of a stage was still improving at its end."""
    if len(evaluated) < _FEWEST_EVALUATIONS:
        return None
    main, quarter = evaluated[-1].row.main, len(evaluated) // 4
    sign = 1 if main.higher_is_better else -1
    values = [sign * each.row.main.value for each in evaluated]
    last, before = fmean(values[-quarter:]), fmean(values[-2 * quarter : -quarter])
    least = _GAIN if main.unit == "%" else _GAIN * abs(before)
    if last - before <= least or max(values) > max(values[-quarter:]):
        return None
    gain = f"{100 * (last - before):.1f} points" if main.unit == "%" else f"{last - before:.3g} {main.unit}".rstrip()
    epochs = evaluated[-1].epoch - evaluated[-1 - quarter].epoch
    return (
        f"{evaluated[-1].row.primary} on val was still improving at the end, by {gain} in the last {epochs:g} epochs: "
        "more of them may help (--epochs)"
    )
