"""The PyTorch Geometric transform that augments node features with propagated ones."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from gamlp_admm import propagation
from gamlp_admm.errors import InputError, byte_count, file_name
from gamlp_admm.transforms import metapaths as paths
from gamlp_admm.transforms import wanted
from gamlp_admm.transforms.along import Along
from gamlp_admm.transforms.out_of_core import Storing, store_features
from gamlp_admm.transforms.propagating import PropagatingTransform

OPERATORS = propagation.OPERATORS


class AugmentFeatures(PropagatingTransform):
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
    numbers of steps side by side, for every operator. State 0 is H. ``states`` holds the resolved steps;
    the output has ``len(states)·F`` columns.

    **The graph.** A is made from ``data.edge_index`` and, where present, ``data.edge_weight``, or else from the
    sparse ``data.adj_t`` of :class:`torch_geometric.transforms.ToSparseTensor`. Repeated edges
    add up and self-loops that are present keep their weight, as in PyG's ``gcn_norm``: of a repeated self-loop the
    last weight, and weight 0 too. Every other node gets a self-loop of weight 1. This sum is A + I in the table, and
    D + I is the diagonal of its row sums.

    **A callable** receives A as a SciPy CSR array ``[N, N]``, row i holding the nodes from which node i
    gathers, without added self-loops; it returns a SciPy or torch sparse matrix ``[N, N]``. The functions
    ``sym`` and ``row`` of :mod:`gamlp_admm.propagation` are such callables. **A matrix** is used as it is,
    and ``data`` then needs no edges.

    **A heterogeneous graph**, a :class:`torch_geometric.data.HeteroData`, needs ``metapaths``, and becomes a ``Data``
    of the nodes of one type: their ``x`` is ``[H, P_1 H, …, P_1^K H, P_2 H, …]`` with a P for each metapath, and all
    else that they have, labels and masks too, stays. A metapath is

    - a list of edge types, such as ``[("paper", "rev_writes", "author"), ("author", "writes", "paper")]``: each a mean
      over the nodes from which its edges lead, 0 where none do, the first applied first. One that begins at another
      type is applied to the features there, once, whatever ``hops`` is;
    - or a set of edge types: the mean over all neighbours in the graph of these relations, both ways, as in NARS. Types
      without features start from 0.

    ``rev_writes`` is the reverse of ``writes`` where the graph has none, as PyG's ``ToUndirected`` would add it. No
    self-loops are added; ``operator`` does not apply.

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
        weight_attr: Name of the attribute of ``data`` that holds the edges' weights, ``[E]`` or ``[E, 1]``, such as
            ``"edge_attr"``; ``None`` for ``edge_weight`` where there is one. An ``edge_attr`` of one column that is
            not named then is not used, with a warning; ``"edge_weight"`` says that this is meant.

        rows: The nodes to make features of: a tensor of their numbers, a bool mask, ``"labelled"`` for those in
            ``train_mask``, ``val_mask`` or ``test_mask``, or ``None`` for all. ``data`` becomes one of these nodes, in
            the order given: what nodes have is sliced, ``n_id`` ``[R]`` holds their numbers, and there are no edges.
            The features are the same but for rounding, in less time and memory, above all where these nodes are few
            and the features wide and mostly zero. Models' files do not keep ``rows``.
        metapaths: Of a heterogeneous graph the metapaths.
        node_type: The type of the nodes that it makes features for, to which all metapaths lead; ``None`` for the one
            that has ``y``.
        out: A directory that the features are made into, some columns at a time, and that ``data.x`` is then mapped
            from: they need not fit into memory. Killed, it goes on where it was; what is there already is read.
            ``None`` for features in memory.
        memory: What features and graph in memory and the work may take then, such as ``"4GiB"`` or a number of bytes;
            ``None`` for half of what is free. No bit depends on it.

    Raises:
        InputError: An option is not allowed.

    Source:
        GA-MLP, arXiv 2010.15116; SIGN, arXiv 2004.11198; APPNP, arXiv 1810.05997; GDC, arXiv 1911.05485; NARS, arXiv
        2011.09679.

    Example:
        >>> from gamlp_admm import AugmentFeatures, load_dataset
        >>> graph = load_dataset("karate").data  # any PyG Data with x and edge_index
        >>> data = AugmentFeatures(hops=4, operator="sym")(graph)
        >>> data.x.shape == (34, 5 * graph.num_features)  # H, ÃH, …, Ã⁴H
        True
        >>> AugmentFeatures(hops=(0, 2), operator=lambda A: A @ A)(graph).feature_blocks
        (34, 34)
        >>> data = AugmentFeatures(rows="labelled")(graph)
        >>> len(data.x) == len(data.y) == len(data.n_id), data.edge_index
        (True, None)
    """

    def __init__(
        self,
        hops: int | Iterable[int] | None = None,
        operator: propagation.Operator = "sym",
        *,
        alpha: float = 0.1,
        t: float = 3.0,
        direction: str = "both",
        normalize_features: bool = False,
        keep_original: bool = False,
        dtype: torch.dtype | None = None,
        weight_attr: str | None = None,
        rows: wanted.Rows = None,
        metapaths: Any = None,
        node_type: str | None = None,
        out: str | Path | None = None,
        memory: str | int | None = None,
    ) -> None:
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise InputError(f"dtype is {dtype}: it must be a floating-point type")
        if memory is not None and out is None:
            raise InputError("memory is for features that are made into a directory, and needs out")
        super().__init__(propagation.Scheme(hops, operator, alpha=alpha, t=t, direction=direction), weight_attr)
        self.normalize_features = normalize_features
        self.keep_original = keep_original
        self.dtype = dtype
        self.rows = wanted.checked(rows)
        self.metapaths = None if metapaths is None else paths.checked(metapaths)
        self.node_type = node_type
        self.out = None if out is None else file_name("out", out)
        self.memory = None if memory is None else byte_count("memory", memory)
        if metapaths is not None and out is not None:
            raise InputError("out does not apply to metapaths: their features are made in memory")
        if metapaths is None and node_type is not None:
            raise InputError("node_type is for a HeteroData, and does not apply without metapaths")
        if metapaths is not None and (operator not in ("sym", "row") or direction != "both"):
            raise InputError(
                "operator and direction do not apply to metapaths: every relation is a mean along its edges"
            )

    def forward(self, data: Data | HeteroData) -> Data:
        """Augment ``data.x`` in place; calling the transform itself works on a shallow copy.

        Args:
            data: A graph with ``x`` ``[N, F]``, dense or sparse, and ``edge_index`` ``[2, E]``
                or ``adj_t`` ``[N, N]``. With ``metapaths`` a heterogeneous graph.

        Returns:
            ``data``, whose ``x`` is a new dense tensor ``[N, len(states)·F]`` on the device of the old one, and whose
            ``feature_blocks`` are the numbers of columns of the states; with ``rows`` of these nodes alone.

        Raises:
            InputError: The features or the edges are missing or not allowed.
        """
        return self._along_metapaths(data) if isinstance(data, HeteroData) else super().forward(data)

    def fit(self, data: Data | HeteroData) -> tuple[AugmentFeatures, Data]:
        return (copy.copy(self), self(data)) if isinstance(data, HeteroData) else super().fit(data)

    def recipe(self) -> dict[str, Any]:
        if self.metapaths is not None:
            raise InputError(
                "a model's file cannot keep metapaths: save the model without them, and make features first"
            )
        return super().recipe()

    def columns(self, num_features: int) -> int:
        return len(self.states) * num_features

    def store(self, data: Data, how: Storing) -> propagation.StoredFeatures:
        """Make the features into a directory, or what is missing of them; ``data`` is not modified.

        Args:
            data: A graph, as :meth:`forward` takes it; its tensors may be memory-mapped.
            how: The directory, the cap of memory, and the rest.

        Raises:
            InputError: The graph is not allowed, the cap is too small, or the directory has other features.
        """
        return store_features(self, data, self.dtype, self.normalize_features, how)

    def of_split(self, data: Data) -> Data:
        """Return the nodes that train, validate or test, to the same bits as :meth:`forward` makes of all nodes.

        Args:
            data: A graph with dense ``x`` and masks.

        Returns:
            A graph as with ``rows="labelled"``, and in ``whole`` the one given, of which
            :class:`~gamlp_admm.transforms.AugmentLabels` takes edges and labels.
        """
        rows = wanted.numbers("labelled", data, len(data.x))
        assert rows is not None
        of = (data.x, self.normalize_features, self.dtype, torch.get_default_dtype(), rows, "exact")

        def make() -> Tensor:
            features, dtype = propagation.NodeFeatures.of(data.x, self.dtype, self.normalize_features)
            matrix = self._matrix(data, features)
            return propagation.propagate(self._scheme, matrix, features, dtype, rows, exact=True)

        made = copy.copy(data)
        x = self._kept(data, of, data.x, data.x.shape[1], make, rows)
        wanted.only(made, rows, without="x")
        made.x, made.feature_blocks, made.whole = x, (data.x.shape[1],) * len(self.states), data
        return made

    def _options(self) -> Iterator[tuple[str, Any]]:
        return ((name, value) for name, value in super()._options() if name not in ("rows", "out", "memory"))

    def _transform(self, data: Data) -> dict[str, Tensor]:
        self._check_graph(data)
        if self.metapaths is not None:
            raise InputError("metapaths are for a HeteroData, and the graph is a Data")
        original = data.x
        rows: Tensor | None = None
        if self.out is not None:
            made = self.store(data, Storing(Path(self.out), self.memory, self.rows)).x
            rows = wanted.numbers(self.rows, data, len(original))
        elif isinstance(original, Tensor) and original.dim() == 2:
            rows = wanted.numbers(self.rows, data, len(original))
            of = (original, self.normalize_features, self.dtype, torch.get_default_dtype(), rows)
            made = self._kept(data, of, original, original.shape[1], partial(self._propagated, data, rows), rows)
        else:
            made = self._propagated(data)  # which says what is wrong
        if self.keep_original:
            data.x_original = original
        if rows is not None:
            wanted.only(data, rows, without="x")
        data.x = made
        data.feature_blocks = (original.shape[1],) * len(self.states)
        return {}

    def _propagated(self, data: Data, rows: Tensor | None = None) -> Tensor:
        look = self.rows is not None
        features, dtype = propagation.as_features(data.x, self.dtype, self.normalize_features, look)
        return propagation.propagate(self._scheme, self._matrix(data, features), features, dtype, rows)

    def _along_metapaths(self, data: HeteroData) -> Data:
        """Return the nodes of one type, with features along the metapaths."""
        if self.metapaths is None:
            raise InputError(f"a HeteroData needs metapaths, {paths.ALLOWED}; {paths.types_of(data)}")
        target = paths.target_type(data, self.metapaths, self.node_type)
        made = Along(data, self.metapaths, target, self.states, self.weight_attr, self.dtype, self.normalize_features)
        nodes = Data(**{name: value for name, value in data[target].items() if name != "x"})
        nodes.x, nodes.feature_blocks = made.features(repr(self)), made.blocks
        if self.keep_original and data[target].get("x") is not None:
            nodes.x_original = data[target].x
        if (rows := wanted.numbers(self.rows, nodes, len(nodes.x))) is not None:
            wanted.only(nodes, rows)
        return nodes
