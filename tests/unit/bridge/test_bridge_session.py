"""The client's state machine, tick by tick, with a transport that only remembers."""

import time
from concurrent.futures import Future
from types import SimpleNamespace

import msgspec
import pytest

from bridge import codec
from bridge import protocol as p
from bridge.errors import CommandRefused, ConnectionLost, OrderRejected, VersionMismatch
from bridge.session import BACKOFF_TICKS, HELLO_TICKS, STALLED_S, Session
from bridge.transport import ConnectionState

BASE = "ipc:///tmp/x"


class Wire:
    """A transport whose other end is the test."""

    trouble = ""

    def __init__(self):
        self.sent, self.topics, self.opened, self.full = [], {}, 0, False
        self.renewed = []

    def open(self, base, channels):
        self.opened += 1
        self.sent.clear()

    def open_streams(self, market, telemetry):
        self.topics.clear()

    def renew_market(self, market):
        self.renewed.append(market)
        self.topics = {topic: on for topic, on in self.topics.items() if not topic.startswith("md.")}

    def hold_leash(self, base, session):
        self.leash = session

    def send(self, channel, frame):
        if self.full:
            return False
        decode = codec.decode_client if channel == "orders" else codec.decode_control
        self.sent.append((channel, decode([frame])))
        return True

    def subscribe(self, topic, on):
        self.topics[topic] = on

    def close(self):
        self.topics.clear()

    def of(self, kind):
        return [message for _, message in self.sent if type(message) is kind]


def make(role="observer", strategy_id="", misses=3):
    wire = Wire()
    session = Session(wire, BASE, p.Hello(1, "test", role, strategy_id), misses)
    states = []
    session.on_state = lambda state, detail: states.append(state)
    session.start()
    return session, wire, states


def tell(session, message, channel="orders"):
    session.receive(channel, [codec.encode(message)])


def welcome(epoch=1, exec_seq=0):
    return p.Welcome(1, epoch, "s", "ipc://m", "ipc://t", "PAPER", "engine", [], exec_seq)


def test_heartbeats_and_loss():
    session, wire, states = make()
    tell(session, welcome())
    assert session.state is ConnectionState.CONNECTED
    for _ in range(20):
        session.tick()
        tell(session, wire.of(p.Heartbeat)[-1])
    assert len(wire.of(p.Heartbeat)) == 20
    assert session.rtt_ns > 0
    for _ in range(3):
        session.tick()
        assert session.state is ConnectionState.CONNECTED
    session.tick()
    assert states == [ConnectionState.CONNECTED, ConnectionState.RECONNECTING]
    assert "no heartbeat" in session.detail


def test_back_off_grows_and_starts_over():
    session, wire, _ = make()
    gaps, ticks = [], 0
    while len(gaps) < 7:
        before = wire.opened
        session.tick()
        ticks += 1
        if wire.opened > before:
            gaps.append(ticks - HELLO_TICKS - 1)
            ticks = 0
    assert gaps == [*BACKOFF_TICKS, 80, 80]
    tell(session, welcome())
    tell(session, p.Goodbye("restart"))
    opened = wire.opened
    for _ in range(BACKOFF_TICKS[0]):
        assert wire.opened == opened
        session.tick()
    assert wire.opened == opened + 1


def test_version_mismatch_is_final():
    for answer in (p.Error("version_mismatch", "client speaks version 1, server 2"), p.Welcome(
        2, 1, "s", "", "", "PAPER", "e", [])):  # fmt: skip
        session, wire, states = make()
        tell(session, answer)
        assert states == [ConnectionState.CLOSED]
        assert isinstance(session.failure, VersionMismatch)
        opened = wire.opened
        for _ in range(300):
            session.tick()
        assert wire.opened == opened


def test_a_refusal_that_may_pass_is_tried_again():
    session, wire, _ = make("trader", "mm")
    tell(session, p.Error("strategy_in_use", "taken"))
    assert session.failure is None
    for _ in range(BACKOFF_TICKS[0]):
        session.tick()
    assert wire.opened == 2


def test_streams_are_asked_for_and_come_back_after_a_restart():
    session, wire, _ = make()
    session.subscriptions.subscribe(["md.X.depth", "tm.log"])
    assert wire.of(p.SnapshotRequest) == []
    tell(session, welcome())
    assert wire.topics == {"md.X.depth": True, "tm.log": True}
    asked = {m.topic: m.request_id for m in wire.of(p.SnapshotRequest)}
    assert set(asked) == {"md.X.depth", "tm.log"}
    book = p.Depth(1, 4, "X", 0, 0, [(1.0, 2.0)], [], True)
    tell(session, p.Snapshot(asked["md.X.depth"], "md.X.depth", 1, {"md.X.depth": 4}, [book]))
    assert session.subscriptions.books["X"].bids == {1.0: 2.0}
    assert not session.subscriptions.stale("md.X.depth")
    assert session.subscriptions.stale("tm.log")
    tell(session, p.Error("hello_first", "who are you"))
    assert session.subscriptions.books["X"].stale
    # The server is there, and answers at once.
    session.tick()
    tell(session, welcome(epoch=1))
    assert [m.from_seq for m in wire.of(p.ReplayRequest)] == [5]
    tell(session, p.Goodbye())
    for _ in range(BACKOFF_TICKS[0]):
        session.tick()
    tell(session, welcome(epoch=2))
    assert {m.topic for m in wire.of(p.SnapshotRequest)} == {"md.X.depth", "tm.log"}
    session.subscriptions.unsubscribe(["md.X.depth"])
    assert wire.topics["md.X.depth"] is False
    assert session.subscriptions.books == {}


