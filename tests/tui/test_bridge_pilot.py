"""The terminal UI against a real bridge over real sockets; only the engine behind it is played."""

import threading

import numpy as np
import pytest

from engine.core.types import Side, Status
from engine.runtime.records import order_record_dtype
from tests.kit.fake_engine import BridgeProcess, FakeOrder, bridge_thread
from tests.kit.patience import PATIENT
from tests.kit.tui_app import drive, main_screen, screen_text, until
from tui import link as link_module
from tui.app import RingbookApp
from tui.screens.main import MainScreen


@pytest.fixture
def session(engine):
    """An engine with two strategies, a book and live orders."""
    params = {"half_spread": 2.5, "levels": 3, "skew": True}
    engine.strategy("mm", symbols=["BTCUSDT"], params=params)
    engine.strategy("ml", "external", symbols=["ETHUSDT"], params={"gain": 0.5})
    engine.depth("BTCUSDT", [(99.9, 2.0), (99.8, 3.0)], [(100.1, 1.5), (100.2, 4.0)], snapshot=True)
    for number, side in ((1, Side.BUY), (2, Side.SELL)):
        record = np.zeros((), order_record_dtype)
        fields = {
            "order_id": number, "client_order_id": number, "price_tick": 999 if side == Side.BUY else 1001,
            "qty": 10, "leaves_qty": 10, "side": side, "status": Status.NEW,
        }  # fmt: skip
        for name, value in fields.items():
            record["order"][name] = value
        engine.orders[number] = FakeOrder(record, 0, engine.strategies["mm"].slot)
    return engine


def telemetry(engine, equity=12.5):
    engine.status(events=1000, events_per_second=9000.0, loop_ns=1500.0, feed_wall_ts=0)
    engine.position("mm", "BTCUSDT", position=0.02, avg_px=100.0, mid_px=100.0, realized_pnl=equity)


async def connected(app):
    await until(lambda: app.store.strategies and app.store.books)
    await until(lambda: main_screen(app).strategy)


async def look_at(app, pilot, symbol):
    while main_screen(app).symbol != symbol:
        await pilot.press("s")
    await until(lambda: symbol in app.store.books)


async def test_everything_the_engine_says_is_shown(session, bridge):
    app = RingbookApp(bridge)
    async with drive(app) as pilot:
        await connected(app)
        await look_at(app, pilot, "BTCUSDT")
        telemetry(session)
        session.trade("BTCUSDT", "buy", 100.1, 0.25)
        session.log("warning", "something is odd")
        session.fill(1, 0.005)
        await until(lambda: app.store.fills and app.store.positions and app.store.trades.get("BTCUSDT"))
        await pilot.pause(0.2)
        text = screen_text(app)
        for piece in ("PAPER", "fake", "● connected", "ACTIVE", "9.00k ev/s", "step 1.5µs"):
            assert piece in text, piece
        for piece in ("2 Ladder BTCUSDT", "+0.020", "+12.50", "►0.005", "►0.010", "0.250", "PARTIAL"):
            assert piece in text, piece
        await pilot.press("4")
        assert "queue front" in screen_text(app)
        await pilot.press("5")
        assert "half_spread=2.5 levels=3 skew=true" in screen_text(app)
        await pilot.press("6")
        assert "something is odd" in screen_text(app)


@pytest.mark.parametrize(
    ("keys", "command", "fields", "answer"),
    [
        ("p", "pause", {"strategy_id": "ml"}, "Paused, trading ACTIVE, step"),
        ("P", "pause", {"strategy_id": ""}, "ACTIVE, step"),
        ("r", "resume", {"strategy_id": "ml"}, "Running, trading ACTIVE, step"),
        ("R", "resume", {"strategy_id": ""}, "ACTIVE, step"),
        ("x", "cancel_orders", {"strategy_id": "ml"}, "Running, trading ACTIVE, step"),
        ("X", "cancel_orders", {"strategy_id": ""}, "ACTIVE, step"),
        ("EcY", "emergency_stop", {"cancel_orders": True, "close_position": True}, "HALTED, step"),
    ],
)
async def test_commands_reach_the_engine_and_its_answer_is_shown(
    session, bridge, keys, command, fields, answer
):
    app = RingbookApp(bridge)
    async with drive(app) as pilot:
        await connected(app)
        await pilot.press(*keys)
        await until(lambda: app.store.log and f"({answer} " in app.store.log[-1].text)
        # The bridge sends off traders that did not come back, at a time of its own.
        sent = [one for one in session.commands if one["command"] != "disconnect"][-1]
        assert sent["command"] == command
        assert {name: sent[name] for name in fields} == fields
        await until(lambda: f"({answer}" in screen_text(app))
        if "X" in keys:
            await until(lambda: not app.store.live_orders)
        if keys == "p":
            await until(lambda: app.store.strategies["ml"].state == "Paused")


