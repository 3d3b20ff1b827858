"""The server's parts without sockets: replay buffers, hostile clients by the thousand, requests and rings."""

import math

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge import codec, records
from bridge import protocol as p
from bridge.books import Book
from bridge.config import BridgeConfig
from bridge.control import REPLY_TICKS, Control
from bridge.external import Invalid, units_of
from bridge.intake import Intakes
from bridge.market import CHECKED_EVERY, RECENT_TRADES
from bridge.publisher import ASKED_TICKS, KEPT_NAMES, Publisher
from bridge.topics import REPLAY_BYTES, REPLAY_MESSAGES, Topic
from engine.core.errors import RingCorrupt
from engine.core.types import Reason, Status, StrategyState, TradingState
from engine.runtime.records import (
    Flag,
    Kind,
    blob_records,
    depth_record_dtype,
    market_record_dtype,
    order_record_dtype,
    record_dtype,
)
from tests.kit.bridge_parts import INSTRUMENTS, Parts


def test_names_of_the_protocol_are_the_engines():
    assert set(records.STRATEGY_STATE.values()) == {
        "Starting",
        "Running",
        "Paused",
        "Stopping",
        "Stopped",
        "Error",
    }
    assert set(records.TRADING_STATE.values()) == {state.name for state in TradingState}
    assert len(records.STRATEGY_STATE) == len(StrategyState)
    assert records.REASON[int(Reason.NONE)] == ""


