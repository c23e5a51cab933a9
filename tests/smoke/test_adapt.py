"""``auxo adapt`` as a user types it, rightly and wrongly, and other commands on what it writes."""

import csv
import json
import shutil

import pytest
from safetensors.torch import load_file

from auxo import adapt
from auxo.adaptation.tent import TentAdaptation
from auxo.cli import main
from auxo.data.fake import oriented_shapes
from auxo.errors import ConfigError
from auxo.runs.history import RunHistory

from .conftest import contents, copied

ON_CPU = ("--device", "cpu")


@pytest.fixture(scope="module")
def normed_run(shapes_folder, tiny_options, tmp_path_factory):
    """The directory of a finished run whose network has batch norm; copy it before you change it."""
    out = tmp_path_factory.mktemp("normed") / "run"
    words = ["train", "supervised", "--data.train", shapes_folder, "--backbone.name", "resnet8", *tiny_options]
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in (*words, "--data.test-fraction", "0.2", "--out", out)])
    assert stop.value.code == 0
    return out


@pytest.fixture(scope="module")
def new_images(tmp_path_factory, write_picture):
    """A folder of images without labels, of another size."""
    folder = tmp_path_factory.mktemp("new")
    for number, image in enumerate(oriented_shapes(24, size=40, seed=3).images):
        write_picture(folder / f"{number}.png", image // 2)
    return folder


@pytest.fixture
def normed(place, normed_run):
    """A copy of the run in the working folder."""
    return copied(normed_run, place.root / "normed")


def test_adapt__folder_without_labels__new_run_and_the_source_as_it_was(auxo, place, normed, new_images):
    before = contents(normed)
    answer = auxo("adapt", normed, new_images, *ON_CPU)
    assert answer.code == 0, answer.err
    out = place.root / "normed-adapted"
    assert answer.out.splitlines()[-1] == f"run directory: {out}"
    assert "note: 24 images are few to adapt to" in answer.out
    assert any(line == "kept" or line.startswith("not kept: ") for line in answer.out.splitlines())
    assert contents(normed) == before
    record = json.loads((out / "adaptation.json").read_text())
    assert (record["source"], record["method"], record["num_images"]) == (str(normed), "batch_norm", 24)
    assert record["options"] == {"mixing": 0.5, "images": 500, "check": True}
    assert {row.split for row in RunHistory.read_finished(out).rows} == {"val", "test"}
    assert sorted(path.name for path in out.iterdir()) == [
        "adaptation.json", "config.json", "model.safetensors", "records.jsonl", "report.md",
    ]  # fmt: skip
    again = auxo("adapt", normed, new_images, *ON_CPU)
    assert again.out.splitlines()[-1] == f"run directory: {out}-2"
    assert (out / "model.safetensors").read_bytes() == (place.root / "normed-adapted-2/model.safetensors").read_bytes()


def test_adapt__every_kind_of_input_and_no_check__moves_statistics_alone(auxo, place, normed, new_images):
    import datasets

    files = sorted(new_images.iterdir())
    with (place.root / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path"], *[[str(path)] for path in files]])
    table = datasets.Dataset.from_dict({"image": [str(path) for path in files]})
    table.cast_column("image", datasets.Image()).to_parquet(place.root / "new.parquet")
    states = []
    for number, path in enumerate((new_images, "list.csv", "new.parquet")):
        answer = auxo("adapt", normed, path, *ON_CPU, "--no-check", "--out", f"out{number}")
        assert answer.code == 0, answer.err
        assert "\nkept\n" in answer.out
        states.append(load_file(place.root / f"out{number}" / "model.safetensors"))
    source = load_file(normed / "model.safetensors")
    moved = {name for name, tensor in states[0].items() if not tensor.equal(source[name])}
    assert moved == {name for name in source if "running_" in name}
    for state in states[1:]:
        assert all(tensor.sub(states[0][name]).abs().max() < 1e-6 for name, tensor in state.items() if name in moved)


def test_adapt__no_method__is_the_source_to_the_bit(auxo, place, normed, new_images):
    assert auxo("adapt", normed, new_images, *ON_CPU, "--method", "none", "--out", "out").code == 0
    source, out = (load_file(folder / "model.safetensors") for folder in (normed, place.root / "out"))
    assert all(tensor.equal(source[name]) for name, tensor in out.items())
    one, other = (RunHistory.read_finished(folder) for folder in (normed, place.root / "out"))
    assert [row.to_record() for row in one.rows] == [row.to_record() for row in other.rows]


def test_adapt__from_python_with_a_source__writes_what_the_command_writes(auxo, place, normed, new_images):
    source = oriented_shapes(24, size=28, seed=3)
    made = adapt(normed, source, method=TentAdaptation(epochs=2), out=place.root / "made", device="cpu")
    assert made.record.is_kept
    assert made.record.method == "tent"
    assert made.record.facts["steps"] == 2
    assert made.table is not None
    assert auxo("predict", made.folder, new_images, *ON_CPU).code == 0
    assert adapt(normed, str(new_images), device="cpu").folder == place.root / "normed-adapted"
    with pytest.raises(ConfigError, match="a run directory"):
        adapt(place.root / "nowhere", source)


@pytest.mark.parametrize("method", ["tent", "shot"])
def test_adapt__methods_by_steps__write_a_run(auxo, place, normed, new_images, method):
    answer = auxo("adapt", normed, new_images, *ON_CPU, "--method", method, "--epochs", "1", "--out", "out")
    assert answer.code == 0, answer.err
    assert "steps 1" in answer.out


@pytest.fixture(scope="module")
def adapted_run(normed_run, new_images, tmp_path_factory):
    """What the command wrote; copy it before you change it."""
    out = tmp_path_factory.mktemp("adapted") / "run"
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in ("adapt", normed_run, new_images, *ON_CPU, "--no-check", "--out", out)])
    assert stop.value.code == 0
    return out


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "RUN", "NEW"),
        ("evaluate", "RUN"),
        ("estimate", "RUN", "NEW", "--sets", "40", "--images", "20", "--resamples", "100"),
        ("adapt", "RUN", "NEW"),
        pytest.param(("export", "RUN", "--format", "safetensors"), marks=pytest.mark.slow),
        pytest.param(("explain", "RUN"), marks=pytest.mark.slow),
        pytest.param(("report", "RUN"), marks=pytest.mark.slow),
    ],
    ids=lambda words: words[0],
)
def test_adapt__what_it_wrote__is_taken_like_any_run(auxo, place, adapted_run, new_images, words):
    run = copied(adapted_run, place.root / "adapted")
    named = {"RUN": run, "NEW": new_images}
    answer = auxo(*(named.get(word, word) for word in words))
    assert answer.code == 0, answer.err


