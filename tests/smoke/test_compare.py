"""``auxo compare`` as a user types it, rightly and wrongly; every number recomputed from the records."""

import csv
import io
import json
import re
import shutil
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from auxo.cli import main

TINY = (
    *("--epochs", "1", "--training.no-tensorboard", "--runtime.threads", "1", "--runtime.device", "cpu"),
    *("--data.test-fraction", "0.3"),
)
METHODS = "supervised,rotation,ossl"


def words_for(folder, elsewhere, *options, methods, seeds, out):
    """The words of a comparison on images."""
    data = ("--data.train", str(folder), "--data.ood", *elsewhere)
    return ["compare", *data, "--methods", methods, "--seeds", seeds, "--out", str(out), *TINY, *options]


@pytest.fixture
def compare(auxo, place, monkeypatch, elsewhere, here):
    """Compare on images, in this process."""
    monkeypatch.setattr("auxo.cli.executor.LocalProcesses", lambda **_options: here)

    def run(*options, methods, seeds):
        return auxo(*words_for(place.shapes, elsewhere, *options, methods=methods, seeds=seeds, out="grid"))

    return run


@pytest.fixture(scope="session")
def finished_grid(shapes_folder, elsewhere, tmp_path_factory, here):
    """A comparison of three methods over three seeds, and what the terminal said."""
    out, said = tmp_path_factory.mktemp("comparison") / "grid", io.StringIO()
    words = words_for(shapes_folder, elsewhere, methods=METHODS, seeds="3", out=out)
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.setattr("auxo.cli.executor.LocalProcesses", lambda **_options: here)
        with pytest.raises(SystemExit) as stop:
            main(words)
    assert stop.value.code == 0
    return out, said.getvalue()


@pytest.fixture
def grid(finished_grid, place):
    """A copy of it in the current folder."""
    return Path(shutil.copytree(finished_grid[0], place.root / "grid"))


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory, write_picture):
    """Two sets of other images of the same classes."""
    from auxo.data.fake import oriented_shapes

    roots = []
    for seed in (7, 8):
        root = tmp_path_factory.mktemp("elsewhere") / f"set{seed}"
        source = oriented_shapes(40, size=28, seed=seed)
        for number, (image, label) in enumerate(zip(source.images, source.columns["label"].values, strict=True)):
            write_picture(root / source.vocabulary["label"][int(label)] / f"{number:03d}.png", image)
        roots.append(str(root))
    return roots


