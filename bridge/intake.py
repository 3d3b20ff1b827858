"""What each trader's session has sent and what became of it: a table in a mapped file.

An order is written down before it goes on to the engine. So a bridge that is killed at any instant, and the
one after it, know of an order either nothing, and it may be sent again, or that it was sent on, and it is
never sent on again. Stores to the mapping outlive the process; nothing here waits for a disk.

The orders of all sessions share a ring of slots. The oldest give way; their session then takes only numbers
above theirs, so that what was forgotten cannot be executed again either.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from bridge import codec
from bridge import protocol as p
from bridge.errors import BridgeError
from bridge.orderentry import Slots

ORDERS = 1 << 15
"""Orders that the table knows, of all sessions."""
SESSIONS = 256
"""Sessions that it knows: the last one of each strategy."""
MAX_FRAME = 480
"""Longest execution that a slot holds; the longest there can be is shorter."""
AHEAD = 256
"""Orders whose memory is there before they come: the first of each page would wait for it."""
MADV_POPULATE_WRITE = 23
"""Linux's number; the interpreter has no name for it."""
MAGIC = b"RBINTAK1"
POLICIES = ("cancel", "keep", "reduce")
_HEAD = struct.Struct("<8sQQQ")  # magic, order slots, next order slot, last serial
_SESSION = struct.Struct("<QQQB32s64s64s")  # serial, received, floor, policy, session, strategy, owner
_ORDER = struct.Struct("<QQ16s")  # serial, client_order_id, digest
_LENGTH = struct.Struct("<H")
_SESSION_SIZE, _ORDER_SIZE = 192, 1024
_SESSIONS_AT = 64
_ORDERS_AT = _SESSIONS_AT + SESSIONS * _SESSION_SIZE
_FIRST_AT = _ORDER.size
_LAST_AT = _FIRST_AT + _LENGTH.size + MAX_FRAME


def digest(order: p.Submit) -> bytes:
    """What tells two orders of one number apart: everything but numbers."""
    content = (order.symbol, order.side, order.px, order.qty, order.order_type, order.time_in_force)
    return blake2b(codec.encode(content), digest_size=16).digest()


@dataclass(eq=False, slots=True)
class Taken:
    """An order that was sent on: its content, and the first and last execution as they were told."""

    digest: bytes
    place: int
    first: bytes = b""
    last: bytes = b""


@dataclass(eq=False)
class Intake:
    """One session.

    Attributes:
        session: Its id, which nobody can guess.
        strategy_id: Whose it is.
        owner: Key of the client that opened it; empty without keys.
        on_loss: What becomes of its orders when its client is lost.
        received: The last number of the client's messages that was taken.
        floor: Numbers of orders up to here may have been forgotten.
        orders: By client_order_id.
    """

    session: str
    strategy_id: str
    owner: str
    on_loss: p.OnLoss
    serial: int
    place: int
    received: int = 0
    floor: int = 0
    orders: dict[int, Taken] = field(default_factory=dict)


