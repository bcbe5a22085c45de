"""What the tests of data sets share: no network, a cache and a data root of their own."""

import socket

import pytest


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    folder = tmp_path / "user-cache"
    for module in ("neighbours", "ogb"):
        monkeypatch.setattr(f"gamlp_admm.datasets.{module}.cache_folder", lambda: folder)
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"
