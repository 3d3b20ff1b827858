"""What monitors see of a daemon: the text format, health, and an HTTP server that nobody can hold up."""

from __future__ import annotations

import http.client
import json
import math
import re
import socket

import pytest

from engine.core.errors import ConfigError
from engine.runtime import exposition
from engine.runtime.exposition import Page, metrics, trouble
from engine.runtime.http import MOST, Monitor
from engine.runtime.listen import check_listen, split
from engine.runtime.rundir import RunDir

WELL = {
    "state": "running",
    "name": "t",
    "mode": "PAPER",
    "config_hash": "abc",
    "uptime_s": 3.5,
    "processes": {"engine": {"pid": 5, "restarts": 1}, "feed": {"pid": None, "restarts": 0}},
    "switches": [],
    "engine": {
        "step": 9, "trading_state": "ACTIVE", "feed_state": "running", "feed_age_s": None,
        "market_ts": 2_500_000_000,
        "events": 100, "orders": 7, "fills": 3, "denied": 1, "conflated": 0, "dropped": 0,
        "events_per_second": 12.5, "loop_ns": 800.0,
        "step_ns": {"count": 5, "sum": 4000, "p50": 700.0, "p99": 1500.0, "p99.9": 1500.0,
                    "below": [[512, 1], [1024, 4]]},
        "journal": {"state": "ok", "accepted_seq": 12, "durable_seq": 11},
    },
    "recorder": {
        "seq": 9, "batches": 2, "bytes": 5000, "rows": 70, "failures": 1, "left_out": 0, "error": "",
        "behind_s": 1.5, "behind_records": 3,
    },
    "positions": [
        {"strategy": 'a"\\b', "symbol": "X", "state": "Running", "position": -0.5, "avg_px": None,
         "mid_px": 10.0, "realized_pnl": 1.0, "unrealized_pnl": 2.0, "fee": -0.25, "equity": 3.25,
         "open_orders": 2,
         "num_trades": 3, "trading_volume": 1.5, "trading_value": 15.0},
    ],
}  # fmt: skip
LINE = re.compile(r'ringbook_[a-z_]+(\{([a-z_]+="(\\.|[^"\\])*",?)*\})? (-?\d[\d.e+-]*|NaN|[+-]Inf)\Z')


def test_the_text_is_prometheus_s():
    text = metrics(WELL, 0.05)
    assert text.endswith("\n")
    families, seen = [], set()
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            families.append(line.split()[2])
        elif not line.startswith("#"):
            assert LINE.match(line), line
            assert line.startswith(families[-1])
            sample = line.rsplit(" ", 1)[0]
            assert sample not in seen
            seen.add(sample)
    assert len(families) == len(set(families)) > 25
    for name, kind in re.findall(r"# TYPE (\S+) (\S+)", text):
        assert (kind == "counter") == name.endswith("_total")


def test_the_samples_by_hand():
    lines = metrics(WELL, 0.05).splitlines()
    for line in (
        "ringbook_events_total 100",
        "ringbook_loop_seconds 8e-07",
        'ringbook_process_up{role="feed"} 0',
        'ringbook_process_restarts_total{role="engine"} 1',
        'ringbook_trading_state{state="ACTIVE"} 1.0',
        'ringbook_trading_state{state="HALTED"} 0.0',
        'ringbook_position{strategy="a\\"\\\\b",symbol="X"} -0.5',
        'ringbook_fees{strategy="a\\"\\\\b",symbol="X"} -0.25',
        "ringbook_healthy 1",
        "ringbook_market_time_seconds 2.5",
        'ringbook_step_seconds_bucket{le="5.12e-07"} 1',
        'ringbook_step_seconds_bucket{le="1.024e-06"} 4',
        'ringbook_step_seconds_bucket{le="+Inf"} 5',
        "ringbook_step_seconds_sum 4e-06",
        "ringbook_step_seconds_count 5",
    ):
        assert line in lines
    assert not any("average_price" in line or "feed_age" in line for line in lines), (
        "what is not known is not there"
    )


