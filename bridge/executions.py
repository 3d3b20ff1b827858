"""The trader's half of a session: own orders, executions without gaps, and who waits for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bridge import protocol as p
from bridge.errors import BridgeError, OrderRejected
from bridge.streams import Orders, OrderState
from bridge.transport import Waiter

TAIL_TICKS = 10
"""Silent ticks after which a trader asks whether it has missed the last execution."""


class Executions:
    """Keeps :class:`bridge.streams.Orders` in step with the server.

    Executions that arrive out of order are dropped and asked for again, from the first that is missing.

    Args:
        strategy_id: The own strategy; empty for a client that does not trade.
        send: Sends a message on the order socket.
        new_id: Makes request ids.
        found: Told a copy of an order's state when it has changed without an execution.
    """

    def __init__(
        self,
        strategy_id: str,
        send: Callable[[Any], bool],
        new_id: Callable[[], int],
        found: Callable[[OrderState], None],
    ) -> None:
        self.strategy_id = strategy_id
        self.orders = Orders()
        self._send = send
        self._new_id = new_id
        self._found = found
        self._waiters: dict[int, Waiter] = {}
        self._epoch = self._seq = self._idle = 0
        self._asked = self._must_take_stock = False
        self._stock: dict[int, int] = {}

    def welcomed(self, welcome: p.Welcome) -> None:
        """A session began: goes on where the last one stopped, or takes stock in a new epoch."""
        if not self.strategy_id:
            return
        if self._epoch == 0:
            self._seq = welcome.exec_seq
        elif self._epoch != welcome.epoch:
            self._seq = 0
            self._must_take_stock = True
        self._epoch = welcome.epoch
        self._request()
        if self._must_take_stock:
            self._take_stock()

    def received(self, seq: int, resumed: bool) -> None:
        """A session began: what the server has not received never will be.

        Args:
            seq: The last of our messages that the server has taken.
            resumed: It is our session; otherwise nothing is known of orders without an answer.
        """
        if not resumed:
            self._must_take_stock = self._epoch != 0
            return
        for state in list(self.orders.states.values()):
            if state.status == "PENDING" and state.seq > seq:
                self._settle(self.orders.never_sent(state))
                self._found(replace(state))

    def told_up_to(self, seq: int) -> None:
        """The server has sent executions up to here, and we have read all that it has sent."""
        if self._seq >= 0 and seq > self._seq and not self._asked:
            self._request()

    def reported(self, report: p.OrderReport) -> None:
        """Applies what the server knows of an order that we know nothing of; the rest comes in its order."""
        state = self.orders.states.get(report.client_order_id)
        taking_stock = self._stock.pop(report.request_id, None) is not None
        if state is None or not state.live:
            return
        before = replace(state)
        pending = state.status == "PENDING"
        if report.last is not None and report.last.epoch != self._epoch and pending:
            self.orders.executed(report.last)
        elif pending and not report.known and not taking_stock:
            self.orders.never_sent(state)
        if taking_stock and not report.live and state.live:
            self.orders.missed_end(state, report.last)
        if state.status != "PENDING":
            self._settle(state)
        if state != before:
            self._found(replace(state))

    @property
    def seq(self) -> int:
        """The last execution that was taken."""
        return max(self._seq, 0)

    def tick(self) -> None:
        """One heartbeat interval: an execution that was lost last leaves no gap, so ask now and then."""
        self._idle += 1
        self._asked = False
        if self.strategy_id and self._idle >= TAIL_TICKS:
            self._request()

    def take(self, execution: p.Execution) -> bool:
        """Applies an execution; False if it is a repetition or comes too early."""
        self._idle = 0
        if execution.epoch != self._epoch:
            return False
        if self._seq < 0:
            self._seq = execution.seq - 1
        if execution.seq <= self._seq:
            return False
        if execution.seq > self._seq + 1:
            if not self._asked:
                self._request()
            return False
        self._seq = execution.seq
        self._asked = False
        state = self.orders.executed(execution)
        if state.status != "PENDING":
            self._settle(state)
        return True

    def refused(self, error: p.Error) -> None:
        """Applies an error that names an order, or says that older executions are gone."""
        if error.code == "replay_incomplete":
            self._seq = -1
            self._take_stock()
        if error.client_order_id:
            state = self.orders.refused(error)
            if state is not None and state.status == "REFUSED":
                self._settle(state)

    def wait(self, client_order_id: int, waiter: Waiter) -> None:
        """Lets the waiter have the engine's first word on an order: its state, or OrderRejected."""
        state = self.orders.states.get(client_order_id)
        if state is not None and state.status != "PENDING":
            _answer(waiter, state)
        else:
            self._waiters[client_order_id] = waiter

    def forget(self, client_order_id: int) -> None:
        """Gives up on waiting."""
        self._waiters.pop(client_order_id, None)

    def fail(self, error: BridgeError) -> None:
        """The connection is gone: nobody will hear of anything."""
        waiters, self._waiters = self._waiters, {}
        for waiter in waiters.values():
            if not waiter.done():
                waiter.set_exception(error)

    def _take_stock(self) -> None:
        """Executions may be lost: asks what became of each order that was live."""
        self._must_take_stock = False
        self._stock = {self._new_id(): i for i, state in self.orders.states.items() if state.live}
        for request_id, client_order_id in self._stock.items():
            self._send(p.QueryOrder(request_id, client_order_id))

    def _settle(self, state: OrderState) -> None:
        waiter = self._waiters.pop(state.client_order_id, None)
        if waiter is not None:
            _answer(waiter, state)

    def _request(self) -> None:
        self._idle, self._asked = 0, True
        self._send(p.ExecutionReplayRequest(max(self._seq, 0) + 1))


def _answer(waiter: Waiter, state: OrderState) -> None:
    if waiter.done():
        return
    if state.status in ("DENIED", "REJECTED", "REFUSED"):
        waiter.set_exception(OrderRejected(_refusal(state), state.reason))
    else:
        waiter.set_result(state)


def _refusal(state: OrderState) -> str:
    said = f"order {state.client_order_id} {state.status}"
    return f"{said}: {state.reason}" if state.reason else said
