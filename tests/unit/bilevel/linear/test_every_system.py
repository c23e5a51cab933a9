"""Every solver on every kind of system beside dense answers, in both precisions: none calls a wrong one converged."""

import pytest
import torch

from auxo.bilevel.linear import (
    MINRES,
    ConjugateGradient,
    Identity,
    LayerwiseConjugateGradient,
    Neumann,
    Nystrom,
    Operator,
)
from auxo.bilevel.solvers.interface import SolverInfo

SIZES = (20, 200)
SOLVERS = {
    "conjugate gradients": ConjugateGradient,
    "layer by layer": LayerwiseConjugateGradient,
    "minres": MINRES,
    "neumann": lambda iterations: Neumann(terms=iterations),
    "nystrom": lambda iterations: Nystrom(rank=iterations),
    "identity": lambda iterations: Identity(measure_residual=True),
}
SYSTEMS = (
    "well-posed",
    "ill-conditioned",
    "singular consistent",
    "singular inconsistent",
    "indefinite",
    "not a number",
)
SOLVED = {  # by which solvers, given iterations enough
    "well-posed": {"conjugate gradients", "layer by layer", "minres", "neumann"},
    "singular consistent": {"conjugate gradients", "layer by layer", "minres", "neumann"},
    "indefinite": {"minres"},
}
LOST = {  # who must see that there is no answer
    "singular inconsistent": {"conjugate gradients", "minres"},
    "indefinite": {"conjugate gradients", "neumann", "nystrom"},
}


def make_system(kind, size):
    """A matrix, a right-hand side and the shortest least-squares answer for each damping, all in float64."""
    generator = torch.Generator().manual_seed(size)
    basis = torch.linalg.qr(torch.randn(size, size, generator=generator, dtype=torch.float64)).Q
    some = torch.linspace(1, 3, 5, dtype=torch.float64)
    values = {
        "ill-conditioned": torch.logspace(-4, 0, size, dtype=torch.float64),
        "singular consistent": torch.cat([some, torch.zeros(size - 5, dtype=torch.float64)]),
        "singular inconsistent": torch.cat([some, torch.zeros(size - 5, dtype=torch.float64)]),
        "indefinite": torch.cat([torch.linspace(1, 3, size - 5, dtype=torch.float64), -some]),
    }.get(kind, torch.linspace(1, 3, size, dtype=torch.float64))
    matrix = basis * values @ basis.T
    matrix = (matrix + matrix.T) / 2
    vector = torch.randn(size, generator=generator, dtype=torch.float64)
    right = vector if kind == "singular inconsistent" else matrix @ vector
    if kind == "not a number":
        matrix[0, 0] = float("nan")
    return matrix, right


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", SYSTEMS)
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("iterations", [10, 60])
def test_solve__every_system__tells_the_true_residual_and_calls_no_wrong_answer_converged(
    name, kind, size, dtype, iterations
):
    matrix, right = make_system(kind, size)
    solver, unit = SOLVERS[name](iterations=iterations), torch.finfo(dtype).eps
    rounded = matrix.to(dtype)
    answer = solver.solve(Operator(lambda vector: rounded @ vector), right.to(dtype))
    info = SolverInfo(
        is_finite=torch.isfinite(answer.solution).all(),
        residual=answer.residual,
        tolerance=solver.tolerance,
        breakdown=answer.breakdown,
    )
    if kind == "not a number":
        assert not info.converged
        return
    damped = matrix + solver.damping * torch.eye(size, dtype=torch.float64)
    solution = answer.solution.double()
    true = float((right - damped @ solution).norm() / right.norm())
    rounding = unit * float(damped.norm() * solution.norm() / right.norm() + 1)
    assert float(answer.residual) == pytest.approx(true, rel=1e-3, abs=10 * rounding)
    dense = torch.linalg.pinv(damped, rtol=1e-10) @ right
    error = float((solution - dense).norm() / dense.norm())
    if info.converged:
        assert error < 1e4 * max(true, 10 * unit)  # the largest condition number here
    if iterations == 60 and name in SOLVED.get(kind, ()):
        assert info.converged
        assert error < (1e-4 if dtype == torch.float32 else 1e-6)
    if kind == "singular inconsistent" and not solver.damping:
        assert not info.converged
    if iterations == 60 and name in LOST.get(kind, ()) and not (kind == "singular inconsistent" and solver.damping):
        assert info.has_failed
