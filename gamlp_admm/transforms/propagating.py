"""What the transforms that propagate over the graph share."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.propagation import Features, Matrix, Scheme, constructor_call, is_sparse
from gamlp_admm.propagation.store import cache
from gamlp_admm.transforms.feature_transform import FeatureTransform


class PropagatingTransform(FeatureTransform):
    """A transform that propagates.

    Args:
        scheme: How to propagate. A constructor makes it itself, so that warnings name the line that calls it.
        weight_attr: Name of the attribute of the data that holds the weights of the edges; see :func:`edges_of`.
    """

    def __init__(self, scheme: Scheme, weight_attr: str | None = None) -> None:
        self._scheme = scheme
        self.hops = scheme.hops
        self.operator = scheme.operator
        self.alpha = scheme.alpha
        self.t = scheme.t
        self.direction = scheme.direction
        if not isinstance(weight_attr, str | None):
            raise InputError(f"weight_attr must be the name of an attribute, or None, not {weight_attr!r}")
        self.weight_attr = weight_attr

    @property
    def states(self) -> tuple[int, ...]:
        """The numbers of steps whose states the output has, a block of columns each."""
        return self._scheme.states

    def __repr__(self) -> str:
        return constructor_call(self)

    def _matrix(
        self, data: Data, like: Tensor | Features, folder: Path | None = None, working: int | None = None
    ) -> Matrix:
        """Return Ã ``[N, N]`` of a graph; the rest is as :meth:`Scheme.matrix` takes it."""
        if is_sparse(self.operator):
            return self._scheme.matrix(None, None, like)
        return self._scheme.matrix(*edges_of(data, self.weight_attr, quiet=self.states == (0,)), like, folder, working)

    def _kept(
        self,
        data: Data,
        of: tuple[Any, ...],
        like: Tensor,
        columns: int,
        make: Callable[[], Tensor],
        rows: Tensor | None = None,
    ) -> Tensor:
        """Return what is propagated; within :func:`gamlp_admm.propagation.store.caching` what is kept of it, if it is.

        Args:
            data: The graph.
            of: What the result depends on, beside the edges and the scheme.
            like: ``[N, F]``, what is propagated; of the result's device and about its type.
            columns: Columns that go over the edges: F, or more where some do more than once.
            make: Makes the result, ``[R, len(states)·F]``.
            rows: ``[R]``, the numbers of its rows; ``None`` for all.
        """
        caching, last = cache.current(), self.states[-1]
        if caching is None:
            return make()
        scheme, given = self._scheme, is_sparse(self.operator)
        try:
            edges = (None, None) if given else edges_of(data, self.weight_attr, quiet=True)
        except InputError:
            return make()  # which says it in its turn
        operator = (scheme.named.content, isinstance(self.operator, str), self.direction)
        parameter = getattr(self, scheme.named.parameter) if scheme.named.parameter else None
        device = torch.cuda.get_device_name(like.device) if like.is_cuda else like.device.type
        before, width = caching.found, like.shape[1] * len(self.states)
        made = caching(
            make,
            lambda: (type(self), PropagatingTransform, operator, self.states, parameter, edges, device, of),
            work=(len(like) + _count(self.operator if given else edges[0])) * columns * last,
            size=len(like if rows is None else rows) * width * like.element_size(),
            about=lambda: {"transform": repr(self)},
        )
        if caching.found > before and not given:
            edges_of(data, self.weight_attr, quiet=last == 0)  # for its warning
        return made.to(like.device)

    def _check_graph(self, data: object) -> None:
        if not isinstance(data, Data):
            raise InputError(f"{type(self).__name__} takes a torch_geometric.data.Data, got a {type(data).__name__}")


def _count(edges: Any) -> int:
    """Return the number of edges ``[2, E]``, or of entries of a sparse matrix."""
    if is_sparse(edges):
        return int(edges._nnz() if isinstance(edges, Tensor) else edges.nnz)
    return int(edges.shape[-1]) if isinstance(edges, Tensor) and edges.dim() else 0


def blocks_of(data: Data) -> tuple[int, ...]:
    """Return the numbers of columns of the blocks that ``data.x`` is made of; one block where none are noted."""
    blocks, width = getattr(data, "feature_blocks", None), data.x.shape[1]
    return tuple(blocks) if blocks is not None and sum(blocks) == width else (width,)


def edges_of(data: Any, weight_attr: str | None = None, quiet: bool = False) -> tuple[Tensor | None, Tensor | None]:
    """Return the edges of a graph and their weights.

    Without ``edge_index``, they are read from ``adj_t``, in which :class:`torch_geometric.transforms.ToSparseTensor`
    puts the edge from source to target, with its weight, into row ``target``, column ``source``.

    Args:
        data: Has ``edge_index`` ``[2, E]`` or a sparse ``adj_t`` ``[N, N]``.
        weight_attr: Name of the attribute that holds the weights, ``[E]`` or ``[E, 1]``. ``None`` for ``edge_weight``
            where there is one, with an :class:`~gamlp_admm.errors.InputWarning` where there is none but an
            ``edge_attr`` of one column: it may hold weights, and is not used. An ``edge_attr`` of several columns
            holds features, not weights, and is not looked at.
        quiet: Whether to leave the warning out.

    Returns:
        ``edge_index`` ``[2, E]`` and the weights ``[E]``, each ``None`` where there are none.

    Raises:
        InputError: The attribute ``weight_attr`` is missing or has another shape, or ``adj_t`` is not a sparse matrix.
    """
    edge_index, weight = getattr(data, "edge_index", None), None
    adj_t = getattr(data, "adj_t", None) if edge_index is None else None
    if adj_t is not None:
        edge_index, weight = _transposed(adj_t)
        if weight_attr is not None and getattr(data, weight_attr, None) is not None:
            remedy = f"ToSparseTensor(attr={weight_attr!r}) puts the weights into data.adj_t"
            raise InputError(f"data.edge_index is missing, which the order of data.{weight_attr} refers to: {remedy}")
        plain = bool((weight == 1).all())
    else:
        weight = getattr(data, weight_attr or "edge_weight", None)
        plain = weight is None
        if weight_attr is not None:
            weight = _column(weight, weight_attr, edge_index)
    if plain and weight_attr is None and not quiet and _is_column(getattr(data, "edge_attr", None), edge_index):
        warnings.warn(
            "data.edge_attr has one column, but is not used as weights: every edge has weight 1; set data.edge_weight "
            "to it, or give AugmentFeatures and AugmentLabels weight_attr='edge_attr' ('edge_weight' for weights of 1);"
            " train has --weight",
            InputWarning,
            stacklevel=_level(),
        )
    return edge_index, weight


def _level() -> int:
    """Return the ``stacklevel`` of the line that called this package, or PyG with its transforms."""
    frame, level = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(("gamlp_admm.", "torch_geometric.")):
        frame, level = frame.f_back, level + 1
    return level


def _is_column(attribute: Any, edge_index: Any) -> bool:
    if not (isinstance(attribute, Tensor) and isinstance(edge_index, Tensor) and edge_index.dim() == 2):
        return False
    E = edge_index.shape[1]
    return E > 0 and tuple(attribute.shape) in ((E,), (E, 1))


def _column(attribute: Any, name: str, edge_index: Any) -> Tensor | None:
    if attribute is None:
        if name == "edge_weight":
            return None
        raise InputError(f"data.{name} is missing, which weight_attr names")
    if isinstance(edge_index, Tensor) and edge_index.numel() and not _is_column(attribute, edge_index):
        given = list(attribute.shape) if isinstance(attribute, Tensor) else type(attribute).__name__
        E = edge_index.shape[-1]
        raise InputError(f"data.{name} must be a tensor of shape [{E}] or [{E}, 1], one weight an edge, got {given}")
    return attribute.reshape(-1) if isinstance(attribute, Tensor) else attribute


def _transposed(adj_t: Any) -> tuple[Tensor, Tensor]:
    """Return the edges and the weights that a transposed adjacency matrix holds."""
    if hasattr(adj_t, "to_torch_sparse_coo_tensor"):  # of the package torch_sparse
        adj_t = adj_t.to_torch_sparse_coo_tensor()
    if not (isinstance(adj_t, Tensor) and adj_t.layout is not torch.strided and adj_t.dim() == 2):
        given = f"{adj_t.layout} {list(adj_t.shape)}" if isinstance(adj_t, Tensor) else type(adj_t).__name__
        raise InputError(f"data.adj_t must be a sparse matrix [nodes, nodes], got {given}")
    entries = adj_t.detach().to_sparse(layout=torch.sparse_coo).coalesce()
    return entries.indices().flip(0), entries.values()