def test_replay_buffer():
    topic = Topic("t")
    for number in range(1, REPLAY_MESSAGES + 11):
        topic.keep(str(number).encode())
    last = REPLAY_MESSAGES + 10
    assert topic.since(last + 1) == []
    assert topic.since(last) == [str(last).encode()]
    assert len(topic.since(11)) == REPLAY_MESSAGES
    assert topic.since(10) is None
    assert topic.since(last + 2) is None
    topic.skip()
    assert topic.since(last + 1) is None
    assert topic.since(last + 2) == []
    for _ in range(5):
        topic.keep(b"x" * (REPLAY_BYTES // 3))
    assert topic.since(last + 3) is None
    assert len(topic.since(last + 4)) == 3
    assert sum(map(len, topic.kept)) <= REPLAY_BYTES


def test_registration_waits_for_the_engine():
    parts = Parts()
    parts.tell(p.Hello(1, "c", "trader", "mm", ["ETH"], {"a": 1}))
    assert parts.sent == []
    command = parts.link.commands[-1]
    assert command == {
        "request_id": command["request_id"], "command": "register", "strategy_id": "mm", "symbols": ["ETH"],
        "params": {"a": 1}, "who": "bridge", "at": command["at"],
    }  # fmt: skip
    assert parts.tell(p.Hello(1, "c", "trader", "mm"), b"b").code == "strategy_in_use"
    assert type(parts.reply(slot=2)) is p.Welcome
    assert parts.tell(p.Submit(1, "BTCUSDT", "buy", 1.0, 0.001)).code == "unknown_symbol"
    parts.tell(p.Submit(1, "ETH", "sell", 1.0, 0.5))
    assert parts.link.orders == [((Status.NEW, 2, 1, 1, -1, 100, 50, 0, 0), {})]


def test_registration_that_fails():
    parts = Parts()
    parts.tell(p.Hello(1, "c", "trader", "mm"))
    assert parts.reply(success=False, message="no room").message == "no room"
    parts.tell(p.Hello(1, "c", "trader", "mm"))
    for _ in range(REPLY_TICKS):
        parts.tick()
    assert parts.sent[-1][1].code == "engine_timeout"
    parts.link.full = True
    assert parts.tell(p.Hello(1, "c", "trader", "mm")).code == "busy"
    parts.link.full = False
    parts.trader()


def test_a_watcher_may_be_silent_for_longer_than_a_trader():
    parts = Parts()
    parts.trader(b"t")
    parts.tell(p.Hello(1, "screen", "admin"), b"w", "control")
    for _ in range(4):
        parts.tick()
    assert [identity for _, identity in parts.sessions.peers] == [b"w"]
    for _ in range(27):
        parts.tick()
    assert not parts.sessions.peers


def test_a_full_ring_does_not_forget_a_lost_trader():
    parts = Parts()
    parts.trader()
    parts.link.full = True
    for _ in range(4):
        parts.tick()
    assert parts.link.commands[-1]["command"] == "register"
    parts.link.full = False
    parts.tick()
    assert parts.link.commands[-1]["command"] == "disconnect"
    parts.tick()
    assert len(parts.link.commands) == 2


def test_full_rings_are_answered_busy():
    parts = Parts()
    parts.trader()
    parts.tell(p.Hello(1, "c", "admin"), b"z", "control")
    parts.link.full = True
    assert parts.tell(p.Submit(1, "ETH", "sell", 1.0, 0.5)).code == "busy"
    assert parts.tell(p.CancelAll()).code == "busy"
    assert parts.tell(p.Signal("x", 1.0)).code == "busy"
    answer = parts.tell(p.Pause(77), b"z", "control")
    assert (answer.code, answer.request_id) == ("busy", 77)
    # What was not taken is not a live order either.
    assert parts.tell(p.Cancel(1)).code == "unknown_order"


def test_a_trader_touches_only_its_own_orders():
    parts = Parts()
    parts.trader(b"a", "one", 1)
    parts.trader(b"b", "two", 2)
    parts.tell(p.Submit(5, "ETH", "buy", 1.0, 0.5), b"a")
    assert parts.tell(p.Cancel(5), b"b").code == "unknown_order"
    parts.tell(p.Cancel(5), b"a")
    parts.tell(p.CancelAll(), b"b")
    assert [values[:2] for values, _ in parts.link.orders] == [
        (Status.NEW, 1),
        (Status.CANCELED, 1),
        (Status.CANCELED, 2),
    ]


def test_limits_are_finite_and_names_are_short():
    parts = Parts()
    parts.tell(p.Hello(1, "c", "admin"), b"z", "control")
    for limits in ({"max_position": math.nan}, {"max_notional": -1.0}, {"max_open_orders": -1}):
        answer = parts.tell(p.UpdateRiskLimits(4, "mm", "", **limits), b"z", "control")
        assert (answer.code, answer.request_id) == ("invalid_params", 4)
        assert next(iter(limits)) in answer.message
    assert parts.tell(p.Pause(5, "x" * 65), b"z", "control").code == "bad_message"
    assert parts.link.commands == []


def test_names_that_the_engine_refuses_leave_nothing_behind():
    parts = Parts()
    for number in range(20):
        parts.tell(p.Hello(1, "c", "trader", f"s{number}"))
        assert parts.reply(success=False, message="full").code == "refused"
    assert parts.router.externals == {}
    assert parts.sessions.peers == {}


def test_a_book_is_unknown_until_its_first_snapshot():
    parts = Parts()
    batch = np.zeros(1, record_dtype)
    batch["kind"], batch["flags"] = Kind.DEPTH, Flag.LAST
    row = batch["payload"].view(depth_record_dtype)
    row["n_bids"], row["levels"][0, 0] = 1, (100.0, 2.0)
    ask = p.SnapshotRequest(1, p.depth_topic("BTCUSDT"))
    parts.publisher.market(batch)
    assert parts.published == []
    assert parts.publisher.snapshot(ask).messages == []
    batch["flags"] = Flag.LAST | Flag.SNAPSHOT
    parts.publisher.market(batch)
    assert len(parts.published) == 1
    (depth,) = parts.publisher.snapshot(ask).messages
    assert (depth.snapshot, depth.seq, depth.bids) == (True, 1, [(100.0, 2.0)])


def depth_batch(*levels, snapshot=False, last=True, instrument=0):
    batch = np.zeros(1, record_dtype)
    batch["kind"], batch["instrument"] = Kind.DEPTH, instrument
    batch["flags"] = Flag.LAST * last | Flag.SNAPSHOT * snapshot
    row = batch["payload"].view(depth_record_dtype)
    row["n_bids"] = len(levels)
    for place, level in enumerate(levels):
        row["levels"][0, place] = level
    return batch


def singles(topic, frame):
    """The messages of a frame, each alone."""
    message = codec.decode_stream((topic, frame))[1]
    return message.messages if type(message) is p.Messages else [message]


@pytest.mark.parametrize("conflate", [False, True])
def test_conflated_books_end_the_same(conflate):
    parts = Parts()
    batches = [
        depth_batch((1.0, 1.0), (2.0, 2.0), snapshot=True),
        depth_batch((2.0, 0.0)),
        depth_batch((9.0, 9.0), instrument=1, snapshot=True),
        depth_batch((3.0, 3.0), last=False),
        depth_batch((4.0, 4.0)),
        depth_batch((5.0, 5.0), snapshot=True),
        depth_batch((6.0, 6.0)),
        depth_batch((5.0, 5.5), last=False),
    ]
    parts.publisher.market(np.concatenate(batches), conflate)
    sent = [one for topic, frame in parts.published for one in singles(topic, frame)]
    assert len(sent) == (2 if conflate else 6)
    assert {m.conflated for m in sent if m.symbol == "BTCUSDT"} == {conflate}
    assert not [m for m in sent if m.symbol == "ETH" and m.conflated]
    first = [m for m in sent if m.symbol == "BTCUSDT"][-1]
    assert first.snapshot == conflate
    (book,) = parts.publisher.snapshot(p.SnapshotRequest(1, p.depth_topic("BTCUSDT"))).messages
    assert book.bids == [(6.0, 6.0), (5.0, 5.0)]
    parts.publisher.market(depth_batch((7.0, 7.0)), conflate)
    (book,) = parts.publisher.snapshot(p.SnapshotRequest(1, p.depth_topic("BTCUSDT"))).messages
    assert book.bids == [(7.0, 7.0), (6.0, 6.0), (5.0, 5.5)]


def test_a_snapshot_makes_what_came_before_it_void():
    batches = [
        depth_batch((1.0, 1.0), last=False),
        depth_batch((2.0, 2.0), instrument=1, snapshot=True),
        depth_batch((1.1, 1.0)),
        depth_batch((3.0, 3.0), snapshot=True, last=False),
        depth_batch((4.0, 4.0), snapshot=True),
        depth_batch((5.0, 5.0)),
        depth_batch((6.0, 6.0), snapshot=True, last=False),
    ]
    kept, skipped = records.since_snapshot(np.concatenate(batches))
    assert skipped == [0]
    levels = kept["payload"].view(depth_record_dtype)["levels"]
    assert levels["px"][:, 0].tolist() == [2.0, 3.0, 4.0, 5.0, 6.0]
    assert records.since_snapshot(np.concatenate(batches[:3]))[1] == []


COUNTED = (("depth", 1), ("trade", 500), ("feature", 0), ("signal", 0))


def trade_batch(count, instrument=0):
    batch = np.zeros(count, record_dtype)
    batch["kind"], batch["instrument"] = Kind.TRADE, instrument
    batch["payload"].view(market_record_dtype)["event"]["px"] = np.arange(1, count + 1)
    return batch


@pytest.mark.parametrize("conflate", [False, True])
def test_what_nobody_wants_is_counted_and_shown_in_snapshots(conflate):
    parts = Parts()
    parts.publisher.subscribed("md.", False)
    parts.publisher.subscribed("md.ETH.trade", True)
    parts.publisher.market(trade_batch(500), conflate)
    parts.publisher.market(trade_batch(3, instrument=1), conflate)
    parts.publisher.market(depth_batch((1.0, 1.0), snapshot=True), conflate)
    assert [topic for topic, _ in parts.published] == [b"md.ETH.trade"]
    assert [one.seq for one in singles(*parts.published[0])] == [1, 2, 3]
    answer = parts.publisher.snapshot(p.SnapshotRequest(1, "md.BTCUSDT"))
    snapshot = codec.decode_server([codec.encode(answer)])
    assert snapshot.seqs == {f"md.BTCUSDT.{k}": n for k, n in COUNTED}
    trades = [m for m in snapshot.messages if type(m) is p.Trade]
    assert [t.seq for t in trades] == list(range(501 - RECENT_TRADES, 501))
    assert [t.px for t in trades] == [float(t.seq) for t in trades]
    parts.publisher.subscribed("no such topic", True)
    assert parts.publisher._subscribed == {("md.ETH.trade", "market")}
    # Whoever subscribes now and has missed something takes a snapshot.
    parts.publisher.subscribed("md.BTC", True)
    replay = p.ReplayRequest(1, "md.BTCUSDT.trade", 500)
    assert not parts.publisher.replay(replay).complete
    parts.publisher.market(trade_batch(1))
    assert [m[0] for m in parts.published[1:]] == [b"md.BTCUSDT.trade"]
    assert parts.publisher.replay(p.ReplayRequest(1, "md.BTCUSDT.trade", 501)).complete


def test_half_a_line_of_the_log_is_dropped():
    parts = Parts()
    line = {"level": "info", "source": "engine", "text": "x" * 600}
    slots = blob_records(Kind.LOG, line, ts=5)
    assert len(slots) > 2
    parts.publisher.telemetry(slots[1:])
    parts.publisher.telemetry(slots)
    log = parts.publisher.snapshot(p.SnapshotRequest(1, p.LOG_TOPIC)).messages
    assert [m.level for m in log] == ["warning", "info"]
    assert log[1].text == "x" * 600


def test_who_comes_back_after_a_restart():
    live = records.StrategyBlob("mm", "Running", "external", symbols=["ETH"])

    def commands(hello, ticks=0):
        intakes = Intakes()
        old = intakes.open("mm", "cancel").session
        hello = msgspec.structs.replace(hello, resume=hello.resume and old)
        parts = Parts(intakes=intakes)
        parts.restart(live)
        for _ in range(ticks):
            parts.tick()
        parts.tell(hello)
        return [c["command"] for c in parts.link.commands], [type(m) for _, m in parts.sent]

    # The same client takes up its orders; another one, or other symbols, or one that is late, begins anew.
    assert commands(p.Hello(1, "c", "trader", "mm", ["ETH"], {}, "old")) == ([], [p.Welcome])
    assert commands(p.Hello(1, "c", "trader", "mm", [], {}, "old")) == ([], [p.Welcome])
    assert commands(p.Hello(1, "c", "trader", "mm", ["ETH"])) == (["disconnect", "register"], [])
    assert commands(p.Hello(1, "c", "trader", "mm", ["BTCUSDT"], {}, "old")) == (
        ["disconnect", "register"],
        [],
    )
    assert commands(p.Hello(1, "c", "trader", "mm", ["ETH"], {}, "old"), 10) == (
        ["disconnect", "register"],
        [],
    )


def test_traders_wait_until_the_engine_has_told_everything():
    parts = Parts()
    parts.router._waiting = []
    parts.tell(p.Hello(1, "c", "trader", "mm", [], {}, parts.intakes.open("mm", "cancel").session))
    parts.tell(p.Hello(1, "c", "trader", "two"), b"b")
    parts.sessions.peers.pop(("orders", b"b"))
    assert parts.link.commands == []
    parts.restart(records.StrategyBlob("mm", "Paused", "external"))
    assert [type(m) for _, m in parts.sent] == [p.Welcome]
    assert parts.link.commands == []


def test_replies_that_nobody_waits_for_are_dropped():
    parts = Parts()
    parts.tell(p.Hello(1, "c", "admin"), b"z", "control")
    parts.tell(p.Pause(1, "mm"), b"z", "control")
    for _ in range(REPLY_TICKS):
        parts.tell(p.Heartbeat(1), b"z", "control")
        parts.tick()
    assert parts.sent[-1][1].code == "engine_timeout"
    before = len(parts.sent)
    parts.reply()
    assert len(parts.sent) == before


@pytest.mark.parametrize(
    ("value", "unit", "units"),
    [
        (100.1, 0.1, 1001),
        (0.30000000000000004, 0.1, 3),
        (1e15, 1.0, 10**15),
        (42000.7, 0.1, 420007),
        (1e-8, 1e-8, 1),
    ],
)
def testunits_of(value, unit, units):
    assert units_of("px", value, "tick_size", unit) == units


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, 0.05, 1e300, 0.15, 100.12])
def test_units_refused(value):
    with pytest.raises(Invalid, match="px"):
        units_of("px", value, "tick_size", 0.1)