def records(folder):
    """The rows of a run, by hand."""
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def values_by_hand(folder, name="accuracy"):
    """A measure of the head that predicts on every test set, fractions in percent."""
    found = {}
    for row in records(folder):
        if row["kind"] == "result" and row["head"] == "semantic" and row["split"] != "val":
            classes = [value for _, value in row["parts"]["class"].values()]
            made = {"macro": np.mean(classes), "worst_class": min(classes)}
            measure = {"value": made[name], "unit": "%"} if name in made else row["measures"][name]
            found[row["split"]] = 100 * measure["value"] if measure["unit"] == "%" else measure["value"]
    return found


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_compare__three_methods_and_seeds__every_number_follows_from_the_records(finished_grid):
    out, _ = finished_grid
    by_hand = {
        (method, seed): values_by_hand(out / f"{method}-seed{seed}")
        for method in METHODS.split(",")
        for seed in range(3)
    }
    sets = list(by_hand["supervised", 0])
    assert sets == ["test", "ood/set7", "ood/set8"]

    long = rows_of(out / "comparison.csv")
    assert len(long) == 3 * 3 * 3 * len({row["measure"] for row in long})
    for row in long:
        if row["measure"] == "accuracy":
            assert float(row["value"]) == by_hand[row["method"], int(row["seed"])][row["set"]]
            assert (row["unit"], row["higher_is_better"]) == ("%", "True")
        else:
            values = values_by_hand(out / f"{row['method']}-seed{row['seed']}", row["measure"])
            assert float(row["value"]) == pytest.approx(values[row["set"]], rel=1e-12)
        end = records(out / f"{row['method']}-seed{row['seed']}")[-1]
        assert end["kind"] == "end"
        assert float(row["flops"]) == end["flops"]
        assert float(row["train_seconds"]) == end["train_seconds"]
        assert int(row["train_images"]) == end["images"]

    means = {
        key: {**values, "mean elsewhere": np.mean([values[s] for s in sets[1:]])} for key, values in by_hand.items()
    }
    table = {(row["method"], row["set"]): row for row in rows_of(out / "comparison-statistics.csv")}
    assert len(table) == 3 * 4
    p_values = {}
    for (method, name), row in table.items():
        values = np.array([means[method, seed][name] for seed in range(3)])
        assert float(row["mean"]) == pytest.approx(values.mean())
        assert float(row["std"]) == pytest.approx(values.std(ddof=1), abs=1e-9)
        deltas = values - np.array([means["supervised", seed][name] for seed in range(3)])
        if method == "supervised":
            assert row["difference"] == ""
            continue
        assert float(row["difference"]) == pytest.approx(deltas.mean(), abs=1e-9)
        # Of 160 images every seed draws 96 to train and 48 to test: Nadeau and Bengio's variance.
        error = deltas.std(ddof=1) * np.sqrt(1 / 3 + (48 / 96 if name == "test" else 0))
        half = stats.t.ppf(0.975, 2) * error
        assert float(row["t_low"]) == pytest.approx(deltas.mean() - half, abs=1e-6)
        assert float(row["t_high"]) == pytest.approx(deltas.mean() + half, abs=1e-6)
        assert deltas.min() - 1e-9 <= float(row["bootstrap_low"]) <= float(row["bootstrap_high"]) <= deltas.max() + 1e-9
        p = 2 * stats.t.sf(abs(deltas.mean()) / error, 2) if np.ptp(deltas) > 1e-9 else None
        assert (row["p"] == "") == (p is None)
        if p is not None:
            assert float(row["p"]) == pytest.approx(p, abs=1e-9)
        family = "primary" if name == "mean elsewhere" else "exploratory"
        assert (row["baseline"], row["family"], row["margin"], row["looks"]) == ("supervised", family, "1.0", "1")
        p_values.setdefault(family, {})[method, name] = 1.0 if p is None else p
    assert {family: len(own) for family, own in p_values.items()} == {"primary": 2, "exploratory": 6}
    for own in p_values.values():
        ordered = sorted(own, key=lambda key: own[key])
        for rank, key in enumerate(ordered):
            tested = enumerate(ordered[: rank + 1])
            expected = max(min(1.0, (len(own) - place) * own[other]) for place, other in tested)
            said = table[key]["p_holm"]
            assert (said == "") == (table[key]["p"] == "")
            assert said == "" or float(said) == pytest.approx(expected, abs=1e-9)
            seen = said != "" and expected <= 0.05
            assert ("better" in table[key]["verdict"] or "worse" in table[key]["verdict"]) == seen


def test_compare__equal_compute__runs_cost_what_was_planned_and_the_tables_say_it(finished_grid):
    out, said = finished_grid
    contents = json.loads((out / "comparison.json").read_text())
    flops = {method: records(out / f"{method}-seed0")[-1]["flops"] for method in METHODS.split(",")}
    assert contents["flops"] == flops["ossl"] == max(flops.values())
    told = dict(re.findall(r"(\w+) (\d+)", re.search(r"^epochs: (.+)$", said, re.MULTILINE)[1]))
    for method, epochs in told.items():
        config = json.loads((out / f"{method}-seed0" / "config.json").read_text())["run"]
        assert config["stages"][0]["epochs"] == int(epochs)
        # One epoch more or less would be further from the budget.
        per_epoch = flops[method] / int(epochs)
        assert abs(flops[method] - flops["ossl"]) <= per_epoch / 2
    assert int(told["supervised"]) > int(told["ossl"]) == 1
    report = (out / "comparison.md").read_text()
    assert f"| supervised-seed0 | {told['supervised']} | {flops['supervised']:.4g} |" in report
    assert f"{flops['supervised'] / flops['ossl']:.3f}" in report


def test_compare__again_with_another_seed_and_baseline__adds_to_what_is_there(compare, grid):
    before = {path: path.read_bytes() for path in grid.glob("*-seed?/*") if path.is_file()}
    answer = compare("--baseline", "rotation", methods="ossl", seeds="2,3")
    assert answer.code == 0, answer.err
    assert re.findall(r"\[\d/2\] (\w+) ([\w-]+)", answer.out) == [("reused", "ossl-seed2"), ("finished", "ossl-seed3")]
    assert {path: path.read_bytes() for path in before} == before
    seen = {(row["method"], int(row["seed"])) for row in rows_of(grid / "comparison.csv")}
    assert seen == {(method, seed) for method in METHODS.split(",") for seed in range(3)} | {("ossl", 3)}
    assert "ossl and rotation are compared on seeds 0, 1, 2, which both have" in answer.out
    pairs = {(row["method"], row["baseline"]): row["family"] for row in rows_of(grid / "comparison-statistics.csv")}
    # What was declared first stays; what is asked of runs that were seen is exploratory.
    assert {pair for pair in pairs if pair[1]} == {
        ("rotation", "supervised"), ("ossl", "supervised"), ("supervised", "rotation"), ("ossl", "rotation")
    }  # fmt: skip
    assert pairs["ossl", "rotation"] == "exploratory"
    stored = json.loads((grid / "comparison.json").read_text())
    assert [look["ossl"] for look in stored["looks"]] == [[0, 1, 2], [0, 1, 2, 3]]


