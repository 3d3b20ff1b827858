"""What a client keeps of the streams: gaps healed, own orders. No sockets and no clock in here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bridge import protocol as p

RETRY_TICKS = 10
"""Ticks after which an unanswered request is repeated."""
TAIL_TICKS = 10
"""Silent ticks after which a stream asks whether it has missed the last message."""
MAX_WAITING = 20_000
"""Messages that a stream keeps while it waits for a snapshot or a replay; then it forgets them."""
ENDED_KEPT = 10_000
"""Ended orders that a client remembers."""
ENDED = frozenset({"FILLED", "CANCELED", "EXPIRED", "REJECTED", "DENIED", "REFUSED", "LOST"})
"""Statuses of an order that is over; REFUSED (by the bridge) and LOST (not live after a restart) are ours."""
_STILL_LIVE = frozenset({"request_in_flight", "duplicate_order_id"})


def order_ended(status: str, prev_status: str, reason: str) -> bool:
    """Whether an order is over with this update; a denied change leaves it as it was.

    Args:
        status: The update's status.
        prev_status: The status before; a denial of what never lived has NONE.
        reason: The update's reason; these two deny a change before the venue's first answer.
    """
    if status == "DENIED":
        return prev_status == "NONE" and reason not in _STILL_LIVE
    return status in ENDED


@dataclass(frozen=True)
class Want:
    """A request to be made: a snapshot, or a replay from ``from_seq`` on; a tail check blocks nothing."""

    kind: str
    from_seq: int = 0
    tail: bool = False


class Stream:
    """One topic on its way to the consumer: in order, each message once, gaps healed.

    Feed it with :meth:`message`, :meth:`snapshot` and :meth:`replay`; each returns what may be delivered
    now. ``want`` says what to request; the owner sends it and calls :meth:`asked` with the request's id.
    """

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.epoch = 0
        self.seq = 0
        self.want: Want | None = Want("snapshot")
        self.request_id = 0
        self.heals = 0
        self._waiting: list[Any] = []
        self._silent = self._unanswered = 0

    @property
    def live(self) -> bool:
        """Whether the consumer has everything that was received, and nothing is known to be missing."""
        return self.want is None or self.want.tail

    def restart(self) -> None:
        """Forgets everything and asks for a snapshot: a new epoch, or a slow consumer."""
        self.want, self.request_id = Want("snapshot"), 0
        self._waiting.clear()

    def resume(self, epoch: int) -> None:
        """After a reconnect: asks for what was missed, or for a snapshot if the epoch is another."""
        if epoch != self.epoch or (self.want is not None and self.want.kind == "snapshot"):
            self.restart()
        else:
            self.want, self.request_id = Want("replay", self.seq + 1), 0

    def asked(self, request_id: int) -> None:
        """Remembers the request whose answer counts; answers to older ones are ignored."""
        self.request_id = request_id
        self._unanswered = 0

    def tick(self) -> bool:
        """One heartbeat interval has passed; True if ``want`` has to be asked for (again)."""
        self._silent += 1
        self._unanswered += 1
        if self.want is not None:
            return self._unanswered >= RETRY_TICKS
        if self._silent < TAIL_TICKS:
            return False
        # What was lost last leaves no gap to notice.
        self.want, self.request_id = Want("replay", self.seq + 1, tail=True), 0
        return True

    def message(self, message: Any) -> list[Any]:
        """Takes a published message."""
        self._silent = 0
        if self.want is not None and not self.want.tail:
            if len(self._waiting) >= MAX_WAITING:
                # The answer is still on its way, and heals most of them; the rest is one more gap.
                self._waiting.clear()
            self._waiting.append(message)
            return []
        if message.epoch != self.epoch:
            self.restart()
            self._waiting.append(message)
            return []
        if message.seq <= self.seq:
            return []
        if message.seq > self.seq + 1:
            self.want, self.request_id = Want("replay", self.seq + 1), 0
            self.heals += 1
            self._waiting.append(message)
            return []
        self.seq = message.seq
        return [message]

    def messages(self, messages: Sequence[Any]) -> Sequence[Any]:
        """Takes messages that were published together: :meth:`message` for each."""
        seq, epoch = self.seq, self.epoch
        for one in messages:
            seq += 1
            if one.seq != seq or one.epoch != epoch or not self.live:
                return [delivered for each in messages for delivered in self.message(each)]
        self._silent = 0
        self.seq = seq
        return messages

    def snapshot(self, snapshot: p.Snapshot) -> list[Any]:
        """Takes the answer to a snapshot request; delivers the :class:`Snapshot` itself first."""
        if self.want is None or self.want.kind != "snapshot" or snapshot.request_id != self.request_id:
            return []
        self.epoch = snapshot.epoch
        self.seq = snapshot.seqs.get(self.topic, 0)
        self.want = None
        # It may have overtaken the subscription: soon looks whether something came in between.
        self._silent = TAIL_TICKS - 1
        return [snapshot, *self._release()]

    def replay(self, replay: p.Replay) -> list[Any]:
        """Takes the answer to a replay request."""
        if self.want is None or self.want.kind != "replay" or replay.request_id != self.request_id:
            return []
        if not replay.complete or replay.epoch != self.epoch:
            self.want, self.request_id = Want("snapshot"), 0
            return []
        self.want = None
        self._silent = 0
        waiting, self._waiting = self._waiting, []
        delivered: list[Any] = []
        before = self.seq
        for message in (*replay.messages, *waiting):
            delivered += self.message(message)
        if self.want is not None and self.seq == before:
            # The replay did not close the gap: asking again would go on for ever.
            self.want = Want("snapshot")
        return delivered

    def _release(self) -> list[Any]:
        waiting, self._waiting = self._waiting, []
        delivered: list[Any] = []
        for message in waiting:
            if message.epoch == self.epoch:
                delivered += self.message(message)
        return delivered


@dataclass
class OrderState:
    """An own order as far as the client knows it; PENDING until the engine's first word."""

    client_order_id: int
    symbol: str
    side: p.Side
    px: float
    qty: float
    order_type: p.OrderType = "limit"
    time_in_force: p.TimeInForce = "GTC"
    status: str = "PENDING"
    leaves_qty: float = 0.0
    cum_exec_qty: float = 0.0
    order_id: int = 0
    reason: str = ""
    fee: float = 0.0
    journal_seq: int = 0
    seq: int = 0
    exec_px: float = 0.0

    @property
    def live(self) -> bool:
        """Whether it may still trade."""
        return self.status not in ENDED


