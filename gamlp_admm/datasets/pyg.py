"""Any node-classification data set of :mod:`torch_geometric.datasets`, by ``pyg:<ClassName>:<name>``.

What PyG makes of the raw files goes to a temporary folder and is not kept, and a download is moved into the
data root once it is complete: an interrupted run leaves nothing half-written for a later one to read. PyG's
downloads do not look at certificates; here they do. Of pickles only arrays are read
(:mod:`gamlp_admm.datasets.pickles`).
"""

from __future__ import annotations

import inspect
import io
import os
import sys
import tempfile
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch_geometric.data import Data, Dataset, InMemoryDataset

from gamlp_admm.datasets.info import DatasetInfo
from gamlp_admm.datasets.pickles import arrays_only
from gamlp_admm.datasets.raw import TIMEOUT, check_unpacked, downloading, one_line
from gamlp_admm.datasets.readers import check_planetoid
from gamlp_admm.datasets.splits import default_rule, draw_split
from gamlp_admm.datasets.targets import known_labels
from gamlp_admm.errors import InputError, InputWarning, unknown

PREFIX = "pyg:"

EVALUATED = ("CornellTemporalHyperGraphDataset",)
"""Classes whose readers run what stands in their raw files (by ``eval``)."""


def load_pyg(spec: str, root: Path, split: str | None = None) -> tuple[Data, DatasetInfo]:
    """Load a data set by the name of its PyG class.

    Args:
        spec: ``pyg:<ClassName>:<name>``, or ``pyg:<ClassName>`` for a class that holds one data set.
        root: Data root; raw files lie in its folder ``<class name in lower case>``, as PyG lays them out.
        split: The rule that is to divide the nodes; None for the one that keeps the masks that are there.

    Returns:
        The data, with ``x`` [N, F], ``edge_index`` [2, E] and ``y`` [N], and a description made from them. The number
        of classes is the one that PyG's class states, else the largest label plus one; ``y`` is -1 where the label is
        negative, NaN or not less than that: the class is not known.

    Raises:
        InputError: If there is no such class, it does not take the name, it fails, or what it holds is not
            one graph with features and one class a node; or its masks overlap and ``split`` is None.
    """
    from torch_geometric import datasets  # a second to import, and needed for these only

    class_name, _, name = spec.removeprefix(PREFIX).partition(":")
    if class_name not in datasets.__all__:
        raise unknown("PyG data set class", class_name, datasets.__all__)
    cls = getattr(datasets, class_name)
    parameters = inspect.signature(cls).parameters
    if class_name in EVALUATED:
        raise InputError(f"{spec}: PyG's reader of {class_name} runs what stands in its files")
    if name and "name" not in parameters:
        raise InputError(f"{spec}: {class_name} takes no name; allowed: {PREFIX}{class_name}")
    arguments = {"name": name} if name else {}
    folder = root / class_name.lower()
    try:
        dataset = _load(spec, cls, arguments, folder) if "root" in parameters else _quietly(cls, arguments)
        stated = _stated_classes(dataset)
    except InputError:
        raise
    except Exception as error:  # PyG asserts on names; on damaged files it raises almost anything
        raise InputError(f"{spec}: PyG cannot load it from {folder} ({one_line(error)})") from error
    data = dataset[0] if len(dataset) == 1 else None
    if not (isinstance(data, Data) and _classifies_nodes(data)):
        raise InputError(f"{spec}: not one graph with node features, edges and one class a node")
    if data.x.layout is not torch.strided:
        data.x = data.x.to_dense()
    data.x, data.y = data.x.float(), known_labels(data.y, stated)
    if not (data.y >= 0).any():
        raise InputError(f"{spec}: no node has a known class")
    classes = int(data.y.max()) + 1 if stated is None else stated
    return data, _describe(spec, class_name, data, classes, split)


class _RawAbsentError(Exception):
    """Raised instead of downloading; its arguments are the paths of the missing raw files."""


def _load(spec: str, cls: Any, arguments: dict[str, str], folder: Path) -> Any:
    """Make a data set from the raw files in ``folder``, or else from a download that is then moved there."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = type(cls.__name__, (cls,), {"processed_dir": property(lambda _: scratch)})
        local = fresh
        if cls.download is not Dataset.download:
            local = type(cls.__name__, (fresh,), {"has_download": property(_refuse_download)})
        try:
            return _quietly(local, {"root": str(folder), **arguments})
        except _RawAbsentError as absent:
            missing = [os.path.relpath(path, folder) for path in absent.args]
        with downloading(spec, folder.parent, folder, missing) as staged, _over_tls():
            return _quietly(fresh, {"root": str(staged), **arguments})


def _refuse_download(dataset: Any) -> bool:
    if missing := [path for path in dataset.raw_paths if not Path(path).exists()]:
        raise _RawAbsentError(*missing)
    for path in map(Path, dataset.raw_paths):
        if path.is_file():
            check_unpacked(path)
            if path.name.startswith("ind."):
                check_planetoid(path)
    return False


@contextmanager
def _over_tls() -> Iterator[None]:
    """Let PyG download over TLS alone, with certificates that are checked, which it does not do by itself."""
    module: Any = sys.modules["torch_geometric.data.download"]
    before = module.urllib
    module.urllib = SimpleNamespace(request=SimpleNamespace(urlopen=_open))
    try:
        yield
    finally:
        module.urllib = before


def _open(url: str, context: object = None) -> Any:
    secure = url.replace("http://", "https://", 1)
    if not secure.startswith("https://"):
        raise ValueError(f"{url} is not https")
    return urllib.request.urlopen(secure, timeout=TIMEOUT)  # nosec B310  # https, checked above


def _quietly(cls: Any, arguments: dict[str, str]) -> Any:
    """Make a PyG data set without its messages and warnings."""
    with (
        redirect_stderr(io.StringIO()),
        redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
        arrays_only(),
    ):
        warnings.simplefilter("ignore")
        return cls(**arguments)


def _stated_classes(dataset: Any) -> int | None:
    """Return the number of classes that a PyG class states itself; None if it only looks for the largest label."""
    if type(dataset).num_classes in (Dataset.num_classes, InMemoryDataset.num_classes):
        return None
    return int(dataset.num_classes)


def _classifies_nodes(data: Data) -> bool:
    if data.x is None or data.edge_index is None or not isinstance(data.y, torch.Tensor):
        return False
    try:
        return data.y.numel() == data.num_nodes and known_labels(data.y).numel() > 0
    except InputError:
        return False


def _describe(spec: str, class_name: str, data: Data, classes: int, split: str | None) -> DatasetInfo:
    try:
        rule = default_rule(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # the split that is used warns
            masks = draw_split(rule, data)
    except InputError as error:
        if split is None:
            raise InputError(f"{spec}: {error}; or another split, such as 60/20/20") from error
        rule, masks = split, draw_split(split, data)
    return DatasetInfo(
        name=spec,
        title=f"{class_name} of PyTorch Geometric",
        kind="graph",
        loader="pyg",
        split=rule,
        licence="see its documentation",
        origin=f"torch_geometric.datasets.{class_name}",
        url="https://pytorch-geometric.readthedocs.io/en/latest/modules/datasets.html",
        nodes=data.num_nodes,
        edges=data.num_edges,
        features=data.num_features,
        classes=classes,
        train=int(masks.train.sum()),
        val=int(masks.val.sum()),
        test=int(masks.test.sum()),
        download_bytes=0,
    )
