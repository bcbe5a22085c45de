"""The first process of a run loads and speaks for all."""

from __future__ import annotations

import processes
import torch

from gamlp_admm.experiment import Experiment, run


def test_a_run_of_a_group_that_torchrun_did_not_start(tmp_path, monkeypatch):
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    processes.spawn(2, tmp_path, processes.experiment)
    first, other = (torch.load(tmp_path / f"experiment-{rank}.pt") for rank in range(2))
    assert (first["first"], other["first"]) == (True, False)
    assert (first["loads"], other["loads"]) == (2, 0)  # once a run
    assert (first["devices"], other["devices"]) == ({"cpu"}, {"meta"})
    alone = run(Experiment(dataset="karate", layers=4, grow="none", iterations=3))
    for name, tensor in alone.model.state_dict().items():
        assert torch.equal(first["weights"][name], tensor)
    assert first["report"]["best"] == other["report"]["best"] == alone.report["best"]
    assert first["report"]["environment"]["processes"] == 2
    assert [record["iteration"] for record in first["again"]["history"]] == [0, 1, 2, 3, 4, 5]
    kept = {str(path.relative_to(tmp_path / "kept")) for path in (tmp_path / "kept").rglob("*") if path.is_file()}
    files = {"layers-1-2.safetensors", "layers-3-4.safetensors", "manifest.jsonl"}
    assert kept == {
        *("experiment.json", "lock", "history-00000001.jsonl", "history-00000002.jsonl"),
        *(f"generation-0000000{number}/{name}" for number in (1, 2) for name in files),
    }
