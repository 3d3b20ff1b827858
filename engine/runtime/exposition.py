"""What a running daemon shows to monitors: Prometheus's text format, and whether it is well."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from engine import __version__
from engine.core.types import StrategyState, TradingState
from engine.runtime.records import FeedState, JournalState

STALE_S = 2.0
"""An engine whose page is older than this is not well; it is rewritten ten times a second."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

ENGINE_COUNTERS = {
    "events": "market events applied",
    "orders": "order requests sent to the venue",
    "fills": "executions",
    "denied": "order requests that our own checks denied",
    "conflated": "depth batches that were conflated",
    "dropped": "telemetry records that were dropped",
}
RECORDER_GAUGES = {
    "behind_seconds": ("behind_s", "since the store had everything that there was"),
    "behind_records": ("behind_records", "records of the journal that are not in the store yet"),
    "stored_seq": ("seq", "the journal's last record that is in the store, as all before it are"),
    "spool_batches": ("batches", "batches that wait for the store"),
    "spool_bytes": ("bytes", "of these batches"),
}
RECORDER_COUNTERS = {
    "rows": ("rows", "rows stored since the recorder's start"),
    "failures": ("failures", "tries to store something that failed"),
    "left_out_rows": ("left_out", "market rows for which the spool had no room"),
}
POSITION_GAUGES = {
    "position": ("position", "quantity held, signed"),
    "avg_px": ("average_price", "average cost of the position"),
    "mid_px": ("middle_price", "middle of best bid and ask"),
    "realized_pnl": ("realized_pnl", "before fees, by average cost"),
    "unrealized_pnl": ("unrealized_pnl", "against the middle price"),
    "fee": ("fees", "paid so far; rebates are negative"),
    "equity": ("equity", "balance and position's value after fees"),
    "open_orders": ("open_orders", "live orders"),
}
POSITION_COUNTERS = {
    "num_trades": ("trades_total", "executions"),
    "trading_volume": ("traded_volume_total", "quantity traded"),
    "trading_value": ("traded_value_total", "value traded"),
}


class Page:
    """Collects metrics, each family together and with its type once."""

    def __init__(self) -> None:
        self._families: dict[str, list[str]] = {}

    def add(self, name: str, kind: str, says: str, value: float | None, /, **labels: str) -> None:
        """Adds a sample; one without a value is left out.

        Args:
            name: Without ``ringbook_``.
            kind: ``gauge`` or ``counter``.
            says: For people.
            value: What it is now.
            **labels: Of the sample.
        """
        if value is None:
            return
        name = f"ringbook_{name}"
        lines = self._families.setdefault(name, [f"# HELP {name} {says}", f"# TYPE {name} {kind}"])
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}")

    def histogram(self, name: str, says: str, below: list[list[int]], count: int, total: int) -> None:
        """Adds a histogram of times.

        Args:
            name: Without ``ringbook_``.
            says: For people.
            below: Nanoseconds and how many were shorter.
            count: How many there are.
            total: The sum of all, ns.
        """
        name = f"ringbook_{name}"
        lines = [f"# HELP {name} {says}", f"# TYPE {name} histogram"]
        lines += [f'{name}_bucket{{le="{bound / 1e9:.10g}"}} {number}' for bound, number in below]
        lines += [f'{name}_bucket{{le="+Inf"}} {count}', f"{name}_sum {_number(total / 1e9)}"]
        self._families[name] = [*lines, f"{name}_count {count}"]

    def states(self, name: str, says: str, now: str, known: list[str], /, **labels: str) -> None:
        """Adds a sample for each state that there is, 1 for the one that it is in."""
        for state in known:
            self.add(name, "gauge", says, float(state == now), **labels, state=state)

    def text(self) -> str:
        """All of it."""
        return "".join(f"{line}\n" for lines in self._families.values() for line in lines)