class Intakes:
    """All sessions of traders.

    Args:
        path: The file; it is made where there is none. Empty keeps everything in memory alone.

    Raises:
        BridgeError: The file cannot be opened, or is something else.
    """

    def __init__(self, path: str | Path = "") -> None:
        size = _ORDERS_AT + ORDERS * _ORDER_SIZE
        if path:
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    os.ftruncate(descriptor, size)
                    self._map = mmap.mmap(descriptor, size)
                finally:
                    os.close(descriptor)
            except OSError as error:
                raise BridgeError(f"{path}: {error.strerror}") from None
        else:
            self._map = mmap.mmap(-1, size)
        magic, slots, self._next, self._serial = _HEAD.unpack_from(self._map)
        if magic == bytes(8):
            _HEAD.pack_into(self._map, 0, MAGIC, ORDERS, 0, 0)
        elif (magic, slots) != (MAGIC, ORDERS):
            self._map.close()
            raise BridgeError(f"{path}: not a table of sessions of this version")
        self._slots = Slots(self._map)
        self._ahead = 0
        self._by_place: list[tuple[Intake, int] | None] = [None] * ORDERS
        self._by_strategy: dict[str, Intake] = {}
        self._load()
        self.tick()

    def _load(self) -> None:
        serials: dict[int, Intake] = {}
        for place in range(SESSIONS):
            at = _SESSIONS_AT + place * _SESSION_SIZE
            serial, received, floor, policy, *texts = _SESSION.unpack_from(self._map, at)
            if serial:
                session, strategy, owner = (text.rstrip(b"\0").decode() for text in texts)
                intake = Intake(
                    session, strategy, owner, POLICIES[policy % 3], serial, place, received, floor
                )
                serials[serial] = self._by_strategy[strategy] = intake
                self._serial = max(self._serial, serial)
        for place in range(min(self._next, ORDERS)):
            at = _ORDERS_AT + place * _ORDER_SIZE
            serial, number, content = _ORDER.unpack_from(self._map, at)
            owner = serials.get(serial)
            if owner is not None:
                first, last = self._frame(at + _FIRST_AT), self._frame(at + _LAST_AT)
                owner.orders[number] = Taken(content, place, first, last)
                self._by_place[place] = (owner, number)

    def _frame(self, at: int) -> bytes:
        (length,) = _LENGTH.unpack_from(self._map, at)
        begin = at + _LENGTH.size
        return self._map[begin : begin + min(length, MAX_FRAME)]

    # --- sessions ------------------------------------------------------------------------------

    def of(self, strategy_id: str) -> Intake | None:
        """The last session of a strategy."""
        return self._by_strategy.get(strategy_id)

    def __iter__(self) -> Iterator[Intake]:
        return iter(self._by_strategy.values())

    def open(self, strategy_id: str, on_loss: p.OnLoss, owner: str = "") -> Intake:
        """Begins a session; that of the strategy before is forgotten."""
        before = self._by_strategy.pop(strategy_id, None)
        if before is None and len(self._by_strategy) >= SESSIONS:
            before = self._by_strategy.pop(
                min(self._by_strategy.values(), key=lambda i: i.serial).strategy_id
            )
        if before is None:
            used = {intake.place for intake in self._by_strategy.values()}
            place = next(place for place in range(SESSIONS) if place not in used)
        else:
            place = before.place
            for taken in before.orders.values():
                self._by_place[taken.place] = None
        self._serial += 1
        intake = Intake(secrets.token_hex(12), strategy_id, owner, on_loss, self._serial, place)
        self._by_strategy[strategy_id] = intake
        self._slots.number(24, self._serial)
        self._write(intake)
        return intake

    def set_policy(self, intake: Intake, on_loss: p.OnLoss) -> None:
        """What becomes of a session's orders when its client is lost, from now on."""
        intake.on_loss = on_loss
        self._write(intake)

    def received(self, intake: Intake, seq: int) -> None:
        """A message with that number was taken."""
        intake.received = seq
        self._slots.number(_SESSIONS_AT + intake.place * _SESSION_SIZE + 8, seq)

    def _write(self, intake: Intake) -> None:
        _SESSION.pack_into(
            self._map,
            _SESSIONS_AT + intake.place * _SESSION_SIZE,
            intake.serial,
            intake.received,
            intake.floor,
            POLICIES.index(intake.on_loss),
            intake.session.encode(),
            intake.strategy_id.encode(),
            intake.owner.encode(),
        )

    # --- orders --------------------------------------------------------------------------------

    def tick(self) -> None:
        """One heartbeat interval: has the memory of the next orders there before they come."""
        end = min(self._next + AHEAD, ORDERS)
        if end <= self._ahead:
            return
        page = mmap.PAGESIZE
        begin = (_ORDERS_AT + self._ahead * _ORDER_SIZE) // page * page
        # On an older system it comes one page at a time.
        with contextlib.suppress(OSError):
            self._map.madvise(MADV_POPULATE_WRITE, begin, _ORDERS_AT + end * _ORDER_SIZE - begin)
        self._ahead = end

    def take(self, intake: Intake, client_order_id: int, content: bytes) -> Taken:
        """Writes an order down that is about to be sent on."""
        place = self._next % ORDERS
        gone = self._by_place[place]
        if gone is not None:
            owner, number = gone
            del owner.orders[number]
            owner.floor = max(owner.floor, number)
            self._write(owner)
        self._next += 1
        self._slots.number(16, self._next)
        at = _ORDERS_AT + place * _ORDER_SIZE
        self._slots.order(at, at + _FIRST_AT, at + _LAST_AT, intake.serial, client_order_id, content)
        taken = intake.orders[client_order_id] = Taken(content, place)
        self._by_place[place] = (intake, client_order_id)
        return taken

    def untake(self, intake: Intake, client_order_id: int) -> None:
        """The order was not sent on after all: the ring was full."""
        taken = intake.orders.pop(client_order_id)
        self._by_place[taken.place] = None
        at = _ORDERS_AT + taken.place * _ORDER_SIZE
        self._slots.number(at, 0)

    def told(self, intake: Intake, client_order_id: int, frame: bytes) -> None:
        """Writes down what an order's client is told."""
        taken = intake.orders.get(client_order_id)
        if taken is None:
            return
        at = _ORDERS_AT + taken.place * _ORDER_SIZE
        if not taken.first:
            taken.first = frame
            self._slots.frame(at + _FIRST_AT, frame)
        taken.last = frame
        self._slots.frame(at + _LAST_AT, frame)

    def close(self) -> None:
        """Unmaps the table; the file stays."""
        self._slots.release()
        self._map.close()
