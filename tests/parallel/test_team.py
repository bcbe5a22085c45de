"""Teams: the same bits as one process, whatever the split; and the rows divided too."""

from __future__ import annotations

import processes
import pytest
import torch

from gamlp_admm import GAMLP, Backprop
from gamlp_admm.errors import InputError


@pytest.fixture(scope="module")
def serial():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield {case: processes.outcome(*processes.train(*case)) for case in processes.CASES}
    finally:
        torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=[2, 3, pytest.param(4, marks=pytest.mark.slow)])
def split(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bits")
    processes.spawn(request.param, folder, processes.bits)
    return [torch.load(folder / f"bits-{rank}.pt") for rank in range(request.param)]


@pytest.mark.parametrize("case", processes.CASES, ids=lambda case: "-".join(map(str, case)))
def test_any_split_over_processes_gives_the_bits_of_one(serial, split, case):
    _, layers, _ = case
    for outcome in (results[str(case)] for results in split):
        if layers == 2:  # each in a process of its own: what is counted is what travels
            assert outcome["wire"] == serial[case]["history"][-1]["bytes_sent"]
        assert outcome["history"] == serial[case]["history"]
        assert outcome["best"] == serial[case]["best"]
        assert torch.equal(outcome["predictions"], serial[case]["predictions"])
        for name, tensor in serial[case]["weights"].items():
            assert torch.equal(outcome["weights"][name], tensor)


@pytest.mark.parametrize(
    ("size", "node_shards", "hidden"),
    [(2, 2, 8), *(pytest.param(*sizes, marks=pytest.mark.slow) for sizes in ((4, 2, 8), (2, 2, 4)))],
)
def test_node_shards_equal_the_whole_to_rounding(tmp_path, size, node_shards, hidden):
    # Shards of 31 and 30 rows: with 4 neurons, layers of 30 rows alone would be aligned, and so stacked.
    weight = None if hidden == 8 else torch.arange(150).remainder(7).double()  # 0 to 6: 53 rows weigh anything
    processes.spawn(size, tmp_path, processes.shards, node_shards, hidden, weight)
    for name in processes.TRAINERS:
        passes = processes.iterations(name, 4)
        options = {"iterations": passes, "node_weight": weight}
        whole = processes.outcome(*processes.train(name, 5, hidden, torch.float64, **options))
        ranks = [torch.load(tmp_path / f"shards-{rank}.pt")[name] for rank in range(size)]
        for part in ranks:
            assert torch.allclose(part["predictions"], whole["predictions"], rtol=1e-7, atol=1e-9)
            for mine, expected in zip(part["history"], whole["history"], strict=True):
                assert mine["objective"] == pytest.approx(expected["objective"], rel=1e-9)
                assert mine["test_accuracy"] == expected["test_accuracy"]
                metric = f"val_{processes.METRICS.get(name, 'accuracy')}"
                assert mine[metric] == pytest.approx(expected[metric], rel=1e-9)
                assert mine["bytes_sent"] == expected["bytes_sent"]
            assert all(torch.equal(part["weights"][key], t) for key, t in ranks[0]["weights"].items())
        stages = size // node_shards
        assert len({tuple(p["layers"]) for p in ranks[0]["processes"]}) == stages


def test_a_share_of_the_rows_needs_processes():
    with pytest.raises(InputError, match="node_shards needs a process_group"):
        processes.train("linesearch", 2, 8, node_shards=2)


def test_backpropagation_runs_in_one_process():
    with pytest.raises(InputError, match="adam runs in one process"):
        Backprop("adam").fit(GAMLP(30, 8, 4, 2), processes.data(), 1, process_group=object())
