"""The report of a run: every number is that of the records, or of predictions made anew."""

import pytest
import torch
from torch.nn import functional

from auxo.cli.train import read_run_config
from auxo.data import load_splits
from auxo.runs.model import load_model
from auxo.runtime import RuntimeConfig, open_runtime

SETS = ("val", "test")


@pytest.fixture(scope="module")
def answers(finished_run):
    """Labels and logits of every set, by a loop that shares nothing with the report."""
    config = read_run_config(finished_run)
    with open_runtime(RuntimeConfig(device="cpu", precision="float32", threads=1)) as runtime:
        model = load_model(config, finished_run, runtime=runtime)
    splits = load_splits(config.data, seed=config.seed)
    found = {}
    for split in splits.evaluation():
        pixels = split.source.fetch(torch.arange(len(split.source))).float() / 255
        images = (pixels - model.pipeline.mean.view(1, -1, 1, 1)) / model.pipeline.std.view(1, -1, 1, 1)
        with torch.no_grad():
            found[split.name] = split.source.columns["label"].values, model.method.predict(images)
    return found


def test_results__table__is_that_of_the_records(page, rows):
    table = page.tables["Measures by set and head"]
    results = {(row["split"], row["head"]): row for row in rows if row["kind"] == "result"}
    assert table[0] == ["split", "images", "semantic", "auxiliary", "mean", "rotation", "NLL", "ECE"]
    assert [line[0] for line in table[1:]] == list(SETS)
    for split, count, *cells, nll, error in table[1:]:
        for head, cell in zip(table[0][2:6], cells, strict=True):
            measure = results[split, head]["measures"]["accuracy"]
            assert cell == "{value:.1f} [{low:.1f}, {high:.1f}]".format(
                **{name: 100 * measure[name] for name in ("value", "low", "high")}
            )
        first = results[split, "semantic"]
        assert (int(count), float(nll)) == (first["n"], round(first["measures"]["nll"]["value"], 3))
        assert float(error) == round(100 * first["measures"]["ece"]["value"], 1)


def test_curves__tables_and_charts__are_the_records(two_runs, several_rows, report_of, read_page):
    page = read_page(report_of(two_runs[1])[0])
    losses = [row for row in several_rows[1] if row["kind"] == "losses"]
    header, *lines = page.tables["Losses by step"]
    names = [name for name in losses[0]["losses"] if name.endswith("_loss")]
    assert header == ["step", "stage", "epoch", *names]
    assert len(lines) == len(losses) == 4
    for line, row in zip(lines, losses, strict=True):
        assert [int(line[0]), line[1]] == [row["global_step"], row["stage"]]
        for name, cell in zip(header[3:], line[3:], strict=True):
            assert float(cell) == pytest.approx(row["losses"][name], rel=1e-3)
    figures = [page.data[key] for key in page.data if key.startswith("loss-")]
    for name, figure in zip(header[3:], figures, strict=True):
        (trace,) = figure["data"]
        assert trace["x"] == [row["global_step"] for row in losses]
        assert trace["y"] == pytest.approx([row["losses"][name] for row in losses], rel=1e-4)
    others, *lines = page.tables["Other metrics by step"]
    rates = {f"learning rate, {name}" for name in losses[0]["lr"]}
    assert {*others[3:]} == {*losses[0]["losses"]} - {*names} | rates
    for name in losses[0]["lr"]:
        cells = [float(line[others.index(f"learning rate, {name}")]) for line in lines]
        assert cells == pytest.approx([row["lr"][name] for row in losses], rel=1e-3)


def test_confusion__counts__are_those_of_predictions_made_anew(page, answers):
    for name, (labels, logits) in answers.items():
        counts = [[0] * 4 for _ in range(4)]
        for label, taken in zip(labels.tolist(), logits.argmax(1).tolist(), strict=True):
            counts[label][taken] += 1
        caption = f"Images of each class (rows) by prediction (columns), {name}"
        header, *lines = page.tables[caption]
        assert header == ["class", "arrow", "corner", "tee", "wedge"]
        assert [[int(cell) for cell in line[1:]] for line in lines] == counts
        correct = sum(counts[label][label] for label in range(4))
        text = next(text for text in page.texts if f"{correct} of {len(labels)} images correct" in text)
        count, label, taken = max((counts[i][j], i, j) for i in range(4) for j in range(4) if i != j)
        assert count == 0 or f"({count} time" in text


