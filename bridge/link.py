"""The bridge's end of the engine's rings: drains four, fills two, sleeps on one bell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bridge.orderentry import request as request_order
from engine.core.ring import Bell, Ring
from engine.core.types import Status
from engine.runtime.records import Kind, blob_records, record_dtype

INCOMING = ("control_out", "orders_out", "telemetry_out", "market_out")
"""Rings that the bridge drains."""
CONTROL_OUT, ORDERS_OUT, TELEMETRY_OUT, MARKET_OUT = (1 << place for place in range(len(INCOMING)))
OUTGOING = ("orders_in", "control_in")
"""Rings that the bridge fills."""
NOTHING = np.empty((0, record_dtype.itemsize), np.uint8)
ALL_INSTRUMENTS = 0xFFFF
"""The instrument of a cancel that means all of them."""


class EngineLink:
    """Rings and bells of one engine.

    Attributes:
        incoming: The rings that the bridge drains, in the order of :data:`INCOMING`.

    Args:
        rings: The six rings by name.
        bell: What the engine rings when the bridge sleeps.
    """

    def __init__(self, rings: Mapping[str, Ring], bell: Bell) -> None:
        self.bell = bell
        self._rings = dict(rings)
        self._orders_in = rings["orders_in"]
        self.incoming = tuple(rings[name] for name in INCOMING)

    @classmethod
    def attach(cls, paths: Mapping[str, str | Path], bell: str | Path, engine_bell: str | Path) -> EngineLink:
        """Maps the rings of a running engine.

        Args:
            paths: Files of the six rings by name.
            bell: FIFO that the engine rings for the bridge.
            engine_bell: FIFO that the bridge rings for the engine.

        Raises:
            FileNotFoundError: A ring is missing.
            RingCorrupt: A ring's header or indices cannot be right.
        """
        wake = Bell.named(engine_bell)
        rings = {name: Ring.attach(paths[name]) for name in INCOMING}
        rings |= {name: Ring.attach(paths[name], bell=wake) for name in OUTGOING}
        return cls(rings, Bell.named(bell))

    def take(self, name: str, most: int) -> np.ndarray:
        """Takes records out of one of the incoming rings: their bytes, shape (n, 256), n <= ``most``."""
        ring = self._rings[name]
        return ring.pop_many(most) if len(ring) else NOTHING

    def backlog(self, name: str) -> int:
        """Records that wait in one of the incoming rings."""
        return len(self._rings[name])

    def waiting(self) -> bool:
        """Whether an incoming ring holds anything."""
        return any(len(ring) for ring in self.incoming)

    def order(
        self,
        request: Status,
        slot: int,
        instrument: int,
        client_order_id: int,
        side: int = 0,
        price_tick: int = 0,
        lots: int = 0,
        order_type: int = 0,
        time_in_force: int = 0,
    ) -> bool:
        """Sends an order request.

        Args:
            request: NEW, REPLACED or CANCELED.
            slot: The strategy's.
            instrument: Its number, :data:`ALL_INSTRUMENTS` in a cancel of everything.
            client_order_id: The order's; 0 in a cancel of everything.
            side: 1 or -1.
            price_tick: Price in ticks.
            lots: Quantity in lots.
            order_type: As ``engine.core.types.OrdType``.
            time_in_force: As ``engine.core.types.TimeInForce``.

        Returns:
            False when the ring is full: nothing was sent.
        """
        return request_order(
            self._orders_in,
            request,
            slot,
            instrument,
            client_order_id,
            side,
            price_tick,
            lots,
            order_type,
            time_in_force,
        )

    def signal(self, slot: int, message: Mapping[str, Any]) -> bool:
        """Sends a signal of a strategy; False when the ring is full."""
        return self._blob("orders_in", Kind.SIGNAL, message, slot)

    def control(self, message: Mapping[str, Any]) -> bool:
        """Sends a control command; False when the ring is full.

        Raises:
            ValueError: The message is too long.
        """
        return self._blob("control_in", Kind.CONTROL, message)

    def _blob(self, name: str, kind: Kind, message: Mapping[str, Any], slot: int = 0) -> bool:
        ring = self._rings[name]
        records = blob_records(kind, message, strategy=slot)
        # All of its slots or none: half a blob would be joined with the next one.
        if ring.capacity - len(ring) < len(records):
            return False
        return ring.push_many(records.view(np.uint8).reshape(len(records), -1)) == len(records)

    def close(self) -> None:
        """Gives rings and bells back; the files stay."""
        for name in OUTGOING:
            wake = self._rings[name].bell
            if wake is not None:
                wake.close()
        for ring in self._rings.values():
            ring.close()
        self.bell.close()
