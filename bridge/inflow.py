"""What the engine says about orders, strategies and commands: from two rings to whoever has to know."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

from bridge import records
from bridge.control import Control
from bridge.durable import Durability
from bridge.link import EngineLink
from bridge.ordernews import OrderNews
from bridge.publisher import Publisher
from bridge.router import Router
from engine.core.errors import RingCorrupt
from engine.runtime.records import BlobJoiner, Kind

if TYPE_CHECKING:
    Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

RECORDS_A_TURN = 512
ORDER, FILL = int(Kind.ORDER), int(Kind.FILL)
MAX_UNNAMED = 1 << 14
"""Orders and fills that wait for the name of their strategy after a restart: a ring of them."""


class Inflow:
    """Drains ``control_out`` and ``orders_out``.

    Attributes:
        corrupt: Records that meant nothing and were dropped.
        must_resync: The engine is to be asked to tell everything again.

    Args:
        link: The engine's rings.
        publisher: Publishes orders and fills.
        router: Makes executions of orders.
        control: Knows who waits for a reply.
        durability: Holds back what is not durable yet.
        log: Where to say what was dropped.
    """

    def __init__(
        self,
        link: EngineLink,
        publisher: Publisher,
        router: Router,
        control: Control,
        durability: Durability,
        log: Log,
    ) -> None:
        self.corrupt = 0
        self.must_resync = self._resyncing = False
        self._link, self._publisher, self._router = link, publisher, router
        self._control, self._durability, self._log = control, durability, log
        self._blobs, self._replies = BlobJoiner(), BlobJoiner()
        self._unnamed: list[tuple[int, Any, Any]] = []

    def replies(self) -> None:
        """Takes the answers to operators, which have a ring of their own and are read first."""
        for kind, headers, rows in records.runs(self._link.take("control_out", RECORDS_A_TURN)):
            for header, row in zip(headers, rows, strict=True):
                self._on_blob(kind, header, row, self._replies)

    def orders(self) -> bool:
        """Takes a turn's orders and fills; whether there may be more."""
        if self._durability.full:
            # The ring's own limits apply from here on: new orders get BUSY, cancels have its reserve.
            return False
        batch = self._link.take("orders_out", RECORDS_A_TURN)
        for kind, headers, rows in records.runs(batch):
            for header, row in zip(headers, rows, strict=True):
                if header.dropped:
                    self._log.warning("the engine dropped %d records for want of room", header.dropped)
                    self.resync()
                if kind not in (ORDER, FILL):
                    self._on_blob(kind, header, row, self._blobs)
                elif header.strategy in self._publisher.names or len(self._unnamed) >= MAX_UNNAMED:
                    self._on_order(kind, header, row)
                else:
                    self._unnamed.append((kind, header, row))
        return len(batch) == RECORDS_A_TURN

    def _on_order(self, kind: int, header: Any, row: Any) -> None:
        try:
            if kind == FILL:
                self._publisher.fill(header, records.FillRow(*row))
            else:
                # Its owner first: the others only watch.
                self._durability.order(row.journal_seq, partial(self._on_execution, row))
                self._publisher.order(row)
        except (KeyError, RingCorrupt) as error:
            # A code without a name, or no such instrument: better one record less than no bridge.
            self.corrupt += 1
            self._log.error("dropped a record of kind %d: %r", kind, error)

    def _on_execution(self, news: OrderNews) -> None:
        try:
            self._router.order(news, self._publisher.symbol(news.instrument))
        except RingCorrupt as error:
            self.corrupt += 1
            self._log.error("dropped an execution: %r", error)

    def _name(self, slot: int) -> None:
        """A slot has its name: what a bridge before us left unread about it can be told now."""
        waiting, self._unnamed = self._unnamed, []
        for kind, header, row in waiting:
            if header.strategy == slot:
                self._on_order(kind, header, row)
            else:
                self._unnamed.append((kind, header, row))

    def _on_blob(self, kind: int, header: records.Header, slot: object, joiner: BlobJoiner) -> None:
        try:
            message = joiner.add(slot)
            if message is None:
                return
            blob = records.blob(kind, message)
        except RingCorrupt as error:
            # The half of a blob that a bridge killed before us had taken already looks like this.
            self.corrupt += 1
            self._log.warning("dropped: %s", error)
            return
        if kind == Kind.STRATEGY:
            self._publisher.strategy(header, blob)
            self._durability.order(0, partial(self._router.strategy, header.strategy, blob))
            if self._unnamed:
                self._name(header.strategy)
            # A resync tells all strategies, then all orders: what came before is older than it.
            self._publisher.tells_anew()
            self._durability.order(0, partial(self._router.tells_anew, header.strategy))
        elif kind == Kind.REPLY and joiner is self._blobs:
            # Its place among the orders is what it tells.
            self._durability.order(0, partial(self._control.reply, blob, header.step))
        elif kind == Kind.REPLY:
            self._control.reply(blob, header.step)

    def resync(self) -> None:
        """Asks the engine to tell everything again: strategies, live orders, positions and books."""
        if self._resyncing:
            return

        def answer(reply: records.ReplyBlob | None, step: int) -> None:
            self._resyncing = False
            # No answer, or no room in the rings for all of it: the next tick asks again.
            self.must_resync = reply is None or not reply.success
            if not self.must_resync:
                self._publisher.end_resync()
                self._router.end_resync()

        self._resyncing = self._control.ask("resync", {}, answer)
        self.must_resync = not self._resyncing
        if self._resyncing:
            self._publisher.begin_resync()
            self._router.ask_resync()
            self._durability.order(0, self._router.begin_resync)
