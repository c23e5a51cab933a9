"""Models of transformers, made here from configurations: features, maps, weights, second derivatives."""

import copy
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from auxo.backbones import BackboneConfig
from auxo.bilevel import SGD, BilevelProblem, FunctionalModule, Unrolled, hypergradient
from auxo.errors import CheckpointError, ConfigError, ShapeError
from auxo.interfaces import AbstractBackbone
from auxo.tasks import Classification

TOKENS = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 16,
    "patch_size": 4,
}
PYRAMID = {"hidden_sizes": [8, 8, 16, 24], "depths": [1, 1, 1, 1]}


def task(channels: int = 3, height: int = 16, width: int = 16) -> Classification:
    return Classification(("a", "b"), channels=channels, height=height, width=width)


def publish(folder: Path, kind: str, **options: object) -> str:
    """Write a network with random weights as its authors would, and return its name."""
    import transformers

    torch.manual_seed(0)
    transformers.utils.logging.disable_progress_bar()
    config = getattr(transformers, f"{kind.removesuffix('ForImageClassification')}Config")(**options)
    suffix = "" if kind.endswith("Classification") else "Model"
    model = getattr(transformers, f"{kind}{suffix}")(config)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    return f"hf:{folder}"


def pretrained(name: str, **size: int) -> AbstractBackbone:
    return BackboneConfig(name=name, pretrained=True).build(task(**size), seed=0).eval()


def published(name: str) -> torch.nn.Module:
    import transformers

    return transformers.AutoModelForImageClassification.from_pretrained(name.removeprefix("hf:")).eval()


def test_build__hf_without_a_model__says_how_to_name_one() -> None:
    with pytest.raises(ConfigError, match="hf:microsoft/resnet-50"):
        BackboneConfig(name="hf:").build(task(), seed=0)


def test_build__transformers_missing__gives_the_install_hint(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)  # which makes the import fail
    with pytest.raises(ConfigError, match=r"pip install 'auxo\[transformers\]'"):
        BackboneConfig(name="hf:microsoft/resnet-50").build(task(), seed=0)


@pytest.mark.parametrize("kind", ["ResNet", "ViT"])
def test_pretrained__linear_head_of_its_authors__gives_their_logits(tmp_path, kind) -> None:
    options = TOKENS if kind == "ViT" else {**PYRAMID, "embedding_size": 8, "layer_type": "basic"}
    name = publish(tmp_path, f"{kind}ForImageClassification", **options)
    backbone, whole = pretrained(name), published(name)
    head = whole.classifier if kind == "ViT" else whole.classifier[-1]
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(head(backbone(images).pooled), whole(pixel_values=images).logits)


def test_features__convolutional__maps_shrink_and_the_last_one_is_pooled(tmp_path) -> None:
    name = publish(tmp_path, "ResNet", **PYRAMID, embedding_size=8, layer_type="basic")
    backbone = pretrained(name, height=64, width=32)
    with torch.no_grad():
        pooled, maps = backbone(torch.rand(2, 3, 64, 32))
    assert list(maps) == ["stem", "stage1", "stage2", "stage3", "stage4"]
    assert [tuple(m.shape[2:]) for m in maps.values()] == [(16, 8), (16, 8), (8, 4), (4, 2), (2, 1)]
    assert pooled.shape == (2, backbone.num_features) == (2, 24)
    torch.testing.assert_close(pooled, maps["stage4"].mean((2, 3)))


@pytest.mark.parametrize("kind", ["Dinov2", "SiglipVision", "CLIPVision"])
def test_features__tokens__lie_where_their_patches_are(tmp_path, kind) -> None:
    options = {key: value for key, value in TOKENS.items() if kind != "Dinov2" or key != "intermediate_size"}
    backbone = pretrained(publish(tmp_path, kind, **options))
    images = torch.rand(1, 3, 16, 16)
    changed = images.clone()
    changed[:, :, 4:8, 8:12] = 1 - changed[:, :, 4:8, 8:12]  # the patch in row 1 and column 2
    with torch.no_grad():
        (pooled, maps), other = backbone(images), backbone(changed)
    differs = (maps["stem"] != other.maps["stem"]).any(1)[0]  # before the first block patches do not mix
    assert differs.nonzero().tolist() == [[1, 2]]
    assert {tuple(m.shape) for m in maps.values()} == {(1, 16, 4, 4)}
    assert pooled.shape == (1, backbone.num_features)
    assert not torch.equal(pooled, other.pooled)


def test_features__swin__maps_are_a_pyramid(tmp_path) -> None:
    options = {"image_size": 16, "patch_size": 2, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2]}
    name = publish(tmp_path, "Swin", **options, window_size=4)
    backbone = pretrained(name)
    with torch.no_grad():
        pooled, maps = backbone(torch.rand(2, 3, 16, 16))
    assert [tuple(m.shape[1:]) for m in maps.values()] == [(8, 8, 8), (16, 4, 4), (16, 4, 4)]
    assert pooled.shape == (2, 16)


