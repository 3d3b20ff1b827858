"""Orders and executions through real sockets: round trips, refusals, gapless executions, loss of a client."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from bridge import aioclient, codec
from bridge import protocol as p
from bridge.client import Client, connect
from bridge.errors import CommandRefused, ConnectionLost, OrderRejected, VersionMismatch
from tests.kit.fake_engine import ROOT, bridge_thread, wait_until
from tests.kit.patience import PATIENT

TRADER = {"role": "trader", "strategy_id": "ext", "symbols": ["BTCUSDT"], **PATIENT}


def test_order_round_trip_over_both_transports(engine, any_endpoint):
    with bridge_thread(engine.config(any_endpoint, **PATIENT)):
        with connect(any_endpoint, **TRADER, params={"spread": 2}) as client:
            assert client.welcome.mode == "PAPER"
            assert client.instruments["ETHUSDT"].lot_size == 0.01
            number = client.submit("BTCUSDT", "buy", 100.1, 0.002, time_in_force="GTX")
            state = client.wait_order(number)
            assert (state.status, state.leaves_qty) == ("NEW", 0.002)
            (live,) = engine.orders.values()
            assert int(live.order["price_tick"]) == 1001
            assert int(live.order["qty"]) == 2
            assert int(live.order["time_in_force"]) == 1

            client.modify(number, 100.2, 0.003)
            wait_until(lambda: client.order(number).px == pytest.approx(100.2))
            engine.fill(number, 0.001)
            client.cancel(number)
            wait_until(lambda: client.order(number).status == "CANCELED")
            got = list(client.executions(timeout=0.2))
            assert [e.status for e in got] == ["NEW", "NEW", "PARTIALLY_FILLED", "CANCELED"]
            assert [e.seq for e in got] == [1, 2, 3, 4]
            assert got[2].fee == pytest.approx(0.01)
            assert got[2].reason == "queue_front"
            assert got[2].is_maker
            # An execution is told once, though the order carries it on.
            assert [e.exec_qty for e in got] == [0.0, 0.0, pytest.approx(0.001), 0.0]
            assert [e.fee for e in got][3] == 0.0
            assert client.orders() == []
        registered = next(c for c in engine.commands if c["command"] == "register")
        assert registered["strategy_id"] == "ext"
        assert registered["params"] == {"spread": 2}


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (("BTCUSDT", "buy", 100.15, 0.002), "invalid_order: px 100.15 is not a multiple of tick_size 0.1"),
        (("BTCUSDT", "buy", 100.1, 0.0005), "invalid_order: qty 0.0005 is not a multiple of lot_size 0.001"),
        (("BTCUSDT", "buy", -100.1, 0.002), "invalid_order: px -100.1 must be finite and above 0"),
        (("BTCUSDT", "buy", 100.1, 0.0), "invalid_order: qty 0.0 must be finite and above 0"),
        (("BTCUSDT", "sell", float("nan"), 0.002), "invalid_order: px nan must be finite and above 0"),
        (("BTCUSDT", "sell", 100.1, float("inf")), "invalid_order: qty inf must be finite and above 0"),
        (("BTCUSDT", "sell", 1e300, 0.001), "invalid_order: px 1e+300 is more than"),
        (("ETHUSDT", "buy", 100.1, 0.02), "unknown_symbol: hello did not name ETHUSDT"),
        (("XRPUSDT", "buy", 100.1, 0.02), "unknown_symbol: the engine has no instrument 'XRPUSDT'"),
    ],
)
def test_wrong_orders_are_refused_by_name(engine, bridge, order, code):
    with connect(bridge, **TRADER) as client:
        with pytest.raises(OrderRejected) as caught:
            client.wait_order(client.submit(*order))
        assert caught.value.reason.startswith(code)
        assert engine.requests == []


def test_duplicate_and_unknown_orders(engine, bridge):
    errors = []
    with connect(bridge, **TRADER) as client:
        client.on_error = errors.append
        client.submit("BTCUSDT", "buy", 100.0, 0.001, client_order_id=7)
        client.wait_order(7)
        client.submit("BTCUSDT", "buy", 99.0, 0.001, client_order_id=7)
        client.cancel(8)
        client.modify(9, 100.0, 0.001)
        wait_until(lambda: len(errors) == 3)
        assert [e.code for e in errors] == ["duplicate_order_id", "unknown_order", "unknown_order"]
        assert [e.client_order_id for e in errors] == [7, 8, 9]
        assert engine.requests == [("NEW", 7)]


def test_a_change_that_comes_too_late_is_denied_and_changes_nothing(engine, bridge):
    with connect(bridge, **TRADER) as client:
        client.submit("BTCUSDT", "sell", 100.0, 0.001, client_order_id=7)
        client.wait_order(7)
        with engine._lock:
            # The order fills in the engine while a cancel and a modify are on their way to it.
            client.cancel(7)
            client.modify(7, 100.1, 0.001)
            wait_until(lambda: len(engine.rings["orders_in"]) == 2)
            engine.fill(7, 0.001)
        got = []
        wait_until(lambda: got.extend(client.executions(timeout=0.05)) or len(got) == 4)
        assert [e.status for e in got] == ["NEW", "FILLED", "DENIED", "DENIED"]
        assert {e.reason for e in got[2:]} == {"unknown_order"}
        assert {e.side for e in got} == {"sell"}
        assert client.order(7).status == "FILLED"


def test_a_record_that_cannot_be_right_does_not_end_the_bridge(engine, bridge):
    with connect(bridge, **TRADER) as client:
        client.submit("BTCUSDT", "sell", 100.0, 0.001, client_order_id=7)
        client.wait_order(7)
        (live,) = engine.orders.values()
        with engine._lock:
            live.order["side"] = 0
            engine.emit(live, 1)
            live.order["side"] = -1
            engine.fill(7, 0.001)
        wait_until(lambda: client.order(7).status == "FILLED")


def test_market_orders_and_cancel_all(engine, bridge):
    with connect(bridge, **TRADER | {"symbols": []}) as client:
        client.submit("BTCUSDT", "buy", 100.0, 0.001, client_order_id=1)
        client.submit("ETHUSDT", "sell", 0.0, 0.01, order_type="market", client_order_id=2)
        client.submit("ETHUSDT", "sell", 50.0, 0.01, client_order_id=3)
        wait_until(lambda: len(engine.orders) == 3)
        client.cancel_all("ETHUSDT")
        wait_until(lambda: len(engine.orders) == 1)
        client.cancel_all()
        wait_until(lambda: not client.orders())
        assert engine.orders == {}


def test_signals_reach_the_engine(engine, bridge):
    with connect(bridge, **TRADER) as client:
        client.send_signal("alpha", 0.5, "BTCUSDT")
        wait_until(lambda: engine.signals)
        assert engine.signals == [{"name": "alpha", "symbol": "BTCUSDT", "value": 0.5}]


def test_full_order_ring_answers_busy(engine, bridge):
    errors = []
    with connect(bridge, **TRADER) as client:
        client.on_error = errors.append
        engine.frozen = True
        time.sleep(0.05)
        for _ in range(5000):
            client.submit("BTCUSDT", "buy", 100.0, 0.001)
        wait_until(lambda: errors)
        engine.frozen = False
        assert {e.code for e in errors} == {"busy"}
        wait_until(lambda: len(engine.orders) + len(errors) == 5000)
        # Every order has had its answer, and nothing was lost or doubled on the way back.
        wait_until(
            lambda: (
                len(list(client.executions(timeout=0))) >= 0 and len(client.orders()) == len(engine.orders)
            )
        )


def test_executions_are_gapless_when_some_are_lost(engine, bridge):
    with Client(bridge, **TRADER) as client:
        session = client._session
        receive, lost = session.receive, []

        def lossy(channel, frames):
            message = codec.decode_server(frames) if channel == "orders" else None
            if type(message) is p.Execution and message.seq % 3 == 0 and message.seq not in lost:
                lost.append(message.seq)
                return
            receive(channel, frames)

        session.receive = lossy
        for number in range(1, 31):
            client.submit("BTCUSDT", "buy", 100.0, 0.001, client_order_id=number)
        got = []
        wait_until(lambda: got.extend(client.executions(timeout=0.05)) or len(got) == 30)
        assert [e.seq for e in got] == list(range(1, 31))
        assert [e.client_order_id for e in got] == list(range(1, 31))
        assert len(lost) == 10


def test_hello_is_refused_for_good_reasons(engine, bridge):
    with connect(bridge, **TRADER):
        second = Client(bridge, **TRADER)
        second.start()
        with pytest.raises(ConnectionLost, match="strategy_in_use"):
            second.connected(timeout=0.4)
        second.close()
    engine.strategy("inside", kind="python")
    with pytest.raises(CommandRefused, match="inside the engine"):
        with connect(bridge, **TRADER | {"strategy_id": "inside"}):
            pass
    with pytest.raises(CommandRefused, match="unknown_symbol"):
        with connect(bridge, **TRADER | {"symbols": ["NONE"]}):
            pass
    with pytest.raises(CommandRefused, match="bad_hello"):
        with connect(bridge, role="observer", strategy_id="x", **PATIENT):
            pass


def test_version_mismatch_names_both(engine, bridge):
    client = Client(bridge, **PATIENT)
    client._session.hello = p.Hello(99, "old", "observer")
    with pytest.raises(VersionMismatch, match="client speaks version 99, server 1"):
        with client:
            pass


def test_roles_are_enforced(engine, bridge):
    with connect(bridge, role="observer", **PATIENT) as client:
        with pytest.raises(CommandRefused, match="no strategy_id"):
            client.submit("BTCUSDT", "buy", 100.0, 0.001)
        with pytest.raises(CommandRefused, match="as risk or admin"):
            client.pause()
        errors = []
        client.on_error = errors.append
        client._call(lambda: client._transport.send("orders", codec.encode(p.Cancel(5))))
        wait_until(lambda: errors)
        assert (errors[0].code, errors[0].client_order_id) == ("forbidden", 5)


async def test_asyncio_trader_and_admin(engine, bridge):
    async with (
        aioclient.connect(bridge, **TRADER) as trader,
        aioclient.connect(bridge, role="admin", **PATIENT) as admin,
    ):
        executions = trader.executions()
        number = trader.submit("BTCUSDT", "sell", 101.0, 0.001)
        assert (await trader.wait_order(number)).status == "NEW"
        assert (await anext(executions)).client_order_id == number
        reply = await admin.pause("ext")
        assert (reply.success, reply.strategy_state) == (True, "Paused")
        assert reply.step > 0
        assert (await admin.resume("ext")).strategy_state == "Running"
        reply = await admin.update_params("ext", {"x": 1})
        assert reply.current_params == {"x": 1}
        assert not (await admin.query_status("nobody")).success
        assert (await admin.update_risk_limits("ext", "BTCUSDT", max_position=1.5)).success
        assert engine.commands[-1]["max_position"] == 1.5
        assert engine.commands[-1]["max_notional"] is None
        with pytest.raises(CommandRefused, match="max_position"):
            await admin.update_risk_limits("ext", max_position=float("nan"))
        with pytest.raises(CommandRefused, match="must be finite"):
            await admin.update_params("ext", {"x": float("inf")})
        assert (await admin.cancel_orders("ext", "BTCUSDT")).success
        assert (await anext(executions)).reason == "cancel_by_operator"
        assert (await admin.emergency_stop()).trading_state == "HALTED"
        executions.close()


async def test_both_clients_kill_rearm_and_ask_for_limits(engine, bridge):
    def last(name):
        command = engine.commands[-1]
        assert command["command"] == name
        return {key: value for key, value in command.items() if key not in ("request_id", "command", "at")}

    async with aioclient.connect(bridge, role="admin", name="ann", **PATIENT) as admin:
        await admin.kill(symbol="BTCUSDT", reason="why")
        assert last("kill") == {"who": "ann", "strategy_id": "", "symbol": "BTCUSDT", "reason": "why"}
        await admin.rearm("1f3a9c07", "secret")
        assert last("rearm") == {"who": "ann", "switch": "1f3a9c07"}
        await admin.reduce_only()
        assert last("reduce_only") == {"who": "ann"}
        await admin.query_limits("mm")
        assert last("query_limits") == {"who": "ann", "strategy_id": "mm", "symbol": ""}
        await admin.update_risk_limits("mm", max_position=float("inf"), other=2)
        assert last("update_risk_limits")["limits"] == {"max_position": float("inf"), "other": 2}
        assert last("update_risk_limits")["max_position"] is None

    def blocking():
        with connect(bridge, **TRADER | {"name": "bob"}) as trader:
            assert trader.kill(reason="mine").success
            assert last("kill") == {"who": "ext/bob", "strategy_id": "ext", "symbol": "", "reason": "mine"}
            with pytest.raises(CommandRefused, match="its own strategy"):
                trader.kill("other")
            with pytest.raises(CommandRefused, match="as risk or admin"):
                trader.rearm("1f3a9c07")

    await asyncio.to_thread(blocking)


async def test_command_without_reply_times_out(engine, bridge):
    from bridge.errors import RequestTimeout

    async with aioclient.connect(bridge, role="admin", **PATIENT) as admin:
        engine.silent = True
        with pytest.raises(RequestTimeout):
            await admin.pause("x", timeout=0.1)
        engine.silent = False
        assert not (await admin.pause("x")).success


def test_goodbye_cancels_orders(engine, bridge):
    with connect(bridge, **TRADER) as client:
        client.wait_order(client.submit("BTCUSDT", "buy", 100.0, 0.001))
        assert len(engine.orders) == 1
    wait_until(lambda: not engine.orders)
    assert engine.commands[-1] == {
        "request_id": engine.commands[-1]["request_id"],
        "who": "bridge",
        "at": engine.commands[-1]["at"],
        "command": "disconnect",
        "strategy_id": "ext",
        "policy": "cancel",
    }


def test_silence_cancels_orders(engine, endpoint):
    with bridge_thread(engine.config(endpoint)):
        client = Client(endpoint, **TRADER)
        with client:
            client.wait_order(client.submit("BTCUSDT", "buy", 100.0, 0.001))
            states = []
            client.on_state = lambda state, detail: states.append(str(state))
            client._session.tick = lambda: None  # the client lives, but its heart does not beat
            wait_until(lambda: not engine.orders)
            del client._session.tick
            # It is told at its next beat that its session is over, and comes back by itself.
            wait_until(lambda: states == ["reconnecting", "connected"])
            wait_until(lambda: client.orders() == [])
            number = client.submit("BTCUSDT", "buy", 100.0, 0.001)
            assert client.wait_order(number).status == "NEW"
            got = list(client.executions(timeout=0.2))
            assert [e.seq for e in got] == list(range(1, len(got) + 1))
            assert [e.status for e in got] == ["NEW", "CANCELED", "NEW"]
            assert got[1].reason == "cancel_on_disconnect"


CHILD = """
import sys, time
from bridge.client import connect
with connect(sys.argv[1], role="trader", strategy_id="victim") as client:
    client.wait_order(client.submit("BTCUSDT", "buy", 100.0, 0.001))
    print("quoted", flush=True)
    time.sleep(60)
"""


def test_killing_a_client_process_cancels_its_orders(engine, endpoint):
    with bridge_thread(engine.config(endpoint)):
        with connect(endpoint, **TRADER | {"heartbeat_misses": 50}) as other:
            other.wait_order(other.submit("BTCUSDT", "sell", 101.0, 0.001))
            child = subprocess.Popen(
                [sys.executable, "-c", CHILD, endpoint],
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )
            assert child.stdout.readline() == b"quoted\n"
            assert len(engine.orders) == 2
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            child.stdout.close()
            wait_until(lambda: len(engine.orders) == 1)
            (left,) = engine.orders.values()
            assert engine.strategies["ext"].slot == left.slot


def test_orders_cannot_delay_control(engine, bridge):
    async def main():
        async with aioclient.connect(bridge, role="admin", **PATIENT) as admin:
            return [await admin.query_status("ext", timeout=5) for _ in range(20)]

    with connect(bridge, **TRADER) as client:
        stop = threading.Event()

        def flood():
            number = 0
            while not stop.is_set():
                number += 1
                client.submit("BTCUSDT", "buy", 100.05, 0.001, client_order_id=number)

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            replies = asyncio.run(main())
        finally:
            stop.set()
            thread.join()
        assert all(reply.success for reply in replies)
