"""Where a daemon keeps its run: pid lock, state, log, sockets, and its rings in shared memory.

One directory a daemon, named after the engine. The lock on ``daemon.pid`` is the truth about whether it
runs: the kernel drops it with the process, however that ends, so a stale directory is never mistaken.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import stat
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from engine.core.errors import AlreadyRunning, ConfigError

DEFAULT_NAME = "main"
RING_SLOTS = {
    "feed": 1 << 15,
    "orders_in": 1 << 12,
    "control_in": 1 << 10,
    "orders_out": 1 << 14,
    "market_out": 1 << 15,
    "telemetry_out": 1 << 12,
    "control_out": 1 << 10,
}
"""The rings of ``runtime/records.pxd`` and their slots of 256 bytes."""
RINGS = tuple(RING_SLOTS)
ROLES = ("engine", "journaller", "bridge", "feed", "recorder")
"""The processes below the supervisor; journaller and recorder where there is a journal and a store."""
MAX_SOCKET_PATH = 107
"""Longest path of a Unix socket on Linux."""


class RunState(msgspec.Struct, kw_only=True):
    """What the supervisor says about itself in ``state.json``.

    Attributes:
        name: The engine's name.
        mode: PAPER.
        state: starting, running, stopping or stopped.
        pid: The supervisor's.
        endpoint: The bridge's base endpoint.
        started: Wall clock, nanoseconds.
        config: The configuration file.
        config_hash: Of the configuration with the environment applied.
        run_id: Names the run and its journal.
        resumed: The last record of a run that was unfinished and goes on; 0 of a new run.
        other_build: Whether it may go on although build or strategies are others.
        pids: Of the processes that run now, by role.
        restarts: How often each was started again.
        message: Why it stopped, where it did on its own.
    """

    name: str
    mode: str
    state: str
    pid: int
    endpoint: str
    started: int
    config: str
    config_hash: str
    run_id: str = ""
    resumed: int = 0
    other_build: bool = False
    pids: dict[str, int] = {}
    restarts: dict[str, int] = {}
    message: str = ""


def default_base(environ: Mapping[str, str] | None = None) -> Path:
    """``$RINGBOOK_RUN_DIR``, else ``$XDG_RUNTIME_DIR/ringbook``, else ``/tmp/ringbook-<uid>``."""
    environ = os.environ if environ is None else environ
    if base := environ.get("RINGBOOK_RUN_DIR"):
        return Path(base)
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "ringbook"
    return Path(f"/tmp/ringbook-{os.getuid()}")


def default_endpoint(name: str = DEFAULT_NAME, environ: Mapping[str, str] | None = None) -> str:
    """Where clients find the daemon of that name when nothing else is said.

    The endpoint that a running daemon wrote down wins, so a daemon on tcp is found as well.
    """
    run = RunDir(default_base(environ) / name)
    state = run.read_state()
    return state.endpoint if state is not None and run.owner() is not None else f"ipc://{run.path}"


class RunDir:
    """The files of one daemon.

    Args:
        path: The directory; it need not exist yet.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.pid_file = self.path / "daemon.pid"
        self.state_file = self.path / "state.json"
        self.config_file = self.path / "config.json"
        self.log_file = self.path / "daemon.log"
        self.console_file = self.path / "console.log"
        self.changes_file = self.path / "changes.jsonl"
        self.switches_file = self.path / "kill.json"
        self.sessions_file = self.path / "sessions.table"
        self.watch_file = self.path / "watch.json"
        self.recorder_file = self.path / "recorder.json"
        self.snapshots_file = self.path / "snapshots.json"
        shared = Path("/dev/shm")
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:16]
        self.ring_dir = (
            shared / f"ringbook-{os.getuid()}-{digest}" if shared.is_dir() else self.path / "rings"
        )
        self.page_file = self.ring_dir / "status.page"
        # Beside the rings, which a start cleans away: what an engine has accepted outlives that.
        self.journal_buffer = str(self.ring_dir.with_name(f"{self.ring_dir.name}.journal"))
        self._lock: int | None = None

    def page_beat(self) -> int:
        """A number that changes each time the engine writes its status page; 0 before the first time."""
        try:
            with self.page_file.open("rb") as page:
                return int.from_bytes(page.read(8), "little")
        except OSError:
            return 0

    def ring_path(self, ring: str) -> str:
        """The file of one of :data:`RINGS`."""
        return str(self.ring_dir / RINGS[RINGS.index(ring)])

    def bell_path(self, consumer: str) -> str:
        """The FIFO on which the engine or the bridge sleeps."""
        return str(self.ring_dir / f"{consumer}.bell")

    def make(self) -> None:
        """Creates the directory for us alone.

        Raises:
            ConfigError: It is not ours to write, or its path is too long for sockets.
        """
        if len(str(self.path / "telemetry.sock").encode()) > MAX_SOCKET_PATH:
            raise ConfigError(f"run directory {self.path}: too long for a Unix socket, choose a shorter one")
        _private_directory(self.path)

    def claim(self) -> None:
        """Makes the directory ours until :meth:`release` or our end, and cleans what a dead daemon left.

        Raises:
            AlreadyRunning: A living daemon has it; the message names its pid.
            ConfigError: As :meth:`make`.
        """
        self.make()
        try:
            lock = os.open(self.pid_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"run directory {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise AlreadyRunning(
                f"a daemon runs in {self.path} (pid {self.owner() or 'unknown'}); "
                "stop it or give this one another name"
            ) from None
        self._lock = lock
        try:
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            self.release()
            raise ConfigError(f"run directory {self.path}: {error.strerror}") from None
        self._end_orphans()
        self._remove_leftovers()
        _private_directory(self.ring_dir)

    def owner(self) -> int | None:
        """The pid of the daemon that has claimed the directory, or None."""
        try:
            probe = os.open(self.pid_file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(probe, 32, 0).strip()
            return int(text) if text.isdigit() else 0
        finally:
            os.close(probe)
        return None

    def release(self) -> None:
        """Unlinks the rings and gives the directory up; log and state stay to be read."""
        if self._lock is None:
            return
        self._remove_leftovers(keep_state=True)
        os.ftruncate(self._lock, 0)
        os.close(self._lock)
        self._lock = None

    def write_state(self, state: RunState) -> None:
        """Replaces ``state.json`` atomically."""
        replace_json(self.state_file, state)

    def read_state(self) -> RunState | None:
        """The last state that a daemon wrote here, or None where there is none to read."""
        try:
            return msgspec.json.decode(self.state_file.read_bytes(), type=RunState)
        except (OSError, msgspec.DecodeError):
            return None

    def write_watch(self, report: Any) -> None:
        """Replaces ``watch.json``, what became of the last edit of the configuration, atomically."""
        replace_json(self.watch_file, report)

    def read_watch(self) -> dict[str, Any] | None:
        """What became of the last edit of the configuration; None without one."""
        try:
            return msgspec.json.decode(self.watch_file.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.MsgspecError):
            return None

    def write_snapshots(self, report: Any) -> None:
        """Replaces ``snapshots.json``, what became of the run's snapshots, atomically."""
        replace_json(self.snapshots_file, report)

    def read_snapshots(self) -> dict[str, Any] | None:
        """What became of the run's snapshots; None without a standby."""
        try:
            return msgspec.json.decode(self.snapshots_file.read_bytes(), type=dict[str, Any])
        except (OSError, msgspec.MsgspecError):
            return None

    def write_config(self, config: Any) -> None:
        """Keeps the configuration as loaded, for the processes of the run.

        Raises:
            ConfigError: There is no room for it.
        """
        try:
            replace_json(self.config_file, config)
        except OSError as error:
            raise ConfigError(f"run directory {self.path}: {error.strerror}") from None

    def _end_orphans(self) -> None:
        """Ends processes that outlived their supervisor, before their rings go away beneath them."""
        state = self.read_state()
        orphans = [pid for pid in (state.pids.values() if state else ()) if self._is_ours(pid)]
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 2.0
        while any(self._is_ours(pid) for pid in orphans) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _is_ours(self, pid: int) -> bool:
        # A pid may have been given to somebody else: the command line must name this directory.
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return b"engine.runtime.processes" in words and str(self.path).encode() in words

    def _remove_leftovers(self, *, keep_state: bool = False) -> None:
        shutil.rmtree(self.ring_dir, ignore_errors=True)
        for socket in self.path.glob("*.sock"):
            socket.unlink(missing_ok=True)
        if not keep_state:
            self.state_file.unlink(missing_ok=True)
            self.watch_file.unlink(missing_ok=True)


def _private_directory(path: Path) -> None:
    """Creates a directory that only we may read, and refuses one that somebody else has put there."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = path.lstat()
    except OSError as error:
        raise ConfigError(f"run directory {path}: {error.strerror}") from None
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid():
        raise ConfigError(f"run directory {path}: not a directory of this user")
    if info.st_mode & 0o077:
        mode = stat.S_IMODE(info.st_mode)
        raise ConfigError(f"run directory {path}: others may enter it (mode {mode:o}): chmod 700 it")


def replace_json(path: Path, value: Any) -> None:
    """Writes a file anew that others may read meanwhile.

    Args:
        path: The file.
        value: What is in it.

    Raises:
        OSError: The system refuses; the file is as it was.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
