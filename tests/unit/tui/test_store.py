import math

import pytest

from bridge import protocol as p
from tests.kit.tui_feed import START, Clock, Session, scripted_store, status, strategy, welcome
from tui.model import Connection, Staleness
from tui.store import CLOSED_ORDERS, LOG_LINES, Store


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(clock):
    store = Store(clock=clock, wall=lambda: START)
    store.connected(welcome())
    return store


def order(number, state="NEW", seq=None, ts=1, **changed):
    fields = {
        "epoch": 1,
        "seq": number if seq is None else seq,
        "ts": ts,
        "strategy_id": "mm",
        "symbol": "BTCUSDT",
        "order_id": number,
        "client_order_id": number,
        "side": "buy",
        "order_type": "limit",
        "time_in_force": "GTX",
        "status": state,
        "prev_status": "NONE",
        "px": 10.0,
        "qty": 1.0,
        "leaves_qty": 1.0,
        "reason": "",
        "step": 1,
    }
    return p.OrderUpdate(**{**fields, **changed})


def fill(seq, epoch=1, position=1.0, **changed):
    fields = {
        "epoch": epoch,
        "seq": seq,
        "ts": 5,
        "exch_ts": seq,
        "strategy_id": "mm",
        "symbol": "BTCUSDT",
        "order_id": 1,
        "client_order_id": 1,
        "side": "buy",
        "px": 10.0,
        "qty": 1.0,
        "fee": 0.0,
        "is_maker": True,
        "mid_price": 10.0,
        "reason": "taker",
        "position": position,
    }
    return p.Fill(**{**fields, **changed})


def position(seq, ts=START, symbol="BTCUSDT", realized=1.0, unrealized=2.0, fee=0.5, name="mm", epoch=1):
    return p.PositionSnapshot(
        epoch, seq, ts, name, symbol, 1.0, 10.0, 11.0, realized, unrealized, fee, 0.0, 0.0, 1.0, 10.0, 1, 0
    )


def snapshot(topic, messages, seq, epoch=1):
    return p.Snapshot(1, topic, epoch, {topic: seq}, messages)


def test_every_stream_message_has_its_place():
    store, _ = scripted_store(200)
    assert set(store.positions) == {("mm_fast", "BTCUSDT"), ("mm_slow", "ETHUSDT")}
    assert store.status.step == 4000 + 199 * 37
    assert store.strategies["mm_fast"].params[0].name == "half_spread"
    assert store.fills[0].ts > store.fills[-1].ts
    assert store.books["ETHUSDT"].top(1)[0]
    assert store.trades["BTCUSDT"][0].ts > store.trades["BTCUSDT"][-1].ts
    assert store.missed == 0
    assert len(store.log) >= 3


def test_the_session_is_the_same_at_every_run():
    assert list(Session().messages(50)) == list(Session().messages(50))


def test_the_script_keeps_its_books_right():
    # The tests' own feed must add up: net PnL is balance plus position at the mid, less fees.
    for step_messages in (Session(seed).messages(300) for seed in (1, 2)):
        for m in step_messages:
            if isinstance(m, p.PositionSnapshot):
                assert math.isclose(m.realized_pnl + m.unrealized_pnl - m.fee, m.equity, abs_tol=1e-6)


def test_known_messages_are_dropped_and_gaps_counted(store):
    assert store.apply(order(1, seq=1))
    assert not store.apply(order(1, seq=1, state="FILLED"))
    assert store.live_orders
    assert store.apply(order(2, seq=5))
    assert store.missed == 3


def test_orders_move_from_live_to_closed(store):
    store.apply(order(1, ts=1))
    store.apply(order(2, ts=2))
    store.apply(order(1, "FILLED", seq=3, ts=3))
    assert [o.order_id for o in store.orders()] == [2, 1]
    assert [o.order_id for o in store.live_in("BTCUSDT")] == [2]
    assert store.live_in("ETHUSDT") == []


def test_denied_orders_without_an_engine_id_are_kept_apart(store):
    store.apply(order(1, "DENIED", order_id=0, client_order_id=7))
    store.apply(order(2, "DENIED", order_id=0, client_order_id=8))
    assert len(store.closed_orders) == 2


