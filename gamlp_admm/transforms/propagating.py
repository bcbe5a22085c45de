"""What the transforms that propagate over the graph share."""

from __future__ import annotations

from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from gamlp_admm.errors import InputError
from gamlp_admm.propagation import Scheme, constructor_call


class PropagatingTransform(BaseTransform):  # type: ignore[misc]
    """A transform that propagates; it has an attribute for each parameter of its constructor.

    Args:
        scheme: How to propagate. A constructor makes it itself, so that warnings name the line that calls it.
    """

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self.hops = scheme.hops
        self.operator = scheme.operator
        self.alpha = scheme.alpha
        self.t = scheme.t
        self.direction = scheme.direction

    @property
    def states(self) -> tuple[int, ...]:
        """The numbers of steps whose states the output has, a block of columns each."""
        return self._scheme.states

    def __repr__(self) -> str:
        return constructor_call(self)

    def _check_graph(self, data: object) -> None:
        if not isinstance(data, Data):
            raise InputError(f"{type(self).__name__} takes a torch_geometric.data.Data, got a {type(data).__name__}")


def blocks_of(data: Data) -> tuple[int, ...]:
    """Return the numbers of columns of the blocks that ``data.x`` is made of; one block where none are noted."""
    blocks, width = getattr(data, "feature_blocks", None), data.x.shape[1]
    return tuple(blocks) if blocks is not None and sum(blocks) == width else (width,)
