"""Kept runs as rows of a store: the run, its samples, and its session's orders, fills and positions.

A run's rows are numbered from 1 in each table. Whoever puts them again adds what is missing and nothing else,
so a put that was cut off is finished by the next, and a run that is there already costs a few questions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.core.types import OrdType, Reason, Side, Status, TimeInForce
from engine.reports import money, returns
from engine.reports.orders import is_request
from engine.reports.session import Session
from engine.research.runs import Run
from engine.storage.base import Store
from engine.storage.writer import insert_once

MARKET_ROWS = 1 << 17
"""Rows of market data that are put at once."""


def put(store: Store, run: Run, *, name: str = "", sweep_id: str = "") -> dict[str, int]:
    """Puts a run into a store, once however often it is done.

    Args:
        store: Open, with its tables.
        run: What to put there.
        name: Whatever its owner calls it.
        sweep_id: Of the sweep that it belongs to.

    Returns:
        Rows that were missing, by table.

    Raises:
        StoreError: The store refuses, or does not answer.
    """
    session = run.session()
    tables = {
        "orders": _orders(session),
        "fills": _fills(session),
        "positions": _positions(session),
        "backtest_timeseries": _timeseries(session),
        # Last: where it is, everything else is.
        "backtest_runs": _about(run, session, name, sweep_id),
    }
    return {table: _add(store, table, run.id, columns) for table, columns in tables.items()}


def put_market(store: Store, run_id: str, symbols: Sequence[str], rows: np.ndarray) -> int:
    """Puts the market data that a run's strategies were shown into a store, once however often it is done.

    Args:
        store: Open, with its tables.
        run_id: The run.
        symbols: By number of instrument.
        rows: ``ts``, ``event`` and ``instrument``, in the order in which they were shown.

    Returns:
        Rows that were missing.

    Raises:
        StoreError: The store refuses, or does not answer.
    """
    names, done = np.array([*symbols], object), 0
    for first in range(0, len(rows), MARKET_ROWS):
        part = rows[first : first + MARKET_ROWS]
        columns = {name: part["event"][name] for name in part["event"].dtype.names}
        columns |= {"symbol": names[part["instrument"]], "time": part["ts"]}
        columns["id"] = np.arange(first + 1, first + 1 + len(part), dtype=np.uint64)
        done += insert_once(store, "market_data", run_id, columns)
    return done


def _add(store: Store, table: str, run_id: str, columns: dict[str, Any]) -> int:
    times = np.asarray(columns["time"], np.int64)
    n = len(times)
    if n == 0:
        return 0
    # Rows of a store are looked for by time and number: ours are in order of both.
    order = np.argsort(times, kind="stable")
    ids = np.arange(1, n + 1, dtype=np.uint64)
    have = store.present(table, run_id, 1, n, int(times.min()), int(times.max()))
    missing = ~np.isin(ids, have)
    if not missing.any():
        return 0
    chosen = order[missing]
    ready = {
        key: value if isinstance(value, str) else np.asarray(value)[chosen] for key, value in columns.items()
    }
    store.insert(table, ready | {"id": ids[missing], "run_id": run_id})
    return int(missing.sum())


def _common(session: Session, rows: np.ndarray, ts: str) -> dict[str, Any]:
    symbols = np.array([one.symbol for one in session.instruments], object)
    strategies = np.array(session.strategies, object)
    return {
        "symbol": symbols[rows["instrument"]],
        "strategy": strategies[rows["strategy"]],
        "time": rows[ts].astype(np.int64),
    }


def _named(codes: np.ndarray, kind: type) -> np.ndarray:
    """Codes as the words that are used everywhere: the names of their enum in small letters."""
    words = {int(one): one.name.lower() for one in kind}
    return np.array([words.get(code, str(code)) for code in codes.tolist()], object)


def _sizes(session: Session, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lot and tick size of each row's instrument."""
    lots = np.array([one.lot_size for one in session.instruments])
    ticks = np.array([one.tick_size for one in session.instruments])
    return lots[rows["instrument"]], ticks[rows["instrument"]]