@pytest.mark.parametrize(
    ("prev_status", "reason"),
    [("NEW", "max_position"), ("NONE", "request_in_flight"), ("NONE", "duplicate_order_id")],
)
def test_a_denied_change_leaves_its_order_alive(store, prev_status, reason):
    store.apply(order(1))
    store.apply(order(1, "DENIED", seq=2, prev_status=prev_status, reason=reason, px=99.0))
    assert [(o.status, o.px) for o in store.orders()] == [("NEW", 10.0), ("DENIED", 99.0)]
    assert len(store.live_in("BTCUSDT")) == 1
    store.apply(order(1, "CANCELED", seq=3))
    assert [o.status for o in store.orders()] == ["CANCELED", "DENIED"]


def test_closed_orders_are_bounded(store):
    for number in range(1, CLOSED_ORDERS + 50):
        store.apply(order(number, "CANCELED"))
    assert len(store.closed_orders) == CLOSED_ORDERS
    assert next(store.orders()).order_id == CLOSED_ORDERS + 49


def test_a_snapshot_replaces_what_its_topic_covers(store):
    store.apply(order(1))
    store.apply(order(2))
    store.apply(position(1))
    store.apply_snapshot(snapshot(p.ORDERS_TOPIC, [order(2, seq=9)], 9))
    assert [o.order_id for o in store.orders()] == [2]
    assert store.positions, "another topic is not touched"
    assert not store.apply(order(3, seq=9)), "the snapshot holds everything up to its seq"
    assert store.apply(order(3, seq=10))
    assert store.missed == 0
    store.apply_snapshot(snapshot(p.POSITIONS_TOPIC, [], 1))
    store.apply_snapshot(snapshot(p.STRATEGIES_TOPIC, [strategy("mm", "BTCUSDT", 1)], 1))
    assert store.positions == {}
    assert list(store.strategies) == ["mm"]


def test_a_new_epoch_numbers_anew_and_tells_old_fills_only_once(store):
    for seq in (1, 2, 3):
        store.apply(fill(seq, position=float(seq)))
    store.connected(welcome(epoch=2))
    assert len(store.fills) == 3, "the last values stay until they are replaced"
    again = [fill(seq, epoch=2, exch_ts=seq, position=float(seq)) for seq in (1, 2, 3)]
    store.apply_snapshot(snapshot(p.FILLS_TOPIC, again, 3, epoch=2))
    assert len(store.fills) == 3
    assert store.apply(fill(4, epoch=2, position=4.0))
    assert [f.position for f in store.fills] == [4.0, 3.0, 2.0, 1.0]


def test_equal_looking_fills_are_two(store):
    store.apply(fill(1, exch_ts=9, position=1.0))
    store.apply(fill(2, exch_ts=9, position=2.0))
    assert len(store.fills) == 2


def test_messages_of_a_new_epoch_count_before_its_welcome(store):
    store.apply(order(50, seq=50))
    assert store.apply(order(1, seq=1, epoch=2))
    assert store.missed == 0


def test_trades_of_a_snapshot_are_not_doubled(store):
    trades = [p.Trade(1, seq, "BTCUSDT", seq, seq, "buy", 10.0, 1.0) for seq in (1, 2)]
    for trade in trades:
        store.apply(trade)
    store.apply_snapshot(snapshot(p.trade_topic("BTCUSDT"), trades, 2))
    assert [t.seq for t in store.trades["BTCUSDT"]] == [2, 1]


def test_depth_snapshot_and_what_follows(store):
    book = p.Depth(1, 4, "BTCUSDT", 1, 1, [(10.0, 1.0)], [(11.0, 1.0)], snapshot=True)
    topic = p.depth_topic("BTCUSDT")
    store.apply_snapshot(snapshot(topic, [book], 4))
    assert not store.apply(p.Depth(1, 4, "BTCUSDT", 1, 1, [(10.0, 0.0)], []))
    assert store.apply(p.Depth(1, 5, "BTCUSDT", 1, 1, [(10.0, 0.0)], []))
    assert store.books["BTCUSDT"].top(1) == ([], [(11.0, 1.0)])


def test_totals_never_add_different_money(store):
    infos = [
        p.InstrumentInfo("BTCUSDT", 0.1, 0.001, 1.0, "linear"),
        p.InstrumentInfo("BTCUSD", 0.1, 1.0, 100.0, "inverse"),
    ]
    hello = p.Welcome(1, 1, "s", "", "", "PAPER", "demo", infos)
    store.connected(hello)
    store.apply(position(1, name="a"))
    store.apply(position(2, name="b"))
    store.apply(position(3, symbol="BTCUSD", realized=0.25))
    linear, inverse = store.totals()
    assert (linear.asset, linear.net, linear.num_trades) == ("linear", 5.0, 2)
    assert (inverse.asset, inverse.net) == ("inverse", 1.75)
    assert store.history["", "linear"].values[-1] == 5.0
    assert store.history["", "inverse"].values[-1] == 1.75
    assert store.history["a", "BTCUSDT"].values == [2.5]


