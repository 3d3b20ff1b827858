import itertools

import numpy as np
import pytest

from engine.core.clock import Clock
from engine.core.errors import DataError
from engine.core.ring import Ring
from engine.core.types import DEPTH_EVENT, EXCH_EVENT, LOCAL_EVENT, event_dtype
from engine.feeds.base import EventSource
from engine.runtime.feeder import BEAT_NS, CLIENT_IS_THERE, Clockwork, Feeder
from engine.runtime.records import (
    FeedState,
    Flag,
    Kind,
    feed_status_record_dtype,
    market_record_dtype,
    record_dtype,
)


class Rows(EventSource):
    """Rows at given local times, seen by the venue 100 ns before."""

    def __init__(self, symbol, times):
        self.symbol = self.name = symbol
        self.events = np.zeros(len(times), event_dtype)
        self.events["ev"] = DEPTH_EVENT | LOCAL_EVENT | EXCH_EVENT
        self.events["local_ts"] = times
        self.events["exch_ts"] = np.asarray(times) - 100
        self.events["px"] = 1.0 + np.arange(len(times))

    @property
    def rows(self):
        return len(self.events)

    def chunks(self, start=0):
        yield self.events[start:]


def drained(ring):
    return ring.pop_many().view(record_dtype).reshape(-1)


def market(records):
    return records[records["kind"] == Kind.MARKET]


def states(records):
    chosen = records[records["kind"] == Kind.FEED_STATUS]
    return chosen["payload"].view(feed_status_record_dtype)["state"].tolist()


def test_everything_arrives_in_order_with_its_flags():
    ring = Ring(64)
    Feeder([Rows("A", [1000, 1000, 2000]), Rows("B", [1000])], ring, speed=0).run()
    records = drained(ring)
    assert states(records) == [FeedState.RUNNING, FeedState.ENDED]
    rows = market(records)
    ts = rows["ts"].tolist()
    assert ts == sorted(ts)
    local, exch = int(Flag.LOCAL), int(Flag.EXCH)
    last = local | int(Flag.LAST)
    found = list(zip(ts, rows["instrument"].tolist(), rows["flags"].tolist(), strict=True))
    assert found == [
        (900, 0, exch),
        (900, 0, exch),
        (900, 1, exch),
        (1000, 0, local),
        (1000, 0, last),
        (1000, 1, last),
        (1900, 0, exch),
        (2000, 0, last),
    ]
    events = rows["payload"].view(market_record_dtype)["event"]
    assert events["px"].tolist() == [1, 2, 1, 1, 2, 1, 3, 3]
    assert set(rows["length"].tolist()) == {64}


@pytest.mark.parametrize("sent", [1, 3, 7])
def test_a_feed_started_again_goes_on_with_the_next_item(sent):
    times = list(range(1000, 3000, 100))
    ring = Ring(256)
    clock = Clock.simulated(5)
    whole = Feeder([Rows("A", times)], ring, speed=0, clock=clock)
    whole.run()
    expected = market(drained(ring))
    small = Ring(64)
    small.cursor = sent
    Feeder([Rows("A", times)], small, speed=0, clock=clock).run()
    rest = market(drained(small))
    assert rest.tobytes() == expected[sent:].tobytes()


def test_each_record_says_when_it_was_received():
    ring, clock = Ring(256), Clock.simulated(7_000)
    Feeder([Rows("A", [1000, 1100])], ring, speed=0, clock=clock).run()
    assert set(drained(ring)["step"].tolist()) == {7_000}


def test_a_full_ring_makes_the_feed_wait_and_loses_nothing():
    ring = Ring(4)
    taken = []

    def sleep(seconds):
        taken.append(drained(ring))

    feeder = Feeder([Rows("A", list(range(1000, 5000, 100)))], ring, speed=0, sleep=sleep)
    feeder.run()
    taken.append(drained(ring))
    records = np.concatenate(taken)
    assert len(market(records)) == 80
    assert ring.cursor == 80
    assert (np.diff(market(records)["ts"]) >= 0).all()


