"""The choice of an operator, its options and the states to keep: what transforms have in common."""

from __future__ import annotations

import inspect
import math
import secrets
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from operator import index
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch
from scipy import sparse
from torch import Tensor

from gamlp_admm.errors import InputError, InputWarning, number, unknown
from gamlp_admm.propagation.building import counted, from_edges
from gamlp_admm.propagation.diffuse import heat, heat_remainder
from gamlp_admm.propagation.edges import check_direction
from gamlp_admm.propagation.gather import RESULT, GatherMatrix, gathers
from gamlp_admm.propagation.on_device import fits, matrix_there
from gamlp_admm.propagation.operators import (
    OF_LOOPED,
    OPERATORS,
    NamedOperator,
    adjacency,
    as_operator,
    is_sparse,
)
from gamlp_admm.propagation.product import Matrix, Multiplier, as_matrix, to_torch
from gamlp_admm.propagation.sparse_features import Features
from gamlp_admm.propagation.store.keys import key_of

MOST_STEPS = 10_000
"""Steps of propagation: what has not spread then does not, and a number may come from a file that is wrong."""

DIGITS = 12
"""Digits that tell operators apart in texts."""

OURS = frozenset(OPERATORS)
"""The names of operators that come with the package."""

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
        check_direction(direction)
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

    def matrix(
        self,
        edge_index: Tensor | None,
        edge_weight: Tensor | None,
        like: Tensor | Features,
        folder: Path | None = None,
        working: int | None = None,
    ) -> Matrix:
        """Return Ã ``[N, N]``; its entries are computed in float64.

        Args:
            edge_index: ``[2, E]``; not used where the operator is a matrix.
            edge_weight: ``[E]``, or ``None`` for ones.
            like: ``[N, F]``; has the dtype and the device of the result.
            folder: Where a large one is kept in memory-mapped files (:func:`~gamlp_admm.propagation.from_edges`).
            working: Bytes of working memory for a large one.

        Raises:
            InputError: The edges or the operator's matrix are missing or not allowed.
        """
        N = len(like)
        if is_sparse(self.operator):
            return as_matrix(as_operator(self.operator, N), like.dtype, like.device)
        if edge_index is None:
            raise InputError("data.edge_index is missing: propagation needs edges, or a matrix as operator")
        if (
            (r := self.named.coefficient) is not None
            and isinstance(edge_index, Tensor)
            and fits(edge_index, like.device)
        ):
            return matrix_there(edge_index, edge_weight, N, self.direction, r, like.dtype, like.device)
        if (made := self._folded(edge_index, edge_weight, like, folder, working)) is not None:
            return made
        A = adjacency(edge_index, edge_weight, N, self.direction)
        P = self.named.matrix(A)
        return as_matrix(as_operator(P, N) if callable(self.operator) else P, like.dtype, like.device)

    def _folded(
        self, edge_index: Tensor, edge_weight: Tensor | None, like: Tensor | Features, *how: Any
    ) -> Matrix | None:
        """Return the matrix of a graph that is large, or has no weights, where it is ``D^(r-1) (A+I) D^-r``."""
        named, N = self.named, len(like)
        if named.coefficient is None or not isinstance(edge_index, Tensor):
            return None
        large = gathers(edge_index.numel() + N, like.dtype, like.device)
        plain = named.matrix in OF_LOOPED and (
            edge_weight is None or (isinstance(edge_weight, Tensor) and bool((edge_weight == 1).all()))
        )
        if not large and not plain:
            return None
        made = from_edges(edge_index, edge_weight, N, self.direction, named.coefficient, *how)
        if gathers(len(made.indices), like.dtype, like.device):
            return made
        return to_torch(OF_LOOPED[named.matrix](counted(made)), like.dtype, like.device) if plain else None

    def kept(self, matrix: Multiplier, features: Tensor, taken: int = 0) -> Iterator[KeptState]:
        """Yield the states that are kept, ``T_k H`` for k in ``states``; each holds until the next is asked for.

        Args:
            matrix: ``[N, N]``, Ã, from :meth:`matrix`, or what takes its place.
            features: ``[N, F]``, H, such as :meth:`NodeFeatures.tile`; not modified.
            taken: Steps that they have taken already, where states are powers of Ã; earlier states are left out.
        """
        last = self.states[-1]
        if taken in self.states:
            yield KeptState(features)
        if last == taken:
            return
        root: Tensor | None = getattr(matrix, "root", None)
        if root is not None:
            matrix = replace(cast(GatherMatrix, matrix), root=None)
            features = features / root[:, None]
        features = features.contiguous()
        parameter = self.named.parameter
        options = {parameter: getattr(self, parameter)} if parameter else {}
        made = self.named.diffuse(matrix, features, **options)
        del features  # whether it is needed any longer, the scheme says
        for step, state in zip(range(taken, last + 1), made, strict=False):
            if step in self.states and step > taken:
                yield KeptState(state, root)


