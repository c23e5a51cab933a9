"""Two-level optimisation on plain tensors: knows nothing of images, methods or runs."""

from auxo.bilevel.linear import LinearSolution, conjugate_gradient
from auxo.bilevel.softmax_head import SoftmaxHeadProblem, SoftmaxHeadSolution

__all__ = ["LinearSolution", "SoftmaxHeadProblem", "SoftmaxHeadSolution", "conjugate_gradient"]
