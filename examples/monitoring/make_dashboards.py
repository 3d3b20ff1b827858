"""Writes the Grafana dashboards: trading (from ClickHouse) and the engine's health (from Prometheus).

    pip install grafana-foundation-sdk
    python examples/monitoring/make_dashboards.py

The JSON is committed; who runs Grafana needs neither this script nor the SDK.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders.common import ReduceDataOptions, VizLegendOptions
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableRefresh,
    VariableSort,
)

FOLDER = Path(__file__).resolve().parent / "grafana" / "dashboards"
CLICKHOUSE = DataSourceRef(type_val="grafana-clickhouse-datasource", uid="ringbook-clickhouse")
PROMETHEUS = DataSourceRef(type_val="prometheus", uid="ringbook-prometheus")
CHOSEN = " AND ".join(
    f"{column} IN (${{{name}:singlequote}})"
    for column, name in (("run_id", "run"), ("strategy", "strategy"), ("symbol", "symbol"))
)
WITHIN = f"$__timeFilter_ms(time) AND {CHOSEN}"


class Sql(Builder[Dataquery], Dataquery):
    """A query of the ClickHouse data source.

    Args:
        text: SQL, with Grafana's macros and the dashboard's variables.
        series: Whether it is of series over time, and no table.
    """

    def __init__(self, text: str, *, series: bool = True) -> None:
        self.text, self.series = " ".join(text.split()), series

    def build(self) -> Sql:
        return self

    def to_json(self) -> dict[str, Any]:
        return {
            "refId": "A",
            "datasource": CLICKHOUSE,
            "editorType": "sql",
            "queryType": "timeseries" if self.series else "table",
            "format": 0 if self.series else 1,
            "rawSql": self.text,
        }


def lines(title: str, sql: str, unit: str = "short", *, width: int = 12, points: bool = False) -> Any:
    """A panel of series."""
    mode = common.VisibilityMode.ALWAYS if points else common.VisibilityMode.NEVER
    return (
        timeseries.Panel()
        .title(title)
        .datasource(CLICKHOUSE)
        .unit(unit)
        .height(8)
        .span(width)
        .show_points(mode)
        .line_width(1.5)
        .legend(VizLegendOptions().show_legend(True).placement(common.LegendPlacement.BOTTOM))
        .with_target(Sql(sql))
    )


def figure(title: str, sql: str, unit: str = "short", decimals: int = 2) -> Any:
    """A panel of one number, the last."""
    return (
        stat.Panel()
        .title(title)
        .datasource(CLICKHOUSE)
        .unit(unit)
        .decimals(decimals)
        .height(4)
        .span(4)
        .reduce_options(ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(Sql(sql, series=False))
    )


def rows(title: str, sql: str, width: int = 12) -> Any:
    """A panel of rows."""
    return (
        table.Panel()
        .title(title)
        .datasource(CLICKHOUSE)
        .height(9)
        .span(width)
        .with_target(Sql(sql, series=False))
    )


def choice(name: str, label: str, sql: str) -> Any:
    """A variable whose values a query gives."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(CLICKHOUSE)
        .query(sql)
        .multi(True)
        .include_all(True)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


LAST = """
    SELECT sum({what}) AS value FROM (
        SELECT strategy, symbol, argMax({of}, id) AS last FROM positions
        WHERE {where} GROUP BY run_id, strategy, symbol)
"""


def last(what: str, of: str) -> str:
    """The sum of the last values of each position."""
    return LAST.format(what=what, of=of, where=WITHIN)


def by_time(value: str, table_name: str, name: str = "concat(strategy, ' ', symbol)") -> str:
    """A value over time, a series for each strategy and symbol."""
    return f"""
        SELECT $__timeInterval_ms(time) AS time, {name} AS name, {value} AS value
        FROM {table_name} WHERE {WITHIN} GROUP BY time, name ORDER BY time
    """


