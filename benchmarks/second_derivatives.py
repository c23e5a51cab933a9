"""How long a product with the inner Hessian of ResNet-20 takes, by torch's second derivatives and by auxo's; Markdown.

python benchmarks/second_derivatives.py         under a minute on one core
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from torch.func import functional_call, grad, jvp
from torch.nn.functional import cross_entropy

from auxo.backbones import BackboneConfig
from auxo.bilevel.second_order import FastSecondDerivatives
from auxo.tasks import Classification
from measurement import Spread, describe_machine, markdown_table, seconds

_ROUNDS = 2 if "--quick" in sys.argv else 9
_CPU = torch.device("cpu")


def products(memory_format: torch.memory_format) -> dict[str, Callable[[], object]]:
    """Return what computes one product, by name."""
    torch.manual_seed(0)
    task = Classification(tuple("0123456789"), 3, 32, 32)
    net = BackboneConfig(name="resnet20").build(task, seed=0).to(memory_format=memory_format)
    images = torch.randn(32, 3, 32, 32).contiguous(memory_format=memory_format)
    labels = torch.randint(10, (32,))
    params = list(net.parameters())
    vector = [torch.randn_like(param) for param in params]

    def loss() -> Tensor:
        return cross_entropy(net(images).pooled[:, :10], labels)

    def cached(context: AbstractContextManager[object]) -> Callable[[], object]:
        with context:
            gradients = torch.autograd.grad(loss(), params, create_graph=True)
        return lambda: torch.autograd.grad(gradients, params, vector, retain_graph=True)

    names = [name for name, _ in net.named_parameters()]
    point = {name: param.detach() for name, param in zip(names, params, strict=True)}
    tangents = dict(zip(names, vector, strict=True))
    fixed = {name: value.clone() for name, value in net.named_buffers()}

    def forward_over_reverse() -> object:
        def inner(values: dict[str, Tensor]) -> Tensor:
            buffers = {name: value.clone() for name, value in fixed.items()}
            return cross_entropy(functional_call(net, {**values, **buffers}, (images,)).pooled[:, :10], labels)

        return jvp(grad(inner), (point,), (tangents,))

    return {
        "torch, cached graph": cached(nullcontext()),
        "auxo, cached graph": cached(FastSecondDerivatives()),
        "torch, forward over reverse": forward_over_reverse,
    }


def main() -> None:
    """Measure in turn and print."""
    torch.set_num_threads(1)
    print(f"{describe_machine(_CPU)}; a product with the Hessian of ResNet-20 at batch 32.\n")
    rows = []
    for title, memory_format in {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}.items():
        calls = products(memory_format)
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(_ROUNDS + 1):
            for name, call in calls.items():
                times[name].append(seconds(call, count=1, device=_CPU))
        for name, values in times.items():
            spread = Spread.of(values[1:])  # the first warms up
            rows.append([title, name, f"{1e3 * spread.median:.0f} ({1e3 * spread.low:.0f}-{1e3 * spread.high:.0f})"])
    print(markdown_table(["weights and images", "product", "ms (quartiles)"], rows))


if __name__ == "__main__":
    main()
