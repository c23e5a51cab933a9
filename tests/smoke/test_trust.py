"""What docs/trust.md says, sentence by sentence, but for what it names as not tested here."""

import csv
import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys

import datasets
import pytest
from PIL import Image, ImageOps

from auxo.data.decode import FORMATS
from auxo.evaluation import Table, escape_markup, to_csv, to_markdown
from auxo.files.csv_cells import safe_cell
from auxo.jobs.ray_cluster import _draw_token

EVIL = "import pathlib; pathlib.Path('owned').touch()\n"


@pytest.fixture
def no_network(monkeypatch):
    """Refuse every connection, and note that it was wanted."""
    wanted = []

    def refuse(_self, address):
        wanted.append(address)
        raise ConnectionRefusedError(111, "no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    return wanted


def change_config(run, change):
    """Let a stranger write the config of a run."""
    path = run / "config.json"
    document = json.loads(path.read_text())
    change(document["run"])
    path.write_text(json.dumps(document))
    return run


def test_config__names_a_python_file__is_not_run_unless_named(assert_refused, place):
    evil = place.write("evil.py", EVIL)
    run = change_config(place.run, lambda run: run["backbone"].update(name=f"{evil}:Net"))
    assert_refused("evaluate", run, says="your leave to run what is outside auxo")
    assert not (place.root / "owned").exists()


class Touch:
    """What a pickle runs."""

    def __reduce__(self):
        return exec, (EVIL,)


def test_weights__pickle_under_the_name_of_safetensors__is_refused_unread(assert_refused, place):
    (place.run / "model.safetensors").write_bytes(pickle.dumps(Touch()))
    assert_refused("evaluate", place.run, says="a whole safetensors file")
    weights = place.write("weights.safetensors", pickle.dumps(Touch()))
    assert_refused(*place.train("--backbone.weights", weights), says="a whole safetensors file")
    assert_refused(*place.train("--backbone.weights", "x.pth"), says="other formats can run code when they are read")
    assert not (place.root / "owned").exists()


def test_pt2__without_leave__is_not_loaded(assert_refused, place):
    program = place.write("model.pt2", b"PK")
    assert_refused("predict", program, place.shapes, says="pass --trust-pt2 if you trust where it comes from")


def test_images__formats__are_eight_and_none_starts_a_program():
    assert len(FORMATS) == 8
    assert not {"EPS", "WMF", "PDF"} & set(FORMATS)


@pytest.mark.parametrize("command", ["evaluate", "explain", "audit", "estimate"])
def test_run_of_a_stranger__names_a_set_of_the_hub__is_not_contacted_without_leave(
    assert_refused, place, no_network, monkeypatch, command
):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    run = change_config(place.run, lambda run: run["data"].update(train="hf://stranger/beacon"))
    words = {"audit": ["--columns", "camera"], "estimate": [place.shapes]}.get(command, [])
    assert_refused(command, run, *words, says=r"your leave to contact the Hugging Face hub for hf://stranger/beacon")
    assert no_network == []


def test_report__set_of_the_hub_in_the_run_of_a_stranger__says_what_is_missing_and_contacts_nobody(
    auxo, place, no_network, monkeypatch
):
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    run = change_config(place.run, lambda run: run["data"].update(train="hf://stranger/beacon"))
    assert auxo("report", run).code == 0
    assert "your leave to contact the Hugging Face hub for hf://stranger/beacon" in (run / "report.html").read_text()
    assert no_network == []


@pytest.mark.slow  # the library tries for long
def test_run_of_a_stranger__hub_allowed__is_contacted(auxo, place, no_network, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    run = change_config(place.run, lambda run: run["data"].update(train="hf://stranger/beacon"))
    answer = auxo("evaluate", run, "--hub")
    assert answer.code == 2
    assert "hf://stranger/beacon" in answer.err
    assert "your leave" not in answer.err


@pytest.mark.parametrize("words", [["evaluate"], ["export"], ["report"], ["explain", "--perplexity", "3"]])
def test_commands__on_a_run_of_images_of_ones_own__contact_nobody(auxo, place, no_network, words):
    assert auxo(words[0], place.run, *words[1:]).code == 0
    assert no_network == []


def test_train__on_images_of_ones_own__contacts_nobody(auxo, place, no_network):
    assert auxo(*place.train()).code == 0
    assert no_network == []


def test_config__names_a_file_that_is_no_set__shows_nothing_but_its_path(assert_refused, place):
    secret = place.write("secret.txt", "hunter2")
    run = change_config(place.run, lambda run: run["data"].update(train=str(secret)))
    assert_refused("evaluate", run, says="^(?!.*hunter2)")


def test_names__html_in_a_set__is_text_in_the_card_and_the_tables(auxo, place, tmp_path):
    name = "<img src=x onerror=alert(1)>`"
    folder = shutil.copytree(place.shapes, tmp_path / name)
    for path in folder.rglob("*.png"):
        ImageOps.invert(Image.open(path)).save(path)
    assert auxo(*place.train("--data.ood", folder)).code == 0
    assert auxo("export", place.out, "--format", "safetensors", "--out", "made").code == 0
    for path in (place.out / "report.md", place.root / "made" / "README.md"):
        text = re.sub(r"^---$.*?^---$", "", path.read_text(), count=1, flags=re.DOTALL | re.MULTILINE)
        assert "<img" not in text, path
        assert "&lt;img src=x onerror=alert(1)&gt;'" in text, path


def test_to_markdown__tags_and_bars__are_shown_as_they_are():
    table = Table(("split",), (("<b>|`x`",),), "")
    assert r"| &lt;b&gt;\|'x' |" in to_markdown(table)
    assert escape_markup("a & b") == "a &amp; b"


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x.png", "@SUM(1)", "\t=1", "\r=1"])
def test_csv__cell_that_is_a_formula__begins_with_an_apostrophe(text):
    assert safe_cell(text) == f"'{text}"
    assert list(csv.reader(to_csv([{"name": text}]).splitlines()))[1][0].startswith("'")


@pytest.mark.parametrize("value", ["-0.5", "+3", "1e-3", "cat", "", -0.5, None, "-inf"])
def test_csv__number_or_plain_text__stays(value):
    assert safe_cell(value) == value


def test_predict__image_called_like_a_formula__is_no_formula(auxo, place, monkeypatch):
    shutil.copy(next(place.shapes.rglob("*.png")), place.root / "=cmd.png")
    monkeypatch.chdir(place.root)
    assert auxo("predict", place.run, "=cmd.png", "--out", "out.csv").code == 0
    rows = list(csv.reader((place.root / "out.csv").read_text().splitlines()))
    assert rows[1][0] == "'=cmd.png"


LOCAL = """
import os, subprocess, sys
from auxo.jobs.ray_cluster import _connect_to

with _connect_to("local") as ray:
    assert ray.get(ray.remote(lambda: 3).remote()) == 3
    stranger = "import sys, ray; ray.init(address=sys.argv[1], logging_level='ERROR'); print('CONNECTED')"
    outside = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    address = ray.get_runtime_context().gcs_address
    found = subprocess.run([sys.executable, "-c", stranger, address], env=outside, capture_output=True, text=True)
    print("refused" if found.returncode and "CONNECTED" not in found.stdout else "let in")
"""


@pytest.mark.slow
def test_ray_local__stranger_without_the_token__is_not_let_in():
    pytest.importorskip("ray")
    answer = subprocess.run([sys.executable, "-c", LOCAL], check=False, capture_output=True, text=True, timeout=300)
    assert answer.stdout.split()[-1:] == ["refused"], answer.stderr[-2000:]


def test_ray_local__chosen_or_imported_already__keeps_the_choice_of_the_user(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    _draw_token()
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    monkeypatch.delenv("RAY_AUTH_MODE")
    monkeypatch.setitem(sys.modules, "ray", sys)
    _draw_token()
    assert "RAY_AUTH_MODE" not in os.environ


def test_ray_local__first_use__draws_a_token(monkeypatch):
    monkeypatch.delitem(sys.modules, "ray", raising=False)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "")
    _draw_token()
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
