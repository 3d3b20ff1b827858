"""Fixtures of the bridge's integration tests: a fake engine, and a bridge over ipc or tcp."""

from __future__ import annotations

import pytest

from tests.kit.fake_engine import FakeEngine, bridge_thread, free_port_base, wait_until
from tests.kit.patience import PATIENT


@pytest.fixture
def engine(tmp_path):
    """A fake engine."""
    with FakeEngine(tmp_path / "rings") as engine:
        yield engine


@pytest.fixture(params=["ipc", "shm", "tcp"])
def any_endpoint(request, tmp_path):
    """A base endpoint of each kind."""
    if request.param == "tcp":
        return f"tcp://127.0.0.1:{free_port_base()}"
    return f"{request.param}://{tmp_path}/s"


@pytest.fixture
def endpoint(tmp_path):
    """A base endpoint over ipc."""
    return f"ipc://{tmp_path}/s"


@pytest.fixture
def bridge(engine, endpoint):
    """A patient bridge over ipc; its endpoint."""
    with bridge_thread(engine.config(endpoint, grace_s=60.0, **PATIENT)):
        # The first resync is over: nothing but what a test does is published from here on.
        wait_until(lambda: engine.commands and not any(len(ring) for ring in engine.rings.values()))
        yield endpoint
