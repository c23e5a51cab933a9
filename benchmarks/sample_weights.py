"""What the weights that ``examples/sample_weights.py`` learns are worth beside uniform ones; prints Markdown.

Every line sees, under one seed, the same digits, the same wrong labels and the same first network, and makes as many
steps of plain SGD with batches of 100. The learning rates come from ``--select``, which never touches the digits that
the results are tested on: the last 80 of each class.

    python benchmarks/sample_weights.py             five seeds of every line, about three minutes
    python benchmarks/sample_weights.py --select    the grid from which the rates come, about six minutes
    python benchmarks/sample_weights.py --quick     a smoke test of seconds; its numbers mean nothing
"""

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from statistics import mean
from types import ModuleType
from typing import NamedTuple

import torch
import tyro
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from auxo.random import global_seed, named_generator
from comparison import difference, spread
from measurement import describe_machine, markdown_table

_LEARNED = "learned weights"
_LEARNED_TOO = "learned weights, clean images in training"
_RATES = (0.03, 0.1, 0.3)
_WEIGHT_RATES = (100.0, 300.0, 1000.0)
_DEVELOPMENT_PER_CLASS = 420  # all but those that the results are tested on

Sets = list[tuple[Tensor, ...]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to run."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each draws the clean digits, the wrong labels, the first network and the batches."""
    development_seeds: tuple[int, ...] = (100, 101)
    """Those of --select."""
    steps: int = 1000
    """Of SGD, in every line."""
    threads: int = 1
    """Threads of torch."""
    select: bool = False
    """Print the accuracy on development digits over the grid of rates instead."""
    quick: bool = False
    """Two seeds, five steps, few digits."""


class Line(NamedTuple):
    """One line of the table.

    Args:
        rate: of SGD, the best of --select.
        weight_rate: of the weights, likewise; 0 keeps them uniform.
        stops_early: whether the network is taken from the step, of every 20, at which the loss of the clean digits is
            least.
    """

    rate: float
    weight_rate: float = 0.0
    stops_early: bool = False


class Run(NamedTuple):
    """What a run came to: test accuracy, %, the weights (1 where they are uniform) and milliseconds per step."""

    accuracy: float
    weights: Tensor
    milliseconds: float


LINES = {
    "uniform": Line(0.03),
    "uniform, stopped early by clean images": Line(0.1, stops_early=True),
    "uniform, clean images in training": Line(0.03),
    "uniform, clean images half of each batch": Line(0.1),
    "clean images alone": Line(0.3),
    "right labels alone (not known in practice)": Line(0.3),
    _LEARNED: Line(0.3, 300.0),
    _LEARNED_TOO: Line(0.3, 300.0),
}


def load_example() -> ModuleType:
    """Return the example, which has the name of this file."""
    path = Path(__file__).parents[1] / "examples" / "sample_weights.py"
    spec = spec_from_file_location("sample_weights_example", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def training_sets(sets: Sets) -> dict[str, Sets]:
    """Return by line the sets with what that line trains on in the first place."""
    noisy, clean, test = sets
    repeats = round(len(noisy[1]) / len(clean[1]))
    trained_on = {
        "uniform": noisy,
        "uniform, stopped early by clean images": noisy,
        "uniform, clean images in training": _join(noisy, clean),
        "uniform, clean images half of each batch": _join(noisy, *[clean] * repeats),
        "clean images alone": clean,
        "right labels alone (not known in practice)": tuple(part[~noisy[2]] for part in noisy),
        _LEARNED: noisy,
        _LEARNED_TOO: _join(noisy, clean),
    }
    return {name: [training, clean, test] for name, training in trained_on.items()}


def _join(*parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return the digits of several sets as one."""
    return tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))


def train_uniform(sets: Sets, line: Line, *, steps: int, seed: int) -> float:
    """Return the test accuracy, %, of the example's network and batches with uniform weights: torch alone."""
    (images, labels, _), clean, test = sets
    with global_seed(seed):
        net = nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=line.rate)
    least, kept = math.inf, net.state_dict()
    for step, rows in enumerate(torch.randint(len(labels), (steps, 100), generator=named_generator(seed, "batches"))):
        optimizer.zero_grad()
        cross_entropy(net(images[rows]), labels[rows]).backward()
        optimizer.step()
        if line.stops_early and step % 20 == 19:
            loss = cross_entropy(net(clean[0]), clean[1]).item()
            if loss < least:
                least, kept = loss, {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(kept)
    return 100 * float((net(test[0]).argmax(dim=1) == test[1]).double().mean())


def run(example: ModuleType, sets: Sets, line: Line, *, steps: int, seed: int) -> Run:
    """Train a line once."""
    start = time.perf_counter()
    if line.weight_rate:
        accuracy, weights = example.train(sets, line.rate, line.weight_rate, steps=steps, seed=seed)
    else:
        accuracy = train_uniform(sets, line, steps=steps, seed=seed)
        weights = torch.ones(len(sets[0][1]))
    return Run(accuracy, weights, 1e3 * (time.perf_counter() - start) / steps)


def print_grid(example: ModuleType, options: Options, per_class: int) -> None:
    """Print the mean accuracy of every line at all rates on development digits."""
    loaded = {seed: example.load_digits(seed, per_class=per_class) for seed in options.development_seeds}
    given = {seed: training_sets(sets) for seed, sets in loaded.items()}
    rows = []
    for name, line in LINES.items():
        if name == _LEARNED_TOO:  # takes the rates of the line before
            continue
        for weight_rate in _WEIGHT_RATES if line.weight_rate else (0.0,):
            cells = []
            for rate in _RATES:
                tried = line._replace(rate=rate, weight_rate=weight_rate)
                runs = [run(example, s[name], tried, steps=options.steps, seed=seed) for seed, s in given.items()]
                cells.append(f"{mean(r.accuracy for r in runs):.1f}")
            rows.append([name, f"{weight_rate:g}" if weight_rate else "", *cells])
    print(markdown_table(["line", "weights' rate", *(f"rate {rate:g}" for rate in _RATES)], rows))


def print_results(example: ModuleType, options: Options, per_class: int) -> None:
    """Print accuracy, its paired differences, and the mean weights."""
    loaded = {seed: example.load_digits(seed, per_class=per_class) for seed in options.seeds}
    given = {seed: training_sets(sets) for seed, sets in loaded.items()}
    runs = {  # one seed after the other, so that whatever else the machine does falls on all lines
        seed: {name: run(example, sets[name], line, steps=options.steps, seed=seed) for name, line in LINES.items()}
        for seed, sets in given.items()
    }
    accuracies = {name: [runs[seed][name].accuracy for seed in runs] for name in LINES}
    rows = []
    for name, line in LINES.items():
        rates = f"{line.rate:g}" + (f", {line.weight_rate:g}" if line.weight_rate else "")
        ahead = "" if name == _LEARNED else difference(accuracies[_LEARNED], accuracies[name])
        taken = mean(runs[seed][name].milliseconds for seed in runs)
        rows.append([name, rates, spread(accuracies[name]), ahead, f"{taken:.1f}"])
    print(markdown_table(["line", "rates", "test accuracy, %", "learned ahead by", "ms per step"], rows))
    wrong, right, areas = [], [], []
    for seed, sets in loaded.items():
        weights, is_wrong = runs[seed][_LEARNED].weights, sets[0][2]
        wrong.append(weights[is_wrong].mean().item())
        right.append(weights[~is_wrong].mean().item())
        areas.append(100 * roc_auc_score(~is_wrong, weights))
    print(f"\nMean weight of wrong labels by seed: {_list(wrong)}; of right labels: {_list(right)}.")
    print(f"A right label has more weight than a wrong one in {spread(areas)} % of all pairs.")


def _list(values: Sequence[float]) -> str:
    """Return the values with two digits."""
    return ", ".join(f"{value:.2f}" for value in values)


def main() -> None:
    """Run and print."""
    options = tyro.cli(Options, description=__doc__)
    per_class = _DEVELOPMENT_PER_CLASS if options.select else 500
    if options.quick:
        options = replace(options, seeds=(0, 1), development_seeds=(100,), steps=5)
        per_class = 200
    torch.set_num_threads(options.threads)
    print(f"{describe_machine(torch.device('cpu'))}; load {os.getloadavg()[0]:.1f} at the start.\n", flush=True)
    (print_grid if options.select else print_results)(load_example(), options, per_class)
    print(f"\nLoad {os.getloadavg()[0]:.1f} at the end.")


if __name__ == "__main__":
    main()
