"""Runs with several files of the user's own: leave to run each, their places, and the digest of their texts."""

import json
from dataclasses import replace

import pytest

from auxo.backbones import BackboneConfig
from auxo.data import DataConfig
from auxo.errors import ConfigError
from auxo.runs.document import config_digest, from_json, load_recipe, outside_files, replace_outside, to_json

METHOD = """
from dataclasses import dataclass
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.methods.supervised import Supervised

class Mine(Supervised):
    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        strength: float = 0.5

def recipe():
    return ExperimentConfig(stages=(StageConfig(method=Mine.Config()),))
"""
REST = "from pathlib import Path\nPath(__file__ + '.ran').touch()\nTiny = read = dict\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with three files; those of backbone and data leave a trace where they are run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(METHOD)
    for name in ("net.py", "reader.py"):
        (tmp_path / name).write_text(REST)
    return tmp_path


@pytest.fixture
def config(place):
    """A run with a method, a backbone and data of three files, named from the working folder."""
    data = DataConfig(train="reader.py:read", test="~/photos", ood=("reader.py:read.else", "hf://me/x.py:test"))
    return replace(load_recipe("mine.py"), backbone=BackboneConfig(name="net.py:Tiny"), data=data)


NAMES = ("mine.py", "net.py", "reader.py")


def files_of(place):
    """Return the files in a folder."""
    return [str(place / name) for name in NAMES]


def test_config__names_of_files__are_whole_and_come_back_equal(place, config):
    assert config.backbone.name == f"{place}/net.py:Tiny"
    assert (config.data.train, config.data.test) == (f"{place}/reader.py:read", "~/photos")
    assert config.data.ood == (f"{place}/reader.py:read.else", "hf://me/x.py:test")
    assert set(outside_files(config)) == {place / name for name in NAMES}
    assert outside_files(config.backbone, config.stages[0]) == (place / "net.py", place / "mine.py")
    assert from_json(to_json(config), origin="x", code=files_of(place)) == config
    assert not list(place.glob("*.ran")), "a file was run that nobody asked for anything"


@pytest.mark.parametrize("named", [(), ("mine.py",), ("net.py", "mine.py"), ("mine.py:recipe", "other.py")])
def test_from_json__a_file_is_not_named__is_refused_with_all_and_nothing_is_run(place, config, named):
    (place / "mine.py").write_text(METHOD + REST)
    (place / "other.py").write_text(REST)
    needed = "".join(f" --code {file}" for file in files_of(place))
    with pytest.raises(ConfigError, match="your leave to run what is outside auxo") as caught:
        from_json(to_json(config), origin="x", code=named)
    message = str(caught.value)
    assert set(message.partition(": pass")[2].split(" if ")[0].split(" --code ")) == set(needed.split(" --code "))
    allowed = {word.partition(":")[0] for word in named}
    for name in NAMES:
        assert (f"{place}/{name}" in message.partition(": pass")[0]) == (name not in allowed)
    assert not list(place.glob("*.ran"))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_from_json__all_files_named__in_any_order_and_with_names(place, config, order):
    code = [files_of(place)[number] + ":anything" for number in order]
    assert from_json(to_json(config), origin="x", code=(*code, "unneeded.py")) == config


def test_from_json__files_moved__those_of_the_same_names_stand_for_them(place, config):
    text, digest = to_json(config), config_digest(config)
    new = place / "new"
    new.mkdir()
    for name in ("net.py", "reader.py"):
        (place / name).rename(new / name)
    code = [str(place / "mine.py"), str(new / "reader.py")]
    with pytest.raises(ConfigError, match=r"got /.*/net\.py: net\.py is gone; pass --code with the new place"):
        from_json(text, origin="x", code=[*code, str(place / "one.py"), str(place / "two.py")])
    again = from_json(text, origin="x", code=[*code, str(new / "net.py")])
    assert again.backbone.name == f"{new}/net.py:Tiny"
    assert config_digest(again) == digest
    (new / "net.py").rename(new / "renamed.py")
    assert from_json(text, origin="x", code=[*code, str(new / "renamed.py")]).backbone.name == f"{new}/renamed.py:Tiny"


def test_from_json__name_edited_to_a_relative_one__is_taken_from_the_working_folder(place, config):
    text = to_json(config).replace(f"{place}/net.py", "net.py")
    with pytest.raises(ConfigError, match=f"--code {place}/net.py"):
        from_json(text, origin="x")
    assert from_json(text, origin="x", code=files_of(place)) == config


def test_from_json__file_in_any_text_of_the_config__needs_leave(place, config):
    document = json.loads(to_json(load_recipe("supervised")))
    document["run"]["data"]["unlabelled"] = str(place / "net.py:Tiny")
    with pytest.raises(ConfigError, match=r"your leave to run what is outside auxo, got .*net\.py"):
        from_json(json.dumps(document), origin="x")


@pytest.mark.parametrize("edited", NAMES)
def test_config_digest__any_file_edited__changes(place, config, edited):
    digest = config_digest(config)
    with (place / edited).open("a") as file:
        file.write("# edited\n")
    assert config_digest(config) != digest


def test_config_digest__another_name_in_a_file__changes(place, config):
    other = replace(config, backbone=BackboneConfig(name="net.py:read"))
    assert config_digest(other) != config_digest(config)


def test_from_json__published__needs_the_files_by_name_wherever_they_are(place, config):
    document = json.loads(to_json(replace(config, data=DataConfig())))
    document["run"] = replace_outside(document["run"], lambda path: path.name)
    text = json.dumps(document)
    with pytest.raises(ConfigError, match=r"outside auxo, got mine\.py, net\.py|outside auxo, got net\.py, mine\.py"):
        from_json(text, origin="x", is_published=True)
    new = place / "new"
    new.mkdir()
    for name in ("mine.py", "net.py"):
        (place / name).rename(new / name)
    code = [str(new / "net.py"), str(new / "mine.py")]
    again = from_json(text, origin="x", code=code, is_published=True)
    assert set(outside_files(again)) == {new / "net.py", new / "mine.py"}
