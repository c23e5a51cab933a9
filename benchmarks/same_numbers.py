"""Whether a change of the code left every number as it was: trains small runs with two checkouts and compares them.

Weights must be equal to the bit, and losses, learning rates and measures to 1e-6. One run for every method and more for
gates, long tails, selection, two processes and images of one's own, on fixed seeds; commands on finished runs as well
(``RUNS`` in ``same_numbers_runs.py``). Of a run are kept digests of its tensors, not of its files, whose headers hold
versions, and the values of its records without times. Nothing of that belongs into the repository: the numbers hold for
one machine and one set of libraries.

    git worktree add /tmp/base HEAD                                         the code before the change
    python benchmarks/same_numbers.py record /tmp/base --out /tmp/before.json      one to two minutes on two cores
    python benchmarks/same_numbers.py record . --out /tmp/after.json               after the change
    python benchmarks/same_numbers.py compare /tmp/before.json /tmp/after.json     exit code 1 where something differs
    python benchmarks/same_numbers.py both /tmp/base .                             the three at once

``record`` copies the checkout's ``src`` first, committed or not, so that work on it may go on, and sets it before all
else in PYTHONPATH; libraries are those of the Python that runs this. ``--only NAME ...`` takes a few of the runs.

Options and names may change from one checkout to the other. A run lists the spellings of its command, the newest first;
the next is tried where one is refused. Records are read in the format with ``accuracy``, ``low``, ``high``, ``nll`` and
``calibration_error`` and in that with ``measures``. Names of tensors that move are told by their beginnings, for all
runs or for one, and those of values, too, by whole words between the bars:

    compare before.json after.json --renamed weights.semantic.=weights.heads.semantic.
    compare before.json after.json --renamed rotation:weights.rotation.=weights.pretexts.rotation.
    compare before.json after.json --renamed checkpoints/warm-up-final=checkpoints/heads-final
    compare before.json after.json --renamed-value rotation:losses.rotation_loss=losses.pretext_loss

What the newer side has in addition is counted and no difference; what it lacks is one.
"""

import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import Positional, UseAppendAction

from same_numbers_runs import RUNS, SEPARATOR, Run, Value, make_pictures, record_run

TOLERANCE = 1e-6
_SHOWN = 20

Names = tuple[str, ...]
Renamings = Annotated[tuple[str, ...], UseAppendAction]


def record(checkout: Positional[Path], out: Path, only: Names = (), jobs: int = 2) -> None:
    """Train the runs with the code of a checkout and write what they came to; exit code 1 where one failed.

    Args:
        checkout: folder with src/auxo.
        out: JSON file to write.
        only: names of the runs; all without it.
        jobs: runs at a time.
    """
    if not record_checkout(checkout, out, only=only, jobs=jobs):
        sys.exit(1)


def compare(
    before: Positional[Path],
    after: Positional[Path],
    only: Names = (),
    renamed: Renamings = (),
    renamed_value: Renamings = (),
) -> None:
    """Print in what two files of "record" differ; exit code 1 where they do.

    Args:
        before: of the older code.
        after: of the newer code.
        only: names of the runs; all of the older file without it.
        renamed: OLD=NEW or RUN:OLD=NEW, how names of tensors or files begin.
        renamed_value: OLD=NEW or RUN:OLD=NEW, a kind, stage, split, head or measure of a value.
    """
    if not compare_files(before, after, only=only, renamed=renamed, renamed_value=renamed_value):
        sys.exit(1)


