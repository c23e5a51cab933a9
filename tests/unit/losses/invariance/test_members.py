"""What each member makes of the rows of a batch, against loops over groups."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from auxo.losses.invariance import JoinedRows, discrepancy, weighted_mean
from auxo.losses.invariance.group_dro import GroupDRO
from auxo.losses.invariance.hsic import HSIC
from auxo.losses.invariance.irm import IRM
from auxo.losses.invariance.mmd import MMD
from auxo.losses.invariance.none import NoPenalty
from auxo.losses.invariance.vrex import VREx
from auxo.losses.kernels.rbf import RBF

SIZES = {"num_classes": 2, "num_values": 2}


def number(tensor: torch.Tensor) -> float:
    """A scalar without its graph."""
    return float(tensor.detach())


def make_rows(*, missing: bool = False, seed: int = 0) -> JoinedRows:
    """Twelve images; without those of class 1 with value 0 if one cell is to be missing."""
    draws = torch.Generator().manual_seed(seed)
    embedding = torch.randn(12, 3, generator=draws, dtype=torch.float64, requires_grad=True)
    logits = embedding @ torch.randn(3, 2, generator=draws, dtype=torch.float64)
    classes, values = torch.arange(12) % 2, torch.arange(12) // 2 % 2
    values = torch.where((classes == 1) & (values == 0), 1, values) if missing else values
    weights = torch.rand(12, generator=draws, dtype=torch.float64) + 0.5
    losses = functional.cross_entropy(logits, classes, reduction="none")
    return JoinedRows(losses, weights, embedding, logits, classes, values)


def loop_over_groups(rows: JoinedRows, numbers: list[int], count: int) -> list[float | None]:
    found: list[float | None] = []
    for group in range(count):
        own = [i for i in range(len(numbers)) if numbers[i] == group]
        mass = sum(number(rows.weights[i]) for i in own)
        found.append(sum(number(rows.weights[i] * rows.losses[i]) for i in own) / mass if own else None)
    return found


def list_cells(rows: JoinedRows) -> list[int]:
    return (2 * rows.classes + rows.values).tolist()


def test_weighted_mean__elementwise__is_that_of_a_loop() -> None:
    rows = make_rows()
    losses = rows.losses.detach()
    total = sum(number(u) * number(loss) for u, loss in zip(rows.weights, losses, strict=True))
    assert number(weighted_mean(losses, rows.weights)) == pytest.approx(total / number(rows.weights.sum()))


def test_weighted_mean__weights_as_a_column__are_refused_and_would_have_cancelled() -> None:
    rows = make_rows()
    spread = rows.weights[:, None] * rows.losses  # the released product: (n, 1) by (n,)
    assert number(spread.sum() / rows.weights.sum()) == pytest.approx(number(rows.losses.sum()))
    with pytest.raises(ValueError, match=r"the shape \(12,\) of the losses, not \(12, 1\)"):
        weighted_mean(rows.losses, rows.weights[:, None])


def test_no_penalty__both_scales__are_weighted_mean_and_plain_sum() -> None:
    rows = make_rows()
    for scale, expected in (
        ("weighted_mean", (rows.weights * rows.losses).sum() / rows.weights.sum()),
        ("sum_unweighted", rows.losses.sum()),
    ):
        terms = NoPenalty.Config(loss_scale=scale).build(**SIZES)(rows)
        assert number(terms.prediction) == pytest.approx(number(expected))
        assert number(terms.penalty) == 0


@pytest.mark.parametrize("kind", [MMD, HSIC])
def test_kernel_penalties__weight_0__are_weighted_training(kind: type) -> None:
    rows = make_rows()
    ours = kind.Config(weight=0.0).build(**SIZES)(rows)
    plain = NoPenalty.Config().build(**SIZES)(rows)
    found, expected = (torch.autograd.grad(sum(each), rows.embedding, retain_graph=True)[0] for each in (ours, plain))
    assert torch.equal(found, expected)


def test_mmd__conditional__is_the_sum_within_the_classes() -> None:
    rows, kernel = make_rows(), RBF(sigma=1.5)
    expected = 0.0
    for label in (0, 1):
        own = rows.classes == label
        matrix = kernel.compare(rows.embedding[own])
        expected += number(discrepancy(matrix, rows.values[own], rows.weights[own], num_values=2))
    found = MMD.Config(weight=4.0, kernel=kernel, over="conditional").build(**SIZES)(rows)
    assert number(found.penalty) == pytest.approx(4 * expected, rel=1e-12)


def test_mmd__logits__are_compared_without_what_a_softmax_takes_out() -> None:
    rows, config = make_rows(), MMD.Config(layer="logits", kernel=RBF(sigma=1.0))
    moved = rows._replace(logits=rows.logits + torch.linspace(-5, 5, 12).double()[:, None])
    one, other = (number(config.build(**SIZES)(each).penalty) for each in (rows, moved))
    assert one == pytest.approx(other, rel=1e-10)
    assert one != pytest.approx(number(replace(config, layer="embedding").build(**SIZES)(rows).penalty))


def test_ramp__over_half_of_the_stage__grows_evenly() -> None:
    penalty = MMD.Config(ramp=0.5).build(**SIZES)
    rows = make_rows()
    whole = number(penalty(rows._replace(progress=0.7)).penalty)
    found = [number(penalty(rows._replace(progress=progress)).penalty) for progress in (0.0, 0.125, 0.5)]
    assert found == pytest.approx([0, whole / 4, whole])


@pytest.mark.parametrize("missing", [False, True])
def test_vrex__groups__are_mean_and_variance_of_their_risks(missing: bool) -> None:
    rows = make_rows(missing=missing)
    risks = loop_over_groups(rows, list_cells(rows), 4)
    present = torch.tensor([risk for risk in risks if risk is not None])
    terms = VREx.Config(weight=3.0).build(**SIZES)(rows)
    assert number(terms.prediction) == pytest.approx(number(present.mean()))
    assert number(terms.penalty) == pytest.approx(3 * number(present.var(correction=0)))
    zeros = torch.tensor([risk or 0.0 for risk in risks])
    released = VREx.Config(weight=3.0, as_released=True).build(**SIZES)(rows)
    assert number(sum(released)) == pytest.approx(number((zeros.sum() + 3 * zeros.var(correction=0)) / 3))


def test_irm__values__is_the_squared_derivative_in_a_factor_on_the_logits() -> None:
    rows = make_rows()
    expected = 0.0
    for value in (0, 1):
        own = rows.values == value
        factor = torch.ones((), dtype=torch.float64, requires_grad=True)
        losses = functional.cross_entropy(factor * rows.logits[own].detach(), rows.classes[own], reduction="none")
        risk = (rows.weights[own] * losses).sum() / rows.weights[own].sum()
        expected += number(torch.autograd.grad(risk, factor)[0]) ** 2 / 2
    terms = IRM.Config(weight=5.0).build(**SIZES)(rows)
    assert number(terms.penalty) == pytest.approx(5 * expected, rel=1e-10)
    assert torch.autograd.gradcheck(
        lambda logits: IRM.Config().build(**SIZES)(rows._replace(logits=logits)).penalty, rows.logits
    )


@pytest.mark.parametrize("missing", [False, True])
def test_group_dro__steps__follow_the_losses_of_the_groups(missing: bool) -> None:
    rows = make_rows(missing=missing)
    dro = GroupDRO.Config(step_size=0.5).build(**SIZES).double()
    risks = torch.tensor([risk or 0.0 for risk in loop_over_groups(rows, list_cells(rows), 4)], dtype=torch.float64)
    weights = torch.full((4,), 0.25, dtype=torch.float64)
    for _ in range(3):
        weights = weights * torch.exp(0.5 * risks)
        weights /= weights.sum()
        terms = dro(rows)
        assert number(terms.prediction) == pytest.approx(number((weights * risks).sum()), rel=1e-10)
    assert torch.allclose(dro.weights, weights)
    gradient = torch.autograd.grad(terms.prediction, rows.losses)[0]
    mass = torch.stack([rows.weights[torch.tensor(list_cells(rows)) == g].sum() for g in range(4)])
    cells = torch.tensor(list_cells(rows))
    assert torch.allclose(gradient, weights[cells] * rows.weights / mass[cells])


def test_group_dro__step_size_0__keeps_groups_equal_and_values_are_fewer_groups() -> None:
    rows = make_rows()
    dro = GroupDRO.Config(step_size=0.0, groups="values").build(**SIZES).double()
    risks = loop_over_groups(rows, rows.values.tolist(), 2)
    assert number(dro(rows).prediction) == pytest.approx(sum(risks) / 2)
