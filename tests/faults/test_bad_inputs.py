"""What auxo reads, spoiled by a draw: every reader refuses it in one line, or reads it; nothing else is raised."""

import random
import shutil

import datasets
import pytest

from .inputs import EXPORTS, INPUTS
from .spoil import check_complaints, complaint_of
from .world import add_exports, build_world


@pytest.fixture(scope="module")
def world(finished_run, tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    build_world(root, finished_run)
    return root


@pytest.fixture
def check(world, tmp_path, monkeypatch):
    """Read a whole input, then copies that are spoiled by seeds, of which some must be refused."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)

    def check_input(name, seeds):
        found, complaints = {**INPUTS, **EXPORTS}[name], []
        found.read(world / found.source)
        for seed in seeds:
            copy = tmp_path / "input"
            shutil.copytree(world / found.source, copy)
            found.spoil(copy, random.Random(f"{name} {seed}"))
            complaints.append(complaint_of(found.read, copy, what=f"{name} spoiled by seed {seed}"))
            shutil.rmtree(copy)
        check_complaints(complaints, least=len(complaints) // 4)
        return sum(bool(said) for said in complaints)

    return check_input


@pytest.mark.parametrize("name", INPUTS)
def test_reader__spoiled_by_a_draw__says_so_in_one_line_or_reads_it(check, name):
    check(name, range(10))


@pytest.mark.slow
def test_readers__many_draws__refuse_more_than_five_hundred(check, world):
    add_exports(world)
    assert sum(check(name, range(10, 70)) for name in (*INPUTS, *EXPORTS)) >= 500
