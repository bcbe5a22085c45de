"""The list of data sets, and which are present."""

import dataclasses

from raw_files import NAMES

from gamlp_admm.datasets import dataset_info, list_datasets


def test_listing_tells_what_is_present(tmp_path):
    info = dataset_info("pubmed")
    before = {row.name: row for row in list_datasets(tmp_path)}
    assert list(before) == NAMES
    assert {name for name, row in before.items() if row.present} == {"digits", "digits-knn", "karate"}
    (tmp_path / info.raw.folder).mkdir(parents=True)
    for file in info.raw.files:
        (tmp_path / info.raw.folder / file).touch()
    row = next(row for row in list_datasets(tmp_path) if row.name == "pubmed")
    assert row == dataclasses.replace(before["pubmed"], present=True)
    assert (row.nodes, row.edges, row.features, row.classes) == (19_717, 88_648, 500, 3)
