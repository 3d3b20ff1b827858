"""A run that was put into a store comes out of it as the session that it was, and reports the same."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from engine.cli import demo
from engine.cli.main import main
from engine.core.errors import DataError
from engine.reports.report import Report
from engine.research.fetched import fetch
from engine.research.stored import put, put_market
from tests.kit.reported import two_strategies
from tests.kit.stores import store_of


def close(one, other, path=""):
    """The same but for the last digits of what was a decimal on its way."""
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for key in one:
            close(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for place, pair in enumerate(zip(one, other, strict=True)):
            close(*pair, f"{path}[{place}]")
    elif isinstance(one, float) and isinstance(other, float):
        assert math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9), (path, one, other)
    else:
        assert one == other, path


@pytest.mark.parametrize("kind", ["parquet", "chdb"])
def test_the_demo_s_report_out_of_the_store_is_that_of_its_run(kind, tmp_path):
    _, run, market = demo.run_headless(8.0, 5)
    with store_of(kind, tmp_path) as store:
        store.create()
        put_market(store, run.id, [demo.SYMBOL], market)
        put(store, run)
        url = store.url
    session, name, facts = fetch(f"{url}?run={run.id[:6]}")
    kept = run.session()
    assert (name, facts["run"]) == (run.id, run.id)
    for table in ("orders", "samples"):
        found, wanted = getattr(session, table), getattr(kept, table)
        order = np.argsort(wanted["ts"], kind="stable")
        for field in found.dtype.names:
            assert found[field].tolist() == pytest.approx(wanted[field][order].tolist(), nan_ok=True), field
    assert session.mids.tobytes() == kept.mids.tobytes()
    close(Report(session).to_json(), Report(kept).to_json())


def test_a_run_without_market_data_reports_what_is_known(tmp_path, monkeypatch, capsys):
    run = two_strategies(tmp_path / "runs")
    with store_of("parquet", tmp_path) as store:
        store.create()
        put(store, run)
        url = store.url
    monkeypatch.setenv("RINGBOOK_STORE", url)
    assert main(["report", f"store:?run={run.id}", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    kept = Report(run.session()).to_json()
    assert [one["strategy"] for one in told["parts"]] == [one["strategy"] for one in kept["parts"]]
    for name in ("orders", "requests", "fills", "fill_ratio", "maker_ratio"):
        assert told["all"]["execution"][name] == pytest.approx(kept["all"]["execution"][name])
    assert told["all"]["returns"]["sr"] == pytest.approx(kept["all"]["returns"]["sr"])
    assert told["facts"]["store"] == url


def test_a_run_that_is_not_there_is_named_with_those_that_are(tmp_path, monkeypatch, capsys):
    run = two_strategies(tmp_path / "runs")
    with store_of("parquet", tmp_path) as store:
        store.create()
        put(store, run)
        url = store.url
    with pytest.raises(DataError, match=f"no run 'zz'; there are {run.id}"):
        fetch(f"{url}?run=zz")
    assert main(["report", f"{url}?run=zz"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_store_of_an_earlier_version_has_no_tick_to_trade(tmp_path):
    pytest.importorskip("chdb", reason="the extra 'embedded' is not installed")
    run = two_strategies(tmp_path / "runs")
    with store_of("chdb", tmp_path) as store:
        store.create()
        put(store, run)
        store.query("ALTER TABLE orders DROP COLUMN tick_to_trade_ns")
        url = store.url
    session, _, _ = fetch(f"{url}?run={run.id}")
    assert len(session.ticks) == 0
    assert len(session.orders) == len(run.session().orders)