def both(
    before: Positional[Path],
    after: Positional[Path],
    only: Names = (),
    jobs: int = 2,
    renamed: Renamings = (),
    renamed_value: Renamings = (),
) -> None:
    """Record two checkouts, one after the other, and compare them; exit code 1 where they differ.

    Args:
        before: checkout of the older code.
        after: checkout of the newer code.
        only: names of the runs; all without it.
        jobs: runs at a time.
        renamed: OLD=NEW or RUN:OLD=NEW, how names of tensors or files begin.
        renamed_value: OLD=NEW or RUN:OLD=NEW, a kind, stage, split, head or measure of a value.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = (Path(folder) / "before.json", Path(folder) / "after.json")
        for checkout, file in zip((before, after), files, strict=True):
            record_checkout(checkout, file, only=only, jobs=jobs)
        if not compare_files(*files, only=only, renamed=renamed, renamed_value=renamed_value):
            sys.exit(1)


def record_checkout(checkout: Path, out: Path, *, only: Sequence[str], jobs: int) -> bool:
    """Write what the runs came to, and return whether all of them and all commands on them ended well."""
    unknown = sorted(set(only) - {run.name for run in RUNS})
    if unknown:
        sys.exit(f"no run is called {', '.join(unknown)}; there are {', '.join(run.name for run in RUNS)}")
    if not (checkout / "src" / "auxo").is_dir():
        sys.exit(f"expected a checkout with src/auxo, got {checkout}")
    chosen = [run for run in RUNS if not only or run.name in only]
    with tempfile.TemporaryDirectory(prefix="same-numbers-") as folder:
        place = Path(folder).resolve()
        shutil.copytree(checkout / "src", place / "src", ignore=shutil.ignore_patterns("__pycache__"))
        environment = _environment(place / "src")
        make_pictures(place / "pictures")

        def work(run: Run) -> dict[str, Any]:
            made = record_run(run, place, environment)
            failed = [made["error"], *(f"{name}: {error}" for name, error in made["later"].items() if error)]
            print(f"{run.name}: {'; '.join(filter(None, failed)) or 'done'}, {made['seconds']} s", flush=True)
            return made

        with ThreadPoolExecutor(jobs) as pool:
            made = dict(zip([run.name for run in chosen], pool.map(work, chosen), strict=True))
    document = {"checkout": str(checkout.resolve()), "commit": _commit(checkout), "machine": _machine(), "runs": made}
    out.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return not any(run["error"] or any(run["later"].values()) for run in made.values())


def _environment(source: Path) -> dict[str, str]:
    """Return the environment of processes that find auxo in ``source`` and nothing of the caller's settings."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AUXO_")}
    for key in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        kept.pop(key, None)
    fixed = {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1"}
    environment = {**kept, **fixed}
    command = [sys.executable, "-c", "import auxo; print(auxo.__file__)"]
    found = subprocess.run(command, env=environment, cwd=source.parent, capture_output=True, text=True, check=False)
    if not found.stdout.startswith(str(source)):
        sys.exit(f"expected auxo of {source}, got {found.stdout.strip() or found.stderr.strip()}")
    return environment


def _commit(checkout: Path) -> str:
    """Return the commit of a checkout, marked where files differ from it."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude", "*"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def _machine() -> str:
    """Return what the numbers depend on beside the code."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    return f"{platform.node()}, {platform.machine()}, Python {platform.python_version()}, {libraries}"


def compare_files(
    before: Path, after: Path, *, only: Sequence[str], renamed: Sequence[str], renamed_value: Sequence[str]
) -> bool:
    """Print in what two files differ, and return whether they agree."""
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in (before, after))
    names = [name for name in dict.fromkeys([*old["runs"], *new["runs"]]) if not only or name in only]
    pairs, value_pairs = _pairs(renamed), _pairs(renamed_value)
    print(f"before: {old['commit']} in {old['checkout']}\nafter:  {new['commit']} in {new['checkout']}")
    if old["machine"] != new["machine"]:
        print(f"note: recorded on {old['machine']} and on {new['machine']}; numbers may differ for that alone")
    num_different = 0
    for name in names:
        problems, summary = _compare_runs(name, old["runs"].get(name), new["runs"].get(name), pairs, value_pairs)
        num_different += bool(problems)
        print(f"{name}: {'DIFFERENT' if problems else 'equal'}; {summary}")
        for line in problems[:_SHOWN]:
            print(f"    {line}")
        if len(problems) > _SHOWN:
            print(f"    and {len(problems) - _SHOWN} more")
    print(f"{len(names) - num_different} of {len(names)} runs agree")
    return bool(names) and num_different == 0


