from dataclasses import replace
from pathlib import Path

import pytest

from auxo.data.config import DataConfig
from auxo.data.shortcuts import ShortcutConfig
from auxo.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"num_train": 1}, "num-train >= 2"),
        ({"val_fraction": 0.0}, r"val-fraction in \(0, 1\)"),
        ({"val_fraction": 1.0}, r"val-fraction in \(0, 1\)"),
        ({"test_fraction": -0.1}, r"test-fraction in \[0, 1\)"),
        ({"test_fraction": 1.0}, r"test-fraction in \[0, 1\)"),
        ({"meta_fraction": 1.0}, r"meta-fraction in \[0, 1\)"),
        ({"meta_fraction": float("nan")}, r"meta-fraction in \[0, 1\)"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "val-fraction \\+ test-fraction < 1"),
        ({"image_size": 7}, r"image-size in \[8, 4096\]"),
        ({"train": "a", "image_size": 64, "image_width": 5000}, r"image-width in \[8, 4096\]"),
        ({"image_width": 120}, "data.image_width with data.image_size, got data.image_width 120 alone"),
        (
            {"image_size": 28, "image_width": 32},
            "data.image_width with data.train or data.scenario camvid, got data.scenario digits",
        ),
        ({"crop_aspect": (1.0, 0.5)}, "crop-aspect the smallest ratio and the largest, got 1.0 0.5"),
        ({"crop_aspect": (0.0, 0.5)}, "crop-aspect > 0"),
        ({"workers": -1}, r"workers in \[0, 256\]"),
        ({"test": "a"}, "data.train with data.test, got data.test alone"),
        ({"val": "a"}, "data.train with data.val, got data.val alone"),
        ({"columns": ("a,,b",)}, "names in data.columns, got an empty one"),
        ({"columns": ("",)}, "names in data.columns, got an empty one"),
        ({"columns": ("a,b", "a")}, "each of data.columns once, got a,b,a"),
        (
            {"columns": ("kind",), "label_column": "kind"},
            "further columns in data.columns, got kind: leave the labels out",
        ),
        ({"columns": ("label",), "label_column": "kind"}, "data.columns without 'label', got label"),
        (
            {"shortcut": ShortcutConfig(strength=0.5)},
            "data.shortcut with data.scenario coloured_digits, .*, got data.shortcut with digits",
        ),
        (
            {"shortcut": ShortcutConfig(strength=0.5), "scenario": "coloured_digits", "train": "a"},
            "got data.shortcut with data.train",
        ),
    ],
)
def test_data_config__out_of_range__names_option_and_range(options: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        DataConfig(**options)


def test_data_config__limits__are_accepted() -> None:
    config = DataConfig(num_train=2, test_fraction=0.0, meta_fraction=0.0, image_size=8, train="a", test="b", val="c")
    assert config.num_train == 2
    assert DataConfig(ood=("somewhere",)).train is None


@pytest.mark.parametrize("columns", [("a", "b", "c"), ("a,b,c",), ("a, b", "c")])
def test_data_config__columns__may_be_parted_by_commas(columns: tuple[str, ...]) -> None:
    config = DataConfig(columns=columns)
    assert config.columns == ("a", "b", "c")
    assert replace(config, num_train=2).columns == ("a", "b", "c")
    assert DataConfig().columns == ()


def test_data_root__option_before_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUXO_DATA", str(tmp_path))
    assert DataConfig().data_root == tmp_path
    assert DataConfig(root="/elsewhere").data_root == Path("/elsewhere")
    monkeypatch.delenv("AUXO_DATA")
    assert DataConfig().data_root is None