def test_corrupt_records_are_named():
    batch = depth_batch((1.0, 1.0))
    row = batch["payload"].view(depth_record_dtype)
    row["n_bids"], row["n_asks"] = 13, 1
    with pytest.raises(RingCorrupt, match="13 bids and 1 asks"):
        Parts().publisher.market(batch)
    with pytest.raises(RingCorrupt, match="kind 6"):
        records.blob(Kind.REPLY, {"request_id": "x"})
    with pytest.raises(RingCorrupt, match="instrument 9"):
        Parts().publisher.symbol(9)


def order_batch(**fields):
    batch = np.zeros(1, record_dtype)
    batch["kind"], batch["strategy"] = Kind.ORDER, fields.pop("strategy", 3)
    row = batch["payload"].view(order_record_dtype)
    for name, value in ({"side": 1, "order_id": 1, "client_order_id": 1} | fields).items():
        if name in order_record_dtype.names:
            row[name] = value
        else:
            row["order"][name] = value
    ((_, (news,), _),) = records.runs(batch)
    return news


def test_live_orders_in_snapshots():
    parts = Parts()
    parts.publisher.names[3] = "mm"
    ask = p.SnapshotRequest(1, p.ORDERS_TOPIC)
    for status, reason, live in (
        (Status.NEW, 0, 1),
        (Status.DENIED, Reason.REQUEST_IN_FLIGHT, 1),
        (Status.PARTIALLY_FILLED, 0, 1),
        (Status.CANCELED, 0, 0),
        (Status.DENIED, Reason.MAX_POSITION, 0),
    ):
        parts.publisher.order(order_batch(status=status, reason=reason))
        assert len(parts.publisher.snapshot(ask).messages) == live
    assert parts.publisher.snapshot(ask).seqs == {p.ORDERS_TOPIC: 5}