def test_build__token_of_pretraining__is_no_parameter_and_every_parameter_has_a_gradient(tmp_path) -> None:
    options = {key: value for key, value in TOKENS.items() if key != "intermediate_size"}
    backbone = pretrained(publish(tmp_path, "Dinov2", **options)).train()
    assert "model.embeddings.mask_token" in dict(backbone.named_buffers())
    torch.autograd.grad(backbone(torch.rand(2, 3, 16, 16)).pooled.sum(), list(backbone.parameters()))
    again = copy.deepcopy(backbone).eval()
    images = torch.rand(1, 3, 16, 16)
    assert torch.equal(again(images).pooled, backbone.eval()(images).pooled)


def test_build__without_pretrained__is_random_by_the_seed_and_takes_other_channels(tmp_path) -> None:
    name = publish(tmp_path, "ViT", **TOKENS)
    first, again, other = (BackboneConfig(name=name).build(task(channels=1), seed=s).state_dict() for s in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    key = "model.embeddings.patch_embeddings.projection.weight"
    assert first[key].shape == (16, 1, 4, 4)
    assert not torch.equal(first[key], other[key])


def test_recorded__folder_gone__is_built_again_with_the_same_names(tmp_path) -> None:
    name = publish(tmp_path / "net", "ViTForImageClassification", **TOKENS)
    config = BackboneConfig(name=name, pretrained=True).recorded()
    state = config.build(task(), seed=0).state_dict()
    for path in (tmp_path / "net").iterdir():
        path.unlink()
    assert config.recorded() is config
    again = config.build(task(), seed=0, first_weights=False)
    again.load_state_dict(state)
    with pytest.raises(ConfigError, match="a model of transformers"):
        BackboneConfig(name=name).build(task(), seed=0)


def test_first_normalisation__folder__is_what_its_preprocessor_says_or_refused_in_one_line(tmp_path) -> None:
    config = BackboneConfig(name=publish(tmp_path, "ViT", **TOKENS), pretrained=True)
    with pytest.raises(ConfigError, match=r"preprocessor_config.json.*pass --data.normalise train") as caught:
        config.first_normalisation()
    assert "\n" not in str(caught.value)
    stated = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(stated))
    noted = config.with_normalisation()
    (tmp_path / "preprocessor_config.json").unlink()
    assert noted.first_normalisation() == ((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))


def test_weights__model_of_transformers_in_a_run__are_found(tmp_path) -> None:
    name = publish(tmp_path, "ViT", **TOKENS)
    state = pretrained(name).state_dict()
    save_file({f"weights.backbone.{key}": tensor for key, tensor in state.items()}, tmp_path / "run.safetensors")
    found = BackboneConfig(name=name, weights=str(tmp_path / "run.safetensors")).build(task(), seed=0).state_dict()
    assert all(torch.equal(found[key], state[key]) for key in state)


def test_pretrained__weights_missing__names_one(tmp_path) -> None:
    name = publish(tmp_path, "ResNet", **PYRAMID, embedding_size=8, layer_type="basic")
    weights = load_file(tmp_path / "model.safetensors")
    first = sorted(key for key in weights if key.endswith("convolution.weight"))[0]
    del weights[first]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=rf"1 missing or of another shape, first '{first}'"):
        pretrained(name)


def test_pretrained__pickled_weights_only__are_refused(tmp_path) -> None:
    name = publish(tmp_path, "ViT", **TOKENS)
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match="weights of transformers in safetensors"):
        pretrained(name)


def test_pretrained__other_channels_or_part_of_a_patch__are_shape_errors(tmp_path) -> None:
    name = publish(tmp_path, "ViT", **TOKENS)
    with pytest.raises(ShapeError, match="images of 3 channels"):
        pretrained(name, channels=1)
    with pytest.raises(ShapeError, match=r"multiples of 4x4.*got 26x16: pass --data.image-size 24 or 28"):
        pretrained(name, height=26)


@pytest.mark.parametrize("kind", ["ViT", "DeiT", "CLIPVision", "SiglipVision", "ViTMSN", "ViTMAE"])
def test_pretrained__another_size__keeps_the_weights_and_interpolates_positions(tmp_path, kind) -> None:
    name = publish(tmp_path, kind, **TOKENS)
    own, other = pretrained(name), pretrained(name, height=24, width=32)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in own.state_dict().items())
    with torch.no_grad():
        pooled, maps = other(torch.rand(2, 3, 24, 32))
    assert {tuple(m.shape) for m in maps.values()} == {(2, 16, 6, 8)}
    assert pooled.isfinite().all()


