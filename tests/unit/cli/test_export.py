"""``auxo export``: what it writes, what its card says, and that its files predict as the run does."""

import csv
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from auxo.cli import main
from auxo.cli.train import read_run_config
from auxo.data.fake import oriented_shapes
from auxo.export import published
from auxo.files.tensor_file import read_tensor_file
from auxo.registry import entries
from auxo.runs.document import allow_code, from_json
from auxo.runs.model import load_model
from auxo.runtime import RuntimeConfig, open_runtime

COMMON = {"README.md", "labels.json", "preprocess.json", "results.jsonl"}
HUB = COMMON | {"model.safetensors", "config.json", "model.pt2"}
has_onnx = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not has_onnx, reason="onnx, onnxscript or onnxruntime is missing (extra auxo[onnx])")


@pytest.fixture
def run(finished_run, tmp_path):
    """A copy of a finished run."""
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture(scope="module")
def exported(finished_run, tmp_path_factory):
    """An export of a finished run in every format that can be written here."""
    out = tmp_path_factory.mktemp("exports") / "exported"
    formats = ["all"] if has_onnx else ["hub-folder"]
    with pytest.raises(SystemExit) as stop:
        main(["export", str(finished_run), "--format", *formats, "--out", str(out), "--license", "MIT"])
    assert stop.value.code == 0
    return out


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Images of many sizes, modes and files, some of which lie on their side."""
    root = tmp_path_factory.mktemp("pictures")
    source = oriented_shapes(8, size=80, seed=5)
    images = [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in source.images]
    upturned = Image.Exif()
    upturned[0x0112] = 6
    images[0].save(root / "rgb.png")
    images[1].resize((300, 211)).save(root / "large.jpg", quality=90)
    images[2].resize((64, 90)).save(root / "turned.jpg", exif=upturned)
    images[3].convert("L").save(root / "grey.png")
    images[4].convert("RGBA").save(root / "rgba.png")
    images[5].quantize(16).save(root / "palette.png", transparency=3)
    images[6].convert("CMYK").save(root / "cmyk.jpg")
    images[7].resize((28, 28)).save(root / "same.bmp")
    return root


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def probabilities_of(path):
    """The probabilities in a CSV of predictions, by image."""
    with path.open(newline="") as file:
        _, *lines = csv.reader(file)
    return {line[0]: torch.tensor([float(value) for value in line[3:]]) for line in lines}


def predicted(auxo, model, pictures, out, *options):
    answer = auxo("predict", model, pictures, "--out", out, "--device", "cpu", *options)
    assert answer.code == 0, answer.err
    return probabilities_of(out)


def assert_near(found, expected):
    assert found.keys() == expected.keys()
    assert max(float(first[0] - second[0]) for first in expected.values() for second in expected.values()) > 1e-3
    for name, probs in expected.items():
        torch.testing.assert_close(found[name], probs, rtol=0, atol=1.1e-5)


@pytest.fixture(scope="module")
def expected(finished_run, pictures, tmp_path_factory):
    """What the run itself predicts."""
    out = tmp_path_factory.mktemp("expected") / "run.csv"
    with pytest.raises(SystemExit):
        main(["predict", str(finished_run), str(pictures), "--out", str(out), "--device", "cpu"])
    return probabilities_of(out)


def test_export__default__writes_a_hub_folder_and_says_how_to_use_it(auxo, run):
    answer = auxo("export", run)
    assert answer.code == 0, answer.err
    assert answer.err == ""
    folder = run / "export"
    assert {path.name for path in folder.iterdir()} == HUB
    first, *_, last = answer.out.splitlines()
    data = json.loads((run / "config.json").read_text())["run"]["data"]["train"]
    assert first == f"exported: ossl on lenet5, trained on {Path(data).name}"
    assert f"use it with auxo: auxo predict {folder} IMAGES" in answer.out
    assert f"use it without: the Python lines under Use in {folder / 'README.md'}" in answer.out
    assert "the licence is unknown" in answer.out
    assert last == f"files: {folder}"
    assert not list(run.glob(".*.part"))


def test_export__again__keeps_the_earlier_one(auxo, run):
    for name in ("export", "export-2", "export-3"):
        assert auxo("export", run, "--format", "safetensors").code == 0
        assert {path.name for path in (run / name).iterdir()} == HUB - {"model.pt2"}


@pytest.mark.parametrize("file", ["", "model.safetensors", "model.pt2", pytest.param("model.onnx", marks=needs_onnx)])
def test_predict__export__gives_the_numbers_of_the_run(auxo, file, exported, pictures, expected, tmp_path):
    leave = ["--trust-pt2"] if file == "model.pt2" else []
    model = exported / file if file else exported
    for batch_size in (3, 256):
        found = predicted(auxo, model, pictures, tmp_path / "out.csv", "--batch-size", batch_size, *leave)
        assert_near(found, expected)


@pytest.mark.parametrize("library", ["torch", pytest.param("onnxruntime", marks=needs_onnx)])
def test_card__its_lines_of_python__give_the_numbers_of_the_run(library, exported, pictures, expected, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```$", (exported / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    (lines,) = [block for block in blocks if f"import {library}\n" in block]
    program = (
        "import contextlib, io, pathlib, shutil, sys\n"
        f"lines = {lines!r}\n"
        f"for path in sorted(pathlib.Path({str(pictures)!r}).iterdir()):\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as said:\n"
        "        exec(lines.replace('image.png', str(path)), {})\n"
        "    print(path, *(line.partition(': ')[2] for line in said.getvalue().splitlines()))\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'auxo']\n"
    )
    words = [sys.executable, "-W", "ignore", "-I", "-c", program]
    done = subprocess.run(words, cwd=exported, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = {line.split()[0]: torch.tensor([float(v) for v in line.split()[1:]]) for line in done.stdout.splitlines()}
    assert_near(found, expected)


def test_card__table__has_the_numbers_of_the_records(exported, finished_run):
    text = (exported / "README.md").read_text()
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    header = next(line for line in lines if line[:2] == ["split", "images"] and "NLL" in line)
    table = {line[0]: dict(zip(header, line, strict=True)) for line in lines[lines.index(header) + 2 :]}
    results = [row for row in rows_of(finished_run / "records.jsonl") if row["kind"] == "result"]
    assert len(results) > 4
    for row in results:
        measures = row["measures"]
        value, low, high = (100 * measures["accuracy"][name] for name in ("value", "low", "high"))
        assert table[row["split"]][row["head"]] == f"{value:.1f} [{low:.1f}, {high:.1f}]"
        if row["head"] == "semantic":
            assert table[row["split"]]["NLL"] == f"{measures['nll']['value']:.3f}"
            assert table[row["split"]]["ECE"] == f"{100 * measures['ece']['value']:.1f}"
            assert table[row["split"]]["images"] == f"{row['n']:,}"
    (end,) = [row for row in rows_of(finished_run / "records.jsonl") if row["kind"] == "end"]
    assert f"Training: {end['train_seconds']:.1f} s, {end['images']:,} training images seen" in text
    assert rows_of(exported / "results.jsonl") == [*results, end]


def test_card__text__says_where_all_comes_from(exported, finished_run):
    text = (exported / "README.md").read_text()
    assert "An image classifier: it gives one of 4 classes to an image." in text
    assert "It always answers with one of its 4 classes" in text
    digests = read_tensor_file(finished_run / "model.safetensors").header["data"]
    for digest in digests.values():
        assert digest in text
    for said in ("One run with one seed", "no evidence", "Seed 0;", "last epoch; nothing was selected", "`MIT`"):
        assert said in text
    assert " ".join(entries("methods")["ossl"].source.split()) in text
    assert " ".join(entries("backbones")["lenet5"].source.split()) in text
    assert str(finished_run.parent) not in text
    assert "Accuracy elsewhere: not measured" in text


def test_card__metadata__is_yaml_with_the_test_accuracy(exported, finished_run):
    import yaml

    _, block, _ = (exported / "README.md").read_text().split("---\n", 2)
    values = yaml.safe_load(block)
    assert (values["license"], values["pipeline_tag"]) == ("mit", "image-classification")
    (result,) = values["model-index"][0]["results"]
    records = rows_of(finished_run / "records.jsonl")
    (row,) = [r for r in records if (r["kind"], r.get("split"), r.get("head")) == ("result", "test", "semantic")]
    assert result["dataset"]["split"] == "test"
    assert result["metrics"] == [{"type": "accuracy", "value": row["measures"]["accuracy"]["value"]}]


def test_preprocess__file__describes_the_input(exported):
    found = json.loads((exported / "preprocess.json").read_text())
    assert (found["channels"], found["height"], found["width"], found["colours"]) == (3, 28, 28, "RGB")
    assert len(found["normalisation"]["mean"]) == 3
    assert json.loads((exported / "labels.json").read_text()) == ["arrow", "corner", "tee", "wedge"]


def test_safetensors__export__holds_the_weights_that_predict(exported, finished_run):
    with open_runtime(RuntimeConfig(device="cpu", precision="float32")) as runtime:
        weights = load_model(read_run_config(finished_run), finished_run, runtime=runtime).method.state_dict()
    found = read_tensor_file(exported / "model.safetensors").tree["weights"]
    assert found.keys() == {name for name in weights if name.startswith(("backbone.", "semantic."))}
    assert all(torch.equal(found[name], weights[name]) for name in found)


def test_safetensors__edited_config__is_refused(auxo, exported, pictures, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "edited")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    answer = auxo("predict", folder, pictures, "--out", tmp_path / "out.csv")
    assert answer.code == 2
    assert "got an edited one in" in answer.err
    assert len(answer.err.splitlines()) == 1


def test_predict__pt2_without_leave__is_refused(auxo, exported, pictures, tmp_path):
    answer = auxo("predict", exported / "model.pt2", pictures, "--out", tmp_path / "out.csv")
    assert answer.code == 2
    assert "your leave to load a .pt2 file, which can run code" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not (tmp_path / "out.csv").exists()


def test_predict__pt2_on_a_device__is_refused(auxo, exported, pictures):
    answer = auxo("predict", exported / "model.pt2", pictures, "--trust-pt2", "--device", "cuda")
    assert answer.code == 2
    assert "expected --device cpu for" in answer.err


@pytest.mark.parametrize("name", ["gone.pt2", pytest.param("gone.onnx", marks=needs_onnx), "gone.safetensors", "gone"])
def test_predict__model_that_is_not_there__is_refused(auxo, name, pictures, tmp_path):
    answer = auxo("predict", tmp_path / name, pictures, "--trust-pt2")
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert re.fullmatch(r"auxo: expected .+, got .+: .+\n", answer.err)


def test_evaluate__export__is_refused_in_one_line(auxo, exported):
    answer = auxo("evaluate", exported)
    assert answer.code == 2
    assert "a trained model at" in answer.err
    assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--format", "keras"], "options of auxo export"),
        (["--format"], "a format of safetensors, torch-export, onnx, hub-folder, got none"),
        (["--license", "my own"], "a licence of letters, digits, dots, + and hyphens, got 'my own'"),
        (["--licence", "mit"], "options of auxo export"),
    ],
)
def test_export__bad_option__is_refused_in_one_line_and_writes_nothing(auxo, run, words, says):
    answer = auxo("export", run, *words)
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert says in answer.err
    assert not (run / "export").exists()


def test_export__extra_missing__is_refused_before_any_work(auxo, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    answer = auxo("export", run, "--format", "all")
    assert answer.code == 2
    assert "the package onnx to write ONNX files" in answer.err
    assert "pip install 'auxo[onnx]'" in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not (run / "export").exists()


def test_export__folder_with_files__is_refused(auxo, run, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "README.md").touch()
    says = {"taken": "a new or empty folder for --out", "taken/README.md": "got not a directory: choose another --out"}
    for place, message in says.items():
        answer = auxo("export", run, "--out", tmp_path / place)
        assert answer.code == 2
        assert message in answer.err
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["README.md"]


def test_export__empty_folder_and_config_with_a_byte_order_mark__is_filled(auxo, run, tmp_path):
    (tmp_path / "empty").mkdir()
    config = run / "config.json"
    config.write_text(config.read_text(), encoding="utf-8-sig")  # as editors of Windows save it
    answer = auxo("export", run, "--format", "torch-export", "--out", tmp_path / "empty")
    assert answer.code == 0, answer.err
    assert {path.name for path in (tmp_path / "empty").iterdir()} == COMMON | {"model.pt2"}
    assert f"auxo predict {tmp_path / 'empty'} IMAGES --trust-pt2" in answer.out
    assert not (tmp_path / "empty" / "README.md").read_text().startswith("---")


def test_export__unfinished_run__is_refused(auxo, run):
    (run / "model.safetensors").unlink()
    answer = auxo("export", run)
    assert answer.code == 2
    assert f"a finished run in {run}, got no model.safetensors" in answer.err


def test_export__run_without_results__is_refused(auxo, run):
    (run / "records.jsonl").unlink()
    answer = auxo("export", run)
    assert answer.code == 2
    assert f"a finished run in {run}, got one that is not: auxo train --resume {run}" in answer.err
    assert not (run / "export").exists()


def test_export__no_run__is_refused(auxo, tmp_path):
    answer = auxo("export", tmp_path)
    assert answer.code == 2
    assert "a run directory at" in answer.err


def test_published__places__lose_their_folders(run):
    found = json.loads((run / "config.json").read_text())
    found["run"]["data"] |= {"val": "hf://owner/name", "ood": ["/home/me/elsewhere"], "root": "/home/me"}
    found["run"]["stages"][0]["method"]["type"] = "/home/me/my_method.py:Mine.Config"
    found["run"]["backbone"]["weights"] = "/home/me/first.safetensors"
    text = published(json.dumps(found))
    assert "/home/me" not in text
    data = json.loads(text)["run"]["data"]
    assert (data["val"], data["ood"], data["root"]) == ("hf://owner/name", ["elsewhere"], None)
    assert '"my_method.py:Mine.Config"' in text


def test_published__files_outside_auxo__keep_their_names_and_data_no_leave(run):
    found = json.loads((run / "config.json").read_text())
    found["run"]["backbone"]["name"] = "/home/me/net.py:Tiny"
    found["run"]["data"] |= {"train": "/home/me/reader.py:read", "ood": ["/home/me/other.py:read", "hf://a/b.py:test"]}
    text = published(json.dumps(found))
    assert "/home/me" not in text
    again = json.loads(text)["run"]
    assert again["backbone"]["name"] == "net.py:Tiny"
    assert (again["data"]["train"], again["data"]["ood"]) == ("reader.py", ["other.py", "hf://a/b.py:test"])
    config = from_json(text, origin="x", code="/elsewhere/net.py", is_published=True)
    assert config.backbone.name == "/elsewhere/net.py:Tiny"


def test_published__two_files_of_one_name__keep_the_folders_that_tell_them_apart(run):
    found = json.loads((run / "config.json").read_text())
    found["run"]["backbone"]["name"] = "/home/me/nets/mine.py:Tiny"
    found["run"]["stages"][0]["method"]["type"] = "/home/me/mine.py:Mine.Config"
    text = published(json.dumps(found))
    again = json.loads(text)["run"]
    assert (again["backbone"]["name"], again["stages"][0]["method"]["type"]) == (
        "nets/mine.py:Tiny",
        "me/mine.py:Mine.Config",
    )
    allowed = allow_code(again, ("/other/me/mine.py", "/other/nets/mine.py"), is_published=True)
    assert allowed["backbone"]["name"] == "/other/nets/mine.py:Tiny"
    assert allowed["stages"][0]["method"]["type"] == "/other/me/mine.py:Mine.Config"