async def test_a_parameter_goes_there_and_back(session, bridge):
    app = RingbookApp(bridge)
    async with drive(app) as pilot:
        await connected(app)
        await pilot.press("5", "end", "e", "down", "enter", "5", "enter")
        await until(lambda: isinstance(app.screen, MainScreen))
        assert next(one["params"] for one in session.commands if one["command"] == "update_params") == {
            "levels": 5
        }
        await until(lambda: {p.name: p.value for p in app.store.strategies["mm"].params}["levels"] == 5)
        await until(lambda: "levels=5" in screen_text(app))


async def test_a_refusal_of_the_engine_is_shown(session, bridge):
    app = RingbookApp(bridge)
    async with drive(app) as pilot:
        await connected(app)
        with session._lock:
            gone = session.strategies.pop("ml")
        await pilot.press("p")
        await until(lambda: "no strategy ml" in app.store.log[-1].text)
        assert app.store.log[-1].level == "error"
        await until(lambda: "no strategy ml" in screen_text(app))
        session.strategies["ml"] = gone


async def test_silence_means_that_the_outcome_is_unknown(session, bridge, monkeypatch):
    monkeypatch.setattr(link_module, "ANSWER_S", 0.3)
    app = RingbookApp(bridge)
    async with drive(app) as pilot:
        await connected(app)
        session.silent = True
        await pilot.press("p")
        await until(lambda: "outcome unknown" in app.store.log[-1].text)
        assert app.store.log[-1].level == "warning"
        await until(lambda: "outcome unknown" in screen_text(app))


async def test_a_command_without_a_connection_is_not_sent(session, endpoint):
    app = RingbookApp(endpoint)
    async with drive(app) as pilot:
        await pilot.press("X")
        await until(lambda: "not sent: no connection" in screen_text(app))
        assert not [c for c in session.commands if c["command"] == "cancel_orders"]


async def test_the_symbol_on_screen_is_the_one_that_is_subscribed(session, bridge):
    app = RingbookApp(bridge)
    async with drive(app) as pilot:
        await connected(app)
        await pilot.press("2", "right")
        other = main_screen(app).symbol
        session.depth(other, [(10.0, 1.0)], [(11.0, 1.0)])
        await until(lambda: other in app.store.books and app.store.books[other].bids)
        await until(lambda: f"2 Ladder {other}" in screen_text(app))


async def test_a_killed_bridge_is_survived(session, endpoint):
    app = RingbookApp(endpoint)
    bridge = BridgeProcess(session, endpoint, **PATIENT)
    try:
        async with drive(app) as pilot:
            await connected(app)
            telemetry(session)
            await until(lambda: app.store.positions)
            bridge.kill()
            await until(lambda: app.store.disconnected_at is not None)
            await until(lambda: "bridge silent" in screen_text(app))
            text = screen_text(app)
            assert "reconnecting" in text
            assert "ALL STALE" in text
            assert "+12.50" in text, "the last values stay"
            await pilot.press("p")
            await until(lambda: "not sent" in app.store.log[-1].text)
            session.rings["orders_out"].pop_many()
            bridge = BridgeProcess(session, endpoint, **PATIENT)
            await until(lambda: app.store.disconnected_at is None, 20)
            telemetry(session, equity=99.0)
            await until(lambda: "+99.00" in screen_text(app))
            telemetry(session, equity=99.0)
            await until(lambda: "ALL STALE" not in screen_text(app))
            assert "● connected" in screen_text(app)
            assert len(app.store.live_orders) == 2
            await pilot.press("P")
            await until(lambda: "(ACTIVE, step" in app.store.log[-1].text)
    finally:
        bridge.kill()


async def test_the_terminal_may_be_there_before_the_daemon(session, endpoint):
    app = RingbookApp(endpoint)
    async with drive(app):
        await until(lambda: "no engine" in screen_text(app))
        with bridge_thread(session.config(endpoint, **PATIENT)):
            await until(lambda: "● connected" in screen_text(app), 20)


async def test_a_flood_does_not_starve_the_keyboard(session, bridge):
    app = RingbookApp(bridge)
    stop = threading.Event()

    def flood():
        number = 0
        while not stop.is_set():
            number += 1
            session.depth("BTCUSDT", [(99.9, 1.0 + number % 7)], [(100.1, 1.0 + number % 5)])
            session.trade("BTCUSDT", "buy", 100.1, 0.1)

    async with drive(app) as pilot:
        await connected(app)
        await look_at(app, pilot, "BTCUSDT")
        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        try:
            await until(lambda: app.store.received > 500)
            for key, name in (("4", "fills"), ("6", "log"), ("3", "orders")):
                await pilot.press(key)
                assert main_screen(app).query_one(f"#{name}").has_focus
            before = app.store.received
            await until(lambda: app.store.received > before)
        finally:
            stop.set()
            thread.join()
