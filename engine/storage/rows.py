"""A run's outputs as rows of a store's tables; prices and quantities exact, by tick and lot."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from engine.core.types import OrdType, Reason, Status, TimeInForce

Rows = dict[str, Any]
Request = tuple[int, int, int, int]
"""One that went out: its strategy's slot, order, kind, and engine time of sending."""

OURS = frozenset(
    {
        Reason.CANCEL_REQUESTED,
        Reason.CANCEL_ON_DISCONNECT,
        Reason.CANCEL_BY_OPERATOR,
        Reason.STRATEGY_ERROR,
        Reason.KILL_SWITCH,
    }
)
"""Reasons of cancels that answer a request of ours."""
BPS = 1e4


def words(enum: type[Any]) -> np.ndarray:
    """The lower-case names of an enum by value; numbers without a name are themselves."""
    names = {int(item): item.name.lower() for item in enum}
    table = np.empty(256, dtype=object)
    table[:] = [names.get(value, str(value)) for value in range(256)]
    return table


_STATUS, _TYPE, _TIF, _REASON = words(Status), words(OrdType), words(TimeInForce), words(Reason)


def named(names: Sequence[str], numbers: np.ndarray) -> np.ndarray:
    """Names by number; a number that has none is empty."""
    table = np.empty(len(names) + 1, dtype=object)
    table[:] = [*names, ""]
    return table[np.minimum(numbers, len(names))]


class Units:
    """What ticks and lots are worth, as decimals.

    Args:
        assets: By number: ``symbol``, ``tick_size``, ``lot_size``, ``contract_size``, ``asset``.
    """

    def __init__(self, assets: Sequence[Any]) -> None:
        self.symbols = [asset.symbol for asset in assets]
        self._ticks = [Decimal(repr(float(asset.tick_size))) for asset in assets]
        self._lots = [Decimal(repr(float(asset.lot_size))) for asset in assets]
        self._sizes = np.array([float(asset.contract_size) for asset in assets])
        self._inverse = np.array([asset.asset == "inverse" for asset in assets])

    def px(self, instruments: np.ndarray, ticks: np.ndarray) -> np.ndarray:
        """Prices of numbers of ticks."""
        return _times(self._ticks, instruments, ticks)

    def qty(self, instruments: np.ndarray, lots: np.ndarray) -> np.ndarray:
        """Quantities of numbers of lots."""
        return _times(self._lots, instruments, lots)

    def amount(self, instruments: np.ndarray, px: np.ndarray, qty: np.ndarray) -> np.ndarray:
        """What quantities are worth at prices, in the asset's own definition."""
        size = self._sizes[instruments]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self._inverse[instruments], size * qty / px, size * px * qty)

    def gain(self, instruments: np.ndarray, bought: np.ndarray, sold: np.ndarray, qty: Any) -> np.ndarray:
        """What it brings to buy quantities at some prices and to sell them at others."""
        turned = np.where(self._inverse[instruments], -1.0, 1.0)
        return turned * (self.amount(instruments, sold, qty) - self.amount(instruments, bought, qty))


def _times(units: list[Decimal], instruments: np.ndarray, counts: np.ndarray) -> np.ndarray:
    made = np.empty(len(counts), dtype=object)
    made[:] = [units[i] * n for i, n in zip(instruments.tolist(), counts.tolist(), strict=True)]
    return made


