"""A directory of propagated features: what :class:`gamlp_admm.transforms.AugmentFeatures` gives, kept on the disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import xxhash
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from gamlp_admm.errors import InputError, unknown
from gamlp_admm.propagation.mapping import let_go
from gamlp_admm.propagation.store import matrix
from gamlp_admm.system.files import replacing, write_text

FORMAT = 1
ARITHMETIC = 1
"""Version of the arithmetic: features of another one may differ in their last bits, and count as others."""

ABOUT, FEATURES, NODES = "store.json", "x.safetensors", "nodes.safetensors"


@dataclass(frozen=True, repr=False)
class StoredFeatures(Dataset[dict[str, Tensor]]):
    """Features in a directory, with what else is known of their nodes.

    It is a data set of torch: an item is a dictionary of the features ``x`` and of what else is known of a node, and
    :meth:`loader` gives batches of them, each read in one go. :func:`gamlp_admm.load_graph` makes of the directory what
    can be trained on.

    Attributes:
        path: The directory.
        x: Features ``[R, C]``, memory-mapped: they are read from the disk where they are looked at.
        nodes: Tensors ``[R, …]`` by name: ``y``, ``train_mask``, ``val_mask``, ``test_mask``, and ``n_id``, the
            numbers of the nodes in their graph, where they are not all.
        about: What ``store.json`` says: ``feature_blocks``, the ``recipe`` of the transform, names of classes, ….

    Example:
        >>> import tempfile, pathlib, torch
        >>> from gamlp_admm.propagation.store import StoredFeatures
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     StoredFeatures.save(folder, torch.randn(10, 4), {"y": torch.arange(10)}, {"feature_blocks": [2, 2]})
        ...     store = StoredFeatures.open(folder)
        ...     [len(batch["y"]) for batch in store.loader(batch_size=4)]
        [4, 4, 2]
    """

    path: Path
    x: Tensor
    nodes: Mapping[str, Tensor]
    about: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | Path, verify: bool = True) -> StoredFeatures:
        """Return the features in a directory.

        Args:
            path: The directory.
            verify: Whether to read all files once, and compare their checksums.

        Raises:
            InputError: There are none, they are not complete, or a file is not what it was.
        """
        path = Path(path)
        about = read_about(path)
        if verify:
            for name, checksum in about["checksums"].items():
                if (found := checksum_of(path / name)) != checksum:
                    raise InputError(f"{path / name} is damaged: its checksum is {found}, not {checksum}")
        try:
            nodes = load_file(path / NODES)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path / NODES} cannot be read ({error})") from None
        return cls(path, matrix.mapped(path / FEATURES), nodes, about)

    @staticmethod
    def save(path: str | Path, x: Tensor, nodes: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
        """Write features that are in memory; of others the parts are written one by one (:func:`finish`)."""
        path = Path(path)
        path.mkdir(parents=True, exist_ok=True)
        matrix.create(path / FEATURES, (x.shape[0], x.shape[1]), x.dtype)
        matrix.write(path / FEATURES, 0, 0, x)
        finish(path, nodes, about)

    def __repr__(self) -> str:
        rows, columns = self.x.shape
        return f"<{type(self).__name__} {self.path}: {rows:,} x {columns:,} {self.x.dtype}>".replace("torch.", "")

    @property
    def file(self) -> Path:
        """The file of the features."""
        return self.path / FEATURES

    @property
    def recipe(self) -> list[Mapping[str, Any]] | None:
        """What the transforms that made the features are, one after the other; ``None`` where that is not known."""
        found = self.about.get("recipe")
        return found if found is None or isinstance(found, list) else [found]

    def loader(
        self, split: str | None = None, batch_size: int = 1024, shuffle: bool = False, **options: Any
    ) -> DataLoader[dict[str, Tensor]]:
        """Return batches of the nodes, dictionaries as :meth:`__getitems__` makes them.

        Args:
            split: ``train``, ``val`` or ``test``; ``None`` for all nodes.
            batch_size: Nodes of a batch.
            shuffle: Whether their order is drawn anew each time.
            options: Of ``torch.utils.data.DataLoader``, as ``num_workers``.

        Raises:
            InputError: The store has no such split.

        Example:
            >>> import tempfile, torch
            >>> from gamlp_admm.propagation import StoredFeatures
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     nodes = {"y": torch.arange(10), "train_mask": torch.arange(10) < 6}
            ...     StoredFeatures.save(folder, torch.randn(10, 4), nodes, {})
            ...     store = StoredFeatures.open(folder)
            ...     [batch["x"].shape[0] for batch in store.loader("train", 4, shuffle=True)]
            [4, 2]
        """
        rows: Dataset[Any] = self
        if split is not None:
            splits = [name.removesuffix("_mask") for name in self.nodes if name.endswith("_mask")]
            if split not in splits:
                raise unknown(f"split of {self.path}", split, splits)
            rows = Subset(self, self.nodes[f"{split}_mask"].nonzero()[:, 0].tolist())
        collate: Any = self.collate  # of what __getitems__ returns, of which torch's types know nothing
        return DataLoader(rows, batch_size, shuffle, collate_fn=collate, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        # Of another process, such as a worker of a loader: it maps the file itself.
        return StoredFeatures.open, (self.path, False)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, row: int) -> dict[str, Tensor]:
        return {"x": self.x[row], **{name: tensor[row] for name, tensor in self.nodes.items()}}

    def __getitems__(self, rows: Sequence[int]) -> dict[str, Tensor]:
        index = torch.as_tensor(rows)
        return {"x": self.x[index], **{name: tensor[index] for name, tensor in self.nodes.items()}}

    @staticmethod
    def collate(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return a batch, which :meth:`__getitems__` made as a whole: the ``collate_fn`` of a loader."""
        return batch


