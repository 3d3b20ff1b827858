"""Kills a role of real daemons, or all at once, at random moments, again and again, under a trader's load.

Afterwards the trader's own log is held against the journal, and the journal's replay against the run: no
order that was acknowledged is unknown, no execution is missing or there twice, outputs and state are the
same. Of a killed bridge only what it was just passing on may be missing; the engine's process stays the same
unless it is the engine that is killed. A new daemon begins every ``--session`` kills.

    python -m tests.fuzz.kills --role engine --kills 500 --seed 1
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bridge.errors import BridgeError
from engine.core.errors import RingbookError
from engine.journal.wal import Journal
from engine.runtime.rundir import RunDir
from tests.kit.clerk import Clerk
from tests.kit.daemons import SIMULATED, Daemon, daemon

ROLES = ("engine", "bridge", "feed", "journaller")
ALL = "daemon"
"""All processes at once; every other time, shared memory is gone with them, as after a loss of power."""
SESSION = 25
SNAPSHOTS = 5000
"""Records from one snapshot to the next: some in each second."""
BEGUN = "begins with the snapshot"
GAP_S = (0.2, 2.0)
"""Between service and the next kill."""
CONFIG = (
    SIMULATED.replace("speed = 5.0", "speed = 20.0")
    + """
[journal]
dir = "{journals}"
buffer_mb = 16
standby = {standby}
snapshot_records = {snapshots}
acknowledge = "{acknowledge}"
"""
)


@dataclass
class Times:
    """What returns took, in seconds after the kill.

    Attributes:
        engine: Until the engine takes inputs again; of the others, until the feed brings market data, the
            journaller commits, the bridge is there.
        client: Until an order that was sent after the kill is answered.
        undisturbed: How long orders were answered in between, which says how busy the machine was.
    """

    engine: list[float] = field(default_factory=list)
    client: list[float] = field(default_factory=list)
    undisturbed: list[float] = field(default_factory=list)

    def lines(self, role: str) -> list[str]:
        """For people."""
        what = f"the {role} {'has started' if role == ALL else 'works'}"
        lines = []
        for name, values in ((what, self.engine), ("an order is answered", self.client)):
            spread = f"p50 {_ms(values, 0.5)}, p99 {_ms(values, 0.99)}, most {_ms(values, 1)}"
            lines.append(f"from the kill until {name}: {spread}")
        values = self.undisturbed
        lines.append(
            f"orders otherwise: p50 {_ms(values, 0.5)}, p99 {_ms(values, 0.99)}, most {_ms(values, 1)}"
        )
        return lines


def _ms(values: list[float], share: float) -> str:
    ranked = sorted(values)
    return f"{1e3 * ranked[min(len(ranked) - 1, int(share * len(ranked)))]:.0f} ms"


class Killer:
    """Kills a role of one daemon.

    Args:
        one: The daemon, running.
        clerk: Its trader.
        rng: Says when.
        times: Where it is written down.
    """

    def __init__(self, one: Daemon, clerk: Clerk, rng: random.Random, times: Times) -> None:
        self._one, self._clerk, self._rng, self._times = one, clerk, rng, times
        self._buffer = Journal.attach(RunDir(one.run_path).journal_buffer)
        self._run_id, self.restarts = RunDir(one.run_path).read_state().run_id, 0
        self.from_snapshots = 0

    def kill(self, role: str, gap: tuple[float, float] = GAP_S) -> None:
        """Waits a while, kills, and waits until everything works again."""
        time.sleep(self._rng.uniform(*gap))
        engine, pid = self.pid("engine"), self.pid("engine" if role == ALL else role)
        assert None not in (engine, pid), (engine, pid)
        self._clerk.expect_service()
        began = time.monotonic()
        if role == ALL:
            self._restart()
        else:
            self._kill(role, pid)
        self._times.engine.append(time.monotonic() - began)
        self._times.client.append(self._clerk.await_service())
        if role not in ("engine", ALL):
            assert self.pid("engine") == engine, "the engine has stopped"

    def _restart(self) -> None:
        """The power fails, or only the processes end; the daemon is started once more.

        Now and then not before there is a new snapshot, which takes a proof; otherwise in the middle of one.
        """
        self.restarts += 1
        if self.restarts % 3 != 1:
            before = self._snapshot()
            _poll(lambda: self._snapshot() > before, "a snapshot")
        memory = self.restarts % 2 == 0
        self._one.crash(memory=memory, run_directory=memory or self.restarts % 4 == 1)
        said = self._one.start()
        assert said["run_id"] == self._run_id, "another run has begun"
        assert said["resumed"] > 0
        begun = [
            line for line in RunDir(self._one.run_path).log_file.read_text().splitlines() if BEGUN in line
        ]
        engine = self.pid("engine")
        self.from_snapshots += any(json.loads(line)["pid"] == engine for line in begun)
        self._buffer = Journal.attach(RunDir(self._one.run_path).journal_buffer)

    def _snapshot(self) -> int:
        """The last record that the newest snapshot includes; 0 without one."""
        report = RunDir(self._one.run_path).read_snapshots()
        return report["seq"] if report else 0

    def _kill(self, role: str, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self._await_return(role, pid)

    def pid(self, role: str) -> int | None:
        """Of the process that runs now."""
        state = RunDir(self._one.run_path).read_state()
        return None if state is None else state.pids.get(role)

    def _await_return(self, role: str, pid: int) -> None:
        """Waits until the role's work is done again."""
        if role == "engine":
            _poll(lambda: not _runs(pid), "the engine's end")
            # The first record of a new engine says that it goes on, the next is an input.
            last = self._buffer.accepted_seq
            _poll(lambda: self._buffer.accepted_seq >= last + 2, "inputs after a return")
            return
        accepted = self._buffer.accepted_seq
        _poll(lambda: self.pid(role) not in (pid, None), f"another {role}")
        if role == "journaller":
            _poll(lambda: self._buffer.durable_seq > accepted, "more on disk")
        elif role == "feed":
            last = self._one.status()["engine"]["market_ts"]
            _poll(lambda: self._one.status()["engine"]["market_ts"] > last, "more of the market")