def test_a_resync_lets_go_of_what_is_not_told_again():
    parts = Parts()
    parts.publisher.names[3] = "mm"
    for number in (1, 2):
        parts.publisher.order(order_batch(status=Status.NEW, order_id=number))
    parts.publisher.begin_resync()
    parts.publisher.order(order_batch(status=Status.NEW, order_id=2))
    parts.publisher.end_resync()
    snapshot = codec.decode_server(
        [codec.encode(parts.publisher.snapshot(p.SnapshotRequest(1, p.ORDERS_TOPIC)))]
    )
    assert [m.order_id for m in snapshot.messages] == [2]
    assert snapshot.seqs == {p.ORDERS_TOPIC: 4}
    assert not parts.publisher.replay(p.ReplayRequest(1, p.ORDERS_TOPIC, 4)).complete


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
TAGS = sorted(
    {t.__name__ for union in (p.ClientMessage, p.ControlMessage) for t in union.__args__}
    | {"Welcome", "", "Nope"}
)
messages = st.tuples(st.sampled_from(TAGS), st.lists(anything, max_size=6)).map(
    lambda m: msgspec.msgpack.encode([m[0], *m[1]])
)
low = st.integers(1, 4)
symbols = st.sampled_from(["BTCUSDT", "ETH", "NO"])
roles = st.sampled_from(["observer", "trader", "admin"])
some_params = st.dictionaries(st.text(max_size=3), anything, max_size=3)
plausible = st.one_of(
    st.builds(p.Submit, low, symbols, st.sampled_from(["buy", "sell"]), st.floats(), st.floats()),
    st.builds(p.Submit, low, symbols, st.just("buy"), st.floats(), st.just(0.5), st.just("market")),
    st.builds(p.Modify, low, st.floats(), st.floats()),
    st.builds(p.Cancel, low),
    st.builds(p.Signal, st.just("s"), st.floats()),
    st.builds(p.UpdateRiskLimits, low, st.just("mm"), max_position=st.floats()),
    st.builds(p.UpdateParams, low, st.just("mm"), some_params),
    st.builds(p.Hello, st.just(1), st.just("c"), roles, st.sampled_from(["", "mm", "x y"])),
    st.builds(p.ReplayRequest, low, st.sampled_from(["md.ETH.depth", "x"]), st.integers(0, 2**63 - 1)),
    st.builds(p.ExecutionReplayRequest, st.integers(0, 2**63 - 1)),
    st.builds(p.Goodbye),
).map(codec.encode)
frames = st.lists(
    st.tuples(
        st.sampled_from(["orders", "control"]),
        st.sampled_from([b"a", b"b"]),
        st.lists(messages | plausible | st.binary(max_size=40), min_size=1, max_size=2),
    ),
    max_size=25,
)


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(frames, st.booleans())
def test_whatever_clients_send_nothing_raises_and_nothing_bad_reaches_the_engine(stream, full):
    parts = Parts()
    parts.trader(b"a", "mm", 3)
    parts.tell(p.Hello(1, "c", "admin"), b"a", "control")
    parts.link.full = full
    for channel, identity, rest in stream:
        parts.sessions.receive(channel, [identity, *rest])
    for _ in range(5):
        parts.tick()
    for values, fields in parts.link.orders:
        request, _slot, _instrument, number = values[:4]
        lots = fields.get("lots", values[6] if len(values) > 6 else 0)
        assert request == Status.CANCELED or (number > 0 and 0 < lots <= 2**53)
    for _, signal in parts.link.signals:
        assert math.isfinite(signal["value"])
    for command in parts.link.commands:
        assert p.wrong_params(command.get("params", {})) == ""
        assert math.isfinite(command.get("max_position") or 0.0)