def test_numbers():
    page = Page()
    for value in (math.nan, math.inf, -math.inf, 1e300, 3):
        page.add("x", "gauge", "", value, v=repr(value))
    assert [line.rsplit(" ", 1)[1] for line in page.text().splitlines()[2:]] == [
        "NaN",
        "+Inf",
        "-Inf",
        "1e+300",
        "3",
    ]


@pytest.mark.parametrize(
    ("change", "age", "words"),
    [
        ({}, 0.1, None),
        ({"state": "stopping"}, 0.1, "stopping"),
        ({}, None, "not said anything"),
        ({}, 5.0, "said nothing for 5.0 s"),
        ({"processes": {"engine": {"pid": None, "restarts": 0}}}, 0.1, "engine is not running"),
        ({"engine": {**WELL["engine"], "feed_state": "lost"}}, 0.1, "feed is lost"),
        (
            {"engine": {**WELL["engine"], "journal": {**WELL["engine"]["journal"], "state": "full"}}},
            0.1,
            "journal",
        ),
    ],
)
def test_health(change, age, words):
    reasons = trouble(WELL | change, age)
    assert (not reasons) if words is None else any(words in reason for reason in reasons)
    healthy = int(words is None)
    assert f"ringbook_healthy {healthy}\n" in metrics(WELL | change, age)


@pytest.fixture
def served(tmp_path):
    with Monitor("127.0.0.1:0", RunDir(tmp_path)) as monitor:
        yield monitor


def _get(port: int, path: str, method: str = "GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type"), answer.read().decode()
    finally:
        connection.close()


def test_a_daemon_that_is_not_there_is_unwell(served):
    status, kind, text = _get(served.port, "/health")
    assert (status, kind) == (503, "application/json")
    assert json.loads(text)["status"] == "unwell"
    status, kind, text = _get(served.port, "/metrics?x=1")
    assert (status, kind) == (200, exposition.CONTENT_TYPE)
    assert "ringbook_healthy 0" in text
    assert _get(served.port, "/other")[0] == 404
    assert _get(served.port, "/health", "HEAD")[2] == ""
    assert _get(served.port, "/health", "POST")[0] == 501


def test_silent_clients_do_not_keep_others_out(served):
    silent = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(MOST - 1)]
    try:
        assert _get(served.port, "/health")[0] == 503
    finally:
        for one in silent:
            one.close()


@pytest.mark.parametrize("listen", ["nonsense", ":1", "h:", "h:70000", "h:x"])
def test_addresses_that_are_none(listen):
    with pytest.raises(ConfigError, match="not HOST:PORT"):
        split(listen)


def test_addresses():
    assert split("[::1]:9464") == ("::1", 9464)
    check_listen("", False, "f")
    check_listen("127.0.0.1:1", False, "f")
    check_listen("0.0.0.0:1", True, "f")
    with pytest.raises(ConfigError, match="allow_remote"):
        check_listen("0.0.0.0:1", False, "f")


def test_a_taken_port_is_said(served, tmp_path):
    with pytest.raises(ConfigError, match="in use"):
        Monitor(f"127.0.0.1:{served.port}", RunDir(tmp_path))


def test_the_recorder_s_lag_is_told_and_whether_the_store_takes_anything():
    lines = metrics(WELL, 0.05).splitlines()
    for line in (
        "ringbook_recorder_behind_seconds 1.5", "ringbook_recorder_behind_records 3",
        "ringbook_recorder_stored_seq 9", "ringbook_recorder_spool_batches 2",
        "ringbook_recorder_spool_bytes 5000", "ringbook_recorder_rows_total 70",
        "ringbook_recorder_failures_total 1", "ringbook_recorder_left_out_rows_total 0",
        "ringbook_recorder_store_up 1",
    ):  # fmt: skip
        assert line in lines
    away = {**WELL, "recorder": {**WELL["recorder"], "error": "nobody answers"}}
    assert "ringbook_recorder_store_up 0" in metrics(away, 0.05).splitlines()
    none = metrics({**WELL, "recorder": None}, 0.05)
    assert "recorder" not in none
