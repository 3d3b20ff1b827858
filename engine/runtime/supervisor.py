"""The daemon's parent process: starts its processes, brings back those that are killed, and stops in order.

A run that was left unfinished goes on. A killed engine comes back from its journal, or its standby takes
over; without a journal its death ends the daemon. A killed feed goes on at the cursor that its ring holds, a
killed bridge asks the engine for a snapshot of everything. Under systemd, the watchdog hears of us for as
long as the engine's own status page is being written.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.core.errors import RingbookError
from engine.core.ring import Bell, Ring
from engine.core.settings import config_hash
from engine.runtime.children import Child, Spawner, describe_exit, reap_orphans
from engine.runtime.config import DaemonConfig
from engine.runtime.logging import configure
from engine.runtime.notify import Notifier
from engine.runtime.records import SLOT_BYTES
from engine.runtime.rundir import RING_SLOTS, ROLES, RunState
from engine.runtime.spare import Spare

BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
STABLE_S = 30.0
"""A process that lived this long starts its back-off from the beginning."""
START_TIMEOUT_S = 60.0
RESUME_SIGN_S = 5.0
"""How often systemd is told that an engine is resuming a long run."""
STOP_LIMIT_S = 5.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class StartFailed(RingbookError):
    """A process of the daemon could not start; the message is its own."""


class Supervisor:
    """Runs one daemon in this process and its children.

    Args:
        config: The configuration, checked.
        source: The file it came from.
        command: What starts a process; role, run directory, our pid and a descriptor are appended.
        notifier: Tells systemd how we are; made of our environment by default.
        new: Whether to begin a new run even if the last one is unfinished.
        other_build: Whether an unfinished run may go on with another build or other code of its strategies.
    """

    def __init__(
        self,
        config: DaemonConfig,
        source: str | Path,
        *,
        command: Sequence[str] = (sys.executable, "-P", "-m", "engine.runtime.processes"),
        notifier: Notifier | None = None,
        new: bool = False,
        other_build: bool = False,
    ) -> None:
        self._notifier = Notifier() if notifier is None else notifier
        self._next_sign = 0.0
        self._beat = -1
        self._config, self._new = config, new
        self._run = config.run_dir()
        self._log = configure("daemon", None)
        absent = {"journaller": not config.journal.dir, "recorder": not config.recorder.enabled}
        roles = [role for role in ROLES if not absent.get(role)]
        self._children = {role: Child(role) for role in roles}
        self._selector = selectors.DefaultSelector()
        self._spawner = Spawner(command, self._run.path, self._selector)
        keeps = bool(config.journal.dir) and config.journal.standby and Spare.possible()
        self._spare = Spare(self._spawner, self._log) if keeps else None
        self._rings: list[Ring | Bell] = []
        self._signals: list[int] = []
        self._state = RunState(
            name=config.engine.name,
            mode=config.engine.mode,
            state="starting",
            pid=os.getpid(),
            endpoint=config.endpoint(),
            started=time.time_ns(),
            config=str(source),
            config_hash=config_hash(config),
            run_id=(time.time_ns().to_bytes(8, "big") + os.urandom(8)).hex(),
            other_build=other_build,
        )

    def run(self, on_ready: Callable[[RunState], None] | None = None) -> int:
        """Claims the run directory, starts everything and stays until a signal or the engine's end.

        Args:
            on_ready: Called once, when the daemon answers.

        Returns:
            0 after an ordered stop, 1 when the engine died or had to be killed.

        Raises:
            AlreadyRunning: A daemon has the directory.
            CannotResume: There is an unfinished run that this configuration cannot go on with.
            StartFailed: A process did not start; everything is stopped again.
        """
        self._state.pid = os.getpid()
        left = self._run.read_state()
        self._run.claim()
        self._log = configure("daemon", self._run.log_file)
        self._log.setLevel(self._config.engine.log_level.upper())
        wakeup_r, wakeup_w = os.pipe()
        os.set_blocking(wakeup_r, False)
        os.set_blocking(wakeup_w, False)
        before = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGCHLD)}
        previous_fd = signal.set_wakeup_fd(wakeup_w)
        for number in before:
            signal.signal(number, _ignore)
        self._selector.register(wakeup_r, selectors.EVENT_READ)
        self._wakeup = wakeup_r
        try:
            reap_orphans(self._spare is not None)
            self._look_back(left)
            return self._supervise(on_ready)
        finally:
            self._kill_all()
            reap_orphans(False)
            signal.set_wakeup_fd(previous_fd)
            for number, handler in before.items():
                signal.signal(number, handler)
            self._selector.close()
            os.close(wakeup_r)
            os.close(wakeup_w)
            for ring in self._rings:
                ring.close()
            self._write_state("stopped")
            self._run.release()
            self._notifier.close()

    def _look_back(self, left: RunState | None) -> None:
        """Goes on with the last run if that is unfinished, and brings to disk what is left of it."""
        if "journaller" not in self._children:
            return
        from engine.runtime.unfinished import config_in_force, last_run

        last = last_run(self._config, self._run, self._log, new=self._new)
        if last is not None:
            self._state.run_id, self._state.resumed = last.begun.run_id, last.found.seq
            self._config = config_in_force(self._config, self._run, left, last)

    def _supervise(self, on_ready: Callable[[RunState], None] | None) -> int:
        self._run.write_config(self._config)
        self._make_rings()
        self._write_state("starting")
        if not self._start(list(self._children)):
            return self._stop("stopped while it was starting")
        self._write_state("running")
        self._log.info("trading in %s on %s", self._state.mode, self._state.endpoint)
        self._notifier.ready(f"trading in {self._state.mode} on {self._state.endpoint}")
        if on_ready is not None:
            on_ready(self._state)
        while True:
            # Looks first: a process may have ended while another one was starting.
            if self._stop_requested():
                return self._stop("asked to stop")
            if not self._children["engine"].alive and not self._bring_back():
                return self._engine_died()
            self._reap_and_restart()
            if self._spare is not None and self._spare.keep():
                self._write_state("running")
            self._sign_of_life()
            self._wait(self._until_next())

    # --- processes ------------------------------------------------------------------------------

    def _make_rings(self) -> None:
        for name, slots in RING_SLOTS.items():
            self._rings.append(Ring.create(self._run.ring_path(name), slots, SLOT_BYTES))
        for consumer in ("engine", "bridge"):
            self._rings.append(Bell.named(self._run.bell_path(consumer)))

    def _start(self, roles: list[str]) -> bool:
        """Starts processes one after the other; False when a signal came in between."""
        for role in roles:
            self._spawner.spawn(self._children[role])
            if not self._await_ready(self._children[role]):
                return False
        return True

    def _bring_back(self) -> bool:
        """Has a killed engine come back from its journal; False if there is none, or if it would not help.

        The bridge lives on: what it has passed on was journaled before, and what it had not been told yet is
        published by the engine that comes back.
        """
        child = self._children["engine"]
        # What ended it by its own fault would end it again at the same input.
        if "journaller" not in self._children or child.process.returncode >= 0:
            return False
        child.failures = 0 if child.ready else child.failures + 1
        if child.failures >= len(BACKOFF_S):
            return False
        # Else the standby has died before it had made one.
        if child.process.pid is not None:
            end = describe_exit(child.process.returncode)
            self._log.error("the engine is gone (%s); bringing it back from its journal", end)
            child.restarts += 1
        self._spawner.close(child)
        if self._spare is None or not self._spare.hand_over(child):
            self._spawner.spawn(child)
        self._write_state("running")
        return True

    def _await_ready(self, child: Child) -> bool:
        """Waits for a process's first word; False when a signal came before it."""
        deadline = time.monotonic() + START_TIMEOUT_S
        resuming = child.role == "engine" and self._state.resumed > 0
        while not child.ready:
            if self._stop_requested():
                return False
            if resuming and child.ready_fd >= 0:
                # As long as its run is; the log says how far it is.
                deadline = time.monotonic() + RESUME_SIGN_S
                self._notifier.starting(f"resuming a run of {self._state.resumed} records", START_TIMEOUT_S)
            if child.ready_fd < 0 or time.monotonic() > deadline:
                text = child.text.decode(errors="replace").strip()
                end = describe_exit(child.process.wait(1)) if not self._still_runs(child) else "no answer"
                raise StartFailed(text or f"the {child.role} process did not start: {end}")
            self._wait(max(0.0, deadline - time.monotonic()))
        self._write_state(self._state.state)
        return True

    def _still_runs(self, child: Child) -> bool:
        try:
            child.process.wait(1)
        except subprocess.TimeoutExpired:
            return True
        return False

    def _reap_and_restart(self) -> None:
        now = time.monotonic()
        changed = False
        for child in self._children.values():
            if child.role == "engine" or child.done:
                continue
            if child.respawn_at is None and not child.alive:
                changed = True
                self._note_end(child, now)
            elif child.respawn_at is not None and now >= child.respawn_at:
                changed = True
                child.restarts += 1
                self._spawner.spawn(child)
        if changed:
            self._write_state("running")

    def _note_end(self, child: Child, now: float) -> None:
        code, said = child.process.returncode, self._spawner.last_words(child)
        if code == 0:
            child.done = True
            self._log.info("the %s has ended", child.role)
            return
        # Whom somebody else has killed has done nothing wrong.
        if now - child.started > STABLE_S or (child.ready and code == -signal.SIGKILL):
            child.failures = 0
        delay = BACKOFF_S[min(child.failures, len(BACKOFF_S) - 1)]
        child.failures += 1
        child.respawn_at = now + delay
        self._log.warning(
            "the %s is gone (%s%s); starting it again in %g s; the engine goes on",
            child.role,
            describe_exit(code),
            f": {said}" if said else "",
            delay,
        )

    def _engine_died(self) -> int:
        child = self._children["engine"]
        code, said = child.process.returncode, self._spawner.last_words(child)
        if code == 0:
            return self._stop("the engine has stopped")
        end = f"{describe_exit(code)}: {said}" if said else describe_exit(code)
        message = f"the engine died ({end}); its open orders and positions are lost with it"
        self._state.message = message
        self._log.error("%s", message)
        self._stop(message)
        return 1

    # --- stopping -------------------------------------------------------------------------------

    def _stop(self, why: str) -> int:
        self._write_state("stopping")
        self._notifier.stopping(why)
        self._log.info("stopping: %s", why)
        limit = time.monotonic() + STOP_LIMIT_S
        self._signals.clear()
        if self._spare is not None:
            self._spare.end()
        self._end(["engine"], limit - 1.5)
        # The engine's last records are in the rings by now: the bridge passes them on and leaves.
        self._end([role for role in self._children if role != "engine"], limit - 0.5)
        killed = self._kill_all()
        if killed:
            self._log.warning("had to kill %s", ", ".join(killed))
        self._log.info("stopped")
        ended = self._children["engine"]
        if not ended.ready or ended.process.returncode == 0:
            journaller = self._children.get("journaller")
            if (
                journaller is not None
                and journaller.process is not None
                and journaller.process.returncode == 0
            ):
                # All of it is on disk.
                Path(self._run.journal_buffer).unlink(missing_ok=True)
            return 0
        if not self._state.message:
            end = describe_exit(ended.process.returncode)
            self._state.message = f"the engine did not stop in good order ({end})"
            self._log.error("%s", self._state.message)
        return 1

    def _end(self, roles: list[str], deadline: float) -> None:
        children = [self._children[role] for role in roles]
        for child in children:
            if child.alive:
                child.process.terminate()
        while any(child.alive for child in children) and time.monotonic() < deadline:
            if self._stop_requested():
                return  # asked twice: no more patience
            self._wait(max(0.0, deadline - time.monotonic()))

    def _kill_all(self) -> list[str]:
        killed = []
        if self._spare is not None:
            self._spare.end()
        for child in self._children.values():
            if child.alive:
                killed.append(child.role)
                child.process.kill()
            if child.process is not None:
                child.process.wait()
            self._spawner.close(child)
        return killed

    # --- waiting --------------------------------------------------------------------------------

    def _sign_of_life(self) -> None:
        """Tells the watchdog that we live, if the engine has written its page since the last time."""
        now = time.monotonic()
        if self._notifier.interval is None or now < self._next_sign:
            return
        self._next_sign = now + self._notifier.interval
        beat = self._run.page_beat()
        if beat != self._beat:
            self._beat = beat
            self._notifier.alive()

    def _until_next(self) -> float | None:
        children = [*self._children.values(), *([self._spare.child] if self._spare is not None else [])]
        times = [child.respawn_at for child in children if child.respawn_at is not None and not child.done]
        if self._notifier.interval is not None:
            times.append(self._next_sign)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _wait(self, timeout: float | None) -> None:
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                self._signals.extend(os.read(self._wakeup, 256))
            else:
                self._read_ready(key.data)

    def _read_ready(self, child: Child) -> None:
        if self._spare is not None and child is self._spare.child:
            self._spare.hear()
            self._write_state(self._state.state)
            return
        self._spawner.read(child)
        if child.ready:
            self._write_state(self._state.state)

    def _stop_requested(self) -> bool:
        return any(number in STOP_SIGNALS for number in self._signals)

    def _write_state(self, state: str) -> None:
        self._state.state = state
        spares = [] if self._spare is None else [self._spare.child]
        alive = [child for child in (*self._children.values(), *spares) if child.alive]
        self._state.pids = {c.role: c.process.pid for c in alive if c.process.pid is not None}
        self._state.restarts = {c.role: c.restarts for c in self._children.values()}
        try:
            self._run.write_state(self._state)
        except OSError as error:
            # A full disk must not end the trading; the state on it is what others read, not what we act on.
            self._log.warning("%s was not written: %s", self._run.state_file, error.strerror)


def _ignore(number: int, frame: object) -> None:
    """The wake-up descriptor has the signal's number; nothing is left to do here."""
