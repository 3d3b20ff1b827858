"""A real Prometheus scrapes a real daemon, and every panel of the Grafana dashboards shows something."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.reports.orders import is_request
from engine.reports.report import Report
from engine.reports.session import tick_dtype
from engine.research.runs import Run
from engine.research.stored import put
from engine.storage.store import open_store
from tests.kit.daemons import SIMULATED, daemon, until
from tests.kit.reported import two_strategies

MONITORING = Path(__file__).resolve().parents[2] / "examples" / "monitoring"
DASHBOARDS = sorted((MONITORING / "grafana" / "dashboards").glob("*.json"))


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None and os.environ.get("RINGBOOK_REQUIRE_PROMETHEUS"):
        pytest.fail(f"{name} must be here, and is not")
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt-get install prometheus)")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _get(port: int, path: str, **query: str) -> tuple[int, dict]:
    url = f"http://127.0.0.1:{port}{path}" + ("?" + urllib.parse.urlencode(query) if query else "")
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        text = error.read()
        return (error.code, json.loads(text)) if text.startswith(b"{") else (0, {})
    except (urllib.error.URLError, json.JSONDecodeError):
        # Not there yet, or Prometheus saying in plain words that it is still starting.
        return 0, {}


@contextmanager
def _prometheus(folder: Path, target: int):
    """Prometheus with the example's configuration and rules, but scraping a daemon of this test, often."""
    text = (MONITORING / "prometheus.yml").read_text()
    text = text.replace("127.0.0.1:9464", f"127.0.0.1:{target}").replace("_interval: 1s", "_interval: 200ms")
    (folder / "prometheus.yml").write_text(text)
    shutil.copy(MONITORING / "alerts.yml", folder)
    port = _free_port()
    arguments = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    arguments += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    process = subprocess.Popen([_program("prometheus"), *arguments])
    try:
        yield port
    finally:
        process.terminate()
        process.wait(20)


def _value(port: int, expression: str) -> float | None:
    status, said = _get(port, "/api/v1/query", query=expression)
    if status == 0 or said["status"] != "success":
        return None
    found = said["data"]["result"]
    return float(found[0]["value"][1]) if found else None


def _alerts(port: int) -> set[str]:
    """Names of the alerts that are pending or firing."""
    return {one["labels"]["alertname"] for one in _get(port, "/api/v1/alerts")[1]["data"]["alerts"]}


def _expressions() -> list[str]:
    panels = [panel for file in DASHBOARDS for panel in json.loads(file.read_text())["panels"]]
    return [target["expr"] for panel in panels for target in panel["targets"] if "expr" in target]


def test_a_real_prometheus_scrapes_a_daemon(tmp_path):
    _program("prometheus")
    port = _free_port()
    text = SIMULATED + f'\n[metrics]\nlisten = "127.0.0.1:{port}"\n[journal]\ndir = "{tmp_path}/j"\n'
    text += f'[recorder]\nenabled = true\nstore = "parquet://{tmp_path}/store"\nflush_ms = 100\n'
    with daemon(text) as it:
        it.start()
        until(lambda: _get(port, "/health")[0] == 200, "the daemon is well")
        with _prometheus(tmp_path, port) as asked:
            until(lambda: (_value(asked, "ringbook_fills_total") or 0) > 3, "fills in Prometheus", 40)
            assert _value(asked, 'up{job="ringbook"}') == 1
            assert _value(asked, "ringbook_healthy") == 1
            assert _value(asked, 'ringbook_trading_state{state="ACTIVE"}') == 1
            seen = _value(asked, 'ringbook_trades_total{strategy="mm",symbol="BTCUSDT"}')
            assert 0 < seen <= it.status()["positions"][0]["num_trades"]
            expressions = _expressions()
            assert len(expressions) > 20
            until(lambda: (_value(asked, "ringbook_recorder_rows_total") or 0) > 100, "recorded rows", 40)
            assert _value(asked, "ringbook_recorder_store_up") == 1
            assert _value(asked, "ringbook_recorder_behind_seconds") < 60
            # Rates need two scrapes; nothing else of a dashboard may stay empty.
            for expression in expressions:
                until(lambda e=expression: _value(asked, e) is not None, expression, 30)
            os.kill(it.pid("engine"), signal.SIGSTOP)
            try:
                until(lambda: _get(port, "/health")[0] == 503, "a stopped engine is unwell")
                until(lambda: _value(asked, "ringbook_healthy") == 0, "Prometheus knows it")
                until(lambda: {"RingbookEngineSilent", "RingbookUnhealthy"} <= _alerts(asked), "the alerts")
            finally:
                os.kill(it.pid("engine"), signal.SIGCONT)
            until(lambda: _get(port, "/health")[0] == 200, "it is well again")
        it.end()
        assert _get(port, "/health")[0] == 0


def test_a_taken_address_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        text = SIMULATED + f'\n[metrics]\nlisten = "127.0.0.1:{taken.getsockname()[1]}"\n'
        with daemon(text) as it:
            done = it.ringbook("run", "--config", str(it.config))
    assert done.returncode == 2
    assert "metrics.listen" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


RULES = [("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml")]
RULES.append(("test", "rules", "alerts_test.yml"))