def test_parameters_that_would_not_fit_the_engines_answers_are_refused():
    parts = Parts()
    many = {f"p{i}": "x" * 200 for i in range(200)}
    answer = parts.tell(p.Hello(1, "c", "trader", "mm", [], many))
    assert (answer.code, answer.message) == (
        "bad_hello",
        f"texts of 40000 bytes are above {p.MAX_PARAMS_BYTES}",
    )
    assert parts.link.commands == []


def test_a_seat_that_was_given_away_forgets_its_last_owner():
    parts = Parts()
    for number in range(3):
        parts.trader(b"%d" % number, f"guest{number}", slot=3)
        parts.tell(p.Goodbye(), b"%d" % number)
        parts.reply()
    assert list(parts.router.externals) == ["guest2"]


def admin(parts, identity=b"z"):
    parts.tell(p.Hello(1, "cli:ann", "admin"), identity, "control")
    return lambda message: parts.tell(message, identity, "control")


def test_commands_say_who_sent_them_and_when():
    parts = Parts()
    tell = admin(parts)
    tell(p.Pause(5, "mm"))
    command = parts.link.commands[-1]
    assert (command["command"], command["who"], command["strategy_id"]) == ("pause", "cli:ann", "mm")
    assert command["at"] > 10**18
    tell(p.Kill(6, symbol="ETH", reason="why"))
    assert (
        parts.link.commands[-1] | {"command": "kill", "symbol": "ETH", "reason": "why"}
        == parts.link.commands[-1]
    )
    reply = parts.reply(details={"switches": []})
    assert (type(reply), reply.request_id, reply.details) == (p.ControlReply, 6, {"switches": []})


