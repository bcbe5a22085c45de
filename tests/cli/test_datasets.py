"""The list of data sets."""

import json

from gamlp_admm.datasets import list_datasets


def test_datasets(gamlp, tmp_path):
    _, table, _ = gamlp("datasets", "--root", tmp_path)
    rows = json.loads(gamlp("datasets", "--root", tmp_path, "--json")[1])
    assert [row["name"] for row in rows] == [row.name for row in list_datasets(tmp_path)]
    assert all(row["name"] in table and row["licence"] in table for row in rows)
    assert [row["name"] for row in rows if row["present"]] == ["digits", "digits-knn", "karate"]
