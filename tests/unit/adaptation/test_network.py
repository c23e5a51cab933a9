"""Whether an adaptation is kept: the veto, and what is not vetoed."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from auxo.adaptation import AdaptationConfig, adapt_network
from auxo.adaptation._check import doubt_chance, measure_fit
from auxo.adaptation.batch_norm import BatchNormAdaptation
from auxo.adaptation.none import NoAdaptation
from auxo.errors import NonFiniteError
from auxo.runs.history import RunHistory
from auxo.runs.results import EvaluationRow
from auxo.tasks import Measure

from .conftest import NAMES, Small


@dataclass(frozen=True, kw_only=True)
class OneClass(AdaptationConfig):
    """Every answer becomes the first class, as surely as may be."""

    sure: float = 50.0
    checked: ClassVar[bool] = True

    @property
    def is_checked(self):
        return self.checked

    def adapt(self, setting):
        with torch.no_grad():
            setting.reader.method.semantic.bias[0] += self.sure
        return {"sure": torch.tensor(self.sure)}


class Unchecked(OneClass):
    checked = False


def read_state(setting):
    return {name: tensor.clone() for name, tensor in setting.reader.method.state_dict().items()}


def test_adapt_network__predictions_that_leave_the_proportions__is_undone_to_the_bit(make_setting):
    setting = make_setting()
    before = read_state(setting)
    outcome = adapt_network(OneClass(), setting)
    assert not outcome.is_kept
    assert outcome.reason == "its predictions on these images fit the class proportions of training less than before"
    assert outcome.facts == {"sure": 50.0}
    assert all(torch.equal(before[name], tensor) for name, tensor in read_state(setting).items())


def test_adapt_network__unchecked__is_kept_whatever_it_does(make_setting):
    setting = make_setting()
    assert adapt_network(Unchecked(), setting).is_kept
    assert setting.reader.method.semantic.bias[0] > 40


def test_adapt_network__none__is_kept_and_changes_nothing(make_setting):
    setting = make_setting()
    before = read_state(setting)
    assert adapt_network(NoAdaptation(), setting)._replace(doubts=()) == (True, "", (), {})
    assert all(torch.equal(before[name], tensor) for name, tensor in read_state(setting).items())


def test_adapt_network__task_without_proportions__says_that_it_cannot_check(make_setting):
    outcome = adapt_network(BatchNormAdaptation(), make_setting(Small(counts=())))
    assert outcome.is_kept
    assert any("the task has no proportions of classes" in doubt for doubt in outcome.doubts)
    assert not any("cannot be checked" in doubt for doubt in adapt_network(NoAdaptation(), make_setting()).doubts)


def test_measure_fit__answers_in_the_proportions_of_training__is_their_mean_confidence(make_setting):
    setting = make_setting()
    judges = setting.target.choose(1000)
    pixels = setting.target.fetch(judges)
    with torch.no_grad():
        probs = setting.reader.outputs(setting.reader.inputs(pixels))["semantic"].softmax(1)
    counts = torch.bincount(probs.argmax(1), minlength=len(NAMES)).tolist()
    fitting = make_setting(Small(counts=tuple(counts)))
    assert measure_fit(fitting, judges) == pytest.approx(float(probs.amax(1).double().mean()), abs=1e-6)
    if len(set(counts)) > 1:
        assert measure_fit(setting, judges) < measure_fit(fitting, judges)


def test_measure_fit__outputs_that_are_nan__is_refused(make_setting):
    setting = make_setting()
    with torch.no_grad():
        setting.reader.method.semantic.bias[0] = float("nan")
    with pytest.raises(NonFiniteError, match="finite outputs on"):
        measure_fit(setting, torch.arange(4))


@pytest.mark.parametrize(("value", "is_doubted"), [(0.3, True), (0.9, False)])
def test_doubt_chance__accuracy_on_val__doubts_one_near_guessing(value, is_doubted):
    measures = {"accuracy": Measure(value)}
    row = EvaluationRow("val", "semantic", "task", 100, "accuracy", measures, chance=0.25)
    found = doubt_chance(RunHistory(Path(), ({"kind": "result", **row.to_record()},)))
    assert bool(found) == is_doubted
    assert not found or "accuracy on val is 30.0, and guessing gives 25.0" in found[0]
