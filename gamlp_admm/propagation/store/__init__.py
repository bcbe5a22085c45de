"""Propagated features on the disk: made once, within memory, read where they lie.

- :mod:`~gamlp_admm.propagation.store.matrix`: one matrix in a file, written in windows, read without being loaded;
- :mod:`~gamlp_admm.propagation.store.stored`: a directory of features, with what else training needs of their nodes;
- :mod:`~gamlp_admm.propagation.store.writing`: how they are made there, some columns at a time;
- :mod:`~gamlp_admm.propagation.store.plan`: how many at a time;
- :mod:`~gamlp_admm.propagation.store.journal`: and what is finished;
- :mod:`~gamlp_admm.propagation.store.keys`: keys by content, of graphs, features and functions;
- :mod:`~gamlp_admm.propagation.store.cache`: features that are kept between runs, under such keys.
"""

from gamlp_admm.propagation.store.cache import Caching, FeatureCache, KeptFeatures, caching
from gamlp_admm.propagation.store.keys import key_of
from gamlp_admm.propagation.store.stored import StoredFeatures
from gamlp_admm.system.lazy import shown

__all__ = ["Caching", "FeatureCache", "KeptFeatures", "StoredFeatures", "caching", "key_of"]

__dir__ = shown(__name__)
