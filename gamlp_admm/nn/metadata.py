"""What a model's file keeps beside the weights: JSON values, and among them tensors and transforms."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.errors import InputError

KEY = "__tensor__"
"""Of a table that stands for a tensor: the tensor's name in the file."""


def packed(metadata: dict[str, Any]) -> tuple[str, dict[str, Tensor]]:
    """Return metadata as JSON, and the tensors that are in it, by their names in the file.

    Args:
        metadata: JSON values; tensors; whatever has a method ``recipe`` that returns such; and chains of it, as
            :class:`torch_geometric.transforms.Compose`.

    Raises:
        InputError: There is something else, or something that cannot be kept.
    """
    tensors: dict[str, Tensor] = {}

    def encode(value: Any) -> Any:
        if isinstance(value, Tensor):
            name = f"metadata.{len(tensors)}"
            tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {KEY: name, "shape": [*value.shape]}
        if hasattr(value, "recipe"):
            return value.recipe()
        if hasattr(value, "transforms"):
            return [*value.transforms]
        what = getattr(value, "__name__", type(value).__name__)
        raise InputError(f"a model's file keeps JSON values, tensors and transforms of gamlp_admm, not {what}")

    return json.dumps(metadata, default=encode), tensors


def unpacked(text: str, file: Any) -> tuple[dict[str, Any], set[str]]:
    """Return metadata from JSON, with the tensors of a file, and the names of these.

    Args:
        text: What :func:`packed` returned.
        file: An open safetensors file.

    Raises:
        ValueError: The text is no such JSON, or a tensor has another shape than it says.
    """
    names: set[str] = set()

    def decode(table: dict[str, Any]) -> Any:
        if KEY not in table:
            return table
        name, shape = table[KEY], file.get_slice(table[KEY]).get_shape()
        if shape != table.get("shape"):
            raise ValueError(f"{name} has shape {shape}, not {table.get('shape')}")
        names.add(name)
        return file.get_tensor(name).clone()  # where torch lays tensors: bits of products depend on the alignment

    return dict(json.loads(text, object_hook=decode)), names
