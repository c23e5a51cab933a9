"""Command lines that are wrong by a draw: each ends with one line and exit code 2, and no file changes."""

import random
import shutil

import pytest

from .words import BASES, is_refusal, read_contents, read_options, spoil_line

CODE = 2


@pytest.fixture(scope="module")
def options():
    """The options of every command, as its help shows them; read when they are first asked for."""
    found = {}

    def options_of(name):
        if name not in found:
            found[name] = read_options(name)
        return found[name]

    return options_of


@pytest.fixture
def place(tmp_path, monkeypatch, finished_run):
    """A folder with a run whose images are gone, and a file; it is the current one."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished_run, tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    text = config.read_text()
    assert "shapes" in text
    config.write_text(text.replace("shapes", "gone"))
    (tmp_path / "file").write_text("a file")
    return tmp_path


def check(auxo, place, options, name, seeds):
    before = read_contents(place)
    for seed in seeds:
        line = spoil_line(name, options(name), random.Random(f"{name} {seed}"))
        told = f"seed {seed}: {line.words}"
        answer = auxo(*line.words)
        assert is_refusal(line, answer.code, answer.err), f"{told}: {answer.code}, {answer.err}"
        assert read_contents(place) == before, told


def test_read_options__help__has_the_options_of_every_command(options):
    assert {option.name: option.takes for option in options("train")}["data.val-fraction"] == "FLOAT"
    assert {option.name for option in options("export")} == {"format", "out", "license", "code"}


@pytest.mark.parametrize("name", BASES)
def test_command__wrong_words_by_a_draw__are_refused_in_one_line(auxo, place, options, name):
    check(auxo, place, options, name, range(3))


@pytest.mark.parametrize("name", ["audit", "explain", "export", "label-quality"])
def test_command__results_without_a_place__is_refused_before_the_work(auxo, place, name):
    answer = auxo(*BASES[name])  # of which the images are gone, too
    assert (answer.code, answer.err.partition(":")[2].partition(":")[0]) == (
        CODE,
        " expected to write file/x, got not a directory",
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", BASES)
def test_command__many_wrong_words__are_refused_in_one_line(auxo, place, options, name):
    check(auxo, place, options, name, range(3, 43))
