"""Features along metapaths, made, or taken from the cache: what ``AugmentFeatures(metapaths=…)`` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from gamlp_admm import propagation
from gamlp_admm.errors import InputError
from gamlp_admm.propagation.store import cache
from gamlp_admm.transforms.metapaths import Metapath, Relations, ends_of, types_of
from gamlp_admm.transforms.propagating import edges_of


@dataclass(frozen=True)
class Along:
    """The features of nodes of one type along metapaths.

    Attributes:
        data: The graph.
        paths: The metapaths, as of :func:`checked`.
        target: The type, as of :func:`target_type`.
        states: The increasing numbers of steps that are kept.
        weight_attr: Name of the attribute of the weights.
        dtype: Type of the features; ``None`` for that of the nodes', or of the first type that has any.
        normalize: Whether rows of features are divided by the sums of their absolute values first.
    """

    data: HeteroData
    paths: tuple[Metapath, ...]
    target: str
    states: tuple[int, ...]
    weight_attr: str | None
    dtype: torch.dtype | None
    normalize: bool

    @property
    def _having(self) -> list[str]:
        kinds = dict.fromkeys((self.target, *self.data.node_types))
        return [kind for kind in kinds if self.data[kind].get("x") is not None]

    @property
    def _steps(self) -> list[int]:
        return [step for step in self.states if step]

    @property
    def blocks(self) -> tuple[int, ...]:
        """The numbers of columns of the states."""
        width = {kind: int(self.data[kind].x.shape[-1]) for kind in self._having}
        made = [width[self.target]] if 0 in self.states and self.target in width else []
        for path in self.paths:
            kinds = sorted(ends_of(path)) if isinstance(path, frozenset) else [path[0][0]]
            once = isinstance(path, tuple) and kinds[0] != self.target
            found = [width[kind] for kind in kinds if kind in width][:1]
            made += found * (bool(self._steps) if once else len(self._steps))
        return tuple(made)

    def features(self, shown: str) -> Tensor:
        """Return the features ``[N, sum(blocks)]``: within ``caching`` what is kept of them, if it is.

        Args:
            shown: What lists of the cache say of them.

        Raises:
            InputError: A relation is missing, or features.
        """
        if not self._having:
            raise InputError(f"no node type has x; {types_of(self.data)}")
        if (caching := cache.current()) is None:
            return self._make()
        try:
            count = Relations(self.data, lambda kind: None, None).count
            nodes = {kind: count(kind) for kind in sorted({self.target}.union(*map(ends_of, self.paths)))}
        except InputError:
            return self._make()  # which says what is wrong first
        first, relations = self.data[self._having[0]].x, {each for path in self.paths for each in path}
        edges = sum(self.data[each].num_edges for each in relations if each in self.data.edge_types)
        made = caching(
            self._make,
            lambda: (Along, Relations, *self._made_of(nodes), str(first.device)),
            work=(sum(nodes.values()) + edges) * max(self.blocks, default=0) * self.states[-1],
            size=nodes[self.target] * sum(self.blocks) * first.element_size(),
            about=lambda: {"transform": shown},
        )
        return made.to(first.device)

    def _made_of(self, nodes: dict[str, int]) -> tuple[Any, ...]:
        features = {kind: self.data[kind].get("x") for kind in nodes}
        edges = {
            each: edges_of(self.data[each], self.weight_attr, quiet=True)
            for each in self.data.edge_types
            if each[0] in nodes and each[2] in nodes
        }
        how = (self.paths, self.target, self.states, self.dtype, torch.get_default_dtype(), self.normalize)
        return how, nodes, features, edges, self._having[0]

    def _make(self) -> Tensor:
        def checked(kind: str, dtype: torch.dtype | None) -> tuple[Tensor, torch.dtype]:
            given, dtype = propagation.NodeFeatures.of(self.data[kind].x, dtype, self.normalize)
            return given.tile(), dtype

        having = self._having
        first, dtype = checked(having[0], self.dtype)
        known = {having[0]: first}

        def features(kind: str) -> Tensor | None:
            if kind in having and kind not in known:
                known[kind], _ = checked(kind, first.dtype)
            return known.get(kind)

        relations = Relations(self.data, features, self.weight_attr)
        blocks = [known[self.target]] if 0 in self.states and self.target in having else []
        for path in self.paths if self._steps else ():
            blocks += relations.states(path, self.target, self._steps)
        if not blocks:
            raise InputError(f"hops is 0: {self.target} has no x, so that there is no state 0")
        return torch.cat(blocks, 1).to(dtype)
