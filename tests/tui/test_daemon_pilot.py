"""The terminal UI against a real daemon: engine, feed and bridge processes over a simulated market."""

import asyncio
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from tests.kit.daemons import ROOT, daemon
from tests.kit.tui_app import drive, main_screen, screen_text, until
from tui.actions import update_param
from tui.app import RingbookApp
from tui.model import Outcome
from tui.screens.main import MainScreen

PATIENCE = 30.0


@pytest.fixture
def running():
    """A daemon that trades, and its endpoint."""
    with daemon() as one:
        said = one.start()
        yield one, said["endpoint"]


async def trading(app):
    await until(lambda: app.store.fills and app.store.live_orders, PATIENCE)
    await until(lambda: main_screen(app).strategy == "mm", PATIENCE)


def answered(app, title):
    """The engine's answer to a command, or None."""
    for line in reversed(app.store.log):
        if line.source == "command" and line.text.startswith(f"{title}: "):
            return line.text
    return None


async def test_it_shows_a_session_and_pausing_stops_new_orders(running):
    _, endpoint = running
    app = RingbookApp(endpoint)
    async with drive(app) as pilot:
        await trading(app)
        await until(lambda: "▲" in screen_text(app) or "▼" in screen_text(app), PATIENCE)
        text = screen_text(app)
        for piece in ("PAPER", "● connected", "ACTIVE", "feed running", "TOTAL", "2 Ladder BTCUSDT"):
            assert piece in text, piece
        await pilot.press("p")
        await until(lambda: answered(app, "Pause mm"), PATIENCE)
        paused_at = int(answered(app, "Pause mm").rsplit("step ", 1)[1].rstrip(")"))
        await until(lambda: app.store.strategies["mm"].state == "Paused", PATIENCE)
        await until(lambda: app.store.status.step > paused_at + 500, PATIENCE)
        orders = app.store.status.orders
        step = app.store.status.step
        await until(lambda: app.store.status.step > step + 500, PATIENCE)
        assert app.store.status.orders == orders, "orders went on"
        await pilot.press("r")
        await until(lambda: app.store.strategies["mm"].state == "Running", PATIENCE)
        await until(lambda: app.store.status.orders > orders, PATIENCE)


async def test_a_parameter_and_an_emergency_stop(running):
    _, endpoint = running
    app = RingbookApp(endpoint)
    async with drive(app) as pilot:
        await trading(app)
        await pilot.press("e")
        names = [param.name for param in app.store.strategies["mm"].params]
        await pilot.press(*["down"] * names.index("half_spread"), "enter", *"4.5", "enter")
        await until(lambda: isinstance(app.screen, MainScreen), PATIENCE)
        assert "half_spread" in answered(app, "Set mm half_spread")
        await until(
            lambda: {p.name: p.value for p in app.store.strategies["mm"].params}["half_spread"] == 4.5,
            PATIENCE,
        )
        await pilot.press("E", "c", "Y")
        title = "Emergency stop (cancel orders, close positions)"
        await until(lambda: answered(app, title), PATIENCE)
        assert "(HALTED, step" in answered(app, title)
        await until(lambda: app.store.status.trading_state == "HALTED", PATIENCE)
        await until(lambda: not app.store.live_orders, PATIENCE)
        await until(lambda: all(p.position == 0 for p in app.store.positions.values()), PATIENCE)
        await until(lambda: "HALTED" in screen_text(app).splitlines()[0], PATIENCE)
        await pilot.press("R")
        await until(lambda: app.store.status.trading_state == "ACTIVE", PATIENCE)


async def test_a_value_that_the_engine_refuses(running):
    _, endpoint = running
    app = RingbookApp(endpoint)
    async with drive(app):
        await trading(app)
        # The dialog offers no such parameter: the engine must refuse it by itself.
        answer = await app.send(update_param("mm", "no_such", 1.0))
        assert "no_such" in answer.text
        assert answer.outcome is Outcome.REFUSED
        await until(lambda: "no_such" in screen_text(app), PATIENCE)


async def test_killed_processes_are_seen_and_recovered_from(running):
    one, endpoint = running
    app = RingbookApp(endpoint)
    async with drive(app):
        await trading(app)
        old = {role: one.pid(role) for role in ("bridge", "feed")}
        epoch = app.store.epoch
        os.kill(old["bridge"], signal.SIGKILL)
        # That the connection is lost may be over within a tenth of a second: too short to be waited for.
        await until(lambda: app.store.epoch != epoch, PATIENCE)
        fills = list(app.store.fills)
        await until(lambda: app.store.disconnected_at is None, PATIENCE)
        await until(lambda: app.store.staleness().everything is None, PATIENCE)
        assert one.pid("bridge") != old["bridge"]
        await until(lambda: len(app.store.fills) > len(fills), PATIENCE)
        keys = [(f.order_id, f.exch_ts, f.position) for f in app.store.fills]
        assert len(keys) == len(set(keys)), "a fill is told twice"
        os.kill(old["feed"], signal.SIGKILL)
        await until(lambda: one.pid("feed") not in (None, old["feed"]), PATIENCE)
        events = app.store.status.events
        await until(lambda: app.store.status.events > events, PATIENCE)


async def test_a_restarted_daemon_is_found_again(running):
    one, endpoint = running
    app = RingbookApp(endpoint)
    async with drive(app):
        await trading(app)
        assert one.end()[0] == 0
        await until(lambda: "ALL STALE" in screen_text(app), PATIENCE)
        assert "TOTAL" in screen_text(app), "the last values stay"
        await asyncio.to_thread(one.start)
        await until(lambda: app.store.disconnected_at is None, PATIENCE)
        await until(lambda: "ALL STALE" not in screen_text(app), PATIENCE)
        await until(lambda: app.store.live_orders, PATIENCE)


def test_the_command_in_a_terminal(running):
    one, _ = running
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.cli.main", "tui", "--name", "t"],
        cwd=ROOT,
        env=one.environment | {"TERM": "xterm-256color"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    seen = b""
    try:
        end = time.monotonic() + PATIENCE
        asked = False
        while process.poll() is None and time.monotonic() < end:
            if select.select([master], [], [], 0.1)[0]:
                try:
                    seen += os.read(master, 65536)
                except OSError:
                    break
            if not asked and b"connected" in seen and b"TOTAL" in seen:
                os.write(master, b"q")
                asked = True
        assert asked, seen[-2000:]
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert b"PAPER" in seen
