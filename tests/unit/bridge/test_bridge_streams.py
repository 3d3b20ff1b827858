"""Streams, books and orders of a client, without sockets: against an oracle, under loss and disorder."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import protocol as p
from bridge.books import Book
from bridge.streams import ENDED_KEPT, RETRY_TICKS, TAIL_TICKS, Orders, Stream

TOPIC = p.depth_topic("X")


def depth(seq, bids=(), asks=(), epoch=1, **flags):
    return p.Depth(epoch, seq, "X", seq, seq, list(bids), list(asks), **flags)


class Server:
    """An obvious publisher of one topic: remembers everything, and a book of two dicts."""

    def __init__(self, kept):
        self.kept = kept
        self.messages = []
        self.bids, self.asks = {}, {}

    def publish(self, bids, asks):
        message = depth(len(self.messages) + 1, bids, asks)
        self.messages.append(message)
        for side, levels in ((self.bids, bids), (self.asks, asks)):
            for px, qty in levels:
                if qty:
                    side[px] = qty
                else:
                    side.pop(px, None)
        return message

    def answer(self, stream):
        stream.asked(stream.request_id + 1)
        seq = len(self.messages)
        if stream.want.kind == "snapshot":
            book = depth(seq, self.bids.items(), self.asks.items(), snapshot=True)
            return stream.snapshot(p.Snapshot(stream.request_id, TOPIC, 1, {TOPIC: seq}, [book]))
        first = stream.want.from_seq
        complete = first > seq - self.kept
        missed = self.messages[first - 1 :] if complete else []
        return stream.replay(p.Replay(stream.request_id, TOPIC, 1, complete, missed))


levels = st.lists(st.tuples(st.integers(1, 6).map(float), st.integers(0, 2).map(float)), max_size=3)
actions = st.lists(
    st.one_of(
        st.tuples(
            st.just("publish"),
            levels,
            levels,
            st.sampled_from(["deliver", "lose", "twice", "late", "together"]),
        ),
        st.tuples(st.just("answer")),
        st.tuples(st.just("tick")),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(actions, st.integers(0, 8))
def test_a_stream_delivers_each_message_once_and_in_order(actions, kept):
    server, stream, book, got, late = Server(kept), Stream(TOPIC), Book("X"), [], []

    def deliver(messages):
        for message in messages:
            got.append(message)
            for one in message.messages if isinstance(message, p.Snapshot) else [message]:
                book.apply(one)

    for action in actions:
        if action[0] == "publish":
            message = server.publish(action[1], action[2])
            if action[3] == "late":
                late.append(message)
            for _ in range({"deliver": 1, "twice": 2}.get(action[3], 0)):
                deliver(stream.message(message))
            if action[3] == "together":
                # What came late, and what comes once more, before and behind what is new.
                deliver(stream.messages([*late, message, *late]))
                late.clear()
            if action[3] == "deliver":
                while late:
                    deliver(stream.message(late.pop()))
        elif action[0] == "answer":
            if stream.want is not None:
                deliver(server.answer(stream))
        else:
            stream.tick()
    for _ in range(TAIL_TICKS):
        stream.tick()
    rounds = 0
    while stream.want is not None:
        deliver(server.answer(stream))
        rounds += 1
        assert rounds < 5
    assert stream.live
    assert (book.bids, book.asks) == (server.bids, server.asks)
    assert book.best_bid == max(server.bids, default=None)
    assert book.best_ask == min(server.asks, default=None)
    expected = 0
    for message in got:
        if isinstance(message, p.Snapshot):
            expected = message.seqs[TOPIC]
        else:
            expected += 1
            assert message.seq == expected
    assert expected == len(server.messages)


def test_messages_that_follow_each_other_are_taken_together():
    stream = Stream(TOPIC)
    stream.asked(1)
    stream.snapshot(p.Snapshot(1, TOPIC, 1, {TOPIC: 4}, []))
    together = [depth(seq) for seq in (5, 6, 7)]
    assert stream.messages(together) is together
    assert (stream.seq, stream.live) == (7, True)
    assert stream.messages([]) == []
    assert stream.messages([depth(7), depth(8)]) == [depth(8)]
    assert stream.messages([depth(9), depth(10, epoch=2), depth(11)]) == [depth(9)]
    assert not stream.live


def test_answers_to_old_requests_are_ignored():
    stream = Stream(TOPIC)
    stream.asked(1)
    stream.asked(2)
    assert stream.snapshot(p.Snapshot(1, TOPIC, 1, {TOPIC: 5}, [])) == []
    assert not stream.live
    assert len(stream.snapshot(p.Snapshot(2, TOPIC, 1, {TOPIC: 5}, []))) == 1
    assert stream.live
    assert stream.replay(p.Replay(2, TOPIC, 1, True, [])) == []


def test_an_answer_that_takes_longer_than_there_is_room_to_wait_still_counts(monkeypatch):
    monkeypatch.setattr("bridge.streams.MAX_WAITING", 3)
    stream = Stream(TOPIC)
    stream.asked(1)
    for seq in range(5, 10):
        assert stream.message(depth(seq)) == []
    snapshot = p.Snapshot(1, TOPIC, 1, {TOPIC: 6}, [])
    # 5 to 7 are forgotten; 7 is a gap, and what came behind it is still there once that is closed.
    assert stream.snapshot(snapshot) == [snapshot]
    assert (stream.want.kind, stream.want.from_seq) == ("replay", 7)
    stream.asked(2)
    assert stream.replay(p.Replay(2, TOPIC, 1, True, [depth(7)])) == [depth(7), depth(8), depth(9)]
    assert stream.live


def test_a_request_is_repeated_when_nobody_answers():
    stream = Stream(TOPIC)
    stream.asked(1)
    ticks = [stream.tick() for _ in range(RETRY_TICKS)]
    assert ticks == [False] * (RETRY_TICKS - 1) + [True]


def test_a_silent_stream_asks_for_its_tail_and_goes_on_meanwhile():
    stream = Stream(TOPIC)
    stream.asked(1)
    stream.snapshot(p.Snapshot(1, TOPIC, 1, {TOPIC: 5}, []))
    assert [stream.tick() for _ in range(TAIL_TICKS)][-1]
    assert stream.live
    stream.asked(2)
    assert stream.message(depth(6)) == [depth(6)]
    assert stream.replay(p.Replay(2, TOPIC, 1, True, [depth(6), depth(7)])) == [depth(7)]


def test_a_replay_that_does_not_close_its_gap_ends_in_a_snapshot():
    stream = Stream(TOPIC)
    stream.asked(1)
    stream.snapshot(p.Snapshot(1, TOPIC, 1, {TOPIC: 5}, []))
    assert stream.message(depth(8)) == []
    stream.asked(2)
    assert stream.replay(p.Replay(2, TOPIC, 1, True, [])) == []
    assert stream.want.kind == "snapshot"


def test_another_epoch_starts_anew():
    stream = Stream(TOPIC)
    stream.asked(1)
    stream.snapshot(p.Snapshot(1, TOPIC, 1, {TOPIC: 5}, []))
    assert stream.message(depth(6, epoch=2)) == []
    assert stream.want.kind == "snapshot"
    stream.asked(2)
    got = stream.snapshot(p.Snapshot(2, TOPIC, 2, {TOPIC: 5}, []))
    assert got[1:] == [depth(6, epoch=2)]
    stream.resume(2)
    assert stream.want.kind == "replay"
    stream.resume(3)
    assert stream.want.kind == "snapshot"


def test_book():
    book = Book("X")
    assert (book.mid, book.best_bid, book.stale) == (None, None, True)
    book.apply(depth(1, [(1.0, 1.0), (2.0, 1.0)], [(3.0, 1.0), (4.0, 2.0)], snapshot=True))
    kept = book.copy()
    book.apply(depth(2, [(2.0, 0.0)], [(3.0, 0.0)], conflated=True))
    assert (book.best_bid, book.best_ask, book.mid, book.conflated) == (1.0, 4.0, 2.5, 1)
    assert kept.levels(1) == ([(2.0, 1.0)], [(3.0, 1.0)])
    assert kept.mid == 2.5
    book.apply(depth(3, snapshot=True))
    assert (book.best_bid, book.best_ask, book.levels(5)) == (None, None, ([], []))


def execution(seq, number=1, status="NEW", prev="NONE", **fields):
    values = {
        "epoch": 1, "seq": seq, "ts": 0, "exch_ts": 0, "strategy_id": "s", "symbol": "X",
        "client_order_id": number, "order_id": number, "side": "buy", "order_type": "limit",
        "time_in_force": "GTC", "status": status, "prev_status": prev, "px": 1.0, "qty": 2.0,
        "leaves_qty": 2.0, "cum_exec_qty": 0.0, "exec_px": 0.0, "exec_qty": 0.0, "fee": 0.0,
        "is_maker": False, "reason": "", "step": 1,
    }  # fmt: skip
    return p.Execution(**values | fields)


def test_orders_follow_their_executions():
    orders = Orders()
    orders.submitted(p.Submit(1, "X", "buy", 1.0, 2.0))
    assert orders.states[1].status == "PENDING"
    assert orders.executed(execution(1, status="NONE")).status == "PENDING"
    assert orders.executed(execution(2)).status == "NEW"
    state = orders.executed(
        execution(3, status="PARTIALLY_FILLED", prev="NEW", cum_exec_qty=0.5, leaves_qty=1.5, fee=0.1)
    )
    assert (state.leaves_qty, state.fee, state.live) == (1.5, 0.1, True)
    state = orders.executed(execution(4, status="FILLED", cum_exec_qty=2.0, leaves_qty=0.0, fee=0.2))
    assert (state.status, state.fee, state.live) == ("FILLED", pytest.approx(0.3), False)
    # A cancel that came too late is denied, which does not change how the order ended.
    assert orders.executed(execution(5, status="DENIED", reason="unknown_order")).status == "FILLED"


@pytest.mark.parametrize(
    ("prev", "reason", "status"),
    [
        ("NONE", "max_position", "DENIED"),
        ("NONE", "request_in_flight", "PENDING"),
        ("NONE", "duplicate_order_id", "PENDING"),
        ("NEW", "invalid_price", "PENDING"),
    ],
)
def test_a_denied_change_leaves_the_order(prev, reason, status):
    orders = Orders()
    orders.submitted(p.Submit(1, "X", "buy", 1.0, 2.0))
    assert orders.executed(execution(1, status="DENIED", prev=prev, reason=reason)).status == status


def test_unknown_orders_are_taken_up_and_lost_ones_let_go():
    orders = Orders()
    orders.executed(execution(1, number=9))
    orders.submitted(p.Submit(10, "Y", "sell", 1.0, 2.0))
    assert {o.client_order_id for o in orders.live()} == {9, 10}
    assert [o.client_order_id for o in orders.live("Y")] == [10]
    orders.missed_end(orders.states[9], None)
    assert (orders.states[9].status, orders.states[9].live) == ("LOST", False)
    orders.executed(execution(2, number=11))
    orders.missed_end(orders.states[11], execution(3, number=11, status="FILLED"))
    assert orders.states[11].status == "FILLED"
    orders.missed_end(orders.executed(execution(2, number=12)), execution(3, number=12, status="NEW"))
    assert orders.states[12].status == "LOST"
    orders.refused(p.Error("busy", "full", 0, 10))
    assert orders.states[10].status == "REFUSED"


def test_ended_orders_are_forgotten_in_the_end():
    orders = Orders()
    for number in range(ENDED_KEPT + 10):
        orders.submitted(p.Submit(number + 1, "X", "buy", 1.0, 1.0))
        orders.executed(execution(number + 1, number=number + 1, status="CANCELED"))
    assert len(orders.states) == ENDED_KEPT
    assert 10 not in orders.states
    assert 11 in orders.states
