"""Arithmetic on named tensors: entry by entry, or as one flat vector."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def shift(tensors: Mapping[str, Tensor], factor: Tensor | float, directions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return ``tensor + factor * direction`` by name, attached to all three."""
    if isinstance(factor, Tensor):
        return {name: torch.addcmul(value, factor, directions[name]) for name, value in tensors.items()}
    return {name: torch.add(value, directions[name], alpha=factor) for name, value in tensors.items()}


def joint_norm(tensors: Iterable[Tensor]) -> Float[Tensor, ""]:
    """Return the Euclidean norm of all entries together."""
    norms: list[Tensor] = [torch.linalg.vector_norm(tensor) for tensor in tensors]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return norm


class Layout:
    """Where each of some named tensors lies in one flat vector.

    On a vector a solver's arithmetic is a handful of operations, however many tensors there are. Entries lie in the
    order of the tensor's memory (its own strides), so a tensor cut from the vector comes back in the memory format it
    had. The vector has the widest dtype among the tensors, and float32 at least.

    Args:
        tensors: floating point, on one device; at least one.

    Example:
        >>> layout = Layout({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)})
        >>> vector = layout.flatten({"weight": torch.ones(2, 3), "bias": torch.zeros(2)})
        >>> vector.tolist()
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
        >>> layout.split(vector)["bias"].tolist()
        [0.0, 0.0]
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.names = tuple(tensors)
        self.dtype = torch.float32
        self._orders: list[tuple[int, ...]] = []
        self._shapes: list[torch.Size] = []
        self._dtypes: list[torch.dtype] = []
        for tensor in tensors.values():
            self.dtype = torch.promote_types(self.dtype, tensor.dtype)
            order = tuple(sorted(range(tensor.dim()), key=tensor.stride().__getitem__, reverse=True))
            self._orders.append(order)
            self._shapes.append(torch.Size([tensor.shape[d] for d in order]))
            self._dtypes.append(tensor.dtype)
        self.sizes = [shape.numel() for shape in self._shapes]
        self.device = next(iter(tensors.values())).device

    @property
    def size(self) -> int:
        """Number of entries of the vector."""
        return sum(self.sizes)

    def flatten(self, tensors: Mapping[str, Tensor] | Sequence[Tensor]) -> Float[Tensor, " size"]:
        """Return the tensors, by name or in the order of :attr:`names`, as one vector, attached to their graph."""
        values = [tensors[name] for name in self.names] if isinstance(tensors, Mapping) else tensors
        pieces = [t.permute(order).reshape(-1) for t, order in zip(values, self._orders, strict=True)]
        return torch.cat([piece.to(self.dtype) for piece in pieces])

    def split(self, vector: Float[Tensor, "*batch size"]) -> dict[str, Tensor]:
        """Return the named tensors, each in its own dtype and memory order; leading dimensions stay in front."""
        batch = vector.shape[:-1]
        tensors = {}
        parts = zip(self.names, vector.split(self.sizes, dim=-1), self._orders, self._shapes, self._dtypes, strict=True)
        for name, piece, order, shape, dtype in parts:
            back = sorted(range(len(order)), key=order.__getitem__)
            axes = [*range(len(batch)), *(len(batch) + axis for axis in back)]
            tensors[name] = piece.reshape((*batch, *shape)).permute(axes).to(dtype)
        return tensors

    def share_of_largest(self, vector: Float[Tensor, " size"]) -> tuple[str, float]:
        """Return the name of the tensor that holds most of the vector's squared norm, and its share in 0..1."""
        squares = torch.stack([piece.double().square().sum() for piece in vector.split(self.sizes)])
        largest = int(squares.argmax())
        return self.names[largest], float(squares[largest] / squares.sum())
