"""``auxo sweep`` as a user types it, rightly and wrongly."""

import csv
import json
import signal
import subprocess
import sys
import time

import psutil
import pytest

LR = "method.optimizer.lr=log:1e-3,0.1"


@pytest.fixture
def words(shapes_folder, tiny_options, tmp_path):
    """A sweep of runs of a second."""
    data = ("--data.train", str(shapes_folder), "--data.val-fraction", "0.25")
    return ["sweep", "supervised", *data, *tiny_options, "--out", str(tmp_path / "out"), "--search", LR]


@pytest.mark.slow
def test_sweep__two_processes__chooses_judges_and_says_where(auxo, words, tmp_path):
    out = tmp_path / "out"
    answer = auxo(*words, "batch-size=choice:16,32", "--trials", 3, "--processes", 2, "--threads", 1)
    assert answer.code == 0, answer.err
    assert answer.err == ""
    rows = list(csv.DictReader((out / "sweep.csv").read_text().splitlines()))
    assert [row["state"] for row in rows] == ["finished"] * 3
    assert rows[0]["method.optimizer.lr"] == "0.01"
    best = min(rows, key=lambda row: (-float(row["val_accuracy"]), float(row["val_nll"]), int(row["trial"])))
    name = f"trial-{int(best['trial']):04d}"
    assert f"chosen: {name}, method.optimizer.lr={best['method.optimizer.lr']}" in answer.out
    assert f"{name} alone, once it was chosen: no test image had a say." in " ".join(answer.out.split())
    assert answer.out.splitlines()[0] == "searching method.optimizer.lr=log:0.001,0.1, batch-size=choice:16,32"
    assert answer.out.splitlines()[-3:] == [
        f"files: {out / 'sweep.md'}", f"       {out / 'sweep.csv'}", f"       {out / 'best.json'}"
    ]  # fmt: skip
    config = json.loads((out / "best.json").read_text())["run"]
    assert config["stages"][0]["batch_size"] == int(best["batch-size"])
    assert config["stages"][0]["method"]["optimizer"]["lr"] == float(best["method.optimizer.lr"])

    # The best config trains by itself, to the same result.
    again = auxo("train", "--config", out / "best.json", "--out", tmp_path / "again")
    assert again.code == 0, again.err
    found = [json.loads(line) for line in (tmp_path / "again" / "records.jsonl").read_text().splitlines()]
    (row,) = [each for each in found if each["kind"] == "result" and each["split"] == "val"]
    assert row["measures"]["nll"]["value"] == pytest.approx(float(best["val_nll"]), rel=1e-5)

    # Nothing is repeated, and another sweep is refused.
    more = auxo(*words, "batch-size=choice:16,32", "--trials", 3)
    assert more.code == 0
    assert "finished trial" not in more.out
    other = auxo(*words, "--trials", 3)
    assert other.code == 2
    assert "another search space" in other.err
    assert len(other.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["lr=log:1,2"], "did you mean method.optimizer.lr?"),
        (["epochs=uniform:1,2"], "use int:LOW,HIGH"),
        (["epochs=int:0,2"], "expected epochs >= 1"),
        (["--search=seed=int:0,2"], "the same for all trials"),
        (["--trials", "0"], "trials >= 1"),
        (["--trials", "-3"], "trials >= 1"),
        (["--trials", "many"], "trials"),
        (["--sampler", "grid"], "choice: or int: for every option of a grid"),
        (["--sampler", "best"], "sampler"),
        (["--objective", "nll"], "--objective"),
        (["--selection.measure", "worst_group/background"], "a measure of accuracy, nll, ece, got 'worst_group/back"),
        (["--selection.head", "jigsaw"], "a head of first, semantic to select by, got 'jigsaw'"),
        (["--trails", "3"], "--trails"),
        (["--processes", "0"], "processes in [1, 1024]"),
        (["--processes", "2", "--ray", "local"], "no --processes with --ray"),
        (["--resume", "runs/x"], "a recipe and its options"),
        (
            ["backbone.name=choice:lenet5,lenet6"],
            "got 'lenet6' in backbone.name=choice:lenet5,lenet6: did you mean lenet5",
        ),
    ],
)
def test_sweep__wrong_words__refused_in_one_line_before_anything_is_written(auxo, words, tmp_path, more, says):
    answer = auxo(*words, *more)
    assert answer.code == 2
    assert says in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_sweep__no_recipe__says_what_to_write(auxo):
    answer = auxo("sweep", "--trials", 3)
    assert answer.code == 2
    assert answer.err == "auxo: expected a recipe as the first word, got none: auxo sweep supervised --trials 20\n"
    assert "--search FIELD=SAMPLER" in auxo("sweep", "--help").out


