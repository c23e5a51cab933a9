"""Both objectives on maps of features: what they read, what they train, what they leave."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from auxo.errors import ConfigError, ShapeError
from auxo.pretexts.pixels import PixelSampling, draw_pixels, pixel_contrast_loss
from auxo.pretexts.pixels._rows import check_rows
from auxo.pretexts.pixels.contrast import Contrast
from auxo.pretexts.pixels.cross_entropy import CrossEntropy
from auxo.random import Draws, named_generator
from auxo.runtime import Runtime, RuntimeConfig
from auxo.types import Batch

COUNT, CHANNELS, SIDE, NUM_LABELS = 4, 6, 8, 3
RUNTIME = Runtime(config=RuntimeConfig(device="cpu"), device=torch.device("cpu"))
CONFIGS = {
    "contrast": Contrast.Config(outputs=5),
    "cross_entropy": CrossEntropy.Config(),
    "map": Contrast.Config(outputs=5, projects="map"),
    "memory": Contrast.Config(outputs=5, memory=4),
}


def maps(seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(COUNT, CHANNELS, SIDE, SIDE, generator=generator, dtype=torch.float64)
    labels = torch.randint(-1, NUM_LABELS, (COUNT, 2 * SIDE, 2 * SIDE), generator=generator)
    return features.requires_grad_(), labels


def ask(objective, features, labels, step=0):
    batch = Batch(torch.zeros(COUNT, 3, 2 * SIDE, 2 * SIDE), {}, torch.arange(COUNT) + 10)
    draws = Draws(named_generator(0, "pixels", step), total=COUNT)
    return objective(features, labels, batch=batch, draws=draws, runtime=RUNTIME)


def build(config, num_labels=NUM_LABELS):
    return config.build(CHANNELS, num_labels=num_labels, seed=0).double().train()


@pytest.mark.parametrize("name", CONFIGS)
def test_objective__every_parameter_and_the_features__get_gradients(name):
    objective, (features, labels) = build(CONFIGS[name]), maps()
    loss = ask(objective, features, labels).loss
    gradients = torch.autograd.grad(loss, [features, *objective.parameters()])
    assert all(gradient.isfinite().all() and gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize("name", CONFIGS)
def test_objective__no_pixel_with_a_label__is_zero_with_a_gradient_of_zero(name):
    objective, (features, labels) = build(CONFIGS[name]), maps()
    loss = ask(objective, features, torch.full_like(labels, -1)).loss
    assert loss.item() == 0
    assert torch.equal(torch.autograd.grad(loss, features)[0], torch.zeros_like(features))


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "map"])
def test_objective__features_of_ignored_pixels__change_nothing(name):
    features, labels = maps()
    ignored = (labels[:, ::2, ::2] < 0).unsqueeze(1)
    first = ask(build(CONFIGS[name]), features, labels).loss
    second = ask(build(CONFIGS[name]), torch.where(ignored, 1e3, features), labels).loss
    assert first.item() == second.item()
    assert torch.equal(torch.autograd.grad(first, features)[0] * ignored, torch.zeros_like(features))


@pytest.mark.parametrize("num_layers", [0, 2])
def test_contrast__nothing_drawn__has_a_row_of_zeros_to_be_measured(num_layers):
    features, labels = maps()
    objective = build(Contrast.Config(outputs=5, num_layers=num_layers))
    rows = ask(objective, features, torch.full_like(labels, -1)).embeddings
    assert torch.equal(rows, torch.zeros(1, 5 if num_layers else CHANNELS))


def test_contrast__without_layers__is_the_loss_of_the_pixels_that_are_drawn():
    features, labels = maps()
    config = Contrast.Config(num_layers=0, temperature=0.2, sampling=PixelSampling(per_label=5))
    drawn = draw_pixels(labels[:, ::2, ::2], sampling=config.sampling, draws=Draws(named_generator(0, "pixels", 0)))
    rows = features.flatten(2).movedim(1, 2)[drawn.images, drawn.places]
    expected = pixel_contrast_loss(functional.normalize(rows, dim=1), drawn.labels, drawn.images, temperature=0.2)
    found = ask(build(config), features, labels)
    assert found.loss.item() == pytest.approx(expected.item())
    assert found.embeddings.shape == (len(drawn.labels), CHANNELS)


def test_contrast__batch_of_the_same_image_twice__counts_as_one_image():
    features, labels = maps()
    batch = Batch(torch.zeros(COUNT, 3, 16, 16), {}, torch.zeros(COUNT, dtype=torch.int64))
    objective = build(Contrast.Config(positives="cross_image"))
    draws = Draws(named_generator(0, "pixels"))
    assert objective(features, labels, batch=batch, draws=draws, runtime=RUNTIME).loss.item() == 0


def test_contrast__map__moves_batch_norm_by_all_pixels():
    features, labels = maps()
    sample, whole = (build(Contrast.Config(outputs=5, projects=each)) for each in ("sample", "map"))
    ask(sample, features, labels)
    ask(whole, features, labels)
    hidden = whole.projector[0](features.movedim(1, -1).flatten(0, 2))
    torch.testing.assert_close(whole.projector[1].running_mean, 0.1 * hidden.mean(0))
    assert (sample.projector[1].running_mean - whole.projector[1].running_mean).abs().max() > 1e-4


def test_contrast__memory__is_compared_with_from_the_second_step_on_and_only_moves_in_training():
    features, labels = maps()
    plain, kept = build(CONFIGS["contrast"]), build(CONFIGS["memory"])
    assert ask(plain, features, labels).loss.item() == ask(kept, features, labels).loss.item()
    written = kept.memory.pixels.written.clone()
    assert written.min() > 0
    assert ask(plain, features, labels, step=1).loss.item() != ask(kept, features, labels, step=1).loss.item()
    moved = {name: value.clone() for name, value in kept.state_dict().items()}
    ask(kept.eval(), features, labels, step=2)
    assert all(torch.equal(value, moved[name]) for name, value in kept.state_dict().items())


def test_contrast__memory__comes_back_from_a_checkpoint():
    features, labels = maps()
    first = build(CONFIGS["memory"])
    ask(first, features, labels)
    second = build(CONFIGS["memory"])
    second.load_state_dict(first.state_dict())
    losses = [ask(each, features, labels, step=1).loss.item() for each in (first, second)]
    assert losses[0] == losses[1]


def test_contrast__of_autocast_features__is_computed_in_float32():
    features, labels = maps()
    objective = build(CONFIGS["contrast"]).float()
    runtime = replace(RUNTIME, autocast_dtype=torch.bfloat16)
    batch = Batch(torch.zeros(COUNT, 3, 16, 16), {}, torch.arange(COUNT))
    draws = Draws(named_generator(0, "pixels"))
    found = objective(features.bfloat16(), labels, batch=batch, draws=draws, runtime=runtime)
    assert (found.loss.dtype, found.embeddings.dtype) == (torch.float32, torch.float32)
    assert found.loss.isfinite()


def test_check_rows__one_pixel_in_a_process_without_synchronised_batch_norm__is_refused():
    config = RuntimeConfig(device="cpu", sync_batch_norm=False)
    alone = Runtime(config=config, device=torch.device("cpu"), num_processes=2)
    with pytest.raises(ShapeError, match="two drawn pixels or more in every process"):
        check_rows(torch.zeros(1, 3), alone)
    check_rows(torch.zeros(2, 3), alone)
    check_rows(torch.zeros(0, 3), replace(alone, config=RuntimeConfig(device="cpu")))


def test_cross_entropy__some_pixels_ignored__is_the_mean_over_the_others():
    objective, (features, labels) = build(CONFIGS["cross_entropy"]), maps()
    known = labels[:, ::2, ::2]
    logits = functional.conv2d(features, objective.classifier.weight[:, :, None, None], objective.classifier.bias)
    expected = functional.cross_entropy(logits, known, ignore_index=-1)
    assert ask(objective, features, labels).loss.item() == pytest.approx(expected.item())
    assert ask(objective, features, torch.where(labels < 0, -9, labels)).loss.item() == pytest.approx(expected.item())


def test_build__labels_of_single_images__are_refused_where_they_cannot_be_told():
    with pytest.raises(
        ConfigError, match="labels that images share for the objective cross_entropy, got labels that differ"
    ):
        CrossEntropy.Config().build(CHANNELS, num_labels=None, seed=0)
    with pytest.raises(ConfigError, match="labels that images share for a memory of pixels, got labels that differ"):
        Contrast.Config(memory=3).build(CHANNELS, num_labels=None, seed=0)
    assert Contrast.Config().build(CHANNELS, num_labels=None, seed=0).memory is None
