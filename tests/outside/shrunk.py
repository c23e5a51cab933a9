"""A solver of BiSSL in one file outside auxo: a step of Richardson's iteration, which takes one product."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from auxo.options import Range
from auxo.solvers import Response, SolverConfig


@dataclass(frozen=True, kw_only=True)
class Shrunk(SolverConfig):
    """J v is v less a part of the Hessian's product with it."""

    has_products: ClassVar[bool] = True

    part: Annotated[float, Range(above=0, high=1)] = 0.1
    """Part of the product."""

    def respond(self, vector, lower):
        """Return ``v - part H v``."""
        image = lower.hessian().operator(scale=1.0)(vector)
        answer = vector - self.part * image
        return Response(answer, (image.norm() / vector.norm()), vector.new_zeros(()), products=1)
