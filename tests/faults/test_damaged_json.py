"""Files of JSON, damaged at random and in every type: a command ends with one line, whatever it reads."""

import json
import random
import shutil

import pytest

from auxo.comparison import read_contents
from auxo.errors import AuxoError
from auxo.files.json_text import read_json
from auxo.files.tensor_file import read_tensor_file
from auxo.reporting import read_run_record
from auxo.runs.document import from_json
from auxo.runs.exhibits import read_exhibits
from auxo.runs.history import RunHistory

from .spoil import check_complaints, complaint_of, spoil_bytes, spoil_value


def read_config(folder):
    """What reads a run's config."""
    from_json((folder / "config.json").read_bytes(), origin="config.json")


def read_history(folder):
    """What reads the records of a run for a report and a comparison."""
    history = RunHistory.read(folder)
    if history.is_finished:
        config = from_json((folder / "config.json").read_text(), origin="x")
        read_run_record(folder, config, name="run")
        assert history.rows
        assert history.epochs
        list(history.first_head())


READERS = {
    "config.json": read_config,
    "records.jsonl": read_history,
    "exhibits/train/index.json": lambda folder: read_exhibits(folder, ["train"]),
    "exhibits/train/01-curve.json": lambda folder: read_exhibits(folder, ["train"]),
    "comparison.json": read_contents,
}


@pytest.fixture(scope="module")
def folder(finished_run, tmp_path_factory):
    """A run that shows a curve, in the folder of a comparison."""
    folder = tmp_path_factory.mktemp("json") / "run"
    shutil.copytree(finished_run, folder)
    place = folder / "exhibits" / "train"
    place.mkdir(parents=True)
    entry = {"title": "A curve", "file": "01-curve.json", "kind": "curve"}
    (place / "index.json").write_text(json.dumps([entry]))
    (place / "01-curve.json").write_text(json.dumps({"x": "step", "y": "loss", "lines": {"a": [[1, 2.5], [2, 2.0]]}}))
    run = json.loads((folder / "config.json").read_text())["run"]
    shared = {name: run[name] for name in ("task", "backbone", "data", "training", "runtime")}
    described = {
        "format": 2,
        "auxo": "0",
        "title": "own",
        "budget": "equal",
        "flops": 1.0,
        "chosen": "",
        "epochs": None,
    }
    method = {"recipe": "ossl", "num_parameters": 3, "seeds": [0]}
    text = json.dumps({**described, "shared": shared, "methods": {"ossl": method}})
    (folder / "comparison.json").write_text(text)
    return folder


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("spoil", [spoil_value, spoil_bytes])
def test_reader__damaged_at_random__says_so_in_one_line_or_reads_it(folder, name, spoil):
    path, draws = folder / name, random.Random(f"{name} {spoil.__name__}")
    whole, complaints = path.read_text(), []
    try:
        READERS[name](folder)
        for _ in range(60):
            line, rest = whole, ""
            if name.endswith("jsonl"):
                lines = whole.splitlines(keepends=True)
                number = draws.randrange(len(lines))
                line, rest = lines[number], "".join(lines[:number] + lines[number + 1 :])
            spoiled = spoil(line.rstrip("\n"), draws)
            content = spoiled if isinstance(spoiled, bytes) else spoiled.encode()
            path.write_bytes(rest.encode() + content + b"\n")
            complaints.append(complaint_of(READERS[name], folder))
    finally:
        path.write_text(whole)
    check_complaints(complaints, least=15)


def test_read_tensor_file__header_damaged_at_random__says_so_in_one_line(folder):
    path = folder / "model.safetensors"
    whole, draws = path.read_bytes(), random.Random(0)
    length = int.from_bytes(whole[:8], "little")
    header = whole[8 : 8 + length].decode()
    copy, complaints = folder / "copy.safetensors", []
    for number in range(150):
        spoiled = spoil_value(header, draws) if number % 2 else spoil_bytes(header, draws)
        content = spoiled if isinstance(spoiled, bytes) else spoiled.encode()
        copy.write_bytes(len(content).to_bytes(8, "little") + content + whole[8 + length :])
        complaints.append(complaint_of(read_tensor_file, copy))
    check_complaints(complaints, least=100)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 200_000, "JSON that is nested too deeply"),
        ("[" * 150 + "]" * 150, "JSON that is nested too deeply"),
        ("1" * 5000, "a number that is too long"),
        ('{"a": ' + "1" * 25 + "}", "a: a number of many digits, no number of 64 bits"),
        ('{"a": 1.0}', r"a: 1\.0, no int"),
        ('{"a": true}', r"a: True, no int"),
        ('{"b": []}', r"a: no 'a'"),
        ('{"a": 1, "b": {"x": [1, "2"]}}', r"b\.x\.1: '2', no float"),
        ('{"a": 1, "b": {"x": "12"}}', r"b\.x: '12', no list"),
        ("[]", "no object but list"),
        (b"\xff", "bytes that are not UTF-8"),
        ("{", "something else"),
    ],
)
def test_read_json__anything_else__is_told(text, says):
    from typing import NotRequired, TypedDict

    class Kind(TypedDict):
        a: int
        b: NotRequired[dict[str, list[float]]]

    with pytest.raises(AuxoError, match=rf"expected this, got {says}: do that"):
        read_json(text, Kind, expected="this", fix="do that")
    assert read_json('{"a": 1, "b": {"x": [1, 2.5]}, "c": 3}', Kind, expected="", fix="")["a"] == 1
