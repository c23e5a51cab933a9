"""What each death of a command leaves behind, all kept from one run of it, and the command given again after each.

A command is a function of the folder it works in, so deaths that leave equal folders are one. None of them has to be
died: at every operation the folder is copied, and each kind of death does to the copy what it would do to the folder.
"""

import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count, pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from .disk import DIED, KINDS, Disk, Kind, Operation, run_in_child

TIMES = {"images_per_second", "train_seconds", "wall_seconds"}


class Death(NamedTuple):
    """A death.

    Args:
        number: of the operation.
        kind: of the death.
        state: what it leaves, by its digest.
    """

    number: int
    kind: Kind
    state: str


@dataclass(frozen=True)
class Command:
    """A command whose end is known.

    Args:
        act: gives it, by the folder that it works in; returns its exit code.
        result: what it comes to, of that folder.
        begin: makes what is there before it, in the empty folder.
        again: goes on with what a death left; by default the command given again.
        refuses_whole: what is refused once it is there, as an export, which appears whole or not at all.
        more: names that may be there when it was given twice.
    """

    act: Callable[[Path], int]
    result: Callable[[Path], object]
    begin: Callable[[Path], object] = lambda root: None
    again: Callable[[Path], int] | None = None
    refuses_whole: str | None = None
    more: frozenset[str] = frozenset()

    def start(self, root: Path) -> None:
        """Make the folder anew."""
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        self.begin(root)


@dataclass(frozen=True)
class Kept:
    """A run of a command, and what each death in it leaves.

    Args:
        command: the command.
        root: the folder it works in.
        operations: its file operations.
        deaths: at them.
        store: folder of the states that the deaths leave, each once.
        end: what the command comes to.
        names: of the files and folders that are there then.
    """

    command: Command
    root: Path
    operations: list[Operation]
    deaths: list[Death]
    store: Path
    end: object
    names: set[str]

    @property
    def states(self) -> dict[str, list[Death]]:
        """The deaths that leave each state."""
        found: dict[str, list[Death]] = {}
        for death in self.deaths:
            found.setdefault(death.state, []).append(death)
        return found

    def describe(self, death: Death) -> str:
        """Return a death in words."""
        operation = self.operations[death.number]
        return f"{death.kind} at {death.number}, {operation.name} {operation.place}"

    def give_again(self, death: Death) -> list[str]:
        """Give the command again after a death, in a new process; return what is wrong with what it comes to."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self.store / death.state, self.root, symlinks=True)  # with their times
        return self.go_on(death)

    def die(self, death: Death) -> None:
        """Start the command anew and let it die, and compare what it leaves with what was kept."""
        self.command.start(self.root)
        disk = Disk(self.root, death.number, death.kind)
        assert run_in_child(lambda: act_alike(self.command, self.root), disk) == DIED, self.describe(death)
        assert read_contents(self.root) == read_contents(self.store / death.state), self.describe(death)

    def go_on(self, death: Death) -> list[str]:
        """Give the command again with what is in its folder; return what is wrong."""
        command, root = self.command, self.root
        is_whole = command.refuses_whole is not None and (root / command.refuses_whole).exists()
        code = run_in_child(lambda: (command.again or command.act)(root))
        problems = [] if code == (2 if is_whole else 0) else [f"exit code {code}"]
        names = read_names(root)
        left, missing = names - self.names - command.more, self.names - names
        problems += [f"{sorted(left)} are left"] if left else []
        problems += [f"{sorted(missing)} are missing"] if missing else []
        if not problems and command.result(root) != self.end:
            problems.append("another end")
        return [f"{self.describe(death)}: {problem}" for problem in problems]


def run(words):
    """Run a command in this process, which tells nothing but what is wrong; return its exit code."""
    from auxo.cli import main

    with pytest.raises(SystemExit) as stop, contextlib.redirect_stdout(io.StringIO()):
        main([str(word) for word in words])
    return int(stop.value.code or 0)


def act_alike(command, root):
    """Give a command with the clock, the process's number and the names of temporary files of every other such time."""
    numbers = count(1)
    for name in ("time", "perf_counter", "monotonic"):
        setattr(time, name, lambda: float(next(numbers)))
    os.getpid = lambda: 1
    uuid.uuid4 = lambda: uuid.UUID(int=next(numbers))
    secrets.token_hex = lambda size: f"{next(numbers):0{2 * size}x}"
    return command.act(root)


def read_contents(root):
    """Return the digest of everything below a folder, by its path."""
    return {str(path.relative_to(root)): _read_digest(path) for path in sorted(root.rglob("*"))}


def read_names(root):
    """Return the paths below a folder; event files are named by the moment, and count as one."""
    return {re.sub(r"tfevents\..*", "tfevents", str(path.relative_to(root))) for path in root.rglob("*")}


def _read_digest(path):
    if path.is_symlink():
        return f"link to {path.readlink()}"
    return "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()


def keep_deaths(command, place, *, numbers=lambda number: True):
    """Run a command once, and keep what a death of each kind at its operations leaves.

    Args:
        command: the command.
        place: an empty folder to work in.
        numbers: says at which operations.

    Raises:
        AssertionError: something changed a file that is no operation that is counted.
    """
    root, store, report = (place / name for name in ("root", "store", "deaths.json"))
    store.mkdir()
    command.start(root)
    disk, deaths, seen = Disk(root), [], []

    def look(write):
        number = len(disk.done)
        seen.append(read_contents(root))
        for kind in KINDS if numbers(number) else ():
            if kind != "half" or write is not None:
                deaths.append(Death(number, kind, _keep_state(disk, store, kind, write)))

    def work():
        code = act_alike(command, root)
        seen.append(read_contents(root))
        report.write_text(json.dumps({"operations": disk.done, "deaths": deaths, "changes": _find_changes(seen)}))
        return code

    disk.look = look
    assert run_in_child(work, disk) == 0
    told = json.loads(report.read_text())
    operations = [Operation(*each) for each in told["operations"]]
    for operation, changes in zip(operations, told["changes"], strict=True):
        own = (operation.place, operation.source)
        others = [path for path in changes if not any(Path(path).is_relative_to(each) for each in own)]
        assert not others, f"{operation} and what is not counted changed {others}"
    deaths = [Death(*each) for each in told["deaths"]]
    return Kept(command, root, operations, deaths, store, command.result(root), read_names(root))


def _keep_state(disk, store, kind, write):
    """Keep what a death leaves, and return its digest."""
    copy = store / "copy"
    shutil.copytree(disk.root, copy, symlinks=True)
    disk.leave(copy, kind, write)
    state = hashlib.sha256(json.dumps(read_contents(copy)).encode()).hexdigest()[:16]
    if (store / state).exists():
        shutil.rmtree(copy)
    else:
        copy.rename(store / state)
    return state


def _find_changes(seen):
    """Return what changed from each look to the next."""
    return [
        sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
        for before, after in pairwise(seen)
    ]


def prepare(command, root):
    """Run a command once in this process, so that what is imported late is imported before it is run in others."""
    command.start(root)
    assert command.act(root) == 0


def check_every_death(command, place):
    """Give a command again after every death that it can die.

    Raises:
        AssertionError: with all that went wrong.
    """
    prepare(command, place / "root")
    kept = keep_deaths(command, place)
    problems = [problem for deaths in kept.states.values() for problem in kept.give_again(deaths[0])]
    print(f"{len(kept.operations)} operations, {len(kept.deaths)} deaths, {len(kept.states)} states")
    assert not problems, "\n".join(problems)


def rows_of(path):
    """Return rows without the times in them."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name not in TIMES} for row in rows]
