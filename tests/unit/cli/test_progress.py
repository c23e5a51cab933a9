"""What is printed while a run works: losses and the primary measure of every head, in its own unit."""

import io

from rich.console import Console

from auxo.cli.progress import PlainObserver, TerminalObserver
from auxo.runs.results import EvaluationRow
from auxo.tasks import Measure

ROWS = [
    EvaluationRow("val", "semantic", "task", 9, "accuracy", {"accuracy": Measure(0.9761), "nll": Measure(0.1)}),
    EvaluationRow("val", "depth", "task", 9, "error", {"error": Measure(1.23456, unit="nats")}),
    EvaluationRow("val", "lorot", "pretext", 9, "accuracy", {"accuracy": Measure(0.08)}, 1 / 16),
]
LOSSES = {"classification_loss": 0.5, "embedding_std": 0.7}
LINE = "epoch 3: classification loss 0.500, val semantic 97.6 %, val depth 1.235 nats, val lorot 8.0 % (guessing 6.2 %)"


def test_plain_observer__evaluated__says_primary_measures_in_their_units(capsys):
    observer = PlainObserver("headline")
    observer.stage_started("train", step=0, num_steps=10)
    observer.step_done(1, images_per_second=1234.5, losses=LOSSES)
    observer.evaluated(3, ROWS)
    assert capsys.readouterr().out.splitlines() == ["headline", "train: step 0 of 10", f"{LINE}, 1,234 images/s"]


def test_plain_observer__steps_that_show_no_images__says_no_speed(capsys):
    observer = PlainObserver("headline")
    observer.step_done(1, images_per_second=0.0, losses=LOSSES)
    observer.evaluated(3, ROWS)
    assert capsys.readouterr().out.splitlines() == [LINE]


def test_terminal_observer__evaluated__says_the_same():
    written = io.StringIO()
    observer = TerminalObserver(Console(file=written, width=200))
    observer.step_done(1, images_per_second=1234.5, losses=LOSSES)
    observer.evaluated(3, ROWS)
    observer.close()
    assert LINE in written.getvalue()
