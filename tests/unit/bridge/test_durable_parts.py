"""What the bridge holds back until the journal has it: order, bounds, and what happens when it never does."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge import durable
from bridge import protocol as p
from bridge.base import journal_seq
from bridge.control import REPLY_TICKS, Control
from bridge.durable import Durability
from bridge.errors import CommandRefused, NotDurable, refusal
from bridge.external import Peer
from bridge.records import ReplyBlob
from bridge.stamps import server_clock
from bridge.streams import OrderState
from engine.core.errors import RingCorrupt
from engine.journal.wal import Journal, JournalFlag, RecordType

HELLO = p.Hello(1, "c", "observer")


class Told:
    """Sessions that remember what was sent."""

    def __init__(self):
        self.sent = []

    def send(self, peer, message):
        self.sent.append(message)


class Link:
    """Takes every command."""

    def __init__(self):
        self.commands = []

    def control(self, message):
        self.commands.append(message)
        return True


def make(path, records=0):
    journal = Journal.create(path, run_id=b"r" * 16, capacity=1 << 16)
    add(journal, records)
    return journal


def add(journal, records):
    for _ in range(records):
        assert journal.append_time(RecordType.TIMER, 1)


def flush(journal, seq):
    """As the journaller: everything up to a record is on disk."""
    journal.commit(journal.tail, seq)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal"


def peer():
    return Peer("orders", b"a", HELLO, "s", live=True)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("order"), st.integers(0, 3)),
            st.tuples(st.just("reply"), st.integers(0, 3)),
            st.tuples(st.just("disk"), st.integers(1, 8)),
        ),
        max_size=60,
    )
)
def test_whatever_the_disk_does_the_order_stays_and_nothing_comes_before_its_record(tmp_path_factory, steps):
    path = tmp_path_factory.mktemp("j") / "journal"
    with make(path) as journal:
        held = Durability(path, True, Told())
        given_in, told = {"order": [], "reply": []}, {"order": [], "reply": []}

        def tell(kind, seq, number):
            assert seq <= journal.durable_seq
            told[kind].append(number)

        for number, (kind, value) in enumerate(steps):
            if kind == "disk":
                flush(journal, min(journal.accepted_seq, journal.durable_seq + value))
                held.release()
                continue
            # Some follow from the same record as what came before; what comes in its place has no record.
            add(journal, value % 3)
            seq = 0 if kind == "order" and value == 3 else journal.accepted_seq
            getattr(held, kind)(seq, lambda kind=kind, seq=seq, number=number: tell(kind, seq, number))
            given_in[kind].append(number)
            for one in told:
                assert told[one] == given_in[one][: len(told[one])]
        flush(journal, journal.accepted_seq)
        held.release()
        assert told == given_in
        assert not held.busy
        held.close()


def test_with_accepted_nothing_is_held(path):
    told = []
    with make(path, 5):
        one = Durability(path, False, Told())
        one.order(5, lambda: told.append("order"))
        assert one.reply(5, lambda: told.append("reply"))
        assert told == ["order", "reply"]
        one.close()


def test_what_is_held_is_bounded_and_given_up_at_the_end(path, monkeypatch):
    monkeypatch.setattr(durable, "MAX_HELD", 3)
    monkeypatch.setattr(durable, "MAX_REPLIES", 2)
    told = []
    with make(path, 9) as journal:
        one = Durability(path, True, Told())
        for seq in range(1, 4):
            assert not one.full
            one.order(seq, lambda seq=seq: told.append(seq))
            one.reply(seq, lambda seq=seq: told.append(-seq))
        assert one.full
        flush(journal, 3)
        one.release()
        # The third answer found no room: whoever asked hears that it was not durable in time.
        assert told == [-1, -2, 1, 2, 3]
        one.order(7, lambda: told.append("never"))
        journal.set_flag(JournalFlag.HALTED)
        one.release()
        assert one.give_up() == 1
        assert "never" not in told
        one.close()


def test_a_wait_is_answered_when_its_record_is_durable(path):
    told, a = Told(), peer()
    with make(path, 3) as journal:
        one = Durability(path, False, told)
        for number, seq in enumerate((3, 1, 2), 1):
            one.wait(a, p.WaitDurable(number, seq))
        assert told.sent == []
        flush(journal, 2)
        one.release()
        assert told.sent == [p.Durable(2, 2), p.Durable(3, 2)]
        one.wait(a, p.WaitDurable(9, 4))
        assert told.sent[-1].code == "invalid_params"
        journal.set_flag(JournalFlag.HALTED)
        one.release()
        assert (told.sent[-1].code, told.sent[-1].request_id) == ("journal_halted", 1)
        assert not one.busy
        one.close()


def test_waits_of_one_session_are_bounded_and_end_with_it(path):
    told, a = Told(), peer()
    with make(path, 1):
        one = Durability(path, False, told)
        for number in range(1, durable.MAX_WAITS + 2):
            one.wait(a, p.WaitDurable(number, 1))
        assert [error.code for error in told.sent] == ["busy"]
        a.live = False
        one.tick()
        assert not one.busy
        one.close()


def test_without_a_journal_nothing_is_durable_and_nothing_waits(path):
    told = Told()
    one = Durability("", True, told)
    one.order(0, lambda: told.sent.append("order"))
    one.wait(peer(), p.WaitDurable(1, 1))
    assert told.sent[0] == "order"
    assert told.sent[1].code == "no_journal"
    with pytest.raises(NotDurable, match="no journal"):
        journal_seq(p.ControlReply(1, True, "", "", "", {}, 1))
    with pytest.raises(NotDurable, match="wait_order first"):
        journal_seq(OrderState(1, "BTCUSDT", "buy", 1.0, 1.0))
    assert isinstance(refusal("journal_halted", "x"), NotDurable)
    assert isinstance(refusal("busy", "x"), CommandRefused)


def test_a_journal_that_is_not_there_is_no_reason_to_acknowledge_nothing_in_silence(path):
    with pytest.raises(FileNotFoundError):
        Durability(path, True, Told())
    path.write_bytes(b"x" * (1 << 18))
    with pytest.raises(RingCorrupt):
        Durability(path, True, Told())


def test_an_engine_that_came_back_has_a_new_buffer(path):
    told = []
    with make(path, 4):
        one = Durability(path, True, Told())
    one.order(4, lambda: told.append(4))
    os.unlink(path)
    with Journal.create(path, run_id=b"r" * 16, capacity=1 << 16, first_seq=5):
        one.release()
        assert told == []
        one.tick()
        one.release()
        assert told == [4]
        one.close()


def pause(peer, number):
    return p.Pause(number, stamp=p.Stamp(peer.stamps.nonce, number, server_clock() + 10**9))


def test_a_command_whose_record_is_not_durable_in_time_is_not_acknowledged(path):
    told, link = Told(), Link()
    with make(path, 2) as journal:
        held = Durability(path, True, told)
        control = Control(link, told, 5000, None, held.reply)
        one = peer()
        control.message(one, pause(one, 1))
        control.message(one, pause(one, 2))
        own = []
        control.ask("reconfigure", {}, lambda reply, step: own.append(step))
        for command in link.commands:
            control.reply(ReplyBlob(command["request_id"], True, journal_seq=2), 7)
        # What the bridge asked for itself is no acknowledgement.
        assert (told.sent, own) == ([], [7])
        for _ in range(REPLY_TICKS):
            control.tick()
        assert [(e.code, e.request_id) for e in told.sent] == [("not_durable", 1), ("not_durable", 2)]
        flush(journal, 2)
        held.release()
        assert len(told.sent) == 2
        control.message(one, pause(one, 3))
        control.reply(ReplyBlob(link.commands[-1]["request_id"], True, journal_seq=2), 8)
        assert told.sent[-1].request_id == 3
        assert told.sent[-1].journal_seq == 2
        held.close()


def test_who_only_looks_cannot_write(path):
    with make(path, 1):
        looking = Journal.attach(path, read_only=True)
        assert looking.accepted_seq == 1
        for write in (lambda: looking.commit(0, 1), lambda: looking.set_flag(1), looking.end):
            with pytest.raises(ValueError, match="reading only"):
                write()
        looking.close()
