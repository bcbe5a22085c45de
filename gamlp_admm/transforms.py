"""The PyTorch Geometric transform that augments node features with propagated ones."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable
from itertools import pairwise
from operator import index
from typing import Any

import torch
import torch.nn.functional as F
from scipy import sparse
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from gamlp_admm import propagation
from gamlp_admm.errors import InputError, InputWarning, unknown

OPERATORS = ("sym", "row", "ppr", "heat")
_DIFFUSIONS = ("ppr", "heat")


class AugmentFeatures(BaseTransform):  # type: ignore[misc]
    r"""Replace ``data.x`` by features propagated over the graph, once and before training.

    With H the features ``[N, F]`` and Ã the propagation operator, ``data.x`` becomes
    ``[H, ÃH, Ã²H, …, Ã^K H]``, of shape ``[N, (K + 1)·F]``: the input of a graph-augmented MLP.

    ============  ==========================================  =================  =================
    ``operator``  state after k steps                         ``hops=K`` gives   ``hops=None`` is
    ============  ==========================================  =================  =================
    ``"sym"``     Ã^k H, Ã = (D+I)^-1/2 (A+I) (D+I)^-1/2      states 0…K         4
    ``"row"``     Ã^k H, Ã = (D+I)^-1 (A+I)                   states 0…K         4
    callable      Ã^k H, Ã = ``operator(A)``                  states 0…K         4
    matrix        Ã^k H, Ã = ``operator``                     states 0…K         4
    ``"ppr"``     (1-α) Ã Z_{k-1} + α H, Z_0 = H, Ã as sym    state K alone      10
    ``"heat"``    Σ_{j≤k} e^-t t^j/j! Ã^j H, Ã as sym         state K alone      10
    ============  ==========================================  =================  =================

    ``hops`` may also be a set of steps, such as ``(0, 2, 4)`` or ``range(2, 5)``: the states after those
    numbers of steps side by side, for every operator. State 0 is H. :attr:`states` holds the resolved steps;
    the output has ``len(states)·F`` columns.

    **The graph.** A is made from ``data.edge_index`` and, where present, ``data.edge_weight``. Repeated edges
    add up and self-loops that are present keep their weight, as in PyG's ``gcn_norm``; every other node gets
    a self-loop of weight 1. This sum is A + I in the table, and D + I is the diagonal of its row sums.

    **A callable** receives A as a SciPy CSR array ``[N, N]``, row i holding the nodes from which node i
    gathers, without added self-loops; it returns a SciPy or torch sparse matrix ``[N, N]``. The functions
    ``sym`` and ``row`` of :mod:`gamlp_admm.propagation` are such callables. **A matrix** is used as it is,
    and ``data`` then needs no edges.

    Args:
        hops: K, or the increasing steps to keep; ``None`` for the default of the operator (see the table).
        operator: ``"sym"``, ``"row"``, ``"ppr"``, ``"heat"``, a callable, or a SciPy or torch sparse matrix.
        alpha: The teleport probability α of ``"ppr"``, in (0, 1].
        t: The diffusion time of ``"heat"``, positive; 1 to 10 is usual.
        direction: How a directed edge is used. ``"along"``: features flow from source to target, as in PyG;
            ``"against"``: from target to source; ``"both"``: both ways, with the larger of the two weights,
            so that graphs that store each edge in both directions stay exactly as they are.
        normalize_features: Divide each row of H by the sum of its absolute values before propagation; rows of
            zeros stay zero. For counts this is :class:`torch_geometric.transforms.NormalizeFeatures`.
        keep_original: Keep the features as they were in ``data.x_original``.
        dtype: Floating-point type of the new ``data.x``; ``None`` for that of ``data.x`` (for integers,
            torch's default). The computation is in float32 at least; matrix entries are computed in float64.

    Raises:
        InputError: An option is not allowed.

    Source:
        GA-MLP, arXiv 2010.15116; SIGN, arXiv 2004.11198; APPNP, arXiv 1810.05997; GDC, arXiv 1911.05485.

    Example:
        >>> data = AugmentFeatures(hops=4, operator="sym")(data)
        >>> two_hops = AugmentFeatures(hops=(0, 2), operator=lambda A: A @ A)
    """

    def __init__(
        self,
        hops: int | Iterable[int] | None = None,
        operator: str | Callable[[sparse.csr_array], Any] | Tensor | sparse.sparray | sparse.spmatrix = "sym",
        *,
        alpha: float = 0.1,
        t: float = 3.0,
        direction: str = "both",
        normalize_features: bool = False,
        keep_original: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        _check_operator(operator)
        if not 0 < alpha <= 1:
            raise InputError(f"alpha is {alpha}: it must be greater than 0 and at most 1")
        if not (t > 0 and math.isfinite(t)):
            raise InputError(f"t is {t}: it must be positive and finite")
        if direction not in propagation.DIRECTIONS:
            raise unknown("direction", direction, propagation.DIRECTIONS)
        if dtype is not None and not dtype.is_floating_point:
            raise InputError(f"dtype is {dtype}: it must be a floating-point type")
        self.operator = operator
        self.alpha = alpha
        self.t = t
        self.direction = direction
        self.normalize_features = normalize_features
        self.keep_original = keep_original
        self.dtype = dtype
        self._scheme = operator if isinstance(operator, str) and operator in _DIFFUSIONS else "powers"
        default = 4 if self._scheme == "powers" else 10
        self.hops: int | tuple[int, ...] = _checked_hops(default if hops is None else hops)
        if self._scheme == "heat" and (last := self.states[-1]) > 0:
            lost = propagation.heat_remainder(last, t)
            if lost > 0.05:
                warnings.warn(
                    f"heat with t={t} and {last} steps leaves out {lost:.0%} of its series: "
                    f"{math.ceil(t + 3 * math.sqrt(t))} steps hold nearly all of it",
                    InputWarning,
                    stacklevel=2,
                )

    @property
    def states(self) -> tuple[int, ...]:
        """The numbers of steps whose states are kept, one block of F columns each."""
        if isinstance(self.hops, tuple):
            return self.hops
        return tuple(range(self.hops + 1)) if self._scheme == "powers" else (self.hops,)

    def forward(self, data: Data) -> Data:
        """Augment ``data.x`` in place; calling the transform itself works on a shallow copy.

        Args:
            data: A graph with ``x`` ``[N, F]``, dense or sparse, and ``edge_index`` ``[2, E]``.

        Returns:
            ``data``, whose ``x`` is a new dense tensor ``[N, len(states)·F]`` on the device of the old one.

        Raises:
            InputError: The features or the edges are missing or not allowed.
        """
        if not isinstance(data, Data):
            raise InputError(f"AugmentFeatures takes a torch_geometric.data.Data, got a {type(data).__name__}")
        original = data.x
        features, dtype = self._features(original)
        N, columns = features.shape
        matrix = propagation.to_torch(self._matrix(data, N), features.dtype, features.device)
        augmented = features.new_empty(N, len(self.states) * columns)
        blocks = {step: augmented.narrow(1, i * columns, columns) for i, step in enumerate(self.states)}
        if self._scheme == "ppr":
            propagation.pagerank(matrix, features, blocks, alpha=self.alpha)
        elif self._scheme == "heat":
            propagation.heat(matrix, features, blocks, t=self.t)
        else:
            propagation.powers(matrix, features, blocks)
        data.x = augmented.to(dtype)
        if self.keep_original:
            data.x_original = original
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self._options())})"

    def _options(self) -> Iterable[str]:
        """Yield hops, operator and the options that differ from their defaults, as ``name=value``."""
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if name == "operator" and not isinstance(value, str):
                yield f"operator=<{getattr(value, '__name__', type(value).__name__)}>"
            elif name in ("hops", "operator") or value != parameter.default:
                yield f"{name}={value!r}"

    def _features(self, x: Any) -> tuple[Tensor, torch.dtype]:
        """Return H, dense, checked, in the type to compute in, and the type of the output."""
        if not isinstance(x, Tensor) or x.dim() != 2 or x.is_complex():
            given = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"data.x must be a real tensor of shape [nodes, features], got {given}")
        dtype = self.dtype or (x.dtype if x.is_floating_point() else torch.get_default_dtype())
        dense = x.detach() if x.layout is torch.strided else x.detach().to_dense()
        dense = dense.to(torch.promote_types(dtype, torch.float32)).contiguous()
        _check_finite(dense)
        if self.normalize_features:
            dense = F.normalize(dense, p=1.0, dim=1, eps=torch.finfo(dense.dtype).tiny)
        return dense, dtype

    def _matrix(self, data: Data, num_nodes: int) -> sparse.csr_array:
        """Return Ã ``[N, N]`` in float64."""
        if propagation.is_sparse(self.operator):
            return propagation.as_operator(self.operator, num_nodes)
        if data.edge_index is None:
            raise InputError("data.edge_index is missing: propagation needs edges, or a matrix as operator")
        A = propagation.adjacency(data.edge_index, data.edge_weight, num_nodes, self.direction)
        if callable(self.operator):
            return propagation.as_operator(self.operator(A), num_nodes)
        return propagation.row(A) if self.operator == "row" else propagation.sym(A)


def _check_operator(operator: object) -> None:
    if isinstance(operator, str):
        if operator not in OPERATORS:
            raise unknown("operator", operator, OPERATORS)
    elif not (callable(operator) or propagation.is_sparse(operator)):
        allowed = f"{', '.join(OPERATORS)}, a callable, or a SciPy or torch sparse matrix"
        raise InputError(f"operator is a {type(operator).__name__}: allowed: {allowed}")


def _checked_hops(hops: int | Iterable[int]) -> int | tuple[int, ...]:
    allowed = "it must be a number of steps, 0 or more, or an increasing set of such numbers"
    try:
        checked = tuple(map(index, hops)) if isinstance(hops, Iterable) else index(hops)
    except TypeError:
        raise InputError(f"hops is {hops!r}: {allowed}") from None
    steps = checked if isinstance(checked, tuple) else (checked,)
    if not steps or steps[0] < 0 or any(a >= b for a, b in pairwise(steps)):
        raise InputError(f"hops is {checked}: {allowed}")
    return checked


def _check_finite(features: Tensor) -> None:
    """Raise if there are NaN or infinite features; minimum and maximum show it without a mask ``[N, F]``."""
    if features.numel() == 0 or torch.stack(torch.aminmax(features)).isfinite().all():
        return
    wrong = (~features.isfinite()).nonzero()
    line, column = wrong[0].tolist()
    raise InputError(
        f"data.x has {len(wrong)} NaN or infinite values (as {features.dtype}), "
        f"the first at row {line}, column {column}: features must be finite"
    )