def _orders(session: Session) -> dict[str, Any]:
    rows = session.orders
    lots, ticks = _sizes(session, rows)
    asked = is_request(rows)
    answered = ~asked & (rows["exch_ts"] > 0) & (rows["local_ts"] > 0)
    answered &= ~np.isin(rows["status"], (Status.FILLED, Status.PARTIALLY_FILLED, Status.DENIED))
    return _common(session, rows, "ts") | {
        "order_id": rows["order_id"],
        "client_order_id": rows["client_order_id"],
        "side": _named(rows["side"], Side),
        "order_type": _named(rows["order_type"], OrdType),
        "time_in_force": _named(rows["time_in_force"], TimeInForce),
        "prev_status": _named(rows["prev_status"], Status),
        "status": _named(rows["status"], Status),
        "request": _named(rows["req"], Status),
        "reason": _named(rows["reason"], Reason),
        "px": rows["price_tick"] * ticks,
        "qty": rows["qty"] * lots,
        "leaves_qty": rows["leaves_qty"] * lots,
        "cum_exec_qty": (rows["qty"] - rows["leaves_qty"]) * lots,
        "exch_ts": rows["exch_ts"],
        "local_ts": rows["local_ts"],
        "latency_ns": np.where(answered, rows["ts"] - rows["local_ts"], 0),
        "tick_to_trade_ns": _ticks(session, asked),
    }


def _ticks(session: Session, asked: np.ndarray) -> np.ndarray:
    """Of updates that say that a request went out, what it took from the tick; 0 where that is not known."""
    names = ("strategy", "order_id", "req", "ts")
    known = {tuple(row[name] for name in names): row["took"] for row in session.ticks}
    found = np.zeros(len(asked), np.int64)
    for place in np.flatnonzero(asked).tolist() if known else ():
        row = session.orders[place]
        found[place] = known.get(tuple(row[name] for name in names), 0)
    return found


def _fills(session: Session) -> dict[str, Any]:
    rows = session.fills
    lots, _ = _sizes(session, rows)
    mid, side = rows["mid_price"], rows["side"]
    with np.errstate(invalid="ignore", divide="ignore"):
        slippage = 1e4 * side * (rows["px"] - mid) / mid
    value = money.values(session, rows)
    sizes = np.array([one.contract_size for one in session.instruments])[rows["instrument"]]
    linear = np.array([one.asset == "linear" for one in session.instruments])[rows["instrument"]]
    gained = np.where(linear, mid - rows["px"], 1.0 / rows["px"] - 1.0 / mid)
    return _common(session, rows, "local_ts") | {
        "order_id": rows["order_id"],
        "client_order_id": rows["client_order_id"],
        "side": _named(rows["side"], Side),
        "px": rows["px"],
        "qty": rows["qty"] * lots,
        "fee": rows["fee"],
        "is_maker": rows["is_maker"],
        "slippage_bps": slippage,
        "reason": _named(rows["reason"], Reason),
        "mid_price": mid,
        "value": value,
        "edge": side * gained * rows["qty"] * lots * sizes,
        "exch_ts": rows["exch_ts"],
    }