def trading() -> Any:
    """Positions, profit, fills, latency and orders."""
    board = (
        dashboard.Dashboard("Ringbook: trading")
        .uid("ringbook-trading")
        .tags(["ringbook"])
        .refresh("5s")
        .time("now-1h", "now")
        .timezone("utc")
        .tooltip(DashboardCursorSync.CROSSHAIR)
    )
    for name, label in (("run", "Run"), ("strategy", "Strategy"), ("symbol", "Symbol")):
        column = "run_id" if name == "run" else name
        board.with_variable(choice(name, label, f"SELECT DISTINCT {column} FROM positions ORDER BY {column}"))
    for panel in (*figures(), *courses(), *tables()):
        board.with_panel(panel)
    return board.build()


def figures() -> list[Any]:
    """What it has come to."""
    return [
        figure("Profit after fees", last("last", "toFloat64(assumeNotNull(equity))")),
        figure("Realized, before fees", last("last", "toFloat64(realized_pnl)")),
        figure("Unrealized", last("last", "toFloat64(assumeNotNull(unrealized_pnl))")),
        figure("Fees paid", last("last", "toFloat64(fee)")),
        figure("Position", last("last", "toFloat64(position)"), decimals=4),
        figure("Fills", f"SELECT count() AS value FROM fills WHERE {WITHIN}", decimals=0),
    ]


def courses() -> list[Any]:
    """How it came to that."""
    latency = f"""
        SELECT $__timeInterval_ms(time) AS time, quantile(0.5)(latency_ns) AS median,
            quantile(0.99)(latency_ns) AS p99, max(latency_ns) AS worst
        FROM orders WHERE {WITHIN} AND latency_ns > 0 GROUP BY time ORDER BY time
    """
    tick = f"""
        SELECT $__timeInterval_ms(time) AS time, quantile(0.5)(tick_to_trade_ns) AS median,
            quantile(0.99)(tick_to_trade_ns) AS p99, max(tick_to_trade_ns) AS worst
        FROM orders WHERE {WITHIN} AND tick_to_trade_ns > 0 GROUP BY time ORDER BY time
    """
    rate = f"""
        SELECT $__timeInterval_ms(time) AS time,
            countIf(status = 'filled') / greatest(countIf(request = 'new' AND status = 'none'), 1) AS rate
        FROM orders WHERE {WITHIN} GROUP BY time ORDER BY time
    """
    return [
        lines("Profit after fees", by_time("argMax(toFloat64(assumeNotNull(equity)), id)", "positions")),
        lines("Position", by_time("argMax(toFloat64(position), id)", "positions")),
        lines("Realized, before fees", by_time("argMax(toFloat64(realized_pnl), id)", "positions")),
        lines("Unrealized", by_time("argMax(toFloat64(assumeNotNull(unrealized_pnl)), id)", "positions")),
        lines("Fills a second", by_time("count() / ($__interval_s)", "fills", "side"), "ops"),
        lines("Latency of orders", latency, "ns"),
        lines("Tick to trade", tick, "ns"),
        lines("Fill rate: orders filled of those sent", rate, "percentunit"),
    ]


def tables() -> list[Any]:
    """The latest, and what it all adds up to."""
    orders = f"""
        SELECT time, strategy, symbol, order_id, side, px, qty, leaves_qty, status, reason, latency_ns
        FROM orders WHERE {WITHIN} ORDER BY time DESC, id DESC LIMIT 100
    """
    fills = f"""
        SELECT time, strategy, symbol, side, px, qty, fee, is_maker, reason, slippage_bps
        FROM fills WHERE {WITHIN} ORDER BY time DESC, id DESC LIMIT 100
    """
    return [
        rows("Recent orders", orders),
        rows("Recent fills", fills),
        rows("Where the profit came from", f"SELECT * FROM pnl_attribution WHERE {CHOSEN} ORDER BY run_id"),
        rows("Orders and what became of them", f"SELECT * FROM order_behaviour WHERE {CHOSEN}"),
    ]


