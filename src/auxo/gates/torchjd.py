"""Weights from the conflicts between the tasks' gradients, by TorchJD: UPGrad, MGDA, PCGrad and others; an extra."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.linalg import cholesky
from scipy.optimize import nnls
from torch import Tensor

from auxo.errors import ConfigError
from auxo.gates._config import GateConfig
from auxo.gates._interface import AbstractGate, GateResult, GateStep
from auxo.random import derive_seed, global_seed

SOURCE = (
    "The weightings of TorchJD (Quinton & Rey, Jacobian Descent for Multi-Objective Optimization, arXiv 2406.16232; "
    "github.com/SimplexLab/TorchJD): upgrad and dualproj (there), mgda (Desideri 2012; Sener & Koltun 2018), pcgrad "
    "(Yu et al. 2020), cagrad (Liu et al. 2021, with c = 0.5), imtl_g (Liu et al. 2021), aligned_mtl (Senushkin et "
    "al. 2023). The gradients are those in the shared features, the upper bound of Sener & Koltun, Multi-Task "
    "Learning as Multi-Objective Optimization, NeurIPS 2018, Section 3.3: no backward pass through the backbone. "
    "Ours: the Gramian is divided by its trace, a random order is drawn from a stream, and the quadratic program of "
    "upgrad and dualproj is solved with SciPy, so that only cagrad needs another package."
)

Aggregator: TypeAlias = Literal["upgrad", "dualproj", "mgda", "pcgrad", "cagrad", "imtl_g", "aligned_mtl"]

_CLASSES: dict[Aggregator, str] = {
    "upgrad": "UPGradWeighting",
    "dualproj": "DualProjWeighting",
    "mgda": "MGDAWeighting",
    "pcgrad": "PCGradWeighting",
    "cagrad": "CAGradWeighting",
    "imtl_g": "IMTLGWeighting",
    "aligned_mtl": "AlignedMTLWeighting",
}
_CAGRAD_RADIUS = 0.5  # of the ball around the mean gradient, relative to its length; the paper's c
_REGULARISATION = 1e-4  # of the Gramian with trace 1, as TorchJD's own projector has it


class TorchJDGate(AbstractGate):
    r"""Weights that TorchJD extracts from the Gramian of the tasks' gradients in the features, or in the weights.

    With ``J`` the gradients of the tasks' mean losses in all features of the joined batch, or in all shared weights,
    one row for each task, the weights are a function of ``J J^T``, computed in float64 and not differentiated. Where
    there is no gradient all weights are 1/M. ``pcgrad`` counts its calls, as every step draws another order of tasks.

    Args:
        config: options.
        seed: for the random order of pcgrad.

    Raises:
        ConfigError: TorchJD, or a package that the weighting needs, is missing.

    Cost: one backward pass through each head, and a sum of M x M numbers over the processes. In the weights: one
        backward pass through the backbone for each task, and a mean of M gradients over the processes.
    """

    calls: Tensor

    @dataclass(frozen=True, kw_only=True)
    class Config(GateConfig):
        """Options of the weights from the tasks' gradients."""

        aggregator: Aggregator = "upgrad"
        """How weights follow from the gradients; cagrad needs the package cvxpy."""
        gradients: Literal["features", "weights"] = "features"
        """Gradients in the features that all tasks are answered from, or in all shared weights: a backward pass through
        the backbone for each task, for tasks that make inputs of their own, too."""

        @property
        def refused_tuning(self) -> Mapping[str, str]:
            """Refuse a backbone without gradients, which the gate compares."""
            return {"freeze_epochs": "the gate compares gradients in the backbone"}

        @property
        def needs_shared_features(self) -> bool:
            """Whether the gradients are those in the features."""
            return self.gradients == "features"

        def build(self, *, num_features: int, num_outputs: tuple[int, ...], seed: int) -> "TorchJDGate":
            """Return the gate."""
            del num_features, num_outputs  # there are as many tasks as losses
            return TorchJDGate(self, seed=seed)

    def __init__(self, config: Config, *, seed: int) -> None:
        super().__init__()
        self.aggregator, self.gradients = config.aggregator, config.gradients
        self.seed = seed
        self.weighting = _build_weighting(config.aggregator)
        if config.aggregator == "pcgrad":
            self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(
        self, losses: Float[Tensor, "samples tasks"], features: Float[Tensor, "samples dim"], step: GateStep
    ) -> GateResult:
        """Return the loss at weights without a gradient.

        Raises:
            ConfigError: the gradients are those in the weights, and the method does not say which are shared.
        """
        weights = self._find_weights(self._compute_gramian(losses, features, step)).to(losses)
        if step.learns and self.aggregator == "pcgrad":
            self.calls += 1
        return GateResult(step.batch.mean((losses * weights).sum(1)), weights)

    def _compute_gramian(self, losses: Tensor, features: Tensor, step: GateStep) -> Float[Tensor, "tasks tasks"]:
        """Return a multiple of the joined batch's Gramian, float64 on the CPU."""
        if self.gradients == "weights":
            jacobian = step.gradients(losses)
            return (jacobian @ jacobian.T).to("cpu", torch.float64)
        rows = [
            torch.autograd.grad(step.batch.mean(column), features, retain_graph=True)[0].flatten()
            for column in losses.unbind(1)
        ]
        jacobian = torch.stack(rows)
        if jacobian.dtype.itemsize < 4:
            jacobian = jacobian.float()
        # The features of other processes are further columns of the Jacobian, so the processes' Gramians add up.
        own = jacobian @ jacobian.T
        (joined,) = step.runtime.mean([own])
        return (own if joined is None else joined).to("cpu", torch.float64)

    def _find_weights(self, gramian: Float[Tensor, "tasks tasks"]) -> Float[Tensor, " tasks"]:
        """Return the weighting's answer to the Gramian with trace 1."""
        trace = gramian.trace()
        if not trace > 0:
            return torch.full((len(gramian),), 1 / len(gramian), dtype=torch.float64)
        if self.aggregator == "pcgrad":
            with global_seed(derive_seed(self.seed, "gate", "pcgrad", int(self.calls))):
                weights: Tensor = self.weighting(gramian / trace) / len(gramian)  # PCGrad sums, the others average
        else:
            weights = self.weighting(gramian / trace)
        return weights


