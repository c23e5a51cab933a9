"""Losses of pixels: against loops over pixels, with pixels that are unknown, and with weights."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from auxo.errors import AuxoError
from auxo.losses import PixelLossConfig, mean_over_known, pixel_cross_entropy_losses, pixel_dice_loss
from auxo.runtime import Runtime, RuntimeConfig

RUNTIME = Runtime(RuntimeConfig(), torch.device("cpu"))
NAMES = ("road", "sky", "car")


@pytest.fixture
def pair():
    """Logits of two images of 3x4 pixels in float64, and their labels, of which some are unknown."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 3, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (2, 3, 4), generator=generator, dtype=torch.uint8)
    labels[0, 0] = labels[1, 2, 3] = 255
    return logits, labels


def list_pixels(logits, labels):
    """Probabilities and label of every known pixel, in plain numbers."""
    found = []
    for image, own in zip(logits.tolist(), labels.tolist(), strict=True):
        for row in range(3):
            for column in range(4):
                if own[row][column] not in (-1, 255):
                    powers = [math.exp(image[c][row][column]) for c in range(3)]
                    found.append(([power / sum(powers) for power in powers], own[row][column]))
    return found


def test_pixel_cross_entropy_losses__unknown_pixels__are_zero_and_have_no_gradient(pair):
    logits, labels = pair
    logits.requires_grad_()
    losses = pixel_cross_entropy_losses(logits, labels)
    assert losses.shape == labels.shape
    (gradient,) = torch.autograd.grad(losses.sum(), logits)
    assert torch.equal(losses == 0, labels == 255)
    assert torch.equal((gradient == 0).all(1), labels == 255)
    assert float(losses.detach().sum()) == pytest.approx(
        sum(-math.log(probs[label]) for probs, label in list_pixels(*pair))
    )


def test_pixel_cross_entropy_losses__logits_in_half__are_computed_in_float32(pair):
    logits, labels = pair
    assert pixel_cross_entropy_losses(logits.bfloat16(), labels).dtype == torch.float32
    assert pixel_dice_loss(logits.bfloat16(), labels, runtime=RUNTIME).dtype == torch.float32


def test_pixel_cross_entropy_losses__negative_labels__are_unknown(pair):
    logits, labels = pair
    signed = torch.where(labels == 255, -1, labels.short())
    assert torch.equal(pixel_cross_entropy_losses(logits, signed), pixel_cross_entropy_losses(logits, labels))


def test_pixel_cross_entropy_losses__smaller_logits__says_what_to_do(pair):
    with pytest.raises(AuxoError, match="enlarge the logits to the size of the images"):
        pixel_cross_entropy_losses(pair[0][..., ::2], pair[1])


@pytest.mark.parametrize("weights", [(), (2.0, 0.5, 1.0)])
def test_pixel_loss__weights_given__is_the_weighted_mean_of_a_loop(pair, weights):
    config = PixelLossConfig(class_weights="given" if weights else "none", weights=weights)
    loss = config.build(NAMES, pixel_counts=())(*pair, runtime=RUNTIME)
    pixels = list_pixels(*pair)
    own = [weights[label] if weights else 1.0 for _, label in pixels]
    total = sum(weight * -math.log(probs[label]) for weight, (probs, label) in zip(own, pixels, strict=True))
    assert float(loss) == pytest.approx(total / sum(own))


def measure_dice(pixels, c):
    """One minus the soft Dice coefficient of a class, in plain numbers."""
    both = sum(probs[c] for probs, label in pixels if label == c)
    sizes = sum(probs[c] for probs, _ in pixels) + sum(label == c for _, label in pixels)
    return 1 - 2 * both / sizes


def test_pixel_dice_loss__known_pixels__is_that_of_a_loop(pair):
    expected = sum(measure_dice(list_pixels(*pair), c) for c in range(3)) / 3
    assert float(pixel_dice_loss(*pair, runtime=RUNTIME)) == pytest.approx(expected)


def test_pixel_dice_loss__class_that_no_pixel_has__is_left_out(pair):
    logits, labels = pair
    labels = torch.where(labels == 2, 255, labels)
    expected = sum(measure_dice(list_pixels(logits, labels), c) for c in (0, 1)) / 2
    assert float(pixel_dice_loss(logits, labels, runtime=RUNTIME)) == pytest.approx(expected)


def test_pixel_loss__both_terms__gradient_is_that_of_finite_differences(pair):
    logits, labels = pair
    counts = (30, 10, 2)
    config = PixelLossConfig(cross_entropy=0.7, dice=0.4, class_weights="inverse_frequency")
    loss = config.build(NAMES, pixel_counts=counts)
    assert gradcheck(lambda outputs: loss(outputs, labels, runtime=RUNTIME), logits.requires_grad_())


def test_pixel_loss__sum_of_terms__is_their_weighted_sum(pair):
    def measure(cross_entropy, dice):
        config = PixelLossConfig(cross_entropy=cross_entropy, dice=dice)
        return float(config.build(NAMES, pixel_counts=())(*pair, runtime=RUNTIME))

    assert measure(2.0, 0.5) == pytest.approx(2 * measure(1.0, 0.0) + 0.5 * measure(0.0, 1.0))


def test_pixel_loss__no_pixel_known__is_zero_with_a_zero_gradient(pair):
    logits, labels = pair
    loss = PixelLossConfig(dice=1.0).build(NAMES, pixel_counts=())
    value = loss(logits.requires_grad_(), torch.full_like(labels, 255), runtime=RUNTIME)
    (gradient,) = torch.autograd.grad(value, logits)
    assert float(value.detach()) == 0
    assert not gradient.any()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"class_weights": "inverse_frequency"}, (0.5, 1.5)),
        # (1 - 0.5^3) / (1 - 0.5) = 1.75 effective pixels, and 1
        ({"class_weights": "effective_number", "beta": 0.5}, (2 / 2.75, 2 * 1.75 / 2.75)),
    ],
)
def test_pixel_loss__weights_by_counts__are_in_proportion_and_none_for_a_class_without_pixels(options, expected):
    loss = PixelLossConfig(**options).build(NAMES, pixel_counts=(3, 0, 1))
    labels = torch.tensor([[[0, 1, 2, 255]]])
    weights = loss.weigh(labels, dtype=torch.float64)[0, 0]
    assert weights.tolist() == pytest.approx([expected[0], 0, expected[1], 0])


def test_mean_over_known__infinite_value_that_does_not_count__is_left_out():
    values, known = torch.tensor([[[1.0, math.inf]]]), torch.tensor([[[True, False]]])
    assert float(mean_over_known(values, known, runtime=RUNTIME)) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PixelLossConfig(cross_entropy=0.0), "cross-entropy or dice above 0"),
        (lambda: PixelLossConfig(weights=(1.0,)), "weights with class_weights given, and only then"),
        (lambda: PixelLossConfig(class_weights="given"), "weights with class_weights given, and only then"),
        (
            lambda: PixelLossConfig(class_weights="given", weights=(1.0, 2.0)).build(NAMES, pixel_counts=()),
            "weights of 3 numbers, not all 0, one for each of road, sky, car",
        ),
        (
            lambda: PixelLossConfig(class_weights="inverse_frequency").build(NAMES, pixel_counts=()),
            "training pixels per class for class weights, got none of 3 classes",
        ),
    ],
)
def test_pixel_loss_config__options_that_do_not_fit__are_refused(make, message):
    with pytest.raises(AuxoError, match=message):
        make()
