"""Files of JSON, damaged at random and in every type: a command ends with one line, whatever it reads."""

import random

import pytest

from auxo.errors import AuxoError
from auxo.files.json_text import read_json
from auxo.files.tensor_file import read_tensor_file

from .spoil import check_complaints, complaint_of, spoil_bytes, spoil_value


def test_read_tensor_file__header_damaged_at_random__says_so_in_one_line(finished_run, tmp_path):
    path = finished_run / "model.safetensors"
    whole, draws = path.read_bytes(), random.Random(0)
    length = int.from_bytes(whole[:8], "little")
    header = whole[8 : 8 + length].decode()
    copy, complaints = tmp_path / "copy.safetensors", []
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
