"""One network that several pretexts train, and first weights of its own."""

import pytest
import torch

from auxo.backbones import BackboneConfig
from auxo.errors import ConfigError, OptionError
from auxo.interfaces import TrainState
from auxo.methods.pretrain import Pretraining
from auxo.pretexts.rotation import Rotation
from auxo.runs import Networks
from auxo.runtime import Runtime, RuntimeConfig
from auxo.tasks import Classification
from auxo.types import Batch

RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
TASK = Classification(("a", "b"), channels=3, height=16, width=16)


def make(config, **backbone):
    return config.build(Networks(BackboneConfig(name="resnet8", **backbone), TASK, seed=0)).train()


def batches(config):
    generator = torch.Generator().manual_seed(0)
    return {
        name: Batch(torch.randn(6, 3, 16, 16, generator=generator), {}, torch.arange(6))
        for name in config.required_views()
    }


def test_further__three_pretexts__loss_is_the_mean_of_theirs_each_on_its_own_views():
    config = Pretraining.Config(pretext=Rotation("random"), further=("jigsaw", "simclr"))
    assert list(config.required_views()) == ["first", "jigsaw_first", "simclr_first", "simclr_second"]
    method = make(config)
    before = {name: parameter.detach().clone() for name, parameter in method.named_parameters()}
    metrics = method.update(TrainState(method.optimizers()), batches(config), RUNTIME)
    each = [metrics[f"{name}_loss"] for name in ("rotation", "jigsaw", "simclr")]
    torch.testing.assert_close(metrics["pretext_loss"], torch.stack(each).mean())
    assert all(not torch.equal(parameter, before[name]) for name, parameter in method.named_parameters())
    assert set(method.pretext_heads()) == {"rotation", "jigsaw"}


def test_further__none__has_the_loss_of_the_pretext_alone():
    config = Pretraining.Config(pretext=Rotation("random"))
    method = make(config)
    assert list(method.update(TrainState(method.optimizers()), batches(config), RUNTIME)) == ["pretext_loss"]


def test_first_weights__named__are_others_than_those_of_the_run_and_the_same_every_time():
    own, again, shared = (
        make(Pretraining.Config(pretext=Rotation(), first_weights=name)).backbone.convolution.weight
        for name in ("one", "one", "backbone")
    )
    assert torch.equal(own, again)
    assert not torch.equal(own, shared)
    assert torch.equal(shared, BackboneConfig(name="resnet8").build(TASK, seed=0).convolution.weight)


def test_first_weights__of_a_backbone_that_has_weights__are_those(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    given = BackboneConfig(name="resnet8").build(TASK, seed=7)
    save_file(given.state_dict(), path)
    method = make(Pretraining.Config(pretext=Rotation(), first_weights="one"), weights=str(path))
    assert torch.equal(method.backbone.convolution.weight, given.convolution.weight)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"further": ("jigsaw", "jigsaw")}, "further of different pretexts"),
        ({"further": ("jigsaww",)}, "did you mean jigsaw"),
        ({"first_weights": "a b"}, "first-weights of one word, got 'a b'"),
    ],
)
def test_options__that_cannot_be__are_refused(options, says):
    with pytest.raises((ConfigError, OptionError), match=says):
        Pretraining.Config(pretext=Rotation(), **options)


def test_further__the_first_pretext_again__is_refused():
    with pytest.raises(OptionError, match="further of others than rotation"):
        make(Pretraining.Config(pretext=Rotation(), further=("rotation",)))
