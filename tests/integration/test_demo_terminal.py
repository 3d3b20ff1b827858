"""``ringbook demo`` in a terminal: the UI on a daemon of its own, and nothing left behind."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from tests.kit.daemons import ROOT
from tests.kit.terminal import Terminal


def test_it_opens_the_ui_trades_and_cleans_up():
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        environment = {**os.environ, "TMPDIR": folder, "PYTHONPATH": str(ROOT)}
        environment.pop("RINGBOOK_RUN_DIR", None)
        command = [sys.executable, "-m", "engine.cli.main", "demo"]
        with Terminal(command, environment, ROOT) as terminal:
            terminal.expect("PAPER")
            terminal.expect("market-maker")
            terminal.expect("FILLED", 60)
            terminal.type("q")
            assert terminal.ended() == 0
        assert "market-maker BTCUSDT (Running)" in terminal.drawn()
        assert "Stopped." in terminal.drawn()
        assert os.listdir(folder) == []
        assert processes_naming(folder) == []


def test_a_terminal_that_is_closed_leaves_no_daemon_behind():
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        environment = {**os.environ, "TMPDIR": folder, "PYTHONPATH": str(ROOT)}
        environment.pop("RINGBOOK_RUN_DIR", None)
        with Terminal([sys.executable, "-m", "engine.cli.main", "demo"], environment, ROOT) as terminal:
            terminal.expect("market-maker")
            terminal.hang_up()
            terminal.process.wait(timeout=30)
        assert os.listdir(folder) == []
        assert processes_naming(folder) == []


def processes_naming(text):
    """Command lines of running processes that contain a text."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        # A process may end while we look at it.
        with contextlib.suppress(OSError):
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if text in line:
                found.append(line)
    return found
