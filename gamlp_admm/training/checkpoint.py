"""Checkpoints: one safetensors file a process, replaced atomically and together. No pickle."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from gamlp_admm.errors import InputError
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
