from pathlib import Path

import pytest

from auxo.data.config import DataConfig
from auxo.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"num_train": 1}, "data.num-train >= 2"),
        ({"val_fraction": 0.0}, r"data.val-fraction in \(0, 1\)"),
        ({"val_fraction": 1.0}, r"data.val-fraction in \(0, 1\)"),
        ({"test_fraction": -0.1}, r"data.test-fraction in \[0, 1\)"),
        ({"test_fraction": 1.0}, r"data.test-fraction in \[0, 1\)"),
        ({"meta_fraction": 1.0}, r"data.meta-fraction in \[0, 1\)"),
        ({"meta_fraction": float("nan")}, r"data.meta-fraction in \[0, 1\)"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "data.val-fraction \\+ data.test-fraction < 1"),
        ({"image_size": 7}, "data.image-size >= 8"),
        ({"workers": -1}, "data.workers >= 0"),
        ({"test": "a"}, "data.train with data.test, got data.test alone"),
        ({"val": "a"}, "data.train with data.val, got data.val alone"),
    ],
)
def test_data_config__out_of_range__names_option_and_range(options: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        DataConfig(**options)


def test_data_config__limits__are_accepted() -> None:
    config = DataConfig(num_train=2, test_fraction=0.0, meta_fraction=0.0, image_size=8, train="a", test="b", val="c")
    assert config.num_train == 2
    assert DataConfig(ood=("somewhere",)).train is None


def test_data_root__option_before_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUXO_DATA", str(tmp_path))
    assert DataConfig().data_root == tmp_path
    assert DataConfig(root="/elsewhere").data_root == Path("/elsewhere")
    monkeypatch.delenv("AUXO_DATA")
    assert DataConfig().data_root is None
