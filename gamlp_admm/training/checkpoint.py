"""Checkpoints: one safetensors file a process, replaced atomically and together. No pickle."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.nn.network import Weights
from gamlp_admm.parallel.team import Team
from gamlp_admm.system.files import replacing


def file_name(rank: int = 0, size: int = 1) -> str:
    """Return the name of a process's file."""
    return "checkpoint.safetensors" if size == 1 else f"checkpoint-{rank}-of-{size}.safetensors"


def save(
    directory: Path,
    tensors: dict[str, Tensor],
    header: dict[str, Any],
    rank: int = 0,
    size: int = 1,
    barrier: Callable[[], None] = lambda: None,
) -> None:
    """Write a checkpoint; an interrupted write leaves the previous one.

    Args:
        directory: Made if absent.
        tensors: The state.
        header: JSON values: what is not a tensor.
        rank: This process.
        size: Number of processes.
        barrier: Waits for all processes, so that files are replaced only when all are written.

    Raises:
        InputError: The directory cannot be written.
    """
    make_directory(directory)
    with replacing(directory / file_name(rank, size)) as part:
        plain = {key: t.detach().cpu().clone().contiguous() for key, t in tensors.items()}
        save_file(plain, str(part), metadata={"run": json.dumps(header)})
        barrier()


def make_directory(directory: Path) -> None:
    """Make the directory of a checkpoint if it is absent.

    Raises:
        InputError: It cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"checkpoint directory {directory} cannot be written ({error.strerror})") from None


def load(directory: Path, rank: int = 0, size: int = 1) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint.

    Args:
        directory: The directory given to :func:`save`.
        rank: This process.
        size: Number of processes.

    Returns:
        The tensors and the header.

    Raises:
        InputError: There is no readable checkpoint.
    """
    path = directory / file_name(rank, size)
    try:
        with safe_open(str(path), framework="pt") as file:
            header = json.loads(file.metadata()["run"])
            # Cloned, because BLAS kernels round by alignment, and tensors in the file are not aligned as torch's are.
            return {name: file.get_tensor(name).clone() for name in file.keys()}, header  # noqa: SIM118 (no mapping)
    except FileNotFoundError:
        raise InputError(f"no checkpoint to resume from: {path} does not exist") from None
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        raise InputError(f"{path} is not a readable checkpoint ({str(error).splitlines()[0]})") from None


@dataclass(frozen=True)
class Snapshot:
    """What of a run goes into a checkpoint and comes back, in one process.

    Attributes:
        identity: What a run that goes on must have in common with this one, by name; JSON values.
        layers: The layers owned.
        position: How far the run is.
        result: Its history, best and last record.
        bytes_sent: What the session has sent.
        session: The session's state.
        features: What the features' coordinates need beside the weights.
        best: The best weights so far, or ``None``.
    """

    identity: dict[str, Any]
    layers: list[int]
    position: list[Any]
    result: dict[str, Any]
    bytes_sent: int
    session: dict[str, Tensor]
    features: dict[str, Tensor]
    best: Weights | None

    def write(self, directory: Path, team: Team) -> None:
        """Write the checkpoint, all processes together."""
        header = {name: getattr(self, name) for name in HEADER}
        tensors = {f"session.{name}": t for name, t in self.session.items()}
        tensors |= {f"features.{name}": t for name, t in self.features.items()}
        for l, (W, b) in enumerate(self.best or []):
            tensors |= {f"best.{l}.W": W, f"best.{l}.b": b}
        save(directory, tensors, header, team.rank, team.size, team.barrier)

    @classmethod
    def read(cls, directory: Path, identity: dict[str, Any], team: Team, device: torch.device) -> Snapshot:
        """Read a checkpoint.

        Args:
            directory: Where :meth:`write` put it.
            identity: That of the run that goes on.
            team: The processes.
            device: Where the tensors go.

        Raises:
            InputError: There is no readable checkpoint, or another run wrote it.
        """
        tensors, header = load(directory, team.rank, team.size)
        for name, value in identity.items():
            saved = header["identity"].get(name)
            if saved != value:
                raise InputError(f"the checkpoint in {directory} was made with {name}={saved}, not {value}")

        def of(kind: str) -> dict[str, Tensor]:
            return {k.removeprefix(f"{kind}."): t.to(device) for k, t in tensors.items() if k.startswith(f"{kind}.")}

        best = of("best")
        pairs = [(best[f"{l}.W"], best[f"{l}.b"]) for l in range(len(best) // 2)] or None
        return cls(
            **{name: header[name] for name in HEADER}, session=of("session"), features=of("features"), best=pairs
        )


HEADER = ("identity", "layers", "position", "result", "bytes_sent")
"""What of a snapshot is not a tensor."""