def _series(session: Session) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The samples, and what was traded until each."""
    rows = session.samples
    so_far = {name: np.zeros(len(rows)) for name in ("num_trades", "trading_volume", "trading_value")}
    for account in session.accounts:
        slot = session.strategies.index(account.strategy)
        number = [one.symbol for one in session.instruments].index(account.symbol)
        mine = (rows["strategy"] == slot) & (rows["instrument"] == number)
        whole = returns.series(session, account.strategy, account.symbol)
        so_far["num_trades"][mine] = whole.num_trades
        so_far["trading_volume"][mine] = whole.volume
        so_far["trading_value"][mine] = whole.value
    return rows, so_far


def _timeseries(session: Session) -> dict[str, Any]:
    rows, so_far = _series(session)
    names = ("mid_price", "position", "balance", "fee", "funding", "equity")
    found = _common(session, rows, "ts") | {name: rows[name] for name in names}
    return found | so_far | {"num_trades": so_far["num_trades"].astype(np.uint64)}


def _positions(session: Session) -> dict[str, Any]:
    """The samples once more, as positions: realized is what the cash is worth beyond the position's cost."""
    rows, so_far = _series(session)
    cost, realized = _books(session, rows)
    gross = rows["equity"] + rows["fee"] + rows["funding"]
    return _common(session, rows, "ts") | {
        "position": rows["position"],
        "avg_price": cost,
        "mid_price": rows["mid_price"],
        "realized_pnl": realized,
        "unrealized_pnl": gross - realized,
        "fee": rows["fee"],
        "balance": rows["balance"],
        "equity": rows["equity"],
        "num_trades": so_far["num_trades"].astype(np.uint64),
        "trading_volume": so_far["trading_volume"],
        "trading_value": so_far["trading_value"],
    }


def _books(session: Session, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Average cost and realized profit before fees at each sample, by average cost, from the fills."""
    cost, realized = np.full(len(rows), np.nan), np.zeros(len(rows))
    for account in session.accounts:
        slot = session.strategies.index(account.strategy)
        number = [one.symbol for one in session.instruments].index(account.symbol)
        meta = session.instruments[number]
        fills = session.fills
        fills = fills[(fills["strategy"] == slot) & (fills["instrument"] == number)]
        fills = fills[np.argsort(fills["local_ts"], kind="stable")]
        size = meta.contract_size * meta.lot_size
        held, average, gained = 0, 0.0, 0.0
        course = [(np.nan, 0.0)]
        for side, lots, px in fills[["side", "qty", "px"]].tolist():
            price = px if meta.asset == "linear" else -1.0 / px
            change = side * lots
            closing = min(abs(change), abs(held)) if held * change < 0 else 0
            if closing:
                gained += closing * size * (price - average) * (1 if held > 0 else -1)
            opening = abs(change) - closing
            kept = abs(held) - closing
            if opening:
                average = (average * kept + price * opening) / (kept + opening)
            held += change
            shown = average if meta.asset == "linear" else -1.0 / average if average else np.nan
            course.append((shown if held else np.nan, gained))
        mine = np.flatnonzero((rows["strategy"] == slot) & (rows["instrument"] == number))
        until = np.searchsorted(fills["local_ts"], rows["ts"][mine], side="right")
        cost[mine] = np.array([one for one, _ in course])[until]
        realized[mine] = np.array([one for _, one in course])[until]
    return cost, realized


def _about(run: Run, session: Session, name: str, sweep_id: str) -> dict[str, Any]:
    told = run.about
    git = told["git"]
    commit = (git["commit"] or "") + ("+" if git["changed"] else "")
    values = {
        "name": name,
        "sweep_id": sweep_id,
        "kind": told["kind"],
        "strategies": json.dumps(list(session.strategies)),
        "symbols": json.dumps([one.symbol for one in session.instruments]),
        "config": json.dumps(run.config(), sort_keys=True),
        "config_hash": told["config_hash"],
        "git_commit": commit,
        "packages": json.dumps(told["versions"], sort_keys=True),
        "metrics": json.dumps(run.metrics(), sort_keys=True),
        "result_hash": told["result_hash"],
        "failures": json.dumps(told.get("failures", [])),
    }
    return {
        "symbol": "",
        "time": np.array([session.first_ts], np.int64),
        **{key: np.array([value], object) for key, value in values.items()},
        "seed": np.array([told["seed"]], np.uint64),
        "first_ts": np.array([session.first_ts], np.int64),
        "last_ts": np.array([session.last_ts], np.int64),
        "events": np.array([told.get("events", 0)], np.uint64),
    }