def _pairs(renamings: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of OLD=NEW."""
    for text in renamings:
        if not text.partition("=")[0] or "=" not in text:
            sys.exit(f"expected OLD=NEW, got {text}")
    return [(text.partition("=")[0], text.partition("=")[2]) for text in renamings]


def _compare_runs(
    name: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    pairs: Sequence[tuple[str, str]],
    value_pairs: Sequence[tuple[str, str]],
) -> tuple[list[str], str]:
    """Return the differences of one run, a line each, and a summary."""
    if before is None or after is None:
        return [f"not in the {'newer' if after is None else 'older'} file"], "nothing to compare"
    sides = {"before": before, "after": after}
    problems = [f"{side}: {made['error']}" for side, made in sides.items() if made["error"]]
    for side, made in sides.items():
        problems += [f"{side}: {later} failed: {error}" for later, error in made["later"].items() if error]
    if before["error"] or after["error"]:
        return problems, "nothing to compare"
    old_tensors = _rename_tensors(before["tensors"], _own_pairs(name, pairs))
    new_tensors = _rename_tensors(after["tensors"], [])
    problems += _compare_tensors(old_tensors, new_tensors)
    own = dict(_own_pairs(name, value_pairs))
    old_values = {_rename_value(key, own): value for key, value in before["values"].items()}
    if len(old_values) < len(before["values"]):
        problems.append("values: two got one name by --renamed-value")
    problems += _compare_values(old_values, after["values"])
    if not old_tensors or not old_values:
        problems.append("no tensor or no value was recorded")
    new_keys = (len(new_tensors.keys() - old_tensors.keys()), len(after["values"].keys() - old_values.keys()))
    added = f"; new: {new_keys[0]} tensors and {new_keys[1]} values" if any(new_keys) else ""
    return problems, f"{len(old_tensors)} tensors and {len(old_values)} values{added}"


def _own_pairs(name: str, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the pairs that hold for a run."""
    return [(old.removeprefix(f"{name}:"), new) for old, new in pairs if ":" not in old or old.startswith(f"{name}:")]


def _rename_tensors(files: Mapping[str, Mapping[str, str]], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return the digests by file and name, with the beginnings of both replaced."""
    digests = {}
    for file, tensors in files.items():
        for tensor, digest in tensors.items():
            key = f"{_rename(file, pairs)}: {_rename(tensor, pairs)}"
            if key in digests:
                sys.exit(f"two tensors are called {key!r} by --renamed")
            digests[key] = digest
    return digests


def _rename(name: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Return a name with its beginning replaced by the first pair that fits."""
    for old, new in pairs:
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _rename_value(key: str, pairs: Mapping[str, str]) -> str:
    """Return the key of a value with whole words replaced."""
    return SEPARATOR.join(pairs.get(word, word) for word in key.split(SEPARATOR))


def _compare_tensors(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """Return the tensors that are missing afterwards or differ in a bit."""
    unclaimed: dict[str, list[str]] = {}
    for key in after.keys() - before.keys():
        unclaimed.setdefault(after[key], []).append(key)
    problems = []
    for key, digest in before.items():
        if key not in after:
            others = sorted(unclaimed.get(digest, []))
            problems.append(f"missing tensor {key}" + (f"; its bytes are in {', '.join(others)}" if others else ""))
        elif after[key] != digest:
            problems.append(f"other bytes in {key}")
    return problems


def _compare_values(before: Mapping[str, Value], after: Mapping[str, Value]) -> list[str]:
    """Return the values that are missing afterwards or differ by more than the tolerance."""
    problems = []
    for key, old in before.items():
        new = after.get(key)
        if key not in after and old is not None:
            problems.append(f"missing value {key}, which was {old}")
        elif not _is_close(old, new):
            problems.append(f"{key}: {old} before, {new} after")
    return problems


def _is_close(old: Value, new: Value) -> bool:
    """Return whether two values are one within the tolerance, relative or absolute; not a number is itself."""
    if isinstance(old, int | float) and isinstance(new, int | float):
        both_nan = math.isnan(old) and math.isnan(new)
        return both_nan or math.isclose(old, new, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return old == new


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict({"record": record, "compare": compare, "both": both})
