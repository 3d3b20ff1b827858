"""What the bridge's process has to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge import protocol as p

RINGS = ("orders_in", "control_in", "orders_out", "market_out", "telemetry_out", "control_out")
"""The rings between the engine and its bridge."""


@dataclass(frozen=True, kw_only=True)
class BridgeConfig:
    """What the bridge has to know.

    Attributes:
        endpoint: Base endpoint, ``ipc://DIRECTORY`` or ``tcp://HOST:PORT``.
        engine: The engine's name.
        mode: What clients are told: PAPER, LIVE or REPLAY.
        instruments: In the engine's order.
        rings: Files of :data:`RINGS`.
        bell: FIFO on which the engine wakes the bridge.
        engine_bell: FIFO on which the bridge wakes the engine.
        keys: Directory of the keys that clients must have; empty lets in who reaches the sockets.
        heartbeat_misses: Silent ticks after which a client counts as gone.
        rearm_token_file: File whose content a re-arm must bring with it; empty asks for nothing.
        grace_s: How long after a restart clients of live strategies have to come back.
        journal: File of the journal's buffer; empty where there is no journal.
        sessions: File of the traders' sessions; empty keeps them in memory, as long as the bridge lives.
        hold: Whether executions and answers to commands wait until their records are durable.
        lanes: Whether clients on this machine may use shared memory; never where there are keys.
    """

    endpoint: str
    engine: str
    mode: p.Mode
    instruments: Sequence[p.InstrumentInfo]
    rings: Mapping[str, str | Path]
    bell: str | Path
    engine_bell: str | Path
    keys: str = ""
    heartbeat_misses: int = p.HEARTBEAT_MISSES
    grace_s: float = 1.0
    rearm_token_file: str = ""
    journal: str | Path = ""
    sessions: str | Path = ""
    hold: bool = False
    lanes: bool = True

    def rearm_token(self) -> Callable[[], str] | None:
        """Reads the token that a re-arm must bring with it, at each; None if it needs none."""
        if not self.rearm_token_file:
            return None
        path = Path(self.rearm_token_file).expanduser()
        return lambda: path.read_text(encoding="utf-8").strip()
