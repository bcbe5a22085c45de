"""Descriptions: complete, found by name, and where they lie."""

import pytest
from raw_files import NAMES

from gamlp_admm.datasets import dataset_info, dataset_names, load_dataset
from gamlp_admm.datasets.info import catalogue_folder, in_checkout
from gamlp_admm.datasets.readers import READERS
from gamlp_admm.datasets.splits import RULES
from gamlp_admm.errors import InputError


def test_every_data_set_has_a_description():
    assert dataset_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_description_is_complete(name):
    info = dataset_info(name)
    assert info.name == name
    assert info.kind in ("graph", "plain")
    assert info.loader in READERS
    assert info.split in RULES
    assert all((info.title, info.licence, info.origin, info.url.startswith("https://")))
    assert min(info.nodes, info.features, info.classes, info.train, info.val, info.test) > 0
    assert (info.edges > 0) == (info.kind == "graph")
    assert info.train + info.val + info.test <= info.nodes
    assert "operator" not in info.recipe or (info.recipe["operator"] == "none") == (info.kind == "plain")
    assert all(0 < row.accuracy < 1 and row.method and row.source for row in info.published)
    assert (info.raw is None) == (info.download_bytes == 0)
    if info.raw is not None:
        assert len(info.raw.urls) in (1, len(info.raw.files))
        assert info.published or name == "mnist-knn" or name.startswith("ogbn-")  # of which the graph is our own


def test_unknown_name_suggests_the_nearest():
    with pytest.raises(InputError, match=r"unknown data set 'corra': did you mean 'cora'\? allowed: amazon"):
        load_dataset("corra")


def test_descriptions_are_found_in_a_checkout_and_in_a_wheel(tmp_path):
    package = tmp_path / "gamlp_admm"
    package.mkdir()
    (tmp_path / "datasets").mkdir()
    (tmp_path / "pyproject.toml").touch()
    assert catalogue_folder(package) == tmp_path / "datasets"
    assert in_checkout(package)
    (package / "_datasets").mkdir()  # beside it lies another distribution's package named "datasets"
    assert catalogue_folder(package) == package / "_datasets"
    assert not in_checkout(package)