def test_a_client_that_was_stopped_throws_away_what_waits_and_heals_the_gap(monkeypatch):
    now = 100.0
    clock = SimpleNamespace(monotonic=lambda: now, monotonic_ns=time.monotonic_ns, time_ns=time.time_ns)
    monkeypatch.setattr("bridge.session.time", clock)
    session, wire, _ = make(misses=30)
    session.subscriptions.subscribe(["md.X.depth", "tm.log"])
    tell(session, welcome())
    for message in wire.of(p.SnapshotRequest):
        book = [p.Depth(1, 4, "X", 0, 0, [(1.0, 2.0)], [], True)] * (message.topic == "md.X.depth")
        tell(session, p.Snapshot(message.request_id, message.topic, 1, {message.topic: 4}, book))
    for _ in range(5):
        now += STALLED_S
        session.tick()
    assert wire.renewed == []
    wire.sent.clear()
    now += STALLED_S + 0.1
    session.tick()
    assert wire.renewed == ["ipc://m"]
    assert wire.topics == {"md.X.depth": True, "tm.log": True}
    assert [(m.topic, m.from_seq) for m in wire.of(p.ReplayRequest)] == [("md.X.depth", 5), ("tm.log", 5)]
    assert session.subscriptions.books["X"].stale
    tell(session, p.Replay(wire.of(p.ReplayRequest)[0].request_id, "md.X.depth", 1, False, []))
    request = wire.of(p.SnapshotRequest)[-1]
    later = p.Depth(1, 900, "X", 0, 0, [(2.0, 1.0)], [], True)
    tell(session, p.Snapshot(request.request_id, "md.X.depth", 1, {"md.X.depth": 900}, [later]))
    book = session.subscriptions.books["X"]
    assert (book.bids, book.seq, book.stale) == ({2.0: 1.0}, 900, False)
    assert session.state is ConnectionState.CONNECTED


def test_an_admin_with_a_strategy_has_both_sockets():
    session, wire, _ = make("admin", "mm")
    assert [(c, m.strategy_id) for c, m in wire.sent] == [("orders", "mm"), ("control", "")]
    tell(session, welcome())
    assert session.state is ConnectionState.CONNECTING
    tell(session, welcome(), "control")
    assert session.state is ConnectionState.CONNECTED
    assert make("admin")[0].channels == ("control",)
    with pytest.raises(ValueError, match="strategy_id"):
        make("trader")


def test_requests_and_their_answers():
    session, _, _ = make("admin")
    future = Future()
    session.request("control", p.Pause(1), future)
    assert isinstance(future.exception(), ConnectionLost)
    tell(session, welcome(), "control")
    replies = [Future() for _ in range(4)]
    for number, future in enumerate(replies):
        session.request("control", p.Pause(number + 1), future)
    reply = p.ControlReply(1, True, "", "Paused", "ACTIVE", {}, 9)
    tell(session, reply, "control")
    assert replies[0].result(0) == reply
    tell(session, p.Error("busy", "full", 2), "control")
    assert isinstance(replies[1].exception(0), CommandRefused)
    session.forget(3)
    tell(session, p.ControlReply(3, True, "", "", "", {}, 9), "control")
    assert not replies[2].done()
    tell(session, p.Goodbye(), "control")
    assert isinstance(replies[3].exception(0), ConnectionLost)
    refused = Future()
    make()[0].request("control", p.Pause(1), refused)
    assert isinstance(refused.exception(), CommandRefused)


def test_a_fresh_client_starts_at_the_servers_number_and_an_old_one_goes_on():
    session, wire, _ = make("trader", "mm")
    tell(session, welcome(exec_seq=41))
    assert wire.of(p.ExecutionReplayRequest)[-1].from_seq == 42
    tell(session, p.Goodbye())
    for _ in range(BACKOFF_TICKS[0]):
        session.tick()
    tell(session, welcome(exec_seq=50))
    assert wire.of(p.ExecutionReplayRequest)[-1].from_seq == 42
    tell(session, p.Goodbye())
    for _ in range(BACKOFF_TICKS[0]):
        session.tick()
    tell(session, welcome(epoch=2, exec_seq=3))
    assert wire.of(p.ExecutionReplayRequest)[-1].from_seq == 1
    assert not wire.of(p.QueryOrder)