def project_onto_dual_cone(weights: Tensor, gramian: Float[Tensor, "tasks tasks"]) -> Tensor:
    """Return the weights ``v >= u`` whose combination of the gradients is shortest, for every row ``u`` of weights.

    Minimise ``v^T G v`` under ``v >= u``: with ``G = R^T R`` and ``v = u + z`` this is the non-negative least-squares
    problem ``min |R z + R u|``. A small multiple of the identity keeps ``G`` positive definite.

    Source: Quinton & Rey, Jacobian Descent for Multi-Objective Optimization, Proposition 1
        (https://arxiv.org/abs/2406.16232). Differs: SciPy's active-set solver instead of quadprog.

    Args:
        weights: shape ``(..., tasks)``.
        gramian: of the gradients, scaled to trace 1; positive semi-definite.

    Returns:
        The shape and type of ``weights``.

    Example:
        >>> gramian = torch.tensor([[0.5, -0.4], [-0.4, 0.5]], dtype=torch.float64)  # two gradients in conflict
        >>> project_onto_dual_cone(torch.tensor([1.0, 0.0], dtype=torch.float64), gramian).round(decimals=2)
        tensor([1.0000, 0.8000], dtype=torch.float64)
    """
    regular = gramian.numpy() + _REGULARISATION * np.eye(len(gramian))
    factor = cholesky(regular)  # upper triangular

    def project(row: NDArray[np.float64]) -> NDArray[np.float64]:
        added, _ = nnls(factor, -factor @ row)
        projected: NDArray[np.float64] = row + added
        return projected

    return torch.from_numpy(np.apply_along_axis(project, -1, weights.numpy())).to(weights)


def _build_weighting(aggregator: Aggregator) -> Callable[[Tensor], Tensor]:
    """Return TorchJD's weighting, turning what is missing into one line."""
    weightings = _import_weightings()
    kind: Callable[..., Callable[[Tensor], Tensor]] | None = getattr(weightings, _CLASSES[aggregator], None)
    if kind is None:
        raise ConfigError(f"TorchJD with {_CLASSES[aggregator]}", "one without it", "pip install -U 'auxo[torchjd]'")
    if aggregator in ("upgrad", "dualproj"):
        return kind(projector=project_onto_dual_cone)
    try:
        return kind(c=_CAGRAD_RADIUS) if aggregator == "cagrad" else kind()
    except ImportError as error:
        reason = str(error).splitlines()[0]
        fix = "pip install 'torchjd[cagrad]', or choose another gate.aggregator"
        raise ConfigError(f"the packages of {aggregator}", reason, fix) from error


def _import_weightings() -> ModuleType:
    """Import the part of TorchJD that has the weightings."""
    try:
        return importlib.import_module("torchjd.aggregation")
    except (ImportError, OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            "the package torchjd for the gate torchjd",
            f"an import that failed ({reason})",
            "pip install 'auxo[torchjd]'",
        ) from error