def test_a_trader_kills_its_own_strategy_and_nothing_else():
    parts = Parts()
    parts.trader()
    before = len(parts.link.commands)
    for message in (p.Kill(1), p.Kill(1, "other"), p.Kill(1, "mm", "ETH"), p.Kill(1, symbol="ETH")):
        refused = parts.tell(message)
        assert (refused.code, refused.request_id) == ("forbidden", 1)
    assert len(parts.link.commands) == before
    parts.tell(p.Kill(2, "mm"))
    assert parts.link.commands[-1]["who"] == "mm/c"
    assert parts.reply().request_id == 2
    parts.tell(p.Hello(1, "c", "observer"), b"o")
    assert parts.tell(p.Kill(3, "mm"), b"o").code == "forbidden"


@pytest.mark.parametrize(
    ("token", "sent", "code"),
    [
        ("secret", "secret", None),
        ("secret", "", "forbidden"),
        ("secret", "secre", "forbidden"),
        ("s\u00e9cret", "s\u00e9cret", None),
        ("", "", "forbidden"),
    ],
)
def test_rearming_can_need_a_token_which_the_engine_never_sees(token, sent, code):
    parts = Parts()
    parts.control = Control(parts.link, parts.sessions, 5000, lambda: token)
    parts.sessions.on_message["control"] = parts.control.message
    parts.router._control = parts.control
    tell = admin(parts)
    before = len(parts.link.commands)
    answer = tell(p.Rearm(9, "1f3a9c07", sent))
    if code is None:
        assert "token" not in parts.link.commands[-1]
        assert parts.link.commands[-1]["switch"] == "1f3a9c07"
    else:
        assert (answer.code, answer.request_id) == (code, 9)
        assert len(parts.link.commands) == before
    tell(p.Kill(10))
    assert parts.link.commands[-1]["command"] == "kill"


def test_a_token_file_that_cannot_be_read_lets_nobody_rearm(tmp_path):
    parts = Parts()
    config = BridgeConfig(
        endpoint="ipc:///x",
        engine="e",
        mode="PAPER",
        instruments=[],
        rings={},
        bell="b",
        engine_bell="b",
        rearm_token_file=str(tmp_path / "none"),
    )
    parts.control = Control(parts.link, parts.sessions, 5000, config.rearm_token())
    parts.sessions.on_message["control"] = parts.control.message
    answer = admin(parts)(p.Rearm(9, "1f3a9c07", "x"))
    assert (answer.code, "No such file" in answer.message) == ("forbidden", True)
    (tmp_path / "none").write_text("x\n")
    assert config.rearm_token()() == "x"


