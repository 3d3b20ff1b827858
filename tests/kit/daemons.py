"""Real daemons for integration tests: configuration, start, status, signals, and a sure end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

SIMULATED = """
[engine]
name = "{name}"
status_interval_ms = 20

[feed]
kind = "simulated"
seed = 7
speed = 5.0

[[instruments]]
symbol = "BTCUSDT"
tick_size = 0.1
lot_size = 0.001
maker_fee = -0.00005
taker_fee = 0.0007
queue_model = "power_prob_queue_model3"

[[strategies]]
id = "mm"
class = "engine.strategy.native:MarketMaker"
params = {{ half_spread = 1.0, skew = 0.3, order_qty = 0.01, max_position = 0.1 }}
"""

REPLAY = """
[engine]
name = "{{name}}"
status_interval_ms = 20
{more}

[feed]
kind = "replay"
speed = {speed}
loop = {loop}
wait_for_client = {wait}

[[instruments]]
symbol = "BTCUSDT"
tick_size = 0.1
lot_size = 0.001
data = ["{data}"]
maker_fee = -0.00005
taker_fee = 0.0007
queue_model = "power_prob_queue_model3"

[[strategies]]
id = "mm"
class = "engine.strategy.native:MarketMaker"
params = {{{{ half_spread = 1.0, skew = 0.3, order_qty = 0.01, max_position = 0.1 }}}}
"""


def replay(data: Path, *, speed: float = 0, loop: int = 1, wait: bool = False, more: str = "") -> str:
    """The configuration of a market maker on a recording.

    Args:
        data: The recording.
        speed: How many times as fast as it was; 0 is as fast as it goes.
        loop: How often it runs.
        wait: Whether it waits for a client.
        more: Further sections.
    """
    return REPLAY.format(data=data, speed=speed, loop=loop, wait=str(wait).lower(), more=more)


def until(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    """Waits for a condition and returns what it gave."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"did not happen in {seconds:g} s: {what}"
        time.sleep(0.02)
    return found


class Daemon:
    """A daemon of one test.

    Args:
        folder: Where its configuration and runs are.
        text: The configuration, with ``{name}`` for its name.
        name: Its name.
    """

    def __init__(self, folder: Path, text: str = SIMULATED, name: str = "t") -> None:
        self.folder, self.name = folder, name
        self.config = folder / f"{name}.toml"
        self.config.write_text(text.format(name=name))
        self.environment = {
            **os.environ,
            "RINGBOOK_RUN_DIR": str(folder / "run"),
            "PYTHONPATH": str(ROOT),
            # Half a second of silence is nothing on a machine that runs tests.
            "RINGBOOK__BRIDGE__HEARTBEAT_MISSES": "30",
            "RINGBOOK__BRIDGE__GRACE_S": "10.0",
        }
        self.process: subprocess.Popen[str] | None = None

    @property
    def run_path(self) -> Path:
        """The run directory."""
        return self.folder / "run" / self.name

    def ringbook(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "engine.cli.main", *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def start(self, *arguments: str) -> dict[str, Any]:
        """Starts it in the foreground and waits until it answers; returns what it says then.

        Args:
            arguments: More of ``ringbook run``'s.
        """
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "engine.cli.main",
                "run",
                "--config",
                str(self.config),
                "--json",
                *arguments,
            ],
            env=self.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return json.loads(line)

    def end(self, number: int = signal.SIGTERM) -> tuple[int, float, str]:
        """Sends a signal and waits: exit code, seconds it took, standard error."""
        began = time.monotonic()
        self.process.send_signal(number)
        errors = self.process.communicate(timeout=20)[1]
        return self.process.returncode, time.monotonic() - began, errors

    def crash(self, *, memory: bool = True, run_directory: bool = True) -> None:
        """Kills all its processes at once.

        Args:
            memory: Whether shared memory stays, as it does when nobody but the processes has gone.
            run_directory: Whether the run directory stays; in a temporary one a reboot takes that too.
        """
        from engine.runtime.rundir import RunDir

        run = RunDir(self.run_path)
        pids = [self.process.pid, *run.read_state().pids.values()]
        # Stopped first: else those below the supervisor would hear of its death and end in good order.
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        self.process.communicate()
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the end of all processes")
        if not memory:
            shutil.rmtree(run.ring_dir, ignore_errors=True)
            Path(run.journal_buffer).unlink(missing_ok=True)
        if not run_directory:
            shutil.rmtree(run.path)

    def status(self) -> dict[str, Any]:
        """What ``ringbook status --json`` prints, without the cost of a process."""
        from engine.runtime.metrics import read
        from engine.runtime.rundir import RunDir

        return read(RunDir(self.run_path))

    def pid(self, role: str) -> int | None:
        """The pid of a process that runs now."""
        return self.status()["processes"].get(role, {}).get("pid")

    def log(self) -> list[dict[str, Any]]:
        """The lines of its log file."""
        return [json.loads(line) for line in (self.run_path / "daemon.log").read_text().splitlines()]

    def kill(self) -> None:
        """Ends whatever is left of it."""
        from engine.runtime.rundir import RunDir

        run = RunDir(self.run_path)
        if pid := run.owner():
            os.kill(pid, signal.SIGTERM)
            until(lambda: run.owner() is None, "the daemon's end")
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.communicate()
        # What a killed daemon leaves in shared memory is for its successor, which never comes.
        shutil.rmtree(run.ring_dir, ignore_errors=True)
        Path(run.journal_buffer).unlink(missing_ok=True)


@contextmanager
def daemon_folder() -> Iterator[Path]:
    """A folder with a path short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="rb-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def daemon(text: str = SIMULATED, name: str = "t") -> Iterator[Daemon]:
    """A daemon that is not started yet, and is gone afterwards."""
    with daemon_folder() as folder:
        one = Daemon(folder, text, name)
        try:
            yield one
        finally:
            one.kill()