def test_pacing_sends_an_item_when_its_time_has_come():
    clock = Clock.simulated(0)
    ring = Ring(64)
    seen = []

    def sleep(seconds):
        seen.append((clock.now(), len(market(drained(ring)))))
        clock.advance(max(1, round(seconds * 1e9)))

    Feeder([Rows("A", [1000, 501_000, 1_001_000])], ring, speed=0.5, clock=clock, sleep=sleep).run()
    arrived = list(itertools.accumulate(n for _, n in seen))
    assert arrived[0] == 1
    for (now, _), total in zip(seen, arrived, strict=True):
        # The first item is at 900; half speed doubles every distance.
        assert total == sum(2 * (t - 900) <= now for t in (900, 1000, 500_900, 501_000, 1_000_900, 1_001_000))


def test_a_feed_can_wait_for_the_first_client():
    ring = Ring(64)
    polls = []

    def sleep(seconds):
        polls.append(states(drained(ring)))
        if len(polls) == 3:
            ring.consumer_cursor = CLIENT_IS_THERE

    Feeder([Rows("A", [1000])], ring, speed=0, wait_for_client=True, sleep=sleep).run()
    assert polls == [[FeedState.WAITING], [], []]
    assert states(drained(ring)) == [FeedState.RUNNING, FeedState.ENDED]


def test_stopping_ends_a_wait_without_an_end_of_the_feed():
    ring = Ring(64)
    feeder = Feeder([Rows("A", [1000])], ring, speed=0, wait_for_client=True, sleep=lambda s: feeder.stop())
    feeder.run()
    assert states(drained(ring)) == [FeedState.WAITING, FeedState.RUNNING]


def test_a_source_that_breaks_off_is_named_after_what_came_before_it():
    rows = Rows("A", [1000, 3000, 2000])
    ring = Ring(64)
    feeder = Feeder([rows], ring, speed=0)
    with pytest.raises(DataError, match="row 2"):
        feeder.run()
    assert len(market(drained(ring))) > 0


class Wall:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.clock = Clock.simulated(0)
        self.slept = []

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.clock.advance(round(seconds * 1e9))


def told(records):
    chosen = records[records["kind"] == Kind.FEED_STATUS]
    state = chosen["payload"].view(feed_status_record_dtype)["state"]
    return chosen["ts"][state == FeedState.RUNNING].tolist()


def test_a_clockwork_tells_the_time_at_its_speed_and_ends():
    ring, wall = Ring(64), Wall()
    Clockwork(ring, first_ts=1000, seconds=0.01, speed=2.0, clock=wall.clock, sleep=wall.sleep).run()
    records = drained(ring)
    assert states(records) == [FeedState.RUNNING] * 11 + [FeedState.ENDED]
    assert told(records) == [1000 + beat * BEAT_NS for beat in range(11)]
    assert sum(wall.slept) == pytest.approx(0.005)
    assert ring.cursor == 1000 + 10 * BEAT_NS


def test_a_clockwork_that_is_late_says_the_time_that_it_is():
    ring, wall = Ring(64), Wall()
    clockwork = Clockwork(ring, first_ts=0, seconds=1.0, clock=wall.clock, sleep=lambda _: wall.sleep(0.4))
    clockwork.run()
    assert told(drained(ring)) == [0, 400_000_000, 800_000_000, 1_000_000_000]


def test_a_clockwork_goes_on_after_the_last_word_of_the_one_before():
    ring, wall = Ring(64), Wall()
    ring.cursor = 5 * BEAT_NS
    Clockwork(ring, first_ts=0, seconds=0.007, clock=wall.clock, sleep=wall.sleep).run()
    assert told(drained(ring)) == [beat * BEAT_NS for beat in (5, 6, 7)]
