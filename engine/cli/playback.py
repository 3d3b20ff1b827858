"""``ringbook replay --speed``: a run from its journal with a bridge around it, for the terminal UI."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from bridge.config import RINGS, BridgeConfig
from bridge.process import config_of_run
from bridge.server import run_bridge
from engine.core.ring import Bell, Ring
from engine.core.times import shown
from engine.journal.reader import JournalReader
from engine.runtime.config import DaemonConfig
from engine.runtime.engine import EngineLoop
from engine.runtime.images import Start, earliest
from engine.runtime.playback import Playback
from engine.runtime.records import SLOT_BYTES
from engine.runtime.recovery import Beginning, private_loop, quiet_log
from engine.runtime.rundir import RING_SLOTS, RunDir, default_base

FOLDER = "replays"
"""Below the directory of all runs; not beside them, so that no command for a daemon ever finds a replay."""
MISSES = 50
"""Silent ticks after which a client has gone: those who only watch hurt nobody by their silence."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
TICK_S = 0.5
"""Between two looks at the progress."""
TUI_PATIENCE_S = 5.0


class BridgeThread(threading.Thread):
    """A bridge beside the loop.

    Args:
        config: Its configuration.
    """

    def __init__(self, config: BridgeConfig) -> None:
        super().__init__(name="ringbook-bridge", daemon=True)
        self._config = config
        self._stopped, self._ready = threading.Event(), threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Serves until :meth:`end`."""
        try:
            run_bridge(self._config, stop=self._stopped.is_set, ready=self._ready.set, log=quiet_log())
        except BaseException as error:
            self._error = error
        finally:
            self._ready.set()

    def begin(self) -> None:
        """Returns once clients may come, or raises why they may not."""
        self.start()
        self._ready.wait()
        self.check()

    def check(self) -> None:
        """Raises what has ended it."""
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        """Says goodbye to all clients."""
        if self.is_alive():
            self._stopped.set()
            self.join()


@contextmanager
def directory() -> Iterator[RunDir]:
    """A run directory for this process, which is gone afterwards, and so is what killed replays have left."""
    base = default_base() / FOLDER
    for old in base.glob("*/daemon.pid"):
        left = RunDir(old.parent)
        if left.owner() is None:
            shutil.rmtree(left.ring_dir, ignore_errors=True)
            shutil.rmtree(left.path, ignore_errors=True)
    run = RunDir(base / str(os.getpid()))
    run.claim()
    try:
        yield run
    finally:
        run.release()
        shutil.rmtree(run.path, ignore_errors=True)


@contextmanager
def signals() -> Iterator[threading.Event]:
    """An event that SIGTERM, SIGINT and SIGHUP set, instead of what they do otherwise."""
    asked = threading.Event()
    before = {number: signal.signal(number, lambda *_: asked.set()) for number in STOP_SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def bridge_config(config: DaemonConfig, run: RunDir) -> BridgeConfig:
    """The bridge of a replay: that of the run, but on this machine only and for those who watch.

    Args:
        config: The run's configuration.
        run: The replay's directory.
    """
    return replace(
        config_of_run(config, run),
        endpoint=f"ipc://{run.path}",
        mode="REPLAY",
        keys="",
        heartbeat_misses=MISSES,
        rearm_token_file="",
        # Nothing is written, so nothing waits for a disk.
        journal="",
        hold=False,
    )


class Served:
    """A playback with its bridge.

    Args:
        journal: The journal's directory.
        begun: What its run began with.
        run: Where rings and sockets are to be.
        speed: Market seconds a second; 0 is as fast as they are read.
        until: Engine time to stop at.
    """

    def __init__(self, journal: Path, begun: Beginning, run: RunDir, *, speed: float, until: int) -> None:
        bells = {name: Bell.named(run.bell_path(name)) for name in ("engine", "bridge")}
        rings = {
            name: Ring.create(
                run.ring_path(name),
                RING_SLOTS[name],
                SLOT_BYTES,
                bell=bells["bridge"] if name.endswith("_out") else None,
            )
            for name in RINGS
        }
        self.ends = min(until, JournalReader(journal).last()[1])
        self.bridge = BridgeThread(bridge_config(begun.config, run))
        self.endpoint = f"ipc://{run.path}"
        self.start = earliest(
            lambda: private_loop(begun.config, begun.switches, quiet_log(), rings, bells["engine"]),
            journal,
            begun,
        )
        self.loop: EngineLoop = self.start.loop
        outgoing = [ring for name, ring in rings.items() if name.endswith("_out")]
        self.playback = Playback(self.loop, self.start.replay, outgoing, speed=speed, until=until)


class Progress:
    """What a person is told meanwhile: on a terminal a line written over, elsewhere what has changed.

    Args:
        served: Whose progress it is.
        as_json: One JSON object a line, and only at the beginning.
        live: Whether there is a terminal to write over.
    """

    def __init__(self, served: Served, *, as_json: bool, live: bool) -> None:
        self._served, self._json, self._live = served, as_json, live and not as_json
        self._rest, self._next, self._first = "", 0.0, 0

    def serving(self) -> None:
        """Clients may come."""
        endpoint = self._served.endpoint
        if self._json:
            print(json.dumps({"endpoint": endpoint, "mode": "REPLAY"}), flush=True)
        else:
            print(f"serving the run:  ringbook tui --connect {endpoint}\nCtrl-C ends it", flush=True)
            if self._served.start.seq:
                since = shown(self._served.loop.now)
                print(f"it begins at {since}: what was before has been removed", flush=True)

    def look(self) -> None:
        """Says how far it is, not too often."""
        playback, now = self._served.playback, time.monotonic()
        if self._json or (now < self._next and playback.rest == self._rest):
            return
        self._next = now + TICK_S
        if playback.rest != self._rest:
            self._rest = playback.rest
            self._say(f"stands: {self._rest}" if self._rest else "goes on", "\n")
        elif self._live and not self._rest:
            self._say("plays", "")

    def _say(self, what: str, end: str) -> None:
        ts = self._served.loop.now
        self._first = self._first or ts
        whole = self._served.ends - self._first
        known = whole > 0 and ts > self._first
        part = f"{100 * min(1.0, (ts - self._first) / whole):5.1f} %  " if known else ""
        start = "\r\x1b[K" if self._live else ""
        print(f"{start}{shown(ts)[:23]}Z  {part}{what}", end=end, flush=True)


def play(journal: Path, begun: Beginning, args: Any, *, since: int | None, until: int) -> tuple[Start, str]:
    """Serves a run until somebody ends it.

    Args:
        journal: The journal's directory.
        begun: What its run began with.
        args: The command's: ``speed``, ``tui`` and ``json``.
        since: Engine time from which on it is shown; the whole run if None.
        until: Engine time to stop at.

    Returns:
        The repetition as it is then, and where it departed from the run; empty if nowhere.
    """
    with directory() as run, signals() as asked:
        served = Served(journal, begun, run, speed=1.0 if args.speed is None else args.speed, until=until)
        playback, bridge = served.playback, served.bridge
        if since is not None:
            playback.seek(since, asked.is_set)
        playback.begin()
        bridge.begin()
        try:
            if args.tui:
                with terminal(served.endpoint) as screen:
                    while not asked.is_set() and screen.poll() is None:
                        playback.turn()
                        bridge.check()
            else:
                progress = Progress(served, as_json=args.json, live=sys.stdout.isatty())
                progress.serving()
                while not asked.is_set():
                    playback.turn()
                    bridge.check()
                    progress.look()
                if sys.stdout.isatty() and not args.json:
                    print()
        finally:
            bridge.end()
    return served.start, playback.diverged


@contextmanager
def terminal(endpoint: str) -> Iterator[subprocess.Popen[bytes]]:
    """The terminal UI as a process of its own, ended with us.

    Args:
        endpoint: What it connects to.
    """
    command = [sys.executable, "-m", "engine.cli.main", "tui", "--connect", endpoint]
    with subprocess.Popen(command) as screen:
        try:
            yield screen
        finally:
            screen.terminate()
            try:
                screen.wait(TUI_PATIENCE_S)
            except subprocess.TimeoutExpired:
                screen.kill()
