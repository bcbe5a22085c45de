"""The choice of an operator, its options and the states to keep: what transforms have in common."""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise
from operator import index
from typing import Any, TypeAlias, cast

import torch
from scipy import sparse
from torch import Tensor

from gamlp_admm.errors import InputError, InputWarning, number, unknown
from gamlp_admm.propagation.diffuse import heat, heat_remainder
from gamlp_admm.propagation.operators import (
    DIRECTIONS,
    OPERATORS,
    NamedOperator,
    adjacency,
    as_operator,
    is_sparse,
)
from gamlp_admm.propagation.product import Matrix, to_torch

MOST_STEPS = 10_000
"""Steps of propagation: what has not spread then does not, and a number may come from a file that is wrong."""

TILE = 128
"""Columns that are propagated together, where features are large: the states of more no longer fit into caches."""

SMALL = 2**22
"""Numbers up to which features are propagated all together."""

Operator: TypeAlias = "str | Callable[[sparse.csr_array], Any] | Tensor | sparse.sparray | sparse.spmatrix"


class Scheme:
    """How to propagate: T_k, linear in what it is applied to, for each number of steps k that is kept.

    Args:
        hops: K, or the increasing steps to keep; ``None`` for 4, with ``"ppr"`` and ``"heat"`` 10. K stands for the
            states ``first``…K, with ``"ppr"`` and ``"heat"`` for state K alone.
        operator: A name of :data:`~gamlp_admm.propagation.OPERATORS`, a callable, or a SciPy or torch sparse matrix.
        alpha: The teleport probability α of ``"ppr"``, in (0, 1].
        t: The diffusion time of ``"heat"``, positive.
        direction: How a directed edge is used; see :func:`~gamlp_admm.propagation.adjacency`.
        first: The smallest number of steps that is of use.

    Attributes:
        hops: K, or the steps to keep, checked.
        states: The numbers of steps whose states are kept.

    Raises:
        InputError: An option is not allowed.

    Example:
        >>> from gamlp_admm.propagation import Scheme
        >>> Scheme(3, "sym", alpha=0.1, t=3.0, direction="both").states
        (0, 1, 2, 3)
        >>> Scheme(None, "ppr", alpha=0.1, t=3.0, direction="both").states
        (10,)
    """

    def __init__(
        self,
        hops: int | Iterable[int] | None,
        operator: Operator,
        *,
        alpha: float,
        t: float,
        direction: str,
        first: int = 0,
    ) -> None:
        _check_operator(operator)
        if not 0 < number("alpha", alpha) <= 1:
            raise InputError(f"alpha is {alpha}: it must be greater than 0 and at most 1")
        if not (number("t", t) > 0 and math.isfinite(t)):
            raise InputError(f"t is {t}: it must be positive and finite")
        if direction not in DIRECTIONS:
            raise unknown("direction", direction, DIRECTIONS)
        self.operator, self.alpha, self.t, self.direction = operator, alpha, t, direction
        self.named = OPERATORS[operator] if isinstance(operator, str) else NamedOperator(cast(Any, operator))
        self.hops = _checked_hops(self.named.hops if hops is None else hops, first)
        if isinstance(self.hops, tuple):
            self.states = self.hops
        else:
            self.states = (self.hops,) if self.named.last_only else tuple(range(first, self.hops + 1))
        if self.named.diffuse is heat and (last := self.states[-1]) > 0:
            lost = heat_remainder(last, t)
            if lost > 0.05:
                warnings.warn(
                    f"heat with t={t} and {last} steps leaves out {lost:.0%} of its series: "
                    f"{math.ceil(t + 3 * math.sqrt(t))} steps hold nearly all of it",
                    InputWarning,
                    stacklevel=3,
                )

    def matrix(self, edge_index: Tensor | None, edge_weight: Tensor | None, like: Tensor) -> Tensor:
        """Return Ã ``[N, N]``; its entries are computed in float64.

        Args:
            edge_index: ``[2, E]``; not used where the operator is a matrix.
            edge_weight: ``[E]``, or ``None`` for ones.
            like: ``[N, F]``; has the dtype and the device of the result.

        Raises:
            InputError: The edges or the operator's matrix are missing or not allowed.
        """
        return to_torch(self._matrix(edge_index, edge_weight, len(like)), like.dtype, like.device)

    def propagate(self, matrix: Matrix, features: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """Return ``[T_k H for k in states]``, side by side.

        Args:
            matrix: ``[N, N]``, Ã, from :meth:`matrix`.
            features: ``[N, F]``, H; not modified.
            dtype: Type of what is returned; ``None`` for that of the features.

        Returns:
            ``[N, len(states)·F]``.

        Raises:
            InputError: There is no memory for it.
        """
        (N, columns), S = features.shape, len(self.states)
        try:
            propagated = features.new_empty(N, S, columns, dtype=dtype)
        except RuntimeError:
            size = f"{S:,} x {columns:,} features of {N:,} nodes"
            raise InputError(f"hops is {self.hops}: there is no memory for {size}") from None
        for tile in tiles(N, columns):
            for i, state in enumerate(self.kept(matrix, features[:, tile].contiguous())):
                propagated[:, i, tile] = state
        return propagated.flatten(1)

    def kept(self, matrix: Matrix, features: Tensor) -> Iterator[Tensor]:
        """Yield the states that are kept, ``T_k H`` for k in ``states``; each holds until the next is asked for.

        Args:
            matrix: ``[N, N]``, Ã, from :meth:`matrix`.
            features: ``[N, F]``, H, contiguous; not modified.
        """
        parameter = self.named.parameter
        options = {parameter: getattr(self, parameter)} if parameter else {}
        made = self.named.diffuse(matrix, features, **options)
        return (state for step, state in zip(range(self.states[-1] + 1), made, strict=False) if step in self.states)

    def _matrix(self, edge_index: Tensor | None, edge_weight: Tensor | None, num_nodes: int) -> sparse.csr_array:
        if is_sparse(self.operator):
            return as_operator(self.operator, num_nodes)
        if edge_index is None:
            raise InputError("data.edge_index is missing: propagation needs edges, or a matrix as operator")
        A = adjacency(edge_index, edge_weight, num_nodes, self.direction)
        made = self.named.matrix(A)
        return as_operator(made, num_nodes) if callable(self.operator) else made


def tiles(num_nodes: int, columns: int) -> list[slice]:
    """Return the column tiles that features are propagated in: all columns, or :data:`TILE` where there are many rows.

    No bit depends on it: states of different columns have nothing to do with each other.

    Example:
        >>> from gamlp_admm.propagation import tiles
        >>> tiles(100, 500), len(tiles(100_000, 500))
        ([slice(0, 500, None)], 4)
    """
    width = TILE if num_nodes * columns > SMALL else columns
    return [slice(low, min(low + width, columns)) for low in range(0, columns, max(width, 1))]


def dense_features(x: Any, dtype: torch.dtype | None = None) -> tuple[Tensor, torch.dtype]:
    """Return ``data.x`` dense, checked and in the type to compute in, which is float32 at least.

    Args:
        x: ``[N, F]``, dense or sparse.
        dtype: Floating-point type of the output; ``None`` for that of ``x`` (for integers, torch's default).

    Returns:
        The features ``[N, F]``, and the type of the output.

    Raises:
        InputError: It is not a real matrix, or has NaN or infinite values.

    Example:
        >>> import torch
        >>> from gamlp_admm.propagation import dense_features
        >>> x, dtype = dense_features(torch.eye(3, dtype=torch.float16).to_sparse())
        >>> x.dtype, dtype
        (torch.float32, torch.float16)
    """
    if not isinstance(x, Tensor) or x.dim() != 2 or x.is_complex():
        given = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise InputError(f"data.x must be a real tensor of shape [nodes, features], got {given}")
    dtype = dtype or (x.dtype if x.is_floating_point() else torch.get_default_dtype())
    dense = x.detach() if x.layout is torch.strided else x.detach().to_dense()
    dense = dense.to(torch.promote_types(dtype, torch.float32)).contiguous()
    _check_finite(dense)
    return dense, dtype


def constructor_call(transform: object) -> str:
    """Return how a transform is constructed: hops, operator and the options that differ from their defaults.

    Args:
        transform: Has an attribute for each parameter of its constructor.

    Example:
        >>> from gamlp_admm import AugmentFeatures
        >>> from gamlp_admm.propagation import constructor_call
        >>> constructor_call(AugmentFeatures(2, direction="along"))
        "AugmentFeatures(hops=2, operator='sym', direction='along')"
    """
    return f"{type(transform).__name__}({', '.join(_options(transform))})"


def _options(transform: object) -> Iterable[str]:
    for name, parameter in inspect.signature(type(transform)).parameters.items():
        value = getattr(transform, name)
        if name == "operator" and not isinstance(value, str):
            yield f"operator=<{getattr(value, '__name__', type(value).__name__)}>"
        elif name in ("hops", "operator") or value != parameter.default:
            yield f"{name}={value!r}"


def _check_operator(operator: object) -> None:
    if isinstance(operator, str):
        if operator not in OPERATORS:
            raise unknown("operator", operator, OPERATORS)
    elif not (callable(operator) or is_sparse(operator)):
        allowed = f"{', '.join(OPERATORS)}, a callable, or a SciPy or torch sparse matrix"
        raise InputError(f"operator is a {type(operator).__name__}: allowed: {allowed}")


def _checked_hops(hops: int | Iterable[int], first: int) -> int | tuple[int, ...]:
    such = f"{first} or more, or an increasing set of such numbers, none above {MOST_STEPS:,}"
    allowed = f"it must be a number of steps, {such}"
    try:
        checked = tuple(map(index, islice(hops, MOST_STEPS + 2))) if isinstance(hops, Iterable) else index(hops)
    except TypeError:
        raise InputError(f"hops is {hops!r}: {allowed}") from None
    steps = checked if isinstance(checked, tuple) else (checked,)
    if not steps or steps[0] < first or steps[-1] > MOST_STEPS or any(a >= b for a, b in pairwise(steps)):
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
