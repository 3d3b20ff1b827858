"""A kernel on a small market, and a venue that answers its requests, for tests from Python."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from engine.core.types import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    OrdType,
    Reason,
    Side,
    Status,
    TimeInForce,
    event_dtype,
    order_dtype,
)
from engine.kernel import InstrumentSpec, Kernel
from engine.strategy.base import Strategy

REQUEST, ORDER, FILL, STRATEGY, LOG = 1, 2, 3, 4, 5
"""Kinds of outputs."""
BTC = InstrumentSpec("BTC", 0.5, 0.1)
ETH = InstrumentSpec("ETH", 0.01, 1.0, contract_size=10.0, asset="inverse")


def events(*rows: tuple[str, float, float], ts: int = 0) -> np.ndarray:
    """Market rows: ("bid" | "ask" | "buy" | "sell", price, quantity) as an event array.

    Args:
        *rows: Book levels, and trades by their aggressor.
        ts: Both time stamps.
    """
    made = np.zeros(len(rows), event_dtype)
    for row, (kind, px, qty) in zip(made, rows, strict=True):
        flag = BUY_EVENT if kind in ("bid", "buy") else SELL_EVENT
        row["ev"] = (DEPTH_EVENT if kind in ("bid", "ask") else TRADE_EVENT) | flag | EXCH_EVENT | LOCAL_EVENT
        row["exch_ts"] = row["local_ts"] = ts
        row["px"], row["qty"] = px, qty
    return made


def request(kernel: Kernel, name: str, symbol: str, client_id: int, **fields: Any) -> np.ndarray:
    """An external strategy's request as an order array of one; a new buy order by default."""
    made = np.zeros(1, order_dtype)
    made["strategy"], made["instrument"] = kernel.slot(name), kernel.instrument(symbol)
    made["client_order_id"] = client_id
    made["side"], made["req"], made["qty"], made["price_tick"] = Side.BUY, Status.NEW, 1, 200
    for field, value in fields.items():
        made[field] = value
    return made


class Venue:
    """Collects a kernel's outputs and answers requests on demand, as an exchange without queues would."""

    def __init__(self, kernel: Kernel) -> None:
        """Watches a kernel."""
        self.kernel = kernel
        self.outputs: list[np.void] = []
        self.requests: list[np.ndarray] = []
        self.resting: dict[int, np.ndarray] = {}

    def collect(self) -> list[np.void]:
        """Drains the outbox; requests wait for :meth:`answer`, everything is kept in ``outputs``."""
        taken = list(self.kernel.drain())
        self.outputs += taken
        self.requests += [o["order"].reshape(1).copy() for o in taken if o["kind"] == REQUEST]
        return taken

    def of(self, kind: int) -> list[np.void]:
        """All outputs of a kind so far."""
        self.collect()
        return [o for o in self.outputs if o["kind"] == kind]

    def answer(self, now: int | None = None) -> int:
        """Answers all requests that wait: acknowledged, cancelled, replaced; returns how many."""
        self.collect()
        waiting, self.requests = self.requests, []
        for order in waiting:
            self._answer(order, self.kernel.now if now is None else now)
        return len(waiting)

    def _answer(self, order: np.ndarray, now: int) -> None:
        order_id, asked = int(order["order_id"][0]), int(order["req"][0])
        order["req"], order["exch_ts"] = Status.NONE, now
        if asked == Status.NEW:
            if order["time_in_force"][0] == TimeInForce.IOC:
                self.fill(order_id, order=order, maker=False)
                return
            order["status"] = Status.NEW
            self.resting[order_id] = order
        elif order_id not in self.resting:
            order["req"], order["reason"] = Status.REJECTED, Reason.ORDER_NOT_FOUND
        elif asked == Status.CANCELED:
            held = self.resting.pop(order_id)
            held["local_ts"], order = order["local_ts"], held
            order["status"], order["exch_ts"] = Status.CANCELED, now
            order["reason"] = Reason.CANCEL_REQUESTED
        else:
            order["status"], order["leaves_qty"] = Status.NEW, order["qty"]
            self.resting[order_id] = order
        self.kernel.report(order.copy(), now)

    def reject(self, now: int | None = None) -> int:
        """Refuses all requests that wait; returns how many."""
        self.collect()
        waiting, self.requests = self.requests, []
        for order in waiting:
            order["req"] = Status.REJECTED
            self.kernel.report(order, self.kernel.now if now is None else now)
        return len(waiting)

    def fill(
        self,
        order_id: int,
        lots: int | None = None,
        *,
        order: np.ndarray | None = None,
        maker: bool = True,
        fee: float = 0.0,
    ) -> None:
        """Executes an order, wholly or in part, at its price; a market order at the opposite best."""
        held = self.resting[order_id] if order is None else order
        lots = int(held["leaves_qty"][0]) if lots is None else lots
        held["leaves_qty"] -= lots
        held["exec_qty"], held["exec_price_tick"], held["fee"] = lots, held["price_tick"], fee
        if held["order_type"][0] == OrdType.MARKET:
            book = self.kernel.book(self.kernel.symbols[held["instrument"][0]])
            held["exec_price_tick"] = book.best_ask_tick if held["side"][0] > 0 else book.best_bid_tick
        held["is_maker"] = maker
        held["reason"] = Reason.QUEUE_FRONT if maker else Reason.TAKER
        held["status"] = Status.PARTIALLY_FILLED if held["leaves_qty"][0] else Status.FILLED
        held["exch_ts"] = self.kernel.now
        if held["status"][0] == Status.FILLED:
            self.resting.pop(order_id, None)
        self.kernel.report(held.copy(), self.kernel.now)