def _poll(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"did not happen in {seconds:g} s: {what}"
        time.sleep(0.0005)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def session(
    plan: list[str],
    seed: int,
    times: Times,
    *,
    gap: tuple[float, float] = GAP_S,
    standby: bool = True,
) -> Counter[str]:
    """Kills roles of one daemon and checks what came of it.

    Args:
        plan: The roles to kill, in this order.
        seed: Of everything but the system's own timing.
        times: Gets what returns took.
        gap: Least and most seconds between service and the next kill.
        standby: Whether the engine has one.

    Returns:
        What was compared.

    Raises:
        AssertionError: Something is not as it must be.
    """
    rng = random.Random(seed)
    with daemon() as one:
        journals = one.folder / "journals"
        acknowledge = "durable" if ALL in plan else "accepted"
        one.config.write_text(
            CONFIG.format(
                name=one.name,
                journals=journals,
                standby=str(standby).lower(),
                snapshots=SNAPSHOTS,
                acknowledge=acknowledge,
            )
        )
        one.start()
        clerk = Clerk(f"ipc://{one.run_path}", seed)
        try:
            clerk.start()
            killer = Killer(one, clerk, rng, times)
            for role in plan:
                killer.kill(role, gap)
            clerk.stop()
            times.undisturbed += clerk.undisturbed
        finally:
            clerk.close()
        state = RunDir(one.run_path).read_state()
        since = plan[len(plan) - plan[::-1].index(ALL) :] if ALL in plan else plan
        assert state.restarts == {role: since.count(role) for role in ROLES}, state.restarts
        code, _, errors = one.end()
        assert code == 0, errors
        counts = _check(one, clerk, journals, complete="bridge" not in plan and ALL not in plan)
        return counts + Counter({"starts from a snapshot": killer.from_snapshots})


def _check(one: Daemon, clerk: Clerk, journals: Path, *, complete: bool) -> Counter[str]:
    out = one.folder / "session.npz"
    done = one.ringbook("replay", "--journal", str(journals), "--out", str(out), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["ended"]
    assert said["compared"] > 1
    return clerk.check(out, complete=complete) + Counter(records=said["records"], compared=said["compared"])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--role", choices=(*ROLES, ALL), default="engine")
    parser.add_argument("--kills", type=int, default=10, help="how many, all daemons together")
    parser.add_argument("--seed", type=int, default=1, help="of the first daemon")
    parser.add_argument("--session", type=int, default=SESSION, help="kills of one daemon")
    parser.add_argument("--cold", action="store_true", help="without a standby")
    options = parser.parse_args()
    times, counts = Times(), Counter()
    left, seed = options.kills, options.seed
    while left > 0:
        here = min(left, options.session)
        try:
            counts += session([options.role] * here, seed, times, standby=not options.cold)
        except (AssertionError, RingbookError, BridgeError) as error:
            cold = " --cold" if options.cold else ""
            print(f"seed {seed}: {error}")
            print(
                f"repeat: python -m tests.fuzz.kills --role {options.role} --kills {here} --seed {seed}{cold}"
            )
            return 1
        left, seed = left - here, seed + 1
        print(f"{options.kills - left} of {options.kills}: {times.lines(options.role)[1]}", flush=True)
    for line in times.lines(options.role):
        print(line)
    print(", ".join(f"{count:,} {name}" for name, count in counts.items()))
    print(f"{options.kills} kills of the {options.role}: nothing was lost, nothing came twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())
