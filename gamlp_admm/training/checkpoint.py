"""Checkpoints: the state of a run by layer, so that any number of processes goes on from it, written by all together.

Tensors have names: ``3.W`` belongs to layer 3, ``all.gram`` is the same in all processes, and where a name ends in
``.rows``, there is a row a training row. Each process writes the layers that it owns, and of the rows its shard;
processes that go on read the layers and rows that are theirs then. What the files are called and how they come to be
whole is in :mod:`gamlp_admm.training.generations`.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.parallel.team import Team
from gamlp_admm.system.durable import Lock, sha256, sync
from gamlp_admm.system.files import replacing
from gamlp_admm.training import generations
from gamlp_admm.training.generations import History, Manifest
from gamlp_admm.training.identity import Identity
from gamlp_admm.training.result import Result

ROWS = ".rows"


def held(directory: Path, shared: bool = False) -> Lock:
    """Return the lock of a checkpoint's directory, which is made if it is absent; arguments as :class:`Lock`.

    Raises:
        InputError: Another run has it, or the directory cannot be written.
    """
    generations.make_directory(directory)
    return Lock(directory, f"checkpoint directory {directory}", shared)


class Checkpoint:
    """The checkpoint of one run, in one process; all processes call its methods together.

    Args:
        directory: Where it is.
        identity: What a run that goes on must have in common with this one; used in the first process.
        team: The processes.
        saved: What the manifest of the generation to go on from says, or ``None``.
        last: Number of the newest generation that is there, whole or not.
    """

    def __init__(self, directory: Path, identity: Identity, team: Team, saved: Manifest | None, last: int) -> None:
        self.directory, self.identity, self.team, self.saved = directory, identity, team, saved
        self.number, self.whole = last, [] if saved is None else [saved["number"]]
        self.history = History(directory)

    def write(self, tensors: Mapping[str, Tensor], about: dict[str, Any], result: Result) -> None:
        """Write a generation; a write that fails or is interrupted leaves those before it.

        Args:
            tensors: The state, as far as this process has it.
            about: JSON values, the same in all processes.
            result: The run so far.

        Raises:
            InputError: A process could not write; all of them raise it.
        """
        self.number += 1
        folder = generations.folder_of(self.directory, self.number)
        try:
            written: str | dict[str, str] = self._write_own(folder, tensors)
        except InputError as error:
            written = str(error)
        everyone = self.team.collect(written)
        for each in everyone:
            if isinstance(each, str):
                if self.team.rank == 0:
                    shutil.rmtree(folder, ignore_errors=True)
                raise InputError(each)
        files = {name: digest for each in everyone for name, digest in each.items()}
        self.team.of_first(lambda: self._commit(files, about, result))

    def _write_own(self, folder: Path, tensors: Mapping[str, Tensor]) -> dict[str, str]:
        # The digest of this process's file, by its name.
        team = self.team
        mine = {name: t for name, t in tensors.items() if team.shard == 0 or name.endswith(ROWS)}
        if not team.layers or not mine:
            return {}
        shard = f"-shard-{team.shard}" if team.num_shards > 1 else ""
        path = folder / f"layers-{team.layers[0] + 1}-{team.layers[-1] + 1}{shard}.safetensors"
        plain = {name: t.detach().cpu().clone().contiguous() for name, t in mine.items()}
        with _named(path):
            folder.mkdir(exist_ok=True)  # whoever comes first
            with replacing(path) as part:
                save_file(plain, str(part))
                sync(part)
            sync(folder)
            return {path.name: sha256(path)}

    def _commit(self, files: dict[str, str], about: dict[str, Any], result: Result) -> None:
        folder = generations.folder_of(self.directory, self.number)
        if absent := [name for name in files if not (folder / name).exists()]:
            raise InputError(f"checkpoint directory {self.directory} is not one for all processes: no {absent[0]} here")
        manifest = {
            "number": self.number,
            "identity": self.identity.values,
            "shards": self.team.num_shards,
            **about,
            "result": {name: getattr(result, name) for name in ("best", "last", "start")},
            "files": files,
        }
        with _named(self.directory):
            manifest["history"] = self.history.write(result.records, self.number)
            generations.commit(self.directory, self.number, manifest)
        self.whole = [*self.whole, self.number][-2:]
        generations.sweep(self.directory, self.whole)

    def recall(self, result: Result) -> None:
        """Let a result have the records of the generation to go on from."""
        assert self.saved is not None
        result.records = generations.read_history(self.directory, self.saved)
        for name, value in self.saved["result"].items():
            setattr(result, name, value)

    @contextmanager
    def state(self, rows: range, device: torch.device) -> Iterator[Mapping[str, Tensor]]:
        """Give the tensors of the generation to go on from, which are read when they are asked for.

        Args:
            rows: The training rows of this process, among those of all shards.
            device: Where tensors go.
        """
        assert self.saved is not None
        folder = generations.folder_of(self.directory, self.saved["number"])
        with ExitStack() as stack:
            paths = [folder / name for name in sorted(self.saved["files"], key=_shard)]
            yield _State([stack.enter_context(safe_open(str(path), framework="pt")) for path in paths], rows, device)


class _State(Mapping[str, Tensor]):
    """Tensors of several files by name; those of several shards are joined, and cut to the rows wanted."""

    def __init__(self, files: list[Any], rows: range, device: torch.device) -> None:
        self.rows, self.device = rows, device
        self.files: dict[str, list[Any]] = {}
        for file in files:
            for name in file.keys():  # noqa: SIM118 (no mapping)
                self.files.setdefault(name, []).append(file)

    def __getitem__(self, name: str) -> Tensor:
        files = self.files[name]
        if not name.endswith(ROWS):
            # Cloned, because BLAS kernels round by alignment, and tensors in the file are not aligned as torch's are.
            return files[0].get_tensor(name).clone().to(self.device)  # type: ignore[no-any-return]
        parts, begin = [], 0
        for file in files:
            part = file.get_slice(name)
            end = begin + part.get_shape()[0]
            low, high = max(begin, self.rows.start), min(end, self.rows.stop)
            if low < high:
                parts.append(part[low - begin : high - begin])
            begin = end
        return torch.cat(parts).to(self.device)

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)


def _shard(name: str) -> int:
    _, shard, number = name.removesuffix(".safetensors").rpartition("-shard-")
    return int(number) if shard else 0


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"{path} cannot be written ({why})") from None


@contextmanager
def opened(
    place: str | os.PathLike[str] | None, identity: Identity, team: Team, resume: bool, overwrite: bool
) -> Iterator[Checkpoint | None]:
    """Give the checkpoint of a run while it goes on; no other run can have it then.

    Args:
        place: Its directory, or the lock of it (:func:`held`); ``None`` for no checkpoint.
        identity: What the run is; used in the first process.
        team: The processes.
        resume: Whether the run goes on from the newest generation that is whole.
        overwrite: Whether a run that is there is replaced.

    Raises:
        InputError: There is nothing to go on from, or another run has the directory, or would be replaced.
    """
    if place is None:
        yield None
        return
    directory = Path(place)

    def find() -> tuple[Manifest | None, int]:
        if resume and not directory.is_dir():  # before it is made
            generations.check_present(directory)
        lock = place if isinstance(place, Lock) else stack.enter_context(held(directory))
        if overwrite:
            generations.vacate(directory)
        there = generations.numbers(directory)
        generations.sweep(directory, there)
        if team.size > 1:
            lock.share()
        if not resume:
            generations.check_vacant(directory)
            return None, 0
        saved = generations.newest_whole(directory)
        identity.check(saved["identity"], directory)
        # Two are kept, and newer ones that are damaged; a kill may have come before the third was removed.
        generations.sweep(directory, there[: there.index(saved["number"]) + 2])
        if saved["shards"] != team.num_shards:
            _tell_of_shards(directory, saved, team.num_shards)
        return saved, there[0]

    with ExitStack() as stack:
        found = team.of_first(find)
        if team.rank > 0:
            stack.enter_context(held(directory, shared=True))
        yield Checkpoint(directory, identity, team, *found)


def _tell_of_shards(directory: Path, saved: Manifest, now: int) -> None:
    before = saved["shards"]
    if saved["compressed"]:
        raise InputError(
            f"the checkpoint in {directory} has features in a basis that needs all rows in one process: "
            f"allowed: node_shards 1, not {now}"
        )
    warnings.warn(
        f"the checkpoint in {directory} was made with node_shards {before}, not {now}: rows are summed in another "
        "order from here on, so the bits are not those of a run with either",
        InputWarning,
        stacklevel=4,
    )
