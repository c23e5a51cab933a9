"""``auxo evaluate`` by probes, stages of a run without class heads, and sets that changed since."""

import json
import shutil

import pytest

from auxo.runs.records import read_records

RECIPE = '''"""A stage that prepares a backbone, and one that trains a class head on it."""

from dataclasses import dataclass

from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.methods.supervised import Supervised


class Prepare(Supervised):
    """Makes features small, and has no class head."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Supervised.Config):
        """The same options."""

    head_names = ()

    def update(self, state, batches, runtime):
        loss = self.backbone(batches["train"].images).pooled.square().mean()
        runtime.step(state.optimizers["main"], loss)
        return {"feature_loss": loss.detach()}

    def head_logits(self, images):
        return {}


def stages(*names):
    known = {
        "prepare": StageConfig(name="prepare", method=Prepare.Config(), epochs=1, batch_size=32),
        "fine": StageConfig(name="fine", method=Supervised.Config(), epochs=1, batch_size=32, start_from="prepare"),
    }
    return ExperimentConfig(stages=tuple(known[name] for name in names))


def recipe():
    return stages("prepare", "fine")


def alone():
    return stages("prepare")
'''


def rows_of(path):
    """Return the JSON objects of a file, one a line."""
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def run_folder(finished_run, tmp_path):
    """A finished run of its own for each test."""
    return shutil.copytree(finished_run, tmp_path / "run")


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """The file with the method."""
    path = tmp_path_factory.mktemp("code") / "prepare.py"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def trained(code, shapes_folder, tmp_path_factory):
    """A run of both stages, and one of the first alone."""
    from auxo.cli import main

    root = tmp_path_factory.mktemp("runs")
    tiny = ("--training.no-tensorboard", "--runtime.threads", "1", "--device", "cpu")
    for name in ("recipe", "alone"):
        words = ["train", f"{code}:{name}", "--data.train", str(shapes_folder), *tiny, "--out", str(root / name)]
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 0
    return root


@pytest.fixture
def staged(trained, tmp_path):
    """A copy of the run of both stages."""
    return shutil.copytree(trained / "recipe", tmp_path / "staged")


def test_evaluate__probes__writes_a_row_of_each_for_every_split(auxo, run_folder):
    before = {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()}
    answer = auxo("evaluate", run_folder, "--probe", "all", "--device", "cpu")
    assert (answer.code, answer.err) == (0, "")
    said = " ".join(answer.out.split())
    assert "Probes of 84 features, fitted to 128 training images. knn: the 20 nearest by cosine vote" in said
    assert "chosen on val" in said
    assert f"results: {run_folder / 'probes.jsonl'}" in answer.out
    rows = rows_of(run_folder / "probes.jsonl")
    assert [(row["split"], row["head"]) for row in rows] == [
        (split, head) for split in ("val", "test") for head in ("knn", "linear_probe")
    ]
    assert {row["stage"] for row in rows} == {"train"}
    assert rows[0]["settings"] == {"bank": 128, "num_features": 84, "neighbours": 20, "temperature": 0.07}
    assert rows[1]["settings"].keys() == {"bank", "num_features", "c"}
    after = {path: path.read_bytes() for path in run_folder.rglob("*") if path.is_file()}
    assert after.keys() - before.keys() == {run_folder / "probes.jsonl"}
    assert {path: after[path] for path in before} == before


def test_evaluate__probe_of_some_sets__is_fitted_to_the_same_images(auxo, run_folder, shapes_folder, tmp_path):
    words = ("evaluate", run_folder, "--probe", "knn", "--neighbours", 5, "--device", "cpu")
    assert auxo(*words, "--split", "test", "--images", 8, "--out", tmp_path / "own.jsonl").code == 0
    assert auxo(*words, "--data", shapes_folder, "--out", tmp_path / "named.jsonl").code == 0
    (own,), (named,) = rows_of(tmp_path / "own.jsonl"), rows_of(tmp_path / "named.jsonl")
    assert (own["split"], own["n"]) == ("test", 8)
    assert (named["split"], named["n"]) == (f"ood/{shapes_folder.name}", 160)
    assert own["settings"] == named["settings"]
    assert own["settings"]["neighbours"] == 5


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--probe", "all", "--corruptions"), "--probe without --corruptions and --attack, got both"),
        (("--probe", "knn", "--attack", "pgd"), "--probe without --corruptions and --attack, got both"),
        (("--probe", "linear", "--neighbours", 3), "--probe knn beside --neighbours"),
        (("--neighbours", 3), "--probe knn beside --neighbours, got none: pass --probe knn"),
        (("--probe", "knn", "--neighbours", 0), "neighbours >= 1, got 0"),
        (("--probe", "knn", "--neighbours", 129), "neighbours in 1..128, the training images, got 129"),
        (("--probe", "svm"), "svm"),
        (("--stage", "trian"), "got 'trian': name one of train"),
    ],
)
def test_evaluate__what_probes_cannot_do__is_refused_in_one_line(auxo, run_folder, words, said):
    answer = auxo("evaluate", run_folder, *words, "--device", "cpu")
    assert answer.code == 2
    assert said in answer.err
    assert answer.err.count("\n") == 1
    assert not (run_folder / "probes.jsonl").exists()


