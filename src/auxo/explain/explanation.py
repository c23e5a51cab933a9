"""Grad-CAM and t-SNE of a trained model on a set of images, as files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from auxo.explain.arrangement import arrangement
from auxo.explain.attention import attention_grid
from auxo.explain.config import ExplainConfig
from auxo.explain.subject import Subject
from auxo.explain.values import tell_values
from auxo.files import make_folder, remove_temporaries, write_atomically


class Explanation(NamedTuple):
    """What was found.

    Args:
        files: contents of ``tsne.jsonl``, ``tsne.png`` and, where the model has a class head, ``gradcam.jsonl`` and
            ``gradcam.png``, by name; ``values.jsonl`` where the method tells numbers of each image.
        notes: lines for the terminal.
    """

    files: Mapping[str, bytes | str]
    notes: Sequence[str]

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

    Grad-CAM asks what speaks for a class: a model without a class head has the t-SNE map alone. Equal seeds give equal
    files on one machine.

    Args:
        subject: the model and the images.
        config: what to show.

    Raises:
        ConfigError: the task has not one class per image, no such class or layer, a perplexity that is too large, or
            fewer points than classes.
        DataError: too few images, or features that do not differ.
        NonFiniteError: the weights have diverged.

    Cost: one forward pass of every image and one backward pass of those in the grid; t-SNE of 1,000 images takes
    some seconds on one core.
    """
    names = subject.right.names
    classes = config.choose_classes(subject.right, source=subject.source.name)
    drawings = {"gradcam": attention_grid(subject, classes, config)} if subject.predicts else {}
    drawings["tsne"] = arrangement(subject, classes, config)
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
    return Explanation(files, notes)


def _write_lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as JSON, one a line."""
    return "".join(json.dumps(row) + "\n" for row in rows)
