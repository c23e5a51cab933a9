"""Which task, by its name."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from auxo.errors import ConfigError, DataError, ForeignCodeError
from auxo.methods.supervised import Supervised
from auxo.registry.outside import load_outside
from auxo.tasks import AbstractTask, Classification, TaskConfig

PIXELS = Path(__file__).parents[2] / "outside" / "pixels.py"


def test_kind__default__is_classification():
    assert TaskConfig().kind() is Classification


def test_kind__file_of_ones_own__is_the_class_in_it():
    kind = TaskConfig(name=f"{PIXELS}:PixelClasses").kind()
    assert issubclass(kind, AbstractTask)
    assert kind.__name__ == "PixelClasses"


def test_config__unknown_name__is_refused_in_one_line():
    with pytest.raises(ConfigError, match="clasification") as caught:
        TaskConfig(name="clasification")
    assert "did you mean classification" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_kind__task_that_lacks_methods__is_refused_with_their_names():
    with pytest.raises(ConfigError, match=r"a whole task called .*:AbstractTask, got one without answer_columns"):
        TaskConfig(name=f"{PIXELS}:AbstractTask").kind()


def test_config__file_without_the_name_of_a_task__says_what_is_missing():
    with pytest.raises(ConfigError, match=r"got 'mine.py': say what in that file: mine.py:Name"):
        TaskConfig(name="mine.py")


@pytest.mark.parametrize("name", ["Nothing", "PixelClassifier"])
def test_kind__file_without_such_a_task__is_refused_in_one_line(name):
    with pytest.raises(ConfigError, match=name) as caught:
        TaskConfig(name=f"{PIXELS}:{name}").kind()
    assert "\n" not in str(caught.value)


def test_check_task__task_that_a_method_does_not_serve__is_refused_in_one_line():
    pixels = TaskConfig(name=f"{PIXELS}:PixelClasses").kind()
    says = "a task that Supervised serves, Classification, got PixelClasses: choose another method"
    with pytest.raises(ConfigError, match=says) as caught:
        Supervised.Config().check_task(pixels)
    assert "\n" not in str(caught.value)
    Supervised.Config().check_task(Classification)


def test_from_record__tuples_within_tuples__come_back_equal():
    @dataclass(frozen=True)
    class Nested(Classification):
        groups: tuple[tuple[str, ...], ...] = ()

    task = Nested(("a", "b"), 3, 8, 8, groups=(("x", "y"), ("z",)))
    assert Nested.from_record(json.loads(json.dumps(task.to_record())), origin="here") == task


BROKEN = """
from dataclasses import dataclass
from auxo.errors import DataError
from auxo.tasks import Classification

@dataclass(frozen=True)
class Broken(Classification):
    @property
    def num_outputs(self):
        return {}["outputs"]

    @classmethod
    def strata(cls, source):
        return 1 // 0

    def losses(self, outputs, targets):
        return self.score(outputs, targets)

    def score(self, outputs, targets):
        raise ValueError("two\\nlines")

    def measure(self, scores, columns):
        raise DataError("scores", "none", "give some")

class Other:
    def fail(self):
        raise ValueError("not a task")
"""


def test_task__error_in_its_own_methods__is_one_line_with_file_and_line(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(BROKEN)
    kind = TaskConfig(name=f"{file}:Broken").kind()
    task = kind(("a", "b"), channels=3, height=8, width=8)
    calls = {
        r"KeyError: 'outputs' at line 10": lambda: task.num_outputs,
        r"ZeroDivisionError: .* at line 14": lambda: kind.strata(None),
        r"ValueError: two lines at line 20": lambda: task.losses(None, {}),
    }
    for says, call in calls.items():
        with pytest.raises(ForeignCodeError, match=rf"mine\.py to run, got {says}: repair the file") as caught:
            call()
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is not None
    with pytest.raises(DataError, match="expected scores, got none"):
        task.measure({}, {})
    with pytest.raises(ValueError, match="not a task"):
        load_outside(f"{file}:Other", object)().fail()
