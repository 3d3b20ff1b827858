"""What external strategies ask for: checked, told apart from what was asked before, and passed on."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import msgspec

from bridge import protocol as p
from bridge.control import Control
from bridge.external import External, Invalid, Live, Peer, units_of
from bridge.intake import Intakes, digest
from bridge.link import ALL_INSTRUMENTS, EngineLink
from bridge.orderentry import units
from bridge.sessions import Sessions
from engine.core.types import OrdType, Status, TimeInForce

NUMBERED = frozenset({p.Submit, p.Modify, p.Cancel, p.CancelAll, p.Signal, p.Features})
"""Messages that a session numbers."""
REPLAYED_AT_ONCE = 1000
"""Executions that one request brings back; a client asks again for the rest."""
_SIDES = {"buy": 1, "sell": -1}
_TYPES = {"limit": int(OrdType.LIMIT), "market": int(OrdType.MARKET)}
_TIFS = {code.name: int(code) for code in TimeInForce}


class Requests:
    """The order socket's messages of traders.

    Args:
        link: Where requests go.
        sessions: Where answers go.
        control: Takes a trader's ``Kill``.
        instruments: In the engine's order.
        intakes: What sessions have sent.
    """

    def __init__(
        self,
        link: EngineLink,
        sessions: Sessions,
        control: Control,
        instruments: Sequence[p.InstrumentInfo],
        intakes: Intakes,
    ) -> None:
        self._link, self._sessions, self._control, self._intakes = link, sessions, control, intakes
        self._instruments = list(instruments)
        self._numbers = {info.symbol: number for number, info in enumerate(instruments)}

    def message(self, peer: Peer, message: Any) -> None:
        """A request of a trader; a refused one is answered by an error."""
        try:
            self._handle(peer, message)
        except Invalid as refusal:
            self._sessions.counts[refusal.code] += 1
            number = getattr(message, "client_order_id", 0)
            self._sessions.send(peer, p.Error(refusal.code, str(refusal), 0, number))

    def _handle(self, peer: Peer, message: Any) -> None:
        external = peer.external
        if external is None:
            raise Invalid("forbidden", f"a {peer.hello.role} without a strategy does not trade")
        kind = type(message)
        if kind in NUMBERED and message.seq and not self._is_next(peer, external, message):
            return
        if kind is p.Submit:
            self._submit(peer, external, message)
        elif kind is p.Kill:
            self._control.message(peer, message)
        elif kind is p.QueryOrder:
            self._report(peer, external, message.client_order_id, message.request_id)
        elif kind is p.Modify:
            self._modify(external, message)
        elif kind is p.Cancel:
            self._cancel(external, message)
        elif kind is p.CancelAll:
            instrument = self._instrument(peer, message.symbol) if message.symbol else ALL_INSTRUMENTS
            self._push(self._link.order(Status.CANCELED, external.slot, instrument, 0))
        elif kind is p.Signal:
            self._signal(peer, external, message)
        elif kind is p.Features:
            self._features(peer, external, message)
        else:
            self.replay(peer, external, message.from_seq)

    def _is_next(self, peer: Peer, external: External, message: Any) -> bool:
        """Whether a numbered message is the next one; an order that comes again is answered.

        Raises:
            Invalid: Messages before it are missing.
        """
        intake = external.intake
        assert intake is not None
        if message.seq > intake.received + 1:
            raise Invalid("out_of_sequence", f"{intake.received + 1} is next, not {message.seq}")
        if message.seq == intake.received + 1:
            self._intakes.received(intake, message.seq)
            return True
        self._sessions.counts["repeated"] += 1
        if type(message) is p.Submit and not self._repeats(peer, external, message):
            # Its number has been taken, so it was refused then and is not tried again.
            self._report(peer, external, message.client_order_id)
        return False

    def _repeats(self, peer: Peer, external: External, order: p.Submit) -> bool:
        """Whether an order of that number was sent on before; if it is the same, its first result is told.

        Raises:
            Invalid: It was another order.
        """
        intake, number = external.intake, order.client_order_id
        assert intake is not None
        taken = intake.orders.get(number)
        if taken is None:
            if number <= intake.floor:
                raise Invalid(
                    "duplicate_order_id", f"{number} may have been used: choose one above {intake.floor}"
                )
            if number in external.live:
                raise Invalid(
                    "duplicate_order_id", f"client_order_id {number} is a live order's of another session"
                )
            return False
        if taken.digest != digest(order):
            raise Invalid("duplicate_order_id", f"client_order_id {number} was another order's")
        self._report(peer, external, number)
        return True

    def _report(self, peer: Peer, external: External, number: int, request_id: int = 0) -> None:
        taken = external.intake.orders.get(number) if external.intake else None
        first, last = (taken.first, taken.last) if taken else (b"", b"")
        told: list[Any] = [msgspec.Raw(frame) if frame else None for frame in (first, last)]
        self._sessions.send(
            peer, p.OrderReport(request_id, number, taken is not None, number in external.live, *told)
        )

    def _submit(self, peer: Peer, external: External, order: p.Submit) -> None:
        if self._repeats(peer, external, order):
            return
        instrument = self._instrument(peer, order.symbol)
        info = self._instruments[instrument]
        if order.order_type == "market" and order.px == 0:
            tick = 0
        else:
            tick = units(order.px, info.tick_size) or units_of("px", order.px, "tick_size", info.tick_size)
        lots = units(order.qty, info.lot_size) or units_of("qty", order.qty, "lot_size", info.lot_size)
        intake = external.intake
        assert intake is not None
        self._intakes.take(intake, order.client_order_id, digest(order))
        sent = self._link.order(
            Status.NEW,
            external.slot,
            instrument,
            order.client_order_id,
            _SIDES[order.side],
            tick,
            lots,
            _TYPES[order.order_type],
            _TIFS[order.time_in_force],
        )
        if not sent:
            self._intakes.untake(intake, order.client_order_id)
            self._push(sent)
        external.live[order.client_order_id] = Live(instrument, _SIDES[order.side])
        if external.fresh is not None:
            external.fresh.add(order.client_order_id)

    def _modify(self, external: External, order: p.Modify) -> None:
        live = self._live(external, order.client_order_id)
        info = self._instruments[live.instrument]
        tick = units_of("px", order.px, "tick_size", info.tick_size)
        lots = units_of("qty", order.qty, "lot_size", info.lot_size)
        number = order.client_order_id
        sent = self._link.order(
            Status.REPLACED, external.slot, live.instrument, number, live.side, tick, lots
        )
        self._push(sent)

    def _cancel(self, external: External, order: p.Cancel) -> None:
        live, number = self._live(external, order.client_order_id), order.client_order_id
        self._push(self._link.order(Status.CANCELED, external.slot, live.instrument, number, live.side))

    def _signal(self, peer: Peer, external: External, signal: p.Signal) -> None:
        if not isfinite(signal.value):
            raise Invalid("invalid_params", f"value {signal.value!r} must be finite")
        if signal.symbol:
            self._instrument(peer, signal.symbol)
        fields = {"name": signal.name, "symbol": signal.symbol, "value": signal.value}
        self._push(self._link.signal(external.slot, fields))
        self._sessions.publisher.signal(external.strategy_id, signal)

    def _features(self, peer: Peer, external: External, features: p.Features) -> None:
        self._instrument(peer, features.symbol)
        row = 8 * len(features.columns)
        if not features.data or len(features.data) % row:
            text = f"data of {len(features.data)} bytes are not rows of {row}"
            raise Invalid("invalid_params", text)
        self._sessions.publisher.feature(external.strategy_id, features)

    def replay(self, peer: Peer, external: External, from_seq: int) -> None:
        """Sends a strategy's executions again, from a number on."""
        first = external.exec_seq - len(external.kept) + 1
        if from_seq < first:
            text = f"executions before {first} are not kept"
            self._sessions.send(peer, p.Error("replay_incomplete", text))
        begin = max(0, from_seq - first)
        for place in range(begin, min(begin + REPLAYED_AT_ONCE, len(external.kept))):
            self._sessions.send_frame(peer, external.kept[place])

    def _instrument(self, peer: Peer, symbol: str) -> int:
        number = self._numbers.get(symbol)
        if number is None:
            raise Invalid("unknown_symbol", f"the engine has no instrument {symbol[: p.MAX_NAME]!r}")
        if peer.hello.symbols and symbol not in peer.hello.symbols:
            raise Invalid("unknown_symbol", f"hello did not name {symbol}")
        return number

    def _live(self, external: External, client_order_id: int) -> Live:
        live = external.live.get(client_order_id)
        if live is None:
            raise Invalid("unknown_order", f"no live order has client_order_id {client_order_id}")
        return live

    def _push(self, sent: bool) -> None:
        if not sent:
            raise Invalid("busy", "the engine's order ring is full")