def test_reliability__points__are_those_of_predictions_made_anew(page, answers):
    _, *lines = page.tables["The points of the diagrams"]
    errors = {line[0]: float(line[1]) for line in page.tables["Expected calibration error, %"][1:]}
    for name, (labels, logits) in answers.items():
        confidence, taken = functional.softmax(logits, 1).max(1)
        own = [line for line in lines if line[0] == name]
        assert sum(int(line[3]) for line in own) == len(labels)
        error = 0.0
        for _, _, span, count, mean, right in own:
            low, high = (round(float(end) * 0.15) / 15 for end in span.split(" to "))
            inside = (confidence >= low) & (confidence < high)
            assert int(count) == int(inside.sum())
            assert float(mean) == pytest.approx(100 * float(confidence[inside].mean()), abs=0.051)
            accuracy = (taken == labels)[inside].double().mean()
            assert float(right) == pytest.approx(100 * float(accuracy), abs=0.051)
            error += int(count) / len(labels) * abs(float(accuracy) - float(confidence[inside].double().mean()))
        assert errors[name] == pytest.approx(100 * error, abs=0.051)


def test_pretexts__points__pair_the_records_of_both_heads(page, rows):
    accuracy = {
        (row["split"], row["head"]): 100 * row["measures"]["accuracy"]["value"]
        for row in rows
        if row["kind"] == "result"
    }
    (trace,) = page.data["pretext-0-figure"]["data"]
    assert trace["x"] == pytest.approx([accuracy[name, "rotation"] for name in SETS], rel=1e-4)
    assert trace["y"] == pytest.approx([accuracy[name, "semantic"] for name in SETS], rel=1e-4)


def test_cost__table__is_that_of_the_end(page, rows, report):
    _, records, judgements = report
    end = next(row for row in rows if row["kind"] == "end")
    _, line = page.tables["What training took"]
    assert line[:4] == ["finished", f"{end['train_seconds']:,.1f}", f"{end['images']:,}", str(end["global_step"])]
    assert float(line[4].replace(",", "")) == round(end["flops"] / 1e9, 1)
    assert int(line[5].replace(",", "")) == judgements[0].num_parameters
    assert records[0].history.compute.images == end["images"]


def test_points__every_picture__is_on_the_map_and_in_the_table(page, report):
    looked_at = report[2][0].looked_at
    header, *lines = page.tables["The 16 images of the map"]
    assert header == ["image", "where it is from", "class", "prediction", "x", "y"]
    numbers = sorted(number for trace in page.data["points-0-figure"]["data"] for number in trace["customdata"])
    assert numbers == list(range(16)) == list(range(len(lines)))
    for place, line in enumerate(lines):
        label = looked_at.source.columns["label"].values[looked_at.points.indices[place]]
        assert line[2] == looked_at.source.vocabulary["label"][label]
        assert page.data["texts"][place].startswith(line[2])


def test_asked__options__are_those_that_differ_from_the_recipe(page, finished_run):
    changed = dict(page.tables["Options that are not at the default of the recipe ossl"][1:])
    assert changed["epochs"] == "1"
    assert changed["batch-size"] == "32"
    assert changed["training.tensorboard"] == "no"
    assert "seed" not in changed
    assert "method.optimizer.lr" not in changed
    facts = dict(page.tables["What the run is"][1:])
    assert facts["folder"] == str(finished_run)
    assert facts["stages"] == "ossl, 1 epoch of batches of 32"


def test_cost__several_runs__what_they_achieve_is_drawn_over_operations(several, read_page, several_rows):
    figure = read_page(several).data["operations-figure"]
    assert len(figure["data"]) == len(several_rows) == 2
    for trace, rows in zip(figure["data"], several_rows, strict=True):
        own = [row for row in rows if row["kind"] == "evaluation" and row["head"] == "semantic"]
        end = rows[-1]
        spent = [end["flops"] * row["global_step"] / end["global_step"] for row in own]
        assert trace["x"] == pytest.approx(spent, rel=1e-3)
        assert trace["y"] == pytest.approx([100 * row["measures"]["accuracy"]["value"] for row in own], rel=1e-3)


def test_several__runs_that_differ_in_their_seed__have_mean_and_deviation(several, read_page, several_rows):
    page = read_page(several)
    header, *lines = page.tables["The primary measure of heads, %"]
    assert header[0] == "set, head"
    assert header[1].endswith("(2 runs)")
    for line in lines:
        split, head = line[0].split(", ")
        values = [
            100 * row["measures"]["accuracy"]["value"]
            for rows in several_rows
            for row in rows
            if row["kind"] == "result" and (row["split"], row["head"]) == (split, head)
        ]
        mean = sum(values) / 2
        deviation = (sum((value - mean) ** 2 for value in values)) ** 0.5
        assert line[1:] == [f"{mean:.1f} ± {deviation:.1f}", "25.0 %"]
    assert ("Where the runs differ") in page.tables
    assert dict(line[:2] for line in page.tables["The same in all runs"])["backbone"] == "lenet5"
