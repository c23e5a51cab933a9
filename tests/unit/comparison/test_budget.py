"""Epochs that cost the same."""

from dataclasses import replace
from itertools import product

import pytest
import torch

from auxo.comparison import fit_to_budget, with_epochs
from auxo.errors import ConfigError
from auxo.methods.pretrain import Pretraining
from auxo.methods.segmenter import Segmenter
from auxo.methods.supervised import Supervised
from auxo.optimizers import OptimizerConfig, TuningConfig
from auxo.runs.document import load_recipe
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.tasks import TaskConfig
from auxo.training import cost
from auxo.training.cost import StageCost


def run_of(*epochs, warmup=0):
    method = Supervised.Config(optimizer=OptimizerConfig(schedule="cosine", warmup_epochs=warmup))
    stages = [StageConfig(name=f"s{number}", method=method, epochs=count) for number, count in enumerate(epochs)]
    return ExperimentConfig(stages=tuple(stages))


def costing(*flops_per_epoch, at_start=0.0):
    """Epochs of one step."""
    return tuple(
        StageCost(Supervised.Config(), {"train": 1}, {"step": flops}, at_start, 1) for flops in flops_per_epoch
    )


def epochs_of(config):
    return [stage.epochs for stage in config.stages]


def test_fit_to_budget__own_cost__the_same_run():
    config = run_of(15)
    plan = fit_to_budget(config, costing(100), 1500.0)
    assert plan.config == config
    assert plan.flops == 1500


@pytest.mark.parametrize(
    ("budget", "epochs"), [(9000, 90), (149, 1), (151, 2), (10, 1), (1549, 15), (1551, 16), (1_000_000, 10_000)]
)
def test_fit_to_budget__one_stage__the_nearest_number_of_epochs(budget, epochs):
    plan = fit_to_budget(run_of(15), costing(100), float(budget))
    assert epochs_of(plan.config) == [epochs]
    assert plan.flops == 100 * epochs


@pytest.mark.parametrize(("budget", "epochs"), [(1500, 10), (500, 1), (400, 1), (1560, 11)])
def test_fit_to_budget__start_that_costs__is_taken_off_the_budget(budget, epochs):
    plan = fit_to_budget(run_of(15), costing(100, at_start=500.0), float(budget))
    assert epochs_of(plan.config) == [epochs]
    assert plan.flops == 500 + 100 * epochs


def test_fit_to_budget__several_stages__in_proportion_and_no_other_proportion_is_nearer():
    config, costs, budget = run_of(15, 20, 60), (37, 3, 8), 700.0
    plan = fit_to_budget(config, costing(*costs), budget)
    made = epochs_of(plan.config)
    assert plan.flops == sum(a * b for a, b in zip(made, costs, strict=True))
    factors = [number / epochs for epochs, number in product((15, 20, 60), range(1, 200))]
    others = [[max(1, round(factor * epochs)) for epochs in (15, 20, 60)] for factor in factors]
    nearest = min(abs(sum(a * b for a, b in zip(each, costs, strict=True)) - budget) for each in others)
    assert abs(plan.flops - budget) == nearest
    assert made[2] / made[0] == pytest.approx(4, rel=0.1)


def test_fit_to_budget__nothing_counted__refused():
    with pytest.raises(ConfigError, match="--budget recipe"):
        fit_to_budget(run_of(15), costing(0), 1000.0)


def test_fit_to_budget__milestones_and_warm_up__stretch_with_the_epochs():
    config = run_of(10, warmup=2)
    method = Supervised.Config(optimizer=OptimizerConfig(schedule="step", milestones=(0.5, 0.8), warmup_epochs=2))
    longer = fit_to_budget(
        replace(config, stages=(StageConfig(method=method, epochs=10),)), costing(1), 40.0
    ).config.stages[0]
    rates = rates_of(longer)
    assert longer.epochs == 40
    assert rates[0] == pytest.approx(0.01 / 8)  # the first of 8 epochs of warm-up
    assert rates[7] == rates[19] == pytest.approx(0.01)
    assert rates[20] == rates[31] == pytest.approx(0.001)
    assert rates[32] == rates[39] == pytest.approx(0.0001)