def test_compare__another_measure_of_finished_runs__its_table_beside_the_primary_ones(compare, grid):
    answer = compare("--measure", "primary,nll", methods=METHODS, seeds="3")
    assert answer.code == 0, answer.err
    assert "[1/9] reused supervised-seed0 accuracy " in answer.out
    said = " ".join(answer.out.split())
    assert "NLL in nats of the head semantic (lower is better)" in said
    assert "Checkpoint: last epoch; nothing was selected." in said
    assert "for the 2 differences of this kind" in said
    assert "for the 14 differences of this kind" in said
    assert {row["measure"] for row in rows_of(grid / "comparison-statistics.csv")} == {"accuracy", "nll"}
    row = next(row for row in rows_of(grid / "comparison-statistics.csv") if row["measure"] == "nll")
    found = [values_by_hand(grid / f"supervised-seed{seed}", "nll")["test"] for seed in range(3)]
    assert (row["method"], row["set"], float(row["mean"])) == ("supervised", "test", pytest.approx(np.mean(found)))
    report = (grid / "comparison.md").read_text()
    assert f"| supervised | {np.mean(found):.3f} ± {np.std(found, ddof=1):.3f} |" in report


def test_compare__a_run_that_is_not_finished__is_left_out_and_listed(compare, grid):
    (grid / "rotation-seed1" / "model.safetensors").unlink()
    answer = compare(methods="supervised", seeds="1")
    assert answer.code == 0, answer.err
    assert "note: not finished, and left out: rotation-seed1" in answer.out
    pairs = {row["method"]: row["pairs"] for row in rows_of(grid / "comparison-statistics.csv")}
    assert pairs == {"supervised": "", "rotation": "2", "ossl": "3"}


def test_compare__recipe_lengths_and_one_seed__said_in_the_table(compare, place):
    answer = compare("--budget", "recipe", methods="supervised", seeds="1")
    assert answer.code == 0, answer.err
    assert "compute is not equal" in answer.out
    assert "fewer than two seeds of supervised" in answer.out
    assert {row["epochs"] for row in rows_of(place.root / "grid" / "comparison.csv")} == {"1"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--budget", "recipe"), "the budget of the runs in grid"),
        (("--flops", "1e9"), "the budget of the runs in grid"),
        (("--epochs", "2"), "--epochs 1, as for the runs in grid, got --epochs 2"),
        (("--data.test-fraction", "0.2"), "data.test-fraction 0.3 in grid, 0.2 in rotation"),
        (("--data.num-train", "60"), "data.num-train None in grid, 60 in rotation"),
        (("--backbone.name", "resnet8"), "backbone.name lenet5 in grid"),
        (("--measure", "worst_group/background"), "a measure of accuracy, nll, ece, macro, worst_class, got 'worst_g"),
        (("--endpoint", "test"), "the endpoint that was declared before the first table, the default, got test"),
        (("--margin", "3"), "the margin that was declared before the first table, 1, got 3"),
    ],
)
def test_compare__other_settings_than_the_folders__refused(assert_refused, place, elsewhere, grid, options, says):
    words = words_for(place.shapes, elsewhere, *options, methods="rotation", seeds="4", out=grid.name)
    assert_refused(*words, says=says)


def test_compare__grid_of_an_older_version__refused_and_that_version_named(assert_refused, place, elsewhere, grid):
    path = grid / "comparison.json"
    path.write_text(path.read_text().replace('"format": 3', '"format": 1').replace('"auxo": "', '"auxo": "0.0.'))
    words = words_for(place.shapes, elsewhere, methods="rotation", seeds="4", out=grid.name)
    assert_refused(
        *words, says=r"a comparison of format 3 .* got format 1: auxo 0\.0\.\S+ wrote it; use that version or"
    )


