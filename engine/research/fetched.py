"""A run out of a store: the session that ``stored.put`` has put there, for a report where only the store is.

Prices and quantities are whole ticks and lots again, samples are the same doubles. Prices of the market at
the moments that a report looks at come from the run's own market data where the store has them (of a market
within it does); else a report knows those of fills and samples only.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec
import numpy as np

from engine.backtest.config import AssetConfig, BacktestConfig
from engine.core.errors import DataError
from engine.core.types import OrdType, Reason, Side, Status, TimeInForce
from engine.feeds.stored import DEFAULT, StoredSource
from engine.reports.orders import is_request
from engine.reports.session import (
    Account,
    InstrumentMeta,
    Session,
    fill_dtype,
    order_dtype,
    sample_dtype,
    tick_dtype,
)
from engine.research.runs import with_mids
from engine.storage.base import Result, Store, quote
from engine.storage.reader import recorded
from engine.storage.store import default_url, open_store


def fetch(url: str) -> tuple[Session, str, dict[str, str]]:
    """Reads a run.

    Args:
        url: ``store:?run=NAME`` or a store's URL with ``run``; the beginning of a name will do.

    Returns:
        The session, the run's name, and what else is known of it.

    Raises:
        DataError: There is no such run, or several.
        StoreError: The store cannot be had.
    """
    split = urlsplit(url)
    options = dict(parse_qsl(split.query))
    wanted = options.pop("run", "")
    place = default_url() if split.scheme == DEFAULT else urlunsplit(split._replace(query=urlencode(options)))
    with open_store(place, create=False, hold=True) as store:
        about = _about(store, wanted)
        run_id = str(about["run_id"])
        session = _session(store, run_id, about)
        has_market = {found.symbol for found in recorded(store) if found.run_id == run_id}
    config = BacktestConfig(assets=_assets(about), strategies=[])
    if has_market >= {asset.symbol for asset in config.assets}:
        more = urlencode({**options, "run": run_id})
        market = urlunsplit(urlsplit(place)._replace(query=more))
        session = with_mids(session, config, [[StoredSource(a.symbol, market)] for a in config.assets])
    facts = {"store": place, "run": run_id, "git commit": str(about["git_commit"])}
    return session, run_id, facts


def _about(store: Store, wanted: str) -> dict[str, Any]:
    rows = store.query("SELECT * FROM backtest_runs ORDER BY run_id").dicts()
    found = [row for row in rows if str(row["run_id"]).startswith(wanted)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(str(row["run_id"]) for row in (found or rows)) or "none (ringbook runs push)"
    raise DataError(f"{'several runs' if found else 'no run'} {wanted!r}; there are {known}", file=store.url)


def _assets(about: dict[str, Any]) -> list[AssetConfig]:
    given = json.loads(about["config"])["assets"]
    return [msgspec.convert({**asset, "data": []}, AssetConfig) for asset in given]


def _session(store: Store, run_id: str, about: dict[str, Any]) -> Session:
    assets, strategies = _assets(about), json.loads(about["strategies"])

    def rows_of(table: str) -> Result:
        return store.query(f"SELECT * FROM {table} WHERE run_id = {quote(run_id)} ORDER BY id")

    read = _Read(assets, strategies)
    samples = read.samples(rows_of("backtest_timeseries"))
    changes = rows_of("orders")
    orders = read.orders(changes)
    return Session(
        kind=str(about["kind"]),
        fills=read.fills(rows_of("fills")),
        orders=orders,
        strategies=tuple(strategies),
        instruments=tuple(
            InstrumentMeta(
                a.symbol, a.tick_size, a.lot_size, a.contract_size, str(a.asset), _last_mid(samples, number)
            )
            for number, a in enumerate(assets)
        ),
        accounts=_accounts(samples, strategies, assets),
        first_ts=int(about["first_ts"]),
        last_ts=int(about["last_ts"]),
        config_hash=str(about["config_hash"]),
        seed=int(about["seed"]),
        samples=samples,
        ticks=_ticks(orders, changes),
    )


def _last_mid(samples: np.ndarray, number: int) -> float:
    known = samples["mid_price"][samples["instrument"] == number]
    return float(known[-1]) if len(known) else float("nan")


def _accounts(samples: np.ndarray, strategies: list[str], assets: list[AssetConfig]) -> tuple[Account, ...]:
    """Where each strategy was at its last sample in each instrument."""
    found = []
    for slot, strategy in enumerate(strategies):
        for number, asset in enumerate(assets):
            mine = samples[(samples["strategy"] == slot) & (samples["instrument"] == number)]
            if len(mine):
                values = (float(mine[-1][name]) for name in ("position", "fee", "funding", "equity"))
                found.append(Account(strategy, asset.symbol, *values, 0.0))
    return tuple(found)


def _ticks(orders: np.ndarray, changes: Result) -> np.ndarray:
    if "tick_to_trade_ns" not in changes.names or len(changes) == 0:
        # Nothing has been written since the store was an earlier Ringbook's.
        return np.empty(0, tick_dtype)
    took = changes["tick_to_trade_ns"].astype(np.int64)
    chosen = is_request(orders) & (took > 0)
    found = np.zeros(int(chosen.sum()), tick_dtype)
    for name in ("ts", "order_id", "instrument", "strategy", "req"):
        found[name] = orders[name][chosen]
    found["took"] = took[chosen]
    return found


class _Read:
    """Rows of a store as those of a session."""

    def __init__(self, assets: list[AssetConfig], strategies: list[str]) -> None:
        self._symbols = {asset.symbol: number for number, asset in enumerate(assets)}
        self._strategies = {name: slot for slot, name in enumerate(strategies)}
        self._ticks = np.array([asset.tick_size for asset in assets])
        self._lots = np.array([asset.lot_size for asset in assets])

    def fills(self, rows: Result) -> np.ndarray:
        made = self._common(rows, fill_dtype, "local_ts")
        if len(made):
            self._plain(made, rows, ("order_id", "client_order_id", "px", "fee", "mid_price", "is_maker"))
            made["exch_ts"] = _ns(rows["exch_ts"])
            made["side"] = _codes(rows["side"], Side)
            made["reason"] = _codes(rows["reason"], Reason)
            made["qty"] = self._whole(rows["qty"], self._lots, made)
            made["price_tick"] = self._whole(rows["px"], self._ticks, made)
        return made

    def orders(self, rows: Result) -> np.ndarray:
        made = self._common(rows, order_dtype, "ts")
        if len(made):
            self._plain(made, rows, ("order_id", "client_order_id"))
            for name in ("exch_ts", "local_ts"):
                made[name] = _ns(rows[name])
            named = {"side": Side, "order_type": OrdType, "time_in_force": TimeInForce, "reason": Reason}
            named |= {"status": Status, "prev_status": Status}
            for name, enum in named.items():
                made[name] = _codes(rows[name], enum)
            made["req"] = _codes(rows["request"], Status)
            made["price_tick"] = self._whole(rows["px"], self._ticks, made)
            for name in ("qty", "leaves_qty"):
                made[name] = self._whole(rows[name], self._lots, made)
        return made

    def samples(self, rows: Result) -> np.ndarray:
        made = self._common(rows, sample_dtype, "ts")
        if len(made):
            self._plain(made, rows, ("mid_price", "position", "balance", "fee", "funding", "equity"))
        return made

    def _common(self, rows: Result, dtype: np.dtype, ts: str) -> np.ndarray:
        made = np.zeros(len(rows), dtype)
        if len(rows):
            made[ts] = _ns(rows["time"])
            made["instrument"] = [self._symbols[name] for name in rows["symbol"].tolist()]
            made["strategy"] = [self._strategies[name] for name in rows["strategy"].tolist()]
        return made

    @staticmethod
    def _plain(made: np.ndarray, rows: Result, names: tuple[str, ...]) -> None:
        for name in names:
            made[name] = rows[name].astype(made.dtype[name])

    @staticmethod
    def _whole(values: np.ndarray, sizes: np.ndarray, made: np.ndarray) -> np.ndarray:
        return np.rint(values.astype(np.float64) / sizes[made["instrument"]]).astype(np.int64)


def _ns(column: np.ndarray) -> np.ndarray:
    return (
        column.astype("datetime64[ns]").astype(np.int64)
        if column.dtype.kind == "M"
        else column.astype(np.int64)
    )


def _codes(column: np.ndarray, enum: type[Any]) -> np.ndarray:
    """Words as codes; a number without a word is itself."""
    known = {item.name.lower(): int(item) for item in enum}
    return np.array([known[word] if word in known else int(word) for word in column.tolist()], np.int64)