def rates_of(stage):
    """The learning rate of every epoch, one step each."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=stage.method.optimizer.lr)
    schedule = stage.method.optimizer.build_schedule(optimizer, num_epochs=stage.epochs)
    rates = []
    for _ in range(stage.epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return rates


@pytest.mark.parametrize(("epochs", "warmup"), [(1, 0), (2, 1), (5, 1), (100, 20)])
def test_fit_to_budget__warm_up__leaves_an_epoch_at_least(epochs, warmup):
    stage = fit_to_budget(run_of(10, warmup=2), costing(1), float(epochs)).config.stages[0]
    assert (stage.epochs, stage.method.optimizer.warmup_epochs) == (epochs, warmup)


def test_fit_to_budget__recipe_of_two_stages__every_optimizers_warm_up_stretches():
    config = load_recipe("pretrain")
    longer = fit_to_budget(config, costing(1, 1), 225.0).config
    assert epochs_of(longer) == [45, 180]
    method = longer.stages[0].method
    assert isinstance(method, Pretraining.Config)
    assert method.optimizer.warmup_epochs == 3


@pytest.mark.parametrize(
    ("frozen", "budget", "epochs", "kept"), [(2, 860.0, 10, 2), (2, 1720.0, 20, 4), (10, 300.0, 10, 10)]
)
def test_fit_to_budget__frozen_backbone__its_epochs_cost_what_they_do(frozen, budget, epochs, kept):
    """An epoch of 100 operations, or of 30 with a frozen backbone."""
    stage = StageConfig(method=Supervised.Config(), epochs=10, tuning=TuningConfig(freeze_epochs=frozen))
    costs = (StageCost(stage.method, {"train": 1}, {"step": 100, "step, frozen backbone": 30}, 0.0, 1),)
    plan = fit_to_budget(ExperimentConfig(stages=(stage,)), costs, budget)
    assert (plan.config.stages[0].epochs, plan.config.stages[0].tuning.freeze_epochs) == (epochs, kept)
    assert plan.flops == budget


@pytest.mark.parametrize(("budget", "epochs"), [(2 * 3 * 10.0, 3), (2 * 5 * 10 + 2 * 4 * 70.0, 9), (2e12, 14285714290)])
def test_fit_to_budget__a_loss_added_after_five_epochs__later_epochs_cost_more(monkeypatch, budget, epochs):
    """Two steps of 10 operations in an epoch, of 70 from the sixth on, in a stage that is long enough or not."""
    monkeypatch.setattr(cost, "_MOST_STEPS", 100)
    method = Segmenter.Config(auxiliary_weight=0.5, auxiliary_after_epochs=5)
    costs = (StageCost(method, {"train": 2, "images": 9}, {"alone": 10, "joint": 70}, 0.0, 1),)
    config = ExperimentConfig(stages=(StageConfig(method=method, epochs=4),), task=TaskConfig(name="segmentation"))
    assert fit_to_budget(config, costs, budget).config.stages[0].epochs == epochs


def test_fit_to_budget__steps_of_warm_up__stretch_with_the_epochs():
    method = Supervised.Config(optimizer=OptimizerConfig(warmup_steps=20))
    config = ExperimentConfig(stages=(StageConfig(method=method, epochs=10),))
    lengths = [fit_to_budget(config, costing(1), budget).config for budget in (1.0, 10.0, 40.0)]
    assert [each.stages[0].method.optimizer.warmup_steps for each in lengths] == [2, 20, 80]


def test_with_epochs__of_the_last_stage__others_in_proportion():
    assert epochs_of(with_epochs(run_of(15, 20, 60), 6)) == [2, 2, 6]
    assert epochs_of(with_epochs(run_of(15), 1)) == [1]
    with pytest.raises(ConfigError, match="epochs >= 1"):
        with_epochs(run_of(15), 0)
