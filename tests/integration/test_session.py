"""A whole session as users have it: a full-speed replay, the external example, the UI, kills."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import closing

import pytest

from bridge import protocol as p
from bridge.client import connect
from tests.kit.daemons import ROOT, daemon, until
from tests.kit.patience import PATIENT
from tests.kit.recordings import recording
from tests.kit.terminal import Terminal

CONFIG = """
[engine]
name = "{{name}}"
status_interval_ms = 20

[feed]
kind = "replay"
speed = 0
loop = 0

[[instruments]]
symbol = "BTCUSDT"
tick_size = 0.1
lot_size = 0.001
data = ["{data}"]
maker_fee = -0.00005
taker_fee = 0.0007

[[strategies]]
id = "mm"
class = "examples/strategies/market_maker.py:MarketMaker"
params = {{{{ half_spread = 1.0, order_qty = 0.01 }}}}
"""


def rows(it):
    """Positions by strategy."""
    return {row["strategy"]: row for row in it.status()["positions"]}


def not_less(before, after):
    """Whether no fill and no traded quantity of the earlier positions has been lost."""
    return all(
        after[name]["num_trades"] >= row["num_trades"]
        and after[name]["trading_volume"] >= row["trading_volume"]
        for name, row in before.items()
    )


@pytest.mark.recording
@pytest.mark.timeout(180)
def test_the_example_trades_the_ui_pauses_and_kills_lose_nothing():
    with daemon(CONFIG.format(data=recording("usdm"))) as it:
        endpoint = it.start()["endpoint"]
        command = [sys.executable, str(ROOT / "examples/external/market_maker.py"), "--connect", endpoint]
        example = subprocess.Popen(command, env=it.environment, stdout=subprocess.PIPE, text=True)
        ui = [sys.executable, "-m", "engine.cli.main", "tui", "--connect", endpoint]
        try:
            with (
                Terminal(ui, it.environment, ROOT) as terminal,
                connect(endpoint, role="admin", **PATIENT) as client,
            ):
                until(lambda: rows(it).get("external_mm", {"num_trades": 0})["num_trades"], "its trades", 60)
                terminal.expect("PAPER")
                terminal.expect("external")
                check_pause(it, client, terminal)
                for role in ("feed", "bridge"):
                    check_kill(it, role)
                before = rows(it)
                terminal.process.kill()
                terminal.process.wait()
                assert not_less(before, rows(it))
            example.kill()
            until(
                lambda: rows(it)["external_mm"]["open_orders"] == 0, "the cancel of a killed trader's orders"
            )
        finally:
            example.kill()
            example.communicate()
        assert it.end()[0] == 0


def check_pause(it, client, terminal):
    """Pauses the selected strategy in the UI; no new order of it may carry a later step than the answer."""
    client.subscribe(p.ORDERS_TOPIC)
    with closing(client.messages(p.ORDERS_TOPIC, timeout=5)) as messages:
        first = next(message for message in messages if is_request(message))
        select(terminal, "mm")
        terminal.type("p")
        terminal.expect("paused: mm")
        paused = until(lambda: pause_step(it), "the pause")
        events = it.status()["engine"]["events"]
        until(lambda: it.status()["engine"]["events"] > events + 100_000, "more of the market")
        resumed = client.resume("mm")
        assert resumed.success
        between = 0
        for message in messages:
            if is_request(message):
                between += paused < message.step < resumed.step
                if message.step > resumed.step:
                    break
    assert first.step <= paused
    assert between == 0


def is_request(message):
    """Whether it tells of a request of the market maker for a new order."""
    if not isinstance(message, p.OrderUpdate) or message.strategy_id != "mm":
        return False
    return message.status == message.prev_status == "NONE"


def select(terminal, strategy):
    """Moves the cursor of the positions to a strategy: they are sorted by name, and the first is selected."""
    for key in ["1", *["\x1b[B"] * sorted(["external_mm", "mm"]).index(strategy)]:
        terminal.type(key)
        terminal.rest()


def pause_step(it):
    """The step at which the engine applied the pause, by its own log."""
    steps = [line["step"] for line in it.log() if re.match(r"pause mm: paused", line["text"])]
    return steps[-1] if steps else None


def check_kill(it, role):
    """Kills a process: it comes back, trading goes on, and nothing is lost."""
    before, status = rows(it), it.status()
    os.kill(status["processes"][role]["pid"], signal.SIGKILL)
    until(lambda: it.status()["processes"][role]["restarts"] == 1, f"a new {role}")
    assert it.status()["processes"]["engine"]["pid"] == status["processes"]["engine"]["pid"]
    until(lambda: it.status()["engine"]["fills"] > status["engine"]["fills"], "fills after the kill", 60)
    assert not_less(before, rows(it))