def test_features__masked_autoencoder__sees_every_patch_alike_each_time(tmp_path) -> None:
    name = publish(tmp_path, "ViTMAE", **TOKENS)
    backbone = pretrained(name)
    images = torch.rand(1, 3, 16, 16, requires_grad=True)
    torch.testing.assert_close(backbone(images).pooled, backbone(images).pooled, rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(backbone(images).pooled.sum(), images)
    assert (gradient != 0).all()
    with torch.no_grad():  # patches are where they are: only the one in row 1 and column 2 differs in the stem
        changed = images.clone()
        changed[:, :, 4:8, 8:12] += 0.5
        differs = (backbone(images).maps["stem"] != backbone(changed).maps["stem"]).any(1)[0]
    assert differs.nonzero().tolist() == [[1, 2]]
    assert "model.embeddings.position_embeddings" in dict(backbone.named_buffers())  # fixed, as published


def test_features__masked_autoencoder__can_be_traced_for_any_number_of_images(tmp_path) -> None:
    backbone = pretrained(publish(tmp_path, "ViTMAE", **TOKENS))
    images = torch.rand(3, 3, 16, 16)
    shapes = {"images": {0: torch.export.Dim("batch", min=1)}}
    traced = torch.export.export(backbone, (images[:2],), dynamic_shapes=shapes).module()
    torch.testing.assert_close(traced(images).pooled, backbone(images).pooled)


def test_build__hiera__has_maps_of_its_size_and_other_sizes_with_random_weights(tmp_path) -> None:
    pair = {key: [2, 2] for key in ("patch_stride", "query_stride", "masked_unit_size")}
    sizes = {"image_size": [16, 16], "patch_size": [3, 3], "patch_padding": [1, 1], "num_query_pool": 1}
    name = publish(tmp_path, "Hiera", embed_dim=8, depths=[1, 1], num_heads=[1, 2], **pair, **sizes)
    assert pretrained(name).map_channels == {"stem": 8, "stage1": 8, "stage2": 16}
    with pytest.raises(ShapeError, match=r"pass --data.image-size 16, which it is made for"):
        pretrained(name, height=32, width=32)
    other = BackboneConfig(name=name).build(task(height=24, width=32), seed=0)
    assert tuple(other(torch.rand(1, 3, 24, 32)).maps["stage2"].shape) == (1, 16, 6, 8)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("somebody/something", "no connection to the hub, and no copy of 'somebody/something' in the cache"),
        ("./nowhere", "'./nowhere', which is no folder here and no name on the hub: check the path"),
    ],
)
def test_build__offline_or_mistyped__says_which(monkeypatch, place, says) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = BackboneConfig(name=f"hf:{place}", pretrained=True)
    for ask in (config.first_normalisation, config.recorded, lambda: config.build(task(), seed=0)):
        with pytest.raises(ConfigError) as caught:
            ask()
        assert says in str(caught.value)
        assert "\n" not in str(caught.value)


def test_build__words_without_images__are_refused(tmp_path) -> None:
    options = {key: value for key, value in TOKENS.items() if key not in ("image_size", "patch_size")}
    with pytest.raises(ConfigError, match="for images"):
        pretrained(publish(tmp_path, "Bert", **options))


def test_build__code_of_its_authors__is_not_run(tmp_path) -> None:
    name = publish(tmp_path, "ViT", **TOKENS)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "foreign.py").write_text("raise SystemExit('this ran')\n")
    config |= {"model_type": "foreign", "auto_map": {"AutoConfig": "foreign.C", "AutoModel": "foreign.M"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="a model of transformers"):
        pretrained(name)


def test_hypergradient__through_attention__is_the_finite_difference(tmp_path) -> None:
    backbone = pretrained(publish(tmp_path, "ViT", **TOKENS, attn_implementation="sdpa")).double()
    assert backbone.model.config._attn_implementation == "sdpa"

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = backbone

        def forward(self, images):
            return self.backbone(images).pooled

    net = FunctionalModule(Pooled())
    images = torch.rand(3, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def inner_loss(params, hyper, buffers, batch):
        pooled, buffers = net(params, buffers, batch)
        return (hyper["pull"] * pooled.square().mean(0)).sum(), buffers

    def outer_loss(params, hyper, buffers, batch):
        pooled, buffers = net(params, buffers, batch)
        return pooled.cos().mean() + 0 * hyper["pull"].sum(), buffers

    pull = torch.linspace(0.1, 1, 16, dtype=torch.float64)
    arguments = {"inner": [images], "outer": images, "buffers": net.buffers}
    solver = Unrolled(steps=1, optimizer=SGD(rate=1e-3))
    problem = BilevelProblem(inner_loss=inner_loss, outer_loss=outer_loss)
    found = hypergradient(problem, net.params, {"pull": pull}, **arguments, solver=solver).grads["pull"]

    def outer_after_a_step(pull):
        leaves = {name: value.clone().requires_grad_() for name, value in net.params.items()}
        loss, _ = inner_loss(leaves, {"pull": pull}, net.buffers, images)
        moved = torch.autograd.grad(loss, list(leaves.values()))
        after = {name: value - 1e-3 * g for (name, value), g in zip(leaves.items(), moved, strict=True)}
        with torch.no_grad():
            return outer_loss(after, {"pull": pull}, net.buffers, images)[0]

    step = 1e-4 * torch.ones_like(pull)
    expected = (outer_after_a_step(pull + step) - outer_after_a_step(pull - step)) / 2e-4
    torch.testing.assert_close(found.sum(), expected, rtol=1e-6, atol=1e-10)
