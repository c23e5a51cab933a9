"""The model card: what a network is, what it was measured to do, and what that does not show."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import Any, TypeAlias

from auxo.data import DataConfig
from auxo.evaluation import begin_sentence, build_table, escape_markup, title_measure, to_markdown
from auxo.export.description import Description
from auxo.export.provenance import versions
from auxo.export.snippets import onnx_snippet, torch_snippet
from auxo.registry import entries
from auxo.registry.outside import import_file, is_outside, short_name, shorten_files, split_outside
from auxo.runs.document import outside_files
from auxo.runs.experiment import ExperimentConfig, method_name
from auxo.runs.history import RunHistory
from auxo.runs.results import EvaluationRow

Files: TypeAlias = Mapping[str, str]

_MANY_CLASSES = 50


@dataclass(frozen=True)
class Card:
    """What a model card is written from.

    Args:
        config: of the run.
        description: task and input.
        history: results.
        digests: of the images the model was made from, by split.
        files: of the export by name, each with what it is.
        num_parameters: of the deployed network.
        trained_with: version of auxo that made the run.
        licence: as its user named it, or ``"unknown"``.
    """

    config: ExperimentConfig
    description: Description
    history: RunHistory
    digests: Mapping[str, str]
    files: Files
    num_parameters: int
    trained_with: str
    licence: str

    @property
    def method(self) -> str:
        """The name of the method of the last stage."""
        return method_name(self.config.stages[-1])

    @property
    def backbone(self) -> str:
        """The name of the backbone, without the folders of a file."""
        return short_name(self.config.backbone.name)

    @property
    def data(self) -> str:
        """The name of the data: a scenario, or the last part of the user's own place."""
        own = self.config.data.train
        return self.config.data.scenario if own is None else _take_last_part(own)

    @property
    def title(self) -> str:
        """What the card calls the model."""
        return f"{self.method} on {self.backbone}, trained on {self.data}"

    def command(self, folder: str) -> str:
        """Return the words that predict with an export in a folder."""
        config = self.config
        has_weights = "model.safetensors" in self.files
        read = (config.task, config.backbone, *config.stages) if has_weights else (config.task,)
        leave = "" if has_weights or "model.onnx" in self.files else " --trust-pt2"
        code = "".join(f" --code {file}" for file in shorten_files(outside_files(*read)).values())
        return f"auxo predict {folder} IMAGES{leave}{code}"

    def to_markdown(self, *, metadata: bool) -> str:
        """Return the card.

        Args:
            metadata: begin with the YAML block that the Hugging Face hub reads.
        """
        parts = [
            *([self._write_metadata()] if metadata else []),
            f"# {self.title}",
            self._describe_model(),
            *self._describe_use(),
            *self._describe_data(),
            *self._describe_training(),
            *self._describe_results(),
            *self._describe_limits(),
            *self._describe_licence(),
        ]
        return "\n\n".join(part.strip("\n") for part in parts) + "\n"

    def _write_metadata(self) -> str:
        """Return the YAML block; its values are JSON, which YAML contains."""
        results = [
            {
                "task": {"type": self.description.task.hub_tag},
                "dataset": {"type": _make_slug(self.data), "name": self.data, "split": row.split},
                "metrics": [{"type": row.primary, "value": row.main.value}],
            }
            for row in self.history.first_head()
            if row.split != "val"
        ]
        values: dict[str, Any] = {
            "license": self.licence.lower(),
            "library_name": "auxo",
            "pipeline_tag": self.description.task.hub_tag,
            "tags": [self.description.task.hub_tag, _make_slug(self.method), _make_slug(self.backbone)],
            "model-index": [{"name": self.title, "results": results}],
        }
        return "\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in values.items()), "---"])

    def _describe_model(self) -> str:
        """Return what the model is and what its outputs stand for."""
        names = self.description.names
        shown = json.dumps(list(names[:_MANY_CLASSES]), ensure_ascii=False)
        rest = f" and {len(names) - _MANY_CLASSES} more, in `labels.json`" if len(names) > _MANY_CLASSES else ""
        return (
            f"{self.description.task.describe()} The network is `{self.backbone}` with its head, "
            f"{self.num_parameters:,} parameters, trained by the method `{self.method}` of auxo {self.trained_with}."
            + (f"\n\nClasses, in the order of the outputs:\n\n```json\n{shown}\n```\n{rest}" if names else "")
        )

    def _describe_use(self) -> list[str]:
        """Return the sections on files, use and input."""
        parts = ["## Files", "\n".join(f"* `{name}`: {what}" for name, what in self.files.items()), "## Use"]
        parts.append(f"With auxo, where this folder is called `export`:\n\n```text\n{self.command('export')}\n```")
        if "model.pt2" in self.files:
            parts.append(f"With torch, numpy and Pillow alone:\n\n```python\n{torch_snippet(self.description)}```")
            parts.append(
                "`torch.export.load` can run code that a file brings along. This file has none, but only trust in "
                "where you got it can tell you so."
            )
        if "model.onnx" in self.files:
            parts.append(f"With onnxruntime, numpy and Pillow:\n\n```python\n{onnx_snippet(self.description)}```")
        steps = self.description.preprocess()["steps"]
        numbered = "\n".join(f"{number}. {step}" for number, step in enumerate(steps, start=1))
        output = self.description.preprocess()["output"]
        note = "The network normalises by itself; give it values in [0, 1], any number of images at a time."
        return [*parts, "## Input and output", f"{numbered}\n\n{note} Output: {output}."]

    def _describe_data(self) -> list[str]:
        """Return the section on data: where from, how many, and digests."""
        config, counts = self.config.data, self.description.task.train_counts
        if config.train is None:
            source = entries("data.scenarios")[config.scenario].source
            origin = f"The scenario `{config.scenario}` of auxo. {' '.join(source.split())}"
        else:
            given = ((name, getattr(config, name)) for name in ("train", "val", "test", "unlabelled"))
            places = [f"{name} `{_take_last_part(place)}`" for name, place in given if place is not None]
            origin = f"Images of the maker's own; of their places only the last part is told: {', '.join(places)}."
        if config.ood:
            origin += f" From elsewhere: {', '.join(f'`{_take_last_part(place)}`' for place in config.ood)}."
        measured = {row.split: f"{row.n:,}" for row in self.history.first_head()}
        numbers = {"train": f"{sum(counts):,}" if counts else "", **measured}
        names = dict.fromkeys([*self.digests, *measured])
        lines = [
            f"| {escape_markup(name)} | {numbers.get(name, '')} | {self.digests.get(name, '')} |" for name in names
        ]
        table = "\n".join(["| split | images | digest |", "|---|---:|---|", *lines])
        spread = (
            f"The smallest training class has {min(counts):,} images, the largest {max(counts):,}. " if counts else ""
        )
        note = (
            f"{spread}A digest is of images, targets and their names, as auxo computes it. Nothing was trained on the "
            "splits without one. Options of the data other than their defaults: "
        )
        return ["## Data", origin, table, note + (", ".join(_changed_options(config)) or "none") + "."]

    def _describe_training(self) -> list[str]:
        """Return the section on how the model was trained."""
        lines = []
        for stage in self.config.stages:
            source = getattr(sys.modules[type(stage.method).__module__], "SOURCE", "no source is given")
            start = "random weights" if stage.start_from == "scratch" else f"the weights of stage {stage.start_from}"
            if stage.start_from == "scratch" and self.config.backbone.pretrained:
                start = "the backbone's published weights"
            elif stage.start_from == "scratch" and self.config.backbone.weights is not None:
                start = f"the weights in `{_take_last_part(self.config.backbone.weights)}`"
            lines.append(
                f"* Stage `{stage.name}`: method `{method_name(stage)}`, epochs {stage.epochs}, batch size "
                f"{stage.batch_size}, starts from {start}. Source: {' '.join(str(source).split())}"
            )
        lines.append(f"* Backbone `{self.backbone}`. Source: {' '.join(self._backbone_source().split())}")
        lines.append(f"* Seed {self.config.seed}; {self.history.steps:,} steps in all.")
        return ["## Training", "\n".join(lines)]

    def _backbone_source(self) -> str:
        """Return where the backbone comes from."""
        name = self.config.backbone.name
        if is_outside(name):
            return str(getattr(import_file(split_outside(name)[0]), "SOURCE", "no source is given"))
        return entries("backbones")[name.partition(":")[0]].source

    def _describe_results(self) -> list[str]:
        """Return the section on what was measured."""
        history = self.history
        table = to_markdown(build_table(history.rows, selection=history.selection, compute=history.compute))
        worst = "; ".join(filter(None, map(_find_worst_class, history.first_head())))
        trace = (
            "Every number comes from `results.jsonl`, the run's rows of kind `result` and `end` as they are: "
            "what is in percent here is a fraction there."
        )
        measure = title_measure(history.first_head()[0].primary)
        return ["## Results", table, *([f"Lowest {measure} of one class: {worst}."] if worst else []), trace]

    def _describe_limits(self) -> list[str]:
        """Return the section on what the numbers do not say."""
        task, history, names = self.description.task, self.history, self.description.names
        gives_one = bool(names) and not task.targets[0].has_places
        elsewhere = [row for row in history.first_head() if row.split.startswith("ood/")]
        measured = "; ".join(f"{escape_markup(row.split)} {row.main.describe()} of {row.n:,}" for row in elsewhere)
        title = begin_sentence(title_measure(task.primary))
        answers = f"It always answers with one of its {len(names)} classes, also for an image of none of them."
        lines = [
            f"{title} elsewhere: " + (f"{measured}. Other images can be worse." if measured else "not measured."),
            *([answers] if gives_one else []),
            self._describe_seen(),
            *(["Its probabilities are what softmax gives, not measured frequencies."] if gives_one else []),
            "One run with one seed. The numbers say how this network does on these images. They are no evidence that "
            "its method is better than another: that takes several seeds and controls of equal compute.",
        ]
        if history.selection is not None:
            lines.append("The val split chose the checkpoint, so its numbers are too good.")
        return ["## Limits", "\n".join(f"* {line}" for line in lines)]

    def _describe_seen(self) -> str:
        """Return what of an image the network sees."""
        size = f"{self.description.task.width}x{self.description.task.height} pixels"
        if self.description.takes_any_size:
            return f"It was trained on images of {size}: in others things may have sizes that it has not seen."
        return f"It sees {size}: what is smaller than one of them, or cut off at the sides, does not count."

    def _describe_licence(self) -> list[str]:
        """Return the sections on licence and versions."""
        licence = f"`{self.licence}`, as the model's maker chose."
        if self.licence == "unknown":
            licence = (
                "Unknown: nobody chose one (`auxo export RUN --license`). Ask the model's maker before you use it."
            )
        also = "The training images, and pretrained weights if there were any, have licences of their own."
        made = f"Trained with auxo {self.trained_with}; exported with {versions()}. "
        made += "Exported networks compute in float32."
        return ["## Licence", f"{licence} {also}", "## Versions", made]


def _find_worst_class(row: EvaluationRow) -> str:
    """Return a split's class with the lowest value of the primary measure."""
    found = [(part.value, name) for name, part in row.parts.get("class", {}).items() if part.value is not None]
    if not found:
        return ""
    value, name = min(found, key=lambda pair: pair[0])
    label = escape_markup(json.dumps(name, ensure_ascii=False))
    return f"{escape_markup(row.split)} {row.main._replace(value=value).describe()} ({label})"


def _changed_options(config: DataConfig) -> list[str]:
    """Return the options of the data that are not at their defaults, but for places of files."""
    default = DataConfig()
    places = ("train", "val", "test", "ood", "unlabelled", "root", "scenario")
    names = [item.name for item in fields(DataConfig) if item.name not in places]
    changed = [name for name in names if getattr(config, name) != getattr(default, name)]
    return [f"`data.{name.replace('_', '-')} {getattr(config, name)}`" for name in changed]


def _take_last_part(place: str) -> str:
    """Return the last part of a path, as Markdown may have it; an address stays."""
    return escape_markup(place if "://" in place else PurePath(place).name)


def _make_slug(name: str) -> str:
    """Return a name in small letters, digits and hyphens."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split()) or "unnamed"
