"""What can be said of a run now, and what is left out with the reason."""

import shutil

import pytest

from auxo.cli.train import read_run_config
from auxo.errors import DataError
from auxo.explain import ExplainConfig
from auxo.reporting import Omission, judge, read_run_record
from auxo.runtime import RuntimeConfig, open_runtime


@pytest.fixture
def own_run(auxo, shapes_folder, tiny_options, tmp_path):
    """Train on a copy of the images, and return their folder and the run."""

    def train(method):
        pictures = shutil.copytree(shapes_folder, tmp_path / "pictures")
        out = tmp_path / "run"
        answer = auxo("train", method, "--data.train", pictures, *tiny_options, "--out", out)
        assert answer.code == 0, answer.err
        return pictures, out

    return train


def judged(folder):
    """Judge a run."""
    record = read_run_record(folder, read_run_config(folder), name="run")
    with open_runtime(RuntimeConfig(device="cpu", precision="float32", threads=1)) as runtime:
        return judge(record, ExplainConfig(per_class=1, num_points=20), runtime=runtime, batch_size=32)


def test_judge__pictures_that_are_gone__leaves_out_what_needs_them(own_run, report_of, read_page):
    pictures, out = own_run("supervised")
    shutil.rmtree(pictures)
    found = judged(out)
    assert isinstance(found.sets, Omission)
    assert isinstance(found.looked_at, Omission)
    assert str(pictures) in found.sets.reason
    assert found.num_parameters > 10_000
    page = read_page(report_of(out)[0])
    assert "Losses by step" in page.tables
    assert "Measures by set and head" in page.tables
    assert sum(text.startswith("Left out: expected") for text in page.texts) == 4


def test_judge__pictures_that_changed__is_refused(own_run):
    pictures, out = own_run("supervised")
    for path in sorted(pictures.rglob("*.png"))[::2]:
        path.unlink()
    with pytest.raises(DataError, match="put them back"):
        judged(out)


RECIPE = """
from auxo.runs.experiment import ExperimentConfig, StageConfig
from auxo.methods.pretrain import Pretraining
from auxo.pretexts.simclr import SimCLR


def recipe():
    pretext = SimCLR.Config(hidden=8, outputs=8)
    return ExperimentConfig(stages=(StageConfig(method=Pretraining.Config(pretext=pretext)),))
"""


def test_judge__no_head_that_predicts__shows_features_alone(own_run, report_of, read_page, tmp_path):
    (tmp_path / "prepare.py").write_text(RECIPE)
    _, out = own_run(f"{tmp_path / 'prepare.py'}:recipe")
    found = judged(out)
    assert found.sets == Omission("no head predicts")
    assert isinstance(found.looked_at.attention, Omission)
    assert len(found.looked_at.points.indices) == 16
    page = read_page(report_of(out)[0])
    names = [text for _, text in page.headings]
    assert "Pretexts and the task" not in names
    assert "How images are arranged" in names
    assert any("No run has a head that predicts" in text for text in page.texts)
