"""What the bridge's process has to know, and which endpoints it may open."""

from __future__ import annotations

import ipaddress
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bridge import protocol as p
from bridge.errors import BridgeError

if TYPE_CHECKING:
    from engine.runtime.config import DaemonConfig
    from engine.runtime.rundir import RunDir

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

    def rearm_token(self) -> Callable[[], str] | None:
        """Reads the token that a re-arm must bring with it, at each; None if it needs none."""
        if not self.rearm_token_file:
            return None
        path = Path(self.rearm_token_file).expanduser()
        return lambda: path.read_text(encoding="utf-8").strip()

    @classmethod
    def of_run(cls, config: DaemonConfig, run: RunDir) -> BridgeConfig:
        """The bridge of a daemon.

        Args:
            config: The daemon's configuration.
            run: Its run directory.
        """
        return cls(
            endpoint=config.bridge.endpoint or f"ipc://{run.path}",
            engine=config.engine.name,
            mode=config.engine.mode,
            instruments=[
                p.InstrumentInfo(i.symbol, i.tick_size, i.lot_size, i.contract_size, i.asset)
                for i in config.instruments
            ],
            rings={name: run.ring_path(name) for name in RINGS},
            bell=run.bell_path("bridge"),
            engine_bell=run.bell_path("engine"),
            keys=config.bridge.keys,
            heartbeat_misses=config.bridge.heartbeat_misses,
            grace_s=config.bridge.grace_s,
            rearm_token_file=config.control.rearm_token_file,
            journal=run.journal_buffer if config.journal.dir else "",
            sessions=run.sessions_file,
            hold=config.journal.acknowledge == "durable",
        )


def check_endpoint(endpoint: str, keyed: bool = False) -> None:
    """Refuses an endpoint that others could reach without a key.

    Args:
        endpoint: Base endpoint.
        keyed: Whether clients must have keys: then any address will do.

    Raises:
        BridgeError: Neither ipc nor tcp, a wildcard, or not loopback without keys.
    """
    try:
        p.socket_endpoint(endpoint, "orders")
    except ValueError as error:
        raise BridgeError(str(error)) from None
    if endpoint.startswith("ipc://"):
        return
    host = endpoint.removeprefix("tcp://").rpartition(":")[0].strip("[]")
    if host in ("*", "0.0.0.0", "::", ""):
        raise BridgeError(f"{endpoint}: name one address, clients are told it")
    if keyed or host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise BridgeError(
            f"{endpoint}: not loopback, and anybody who reaches it could trade: "
            "make keys with 'ringbook keys make' and name their directory as bridge.keys"
        )


def private_directory(path: Path, make: bool = True) -> None:
    """Makes a directory that only its owner can enter.

    Args:
        path: The directory; one that exists must be like that already.
        make: Whether it is made if it is missing.

    Raises:
        BridgeError: It cannot be made, or belongs to somebody else.
    """
    try:
        if make:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.stat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
            raise BridgeError(f"{path}: not a directory of this user")
        if stat.S_IMODE(info.st_mode) & 0o077:
            mode = stat.S_IMODE(info.st_mode)
            raise BridgeError(
                f"{path}: others may enter it (mode {mode:o}): chmod 700, or name another directory"
            )
    except OSError as error:
        raise BridgeError(f"{path}: {error.strerror}") from None