@dataclass
class Orders:
    """The orders of one strategy, from its submits and executions."""

    states: dict[int, OrderState] = field(default_factory=dict)
    _ended: list[int] = field(default_factory=list)

    def submitted(self, message: p.Submit) -> OrderState:
        """Takes note of an order that is being sent; of one that was sent before, that it is sent again."""
        known = self.states.get(message.client_order_id)
        if known is not None and known.status != "REFUSED":
            known.seq = message.seq
            return known
        state = OrderState(
            message.client_order_id,
            message.symbol,
            message.side,
            message.px,
            message.qty,
            message.order_type,
            message.time_in_force,
            leaves_qty=message.qty,
            seq=message.seq,
        )
        self.states[message.client_order_id] = state
        return state

    def executed(self, execution: p.Execution) -> OrderState:
        """Applies an execution; an order that is not known yet (from before a restart) is taken up."""
        state = self.states.get(execution.client_order_id)
        if state is None:
            state = OrderState(
                execution.client_order_id, execution.symbol, execution.side, execution.px, execution.qty
            )
            self.states[execution.client_order_id] = state
        state.reason, state.journal_seq = execution.reason, execution.journal_seq
        if execution.status == "DENIED":
            # A change was denied, or one of an order that is over: what there was stays as it was.
            if state.live and order_ended("DENIED", execution.prev_status, execution.reason):
                self._set_status(state, "DENIED")
            return state
        state.fee += execution.fee
        state.order_type, state.time_in_force = execution.order_type, execution.time_in_force
        state.px, state.qty, state.order_id = execution.px, execution.qty, execution.order_id
        state.leaves_qty, state.cum_exec_qty = execution.leaves_qty, execution.cum_exec_qty
        state.exec_px = execution.exec_px or state.exec_px
        if execution.status != "NONE":
            self._set_status(state, execution.status)
        return state

    def refused(self, error: p.Error) -> OrderState | None:
        """Applies an error of the bridge: an order that never reached the engine is REFUSED."""
        state = self.states.get(error.client_order_id)
        if state is not None and state.status == "PENDING" and error.code != "duplicate_order_id":
            state.reason = f"{error.code}: {error.message}"
            self._set_status(state, "REFUSED")
        return state

    def never_sent(self, state: OrderState) -> OrderState:
        """An order has never reached the server, and will not: it may be sent again."""
        state.reason = "not_received: the server has never had it"
        self._set_status(state, "REFUSED")
        return state

    def missed_end(self, state: OrderState, last: p.Execution | None) -> None:
        """An order is not live in the engine any more: it ended as its last execution says, or unseen."""
        if last is not None and order_ended(last.status, last.prev_status, last.reason):
            state.leaves_qty, state.cum_exec_qty = last.leaves_qty, last.cum_exec_qty
            state.exec_px = last.exec_px or state.exec_px
            state.reason, status = last.reason, last.status
        else:
            state.reason, status = "not live after the bridge restarted", "LOST"
        self._set_status(state, status)

    def live(self, symbol: str = "") -> list[OrderState]:
        """Copies of the orders that may still trade, of one symbol if it is named."""
        return [replace(s) for s in self.states.values() if s.live and symbol in ("", s.symbol)]

    def _set_status(self, state: OrderState, status: str) -> None:
        if status in ENDED and state.status not in ENDED:
            self._ended.append(state.client_order_id)
            if len(self._ended) > ENDED_KEPT:
                gone = self.states.get(self._ended.pop(0))
                if gone is not None and not gone.live:
                    del self.states[gone.client_order_id]
        state.status = status
