"""Runs a strategy in a process of its own: the same class, unchanged, that a backtest or the engine runs.

    StrategyRunner(Momentum(threshold=2.0), ["BTCUSDT"], strategy_id="momentum").run()

The strategy sits in a kernel of this process: the same books, positions, timers and callbacks as everywhere.
Market data and executions are its inputs, its orders go over the bridge. Limits are the daemon's: what it
denies comes back as a rejected order. Engine time is that of the last message, so timers are due when the
market gets there. This module stands above the client and the engine's kernel; the client knows neither.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from bridge import protocol as p
from bridge.client import Client
from bridge.errors import BridgeError
from bridge.streams import OrderState
from bridge.transport import ConnectionState
from engine.core.types import (
    BUY_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
    OrdType,
    Reason,
    Status,
    TimeInForce,
    event_dtype,
)
from engine.kernel import InstrumentSpec, Kernel
from engine.strategy.base import Strategy

log = logging.getLogger("ringbook.runner")
REQUEST, LOG = 1, 5
"""Kinds of a kernel's outputs that leave it here."""
_HERE = EXCH_EVENT | LOCAL_EVENT


class StrategyRunner:
    """One strategy on one daemon.

    Attributes:
        kernel: What the strategy sits in, once it is connected; for tests and for the curious.
        client: The connection.

    Args:
        strategy: Any strategy that a backtest runs.
        symbols: What it trades; empty for everything.
        endpoint: Base endpoint of the daemon; empty finds the one on this machine.
        strategy_id: Its name; that of its class by default.
        **options: As :class:`bridge.client.Client`.
    """

    def __init__(
        self,
        strategy: Strategy,
        symbols: Sequence[str] = (),
        endpoint: str = "",
        *,
        strategy_id: str = "",
        **options: Any,
    ) -> None:
        self.strategy = strategy
        self.name = strategy_id or type(strategy).__name__
        self.kernel: Kernel | None = None
        self.client = Client(
            endpoint,
            role="trader",
            strategy_id=self.name,
            symbols=symbols,
            params=strategy.params(),
            **options,
        )
        self._symbols = list(symbols)
        self._started = False
        self._stop = threading.Event()
        self._orders: dict[int, np.ndarray] = {}
        self._traded: dict[int, int] = {}
        self._echoes: set[int] = set()
        self._local: dict[int, int] = {}
        self._remote: dict[int, int] = {}

    def run(self, seconds: float | None = None) -> None:
        """Trades until :meth:`stop`, for some seconds, or until the strategy fails.

        Args:
            seconds: How long; None has no end.

        Raises:
            BridgeError: There is no daemon, or it refuses the strategy, now or when it is connected again.
            StrategyError: The strategy raised; its orders are cancelled.
        """
        with self.client:
            self._begin()
            self._stop.wait(seconds)
            self.stop()
            with self.client.locked():
                assert self.kernel is not None
                if self._started:
                    self.kernel.stop()
                    self._send()
            self.kernel.raise_failures()
            if self.client.state is ConnectionState.CLOSED:
                self.client.connected()

    def stop(self) -> None:
        """Ends :meth:`run`; may be called from anywhere."""
        self._stop.set()

    def _begin(self) -> None:
        known = self.client.instruments
        symbols = self._symbols or list(known)
        specs = [
            InstrumentSpec(i.symbol, i.tick_size, i.lot_size, contract_size=i.contract_size, asset=i.asset)
            for i in (known[symbol] for symbol in symbols)
        ]
        self._symbols, self._specs = symbols, specs
        self.kernel = Kernel(specs)
        self.kernel.add_strategy(self.name, self.strategy)
        self.client.on_message = self._on_message
        self.client.on_execution = self._on_execution
        self.client.on_order = self._on_order
        self.client.on_error = self._on_error
        self.client.on_state = self._on_state
        for symbol in symbols:
            self.client.subscribe(p.depth_topic(symbol), p.trade_topic(symbol), p.signal_topic(symbol))

    # --- inputs: all in the client's thread ----------------------------------------------------------

    def _on_message(self, topic: str, message: Any) -> None:
        assert self.kernel is not None
        kind = type(message)
        if kind is p.Snapshot:
            # The present book; trades and signals of the past are not told again.
            for one in message.messages:
                if type(one) is p.Depth:
                    self._depth(one)
        elif kind is p.Depth:
            self._depth(message)
        elif kind is p.Trade:
            flag = BUY_EVENT if message.side == "buy" else SELL_EVENT
            self._market(message, [(TRADE_EVENT | flag, message.px, message.qty)])
        elif kind is p.SignalUpdate and self._started and message.strategy_id != self.name:
            self.kernel.send_signal(message.name, message.symbol, message.value)
            self._send()

    def _depth(self, depth: p.Depth) -> None:
        rows: list[tuple[int, float, float]] = []
        if depth.snapshot:
            rows += [(DEPTH_CLEAR_EVENT | flag, 0.0, 0.0) for flag in (BUY_EVENT, SELL_EVENT)]
        rows += [(DEPTH_EVENT | BUY_EVENT, px, qty) for px, qty in depth.bids]
        rows += [(DEPTH_EVENT | SELL_EVENT, px, qty) for px, qty in depth.asks]
        self._market(depth, rows)

    def _market(self, message: p.Depth | p.Trade, rows: list[tuple[int, float, float]]) -> None:
        assert self.kernel is not None
        if not self._started:
            self._started = True
            self.kernel.start(message.ts)
        while (due := self.kernel.next_timer) is not None and due <= message.ts:
            self.kernel.timer(due)
            self._send()
        if rows:
            events = np.zeros(len(rows), event_dtype)
            events["ev"] = [row[0] | _HERE for row in rows]
            events["px"], events["qty"] = [row[1] for row in rows], [row[2] for row in rows]
            events["exch_ts"], events["local_ts"] = message.exch_ts, message.ts
            self.kernel.market(self._symbols.index(message.symbol), events)
        self._send()

    def _on_execution(self, execution: p.Execution) -> None:
        number = self._local.get(execution.client_order_id)
        if number is None or execution.status in ("NONE", "REPLACED"):
            return
        unchanged = execution.status == execution.prev_status and not execution.exec_qty
        if unchanged and number in self._echoes:
            # The engine says that it has sent our request on; its answer comes next.
            self._echoes.discard(number)
            return
        if execution.status in ("DENIED", "REJECTED"):
            self._reject(number, Reason[execution.reason.upper()] if execution.reason else Reason.NONE)
            return
        spec = self._specs[self._symbols.index(execution.symbol)]
        report = self._orders[number].copy()
        report["req"], report["status"] = Status.NONE, Status[execution.status]
        report["price_tick"] = round(execution.px / spec.tick_size)
        report["qty"] = round(execution.qty / spec.lot_size)
        report["leaves_qty"] = round(execution.leaves_qty / spec.lot_size)
        report["exec_qty"] = round(execution.exec_qty / spec.lot_size)
        report["exec_price_tick"] = round(execution.exec_px / spec.tick_size)
        report["fee"], report["is_maker"] = execution.fee, execution.is_maker
        report["reason"] = Reason[execution.reason.upper()] if execution.reason else Reason.NONE
        report["exch_ts"] = execution.exch_ts
        self._tell(number, report, round(execution.cum_exec_qty / spec.lot_size), execution.ts)
        if execution.status in ("FILLED", "CANCELED", "EXPIRED"):
            self._forget(number)

    def _tell(self, number: int, report: np.ndarray, traded: int, now: int) -> None:
        """Reports an order, and with it, or before its end, what it has traded unheard."""
        fills = report["status"] in (Status.PARTIALLY_FILLED, Status.FILLED)
        heard = int(report["exec_qty"][0]) if fills else 0
        report["exec_qty"] = max(heard, traded - self._traded.get(number, 0))
        self._traded[number] = report["cum_exec_qty"] = traded
        if report["exec_qty"] > 0 and not fills:
            last = report.copy()
            last["status"], last["fee"] = Status.PARTIALLY_FILLED, 0.0
            if last["exec_price_tick"] <= 0:
                last["exec_price_tick"] = last["price_tick"]
            self._report(last, now)
            report["exec_qty"] = 0
        self._report(report, now)

    def _on_order(self, state: OrderState) -> None:
        """What became of an order whose executions are lost; they count at the last price, without fees."""
        assert self.kernel is not None
        number = self._local.get(state.client_order_id)
        if number is None or state.status == "PENDING":
            return
        log.warning(
            "order %d is %s: %s", state.client_order_id, state.status, state.reason or "found out late"
        )
        spec = self._specs[self._symbols.index(state.symbol)]
        report = self._orders[number].copy()
        report["req"], report["reason"], report["exec_qty"] = Status.NONE, Reason.NONE, 0
        report["exec_price_tick"] = round((state.exec_px or state.px) / spec.tick_size)
        report["leaves_qty"] = round(state.leaves_qty / spec.lot_size)
        status = Status.PARTIALLY_FILLED if state.cum_exec_qty else Status.NEW
        if not state.live:
            status = {"FILLED": Status.FILLED, "CANCELED": Status.CANCELED}.get(state.status, Status.EXPIRED)
        report["status"] = status
        self._tell(number, report, round(state.cum_exec_qty / spec.lot_size), self.kernel.now)
        if not state.live:
            self._forget(number)

    def _on_state(self, state: ConnectionState, detail: str) -> None:
        if self._stop.is_set():
            return
        level = logging.INFO if state is ConnectionState.CONNECTED else logging.WARNING
        log.log(level, "%s: %s", state, detail)
        if state is ConnectionState.CLOSED:
            # For good: nothing would ever come again.
            self.stop()

    def _on_error(self, error: p.Error) -> None:
        number = self._local.get(error.client_order_id)
        if number is not None:
            log.warning("%s: %s", error.code, error.message)
            self._reject(number, Reason.BUSY if error.code == "busy" else Reason.NONE)

    def _reject(self, number: int, reason: Reason) -> None:
        assert self.kernel is not None
        self._echoes.discard(number)
        request = self._orders[number].copy()
        new = request["req"][0] == Status.NEW
        request["req"], request["reason"] = Status.REJECTED, reason
        self._report(request, self.kernel.now)
        if new:
            self._forget(number)

    def _report(self, report: np.ndarray, now: int) -> None:
        assert self.kernel is not None
        self.kernel.report(report, max(now, self.kernel.now))
        self._send()

    def _forget(self, number: int) -> None:
        self._orders.pop(number, None)
        self._traded.pop(number, None)
        self._echoes.discard(number)
        self._local.pop(self._remote.pop(number, 0), None)

    # --- outputs -----------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Sends what the kernel has put out; what cannot be sent is rejected at once."""
        assert self.kernel is not None
        for output in self.kernel.drain():
            if output["kind"] == REQUEST:
                order = output["order"].reshape(1).copy()
                try:
                    self._request(order, int(order["order_id"][0]))
                except BridgeError as error:
                    log.warning("not sent: %s", error)
                    self._reject(int(order["order_id"][0]), Reason.BUSY)
            elif output["kind"] == LOG:
                for _, _, _, level, text in self.kernel.take_logs():
                    log.log(getattr(logging, str(level).upper(), logging.INFO), "%s", text)
        if self.kernel.failures():
            self.stop()

    def _request(self, order: np.ndarray, number: int) -> None:
        one = order[0]
        spec = self._specs[int(one["instrument"])]
        self._orders[number] = order
        px, qty = int(one["price_tick"]) * spec.tick_size, int(one["qty"]) * spec.lot_size
        if one["req"] == Status.NEW:
            self._remote[number] = remote = self.client.new_order_id()
            self._local[remote] = number
            self.client.submit(
                spec.symbol,
                "buy" if one["side"] > 0 else "sell",
                px,
                qty,
                order_type="market" if one["order_type"] == OrdType.MARKET else "limit",
                time_in_force=TimeInForce(int(one["time_in_force"])).name,
                client_order_id=remote,
            )
            return
        self._echoes.add(number)
        if one["req"] == Status.CANCELED:
            self.client.cancel(self._remote[number])
        else:
            self.client.modify(self._remote[number], px, qty)
