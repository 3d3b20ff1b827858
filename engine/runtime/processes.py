"""The daemon's processes: ``python -m engine.runtime.processes ROLE RUN_DIR PARENT READY_FD [WORD_FD]``.

Each says one word on ``READY_FD``: ``ok`` when it does its work, or why it cannot. SIGTERM asks it to end
in good order, and so does the death of its parent. With ``WORD_FD`` an engine stands by, and takes over once
there is something to read on it.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import time
from pathlib import Path

from bridge.errors import BridgeError
from engine.core.errors import RingbookError
from engine.core.slices import ask_for_short_slices
from engine.runtime import config as daemon_config
from engine.runtime.config import DaemonConfig
from engine.runtime.logging import configure, in_background
from engine.runtime.parent import die_with_parent
from engine.runtime.rundir import ROLES, RunDir


class Ready:
    """The one word a process owes its supervisor.

    Args:
        fd: The write end of the supervisor's pipe.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def ok(self) -> None:
        """The process does its work."""
        self._say(b"ok\n")

    def note(self, word: str) -> None:
        """Says something on the way there, a line of its own."""
        os.write(self._fd, f"{word}\n".encode())

    def fail(self, message: str) -> None:
        """The process cannot start, and why; after :meth:`ok` it goes to nobody."""
        self._say(message.replace("\n", " ").encode()[:4096] + b"\n")

    def _say(self, text: bytes) -> None:
        if self._fd >= 0:
            os.write(self._fd, text)
            os.close(self._fd)
            self._fd = -1


def main(argv: list[str]) -> int:
    """Runs one process of the daemon.

    Args:
        argv: Role, run directory, the supervisor's pid, the descriptor to say ready on; that of the word to
            take over, of an engine that is to stand by.

    Returns:
        The exit code: 0 after an ordered end, 2 for a refused input, 3 for a fault of ours.
    """
    role, path, parent, ready_fd, *word = argv
    if role not in ROLES:
        raise SystemExit(f"unknown role {role!r}")
    die_with_parent(int(parent))
    # Control-C in the terminal is the supervisor's to hear; it ends us in its order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run, ready = RunDir(path), Ready(int(ready_fd))
    log = configure(role, run.log_file)
    try:
        config = daemon_config.of_run(run)
        log.setLevel(config.engine.log_level.upper())
        if word:
            _standby(config, run, log, ready, int(word[0]))
            return 0
        work = {"journaller": _journaller, "feed": _feed, "bridge": _bridge, "recorder": _recorder}
        work.get(role, _engine)(config, run, log, ready)
        return 0
    except (RingbookError, BridgeError) as error:
        ready.fail(str(error))
        log.error("%s", error)
        return 2
    except Exception as error:
        ready.fail(f"the {role} process failed: {type(error).__name__}: {error}")
        log.exception("%s", error)
        return 3


def _engine(config: DaemonConfig, run: RunDir, log: logging.Logger, ready: Ready) -> None:
    from engine.runtime.engine import EngineLoop
    from engine.runtime.resuming import config_of_run
    from engine.runtime.switches import restore_switches

    _schedule(config)
    config = config_of_run(config, run)
    with in_background(log):
        if config.journal.dir:
            from engine.runtime.returning import open_journal

            loop = open_journal(lambda: EngineLoop.of_run(config, run, log), config, run, log)
        else:
            loop = EngineLoop.of_run(config, run, log)
            restore_switches(loop.kernel, run, log)
            loop.switches_restored()
        loop.run(ready.ok)


def _standby(config: DaemonConfig, run: RunDir, log: logging.Logger, ready: Ready, word: int) -> None:
    """Follows the engine, and makes a copy of itself that takes over each time the supervisor says so."""
    from engine.journal.wal import Journal
    from engine.runtime.engine import EngineLoop
    from engine.runtime.ledger import Ledger
    from engine.runtime.metrics import create_page
    from engine.runtime.resuming import config_of_run
    from engine.runtime.returning import Return
    from engine.runtime.snapshotting import Snapshots

    def called(seconds: float) -> bool:
        if not select.select([word], [], [], seconds)[0]:
            return False
        if not os.read(word, 3):
            sys.exit(0)
        return True

    supervisor = os.getppid()
    config = config_of_run(config, run)
    # Without threads until then, of which a copy would have none.
    buffer = Journal.attach(run.journal_buffer, prefault=True)
    way = Return(lambda: EngineLoop.of_run(config, run, log, standby=True), buffer, config, log, dead=False)
    snapshots = Snapshots(config, run, buffer.run_id, log)
    while True:
        way.follow(called, lambda: ready.note("by"), snapshots.look)
        if _is_copy(supervisor):
            break
    ready.note(f"pid {os.getpid()}")
    os.close(word)
    _schedule(config)
    with in_background(log):
        way.loop.show_on(create_page(run))
        way.complete(Ledger(run, log))
        way.loop.run(ready.ok)


def _is_copy(supervisor: int) -> bool:
    """Makes a copy of this process that is the supervisor's child; True in the copy."""
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return False
    between = os.getpid()
    if os.fork():
        os._exit(0)
    while os.getppid() == between:
        time.sleep(0.0001)
    die_with_parent(supervisor)
    return True


def _schedule(config: DaemonConfig) -> None:
    ask_for_short_slices()
    if config.engine.cpu is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {config.engine.cpu})


def _journaller(config: DaemonConfig, run: RunDir, log: logging.Logger, ready: Ready) -> None:
    from engine.journal.journaller import Journaller
    from engine.journal.segments import Sizes
    from engine.journal.wal import Journal
    from engine.runtime.recovery import run_directory

    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    with Journal.attach(run.journal_buffer) as buffer:
        directory = run_directory(config, buffer.run_id)
        sizes = Sizes(segment=config.journal.segment_mb << 20)
        with Journaller(buffer, directory, sizes=sizes) as journaller:
            ready.ok()
            log.info("journal in %s", directory)
            journaller.run(lambda: bool(asked))


def _feed(config: DaemonConfig, run: RunDir, log: logging.Logger, ready: Ready) -> None:
    from engine.runtime.feeder import of_run

    of_run(config, run, log).run(ready.ok)


def _recorder(config: DaemonConfig, run: RunDir, log: logging.Logger, ready: Ready) -> None:
    from engine.runtime.recorder import main as record

    record(config, run, log, ready.ok)


def _bridge(config: DaemonConfig, run: RunDir, log: logging.Logger, ready: Ready) -> None:
    from bridge.process import serve

    ask_for_short_slices()
    # A standard error that nobody reads must not stop the bridge.
    with in_background(log):
        serve(config, run, log, ready.ok)


if __name__ == "__main__":
    # Strategies given as package.module:Class may lie in the directory the daemon was started from.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    sys.exit(main(sys.argv[1:]))
