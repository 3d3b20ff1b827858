"""The main function of the daemon's bridge process, and how much memory it may take."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bridge import protocol as p
from bridge.config import RINGS, BridgeConfig
from bridge.errors import BridgeError
from bridge.keyring import make_local
from bridge.server import run_bridge
from engine.core.errors import CapacityError, ConfigError
from engine.runtime import watch

if TYPE_CHECKING:
    from bridge.server import Log
    from engine.runtime.config import DaemonConfig
    from engine.runtime.rundir import RunDir

STATM = Path("/proc/self/statm")


def serve(
    config: DaemonConfig,
    run: RunDir,
    log: Log,
    ready: Callable[[], None],
) -> None:
    """The main function of the daemon's bridge process; SIGTERM ends it in good order.

    Args:
        config: The daemon's configuration.
        run: Its run directory, with rings and bells in place.
        log: Where to say what happens.
        ready: Called once the sockets are bound.

    Raises:
        ConfigError: The endpoint is not allowed or is taken.
        FileNotFoundError: A ring or the journal is missing.
        RingCorrupt: A ring or the journal cannot be right.
    """
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    bridge = config_of_run(config, run)
    log.info("listening on %s", bridge.endpoint)
    try:
        if bridge.keys:
            make_local(bridge.keys)
        run_bridge(
            bridge,
            stop=stopped.is_set,
            ready=ready,
            log=log,
            ticking=lambda control: _ticking(config, watch.of_run(config, run, control.ask, log)),
        )
    except BridgeError as error:
        raise ConfigError(f"bridge: {error}") from None


def config_of_run(config: DaemonConfig, run: RunDir) -> BridgeConfig:
    """The bridge of a daemon.

    Args:
        config: The daemon's configuration.
        run: Its run directory.
    """
    return BridgeConfig(
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
        lanes=config.bridge.lanes,
    )


def _ticking(config: DaemonConfig, look: Callable[[], None] | None) -> Callable[[], None]:
    """What the bridge does each heartbeat interval."""
    most = config.bridge.max_memory_mb << 20

    def tick() -> None:
        check_memory(most)
        if look is not None:
            look()

    return tick


def resident() -> int:
    """The memory that this process has in use, in bytes; 0 where the system does not say."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def check_memory(most: int) -> None:
    """Ends a bridge that somebody has filled: the supervisor starts a new one.

    libzmq bounds messages and queues, but not the parts of a message that is never finished.

    Args:
        most: Bytes that may be resident.

    Raises:
        CapacityError: More are.
    """
    if (now := resident()) > most:
        raise CapacityError(
            f"the bridge has {now >> 20} MB of memory, more than {most >> 20}: somebody floods it"
        )
