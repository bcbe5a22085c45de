"""Traces: what each process computes, sends and waits for, with a balance asked for."""

from __future__ import annotations

import json
import time

import processes
import torch

from gamlp_admm.parallel.trace import Trace


def test_balance_trace_and_what_each_process_holds(tmp_path):
    processes.spawn(2, tmp_path, processes.options)
    whole, _ = processes.train("linesearch", 5, 8, grow=None)
    ranks = [torch.load(tmp_path / f"options-{rank}.pt") for rank in range(2)]
    owned = {0: {"layers.0"}, 1: {f"layers.{l}" for l in range(1, 5)}}
    for rank, saved in enumerate(ranks):
        for name, tensor in whole.state_dict().items():
            mine = name.rpartition(".")[0] in owned[rank]
            if mine:
                assert torch.equal(saved["weights"][name], tensor)
    assert [p["layers"] for p in ranks[0]["processes"]] == [[1, 1], [2, 5]]
    # p goes back over the one boundary and q forward, each 61 rows x 8 float32 an iteration
    assert [p["wire_bytes"] for p in ranks[0]["processes"]] == [{0: 5 * 61 * 8 * 4}] * 2
    # for an evaluation the second sends its weights and biases: three layers 8 x 8, and one 4 x 8
    assert [p["evaluation_bytes"] for p in ranks[0]["processes"]] == [0, 5 * (3 * 8 * 9 + 4 * 9) * 4]
    for process in ranks[0]["processes"]:
        split, seconds = process["split"], process["seconds"]
        assert {"start", "update p", "update W b z", "update q", "update u", "wait"} <= set(split)
        assert "evaluate" not in split  # which is not of the iterations
        assert min(split.values()) >= 0
        assert sum(split.values()) <= seconds
        assert split["wait"] == process["wait_seconds"]
    for rank in range(2):
        events = json.loads((tmp_path / f"rank-{rank}.json").read_text())["traceEvents"]
        kinds = {event.get("cat") for event in events}
        assert {"compute", "send", "wait"} <= kinds
        assert all(event["dur"] >= 0 for event in events if event["ph"] == "X")
        assert {"update p", "update W b z", "update q", "update u"} <= {event["name"] for event in events}


def test_a_span_counts_what_is_not_of_spans_within_it():
    trace = Trace()
    with trace.span("update p", "compute"), trace.span("wait: receiving q", "wait"):
        time.sleep(0.02)
    taken = trace.take()
    assert taken["wait"] >= 0.02 > taken["update p"]
    assert trace.take() == {}
