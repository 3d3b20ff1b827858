"""A store of each engine; the server, where there is one, is started once for a file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine.storage.base import Store
from tests.kit.clickhouse_server import Server, executable
from tests.kit.stores import store_of


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server | None]:
    program = executable()
    if program is None:
        yield None
        return
    with Server(tmp_path_factory.mktemp("server"), program) as started:
        yield started


@pytest.fixture(params=["clickhouse", "chdb", "parquet"])
def store(request, tmp_path, server) -> Iterator[Store]:
    with store_of(request.param, tmp_path, server) as made:
        yield made
