from auxo.runs.independence.permutation import Permutation
from auxo.runs.results import EvaluationRow
from auxo.runs.selection import SelectionRule
from auxo.sweep.results import ValidationScore, choose
from auxo.tasks import Measure

TWO_STEP = SelectionRule(keep="two_step", test=Permutation(column="place"))


def score(accuracy: float, loss: float, statistic: float, p_value: float) -> ValidationScore:
    measures = {
        "accuracy": Measure(accuracy),
        "weighted_nll/place": Measure(loss, unit="nats", higher_is_better=False),
        "discrepancy/place": Measure(statistic, unit="", higher_is_better=False),
        "independence/place": Measure(p_value, unit=""),
    }
    return ValidationScore(TWO_STEP, EvaluationRow("val", "semantic", "task", 10, "accuracy", measures))


def test_choose__two_steps__takes_the_lowest_weighted_loss_of_the_trials_that_pass() -> None:
    trials = {0: score(0.9, 0.1, 0.2, 0.01), 1: score(0.7, 0.5, 0.1, 0.4), 2: score(0.6, 0.4, 0.2, 0.1)}
    assert choose(trials) == 2
    assert (trials[2].name, trials[2].measure.value) == ("weighted_nll/place", 0.4)
    assert choose({number: trials[number] for number in (0, 1)}) == 1
