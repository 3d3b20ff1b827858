"""Streams through real sockets: late subscribers, healed gaps, conflation, restarts of the bridge."""

import asyncio
import random
import time

import pytest

from bridge import aioclient, codec
from bridge import protocol as p
from bridge.client import Client, connect
from bridge.session import ConnectionState
from tests.kit.fake_engine import BridgeProcess, bridge_thread, wait_until
from tests.kit.patience import PATIENT

KINDS = ("depth", "trade", "feature", "signal")
DEPTH = p.depth_topic("BTCUSDT")


def walk(engine, steps, seed=3):
    """Random changes of a book."""
    rng = random.Random(seed)
    for _ in range(steps):
        mid = 1000 + rng.randrange(50)
        bids = [((mid - rng.randrange(1, 40)) / 10, float(rng.choice((0, 1, 2, 5))))]
        asks = [((mid + 60 + rng.randrange(1, 40)) / 10, float(rng.choice((0, 1, 3))))]
        engine.depth("BTCUSDT", bids, asks)


def same_book(client, engine, symbol="BTCUSDT"):
    book = client.book(symbol)
    return not book.stale and (book.bids, book.asks) == engine.books[engine.number(symbol)]


def test_late_subscriber_has_the_book_of_the_live_one(engine, any_endpoint):
    with bridge_thread(engine.config(any_endpoint, **PATIENT)):
        with connect(any_endpoint, **PATIENT) as live, connect(any_endpoint, **PATIENT) as late:
            live.subscribe_depth("BTCUSDT")
            walk(engine, 200)
            late.subscribe_depth("BTCUSDT")
            walk(engine, 200, seed=4)
            wait_until(lambda: same_book(live, engine))
            wait_until(lambda: same_book(late, engine))
            one, two = live.book("BTCUSDT"), late.book("BTCUSDT")
            assert one.seq == two.seq
            assert one.levels(50) == two.levels(50)
            assert one.best_bid == max(one.bids)
            assert one.best_ask == min(one.asks)


def lose(client, wanted):
    """Makes a client miss published messages, each the first time only."""
    session = client._session
    receive, lost = session.receive, set()

    def lossy(channel, frames):
        if channel in ("market", "telemetry"):
            topic, message = codec.decode_stream(frames)
            for one in message.messages if type(message) is p.Messages else (message,):
                if (topic, one.seq) not in lost and wanted(topic, one.seq):
                    lost.add((topic, one.seq))
                else:
                    receive(channel, (frames[0], codec.encode(one)))
        else:
            receive(channel, frames)

    session.receive = lossy
    return lost


def test_gaps_are_healed_by_replay(engine, bridge):
    with Client(bridge, **PATIENT) as client:
        messages = client.messages(DEPTH, timeout=0.3)
        assert type(next(messages)) is p.Snapshot
        walk(engine, 1)
        assert type(next(messages)) is p.Depth
        first = client.book("BTCUSDT").seq
        lost = lose(client, lambda topic, seq: seq % 7 == 0)
        walk(engine, 300)
        wait_until(lambda: same_book(client, engine))
        got = list(messages)
        assert len(lost) > 20
        assert [m.seq for m in got] == list(range(first + 1, first + 301))
        assert client._session.subscriptions.streams[DEPTH].heals > 0


def test_a_lost_last_message_is_noticed(engine, bridge):
    with Client(bridge, **PATIENT) as client:
        client.subscribe_depth("BTCUSDT")
        walk(engine, 5)
        wait_until(lambda: same_book(client, engine))
        last = client.book("BTCUSDT").seq
        lost = lose(client, lambda topic, seq: seq == last + 1)
        engine.depth("BTCUSDT", [(55.5, 1.0)], [])
        wait_until(lambda: lost)
        wait_until(lambda: same_book(client, engine))
        assert client.book("BTCUSDT").bids[55.5] == 1.0


@pytest.fixture
def short_memory(monkeypatch):
    """A bridge that keeps few messages for replays."""
    monkeypatch.setattr("bridge.topics.REPLAY_MESSAGES", 50)


def test_a_gap_too_old_for_replay_is_healed_by_a_snapshot(short_memory, engine, bridge):
    with Client(bridge, **PATIENT) as client:
        messages = client.messages(DEPTH, timeout=0.5)
        assert type(next(messages)) is p.Snapshot
        first = client.book("BTCUSDT").seq
        lose(client, lambda topic, seq: first < seq < first + 200)
        walk(engine, 300)
        wait_until(lambda: same_book(client, engine))
        assert p.Snapshot in {type(m) for m in messages}


