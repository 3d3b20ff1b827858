import weakref

import numpy as np
import pytest

from engine.core.errors import CapacityError, DataError
from engine.core.types import DEPTH_EVENT, EXCH_EVENT, LOCAL_EVENT, TRADE_EVENT, event_dtype
from engine.feeds.base import EventSource
from engine.feeds.merge import EXCH, LAST, LOCAL, Merger, merged_dtype
from tests.kit.recordings import events
from tests.kit.sources import ChunkedSource

BOTH = DEPTH_EVENT | EXCH_EVENT | LOCAL_EVENT


def rows(*triples):
    out = np.zeros(len(triples), event_dtype)
    for i, (ev, exch_ts, local_ts) in enumerate(triples):
        out[i] = (ev, exch_ts, local_ts, 1.5, 2.5, i, 0, 0.0)
    return out


def shape(items):
    return [(int(i["ts"]), int(i["instrument"]), int(i["flags"]), int(i["event"]["order_id"])) for i in items]


def test_each_row_appears_when_the_venue_and_when_we_saw_it():
    data = rows((BOTH, 10, 15), (BOTH, 12, 15), (TRADE_EVENT | EXCH_EVENT, 13, 0), (BOTH, 14, 18))
    items = Merger([ChunkedSource(data)]).read()
    assert shape(items) == [
        (10, 0, EXCH, 0),
        (12, 0, EXCH, 1),
        (13, 0, EXCH, 2),
        (14, 0, EXCH, 3),
        (15, 0, LOCAL, 0),
        (15, 0, LOCAL | LAST, 1),
        (18, 0, LOCAL | LAST, 3),
    ]
    assert items["event"][4].tobytes() == data[0].tobytes()


def test_at_one_time_instruments_come_in_order_and_local_before_exchange():
    data = rows((BOTH, 10, 10), (BOTH, 10, 10))
    items = Merger([ChunkedSource(data), ChunkedSource(data)]).read()
    assert shape(items) == [
        (10, 0, LOCAL, 0),
        (10, 0, LOCAL | LAST, 1),
        (10, 0, EXCH, 0),
        (10, 0, EXCH, 1),
        (10, 1, LOCAL, 0),
        (10, 1, LOCAL | LAST, 1),
        (10, 1, EXCH, 0),
        (10, 1, EXCH, 1),
    ]


def test_the_flags_are_the_records_flags():
    assert (LAST, EXCH, LOCAL) == (2, 16, 32)
    assert merged_dtype.itemsize == 80
    assert merged_dtype["event"] == event_dtype


def test_nothing_after_until_is_given_out():
    merger = Merger([ChunkedSource(rows((BOTH, 10, 20), (BOTH, 11, 21)))])
    assert merger.next_ts == 10
    assert shape(merger.read(until=9)) == []
    assert shape(merger.read(until=20)) == [(10, 0, EXCH, 0), (11, 0, EXCH, 1), (20, 0, LOCAL | LAST, 0)]
    assert (merger.next_ts, merger.position) == (21, 3)
    assert shape(merger.read()) == [(21, 0, LOCAL | LAST, 1)]
    assert merger.next_ts is None


@pytest.mark.parametrize("sources", [[], [rows()], [rows(), rows()]])
def test_nothing_merges_to_nothing(sources):
    merger = Merger([ChunkedSource(source) for source in sources])
    assert merger.next_ts is None
    assert len(merger.read()) == 0
    assert merger.skip(5) == 0


def test_only_the_chunks_between_the_two_sides_are_held():
    n = 1000
    data = rows(*((BOTH, 10 * i, 10 * i + 35) for i in range(n)))
    given = []
    most = 0

    class Source(EventSource):
        symbol, name, rows = "X", "x", n

        def chunks(self, start=0):
            for first in range(0, n, 2):
                chunk = data[first : first + 2].copy()
                given.append(weakref.ref(chunk))
                yield chunk

    merger = Merger([Source()])
    while len(merger.read(3)):
        most = max(most, sum(chunk() is not None for chunk in given))
    # 35 ns of latency are four rows: two or three chunks, and the one that the generator still names.
    assert 2 <= most <= 5


@pytest.mark.parametrize(
    ("field", "data"),
    [
        ("exch_ts", rows((BOTH, 10, 20), (BOTH, 11, 20), (BOTH, 9, 21))),
        ("local_ts", rows((BOTH, 10, 20), (BOTH, 11, 22), (BOTH, 12, 21))),
        ("local_ts", rows((BOTH, 10, 20), (BOTH, 11, 22), (BOTH, 12, 2**63 - 1))),
    ],
)
@pytest.mark.parametrize("cuts", [[], [1], [1, 2]])
def test_a_step_back_in_time_is_named_after_what_came_before_it(field, data, cuts):
    merger = Merger([ChunkedSource(rows((BOTH, 1, 100))), ChunkedSource(data, cuts)])
    assert len(merger.read()) >= 2
    with pytest.raises(DataError, match="row 2") as caught:
        merger.read()
    assert (caught.value.field, caught.value.row, caught.value.file) == (field, 2, "a test's array")


def test_a_fault_of_a_source_comes_out_as_it_is_and_stays():
    class Broken(ChunkedSource):
        def chunks(self, start=0):
            yield self._events
            raise DataError("unreadable", file="f", row=2)

    merger = Merger([Broken(rows((BOTH, 10, 20), (BOTH, 11, 20)))])
    assert len(merger.read()) == 2
    for _ in range(2):
        with pytest.raises(DataError, match="f, row 2: unreadable"):
            merger.read()


def test_a_fault_in_the_first_chunk_comes_out_at_once():
    class Broken(ChunkedSource):
        def chunks(self, start=0):
            yield np.zeros(3)

    with pytest.raises(DataError, match="chunks of float64"):
        Merger([Broken(rows())])


def test_misaligned_and_strided_chunks_are_understood():
    data = rows(*((BOTH, i, i + 5) for i in range(8)))
    raw = np.frombuffer(b"\0\0\0" + data.tobytes(), np.uint8)[3:].view(event_dtype)
    expected = Merger([ChunkedSource(data)]).read()
    assert Merger([ChunkedSource(raw, [3])]).read().tobytes() == expected.tobytes()
    strided = np.repeat(data, 2)[::2]
    assert Merger([ChunkedSource(strided, [3])]).read().tobytes() == expected.tobytes()


def test_too_many_sources_are_refused():
    with pytest.raises(CapacityError, match="257 sources"):
        Merger([ChunkedSource(rows())] * 257)


@pytest.mark.recording
def test_the_real_recording_merges_as_a_stable_sort_does():
    data = events("usdm")
    local, exch = ((data["ev"] & np.uint64(flag)) != 0 for flag in (LOCAL_EVENT, EXCH_EVENT))
    ts = np.concatenate((data["local_ts"][local], data["exch_ts"][exch]))
    flags = np.concatenate((np.full(local.sum(), LOCAL), np.full(exch.sum(), EXCH)))
    order = np.argsort(ts, kind="stable")
    last = np.append(np.diff(data["local_ts"][local]) != 0, True)
    flags[: local.sum()][last] |= LAST
    expected = np.concatenate((data[local], data[exch]))[order]

    merger = Merger([ChunkedSource(data, range(0, len(data), 777))])
    parts = []
    while len(part := merger.read(10_000)):
        parts.append(part)
    items = np.concatenate(parts)
    assert np.array_equal(items["ts"], ts[order])
    assert np.array_equal(items["flags"], flags[order])
    assert items["event"].tobytes() == expected.tobytes()