def test_what_became_of_orders_without_an_execution_is_told():
    session, wire, _ = make("trader", "mm")
    heard = []
    session.on_order = heard.append
    tell(session, welcome())
    for number in (1, 2, 3):
        session.send(p.Submit(number, "X", "buy", 1.0, 2.0))
    new = p.Execution(1, 1, 0, 0, "mm", "X", 1, 1, "buy", "limit", "GTC", "NEW", "NONE", 1.0, 2.0, 2.0, 0.0,
                      0.0, 0.0, 0.0, False, "", 1)  # fmt: skip
    tell(session, new)
    assert session.orders.states[1].status == "NEW"
    assert heard == []

    def again(answer):
        tell(session, p.Goodbye())
        for _ in range(BACKOFF_TICKS[0]):
            session.tick()
        tell(session, answer)

    again(msgspec.structs.replace(welcome(), received=2))
    assert [(state.client_order_id, state.status) for state in heard] == [(3, "REFUSED")]
    again(msgspec.structs.replace(welcome(epoch=2), received=2))
    first, second = wire.of(p.QueryOrder)
    filled = msgspec.structs.replace(
        new, client_order_id=2, status="FILLED", leaves_qty=0.0, cum_exec_qty=2.0, exec_px=0.5
    )
    tell(session, p.OrderReport(first.request_id, 1, False, False))
    tell(session, p.OrderReport(second.request_id, 2, True, False, filled, filled))
    tell(session, p.OrderReport(second.request_id, 2, True, False, filled, filled))
    told = [(state.client_order_id, state.status, state.cum_exec_qty, state.exec_px) for state in heard[1:]]
    assert told == [(1, "LOST", 0.0, 0.0), (2, "FILLED", 2.0, 0.5)]
    assert heard[-1] is not session.orders.states[2]


def test_a_callback_that_raises_harms_nobody(caplog):
    session, _, _ = make()
    session.on_state = lambda state, detail: 1 / 0
    tell(session, welcome())
    assert session.state is ConnectionState.CONNECTED
    assert "a callback of the client raised" in caplog.text


def test_a_full_socket_says_so():
    session, wire, _ = make("trader", "mm")
    tell(session, welcome())
    wire.full = True
    with pytest.raises(OrderRejected, match="full"):
        session.send(p.Cancel(1))
    wire.full = False
    session.send(p.Submit(5, "X", "buy", 1.0, 1.0))
    assert session.orders.states[5].status == "PENDING"


def test_what_the_server_could_not_read_is_refused_before_it_is_sent():
    session, wire, _ = make("admin", "mm")
    tell(session, welcome())
    tell(session, welcome(), "control")
    wire.sent.clear()
    refused = Future()
    session.request("control", p.UpdateRiskLimits(1, "mm", max_open_orders=2.5), refused)
    assert "int" in str(refused.exception(0))
    with pytest.raises(OrderRejected, match="hold"):
        session.send(p.Submit(5, "X", "hold", 1.0, 1.0))
    assert wire.sent == []
    with pytest.raises(ValueError, match="a hello of more than"):
        Session(wire, BASE, p.Hello(1, "test", "trader", "mm", params={"a": "x" * p.MAX_FRAME}), 3)


def test_a_denied_order_says_why():
    session, _, _ = make("trader", "mm")
    tell(session, welcome())
    session.send(p.Submit(5, "X", "buy", 1.0, 1.0))
    first = Future()
    session.executions.wait(5, first)
    tell(session, p.Error("unknown_symbol", "the engine has no instrument 'X'", 0, 5))
    assert "no instrument 'X'" in str(first.exception(0))


def test_a_book_that_is_not_the_servers_is_taken_anew():
    session, wire, _ = make()
    tell(session, welcome())
    session.subscriptions.subscribe(["md.X.depth"])

    def answer():
        request = wire.of(p.SnapshotRequest)[-1]
        whole = p.Depth(1, 5, "X", 0, 0, [(1.0, 2.0)], [], True)
        tell(session, p.Snapshot(request.request_id, "md.X.depth", 1, {"md.X.depth": 5}, [whole]))

    def publish(seq, checksum):
        depth = p.Depth(1, seq, "X", 0, 0, [(1.0, 3.0)], [], checksum=checksum)
        session.receive("market", [b"md.X.depth", codec.encode(depth)])

    answer()
    book = session.subscriptions.books["X"]
    publish(6, 0)
    assert not book.stale
    publish(7, book.checksum())
    assert (book.stale, session.subscriptions.mismatches) == (False, 0)
    publish(8, book.checksum() ^ 1)
    assert (book.stale, session.subscriptions.mismatches) == (True, 1)
    answer()
    assert (book.stale, book.bids) == (False, {1.0: 2.0})
