"""Where a client looks for the daemon: the environment first, then the run directory."""

from __future__ import annotations

import os

from bridge import discovery
from bridge.base import BaseClient
from bridge.client import Client


def test_the_environment_names_it():
    environ = {"RINGBOOK_ENDPOINT": "tcp://127.0.0.1:7400", "RINGBOOK_RUN_DIR": "/run/rb"}
    assert discovery.default_endpoint(environ=environ) == "tcp://127.0.0.1:7400"


def test_else_it_is_ipc_in_the_run_directory():
    assert discovery.default_endpoint(environ={"RINGBOOK_RUN_DIR": "/run/rb"}) == "ipc:///run/rb/main"
    assert (
        discovery.default_endpoint("x", {"XDG_RUNTIME_DIR": "/run/user/1"}) == "ipc:///run/user/1/ringbook/x"
    )
    assert discovery.default_endpoint(environ={}) == f"ipc:///tmp/ringbook-{os.getuid()}/main"


def test_a_client_without_an_endpoint_looks_there(monkeypatch):
    monkeypatch.setenv("RINGBOOK_ENDPOINT", "ipc:///nowhere/at/all")
    client = Client()
    assert isinstance(client, BaseClient)
    assert client._session.endpoint == "ipc:///nowhere/at/all"
    client.close()


def test_the_daemon_puts_its_run_where_clients_look(monkeypatch, tmp_path):
    from engine.runtime import rundir

    monkeypatch.setenv("RINGBOOK_RUN_DIR", str(tmp_path))
    monkeypatch.delenv("RINGBOOK_ENDPOINT", raising=False)
    assert rundir.default_base() == discovery.default_base()
    assert rundir.default_endpoint() == discovery.default_endpoint()
