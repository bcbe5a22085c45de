"""Rows over processes: each that owns the first layer reads its own from stored features, to the same bits."""

from __future__ import annotations

from pathlib import Path

import processes
import torch

from gamlp_admm.propagation import StoredFeatures
from gamlp_admm.training.sharing import _found


def test_shards_read_their_rows_from_the_store(tmp_path: Path) -> None:
    data, path = processes.data(), tmp_path / "features"
    nodes = {name: getattr(data, name) for name in ("y", "train_mask", "val_mask", "test_mask")}
    StoredFeatures.save(path, data.x, nodes, {})
    data.x[145, 3] = float("nan")  # which the second shard reads
    StoredFeatures.save(f"{path}-wrong", data.x, nodes, {})
    processes.spawn(2, tmp_path, processes.from_store, str(path), 2)
    ranks = [torch.load(tmp_path / f"from-store-{rank}.pt", weights_only=False) for rank in range(2)]
    for results in ranks:
        assert "NaN or infinite values in 1 of the nodes used, first in row 145" in results.pop("error")
        assert {kind: outcome["read"] for (_, kind), outcome in results.items()} == {"sent": 0, "read": 1, "paged": 1}
        for (name, _), outcome in results.items():
            sent = ranks[0][name, "sent"]
            assert outcome["history"] == sent["history"]
            assert all(torch.equal(t, sent["weights"][key]) for key, t in outcome["weights"].items())


def test_a_file_is_what_all_find(tmp_path: Path) -> None:
    file = tmp_path / "x"
    assert _found(str(file)) is None
    file.write_bytes(b"12")
    before = _found(str(file))
    file.write_bytes(b"123")
    assert before is not None
    assert before[:2] == (str(file), 2)
    assert _found(str(file)) != before
