"""Features along the relations of a heterogeneous graph: what ``AugmentFeatures(metapaths=…)`` computes.

A metapath is a chain of relations, or a set of them:

- A chain R_1, …, R_n, a list of edge types, leads from the nodes of R_1's source type to those of R_n's target type.
  Each relation is a matrix of means: (R H)[i] is the mean of H over the nodes from which an edge of R leads to i, 0
  where none does. Its state k is (R_n ⋯ R_1)^k H.
- A set of relations is the graph of their edges, each in both directions, between nodes of all their types. Its state k
  is the mean over all neighbours, k times; types without features start from 0.

Products are of sparse matrices with features, from the right to the left; no two matrices are multiplied.

Source:
    Yu et al., "Scalable Graph Neural Networks for Heterogeneous Graphs" (NARS), arXiv 2011.09679: sets of relations.
    Sun et al., "PathSim", VLDB 2011: metapaths.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from scipy import sparse
from torch import Tensor
from torch_geometric.data import HeteroData

from gamlp_admm import propagation
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.transforms.propagating import edges_of

EdgeType: TypeAlias = tuple[str, str, str]
Metapath: TypeAlias = tuple[EdgeType, ...] | frozenset[EdgeType]
REVERSE = "rev_"
"""What PyG's ``ToUndirected`` puts before a relation's name to name its reverse."""


def checked(metapaths: Any) -> tuple[Metapath, ...]:
    """Return metapaths as tuples and frozen sets of edge types; an edge type alone is a chain of one.

    Raises:
        InputError: They are something else, or the relations of a chain do not meet.
    """
    if isinstance(metapaths, str) or not isinstance(metapaths, Sequence) or not metapaths or _is_edge_type(metapaths):
        raise InputError(f"metapaths is {metapaths!r}: allowed: {ALLOWED}")
    return tuple(map(_checked, metapaths))


ALLOWED = "a list of metapaths, each a list of edge types (source, relation, target), or a set of them"


def _checked(metapath: Any) -> Metapath:
    path = (metapath,) if _is_edge_type(metapath) else metapath
    fits = isinstance(path, Sequence | AbstractSet) and not isinstance(path, str) and all(map(_is_edge_type, path))
    if not fits or not path:
        raise InputError(f"metapath {metapath!r}: allowed: {ALLOWED}")
    if isinstance(path, AbstractSet):
        return frozenset(map(tuple, path))
    for before, after in pairwise(path):
        if before[2] != after[0]:
            raise InputError(f"metapath {shown(path)}: {shown([before])} ends where {shown([after])} does not begin")
    return tuple(map(tuple, path))


def _is_edge_type(given: Any) -> bool:
    return isinstance(given, tuple | list) and len(given) == 3 and all(isinstance(name, str) for name in given)


def shown(metapath: Any) -> str:
    """Return a metapath as text."""
    text = ", ".join("-".join(edge_type) for edge_type in sorted(metapath) if isinstance(metapath, AbstractSet))
    return f"{{{text}}}" if text else ", ".join("-".join(edge_type) for edge_type in metapath)


def types_of(data: HeteroData) -> str:
    """Return what an error says of a graph's types."""
    edges = ", ".join(map(str, data.edge_types)) or "none"
    return f"its node types are {', '.join(data.node_types) or 'none'}; its edge types {edges}"


def target_type(data: HeteroData, metapaths: Sequence[Metapath], node_type: str | None) -> str:
    """Return the type of the nodes that features are made for.

    Args:
        data: The graph.
        metapaths: As of :func:`checked`.
        node_type: The type; ``None`` for the only one that has ``y``.

    Raises:
        InputError: There is no such type, or a metapath leads elsewhere.
    """
    if node_type is None:
        labelled = [name for name in data.node_types if data[name].get("y") is not None]
        if len(labelled) != 1:
            found = ", ".join(labelled) or "none"
            raise InputError(f"node_type is not given, and not one node type has y ({found}); {types_of(data)}")
        (node_type,) = labelled
    if node_type not in data.node_types:
        raise unknown("node type", node_type, data.node_types)
    for path in metapaths:
        if node_type not in ({path[-1][2]} if isinstance(path, tuple) else ends_of(path)):
            raise InputError(f"metapath {shown(path)} does not lead to {node_type}, of which features are made")
    return node_type


def ends_of(path: Metapath) -> set[str]:
    """Return the types of nodes at the ends of a metapath's relations."""
    return {end for source, _, target in path for end in (source, target)}


