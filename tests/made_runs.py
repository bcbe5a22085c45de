"""Reports of runs that no training made, for tests of what is read, drawn and written of them."""

from __future__ import annotations

from typing import Any


def made(seed: int = 0, iterations: int = 20, gain: float = 0.0, codec: str = "fp32") -> dict[str, Any]:
    """Return the report of a run, as ``train --json`` writes it."""
    history = [
        {
            **{"iteration": k, "layers": 2, "objective": 100 / (k + 1), "train_loss": 1 / (k + 1)},
            **{"primal_residual": None if k == 0 else 4.0 / k**2, "dual_residual": None if k == 0 else 0.5 / k},
            **{f"{split}_accuracy": 0.9 + gain - 0.5 / (k + 1) for split in ("train", "val", "test")},
            **{"seconds": 0.1 * k, "bytes_sent": 1000 * k},
        }
        for k in range(iterations + 1)
    ]
    last = history[-1]
    chosen = {key: last[key] for key in ("iteration", "val_accuracy", "test_accuracy")}
    scores = {"nodes": 4, "precision": 0.75, "recall": 0.75, "f1": 0.75}
    shape = {"layers": 2, "hidden": 8, "hops": 2, "operator": "sym", "codec": codec, "algorithm": "pdadmm-g"}
    environment = {"versions": {"python": "3.11", "torch": "2.13"}, "device": "cpu", "processes": 1, "threads": 2}
    return {
        "dataset": "toy",
        "algorithm": "pdadmm-g",
        "config": {"dataset": "toy", "rho": 0.01, "unit_rows": False, "lr": None, "seed": seed, **shape},
        "environment": environment,
        "history": history,
        "best": chosen,
        "last": chosen | {"train_accuracy": last["train_accuracy"]},
        "seconds": {"augment": 0.1, "train": 2.0, "total": 2.5},
        "bytes_sent_total": last["bytes_sent"],
        "num_parameters": 1234,
        "seed": seed,
        "processes": [
            {
                "rank": 0,
                "layers": [1, 2],
                "seconds": 2.0,
                "wait_seconds": 0.0,
                "split": {"update p": 1.0, "wait": 0.0},
                "wire_bytes": {},
                "evaluation_bytes": 0,
            }
        ],
        "per_class": {split: [{"class": name} | scores for name in ("cat", "dog")] for split in ("val", "test")},
        "confusion": {"classes": ["cat", "dog"], "val": [[3, 1], [1, 3]], "test": [[3, 1], [1, 3]]},
    }


def seeds(*reports: dict[str, Any]) -> dict[str, Any]:
    """Return what ``train --seeds … --json`` writes."""
    return {"runs": list(reports), "summary": {}}


def codecs(**reports: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what ``compare --json`` writes: reports by codec."""
    rows = [{"codec": name, "seeds": len(each)} for name, each in reports.items()]
    return {"rows": rows, "runs": [report for each in reports.values() for report in each]}
