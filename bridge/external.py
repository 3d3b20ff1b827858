"""External strategies and their clients as the bridge knows them, and orders in the engine's units."""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass, field
from math import isfinite
from typing import NamedTuple

from bridge import protocol as p
from bridge.intake import Intake
from bridge.orderentry import MAX_UNITS, units
from bridge.roles import OWN_PROCESS, Grant
from bridge.stamps import StampCheck

EXECUTIONS_KEPT = 10_000
"""Executions of each strategy that can be replayed."""


class Live(NamedTuple):
    """What the bridge knows of a live order; its requests carry the side, since a denial echoes them."""

    instrument: int
    side: int
    done: float = 0.0


@dataclass(eq=False)
class External:
    """A strategy outside the engine, with or without a session at the moment."""

    strategy_id: str
    slot: int = -1
    peer: Peer | None = None
    exec_seq: int = 0
    kept: deque[bytes] = field(default_factory=lambda: deque(maxlen=EXECUTIONS_KEPT))
    live: dict[int, Live] = field(default_factory=dict)
    """Live orders by client_order_id."""
    told: set[int] | None = None
    """During a resync: the live orders told so far."""
    fresh: set[int] | None = None
    """During a resync: the orders sent since it was asked for, of which it may know nothing."""
    seated: bool = False
    """The engine has it as connected."""
    symbols: frozenset[str] = frozenset()
    leaving: bool = False
    """The engine must still be told that its client is gone."""
    policy: p.OnLoss = "cancel"
    """What the engine is to do with its orders then."""
    intake: Intake | None = None
    """Its session; it outlives connections."""
    grace: int = 0
    """Ticks that are left to a client that has not come back after a restart of the bridge."""


@dataclass(eq=False)
class Peer:
    """One client on one socket."""

    channel: str
    identity: bytes
    hello: p.Hello
    session: str
    grant: Grant = OWN_PROCESS
    stamps: StampCheck = field(default_factory=lambda: StampCheck(secrets.token_hex(16)))
    live: bool = False
    misses: int = 0
    external: External | None = None


class Invalid(Exception):
    """A request is refused with an error code."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


def units_of(name: str, value: float, unit_name: str, unit: float) -> int:
    """How many ticks or lots a price or quantity is.

    Raises:
        Invalid: Not finite, not above 0, too large, or no multiple; the text has field, value and limit.
    """
    whole = units(value, unit)
    if whole:
        return whole
    if not isfinite(value) or value <= 0:
        raise Invalid("invalid_order", f"{name} {value!r} must be finite and above 0")
    if value / unit > MAX_UNITS:
        raise Invalid(
            "invalid_order", f"{name} {value!r} is more than {MAX_UNITS} times {unit_name} {unit!r}"
        )
    raise Invalid("invalid_order", f"{name} {value!r} is not a multiple of {unit_name} {unit!r}")
