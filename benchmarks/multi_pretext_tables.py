"""Tables of benchmarks/multi_pretext.py."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np

from auxo.comparison import paired_t

__all__ = ["print_tables"]

_Key = tuple[int, int]  # of a pretraining seed and a draw of labels
_COUNTS = (40, 250, 1000)
# Those of the mean were added when its accuracy had been seen.
_CONTRASTS = (
    ("attention", "concatenation"),
    ("attention", "attention, static"),
    ("attention", "attention, global"),
    ("attention", "mean"),
    ("attention", "best_single"),
    ("attention", "rotation, four times the epochs"),
    ("attention", "one for all four pretexts"),
    ("attention", "attention, four of rotation"),
    ("concatenation", "concatenation, four of rotation"),
    ("attention + random", "attention"),
    ("concatenation + random", "concatenation"),
    ("mean + random", "mean"),
    ("feature matching + random", "feature matching"),
    ("attention", "feature matching"),
    ("attention", "relation distillation"),
    ("attention", "rotation, fine-tuned"),
    ("mean", "concatenation"),
    ("mean", "best_single"),
    ("mean", "rotation, four times the epochs"),
    ("mean", "one for all four pretexts"),
    ("mean", "rotation, fine-tuned"),
    ("mean", "feature matching"),
)


def print_tables(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print accuracies, differences, accuracy against the number of encoders, and weights."""
    for name in dict.fromkeys(row["set"] for row in rows):
        table: dict[str, dict[int, dict[_Key, float]]] = defaultdict(lambda: defaultdict(dict))
        for row in rows:
            if row["set"] == name:
                key = row["seed"], row["draw"]
                table[row["line"]][row["labels"]][key] = row["accuracy"]
                if row["line"] == "best_single":
                    for encoder, accuracy in row["singles"].items():
                        table[f"single: {encoder}"][row["labels"]][key] = accuracy
        print(f"### {name}: accuracy on test images, %, and transfer gain\n")
        print("| line | " + " | ".join(f"{n} labels | gain" for n in _COUNTS) + " |\n" + "|---" * 7 + "|")
        scratch = table.get("from scratch", {})
        for line, found in table.items():
            if " of " not in line or line.startswith(("attention, four", "concatenation, four", "one of")):
                cells = [cell for n in _COUNTS for cell in _show_line(found, scratch, n)]
                print(f"| {line} | {' | '.join(cells)} |")
        if name == "cifar10":
            _print_subsets(table)
        print(f"\n### {name}: paired differences, points, mean [wider of two 95 % intervals]\n")
        print("| difference | " + " | ".join(f"{n} labels" for n in _COUNTS) + " |\n|---|---|---|---|")
        for one, other in _CONTRASTS:
            if one in table and other in table:
                cells = [_show_difference(table[one][n], table[other][n]) for n in _COUNTS]
                print(f"| {one} - {other} | {' | '.join(cells)} |")
    _print_weights(rows)


def _show_line(
    found: Mapping[int, Mapping[_Key, float]], scratch: Mapping[int, Mapping[_Key, float]], count: int
) -> tuple[str, str]:
    """Return mean and deviation of a line, and its mean gain over training from scratch."""
    values = found.get(count, {})
    if len(values) < 2:
        return "", ""
    both = values.keys() & scratch.get(count, {}).keys()
    gain = f"{mean(values[key] - scratch[count][key] for key in both):+.1f}" if len(both) > 1 else ""
    return f"{mean(values.values()):.1f} ± {stdev(values.values()):.1f}", gain


def _show_difference(ours: Mapping[_Key, float], theirs: Mapping[_Key, float]) -> str:
    """Return the mean difference, with the wider of the intervals over pretraining seeds and over draws."""
    keys = sorted(ours.keys() & theirs.keys())
    if not keys:
        return ""
    deltas = {key: ours[key] - theirs[key] for key in keys}
    intervals = []
    for axis in (0, 1):
        groups = {key[axis] for key in keys}
        means = [mean(value for key, value in deltas.items() if key[axis] == group) for group in groups]
        if len(means) > 1:
            intervals.append(paired_t(np.array(means))[0])
    text = f"{mean(deltas.values()):+.1f}"
    if not intervals:
        return ""
    low, high = max(intervals, key=lambda interval: interval[1] - interval[0])
    return f"{text} [{low:+.1f}, {high:+.1f}]"


def _print_subsets(table: Mapping[str, Mapping[int, Mapping[_Key, float]]]) -> None:
    """Print accuracy against the number of encoders."""
    sizes = {
        1: [line for line in table if line.startswith("single: ")],
        2: [line for line in table if line.startswith("attention of 2")],
        3: [line for line in table if line.startswith("attention of 3")],
        4: ["attention"],
    }
    print(
        "\n| encoders | " + " | ".join(f"{n} labels, mean | best | worst" for n in _COUNTS) + " |\n" + "|---" * 10 + "|"
    )
    for size, lines in sizes.items():
        cells = []
        for count in _COUNTS:
            means = [mean(table[line][count].values()) for line in lines if table[line].get(count)]
            cells += [f"{mean(means):.1f}", f"{max(means):.1f}", f"{min(means):.1f}"] if means else ["", "", ""]
        print(f"| {size} | {' | '.join(cells)} |")


def _print_weights(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the mean weight of each encoder where a random one is beside the four."""
    print("\n### Mean weight of each encoder\n\n| set, labels, line | encoders |\n|---|---|")
    for name in dict.fromkeys(row["set"] for row in rows):
        for count in _COUNTS:
            for line in ("attention + random", "attention, global + random", "attention, static + random"):
                own = [r["weights"] for r in rows if (r["set"], r["labels"], r["line"]) == (name, count, line)]
                if own:
                    told = ", ".join(f"{key} {mean(each[key] for each in own):.2f}" for key in own[0])
                    print(f"| {name}, {count}, {line} | {told} |")
