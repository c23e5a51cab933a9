"""What each command prints and writes."""

import csv
import json
import os
import shutil
import sys
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image

from auxo.cli import main
from auxo.cli.progress import PlainObserver, QuietObserver, make_observer
from auxo.cli.train import read_run_config
from auxo.data import decode_image
from auxo.data.fake import oriented_shapes
from auxo.registry import entries
from auxo.runs.model import load_model
from auxo.runs.records import read_records
from auxo.runtime import RuntimeConfig, open_runtime
from auxo.types import Batch

KINDS = {
    "methods": "methods",
    "pretexts": "pretexts",
    "gates": "gates",
    "invariance": "losses.invariance",
    "kernels": "losses.kernels",
    "independence": "runs.independence",
    "backbones": "backbones",
    "scenarios": "data.scenarios",
}


def flat(text):
    """Return the text with every run of white space as one blank."""
    return " ".join(text.split())


def rows_of(path):
    """Return the JSON objects of a file, one a line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def pictures_of(folder):
    """Return the images below a folder in the order in which they are predicted."""
    return sorted(folder.rglob("*.png"))


def test_list__all__shows_every_name_with_its_line_and_source(auxo):
    said = flat(auxo("list").out)
    found = [entry for package in KINDS.values() for entry in entries(package).values()]
    assert {"ossl", "rotation", "supervised", "lenet5", "digits"} <= {entry.name for entry in found}
    for entry in found:
        assert entry.name in said
        assert flat(entry.summary) in said
        assert flat(entry.source) in said


@pytest.mark.parametrize("kind", KINDS)
def test_list__one_kind__shows_that_only(auxo, kind):
    said = auxo("list", kind).out
    assert said.startswith(f"{kind}:\n")
    assert [other for other in KINDS if f"{other}:" in said.splitlines()] == [kind]


def test_list__search__shows_names_with_the_word_and_says_that_timm_is_missing(auxo, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)  # which makes the import fail
    answer = auxo("list", "backbones", "--search", "resnet 18")
    assert answer.code == 0
    shown = [line for line in answer.out.splitlines() if line.startswith("  ") and not line.startswith("   ")]
    assert [line.split(":")[0].strip() for line in shown] == ["preact_resnet18", "resnet18, resnet18_cifar"]
    assert "models of timm are not among these" in answer.err
    assert "nothing has 'qqq' in its name" in auxo("list", "--search", "qqq").out
    assert auxo("list", "--search", " ").code == 2


def test_list__after_other_commands__works_again(auxo):
    assert auxo("list", "methods").out == auxo("list", "methods").out
    assert auxo("doctor").code == auxo("--version").code == 0


def test_doctor__without_extras__says_how_to_get_them(auxo, monkeypatch):
    for module in ("timm", "transformers", "torchjd", "foolbox"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delenv("AUXO_DATA", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    said = auxo("doctor").out
    assert f"torch {torch.__version__}" in said
    assert "devices: cpu" in said
    assert f"torch uses {torch.get_num_threads()} of {os.cpu_count()} cores (OMP_NUM_THREADS is not set" in said
    for extra in ("timm", "transformers", "torchjd", "robust"):
        assert f"extra {extra}: missing" in said
        assert f"install with: pip install 'auxo[{extra}]'" in said
    assert "AUXO_DATA is not set" in said
    assert "digits needs no download" in said


def test_doctor__with_data__names_the_copies(auxo, monkeypatch, tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train.parquet").touch()
    monkeypatch.setenv("AUXO_DATA", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    said = auxo("doctor").out
    assert f"AUXO_DATA={tmp_path} has mnist" in said
    assert "OMP_NUM_THREADS=1" in said


def test_predict__folder__writes_probabilities_of_the_methods_own_prediction(
    auxo, tmp_path, shapes_folder, finished_run
):
    out = tmp_path / "predictions.csv"
    answer = auxo("predict", finished_run, shapes_folder, "--out", out, "--batch-size", 50)
    assert answer.out == f"160 predictions: {out}\n"
    with out.open(newline="") as file:
        header, *rows = csv.reader(file)
    names = ("arrow", "corner", "tee", "wedge")
    assert header == ["path", "prediction", "probability", *(f"p({name})" for name in names)]
    assert [Path(row[0]) for row in rows] == pictures_of(shapes_folder)
    written = torch.tensor([[float(cell) for cell in row[3:]] for row in rows], dtype=torch.float64)
    assert (written.sum(dim=1) - 1).abs().max() < 4e-6

    images = [decode_image(path.read_bytes(), where=str(path), image_size=None) for path in pictures_of(shapes_folder)]
    config = read_run_config(finished_run)
    with open_runtime(RuntimeConfig(device="cpu")) as runtime, torch.inference_mode():
        model = load_model(config, finished_run, runtime=runtime)
        nothing = torch.zeros(len(images), dtype=torch.int64)
        batch = model.pipeline(Batch(torch.stack(images), {"label": nothing}, nothing), seed=None)
        expected = model.method.predict(batch.images).softmax(dim=1)
    torch.testing.assert_close(written, expected.double(), rtol=0, atol=2e-6)
    assert [row[1] for row in rows] == [names[int(best)] for best in expected.argmax(dim=1)]
    assert [row[2] for row in rows] == [max(row[3:]) for row in rows]


def test_predict__one_large_picture__is_resized_to_the_models_size(auxo, tmp_path, shapes_folder, finished_run):
    large, resized = tmp_path / "large.png", tmp_path / "resized.png"
    with Image.open(pictures_of(shapes_folder)[0]) as picture:
        picture.resize((84, 56), Image.Resampling.BICUBIC).save(large)
    pixels = decode_image(large.read_bytes(), where="large.png", image_size=28)
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(resized)
    assert auxo("predict", finished_run, large, resized, "--out", tmp_path / "x.csv").code == 0
    _, first, second = (tmp_path / "x.csv").read_text().splitlines()
    assert first.split(",")[1:] == second.split(",")[1:]


def test_evaluate__finished_run__gives_the_rows_of_the_run(auxo, tmp_path, finished_run):
    out = tmp_path / "rows.jsonl"
    answer = auxo("evaluate", finished_run, "--out", out)
    assert f"results: {out}" in answer.out
    at_the_end = [row for row in read_records(finished_run / "records.jsonl") if row["kind"] == "result"]
    rows = rows_of(out)
    assert len(rows) == len(at_the_end) == 8
    for row, before in zip(rows, at_the_end, strict=True):
        for name, value in row.items():
            assert before[name] == (pytest.approx(value, rel=1e-5) if isinstance(value, float) else value), name


def test_evaluate__labelled_pictures__gives_their_rows_and_leaves_the_run_alone(
    auxo, tmp_path, shapes_folder, finished_run
):
    before = {path: path.read_bytes() for path in finished_run.rglob("*") if path.is_file()}
    assert auxo("evaluate", finished_run, "--data", shapes_folder, "--out", tmp_path / "rows.jsonl").code == 0
    rows = rows_of(tmp_path / "rows.jsonl")
    assert [row["head"] for row in rows] == ["semantic", "auxiliary", "mean", "rotation"]
    assert {row["split"] for row in rows} == {f"ood/{shapes_folder.name}"}
    assert [row["n"] for row in rows] == [160, 160, 160, 640]
    assert {path: path.read_bytes() for path in finished_run.rglob("*") if path.is_file()} == before


def test_evaluate__sets_of_one_name__are_numbered(auxo, tmp_path, write_picture, finished_run):
    sets = [tmp_path / parent / "photos" for parent in ("a", "b", "c")]
    for seed, folder in enumerate(sets):
        shapes = oriented_shapes(8, size=28, seed=seed)
        values, names = shapes.columns["label"]
        for number, (image, label) in enumerate(zip(shapes.images, values.tolist(), strict=True)):
            write_picture(folder / names[label] / f"{number}.png", image)
    out = tmp_path / "rows.jsonl"
    assert auxo("evaluate", finished_run, "--data", *sets, "--out", out).code == 0
    names = dict.fromkeys(row["split"] for row in rows_of(out))
    assert list(names) == ["ood/photos", "ood/photos-2", "ood/photos-3"]


def test_train__refused_in_an_empty_folder__takes_the_folder_the_next_time(auxo, tmp_path, shapes_folder, tiny_options):
    out = tmp_path / "out"
    out.mkdir()
    words = ["train", "ossl", "--data.train", shapes_folder, *tiny_options, "--out", out]
    assert auxo(*words, "--data.image-size", 20).code == 2
    assert auxo(*words).code == 0


def test_train__output_is_no_terminal__prints_a_plain_line_per_evaluation(auxo, tmp_path, shapes_folder, tiny_options):
    answer = auxo("train", "ossl", "--data.train", shapes_folder, *tiny_options, "--epochs", 2, "--out", tmp_path / "x")
    assert (answer.code, answer.err) == (0, "")
    assert "\x1b" not in answer.out
    lines = answer.out.splitlines()
    assert lines[:2] == [f"training in {tmp_path / 'x'} on cpu", "train: step 0 of 8"]
    assert [line.partition(":")[0] for line in lines if line.startswith("epoch")] == ["epoch 1", "epoch 2"]
    assert "val semantic" in lines[2]
    assert lines[-2] == f"run directory: {tmp_path / 'x'}"


def test_train__refused_by_its_data__does_not_say_that_it_trains(auxo, tmp_path, shapes_folder, tiny_options):
    words = ["train", "ossl", "--data.train", shapes_folder, *tiny_options, "--data.image-size", 20]
    answer = auxo(*words, "--batch-size", 999, "--drop-last", "--out", tmp_path / "x")
    assert (answer.code, answer.out) == (2, "")
    assert not (tmp_path / "x").exists()


def test_train__resume_of_a_finished_run__says_so_first(auxo, tmp_path, finished_run):
    run = shutil.copytree(finished_run, tmp_path / "run")
    weights = (run / "model.safetensors").read_bytes()
    answer = auxo("train", "--resume", run)
    assert answer.code == 0
    assert answer.out.startswith(f"{run} is finished already: nothing is trained")
    assert "going on" not in answer.out
    assert (run / "model.safetensors").read_bytes() == weights


def test_train__output_is_a_terminal__draws_a_bar(monkeypatch, tmp_path, shapes_folder, tiny_options):
    leader, follower = os.openpty()
    pieces = []

    def drain():
        try:
            while piece := os.read(leader, 4096):
                pieces.append(piece)
        except OSError:  # what reading gives on Linux once the other end is closed
            pass

    reader = threading.Thread(target=drain)
    reader.start()
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        monkeypatch.setenv("TERM", "xterm-256color")
        words = ["train", "ossl", "--data.train", str(shapes_folder), *tiny_options, "--out", str(tmp_path / "x")]
        with pytest.raises(SystemExit) as stop:
            main(words)
    monkeypatch.undo()
    reader.join(timeout=30)
    os.close(leader)
    said = b"".join(pieces).decode()
    assert stop.value.code == 0
    assert "\x1b[" in said
    assert "━" in said
    assert "4/4" in said
    assert said.count("training in") == 1
    assert "images/s" in said
    assert "epoch 1: " in said
    assert "\x1b[?25h" in said  # the cursor is shown again


def test_make_observer__process_that_is_not_the_main_one__says_nothing(capsys):
    observer = make_observer(is_main=False)
    assert type(observer) is QuietObserver
    observer.stage_started("train", step=0, num_steps=3)
    observer.step_done(1, images_per_second=3.0, losses={"extra_loss": 1.0})
    observer.evaluated(1, [])
    observer.close()
    assert capsys.readouterr().out == ""


def test_plain_observer__losses_between_log_rows__are_the_last_ones(capsys):
    observer = PlainObserver()
    observer.step_done(1, images_per_second=1000.0, losses={"extra_loss": 1.5, "difference": 0.25})
    observer.step_done(2, images_per_second=2000.0, losses={})
    observer.evaluated(1, [])
    assert capsys.readouterr().out == "epoch 1: extra loss 1.500, 2,000 images/s\n"


@pytest.mark.parametrize("fit", ["crop", "letterbox"])
def test_train__images_of_many_sizes__are_prepared_alike_in_the_run_its_export_and_prediction(
    auxo, tmp_path, write_picture, tiny_options, fit
):
    generator = torch.Generator().manual_seed(0)
    for number in range(40):
        size = (3, (40, 34, 50)[number % 3], (33, 60, 36)[number % 4 % 3])
        pixels = torch.randint(256, size, generator=generator, dtype=torch.uint8)
        write_picture(tmp_path / "set" / ("cat", "dog")[number % 2] / f"{number:02d}.png", pixels)
    place, run = tmp_path / "set", tmp_path / "run"
    answer = auxo("train", "supervised", "--data.train", place, "--data.fit", fit, *tiny_options, "--out", run)
    assert answer.code == 0, answer.err
    assert "brought to 32x32" in answer.out + answer.err
    assert auxo("export", run, "--format", "safetensors", "--out", tmp_path / "export").code == 0
    written = []
    for model in (run, tmp_path / "export" / "model.safetensors"):
        out = tmp_path / f"{model.name}.csv"
        answer = auxo("predict", model, place, "--out", out)
        assert answer.code == 0, answer.err
        rows = list(csv.DictReader(out.read_text().splitlines()))
        written.append(torch.tensor([[float(row["p(cat)"]), float(row["p(dog)"])] for row in rows]))
    torch.testing.assert_close(written[0], written[1], rtol=0, atol=2e-6)
    right = written[0].gather(1, torch.tensor([[int("dog" in Path(row["path"]).parts)] for row in rows]))
    assert auxo("evaluate", run, "--data", place, "--out", tmp_path / "rows.jsonl").code == 0
    row = json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[0])
    assert row["measures"]["nll"]["value"] == pytest.approx(-right.log().mean().item(), abs=1e-4)
