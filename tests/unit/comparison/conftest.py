"""Results of runs that nobody made."""

import pytest

from auxo.comparison import Contents, MethodEntry, Result
from auxo.runs.results import EvaluationRow
from auxo.tasks import Measure

LAST = "last epoch; nothing was selected"


@pytest.fixture
def make_row():
    """What a head achieved on a set: accuracy, by name, and any other measures."""

    def make(accuracy, *, split="test", primary="accuracy", notes=(), **others):
        measures = {primary: Measure(accuracy), **others}
        return EvaluationRow(split, "semantic", "task", 50, primary, measures, chance=0.25, notes=notes)

    return make


@pytest.fixture
def make_result():
    """What a run found that cost as much as all others."""

    def make(method, seed, *rows, selection=LAST):
        return Result(method, seed, {row.split: row for row in rows}, (3,), 2.0, 150, 1e9, selection)

    return make


@pytest.fixture
def contents_for():
    """A folder with these runs at equal compute."""

    def make(*results):
        seeds = {}
        for result in results:
            seeds.setdefault(result.method, []).append(result.seed)
        methods = {name: MethodEntry(name, 7, tuple(sorted(own))) for name, own in seeds.items()}
        return Contents("own", "equal", 1e9, "as given", {}, None, methods)

    return make