def order_rows(
    entries: np.ndarray,
    units: Units,
    strategies: Sequence[str],
    run_id: str,
    first: int,
    ticks: Mapping[Request, int] = MappingProxyType({}),
) -> Rows:
    """Order updates as rows of ``orders``.

    Args:
        entries: ``order_entry_dtype``.
        units: Of the run.
        strategies: Names by slot.
        run_id: The run.
        first: Id of the first row.
        ticks: Nanoseconds from the tick to the sending of requests, where that is known.
    """
    order, of = entries["order"], entries["order"]["instrument"]
    status, prev = order["status"], entries["prev_status"]
    answers = (prev == Status.NONE) & ~np.isin(status, (Status.NONE, Status.DENIED))
    answers |= (status == Status.CANCELED) & np.isin(order["reason"], [int(reason) for reason in OURS])
    answers |= order["req"] == Status.REJECTED
    return {
        "symbol": named(units.symbols, of),
        "time": entries["ts"],
        "id": np.arange(first, first + len(entries), dtype=np.uint64),
        "run_id": run_id,
        "strategy": named(strategies, order["strategy"]),
        "order_id": order["order_id"],
        "client_order_id": order["client_order_id"],
        "side": _side(order["side"]),
        "order_type": _TYPE[order["order_type"]],
        "time_in_force": _TIF[order["time_in_force"]],
        "prev_status": _STATUS[prev],
        "status": _STATUS[status],
        "request": _STATUS[order["req"]],
        "reason": _REASON[order["reason"]],
        "px": units.px(of, order["price_tick"]),
        "qty": units.qty(of, order["qty"]),
        "leaves_qty": units.qty(of, order["leaves_qty"]),
        "cum_exec_qty": units.qty(of, order["cum_exec_qty"]),
        "exec_px": units.px(of, order["exec_price_tick"]),
        "exec_qty": units.qty(of, order["exec_qty"]),
        "fee": _finite(order["fee"]),
        "is_maker": order["is_maker"],
        "queue_ahead": order["queue_ahead"],
        "exch_ts": order["exch_ts"],
        "local_ts": order["local_ts"],
        "latency_ns": np.where(answers & (order["local_ts"] > 0), entries["ts"] - order["local_ts"], 0),
        "tick_to_trade_ns": _ticks(entries, ticks),
    }


def _ticks(entries: np.ndarray, ticks: Mapping[Request, int]) -> np.ndarray:
    """Of updates that say that a request went out, what it took."""
    if not ticks:
        return np.zeros(len(entries), np.int64)
    names = ("strategy", "order_id", "req")
    keys = zip(*(entries["order"][name].tolist() for name in names), entries["ts"].tolist(), strict=True)
    return np.array([ticks.get(key, 0) for key in keys], np.int64)


def fill_rows(fills: np.ndarray, units: Units, strategies: Sequence[str], run_id: str, first: int) -> Rows:
    """Executions as rows of ``fills``.

    Args:
        fills: ``fill_dtype``.
        units: Of the run.
        strategies: Names by slot.
        run_id: The run.
        first: Id of the first row.
    """
    of, side, mid = fills["instrument"], fills["side"].astype(np.float64), fills["mid_price"]
    qty = units.qty(of, fills["qty"])
    lots = np.array([float(value) for value in qty])
    bought, sold = np.where(side > 0, fills["px"], mid), np.where(side > 0, mid, fills["px"])
    return {
        "symbol": named(units.symbols, of),
        "time": fills["local_ts"],
        "id": np.arange(first, first + len(fills), dtype=np.uint64),
        "run_id": run_id,
        "strategy": named(strategies, fills["strategy"]),
        "order_id": fills["order_id"],
        "client_order_id": fills["client_order_id"],
        "side": _side(fills["side"]),
        "px": units.px(of, fills["price_tick"]),
        "qty": qty,
        "fee": _finite(fills["fee"]),
        "is_maker": fills["is_maker"],
        "slippage_bps": side * (fills["px"] - mid) / mid * BPS,
        "reason": _REASON[fills["reason"]],
        "mid_price": mid,
        "value": units.amount(of, fills["px"], lots),
        "edge": units.gain(of, bought, sold, lots),
        "exch_ts": fills["exch_ts"],
    }


def _side(side: np.ndarray) -> np.ndarray:
    table = np.array(["none", "buy", "sell"], dtype=object)
    return table[side]


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, 0.0)


