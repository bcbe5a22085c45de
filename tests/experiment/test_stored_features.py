"""Experiments on stored features: the run that those in memory give, and models that take the graph itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from gamlp_admm import AugmentFeatures, load_dataset, load_graph, load_predictor
from gamlp_admm.cli import main
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, choosing, compare, predict, prepare, run
from gamlp_admm.propagation import StoredFeatures
from gamlp_admm.transforms import CombineFeatures
from gamlp_admm.transforms.out_of_core import Storing
from gamlp_admm.tuning import tune

SHAPE: dict[str, Any] = {"hidden": 8, "layers": 2, "iterations": 3, "threads": 1}
MASKS = ("train_mask", "val_mask", "test_mask")


def kept(path: Path, hops: int = 2, rows: torch.Tensor | None = None, known: bool = True) -> Path:
    """Store propagated features of karate, of all nodes or of some."""
    transform = AugmentFeatures(hops)
    data = transform(load_dataset("karate").data)
    rows = torch.arange(34) if rows is None else rows
    nodes = {name: data[name][rows] for name in ("y", *MASKS)} | {"n_id": rows}
    about = {"recipe": transform.recipe()} if known else {}
    StoredFeatures.save(path, data.x[rows], nodes, {"feature_blocks": [*data.feature_blocks]} | about)
    return path


def history(report: dict[str, Any]) -> Any:
    return [{k: v for k, v in record.items() if k != "seconds"} for record in report["history"]]


def test_the_same_run_from_memory_and_from_the_store(tmp_path: Path) -> None:
    store = kept(tmp_path / "club")
    one = run(Experiment(dataset="karate", operator="sym", hops=2, **SHAPE))
    two = run(Experiment(data=str(store), memory="100B", **SHAPE))
    three = run(Experiment(**SHAPE), data=load_graph(store))
    assert history(one.report) == history(two.report) == history(three.report)
    assert (two.report["dataset"], two.report["config"]["operator"]) == ("club", "none")
    assert three.report["config"]["data"] == str(store)
    graph = load_dataset("karate").data
    wanted = one.model(AugmentFeatures(2)(graph).x)
    for done in (two, three):
        done.save(tmp_path / "model.safetensors")
        predictor = load_predictor(tmp_path / "model.safetensors")
        assert torch.equal(predictor(graph).outputs, wanted)
        assert torch.equal(predictor(load_graph(store)).outputs, wanted)


def test_what_is_left_open_is_chosen_of_stored_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    club = Experiment(data=str(kept(tmp_path / "club")))
    for most, words in ((1000, {"operator", "hops"}), (choosing.MOST_COPIED, {"operator", "hops", "unit_rows"})):
        monkeypatch.setattr(choosing, "MOST_COPIED", most)
        prepared = prepare(club)
        assert prepared.changes["operator"] == "none"
        assert {name for tried in prepared.about for name in tried["options"]} - {"scale"} == words
    x = AugmentFeatures(2)(load_dataset("karate").data).x
    assert torch.equal(prepared.data.x, x / x.norm(dim=1, keepdim=True) if prepared.changes.get("unit_rows") else x)


def test_units_are_chained_with_what_was_stored(tmp_path: Path) -> None:
    store = kept(tmp_path / "club")
    done = run(Experiment(data=str(store), unit_rows=True, **SHAPE))
    done.save(tmp_path / "model.safetensors")
    predictor = load_predictor(tmp_path / "model.safetensors")
    assert torch.equal(predictor(load_dataset("karate").data).outputs, predictor(load_graph(store)).outputs)


def test_predictions_of_stored_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model.safetensors"
    kept(tmp_path / "club")
    arguments = ["--hidden", "8", "--iterations", "2", "--quiet", "--save", str(model), "--memory", "1kB"]
    assert main(["train", "--data", str(tmp_path / "club"), *arguments]) == 0
    rows = torch.tensor([33, 2, 7])
    some = predict(model, data=kept(tmp_path / "some", rows=rows))
    assert some.node_ids == ("33", "2", "7")
    assert torch.equal(some.classes, predict(model, data=tmp_path / "club").classes[rows])
    three, bare = kept(tmp_path / "three", 3), kept(tmp_path / "bare", known=False)
    for other, words in ((three, "hops=3"), (bare, "no transform")):
        with pytest.raises(InputError, match=rf"{other.name} has stored features of .*{words}.* takes .*hops=2"):
            predict(model, data=other)
    labelled = run(Experiment(dataset="karate", operator="sym", hops=2, label_operator="sym", **SHAPE))
    labelled.save(model)
    with pytest.raises(InputError, match=r"takes .*AugmentLabels"):
        predict(model, data=tmp_path / "club")
    assert main(["predict", str(model), "--data", str(tmp_path / "three")]) == 2
    assert "has stored features of" in capsys.readouterr().err


def test_several_operators_in_a_store(tmp_path: Path) -> None:
    operator, graph, model = "ppr/10/0.2+sym/0-1", load_dataset("karate").data, tmp_path / "model.safetensors"
    for name, dtype in (("club", torch.float32), ("half", torch.bfloat16)):
        CombineFeatures.parse(operator, dtype).store(graph, Storing(tmp_path / name))
    run(Experiment(data=str(tmp_path / "club"), **SHAPE)).save(model)
    assert torch.equal(predict(model, data=tmp_path / "club").outputs, predict(model, dataset="karate").outputs)
    run(Experiment(dataset="karate", operator=operator, **SHAPE)).save(model)
    wanted = predict(model, dataset="karate").outputs
    torch.testing.assert_close(predict(model, data=tmp_path / "club").outputs, wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(predict(model, data=tmp_path / "half").outputs, wanted, rtol=0.1, atol=0.02)
    graph.x = graph.x * torch.linspace(1, 2, 34)  # other spreads: the model's units are no longer these
    CombineFeatures.parse(operator).store(graph, Storing(tmp_path / "other"))
    with pytest.raises(InputError, match=r"other has stored features of CombineFeatures"):
        predict(model, data=tmp_path / "other")


def test_a_model_of_features_that_nobody_knows_takes_them_as_they_are(tmp_path: Path) -> None:
    store = kept(tmp_path / "club", known=False)
    done = run(Experiment(data=str(store), **SHAPE))
    done.save(tmp_path / "model.safetensors")
    wanted = done.model(load_graph(store).data.x)
    assert torch.equal(predict(tmp_path / "model.safetensors", data=store).outputs, wanted)


@pytest.mark.parametrize(
    "option",
    [
        "operator=sym",
        "hops=2",
        "label_operator=row",
        "correct_and_smooth",
        "label=y",
        "normalize_features",
    ],
)
def test_options_that_need_the_graph(option: str, tmp_path: Path) -> None:
    name, _, value = option.partition("=")
    given = {"hops": 2}.get(name, value or True)
    with pytest.raises(InputError, match=f"{name} .*does not apply to .*club, which holds stored features"):
        Experiment.of({"data": str(kept(tmp_path / "club")), name: given}).resolve()


def test_memory_is_a_size() -> None:
    with pytest.raises(InputError, match="memory must be a number of bytes, such as 4GiB"):
        Experiment(memory="plenty").resolve()


def test_comparisons_and_searches(tmp_path: Path) -> None:
    store = str(kept(tmp_path / "club"))
    table = compare(Experiment(data=store, **SHAPE), ["fp32", "int8-delta"])
    assert len(table) == 2
    assert tune(Experiment(**SHAPE), {"nu": "0.01,0.1"}, trials=2, finalists=0, data=store).best
