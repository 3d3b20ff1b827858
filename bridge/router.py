"""External strategies: their registration, their requests checked and passed on, their executions."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from bridge import codec, records
from bridge import protocol as p
from bridge.control import Control
from bridge.external import External, Invalid, Live, units_of
from bridge.link import ALL_INSTRUMENTS, EngineLink
from bridge.sessions import Peer, Sessions
from bridge.streams import order_ended
from engine.core.types import OrdType, Status, TimeInForce

REPLAYED_AT_ONCE = 1000
"""Executions that one request brings back; a client asks again for the rest."""
_SIDES = {"buy": 1, "sell": -1}
_TYPES = {"limit": int(OrdType.LIMIT), "market": int(OrdType.MARKET)}
_TIFS = {code.name: int(code) for code in TimeInForce}


class Router:
    """The order socket's messages.

    Args:
        link: Where requests go.
        sessions: Where executions go.
        control: Registers and disconnects strategies.
        epoch: Of this bridge.
        instruments: In the engine's order.
        grace: Ticks after a restart of the bridge in which clients of live strategies must come back.
    """

    def __init__(
        self,
        link: EngineLink,
        sessions: Sessions,
        control: Control,
        epoch: int,
        instruments: Sequence[p.InstrumentInfo],
        grace: int,
    ) -> None:
        self._link, self._sessions, self._control = link, sessions, control
        self._epoch = epoch
        self._instruments = list(instruments)
        self._numbers = {info.symbol: number for number, info in enumerate(instruments)}
        self._grace = grace
        self.externals: dict[str, External] = {}
        self._by_slot: dict[int, External] = {}
        self._waiting: list[Peer] | None = []

    # --- sessions ------------------------------------------------------------------------------

    def join(self, peer: Peer) -> None:
        """A trader says hello: registers its strategy; the welcome waits for the engine."""
        if self._waiting is not None:
            self._waiting.append(peer)
            return
        hello = peer.hello
        unknown = [symbol for symbol in hello.symbols if symbol not in self._numbers]
        if unknown:
            self._sessions.refuse(peer, "unknown_symbol", f"the engine has no instrument {unknown[0]!r}")
            return
        external = self.externals.setdefault(hello.strategy_id, External(hello.strategy_id))
        if external.peer is not None:
            text = f"a live session has strategy {hello.strategy_id!r}"
            self._sessions.refuse(peer, "strategy_in_use", text)
            return
        external.peer, peer.external = peer, external
        if external.seated and not external.leaving:
            # Only after a restart of the bridge: its client is back, or somebody else takes its place.
            if hello.resume and (not hello.symbols or external.symbols == frozenset(hello.symbols)):
                self._joined(external, peer, external.slot)
                return
            external.leaving = True
        self._tell_leaving(external)
        fields = {"strategy_id": hello.strategy_id, "symbols": hello.symbols, "params": hello.params}

        def answer(reply: records.ReplyBlob | None, step: int) -> None:
            if reply is not None and reply.success and reply.slot is not None:
                if external.peer is peer:
                    self._joined(external, peer, reply.slot)
                else:
                    # Its key was revoked meanwhile, and the engine has been told that it is gone.
                    external.slot = reply.slot
                    self._by_slot[reply.slot] = external
                return
            if external.peer is not peer:
                return
            external.peer = None
            self._forget(external)
            if reply is None:
                self._sessions.refuse(peer, "engine_timeout", "the engine did not answer in time")
            else:
                self._sessions.refuse(peer, "refused", reply.message)

        if external.leaving or not self._control.ask("register", fields, answer):
            external.peer = None
            self._forget(external)
            self._sessions.refuse(peer, "busy", "the engine's control ring is full")

    def _forget(self, external: External) -> None:
        # A name that the engine has never seated leaves nothing behind, however many are tried.
        if external.slot < 0 and not external.leaving:
            del self.externals[external.strategy_id]

    def _joined(self, external: External, peer: Peer, slot: int) -> None:
        external.slot, external.grace, external.seated = slot, 0, True
        before = self._by_slot.get(slot)
        if before is not None and before is not external and before.peer is None and not before.leaving:
            # The engine has given away the seat of one that had left without a trade.
            self.externals.pop(before.strategy_id, None)
        self._by_slot[slot] = external
        self._sessions.welcome(peer)

    def gone(self, peer: Peer) -> None:
        """A trader's session is over: the engine cancels its orders."""
        external = peer.external
        if external is not None and external.peer is peer:
            external.peer = None
            external.leaving = True
            self._tell_leaving(external)

    def _tell_leaving(self, external: External) -> None:
        if external.leaving:
            fields = {"strategy_id": external.strategy_id}
            external.leaving = not self._control.ask("disconnect", fields, lambda reply, step: None)
            external.seated &= external.leaving

    def tick(self) -> None:
        """One heartbeat interval: tells the engine again what its ring had no room for."""
        for external in self.externals.values():
            if external.grace > 0:
                external.grace -= 1
                external.leaving |= external.grace == 0 and external.peer is None
            self._tell_leaving(external)

    # --- from the engine -----------------------------------------------------------------------

    def strategy(self, slot: int, blob: records.StrategyBlob) -> None:
        """A STRATEGY record: after a restart it tells of strategies whose clients may come back."""
        if blob.kind != "external" or blob.strategy_id in self.externals:
            return
        external = self.externals[blob.strategy_id] = External(blob.strategy_id, slot)
        self._by_slot[slot] = external
        if blob.state in ("Starting", "Running", "Paused"):
            external.seated, external.symbols = True, frozenset(blob.symbols)
            external.grace = self._grace

    def order(self, header: records.Header, row: records.OrderRow, symbol: str) -> None:
        """An ORDER record: an execution, if its strategy is external."""
        external = self._by_slot.get(header.strategy)
        if external is None:
            return
        seq = external.exec_seq + 1
        order = records.OrderFields(*row.order)
        known = external.live.get(order.client_order_id)
        # An order carries its last execution with it; only the update that brings a new one may tell it.
        executed = row.cum_exec_qty > known.done if known else order.status != row.prev_status
        message = records.execution(
            row, order, executed, header, self._epoch, seq, external.strategy_id, symbol
        )
        if order_ended(message.status, message.prev_status, message.reason):
            external.live.pop(message.client_order_id, None)
        elif message.status != "DENIED" and message.client_order_id:
            external.live[message.client_order_id] = Live(header.instrument, order.side, row.cum_exec_qty)
            if external.told is not None:
                external.told.add(message.client_order_id)
        frame = codec.encode(message)
        external.exec_seq = seq
        external.kept.append(frame)
        if external.peer is not None and external.peer.live:
            self._sessions.send_frame(external.peer, frame)

    def ask_resync(self) -> None:
        """The engine was asked to tell all live orders again; what is sent from here on may come after."""
        for external in self.externals.values():
            external.fresh = set()

    def begin_resync(self) -> None:
        """From here on the engine tells every live order again."""
        for external in self.externals.values():
            external.told = set()

    def end_resync(self) -> None:
        """All live orders were told; who has lost an execution is made to notice."""
        for external in self.externals.values():
            told, external.told = external.told, None
            fresh, external.fresh = external.fresh or (), None
            if told is None:
                continue
            ended = [number for number in external.live if number not in told and number not in fresh]
            for number in ended:
                del external.live[number]
            if ended:
                external.exec_seq += 1
                external.kept.clear()
                if external.peer is not None and external.peer.live:
                    self._replay(external.peer, external, external.exec_seq)
        waiting, self._waiting = self._waiting or (), None
        for peer in waiting:
            self._sessions.rejoin(peer)

    # --- from the trader -----------------------------------------------------------------------

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
        if kind is p.Kill:
            self._control.message(peer, message)
        elif kind is p.Submit:
            self._submit(peer, external, message)
        elif kind is p.Modify:
            self._modify(external, message)
        elif kind is p.Cancel:
            self._cancel(external, message)
        elif kind is p.CancelAll:
            instrument = self._instrument(peer, message.symbol) if message.symbol else ALL_INSTRUMENTS
            self._push(self._link.order(Status.CANCELED, external.slot, instrument, 0))
        elif kind is p.Signal:
            self._signal(peer, external, message)
        else:
            self._replay(peer, external, message.from_seq)

    def _submit(self, peer: Peer, external: External, order: p.Submit) -> None:
        instrument = self._instrument(peer, order.symbol)
        if order.client_order_id in external.live:
            raise Invalid("duplicate_order_id", f"client_order_id {order.client_order_id} is a live order's")
        info = self._instruments[instrument]
        if order.order_type == "market" and order.px == 0:
            tick = 0
        else:
            tick = units_of("px", order.px, "tick_size", info.tick_size)
        lots = units_of("qty", order.qty, "lot_size", info.lot_size)
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

    def _replay(self, peer: Peer, external: External, from_seq: int) -> None:
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
