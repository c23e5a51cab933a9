"""The model card of any task: its own words, measures and units, and nothing of classes where there are none."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from auxo.export import Description
from auxo.export.card import Card
from auxo.methods.supervised import Supervised
from auxo.registry.outside import load_outside, short_name
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.runs.history import RunHistory
from auxo.runs.results import Compute, EvaluationRow, Selection
from auxo.tasks import AbstractTask, Classification, Measure, Measured, Part, Target, TaskConfig

PIXELS = Path(__file__).parents[2] / "outside" / "pixels.py"
THIRD = (1 / 3,) * 3


@dataclass(frozen=True)
class Depth(AbstractTask):
    """How far away an image was taken: one number, which is a quantity."""

    channels: int = 3
    height: int = 8
    width: int = 8
    primary: ClassVar[str] = "error"
    targets = (Target("depth"),)
    num_outputs = 1
    chance = None

    @classmethod
    def from_source(cls, source):
        return cls(*source.image_shape)

    def losses(self, outputs, targets):
        return (outputs[:, 0] - targets["depth"]).abs()

    def score(self, outputs, targets):
        return {"error": self.losses(outputs, targets)}

    def measure(self, scores, columns):
        return Measured({"error": Measure(float(scores["error"].mean()), unit="m", higher_is_better=False)}, {})

    def answer_columns(self):
        return ("depth",)

    def answers(self, outputs):
        return []


def make_row(split, primary, measure, *, parts=None, **others):
    return EvaluationRow(split, "head", "task", 50, primary, {primary: measure, **others}, parts=parts or {})


def make_card(task, *rows, selection=None, name="classification", files=("README.md", "model.pt2")):
    """The card of a run that nobody made."""
    end = {"kind": "end", "selection": selection and asdict(selection), "global_step": 2, **asdict(Compute(1.0, 16))}
    history = RunHistory(Path("run"), (*({"kind": "result", **row.to_record()} for row in rows), end))
    return Card(
        config=ExperimentConfig(task=TaskConfig(name=name), stages=(StageConfig(method=Supervised.Config()),)),
        description=Description(task, THIRD, THIRD, short_name(name)),
        history=history,
        digests={"train": "abc"},
        files=dict.fromkeys(files, "a file"),
        num_parameters=1234,
        trained_with="0",
        licence="unknown",
    )


def write_card(task, *rows, metadata=True, **options):
    """The text of the card of a run that nobody made."""
    return make_card(task, *rows, **options).to_markdown(metadata=metadata)


def leave_out_training(text):
    """The card without the sections whose words are the method's own, and without what a digest is of."""
    before, after = text.split("## Training", maxsplit=1)
    return (before + after[after.index("## Results") :]).replace("A digest is of class names", "")


def read_metadata(text):
    """The values of the YAML block, each of which is JSON."""
    _, block, _ = text.split("---\n", 2)
    return {key: json.loads(value) for key, value in (line.split(": ", 1) for line in block.splitlines())}


def test_card__classes__names_them_and_the_worst():
    task = Classification(("cat", "dog"), 3, 8, 8, class_counts=(5, 6))
    parts = {"class": {"cat": Part(30, 0.9), "dog": Part(20, 0.65)}}
    test = make_row("test", "accuracy", Measure(0.8), parts=parts, nll=Measure(0.25, unit="nats"))
    text = write_card(task, test, make_row("ood/other", "accuracy", Measure(0.5)))
    assert "An image classifier: it gives one of 2 classes to an image." in text
    assert 'Classes, in the order of the outputs:\n\n```json\n["cat", "dog"]\n```' in text
    assert 'Lowest accuracy of one class: test 65.0 % ("dog").' in text
    assert "* Accuracy elsewhere: ood/other 50.0 % of 50. Other images can be worse." in text
    assert "It always answers with one of its 2 classes" in text
    assert "The smallest training class has 5 images, the largest 6." in text
    assert "json.load" in text
    values = read_metadata(text)
    assert values["pipeline_tag"] == "image-classification"
    assert [each["metrics"] for each in values["model-index"][0]["results"]] == [
        [{"type": "accuracy", "value": 0.8}],
        [{"type": "accuracy", "value": 0.5}],
    ]


def test_card__quantity__says_its_measure_in_its_unit_and_nothing_of_classes():
    error = {"unit": "m", "higher_is_better": False}
    rows = [make_row(split, "error", Measure(value, **error)) for split, value in (("test", 1.25), ("ood/far", 4.5))]
    text = write_card(Depth(), *rows)
    assert "A network for the task Depth: it gives one number for an image." in text
    assert "* Error elsewhere: ood/far 4.500 m of 50." in text
    assert "print(logits)" in text
    told = leave_out_training(text)
    assert not [word for word in ("accuracy", "Accuracy", "class", "softmax", "labels.json") if word in told]
    values = read_metadata(text)
    assert values["pipeline_tag"] == "other"
    assert values["model-index"][0]["results"][0]["metrics"] == [{"type": "error", "value": 1.25}]


def test_card__every_pixel__has_classes_but_no_probabilities():
    kind = load_outside(f"{PIXELS}:PixelClasses", AbstractTask)
    row = make_row("test", "mIoU", Measure(0.5, 0.4, 0.6), pixel_accuracy=Measure(0.9))
    text = write_card(kind(("ground", "square"), 3, 16, 16), row, metadata=False)
    assert text.startswith("# supervised on")
    assert "it gives 2 numbers for every pixel of an image" in text
    assert '["ground", "square"]' in text
    assert "* mIoU elsewhere: not measured." in text
    assert "50.0 [40.0, 60.0] | 90.0 |" in text
    assert "softmax" not in leave_out_training(text)
    assert "Lowest" not in text
    assert "It always answers with one of" not in text


@pytest.mark.parametrize(
    ("file", "words"),
    [("model.onnx", ""), ("model.pt2", " --trust-pt2"), ("model.safetensors", "")],
)
def test_command__task_of_a_file__allows_that_file_in_every_format(file, words):
    kind = load_outside(f"{PIXELS}:PixelClasses", AbstractTask)
    card = make_card(kind(("ground", "square"), 3, 16, 16), name=f"{PIXELS}:PixelClasses", files=(file,))
    assert card.command("here") == f"auxo predict here IMAGES{words} --code pixels.py"


@pytest.mark.parametrize("is_selected", [True, False])
def test_card__checkpoint__is_said_as_it_was_chosen(is_selected):
    chosen = Selection("val", "head", "error", 1.0, "nll", 0.0, 2, 7) if is_selected else None
    text = write_card(Depth(), make_row("test", "error", Measure(1.25, unit="m")), selection=chosen)
    assert ("Checkpoint: best error of head on val at epoch 7" in text) is is_selected
    assert ("The val split chose the checkpoint, so its numbers are too good." in text) is is_selected
