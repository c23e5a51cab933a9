"""Trees of tensors come back as they were, or not at all."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from auxo.errors import CheckpointError
from auxo.files.tensor_file import read_tensor_file, write_tensor_file

TREE = {
    "weights": {"layer.weight": torch.arange(6.0).reshape(2, 3), "layer.steps": torch.tensor(3)},
    "optimizers": {"main": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1}, {}]}},
    "none": None,
}
HEADER = {"step": 3, "run": "digest"}

leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
names = st.text("abcxyz_", min_size=1)
keys = names | st.integers(0, 9)
trees = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3))


def same(first, second):
    """Whether two trees have the same structure, types and bits."""
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return list(first) == list(second) and all(same(item, second[key]) for key, item in first.items())
    if isinstance(first, list):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and first == second


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file.safetensors"


def test_tensor_file__nested_tree__comes_back(path):
    write_tensor_file(path, TREE, HEADER)
    tree, header = read_tensor_file(path)
    assert same(tree, TREE)
    assert header == HEADER


@settings(max_examples=50, deadline=None)
@given(tree=st.dictionaries(names, trees, max_size=4))
def test_tensor_file__any_plain_values__come_back(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("tree") / "file"
    write_tensor_file(path, tree, {})
    assert same(read_tensor_file(path).tree, tree)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(2.5, dtype=torch.float64),
        torch.empty(0, 3),
        torch.tensor([True, False]),
        torch.tensor([1.5], dtype=torch.bfloat16),
        torch.tensor([-1], dtype=torch.int64),
        torch.arange(24.0).reshape(2, 3, 2, 2).contiguous(memory_format=torch.channels_last),
        torch.arange(6.0).reshape(2, 3).T,
        torch.tensor([float("nan"), float("inf")]).isnan(),
        torch.ones(3, requires_grad=True),
    ],
)
def test_tensor_file__any_tensor__comes_back_contiguous_and_detached(path, tensor):
    write_tensor_file(path, {"t": tensor}, {})
    back = read_tensor_file(path).tree["t"]
    assert same(back, tensor.detach())
    assert back.is_contiguous()
    assert not back.requires_grad


def test_tensor_file__tensors_that_share_memory__come_back(path):
    tied = torch.arange(4.0)
    write_tensor_file(path, {"a": tied, "b": tied, "c": tied[:2]}, {})
    assert same(read_tensor_file(path).tree, {"a": tied, "b": tied, "c": tied[:2]})


def test_tensor_file__written_twice__has_the_same_bytes(path, tmp_path):
    for name in ("one", "two"):
        write_tensor_file(tmp_path / name, TREE, HEADER)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def content_or_refusal(path):
    """Return what a file holds, or nothing if it is refused."""
    try:
        return read_tensor_file(path)
    except CheckpointError:
        return None


def test_read_tensor_file__any_byte_changed__is_refused_or_means_the_same(path):
    write_tensor_file(path, TREE, HEADER)
    content = path.read_bytes()
    num_refused = 0
    for place in range(0, len(content), 2):
        damaged = bytearray(content)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        found = content_or_refusal(path)
        num_refused += found is None
        assert found is None or (same(found.tree, TREE) and found.header == HEADER), place
    assert num_refused > 0.45 * len(content)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_read_tensor_file__cut_short__is_refused(path, part):
    write_tensor_file(path, TREE, HEADER)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(CheckpointError, match=r"a whole safetensors file at .*, got a damaged one"):
        read_tensor_file(path)


def test_read_tensor_file__missing_or_folder__is_told(path, tmp_path):
    with pytest.raises(CheckpointError, match=r"the file .*, got nothing there"):
        read_tensor_file(path)
    with pytest.raises(CheckpointError, match=r"a whole safetensors file at"):
        read_tensor_file(tmp_path)


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}, {"auxo": "text"}, {"auxo": "[1]"}, {"auxo": '{"format": 1}'}]
)
def test_read_tensor_file__foreign_file__is_told(path, metadata):
    path.write_bytes(save({"weight": torch.zeros(3)}, metadata=metadata))
    with pytest.raises(CheckpointError, match=r"a file written by auxo at .*, got a foreign safetensors file"):
        read_tensor_file(path)


def test_read_tensor_file__another_format__is_told(path):
    path.write_bytes(save({"weight": torch.zeros(3)}, metadata={"auxo": json.dumps({"format": 99})}))
    with pytest.raises(CheckpointError, match=r"file format 1 in .*, got format 99: use the version of auxo"):
        read_tensor_file(path)