def test_adapt__report_of_what_it_wrote__says_where_it_comes_from(adapted_run, normed_run, new_images):
    (sentence,) = RunHistory.read(adapted_run).describe_course()
    assert sentence == f"The network of {normed_run} was adapted by batch_norm to 24 images of {new_images}."
    assert sentence in (adapted_run / "report.md").read_text()


@pytest.mark.parametrize("words", [("train", "--resume", "adapted"), ("verify", "adapted")], ids=["resume", "verify"])
def test_adapt__training_what_it_wrote__is_refused(assert_refused, place, adapted_run, words):
    copied(adapted_run, place.root / "adapted")
    assert_refused(*words, says="a run as it was trained.* adapted, which was adapted from")


def test_adapt__killed_before__leaves_nothing_half_written(auxo, place, normed, new_images):
    left = place.root / ".out.0a1b2c3d.part"  # as a killed process leaves it
    (left / "networks").mkdir(parents=True)
    (left / "config.json").write_text("{")
    assert auxo("adapt", normed, new_images, *ON_CPU, "--out", "out").code == 0
    assert not left.exists()
    assert RunHistory.read_finished(place.root / "out").rows


def test_adapt__disk_full__leaves_no_folder(auxo, place, normed, new_images, full_disk):
    with full_disk(4000):
        answer = auxo("adapt", normed, new_images, *ON_CPU, "--out", "out")
    assert answer.code == 2
    assert answer.err.startswith("auxo: expected ")
    assert sorted(path.name for path in place.root.iterdir()) == ["normed"]


def test_adapt__own_images_of_the_run_gone__says_so_and_adapts(auxo, place, normed, new_images):
    document = json.loads((normed / "config.json").read_text())
    document["run"]["data"]["train"] = str(place.root / "gone")
    (normed / "config.json").write_text(json.dumps(document))
    answer = auxo("adapt", normed, new_images, *ON_CPU, "--out", "out")
    assert answer.code == 0, answer.err
    assert "note: the run's own sets are not measured again: expected" in answer.out
    assert auxo("predict", "out", new_images, *ON_CPU).code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("RUN",), "PATH"),
        (("nowhere", "NEW"), "a run directory at nowhere"),
        (("RUN", "nowhere"), "nowhere"),
        (("RUN", "NEW", "--method", "batchnorm"), "adaptation.*did you mean batch_norm"),
        (("RUN", "NEW", "--mixing", "1.5"), r"mixing in \[0, 1\]"),
        (("RUN", "NEW", "--images", "1"), "images >= 2"),
        (("RUN", "NEW", "--method", "none", "--mixing", "0.2"), "--mixing with --method batch_norm"),
        (("RUN", "NEW", "--out", "normed"), "a new or empty folder"),
        (("RUN", "NEW", "--out", "normed/config.json/x"), "to write|a folder"),
        (("RUN", "NEW", "--method", "rotation"), "a head that tells quarter turns .*, got none in Supervised"),
        (("plain", "NEW"), "network with batch norm, whose statistics are adapted, got none in LeNet5"),
    ],
)
def test_adapt__bad_input__one_line(assert_refused, place, normed, new_images, finished_run, words, says):
    copied(finished_run, place.root / "plain")
    named = {"RUN": normed, "NEW": new_images}
    assert_refused("adapt", *(named.get(word, word) for word in words), says=says)


def test_adapt__images_that_are_damaged__names_one_and_writes_nothing(assert_refused, place, normed, new_images):
    images = shutil.copytree(new_images, place.root / "images")
    (images / "7.png").write_bytes(b"no image")
    assert_refused("adapt", normed, images, says="7.png")
