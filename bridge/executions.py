"""The trader's half of a session: own orders, executions without gaps, and who waits for them."""

from __future__ import annotations

from collections.abc import Callable
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
    """

    def __init__(self, strategy_id: str, send: Callable[[Any], bool], new_id: Callable[[], int]) -> None:
        self.strategy_id = strategy_id
        self.orders = Orders()
        self._send = send
        self._new_id = new_id
        self._waiters: dict[int, Waiter] = {}
        self._epoch = self._seq = self._idle = 0
        self._asked = False
        self._reconcile_id = 0
        self._candidates: list[int] = []

    def welcomed(self, welcome: p.Welcome) -> None:
        """A session began: goes on where the last one stopped, or takes stock in a new epoch."""
        if not self.strategy_id:
            return
        if self._epoch == 0:
            self._seq = welcome.exec_seq
        elif self._epoch != welcome.epoch:
            self._seq = 0
            self._take_stock()
        self._epoch = welcome.epoch
        self._request()

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

    def take_snapshot(self, answer: p.Snapshot | p.Replay) -> bool:
        """Applies the stock that was taken; False if the answer is somebody else's."""
        if answer.request_id != self._reconcile_id or type(answer) is not p.Snapshot:
            return False
        self._reconcile_id = 0
        mine = {m.client_order_id for m in answer.messages if m.strategy_id == self.strategy_id}
        for state in self.orders.reconcile(self._candidates, mine):
            self._settle(state)
        return True

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
        """Executions are lost: asks which of the orders that were live still are."""
        self._candidates = [i for i, state in self.orders.states.items() if state.live]
        self._reconcile_id = self._new_id()
        self._send(p.SnapshotRequest(self._reconcile_id, p.ORDERS_TOPIC))

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