@dataclass(frozen=True)
class KeptState:
    """A state as it is computed, until the next one is.

    Where the normalisation of a matrix is folded (:attr:`GatherMatrix.root`), what is computed is the state divided by
    a number a row, which is made good where the state is written.

    Attributes:
        computed: ``[N, F]``.
        root: ``[N]``, the numbers; ``None`` for ones.

    Example:
        >>> import torch
        >>> from gamlp_admm.propagation import KeptState
        >>> state = KeptState(torch.ones(2, 1), root=torch.tensor([2.0, 3.0]))
        >>> state.write(out := torch.empty(2, 1, dtype=torch.bfloat16))
        >>> out.tolist(), state[torch.tensor([1])].tolist()
        ([[2.0], [3.0]], [[3.0]])
    """

    computed: Tensor
    root: Tensor | None = None

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Return some rows of the state, which are not to be modified: a slice may be a view."""
        state = self.computed.index_select(0, rows) if isinstance(rows, Tensor) else self.computed[rows]  # faster
        return state if self.root is None else state * self.root[rows, None]

    def write(self, out: Tensor, rows: Tensor | None = None) -> None:
        """Write the state, or some of its rows, into ``[M, F]`` of any strides and any floating-point type."""
        if self.root is None and rows is None:
            out.copy_(self.computed)
            return
        step = max(RESULT // max(out.shape[1], 1), 1)
        for low in range(0, len(out), step):
            block = slice(low, min(low + step, len(out)))
            if rows is None and self.root is not None and out.dtype == self.computed.dtype:
                torch.mul(self.computed[block], self.root[block, None], out=out[block])
            else:
                out[block] = self[block if rows is None else rows[block]]


def constructor_call(transform: object) -> str:
    """Return how a transform is constructed: hops, operator and the options that differ from their defaults.

    Of an operator that is not the package's own it has the name and the first digits of its key
    (:func:`~gamlp_admm.propagation.store.key_of`), so that other operators give other texts, and the same one the same
    text in every process. Where there is no key, no two texts are the same.

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
        if name == "operator":
            yield f"operator={_told_apart(value)}"
        elif isinstance(value, Tensor):  # whose own text leaves out all but its first and last numbers
            yield f"{name}={type(value).__name__}-{str(value.dtype).removeprefix('torch.')}-{key_of(value)[:DIGITS]}"
        elif name == "hops" or value != parameter.default:
            yield f"{name}={value!r}"


def _told_apart(operator: Any) -> str:
    """Return a text for an operator; one without <, > and blanks, between which PyG takes out what it compares."""
    name = operator if isinstance(operator, str) else getattr(operator, "__name__", type(operator).__name__)
    if isinstance(operator, str):
        if operator in OURS:
            return repr(operator)
        operator = OPERATORS[operator].content if operator in OPERATORS else None
    try:
        digits = key_of(operator)[:DIGITS]
    except InputError:
        digits = secrets.token_hex(DIGITS // 2)
    return f"{name.strip('<>')}-{digits}"


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
