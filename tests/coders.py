"""Names of codecs of every kind, and the codec of a name."""

from __future__ import annotations

import torch

from gamlp_admm.codecs import Codec, codec

NAMES = [
    *("full", "fp64", "fp32", "fp16", "bf16", "int8", "int4", "int2", "int4:16", "int2:7", "int8:1"),
    *("int8-delta", "int4-delta", "int2-delta", "int4:16-delta"),
    *("int1", "int1-delta", "ternary", "ternary:0.7-delta", "changed:1.3:0.9:int2-delta", "changed:1.4:0.9:fp32"),
    *("zstd:int2-delta", "zstd:changed:1.3:0.9:ternary:1-delta", "changed:1.3:0.9:zstd:int4", "zstd:fp16"),
    *("grid:paper", "grid:released", "grid:0:4:256", "grid:-3:3:65536", "grid:-1:1:2", "grid:0:1:16", "grid:0:1:300"),
    *("grid:-2;0;0.25;0.5;1;3", "grid:0;1", "grid:-1;0;1;2;3"),
]
DTYPES = [torch.float32, torch.float64]


def made(name: str) -> Codec:
    result = codec(name)
    assert isinstance(result, Codec)
    return result