def test_log_lines_are_bounded_and_not_doubled(store):
    line = p.Log(1, 1, START, "info", "engine", "hello")
    store.apply(line)
    before = len(store.log)
    store.apply_snapshot(snapshot(p.LOG_TOPIC, [line], 1))
    assert len(store.log) == before
    for number in range(LOG_LINES + 10):
        store.note("info", f"line {number}")
    assert len(store.log) == LOG_LINES


# --- staleness and connection --------------------------------------------------------------------


def test_fresh(store, clock):
    store.apply(status(0))
    clock.advance(0.5)
    assert store.staleness() == Staleness()
    assert store.staleness().source == ""
    assert store.staleness().market is None


def test_a_replay_that_stands_is_not_stale(store, clock):
    for state in ("running", "paused", "ended", "waiting"):
        store.apply(status(0, mode="REPLAY", feed_state=state, feed_wall_ts=1, seq=store.received + 1))
        assert store.staleness() == Staleness()
    clock.advance(3.2)
    assert store.staleness() == Staleness(engine=3_200_000_000)


def test_a_silent_engine_makes_everything_stale(store, clock):
    store.apply(status(0))
    clock.advance(3.2)
    stale = store.staleness()
    assert stale == Staleness(engine=3_200_000_000)
    assert stale.source == "engine"
    assert stale.everything == stale.market == 3_200_000_000
    store.apply(status(1))
    assert store.staleness() == Staleness()


def test_an_engine_that_never_spoke_is_stale(store, clock):
    clock.advance(1.5)
    assert store.staleness().engine == 1_500_000_000


def test_a_lost_bridge_makes_everything_stale_since_the_last_message(store, clock):
    store.apply(status(0))
    clock.advance(0.7)
    store.disconnected("no heartbeat")
    clock.advance(1.3)
    assert store.staleness() == Staleness(bridge=2_000_000_000)
    assert store.connection is Connection.RECONNECTING
    clock.advance(10)
    assert store.connection is Connection.LOST
    store.connected(welcome(epoch=2))
    assert store.connection is Connection.CONNECTED
    assert store.staleness() == Staleness(engine=12_000_000_000), "the values are still the old ones"
    store.apply(status(0, epoch=2))
    assert store.staleness() == Staleness()


def test_before_the_first_connection(clock):
    store = Store(clock=clock)
    clock.advance(2)
    assert store.connection is Connection.CONNECTING
    assert store.staleness().bridge == 2_000_000_000
    store.disconnected("no answer to hello")
    assert store.connection_detail == "no answer to hello"
    clock.advance(9)
    assert store.connection is Connection.LOST


@pytest.mark.parametrize(
    ("state", "silent_s", "stale"),
    [
        ("running", 1.0, False),
        ("running", 2.5, True),
        ("lost", 0.1, True),
        ("ended", 60.0, False),
        ("RUNNING", 2.5, True),
    ],
)
def test_a_silent_feed_makes_the_market_stale(store, clock, state, silent_s, stale):
    now = START + 10**12
    store.apply(status(0, wall_ts=now, feed_wall_ts=now - int(silent_s * 1e9), feed_state=state))
    clock.advance(0.2)
    found = store.staleness()
    assert (found.feed is not None) == stale
    assert found.everything is None
    if stale:
        assert found.market == found.feed == int(silent_s * 1e9) + 200_000_000
        assert found.source == "feed"


def test_feed_age_knows_no_clock_but_the_engines(store, clock):
    assert store.feed_age() is None
    store.apply(status(0, feed_wall_ts=0))
    assert store.feed_age() is None
    store.apply(status(1, wall_ts=7_000_000_000, feed_wall_ts=6_900_000_000))
    clock.advance(0.4)
    assert store.feed_age() == 500_000_000


def test_the_reasons_for_a_lost_connection_are_logged_once_each(store):
    store.disconnected("no heartbeat")
    store.disconnected("no answer to hello")
    store.disconnected("no answer to hello")
    texts = [line.text for line in store.log]
    assert texts[-2:] == ["connection lost: no heartbeat", "no connection: no answer to hello"]
    store.connected(welcome(epoch=2))
    assert store.log[-1].text == "reconnected to demo, PAPER"


def test_versions_say_what_changed(store):
    before = dict(store.versions)
    store.apply(order(1))
    changed = {name for name, version in store.versions.items() if before.get(name, 0) != version}
    assert changed == {"orders"}
