"""First weights from a file: what fits is copied whole, and everything else is refused in one line."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from auxo.backbones import BackboneConfig
from auxo.errors import AuxoError, CheckpointError, ConfigError, ShapeError
from auxo.files.tensor_file import write_tensor_file
from auxo.interfaces import AbstractBackbone
from auxo.methods.supervised import Supervised
from auxo.runs import Networks
from auxo.tasks import Classification


def task(channels: int = 3) -> Classification:
    return Classification(("a", "b"), channels=channels, height=32, width=32)


def trained(channels: int = 3) -> AbstractBackbone:
    """Return a resnet8 with numbers of its own in every tensor, counters too."""
    backbone = BackboneConfig(name="resnet8").build(task(channels), seed=7)
    generator = torch.Generator().manual_seed(1)
    for tensor in backbone.state_dict().values():
        tensor.copy_(1 + 9 * torch.rand(tensor.shape, generator=generator))
    return backbone


def started(path: Path, *, channels: int = 3, name: str = "resnet8") -> dict[str, Tensor]:
    return BackboneConfig(name=name, weights=str(path)).build(task(channels), seed=0).state_dict()


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture
def state() -> dict[str, Tensor]:
    return dict(trained().state_dict())


@pytest.mark.parametrize("prefix", ["", "backbone.", "module.encoder.", "weights.backbone."])
def test_build__names_behind_a_prefix__copies_every_tensor(tmp_path, state, prefix) -> None:
    path = tmp_path / "x.safetensors"
    save_file({prefix + key: tensor for key, tensor in state.items()}, path)
    assert same(started(path), state)


def test_build__run_of_auxo__copies_the_backbone_and_leaves_the_heads(tmp_path, state) -> None:
    method = Supervised.Config().build(Networks(trained(), task(), seed=0))
    path = tmp_path / "model.safetensors"
    write_tensor_file(path, {"weights": method.state_dict(), "pipeline": {"mean": torch.zeros(3)}}, {})
    assert same(started(path), state)


@pytest.mark.parametrize("head", ["fc.weight", "head.fc.bias", "classifier.1.weight", "pooler.dense.weight"])
def test_build__head_of_a_classifier__is_left_out(tmp_path, state, head) -> None:
    save_file({**state, head: torch.ones(2)}, tmp_path / "x.safetensors")
    assert same(started(tmp_path / "x.safetensors"), state)


def test_build__half_precision__becomes_float32(tmp_path, state) -> None:
    save_file({key: t.half() if t.is_floating_point() else t for key, t in state.items()}, tmp_path / "x.safetensors")
    found = started(tmp_path / "x.safetensors")
    assert found["convolution.weight"].dtype == torch.float32
    assert torch.equal(found["convolution.weight"], state["convolution.weight"].half().float())


def test_build__no_counts_of_batches__keeps_its_own(tmp_path, state) -> None:
    kept = {key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    save_file(kept, tmp_path / "x.safetensors")
    found = started(tmp_path / "x.safetensors")
    assert all(torch.equal(found[key], kept[key]) for key in kept)
    assert found["norm.num_batches_tracked"] == 0


def test_build__tensors_missing__names_the_first_and_how_many(tmp_path, state) -> None:
    del state["norm.bias"], state["stage2.0.norm1.weight"]
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"got 2 of 42 missing, first 'norm.bias'"):
        started(tmp_path / "x.safetensors")


def test_build__another_network__is_refused(tmp_path, state) -> None:
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"the weights of lenet5 .* missing, first 'convolution1.bias'"):
        started(tmp_path / "x.safetensors", name="lenet5")


def test_build__larger_network__names_what_it_has_more(tmp_path, state) -> None:
    save_file({**state, "stage1.1.norm1.bias": torch.ones(16)}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"1 others too, first 'stage1.1.norm1.bias'"):
        started(tmp_path / "x.safetensors")


def test_build__two_networks__asks_for_one_unless_one_is_the_runs_backbone(tmp_path, state) -> None:
    path = tmp_path / "x.safetensors"
    other = {key: torch.zeros_like(tensor) for key, tensor in state.items()}
    save_file({f"{p}.{key}": t for p, part in (("a", state), ("b", other)) for key, t in part.items()}, path)
    with pytest.raises(CheckpointError, match=r"several, behind 'a\.' and 'b\.'"):
        started(path)
    both = (("weights.backbone", state), ("weights.teacher", other))
    save_file({f"{p}.{key}": t for p, part in both for key, t in part.items()}, path)
    assert same(started(path), state)


def test_build__other_channels__says_how_many_the_weights_are_for(tmp_path, state) -> None:
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(ShapeError, match="these weights are for 3 channels where this network has 1"):
        started(tmp_path / "x.safetensors", channels=1)


def test_build__other_shape__names_the_tensor(tmp_path, state) -> None:
    save_file({**state, "norm.bias": torch.ones(5)}, tmp_path / "x.safetensors")
    with pytest.raises(ShapeError, match=r"norm.bias of shape \(16,\) .* got \(5,\)"):
        started(tmp_path / "x.safetensors")


def test_build__quantised_weights__are_refused(tmp_path, state) -> None:
    save_file({key: tensor.to(torch.int8) for key, tensor in state.items()}, tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError, match=r"float32 .* got torch.int8: take weights that are not quantised"):
        started(tmp_path / "x.safetensors")


def test_build__damaged_file__is_one_line(tmp_path, state) -> None:
    path = tmp_path / "x.safetensors"
    save_file(state, path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="a whole safetensors file") as caught:
        started(path)
    assert "\n" not in str(caught.value)


def test_build__without_first_weights__needs_no_file() -> None:
    config = BackboneConfig(name="resnet8", weights="gone.safetensors")
    plain = BackboneConfig(name="resnet8").build(task(), seed=0).state_dict()
    assert same(config.build(task(), seed=0, first_weights=False).state_dict(), plain)
    with pytest.raises(ConfigError, match=r"a file at gone.safetensors"):
        config.build(task(), seed=0)


@pytest.mark.parametrize("ending", ["pth", "pt", "bin", "ckpt", "npz"])
def test_config__file_of_another_format__says_why_and_how_to_convert(ending) -> None:
    with pytest.raises(ConfigError, match=r"can run code .*save_file\(torch.load\(FILE, weights_only=True\), 'net.saf"):
        BackboneConfig(name="resnet8", weights=f"old/net.{ending}")


def test_config__run_directory__names_the_file_in_it() -> None:
    with pytest.raises(ConfigError, match=r"such as runs/first/model.safetensors of a run"):
        BackboneConfig(name="resnet8", weights="runs/first")


def test_config__conversion__gives_a_file_that_loads(tmp_path, state) -> None:
    torch.save(state, tmp_path / "net.pth")
    save_file(torch.load(tmp_path / "net.pth", weights_only=True), tmp_path / "net.safetensors")
    assert load_file(tmp_path / "net.safetensors").keys() == state.keys()
    assert same(started(tmp_path / "net.safetensors"), state)


def test_config__weights_and_pretrained__are_refused_together() -> None:
    with pytest.raises(AuxoError, match=r"backbone.pretrained or backbone.weights"):
        BackboneConfig(name="timm:resnet18", pretrained=True, weights="x.safetensors")
