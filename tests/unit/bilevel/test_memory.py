"""How much memory solvers hold: counted in bytes of live tensors, not timed."""

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from auxo.bilevel import SGD, BilevelProblem, ConjugateGradient, Implicit, Unrolled, hypergradient


class PeakBytes(TorchDispatchMode):
    """Counts the bytes of all storages that operations inside the block made and that are alive at once."""

    def __init__(self):
        super().__init__()
        self.live = 0
        self.peak = 0
        self._known = weakref.WeakSet()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        answer = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(answer):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                if storage not in self._known:
                    self._known.add(storage)
                    self.live += storage.nbytes()
                    self.peak = max(self.peak, self.live)
                    weakref.finalize(storage, self._free, storage.nbytes())
        return answer

    def _free(self, count):
        self.live -= count


def inner(params, hyper, buffers, batch):
    hidden = torch.tanh(batch @ params["w"])
    for _ in range(4):
        hidden = torch.tanh(hidden * 1.1)
    return (hidden.square().mean(1) * hyper["weights"]).mean() + params["w"].square().mean(), buffers


def outer(params, hyper, buffers, batch):
    return (batch @ params["w"]).square().mean(), buffers


def peak(solver):
    torch.manual_seed(0)
    batch = torch.randn(64, 8)
    arguments = {"inner": [batch], "outer": torch.randn(16, 8), "solver": solver}
    problem = BilevelProblem(inner_loss=inner, outer_loss=outer)
    with PeakBytes() as counter:
        hypergradient(problem, {"w": torch.randn(8, 32)}, {"weights": torch.ones(64)}, **arguments)
    return counter.peak


@pytest.fixture(scope="module")
def unrolled_peaks():
    steps = (8, 50, 200)
    return {
        checkpointing: [peak(Unrolled(steps=n, optimizer=SGD(rate=0.1), checkpointing=checkpointing)) for n in steps]
        for checkpointing in (False, True)
    }


def test_unrolled__without_checkpoints__memory_grows_with_the_steps(unrolled_peaks):
    few, _, many = unrolled_peaks[False]
    assert many > 15 * few


def test_unrolled__with_checkpoints__memory_grows_with_the_root_of_the_steps_at_the_most(unrolled_peaks):
    few, some, many = unrolled_peaks[True]
    assert some <= 2.5 * few  # sqrt(50 / 8)
    assert many <= 2 * some  # sqrt(200 / 50)
    assert many < 0.1 * unrolled_peaks[False][2]


def test_implicit__more_iterations__memory_flat():
    few, many = (peak(Implicit(linear=ConjugateGradient(iterations=n, damping=1.0))) for n in (3, 60))
    assert many <= 1.01 * few
