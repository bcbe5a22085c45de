"""Tables as people have them: what is wrong is said by name, and nothing is dropped in silence."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from gamlp_admm.datasets import LoadedDataset, load_graph
from gamlp_admm.errors import InputError, InputWarning

NODES = "id,kind,f,g\n" + "".join(f"n{i},{'ab'[i % 2]},{i},{-i}\n" for i in range(10))
WEIGHTED = "source,target,weight\n" + "".join(f"n{i},n{(i + 1) % 10},2\n" for i in range(10))
EDGES = "source,target\n" + "".join(f"n{i},n{(i + 1) % 10}\n" for i in range(10))


def graph(folder: Path, nodes: str | bytes = NODES, edges: str | bytes = EDGES, **options: Any) -> LoadedDataset:
    for name, text in (("nodes", nodes), ("edges", edges)):
        (folder / f"{name}.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return load_graph(folder, **{"label": "kind", **options})


def same(a: LoadedDataset, b: LoadedDataset) -> bool:
    parts = ("x", "edge_index", "y", "train_mask")
    return all(torch.equal(a.data[part], b.data[part]) for part in parts) and a.node_ids == b.node_ids


def test_how_a_file_is_written_changes_nothing(tmp_path: Path) -> None:
    plain = graph(tmp_path)
    assert plain.class_names == ["a", "b"]
    assert plain.data.num_edges == 20  # both ways
    for change in (
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text,
        lambda text: text.replace(",", ", "),
        lambda text: "\n" + text + "\n\n",
        lambda text: "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in text.splitlines()),
    ):
        assert same(graph(tmp_path, change(NODES), change(EDGES)), plain)


def test_names_are_kept_as_they_are_written(tmp_path: Path) -> None:
    names = ["007", "7", "Smith, J.", "NA", "1e3", "18446744073709551617", "None", "é", "0.10", "0.1"]
    quoted = [f'"{name}"' for name in names]
    nodes = "id,kind,f\n" + "".join(f"{name},{i % 2},{i}\n" for i, name in enumerate(quoted))
    edges = "source,target\n" + "".join(f"{a},{b}\n" for a, b in pairwise(quoted))
    loaded = graph(tmp_path, nodes, edges, directed=True)
    assert loaded.node_ids == names
    assert loaded.data.edge_index.tolist() == [[*range(9)], [*range(1, 10)]]


def test_numbers_that_a_gap_made_floats_are_the_same_names(tmp_path: Path) -> None:
    nodes = "id,kind,f\n" + "".join(f"{i}.0,{['', '3.0', '12.0'][i % 3]},{i}\n" for i in range(9))
    loaded = graph(tmp_path, nodes, "source,target\n0,1\n8,7\n", directed=True)
    assert loaded.class_names == ["3", "12"]
    assert loaded.data.y.tolist() == [-1, 0, 1] * 3
    assert loaded.data.edge_index.tolist() == [[0, 8], [1, 7]]
    large = 2**53
    nodes = "id,kind,f\n" + "".join(f"{large + i},{i % 2},{i}\n" for i in range(4))
    edges = f"source,target\n{large},{large + 1}\n{large + 3},{large + 2}\n"
    assert graph(tmp_path, nodes, edges, directed=True).data.edge_index.tolist() == [[0, 3], [1, 2]]


def test_negative_and_missing_labels_are_not_known(tmp_path: Path) -> None:
    kinds = ["0", "1", "-1", "", "nan", "1", "0", "1", "0", "1"]
    nodes = "id,kind,f\n" + "".join(f"n{i},{kind},{i}\n" for i, kind in enumerate(kinds))
    assert graph(tmp_path, nodes).data.y.tolist() == [0, 1, -1, -1, -1, 1, 0, 1, 0, 1]
    with pytest.warns(InputWarning, match="7 nodes have the kind 'NA'"):
        load_graph(
            _written(tmp_path, nodes.replace(",0,", ",NA,").replace(",1,", ",NA,"), EDGES), label="kind", classes=2
        )


def _written(folder: Path, nodes: str, edges: str) -> Path:
    (folder / "nodes.csv").write_text(nodes)
    (folder / "edges.csv").write_text(edges)
    return folder


@pytest.mark.parametrize(
    ("nodes", "edges", "match"),
    [
        ("", EDGES, r"nodes\.csv: is empty"),
        (NODES, "", r"edges\.csv: is empty"),
        ("id,kind,f\n", EDGES, "has no nodes"),
        (NODES.replace("id,kind,f,g", "id,kind,f,f"), EDGES, "column 'f' is there twice"),
        (NODES.replace("n3,", "n2,"), EDGES, "the node 'n2' is there twice"),
        (NODES.replace("n3,", ","), EDGES, "the node in row 4 has no id"),
        (NODES.replace(",", ";"), EDGES, "separated by ';'; allowed: commas"),
        (NODES.replace("n3,b,3,-3", "n3,b,3,-3,9"), EDGES, "Expected 4 fields in line 5, saw 5"),
        (NODES.replace("\nn", "\n0,n"), EDGES, "rows of more cells than the 4 columns"),
        (NODES.replace("n3,b,3,-3", "n3,b,,-3"), EDGES, "column 'f' has 1 cells without a finite number"),
        (NODES.replace("n3,b,3,-3", "n3,b,inf,-3"), EDGES, "column 'f' has 1 cells without a finite number"),
        (NODES.encode("utf-16"), EDGES, "allowed: text in UTF-8"),
        ("id,kind,f\n" + "".join(f"n{i},name {i},1\n" for i in range(30)), EDGES, "a label of its own"),
        (NODES, "source\nn1\n", "edges need two columns"),
        (NODES, EDGES.replace("n4,n5", "n4,n55"), r"edge has the target 'n55', which is no node \(row 5\)"),
        (NODES, EDGES.replace("n4,n5", "n4,"), r"the target '', which is no node \(row 5\)"),
        (NODES.replace("id,", "name,"), EDGES, r"the source 'n0', which is no node \(row 1\)"),
        (NODES, WEIGHTED.replace("n1,2", "n1,x"), r"an edge \(row 1\) has the weight 'x'"),
        (NODES, WEIGHTED.replace("n1,2", "n1,-1"), "allowed: numbers from 0 on"),
        (NODES, WEIGHTED.replace("n1,2", "n1"), "has the weight 'nan'"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, nodes: str, edges: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        graph(tmp_path, nodes, edges)


@pytest.mark.parametrize(
    ("nodes", "edges", "match"),
    [
        (NODES.replace("n3,b,3,-3", "n3,b,3,?"), EDGES, r"column 'g' is no feature: '\?' is no number"),
        (NODES, EDGES.replace("target\n", "target,strength\n").replace("n1\n", "n1,2\n"), "'strength' is not used"),
        (
            NODES.replace("id,", "paper_id,").replace("n", "").replace("kid,", "kind,").replace("kid", "kind"),
            EDGES.replace("n", ""),
            "'paper_id' counts as a feature",
        ),
    ],
)
def test_what_is_left_out_is_said(tmp_path: Path, nodes: str, edges: str, match: str) -> None:
    with pytest.warns(InputWarning, match=match):
        load_graph(_written(tmp_path, nodes, edges), label="kind")


def test_columns_of_features_by_name(tmp_path: Path) -> None:
    assert graph(tmp_path, features=["g", "f"]).feature_names == ["g", "f"]
    with pytest.raises(InputError, match=r"column of features 'h'.*'?allowed"):
        graph(tmp_path, features=["f", "h"])
    with pytest.raises(InputError, match="the column 'id' is the label, the id or the split"):
        graph(tmp_path, features="id")
    assert graph(tmp_path, features="f").data.x[:, 0].tolist() == [*range(10)]
    assert graph(tmp_path, NODES.replace("a", "1").replace("b", "2"), label="g", features="*").feature_names == [
        "kind",
        "f",
    ]
    with pytest.raises(InputError, match="column 'kind' of nodes is not of numbers"):
        graph(tmp_path, features="kind,f", label="g")


def test_a_column_of_splits(tmp_path: Path) -> None:
    parts = ["train"] * 5 + ["Valid"] * 2 + ["TEST"] * 2 + [""]
    head, *rows = NODES.splitlines()
    nodes = "\n".join([f"{head},fold", *(f"{row},{part}" for row, part in zip(rows, parts, strict=True))]) + "\n"
    loaded = graph(tmp_path, nodes, split="column:fold")
    assert [loaded.info.train, loaded.info.val, loaded.info.test] == [5, 2, 2]
    assert same(graph(tmp_path, nodes.replace(",fold", ",Split"), split="column"), loaded)
    with pytest.raises(InputError, match="split 'column': the graph comes with no column"):
        graph(tmp_path, split="column")
    with pytest.raises(InputError, match="split 'masks': the graph comes with no masks"):
        graph(tmp_path, split="masks")
    with pytest.raises(InputError, match="column of split 'fold'"):
        graph(tmp_path, split="column:fold")
    with pytest.raises(InputError, match="word in the column 'kind' of splits: 'a'"):
        graph(tmp_path, label="g", split="column:kind")
    with pytest.warns(InputWarning, match="nodes whose split is 'dev' are in no split"):
        load_graph(_written(tmp_path, nodes.replace(",fold", ",split").replace("Valid", "dev"), EDGES), label="kind")


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = graph(tmp_path)
    read = {f"{name}.parquet": pd.read_csv(tmp_path / f"{name}.csv") for name in ("nodes", "edges")}
    for name in ("nodes", "edges"):
        (tmp_path / f"{name}.csv").rename(tmp_path / f"{name}.parquet")
    monkeypatch.setattr(pd, "read_parquet", lambda path: read[path.name])
    assert same(load_graph(tmp_path, label="kind"), expected)
    read["nodes.parquet"]["id"] = range(10)  # numbers, and as a gap makes them floats
    read["edges.parquet"] = read["edges.parquet"].map(lambda name: float(name[1:]))
    assert load_graph(tmp_path, label="kind").node_ids == [str(i) for i in range(10)]

    def absent(path: Path) -> None:
        raise ImportError("pyarrow")

    monkeypatch.setattr(pd, "read_parquet", absent)
    with pytest.raises(InputError, match="pip install pyarrow"):
        load_graph(tmp_path, label="kind")