def test_sweep__without_optuna__names_the_extra(auxo, words, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "optuna", None)
    answer = auxo(*words)
    assert answer.code == 2
    assert "pip install 'auxo[sweep]'" in answer.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_sweep__selection_on_likelihood__decides_among_trials_and_checkpoints(auxo, words, here, monkeypatch, tmp_path):
    monkeypatch.setattr("auxo.cli.executor.LocalProcesses", lambda **_options: here)
    out = tmp_path / "out"
    rule = ("--selection.measure", "nll", "--selection.tie_break=ece", "--selection.keep", "best")
    answer = auxo(*words, "epochs=choice:1,3", "--trials", 3, *rule)
    assert answer.code == 0, answer.err
    rows = list(csv.DictReader((out / "sweep.csv").read_text().splitlines()))
    best = min(rows, key=lambda row: (float(row["val_nll"]), float(row["val_ece"]), int(row["trial"])))
    assert f"chosen: trial-{int(best['trial']):04d}," in answer.out
    assert "by the lowest NLL, then the lowest ECE, then the earliest." in " ".join(answer.out.split())
    assert f"finished trial-0000 val NLL {float(rows[0]['val_nll']):.3f}, ECE" in answer.out
    stage = json.loads((out / "best.json").read_text())["run"]["stages"][0]
    assert stage["selection"] == {"keep": "best", "measure": "nll", "head": "first", "tie_break": "ece"}
    other = auxo(*words, "epochs=choice:1,3", "--trials", 3)
    assert other.code == 2
    assert "another selection and options of the run" in other.err


@pytest.mark.slow
def test_sweep__selection_on_the_worst_group__decides_and_is_judged(
    auxo, shapes_folder, tiny_options, here, monkeypatch, tmp_path
):
    monkeypatch.setattr("auxo.cli.executor.LocalProcesses", lambda **_options: here)
    lines = ["path,label,background"]
    for number, path in enumerate(sorted(shapes_folder.glob("*/*.png"))):
        place = "water" if (path.parent.name in ("arrow", "tee")) == (number % 6 > 0) else "land"
        lines.append(f"{path},{path.parent.name},{place}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    data = ("--data.train", tmp_path / "list.csv", "--data.columns", "background", "--data.val-fraction", "0.4")
    data += ("--data.test-fraction", "0.4")
    group = "worst_group/background"
    words = ("sweep", "supervised", *data, *tiny_options, "--search", LR, "--trials", 3, "--out", tmp_path / "out")
    answer = auxo(*words, "--selection.measure", group)
    assert answer.code == 0, answer.err
    rows = list(csv.DictReader((tmp_path / "out" / "sweep.csv").read_text().splitlines()))
    best = min(rows, key=lambda row: (-float(row[f"val_{group}"]), float(row["val_nll"]), int(row["trial"])))
    assert f"chosen: trial-{int(best['trial']):04d}," in answer.out
    report = (tmp_path / "out" / "sweep.md").read_text()
    assert "by the highest worst group/background, then the lowest NLL, then the earliest." in report
    assert "| test set | images | worst group/background % | accuracy % | NLL nats |" in report


@pytest.mark.slow
def test_sweep__killed__goes_on_and_repeats_nothing(words, tmp_path):
    out = tmp_path / "out"
    words[words.index("--epochs") + 1] = "60"
    own = ["--trials", "3", "--processes", "1", "--threads", "1", "--training.checkpoint-every", "5"]
    program = [sys.executable, "-W", "error", "-m", "auxo", *words, *own]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list((out / "trial-0001" / "checkpoints").glob("train-*.safetensors")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    psutil.wait_procs(children, timeout=60)
    first = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (out / "trial-0000").rglob("*.*")}
    begun = (out / "trial-0001" / "config.json").read_bytes()
    assert not (out / "trial-0001" / "model.safetensors").exists()

    again = subprocess.run(program, capture_output=True, text=True, check=False, timeout=1500)
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    assert [line.split()[1:3] for line in again.stdout.splitlines() if line.startswith("[")] == [
        ["finished", "trial-0001"],
        ["finished", "trial-0002"],
    ]
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in first} == first
    assert (out / "trial-0001" / "config.json").read_bytes() == begun
    log = (out / "trial-0001" / "log.txt").read_text()
    assert log.count("train: step ") == 2
    assert log.count("train: step 0 of") == 1
    assert len(list(csv.DictReader((out / "sweep.csv").read_text().splitlines()))) == 3
