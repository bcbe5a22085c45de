"""Node-classification data sets, ready to train on: ``load_dataset("cora").data``.

Each data set is described by a TOML file (``datasets/<name>.toml`` in the source tree, shipped in the wheel).
Raw files are read where they lie and nothing is written beside them, so a data root may be read-only, and
offline when the raw files are there.
"""

from gamlp_admm.datasets.info import DatasetInfo, Published, RawFiles, dataset_info, dataset_names, read_recipe
from gamlp_admm.datasets.listing import DatasetRow, list_datasets
from gamlp_admm.datasets.loading import LoadedDataset, load_dataset
from gamlp_admm.datasets.raw import default_root

__all__ = [
    "DatasetInfo",
    "DatasetRow",
    "LoadedDataset",
    "Published",
    "RawFiles",
    "dataset_info",
    "dataset_names",
    "default_root",
    "list_datasets",
    "load_dataset",
    "read_recipe",
]