def _number(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def metrics(report: dict[str, Any], page_age_s: float | None) -> str:
    """The metrics of a daemon.

    Args:
        report: What :func:`engine.runtime.metrics.read` says.
        page_age_s: Since the engine last wrote its status page; None before the first time.
    """
    page = Page()
    page.add(
        "info", "gauge", "what runs here", 1,
        version=__version__, name=report.get("name", ""), mode=report.get("mode", ""),
        config_hash=report.get("config_hash", ""),
    )  # fmt: skip
    page.add("healthy", "gauge", "1 where /health says so", int(not trouble(report, page_age_s)))
    page.add("uptime_seconds", "gauge", "since the start", report.get("uptime_s"))
    for role, process in report["processes"].items():
        page.add("process_up", "gauge", "1 where it runs", int(bool(process["pid"])), role=role)
        page.add(
            "process_restarts_total", "counter", "times it was started again", process["restarts"], role=role
        )
    page.add("switches_thrown", "gauge", "thrown kill switches and breakers", len(report.get("switches", ())))
    page.add("status_age_seconds", "gauge", "since the engine wrote its status", page_age_s)
    if engine := report.get("engine"):
        _engine(page, engine)
    if recorder := report.get("recorder"):
        _recorder(page, recorder)
    for row in report.get("positions", ()):
        labels = {"strategy": row["strategy"], "symbol": row["symbol"]}
        for kind, table in (("gauge", POSITION_GAUGES), ("counter", POSITION_COUNTERS)):
            for field, (name, says) in table.items():
                page.add(name, kind, says, row[field], **labels)
    states = {row["strategy"]: row["state"] for row in report.get("positions", ())}
    for strategy, state in states.items():
        known = [one.name.capitalize() for one in StrategyState]
        page.states("strategy_state", "1 for the state it is in", state, known, strategy=strategy)
    return page.text()


def _recorder(page: Page, recorder: dict[str, Any]) -> None:
    for name, (field, says) in RECORDER_GAUGES.items():
        page.add(f"recorder_{name}", "gauge", says, recorder[field])
    for name, (field, says) in RECORDER_COUNTERS.items():
        page.add(f"recorder_{name}_total", "counter", says, recorder[field])
    page.add("recorder_store_up", "gauge", "0 while the store takes nothing", int(not recorder["error"]))


def _engine(page: Page, engine: dict[str, Any]) -> None:
    for name, says in ENGINE_COUNTERS.items():
        page.add(f"{name}_total", "counter", says, engine[name])
    page.add("steps_total", "counter", "inputs applied", engine["step"])
    page.add("events_per_second", "gauge", "market events applied", engine["events_per_second"])
    page.add("loop_seconds", "gauge", "mean time of a busy step", engine["loop_ns"] / 1e9)
    steps = engine["step_ns"]
    says = "times of busy steps: what one input may wait for those before it"
    page.histogram("step_seconds", says, steps["below"], steps["count"], steps["sum"])
    page.add(
        "market_time_seconds", "gauge", "engine time of the last market event", engine["market_ts"] / 1e9
    )
    page.add("feed_age_seconds", "gauge", "since the last market event was taken in", engine["feed_age_s"])
    journal = engine["journal"]
    page.add(
        "journal_accepted_seq", "gauge", "last record that survives a killed process", journal["accepted_seq"]
    )
    page.add(
        "journal_durable_seq", "gauge", "last record that survives a loss of power", journal["durable_seq"]
    )
    says = "1 for the state it is in"
    page.states("trading_state", says, engine["trading_state"], [one.name for one in TradingState])
    page.states("feed_state", says, engine["feed_state"], [one.name.lower() for one in FeedState])
    page.states("journal_state", says, journal["state"], [one.name.lower() for one in JournalState])


def trouble(report: dict[str, Any], page_age_s: float | None) -> list[str]:
    """Why a daemon is not well; nothing if it is.

    Args:
        report: What :func:`engine.runtime.metrics.read` says.
        page_age_s: Since the engine last wrote its status page.
    """
    return list(_trouble(report, page_age_s))


def _trouble(report: dict[str, Any], page_age_s: float | None) -> Iterator[str]:
    if report["state"] != "running":
        yield f"the daemon is {report['state']}"
    for role, process in report["processes"].items():
        # A feed that has come to its end is gone in good order.
        if not process["pid"] and role != "feed":
            yield f"the {role} is not running"
    if page_age_s is None:
        yield "the engine has not said anything yet"
    elif page_age_s > STALE_S:
        yield f"the engine has said nothing for {page_age_s:.1f} s"
    engine = report.get("engine")
    if engine is None:
        return
    if engine["journal"]["state"] in ("full", "halted"):
        yield f"the journal is {engine['journal']['state']}"
    if engine["feed_state"] == "lost":
        yield "the feed is lost"