@pytest.mark.parametrize("value", [float("nan"), -1.0, None, "x" * 65, [1], ["x"] * 17, [["x"]], {"x": 1}])
def test_limits_by_name_are_numbers_texts_or_truth_values(value):
    parts = Parts()
    tell = admin(parts)
    assert tell(p.UpdateRiskLimits(4, "mm", limits={"max_position": value})).code == "invalid_params"
    tell(p.UpdateRiskLimits(5, "mm", limits={"max_position": float("inf")}))
    assert parts.link.commands[-1]["limits"] == {"max_position": float("inf")}
    tell(p.UpdateRiskLimits(6, "mm", limits={"reduce_only": True, "session_hours": ["08:00-16:30"]}))
    assert parts.link.commands[-1]["limits"]["session_hours"] == ["08:00-16:30"]


def test_every_so_often_a_depth_says_how_the_whole_book_is():
    parts = Parts()
    parts.publisher.market(depth_batch((100.0, 1.0), snapshot=True))
    for step in range(2 * CHECKED_EVERY):
        parts.publisher.market(depth_batch((90.0 + step % 7, float(step))))
    book = Book("BTCUSDT")
    checked = 0
    for _, frame in parts.published:
        depth = msgspec.msgpack.decode(frame, type=p.Depth)
        book.apply(depth)
        if depth.checksum:
            assert depth.seq % CHECKED_EVERY == 0
            assert depth.checksum == book.checksum()
            checked += 1
    assert checked == 2
    (whole,) = parts.publisher.snapshot(p.SnapshotRequest(1, "md.BTCUSDT.depth")).messages
    assert whole.checksum == book.checksum() > 1
    book.bids.popitem()
    assert whole.checksum != book.checksum()


def test_features_and_signals_are_published_and_shown():
    parts = Parts()
    parts.trader()
    parts.tell(p.Features("shape", "ETH", ["mid", "spread"], bytes(32)))
    parts.tell(p.Signal("alpha", 0.5, "ETH"))
    parts.tell(p.Signal("alpha", 0.7, "ETH"))
    parts.tell(p.Signal("mood", 1.0))
    topics = [topic for topic, _ in parts.published]
    assert topics == [b"md.ETH.feature", b"md.ETH.signal", b"md.ETH.signal"]
    assert len(parts.link.signals) == 3
    (signal,) = parts.publisher.snapshot(p.SnapshotRequest(1, "md.ETH.signal")).messages
    assert (signal.seq, signal.strategy_id, signal.name, signal.value) == (2, "mm", "alpha", 0.7)
    (features,) = parts.publisher.snapshot(p.SnapshotRequest(1, "md.ETH.feature")).messages
    assert np.frombuffer(features.data).reshape(-1, len(features.columns)).shape == (2, 2)
    assert parts.tell(p.Features("x", "ETH", ["a", "b"], bytes(24))).code == "invalid_params"
    assert parts.tell(p.Features("x", "DOGE", ["a"], bytes(8))).code == "unknown_symbol"
    for number in range(KEPT_NAMES + 3):
        parts.tell(p.Signal(f"s{number}", 1.0, "ETH"))
    kept = parts.publisher.snapshot(p.SnapshotRequest(1, "md.ETH.signal")).messages
    assert [message.name for message in kept] == [f"s{n}" for n in range(3, KEPT_NAMES + 3)]


def test_the_market_is_wanted_from_a_snapshot_or_a_subscriber_on_until_the_last_has_gone():
    publisher = Publisher(1, "test", "PAPER", INSTRUMENTS, lambda topic, frame: None)
    assert not publisher.market_wanted
    publisher.snapshot(p.SnapshotRequest(1, p.depth_topic("BTCUSDT")))
    for _ in range(ASKED_TICKS):
        assert publisher.market_wanted
        publisher.tick()
    assert not publisher.market_wanted
    publisher.subscribed("md.", True)
    publisher.subscribed(p.depth_topic("BTCUSDT"), True, "lanes")
    publisher.subscribed("md.", False)
    assert publisher.market_wanted
    publisher.subscribed(p.depth_topic("BTCUSDT"), False, "lanes")
    assert not publisher.market_wanted
    # Telemetry is none of it.
    publisher.subscribed("tm.", True)
    assert not publisher.market_wanted
