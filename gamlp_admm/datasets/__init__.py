"""Node-classification data sets, ready to train on: ``load_dataset("cora").data``.

Each data set is described by a TOML file (``datasets/<name>.toml`` in the source tree, shipped in the wheel).
Raw files are read where they lie and nothing is written beside them, so a data root may be read-only, and
offline when the raw files are there.
"""

from typing import TYPE_CHECKING

from gamlp_admm.system.lazy import exports

if TYPE_CHECKING:
    from gamlp_admm.datasets.graphs import load_graph
    from gamlp_admm.datasets.info import DatasetInfo, Published, RawFiles, dataset_info, dataset_names
    from gamlp_admm.datasets.listing import DatasetRow, list_datasets
    from gamlp_admm.datasets.loading import LoadedDataset, load_dataset
    from gamlp_admm.datasets.ogb_figures import ogb_evaluator, ogb_scores
    from gamlp_admm.datasets.ogb_mag import load_hetero
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
    "load_graph",
    "load_hetero",
    "ogb_evaluator",
    "ogb_scores",
]

__getattr__, __dir__ = exports(
    __name__,
    {
        **dict.fromkeys(("DatasetInfo", "Published", "RawFiles", "dataset_info", "dataset_names"), f"{__name__}.info"),
        **dict.fromkeys(("DatasetRow", "list_datasets"), f"{__name__}.listing"),
        **dict.fromkeys(("LoadedDataset", "load_dataset"), f"{__name__}.loading"),
        "default_root": f"{__name__}.raw",
        "load_graph": f"{__name__}.graphs",
        "load_hetero": f"{__name__}.ogb_mag",
        **dict.fromkeys(("ogb_evaluator", "ogb_scores"), f"{__name__}.ogb_figures"),
    },
)
