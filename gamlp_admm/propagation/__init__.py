"""Feature propagation: sparse operators of a graph, their product with dense features, diffusion schemes.

Four steps, none of which knows PyTorch Geometric:

1. :mod:`~gamlp_admm.propagation.operators` turns edges into a sparse matrix Ã (SciPy CSR, float64), and
   :mod:`~gamlp_admm.propagation.relations` those between nodes of two types;
   :mod:`~gamlp_admm.propagation.building` makes those of large graphs some rows at a time;
2. :mod:`~gamlp_admm.propagation.product` multiplies it with dense features: where the time is spent; of large graphs by
   :mod:`~gamlp_admm.propagation.gather`, some columns of them (:mod:`~gamlp_admm.propagation.features`) at a time;
3. :mod:`~gamlp_admm.propagation.diffuse` repeats the product and yields one state after the other;
4. :mod:`~gamlp_admm.propagation.scheme` chooses among all this by the options that transforms take, and
   :mod:`~gamlp_admm.propagation.order` what comes first where few nodes are wanted.

What was propagated is kept on the disk by :mod:`~gamlp_admm.propagation.store`.
"""

from gamlp_admm.propagation.building import from_edges
from gamlp_admm.propagation.diffuse import heat, heat_remainder, pagerank, powers
from gamlp_admm.propagation.edges import DIRECTIONS
from gamlp_admm.propagation.features import NodeFeatures, dense_features
from gamlp_admm.propagation.features_first import FeaturesFirst
from gamlp_admm.propagation.gather import GatherMatrix
from gamlp_admm.propagation.operators import (
    OPERATORS,
    NamedOperator,
    add_self_loops,
    adjacency,
    as_operator,
    is_sparse,
    normalized,
    register_operator,
    row,
    sym,
)
from gamlp_admm.propagation.order import Order, Unit
from gamlp_admm.propagation.ordering import order_of_work, propagate
from gamlp_admm.propagation.product import Matrix, as_matrix, product, to_torch
from gamlp_admm.propagation.relations import bipartite, mean
from gamlp_admm.propagation.scheme import MOST_STEPS, KeptState, Operator, Scheme, constructor_call
from gamlp_admm.propagation.selectors_first import ByColumn, SelectorsFirst
from gamlp_admm.propagation.sparse_features import Features, SparseFeatures, as_features
from gamlp_admm.propagation.store import StoredFeatures
from gamlp_admm.system.lazy import shown

__all__ = [
    "DIRECTIONS",
    "MOST_STEPS",
    "OPERATORS",
    "ByColumn",
    "Features",
    "FeaturesFirst",
    "GatherMatrix",
    "KeptState",
    "Matrix",
    "NamedOperator",
    "NodeFeatures",
    "Operator",
    "Order",
    "Scheme",
    "SelectorsFirst",
    "SparseFeatures",
    "StoredFeatures",
    "Unit",
    "add_self_loops",
    "adjacency",
    "as_features",
    "as_matrix",
    "as_operator",
    "bipartite",
    "constructor_call",
    "dense_features",
    "from_edges",
    "heat",
    "heat_remainder",
    "is_sparse",
    "mean",
    "normalized",
    "order_of_work",
    "pagerank",
    "powers",
    "product",
    "propagate",
    "register_operator",
    "row",
    "sym",
    "to_torch",
]

__dir__ = shown(__name__)