def test_compare__a_run_of_another_config__refused_before_anything_is_written(assert_refused, place, elsewhere, grid):
    path = grid / "rotation-seed1" / "config.json"
    path.write_text(path.read_text().replace('"batch_size": 64', '"batch_size": 32'))
    words = words_for(place.shapes, elsewhere, methods="rotation", seeds="3", out=grid.name)
    assert_refused(*words, says=r"one of another config \(batch-size 32, not 64\)")


def test_compare__latex__is_escaped_and_balanced(finished_grid):
    text = (finished_grid[0] / "comparison.tex").read_text()
    body = [line for line in text.splitlines() if not line.startswith("%")]
    assert sum(line.count("{") for line in body) == sum(line.count("}") for line in body)
    assert not re.search(r"(?<!\\)[%_#]", "\n".join(body))
    assert "±" not in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 5


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("digits",), "methods"),
        (("digitz", "--methods", "supervised"), "did you mean digits"),
        (("digits", "--methods", "supervized"), "did you mean supervised"),
        (("digits", "--methods", "nowhere.py"), "no file nowhere.py"),
        (("digits", "--methods", ","), "methods, with commas"),
        (("digits", "--methods", "ossl,ossl"), "ossl twice"),
        (("--methods", "ossl"), "a scenario or --data.train"),
        (("digits", "--methods", "ossl", "--data.train", "pictures"), "both, digits and --data.train"),
        (("digits", "--methods", "ossl", "--data.scenario", "digits"), "scenario as the first word"),
        (("digits", "--methods", "ossl", "--seeds", "0"), "seeds such as"),
        (("digits", "--methods", "ossl", "--seeds", "many"), "seeds such as"),
        (("digits", "--methods", "ossl", "--seeds", "1,1"), "seeds that differ"),
        (("digits", "--methods", "ossl", "--seeds", "9-5"), "seeds such as"),
        (("digits", "--methods", "ossl", "--baseline", "osl"), "a baseline among ossl"),
        (("digits", "--methods", "ossl", "--contrasts", "ossl"), "contrasts such as ossl:rotation"),
        (("digits", "--methods", "ossl", "--contrasts", "ossl:osl"), "contrasts among ossl, got 'osl'"),
        (("digits", "--methods", "ossl", "--controls", "ossl=osl"), "controls among ossl, got 'osl'"),
        (("digits", "--methods", "ossl", "--controls", "ossl"), "controls such as"),
        (("digits", "--methods", "ossl", "--margin", "0"), "a margin such as 1"),
        (("digits", "--methods", "ossl", "--looks", "0"), "looks >= 1"),
        (("digits", "--methods", "ossl", "--measure", ","), "measures, with commas between"),
        (("digits", "--methods", "ossl", "--processes", "0"), r"processes in \[1, 1024\]"),
        (("digits", "--methods", "ossl", "--threads", "0"), r"threads in \[1, 1024\]"),
        (("digits", "--methods", "ossl", "--epochs", "0"), "epochs >= 1"),
        (("digits", "--methods", "ossl", "--flops", "-1"), "flops > 0"),
        (("digits", "--methods", "ossl", "--flops", "1e9", "--budget", "recipe"), "--flops or --budget recipe"),
        (("digits", "--methods", "ossl", "--gpus-per-run", "1"), "--gpus-per-run with --ray"),
        (("digits", "--methods", "ossl", "--ray", "auto", "--processes", "2"), "no --processes with --ray"),
        (("digits", "--methods", "ossl", "--ray", ""), "address of a Ray cluster"),
        (("digits", "--methods", "ossl", "--nonsense", "1"), "options of auxo compare digits"),
        (("digits", "--methods", "ossl", "--data.num-trains", "9"), "did you mean --data.num-train"),
        (("digits", "--methods", "ossl", "--data.num-train", "many"), "options of auxo compare"),
        (("digits", "--methods", "supervised,fixmatch"), "one setting for all methods, got data.num-labelled"),
        (("digits", "--methods", "ossl", "--runtime.compile"), "--budget recipe"),
        (("--data.train", "pictures", "--data.test-fraction", "0", "--methods", "ossl"), "a set to judge on"),
        (("digits", "--methods", "ossl", "--out", "run"), "a new folder, or one of an earlier comparison"),
    ],
)
def test_compare__bad_input__one_line_and_nothing_written(assert_refused, place, words, says):
    assert (place.run.name, place.pictures.name) == ("run", "pictures")
    assert_refused("compare", *words, says=says)