def test_conflated_depth_is_marked(engine, bridge):
    with connect(bridge, **PATIENT) as client:
        messages = client.messages(DEPTH, timeout=2)
        assert type(next(messages)) is p.Snapshot
        engine.depth("BTCUSDT", [(100.0, 1.0)], [])
        engine.depth("BTCUSDT", [(100.1, 1.0)], [], conflated=True)
        engine.depth("BTCUSDT", [(99.0, 1.0)], [], snapshot=True)
        got = [next(messages) for _ in range(3)]
        assert [m.conflated for m in got] == [False, True, False]
        assert [m.snapshot for m in got] == [False, False, True]
        assert client.book("BTCUSDT").bids == {99.0: 1.0}
        assert client.book("BTCUSDT").conflated == 1


def test_batches_longer_than_a_record_stay_whole(engine, bridge):
    bids = [(100 - i / 10, 1.0 + i) for i in range(100)]
    asks = [(101 + i / 10, 2.0 + i) for i in range(77)]
    with connect(bridge, **PATIENT) as client:
        messages = client.messages(DEPTH, p.trade_topic("BTCUSDT"), timeout=2)
        assert {type(next(messages)) for _ in range(2)} == {p.Snapshot}
        engine.depth("BTCUSDT", bids, asks)
        engine.trade("BTCUSDT", "sell", 100.0, 0.5)
        depth, trade = next(messages), next(messages)
        assert (len(depth.bids), len(depth.asks)) == (100, 77)
        assert (trade.side, trade.px, trade.qty, trade.seq) == ("sell", 100.0, 0.5, 1)
        assert client.book("BTCUSDT").levels(3)[0] == bids[:3]


async def test_telemetry_tells_everything(engine, bridge):
    engine.strategy("mm", symbols=["BTCUSDT"], params={"spread": 2, "on": True})
    async with aioclient.connect(bridge, role="admin", **PATIENT) as client:
        seen = {}
        client.on_message = lambda topic, message: seen.setdefault(type(message), []).append(message)
        client.subscribe_telemetry()
        async with asyncio.timeout(10):
            while len(seen.get(p.Snapshot, ())) < len(p.TELEMETRY_TOPICS):
                await asyncio.sleep(0.01)
            engine.status(trading_state=1, events=5, loop_ns=12.5)
            engine.position("mm", "BTCUSDT", position=1.5, avg_px=float("nan"), num_trades=3)
            engine.log("warning", "look")
            engine.strategy("mm", state="Paused")
            while len(seen) < 5:
                await asyncio.sleep(0.01)
        (status,), (position,) = seen[p.EngineStatus], seen[p.PositionSnapshot]
        assert (status.trading_state, status.feed_state, status.events) == ("REDUCING", "running", 5)
        assert (status.engine, status.mode, status.sessions) == ("fake", "PAPER", 1)
        assert (position.strategy_id, position.symbol, position.position) == ("mm", "BTCUSDT", 1.5)
        assert position.avg_px != position.avg_px
        assert seen[p.Log][-1].text == "look"
        assert seen[p.StrategyStatus][-1].state == "Paused"
        assert [(q.name, q.kind, q.value) for q in seen[p.StrategyStatus][-1].params] == [
            ("spread", "int", 2),
            ("on", "bool", True),
        ]


def test_a_snapshot_below_a_prefix_has_every_topic(engine, bridge):
    from concurrent.futures import Future

    with connect(bridge, **PATIENT) as client:
        walk(engine, 3)

        def ask(topic):
            future = Future()

            def begin():
                request = p.SnapshotRequest(client._session.new_id(), topic)
                client._session.request("orders", request, future)
                client._session._on_stream_answer = lambda answer: client._session._resolve(
                    answer.request_id, answer
                )

            client._call(begin)
            return future.result(5)

        everything = ask("")
        assert set(everything.seqs) == {
            *(f"md.{s}.{k}" for s in ("BTCUSDT", "ETHUSDT") for k in KINDS),
            *p.TELEMETRY_TOPICS,
        }
        assert set(ask("md.ETH").seqs) == {f"md.ETHUSDT.{kind}" for kind in KINDS}
        from bridge.errors import CommandRefused

        with pytest.raises(CommandRefused, match="unknown_topic"):
            ask("nothing.like.it")


def test_slow_consumer_starts_again_from_a_snapshot(engine, bridge, monkeypatch):
    monkeypatch.setattr("bridge.iterators.QUEUE", 50)
    with connect(bridge, **PATIENT) as client:
        messages = client.messages(DEPTH, timeout=0.5)
        walk(engine, 400)
        wait_until(lambda: same_book(client, engine))
        got = list(messages)
        assert len(got) <= 51
        starts = [i for i, m in enumerate(got) if type(m) is p.Snapshot]
        assert starts
        # From its last snapshot on it has everything, in order.
        follow = got[starts[-1] :]
        assert [m.seq for m in follow[1:]] == list(
            range(follow[0].seqs[DEPTH] + 1, client.book("BTCUSDT").seq + 1)
        )


