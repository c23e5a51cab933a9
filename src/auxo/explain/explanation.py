"""Grad-CAM and t-SNE of a trained model on a set of images, as files."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from auxo.errors import AuxoError
from auxo.explain.answer_figure import draw_answers
from auxo.explain.answers import check_drawn, find_evidence, rank_answers, score_images, show_answers
from auxo.explain.arrangement import arrangement
from auxo.explain.attention import attention_grid
from auxo.explain.config import ExplainConfig
from auxo.explain.drawing import Drawing
from auxo.explain.figures import find_unknown_letters
from auxo.explain.subject import Subject
from auxo.explain.values import tell_values
from auxo.files import make_folder, remove_temporaries, write_atomically

_MOST_LETTERS = 20


class Explanation(NamedTuple):
    """What was found.

    Args:
        files: contents of ``tsne.jsonl``, ``tsne.png`` and, where the model has a class head, ``gradcam.jsonl`` and
            ``gradcam.png``, by name; ``values.jsonl`` where the method tells numbers of each image. Where every pixel
            is answered, ``answers.jsonl`` and ``answers.png``.
        notes: lines for the terminal.
        failures: of the parts that could not be made beside those that could.
    """

    files: Mapping[str, bytes | str]
    notes: Sequence[str]
    failures: Sequence[AuxoError] = ()

    def write(self, folder: Path) -> None:
        """Write the files, each as a whole, into a folder that is made if missing.

        Raises:
            OutputError: the disk is full or the place cannot be written.
        """
        remove_temporaries(make_folder(folder))
        for name, content in self.files.items():
            write_atomically(folder / name, content)


def explain(subject: Subject, config: ExplainConfig) -> Explanation:
    """Return Grad-CAM maps and a t-SNE map of a model on a set of images.

    Where every pixel is answered: the images that are answered worst, as most are, and best, beside their right
    answers, with where the network is in doubt, and where the evidence for one class lies.

    Grad-CAM asks what speaks for a class: a model without a class head has the t-SNE map alone. Where one of the two
    fails the other is there, with the error in ``failures``; where both do, the first error is raised. Equal seeds give
    equal files on one machine.

    Args:
        subject: the model and the images.
        config: what to show.

    Raises:
        ConfigError: the task has neither one class per image nor answers that are images, no such class or layer, a
            perplexity that is too large, or fewer points than classes.
        DataError: too few images, or features that do not differ.
        NonFiniteError: the weights have diverged.

    Cost: one forward pass of every image and one backward pass of those in the grid; t-SNE of 1,000 images takes
    some seconds on one core.
    """
    if subject.reader.task.targets[0].has_places:
        return _explain_places(subject, config)
    names = subject.right.names
    classes = config.choose_classes(subject.right, source=subject.source.name)
    parts = {"gradcam": attention_grid} if subject.predicts else {}
    drawings, failures = _draw_parts({**parts, "tsne": arrangement}, subject, classes, config)
    files: dict[str, bytes | str] = {}
    for name, drawing in drawings.items():
        files |= {f"{name}.jsonl": _write_lines(drawing.rows), f"{name}.png": drawing.image}
    notes = [drawing.note for drawing in drawings.values()]
    told = tell_values(subject, classes, config)
    if told is not None:
        files["values.jsonl"] = _write_lines(told.rows)
        notes.append(told.note)
    if not subject.predicts:
        notes.insert(0, f"Grad-CAM: left out, for {subject.run} has no class head")
    if not config.classes and len(classes) < len(names):
        notes.append(f"classes: {len(classes)} of {len(names)}; --classes names others")
    unknown = find_unknown_letters([subject.run, *(names[number] for number in classes)])
    if unknown:
        letters = unknown if len(unknown) <= _MOST_LETTERS else f"{unknown[:_MOST_LETTERS]} and others"
        notes.append(
            f"letters: the images show boxes for {letters}, which their font does not have; the rows have them"
        )
    return Explanation(files, notes, failures)


def _draw_parts(
    parts: Mapping[str, Callable[[Subject, list[int], ExplainConfig], Drawing]],
    subject: Subject,
    classes: list[int],
    config: ExplainConfig,
) -> tuple[dict[str, Drawing], list[AuxoError]]:
    """Return the drawings that could be made, by name, and the errors of the others.

    An error is raised where options of the part were given, or where no part could be made.
    """
    is_asked = {"gradcam": config.layer is not None, "tsne": config.has_points}
    drawings: dict[str, Drawing] = {}
    failures: list[AuxoError] = []
    for name, draw in parts.items():
        try:
            drawings[name] = draw(subject, classes, config)
        except AuxoError as error:
            if is_asked[name]:
                raise
            failures.append(error)
    if not drawings:
        raise failures[0]
    return drawings, failures


def _explain_places(subject: Subject, config: ExplainConfig) -> Explanation:
    """Return what :func:`explain` does where every pixel is answered."""
    task = subject.reader.task
    subject.reader.require_head()
    check_drawn(subject)  # show_answers does so, too, but only after a pass over all images
    config.check_places(task.targets[0].names)
    scores = score_images(subject)
    ranked = rank_answers(subject, scores, num_images=config.per_class)
    shown = show_answers(subject, ranked, scores)
    if task.targets[0].names:
        shown = find_evidence(subject, shown, layer=config.layer, classes=config.classes)
    below = ["doubt: entropy of the probabilities, from none (black) to that of guessing (yellow)"] * any(
        each.doubt is not None for each in shown
    )
    below += ["evidence: Grad-CAM for the class at the right, from none to the most in this image"] * any(
        each.evidence is not None for each in shown
    )
    count = len(subject.source)
    image = draw_answers(
        shown,
        task.legend,
        title=f"Answers of {subject.run}, split {subject.split}: by {task.primary} of each of its {count} images",
        caption="\n".join(below),
    )
    settings = {"kind": "settings", "run": subject.run, "split": subject.split, "measure": task.primary}
    rows = [settings, *(each.to_row(subject.split, task.primary) for each in shown)]
    best = max(shown, key=lambda each: each.value)
    note = f"answers: {len(shown)} of {count} images, the worst {shown[0].said}, the best {best.said} of {task.primary}"
    return Explanation({"answers.jsonl": _write_lines(rows), "answers.png": image}, [note])


def _write_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as JSON, one a line."""
    return "".join(json.dumps(row) + "\n" for row in rows)