def test_evaluate__last_stage_by_name__gives_the_rows_of_the_run(auxo, staged, code):
    assert auxo("evaluate", staged, "--stage", "fine", "--code", code, "--device", "cpu").code == 0
    results = [row for row in read_records(staged / "records.jsonl") if row["kind"] == "result"]
    rows = rows_of(staged / "evaluation.jsonl")
    found, recorded = ([row["measures"]["nll"]["value"] for row in each] for each in (rows, results))
    assert found == pytest.approx(recorded, rel=1e-5)
    assert {row["stage"] for row in rows} == {"fine"}


def test_evaluate__stage_without_a_class_head__is_probed_and_otherwise_refused(auxo, staged, code):
    stage = ("evaluate", staged, "--stage", "prepare", "--code", code, "--device", "cpu")
    for words in ((), ("--corruptions",), ("--attack", "noise")):
        answer = auxo(*stage, *words)
        assert answer.code == 2
        assert answer.err.startswith("auxo: expected a model with a head that predicts or a pretext, got Prepare: ")
        assert "--probe all" in answer.err
    answer = auxo(*stage, "--probe", "all")
    assert (answer.code, answer.err) == (0, "")
    assert "128 training images seen" in " ".join(answer.out.split())
    rows = rows_of(staged / "probes.jsonl")
    assert {row["stage"] for row in rows} == {"prepare"}
    assert auxo("evaluate", staged, "--probe", "all", "--code", code, "--device", "cpu").code == 0
    assert rows_of(staged / "probes-1.jsonl") == rows
    assert rows_of(staged / "probes.jsonl") != rows


def test_evaluate__unfinished_run__judges_the_finished_stage_alike(auxo, staged, code, tmp_path):
    words = ("evaluate", staged, "--probe", "all", "--code", code, "--device", "cpu", "--stage")
    assert auxo(*words, "prepare", "--out", tmp_path / "finished.jsonl").code == 0
    (staged / "model.safetensors").unlink()
    (staged / "checkpoints" / "fine-final.safetensors").unlink()
    assert auxo(*words, "prepare", "--out", tmp_path / "unfinished.jsonl").code == 0
    assert (tmp_path / "finished.jsonl").read_bytes() == (tmp_path / "unfinished.jsonl").read_bytes()
    answer = auxo(*words, "fine")
    assert answer.code == 2
    assert f"a finished stage fine in {staged}, got no fine-final.safetensors: auxo train --resume" in answer.err


def test_evaluate__weights_of_another_run__are_refused(auxo, staged, code, trained):
    other = trained / "alone" / "checkpoints" / "prepare-final.safetensors"
    shutil.copy(other, staged / "checkpoints" / "prepare-final.safetensors")
    answer = auxo("evaluate", staged, "--stage", "prepare", "--probe", "knn", "--code", code, "--device", "cpu")
    assert answer.code == 2
    assert "a stage of the run that wrote" in answer.err


def test_train__method_without_a_class_head_alone__ends_with_a_report_that_says_so(auxo, trained, code, shapes_folder):
    folder = trained / "alone"
    assert (
        "No head predicts: the features can be judged with auxo evaluate --probe all."
        in (folder / "report.md").read_text()
    )
    answer = auxo("predict", folder, shapes_folder, "--code", code, "--device", "cpu", "--out", folder / "x.csv")
    assert answer.code == 2
    assert "a method with a head that predicts, got Prepare" in answer.err
    assert not (folder / "x.csv").exists()


def test_explain__stage_without_a_class_head__has_the_map_of_points_alone(auxo, staged, code):
    answer = auxo("explain", staged, "--stage", "prepare", "--code", code, "--device", "cpu")
    assert (answer.code, answer.err) == (0, "")
    folder = staged / "explain" / "prepare" / "test"
    assert answer.out.splitlines() == [
        "Grad-CAM: left out, for Prepare on lenet5 (staged, stage prepare) has no class head",
        "t-SNE: 16 images, perplexity 5",
        f"images and rows: {folder}",
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["tsne.jsonl", "tsne.png"]
    settings, *rows = rows_of(folder / "tsne.jsonl")
    assert settings["run"] == "Prepare on lenet5 (staged, stage prepare)"
    assert {row["predicted"] for row in rows} == {None}
    assert auxo("explain", staged, "--stage", "fine", "--code", code, "--device", "cpu").code == 0
    assert (staged / "explain" / "fine" / "test" / "gradcam.png").exists()


def test_evaluate__set_that_grew__says_so(auxo, run_folder):
    records = run_folder / "records.jsonl"
    lines = [json.loads(line) for line in records.read_text().splitlines()]
    for row in lines:
        if row["kind"] == "result" and row["split"] == "test":
            row["n"] -= 2
    records.write_text("".join(json.dumps(row) + "\n" for row in lines))
    answer = auxo("evaluate", run_folder, "--device", "cpu")
    assert answer.code == 0
    notes = [line for line in answer.out.splitlines() if line.startswith("note")]
    assert notes == ["note: test has 16 images and had 14 when the run ended: its results do not compare"]
    assert "note" not in auxo("evaluate", run_folder, "--images", 8, "--device", "cpu").out


def test_main__mistyped_run__is_refused_before_torch_is_imported(tmp_path):
    import subprocess
    import sys

    for command in ("evaluate", "explain"):
        program = f"import sys; from auxo.cli.entry import main\ntry:\n main(['{command}', 'nothing'])\n"
        program += "finally:\n print('torch' in sys.modules)"
        found = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (found.returncode, found.stdout) == (2, "False\n")
        assert found.stderr.startswith("auxo: expected a run directory at nothing, got no config.json there")