class Recorder(Strategy):
    """Writes down its callbacks; ``script`` runs in them: a dict of callback name to function of ctx."""

    def __init__(self, script: dict[str, Any] | None = None) -> None:
        """Keeps the script."""
        super().__init__()
        self.script = script or {}
        self.calls: list[tuple[str, Any]] = []

    def _run(self, ctx: Any, name: str, what: Any) -> None:
        self.ctx = ctx
        self.calls.append((name, what))
        if name in self.script:
            self.script[name](ctx, what)

    def of(self, name: str) -> list[Any]:
        """What the calls of one callback were given."""
        return [what for call, what in self.calls if call == name]

    def on_start(self, ctx):
        self._run(ctx, "on_start", None)

    def on_book(self, ctx, book):
        self._run(ctx, "on_book", (book.symbol, book.best_bid, book.best_ask))

    def on_trade(self, ctx, trade):
        self._run(ctx, "on_trade", trade)

    def on_order(self, ctx, order):
        self._run(ctx, "on_order", order)

    def on_fill(self, ctx, fill):
        self._run(ctx, "on_fill", fill)

    def on_timer(self, ctx, now):
        self._run(ctx, "on_timer", now)

    def on_signal(self, ctx, signal):
        self._run(ctx, "on_signal", signal)

    def on_params(self, ctx):
        self._run(ctx, "on_params", None)

    def on_stop(self, ctx):
        self._run(ctx, "on_stop", None)


def trading(
    *strategies: Strategy, instruments: Iterable[InstrumentSpec] = (BTC, ETH), **options: Any
) -> tuple[Kernel, Venue]:
    """A started kernel at time 1000 with a market of 100 x 101 in its first instrument, and its venue.

    Args:
        *strategies: Named s0, s1, ... in their order.
        instruments: What is traded.
        **options: Of the kernel.
    """
    kernel = Kernel(list(instruments), **options)
    for number, strategy in enumerate(strategies):
        kernel.add_strategy(f"s{number}", strategy)
    kernel.start(1000)
    kernel.market(0, events(("bid", 100.0, 5.0), ("ask", 101.0, 6.0), ts=1000))
    return kernel, Venue(kernel)