def watched(title: str, queries: dict[str, str], unit: str = "short", width: int = 8) -> Any:
    """A panel of PromQL; expressions by legend."""
    panel = timeseries.Panel().title(title).datasource(PROMETHEUS).unit(unit).height(7).span(width)
    panel.show_points(common.VisibilityMode.NEVER).line_width(1.5)
    for place, (legend, expression) in enumerate(queries.items()):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + place))
        panel.with_target(query)
    return panel


def told(title: str, expression: str, unit: str = "short", legend: str = "") -> Any:
    """A panel of one number of PromQL."""
    query = prometheus.Dataquery().expr(expression).instant().ref_id("A").legend_format(legend)
    panel = stat.Panel().title(title).datasource(PROMETHEUS).unit(unit).height(4).span(4)
    return panel.with_target(query)


def engine() -> Any:
    """Is it well, how fast is it, and does anything fall behind."""
    board = (
        dashboard.Dashboard("Ringbook: engine")
        .uid("ringbook-engine")
        .tags(["ringbook"])
        .refresh("5s")
        .time("now-15m", "now")
        .timezone("utc")
        .tooltip(DashboardCursorSync.CROSSHAIR)
    )
    board.with_panel(told("Healthy", "ringbook_healthy"))
    board.with_panel(told("Trading", "ringbook_trading_state == 1", legend="{{state}}"))
    board.with_panel(told("Feed", "ringbook_feed_state == 1", legend="{{state}}"))
    board.with_panel(told("Journal", "ringbook_journal_state == 1", legend="{{state}}"))
    board.with_panel(told("Switches thrown", "ringbook_switches_thrown"))
    board.with_panel(told("Up", "ringbook_uptime_seconds", "s"))
    board.with_panel(watched("Market events a second", {"events": "rate(ringbook_events_total[30s])"}, "ops"))
    board.with_panel(
        watched(
            "Orders, fills, denials a second",
            {name: f"rate(ringbook_{name}_total[30s])" for name in ("orders", "fills", "denied")},
            "ops",
        )
    )
    board.with_panel(watched("Mean time of a busy step", {"step": "ringbook_loop_seconds"}, "s"))
    board.with_panel(
        watched(
            "Age of what we know",
            {"feed": "ringbook_feed_age_seconds", "engine's status": "ringbook_status_age_seconds"},
            "s",
        )
    )
    behind = "ringbook_journal_accepted_seq - ringbook_journal_durable_seq"
    board.with_panel(watched("Records not on disk yet", {"records": behind}))
    board.with_panel(
        watched(
            "Conflated and dropped a second",
            {name: f"rate(ringbook_{name}_total[30s])" for name in ("conflated", "dropped")},
            "ops",
        )
    )
    board.with_panel(watched("The store is behind by", {"recorder": "ringbook_recorder_behind_seconds"}, "s"))
    board.with_panel(watched("Waiting for the store", {"on disk": "ringbook_recorder_spool_bytes"}, "bytes"))
    board.with_panel(
        watched(
            "Recorded rows a second, left out",
            {name: f"rate(ringbook_recorder_{name}_total[30s])" for name in ("rows", "left_out_rows")},
            "ops",
        )
    )
    named = "{{strategy}} {{symbol}}"
    board.with_panel(watched("Equity", {named: "ringbook_equity"}))
    board.with_panel(watched("Position", {named: "ringbook_position"}))
    board.with_panel(watched("Restarts", {"{{role}}": "ringbook_process_restarts_total"}))
    return board.build()


def main() -> None:
    """Writes both."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, made in (("trading", trading()), ("engine", engine())):
        target = FOLDER / f"{name}.json"
        target.write_text(
            json.dumps(made, cls=JSONEncoder, indent=1, sort_keys=True) + "\n", encoding="utf-8"
        )
        print(f"wrote {target}")


if __name__ == "__main__":
    main()