class PositionsStanding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far positions have been made rows of.

    Attributes:
        taken: Rows made.
        last: Strategy, symbol and what was shown of it last.
    """

    taken: int
    last: list[tuple[str, str, tuple[Any, ...]]]


class PositionRows:
    """Takes positions as they are, and leaves out those that are as they were.

    Args:
        kernel: Whose: ``engine.kernel.Kernel``.
        run_id: The run.
    """

    def __init__(self, kernel: Any, run_id: str) -> None:
        self._kernel, self._run_id = kernel, run_id
        self._last: dict[tuple[str, str], tuple[Any, ...]] = {}
        self._rows: list[tuple[Any, ...]] = []
        self.taken = 0

    @property
    def standing(self) -> PositionsStanding:
        """What it goes on from, once its rows have been taken."""
        last = [(*key, shown) for key, shown in self._last.items()]
        return PositionsStanding(self.taken, last)

    @standing.setter
    def standing(self, was: PositionsStanding) -> None:
        self.taken = was.taken
        self._last = {(strategy, symbol): tuple(shown) for strategy, symbol, shown in was.last}

    def sample(self, ts: int) -> None:
        """Takes those that have changed.

        Args:
            ts: Engine time.
        """
        for strategy in self._kernel.strategy_names:
            for symbol in self._kernel.strategy(strategy).symbols:
                values = self._kernel.state(strategy, symbol)
                if not values.num_trades:
                    continue
                row = (*(getattr(values, name) for name in _VALUES), self._kernel.book(symbol).mid)
                shown = tuple(None if value != value else value for value in row)
                if self._last.get((strategy, symbol)) != shown:
                    self._last[strategy, symbol] = shown
                    self._rows.append((ts, symbol, strategy, *row))

    def take(self) -> Rows | None:
        """Rows of ``positions`` since the last time; None if there are none."""
        if not self._rows:
            return None
        columns = list(zip(*self._rows, strict=True))
        self._rows.clear()
        n = len(columns[0])
        first = self.taken + 1
        self.taken += n
        rows = {"time": columns[0], "symbol": columns[1], "strategy": columns[2], "run_id": self._run_id}
        rows["id"] = np.arange(first, first + n, dtype=np.uint64)
        for name, column in zip((*_COLUMNS, "mid_price"), columns[3:], strict=True):
            rows[name] = list(column)
        return rows


_VALUES = (
    "position", "avg_px", "realized_pnl", "unrealized_pnl", "fee", "balance", "equity",
    "num_trades", "trading_volume", "trading_value",
)  # fmt: skip
_COLUMNS = ("position", "avg_price", *_VALUES[2:])


def status_row(info: Any, ts: int) -> dict[str, Any]:
    """A strategy's state as a row of ``strategy_status``, without its id."""
    return {
        "symbol": "",
        "time": ts,
        "strategy": info.name,
        "status": info.state.lower(),
        "message": info.message,
    }


def change_rows(change: Any, ts: int) -> list[dict[str, Any]]:
    """A change as rows of ``params_log``, without their ids: one a value, or one of a command.

    Args:
        change: An ``engine.runtime.changes.Change``.
        ts: Engine time.
    """
    common = {
        "symbol": "",
        "time": ts,
        "strategy": change.strategy,
        "version": change.version,
        "step": change.step,
        "who": change.who,
        "kind": change.kind,
        "message": change.message,
    }
    if not change.values:
        return [common | {"name": "", "old": "", "new": ""}]
    return [
        common | {"name": name, "old": _json(old), "new": _json(new)}
        for name, (old, new) in change.values.items()
    ]


def _json(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "null"
    return msgspec.json.encode(value).decode()


def columns_of(rows: Sequence[dict[str, Any]], run_id: str, first: int) -> Rows:
    """Rows as columns, numbered.

    Args:
        rows: With the same names each.
        run_id: The run.
        first: Id of the first row.
    """
    columns: Rows = {name: [row[name] for row in rows] for name in rows[0]}
    return columns | {"run_id": run_id, "id": np.arange(first, first + len(rows), dtype=np.uint64)}