@pytest.mark.parametrize("arguments", RULES)
def test_the_alert_rules(arguments):
    done = subprocess.run([_program("promtool"), *arguments], cwd=MONITORING, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_test_that_fires_it():
    rules = re.findall(r"- alert: (\w+)", (MONITORING / "alerts.yml").read_text())
    tests = (MONITORING / "alerts_test.yml").read_text()
    assert len(rules) > 10
    for name in rules:
        assert f"alertname: {name}\n        exp_alerts:\n          - exp_labels" in tests


def _filled(sql: str, run: Run) -> str:
    """SQL as the data source's plugin would send it: macros and variables replaced."""
    ends = [
        f"toDateTime64({run.metrics()[name] // 10**9 + more}, 3)"
        for name, more in (("first_ts", 0), ("last_ts", 1))
    ]
    sql = re.sub(r"\$__timeFilter_ms\((\w+)\)", rf"\1 >= {ends[0]} AND \1 <= {ends[1]}", sql)
    second = r"toStartOfInterval(toDateTime64(\1, 3), INTERVAL 1000 millisecond)"
    sql = re.sub(r"\$__timeInterval_ms\((\w+)\)", second, sql)
    sql = sql.replace("$__interval_s", "1")
    for name, values in (("run", [run.id]), ("strategy", ["makes", "takes"]), ("symbol", ["X"])):
        sql = sql.replace(f"${{{name}:singlequote}}", ",".join(f"'{value}'" for value in values))
    assert "$" not in sql, sql
    return sql


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    made = two_strategies(tmp_path_factory.mktemp("runs"))
    session = made.session()
    asked = session.orders[is_request(session.orders)]
    ticks = np.zeros(len(asked), tick_dtype)
    for name in ("ts", "order_id", "instrument", "strategy", "req"):
        ticks[name] = asked[name]
    # As of a session whose requests a clock has timed.
    ticks["took"] = 20_000 + np.arange(len(asked))
    replace(session, ticks=ticks).save(made.path / "session.npz")
    return made


@pytest.fixture(scope="module")
def store(run, tmp_path_factory):
    """An embedded ClickHouse with a run in it."""
    # Held open: to give it back after each question would take longer than the questions.
    with open_store(f"chdb://{tmp_path_factory.mktemp('store') / 'store'}", hold=True) as made:
        put(made, run, name="mine")
        yield made


def test_every_panel_s_sql_shows_something(store, run):
    panels = [panel for file in DASHBOARDS for panel in json.loads(file.read_text())["panels"]]
    asked = [t["rawSql"] for panel in panels for t in panel["targets"] if "rawSql" in t]
    board = json.loads((MONITORING / "grafana" / "dashboards" / "trading.json").read_text())
    asked += [variable["query"] for variable in board["templating"]["list"]]
    assert len(asked) > 17
    for sql in asked:
        found = store.query(_filled(sql, run))
        assert len(found) > 0, sql
        if "timeInterval" in sql:
            assert found.names[0] == "time"
    [timed] = store.query("SELECT count() FROM orders WHERE tick_to_trade_ns >= 20000").rows()[0]
    assert timed == np.count_nonzero(is_request(run.session().orders)) > 50
    profit = next(sql for sql in asked if "AS last FROM positions" in sql and "equity" in sql)
    ends = sum(part.series.equity[-1] for part in Report(run.session()).cells)
    assert float(store.query(_filled(profit, run)).scalar()) == pytest.approx(ends, abs=1e-9)


def test_the_store_s_views_say_what_the_report_says(store, run):
    """Its SQL knows nothing of our formulas: an oracle of the attribution and of the orders' fates."""
    session = run.session()
    assert set(put(store, run).values()) == {0}, "it is there already"
    attributed = {row["strategy"]: row for row in store.query("SELECT * FROM pnl_attribution").dicts()}
    behaviour = {row["strategy"]: row for row in store.query("SELECT * FROM order_behaviour").dicts()}
    for part in Report(session).cells:
        mine, row, seen = part.attribution, attributed[part.strategy], behaviour[part.strategy]
        assert row["spread_pnl"] == pytest.approx(float(mine.spread), abs=1e-9)
        assert row["fees"] == pytest.approx(float(mine.fees), abs=1e-9)
        # The view takes the last position that there is, ours the last price.
        assert row["total_pnl"] == pytest.approx(part.series.gross[-1] + float(mine.fees), abs=1e-9)
        assert seen["sent"] == part.orders.sent
        assert seen["filled"] == part.orders.count("filled")
        # A millisecond there, a millisecond back; what takes is filled on arrival and never answered.
        assert seen["worst_latency_ns"] == (2_000_000 if part.strategy == "makes" else 0)
    about = store.query("SELECT * FROM backtest_runs").dicts()
    assert len(about) == 1
    assert (about[0]["run_id"], about[0]["name"], about[0]["seed"]) == (run.id, "mine", 5)
    assert json.loads(about[0]["metrics"]) == run.metrics()
    assert json.loads(about[0]["config"]) == run.config()
    last = store.query("SELECT * FROM backtest_timeseries ORDER BY id DESC LIMIT 1").dicts()[0]
    assert last["equity"] == session.samples["equity"][-1]


def test_the_dashboards_are_those_that_the_script_makes():
    made = runpy.run_path(str(MONITORING / "make_dashboards.py"))
    for name in ("trading", "engine"):
        text = json.dumps(made[name](), cls=made["JSONEncoder"], indent=1, sort_keys=True) + "\n"
        assert text == (MONITORING / "grafana" / "dashboards" / f"{name}.json").read_text()
