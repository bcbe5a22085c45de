"""Loading: raw files to checked data with a split."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch_geometric.data import Data

from gamlp_admm.datasets import ogb, ogb_binary, ogb_mag  # noqa: F401 (makes their readers known)
from gamlp_admm.datasets.info import DatasetInfo, dataset_info
from gamlp_admm.datasets.pickles import arrays_only
from gamlp_admm.datasets.pyg import PREFIX, load_pyg
from gamlp_admm.datasets.raw import check_unpacked, default_root, described, ensure_raw, reading
from gamlp_admm.datasets.readers import READERS
from gamlp_admm.datasets.splits import USUAL, choose_split, default_rule, told_split, warn_of_empty
from gamlp_admm.datasets.targets import has_many_labels, known_labels
from gamlp_admm.errors import InputError, file_name, random_seed, unknown


@dataclass(frozen=True, repr=False)
class LoadedDataset:
    """A data set in memory.

    Attributes:
        data: ``x`` [N, F] float32, ``edge_index`` [2, E] int64, ``y`` [N] int64, -1 where the class is not known
            (ogbn-proteins: [N, T] float32, 0 or 1 for each of T labels), and the boolean masks ``train_mask``,
            ``val_mask`` and ``test_mask`` [N], disjoint.
        info: Its description.
        split: Where the masks come from: which came with the data, which were drawn, and from what nodes.
    """

    data: Data
    info: DatasetInfo
    split: str = ""

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes, where they are known."""
        return self.data.get("class_names")  # type: ignore[no-any-return]

    @property
    def feature_names(self) -> list[str] | None:
        """Names of the columns of ``x``, where they are known."""
        return self.data.get("feature_names")  # type: ignore[no-any-return]

    @property
    def node_ids(self) -> list[str] | None:
        """Names of the nodes, where they have some."""
        return self.data.get("node_ids")  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        info = self.info
        parts = ", ".join(f"{int(self.data[f'{part}_mask'].sum()):,} {part}" for part in ("train", "val", "test"))
        counts = f"{info.nodes:,} nodes ({parts}), {info.edges:,} edges"
        return f"<{type(self).__name__} {info.name}: {counts}, {info.features:,} features, {info.classes:,} classes>"


def load_dataset(
    name: str,
    root: str | Path | None = None,
    *,
    split: str | None = None,
    seed: int | None = None,
    split_index: int | None = None,
) -> LoadedDataset:
    """Load a data set, downloading it first if its raw files are absent.

    Args:
        name: One of :func:`dataset_names`, or ``pyg:<ClassName>:<name>`` for a data set of PyG.
        root: Data root: one folder a family of data sets, each the ``root`` of its usual reader. It is
            written to only by a download. Default: :func:`default_root`.
        split: Rule that divides the nodes: ``"public"`` (the masks that come with the data),
            ``"public-train"`` (only their training nodes, the rest at random), ``"public-train-test"`` (only
            those two masks, validation nodes drawn) and so on for any masks, ``"per-class"`` (20 a class,
            then 1,000 test and 1,000 validation nodes) or ``"stratified"`` (60/20/20 % of each class); or
            shares, as ``"60/20/20"``: per cents of the labelled nodes, drawn as PyG's ``RandomNodeSplit``
            draws them. Default, ``"usual"``: the data set's own rule, of PyG's classes the one that keeps all
            masks that came with the data (:mod:`gamlp_admm.datasets.splits`).
        seed: Seed of a random split. Where several splits come with the data it chooses one of them; where
            one does, it is not used. Default: 100, with which ``"per-class"`` draws as the papers' released
            code; of shares 0.
        split_index: Which of several splits ``[N, S]`` that come with the data, as those of ``pyg:WikiCS``.

    Returns:
        The data, with masks set, and their description.

    Raises:
        InputError: If the name or the split is not known, the raw files are absent and cannot be downloaded,
            one of them is damaged, the data are not what their description says, or masks that came with them
            overlap.

    Warns:
        InputWarning: If a mask that came with the data has nodes whose class is not known; they are taken out.

    Example:
        >>> from gamlp_admm import load_dataset
        >>> load_dataset("karate")
        <LoadedDataset karate: 34 nodes (4 train, 10 val, 20 test), 156 edges, 34 features, 4 classes>
        >>> load_dataset("karate", split="60/20/20", seed=1).data.val_mask.sum()
        tensor(7)
    """
    folder = default_root() if root is None else Path(file_name("root", root)).expanduser()
    seed = random_seed(seed)
    if not isinstance(name, str):
        raise InputError(f"name is a {type(name).__name__}: allowed: the name of a data set; load_graph takes graphs")
    if name.startswith(PREFIX):
        data, info = load_pyg(name, folder, None if split == USUAL else split)
    else:
        info = dataset_info(name)
        data = read_data(info, folder)
    choose_split(data, split_index)
    return LoadedDataset(*_divided(data, info, split, seed))


def read_data(info: DatasetInfo, root: Path) -> Data:
    """Read a described data set and check that it is what the description says.

    Raises:
        InputError: If raw files are absent or damaged, or a count differs.
    """
    if info.loader not in READERS:
        raise unknown(f"reader of {info.name}", info.loader, READERS)
    paths = ensure_raw(info, root)
    try:
        for path in paths:
            with reading(path):
                check_unpacked(path)
        with arrays_only(), described(info):
            data = READERS[info.loader](paths)
        many = has_many_labels(data.y)
        data.y = data.y if many else known_labels(data.y)
        data.validate()  # PyG raises a ValueError on edges between nodes that do not exist
    except ValueError as error:
        raise InputError(f"{info.name}: {error}") from error
    _check(
        info,
        nodes=data.num_nodes,
        edges=data.num_edges,
        features=data.num_features,
        classes=data.y.shape[1] if many else int(data.y.max()) + 1,
    )
    _check(info, nodes=len(data.y))  # one label a node
    return data


def split_data(data: Data, info: DatasetInfo, split: str | None, seed: int | None) -> Data:
    """Set the three masks by a rule; the sizes of the default split are checked."""
    return _divided(data, info, split, seed)[0]


def _divided(data: Data, info: DatasetInfo, split: str | None, seed: int | None) -> tuple[Data, DatasetInfo, str]:
    usual = split is None or split == USUAL
    rule = info.split if split is None or usual else split
    if usual and info.loader == "pyg":
        warn_of_empty(data, seed)
        rule = default_rule(data, seed)
    try:
        masks, text = told_split(rule, data, seed, info.classes)
    except InputError as error:
        if not usual:
            raise
        raise InputError(f"{info.name}: {error}{_original(info)}") from error
    if usual and info.loader != "pyg":
        _check(info, **{part: int(mask.sum()) for part, mask in masks._asdict().items()})
    data.update({f"{part}_mask": mask for part, mask in masks._asdict().items()})
    return data, info, f"{rule}: {text}"


def _check(info: DatasetInfo, **found: int) -> None:
    wrong = [what for what, count in found.items() if count != getattr(info, what)]
    if wrong:
        expected = ", ".join(f"{getattr(info, what):,} {what}" for what in wrong)
        actual = ", ".join(f"{found[what]:,} {what}" for what in wrong)
        raise InputError(f"{info.name}: expected {expected}; found {actual}{_original(info)}")


def _original(info: DatasetInfo) -> str:
    return f"; are the files in {info.raw.folder} the original ones?" if info.raw else ""