class Relations:
    """The relations of a graph as matrices of means, and features to multiply them with.

    Args:
        data: The graph.
        features: Returns the features ``[N, F]`` of a node type to compute with, ``None`` where it has none.
        weight_attr: Name of the attribute of the weights, as of :class:`gamlp_admm.transforms.AugmentFeatures`.
    """

    def __init__(self, data: HeteroData, features: Callable[[str], Tensor | None], weight_attr: str | None) -> None:
        self.data, self.features, self.weight_attr = data, features, weight_attr
        self._made: dict[tuple[EdgeType, torch.dtype, torch.device], propagation.Matrix] = {}

    def states(self, path: Metapath, target: str, steps: Sequence[int]) -> Iterator[Tensor]:
        """Yield the states of a metapath that are wanted, ``[N, F]`` each, of the nodes of a type.

        Args:
            path: The metapath.
            target: The type, to which it leads.
            steps: The increasing numbers of steps, 1 or more; a chain that begins at another type has one state.

        Raises:
            InputError: A relation is missing, or the features to begin with.
        """
        if isinstance(path, frozenset):
            yield from self._of_set(path, target, steps)
            return
        if (state := self.features(path[0][0])) is None:
            having = [name for name in self.data.node_types if self.data[name].get("x") is not None]
            told = f"{path[0][0]} has no x, where metapath {shown(path)} begins"
            raise InputError(f"node type {told}; {', '.join(having) or 'none'} {'has' if len(having) == 1 else 'have'}")
        last = steps[-1] if path[0][0] == target else min(steps[-1], 1)
        for step in range(1, last + 1):
            for edge_type in path:
                state = _product(self._mean(edge_type, state), state)
            if step in steps or last == 1:
                yield state

    def _of_set(self, path: frozenset[EdgeType], target: str, steps: Sequence[int]) -> Iterator[Tensor]:
        kinds = sorted(ends_of(path))
        found = {kind: x for kind in kinds if (x := self.features(kind)) is not None}
        widths = {kind: x.shape[1] for kind, x in found.items()}
        if len({*widths.values()}) != 1:
            told = ", ".join(f"{kind} {width}" for kind, width in widths.items()) or "none has x"
            raise InputError(f"metapath {shown(path)}: its node types need one number of features ({told})")
        like = next(iter(found.values()))
        rows = {kind: self.count(kind) for kind in kinds}
        state = torch.cat([found.get(kind, like.new_zeros(rows[kind], like.shape[1])) for kind in kinds])
        place = {kind: i for i, kind in enumerate(kinds)}
        blocks: list[list[Any]] = [[sparse.coo_array((rows[a], rows[b])) for b in kinds] for a in kinds]
        for edge_type in path:
            A, i, j = self._adjacency(edge_type), place[edge_type[2]], place[edge_type[0]]
            blocks[i][j] = blocks[i][j] + A
            blocks[j][i] = blocks[j][i] + A.T
        matrix = propagation.as_matrix(
            propagation.mean(sparse.csr_array(sparse.block_array(blocks, format="csr"))), like.dtype, like.device
        )
        first = sum(rows[kind] for kind in kinds[: place[target]])
        for step in range(1, steps[-1] + 1):
            state = _product(matrix, state)
            if step in steps:
                yield state[first : first + rows[target]].clone()  # which keeps no other rows

    def _mean(self, edge_type: EdgeType, like: Tensor) -> propagation.Matrix:
        key = (edge_type, like.dtype, like.device)
        if key not in self._made:
            matrix = propagation.mean(self._adjacency(edge_type))
            self._made[key] = propagation.as_matrix(matrix, like.dtype, like.device)
        return self._made[key]

    def _adjacency(self, edge_type: EdgeType) -> sparse.csr_array:
        """Return the weights of a relation's edges, ``[targets, sources]``, be it there or only its reverse."""
        source, name, target = edge_type
        if edge_type in self.data.edge_types:
            index, weight = edges_of(self.data[edge_type], self.weight_attr)
            if index is None:
                raise InputError(f"data[{edge_type}] has neither edge_index nor adj_t")
            return propagation.bipartite(index, weight, self.count(source), self.count(target))
        forward = (target, name.removeprefix(REVERSE), source)
        if not name.startswith(REVERSE) or forward not in self.data.edge_types:
            raise InputError(f"the graph has no edge type {edge_type}; {types_of(self.data)}")
        return self._adjacency(forward).T.tocsr()

    def count(self, node_type: str) -> int:
        """Return the number of nodes of a type."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyG's, where it is not known
            count = self.data[node_type].num_nodes if node_type in self.data.node_types else None
        if count is None:
            raise InputError(f"the number of {node_type} nodes is not known: set data[{node_type!r}].num_nodes")
        return int(count)


def _product(matrix: propagation.Matrix, dense: Tensor) -> Tensor:
    return propagation.product(matrix, dense, dense.new_empty(matrix.shape[0], dense.shape[1]))
