"""Names are names: of runs, sets and files, whatever they would mean as patterns or addresses."""

import json
import shutil

import pytest

NAME = "r [v1] a?b*c #1 50%20 {x} p::q"


@pytest.fixture(scope="module")
def odd(finished_run, shapes_folder, tmp_path_factory):
    """A run and its images in folders of odd names, beside others that the names would match as patterns."""
    root = tmp_path_factory.mktemp("odd")
    for name in (NAME, "r v axbyc #1 50%20 x p::q"):
        shutil.copytree(finished_run, root / name / "run")
    shutil.copytree(shapes_folder, root / NAME / "set")
    config = root / NAME / "run" / "config.json"
    document = json.loads(config.read_text())
    document["run"]["data"]["train"] = str(root / NAME / "set")
    config.write_text(json.dumps(document))
    return root / NAME


@pytest.mark.parametrize(
    ("words", "made"),
    [
        (("predict", "run", "set", "--out", "answers [1].csv"), "answers [1].csv"),
        pytest.param(
            ("export", "run", "--format", "onnx", "--out", "out [1]?"), "out [1]?/model.onnx", marks=pytest.mark.slow
        ),
        pytest.param(("report", "run", "--out", "page [1]#?.html"), "page [1]#?.html", marks=pytest.mark.slow),
        (("evaluate", "run", "--data", "set"), "run/evaluation.jsonl"),
    ],
)
def test_commands__odd_names__are_the_files_of_that_name(auxo, odd, monkeypatch, words, made):
    monkeypatch.chdir(odd)
    answer = auxo(*words)
    assert answer.code == 0, answer.err
    assert (odd / made).is_file()


def test_train__set_and_run_of_odd_names__ends_and_goes_on(auxo, odd, tiny_options, monkeypatch):
    monkeypatch.chdir(odd)
    options = [word for word in tiny_options if word != "--training.no-tensorboard"]
    answer = auxo("train", "supervised", "--data.train", "set", *options, "--out", "new [1]?")
    assert answer.code == 0, answer.err
    assert list((odd / "new [1]?").rglob("events.out.tfevents*"))
    (odd / "new [1]?" / "model.safetensors").unlink()
    assert auxo("train", "--resume", "new [1]?").code == 0
    assert (odd / "new [1]?" / "model.safetensors").is_file()