def finish(path: Path, nodes: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write what makes a directory complete, when its features are; ``store.json`` comes last.

    Args:
        path: The directory.
        nodes: Tensors ``[R, …]`` by name.
        about: JSON values.
    """
    with replacing(path / NODES) as part:
        save_file({name: tensor.contiguous() for name, tensor in nodes.items()}, part)
    checksums = {name: checksum_of(path / name) for name in (FEATURES, NODES)}
    told = {"format": FORMAT, "arithmetic": ARITHMETIC, **about, "checksums": checksums}
    write_text(path / ABOUT, json.dumps(told, indent=1, sort_keys=True) + "\n")


def is_store(path: Path) -> bool:
    """Tell whether a path is a directory of features, complete."""
    return (path / ABOUT).is_file()


def read_about(path: Path) -> dict[str, Any]:
    """Return what ``store.json`` says.

    Raises:
        InputError: There is none, or it is of another format.
    """
    try:
        about = json.loads((path / ABOUT).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} holds no stored features: {ABOUT} cannot be read ({error.strerror})") from None
    except ValueError:
        raise InputError(f"{path / ABOUT} is damaged: it is no JSON") from None
    if not isinstance(about, dict) or about.get("format") != FORMAT or not isinstance(about.get("checksums"), dict):
        raise InputError(f"{path / ABOUT} is not of format {FORMAT}, which this version reads")
    return about


def digest_of(tensor: Tensor | None) -> str | None:
    """Return the XXH3 checksum of a tensor's shape, type and numbers, dense or sparse; ``None`` of none.

    Example:
        >>> import torch
        >>> from gamlp_admm.propagation.store.stored import digest_of
        >>> one = digest_of(torch.ones(2))
        >>> one == digest_of(torch.ones(2)), one == digest_of(torch.ones(2, 1))
        (True, False)
    """
    if tensor is None:
        return None
    digest = xxhash.xxh3_128(f"{tuple(tensor.shape)} {tensor.dtype} {tensor.layout}".encode())
    if tensor.layout is not torch.strided:
        entries = tensor.detach().to_sparse(layout=torch.sparse_coo).coalesce()
        digest.update(f"{digest_of(entries.indices())} {digest_of(entries.values())}".encode())
        return digest.hexdigest()
    flat = tensor.detach().reshape(-1) if tensor.is_contiguous() else tensor.detach()
    for part in torch.split(flat, max(2**22 // max(flat[:1].numel(), 1), 1)):
        digest.update(part.cpu().contiguous().view(torch.uint8).numpy().data)
        let_go(part)
    return digest.hexdigest()


def checksum_of(path: Path) -> str:
    """Return the XXH3 checksum of a file, 128 bits in hexadecimal digits.

    Raises:
        InputError: It cannot be read.
    """
    digest = xxhash.xxh3_128()
    try:
        with path.open("rb") as file:
            while block := file.read(2**22):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error})") from None
    return digest.hexdigest()