@pytest.mark.parametrize("changes", [50, 5000])
def test_a_client_that_was_held_up_throws_away_what_waits(engine, any_endpoint, monkeypatch, changes):
    """Its book is right again, by a replay of the little that it has missed or a snapshot."""
    monkeypatch.setattr("bridge.session.STALLED_S", 0.3)
    renewed = []
    with (
        bridge_thread(engine.config(any_endpoint, **PATIENT)),
        connect(any_endpoint, **PATIENT) as client,
    ):
        renew = client._transport.renew_market
        client._transport.renew_market = lambda market: (renewed.append(market), renew(market))
        client.subscribe_depth("BTCUSDT")
        client.subscribe_telemetry()
        walk(engine, 100)
        wait_until(lambda: same_book(client, engine))
        assert renewed == []
        with client.locked():
            walk(engine, changes, seed=5)
            time.sleep(0.5)
        wait_until(lambda: renewed and same_book(client, engine))
        walk(engine, 100, seed=6)
        wait_until(lambda: same_book(client, engine))


async def test_an_asyncio_client_that_was_held_up_throws_away_what_waits(engine, any_endpoint, monkeypatch):
    monkeypatch.setattr("bridge.session.STALLED_S", 0.3)
    renewed = []
    with bridge_thread(engine.config(any_endpoint, **PATIENT)):
        async with aioclient.connect(any_endpoint, **PATIENT) as client:
            renew = client._transport.renew_market
            client._transport.renew_market = lambda market: (renewed.append(market), renew(market))
            client.subscribe_depth("BTCUSDT")
            for turn in range(2):
                walk(engine, 300, seed=turn)
                if turn:
                    time.sleep(0.5)  # all of the loop is held up
                async with asyncio.timeout(20):
                    while len(renewed) != turn or not same_book(client, engine):
                        await asyncio.sleep(0.01)


def test_restart_of_the_bridge(engine, endpoint):
    process = BridgeProcess(engine, endpoint, heartbeat_misses=50, grace_s=20)
    try:
        with connect(endpoint, role="trader", strategy_id="ext", heartbeat_misses=10) as client:
            states = []
            client.on_state = lambda state, detail: states.append(state)
            client.subscribe_depth("BTCUSDT")
            client.subscribe_telemetry()
            walk(engine, 50)
            client.submit("BTCUSDT", "buy", 90.0, 0.002, client_order_id=11)
            client.submit("BTCUSDT", "buy", 91.0, 0.002, client_order_id=12)
            client.wait_order(12)
            wait_until(lambda: same_book(client, engine))
            before = client.welcome.epoch
            process.kill()
            # While nobody listens, the market goes on and one order ends.
            walk(engine, 50, seed=9)
            engine.fill(12, 0.002)
            wait_until(lambda: client.state is ConnectionState.RECONNECTING)
            assert client.book("BTCUSDT").stale
            assert client.stale(DEPTH)
            process = BridgeProcess(engine, endpoint, heartbeat_misses=50, grace_s=20)
            wait_until(lambda: client.state is ConnectionState.CONNECTED, 20)
            assert client.welcome.epoch > before
            wait_until(lambda: same_book(client, engine))
            wait_until(lambda: [o.client_order_id for o in client.orders()] == [11])
            assert client.order(12).status == "FILLED"
            assert len(engine.orders) == 1
            client.cancel(11)
            wait_until(lambda: client.order(11).status == "CANCELED")
            assert ConnectionState.RECONNECTING in states
    finally:
        process.kill()


def test_orders_of_a_client_that_does_not_come_back_after_a_restart(engine, endpoint):
    process = BridgeProcess(engine, endpoint, heartbeat_misses=50)
    client = Client(endpoint, role="trader", strategy_id="ext", **PATIENT)
    try:
        with client:
            client.wait_order(client.submit("BTCUSDT", "buy", 90.0, 0.002))
            process.kill()
            client._transport.close()  # as if the client had died with it
            client._session.tick = lambda: None
            process = BridgeProcess(engine, endpoint, grace_s=0.3)
            assert len(engine.orders) == 1
            wait_until(lambda: not engine.orders)
            assert engine.commands[-1]["command"] == "disconnect"
    finally:
        process.kill()


def test_dropped_records_make_the_bridge_ask_again(engine, bridge):
    with connect(bridge, role="trader", strategy_id="ext", **PATIENT) as client:
        client.subscribe(p.ORDERS_TOPIC)
        for number in (1, 2):
            client.submit("BTCUSDT", "buy", 90.0, 0.002, client_order_id=number)
            client.wait_order(number)
        with engine._lock:
            # The end of order 1 is told to nobody, for want of room in the ring.
            gone = next(k for k, v in engine.orders.items() if int(v.order["client_order_id"]) == 1)
            del engine.orders[gone]
            (left,) = engine.orders.values()
            engine.emit(left, 1, dropped=1)
        wait_until(lambda: [c["command"] for c in engine.commands].count("resync") == 2)
        wait_until(lambda: [o.client_order_id for o in client.orders()] == [2])
        assert client.order(1).status == "LOST"
