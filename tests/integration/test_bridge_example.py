"""The external market maker of the examples, as a user starts it."""

import os
import re
import signal
import subprocess
import sys
from functools import partial

import pytest

from tests.kit.fake_engine import ROOT, bridge_thread, wait_until

SCRIPT = ROOT / "examples" / "external" / "market_maker.py"


def start(endpoint, *arguments):
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), "--connect", endpoint, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        # Tests that a shell has started in the background have it ignored, and so have their children.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )


def test_it_is_short():
    assert len(SCRIPT.read_text().splitlines()) < 60


@pytest.mark.parametrize("ending", ["seconds", "interrupt", "kill"])
def test_it_quotes_fills_and_leaves_nothing_behind(engine, endpoint, ending):
    engine.depth("BTCUSDT", [(100.0, 1.0)], [(101.0, 1.0)], snapshot=True)
    fills = []

    def take_some(live):
        if len(fills) < 3:
            fills.append(int(live.order["client_order_id"]))

    engine.on_order = take_some
    with bridge_thread(engine.config(endpoint, heartbeat_misses=3 if ending == "kill" else 50)):
        process = start(endpoint, *(["--seconds", "1.5"] if ending == "seconds" else []))
        try:
            wait_until(lambda: {int(o.order["side"]) for o in list(engine.orders.values())} == {1, -1}, 20)
            prices = {int(o.order["side"]): int(o.order["price_tick"]) for o in engine.orders.values()}
            assert 1000 < prices[1] < prices[-1] < 1010
            assert all(int(o.order["time_in_force"]) == 1 for o in engine.orders.values())
            engine.fill(fills[0], 0.001)
            assert process.stdout.readline() == "buy 0.001 @ 100.4 queue_front\n"
            # It leans against its position now: both quotes are lower than before.
            wait_until(lambda: len(engine.orders) == 2)
            if ending != "seconds":
                process.send_signal(signal.SIGINT if ending == "interrupt" else signal.SIGKILL)
            rest, errors = process.communicate(timeout=20)
            wait_until(lambda: not engine.orders)
            assert errors == ""
            if ending != "kill":
                assert re.fullmatch(r"\d+ fills, position .*, profit after fees .*", rest.splitlines()[-1])
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
