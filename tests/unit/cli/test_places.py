import json
from pathlib import Path

import pytest

from auxo.cli.places import finding_places
from auxo.errors import CheckpointError, ConfigError
from auxo.files.moved import find_place, must_match


def test_finding_places__words__are_found_and_remembered(tmp_path: Path) -> None:
    run, new = tmp_path / "run", tmp_path / "a=b"
    run.mkdir()
    new.mkdir()
    with finding_places(["RUN", "--moved", f"/old={new}", f"--moved=/x=y={new}"], [run]):
        assert find_place("/old/1.png") == f"{new}/1.png"
        assert find_place("/x=y") == str(new)
        assert must_match()
    with finding_places(["RUN"], [run]):
        assert find_place("/old") == str(new)
        assert not must_match()
    with finding_places(["RUN", "--moved", f"/old={run}"], [run]):
        assert find_place("/old") == str(run)  # the later word counts
    assert json.loads((run / "moved.json").read_text())["places"] == {"/old": str(run), "/x=y": str(new)}


def test_finding_places__command_that_fails__remembers_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError), finding_places(["--moved", f"/old={tmp_path}"], [tmp_path]):
        raise ConfigError("a", "b", "c")
    assert not (tmp_path / "moved.json").exists()
    with finding_places(["--moved", f"/old={tmp_path}"], [tmp_path], remembers=False):
        pass
    assert not (tmp_path / "moved.json").exists()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("photos", r"--moved OLD=NEW, got 'photos'"),
        ("=photos", r"--moved OLD=NEW, got '=photos'"),
        ("photos=", r"--moved OLD=NEW, got 'photos='"),
        ("/old=/not/there", r"a file or folder after --moved /old=, got nothing at /not/there"),
    ],
)
def test_finding_places__words_that_name_no_place__are_refused(tmp_path: Path, value: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says), finding_places(["--moved", value], [tmp_path]):
        pass


@pytest.mark.parametrize("text", ["[]", '{"places": 3}', '{"format": 1, "places": {"/a": 1}}', "\ud800"])
def test_finding_places__damaged_memory__is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "moved.json").write_bytes(text.encode(errors="surrogatepass"))
    with (
        pytest.raises(CheckpointError, match=r"new places by old ones in .*moved\.json"),
        finding_places([], [tmp_path]),
    ):
        pass
