"""The merger against a sort of everything at once, on random rows cut into random chunks."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.types import EXCH_EVENT, LOCAL_EVENT, event_dtype
from engine.feeds.merge import EXCH, LAST, LOCAL, Merger
from tests.kit.sources import ChunkedSource

FLAGS = (EXCH_EVENT, LOCAL_EVENT, EXCH_EVENT | LOCAL_EVENT, EXCH_EVENT | LOCAL_EVENT, 0)


def naive_merge(sources):
    """Every row once per side, sorted by (ts, instrument * 4 + kind, row), as hftbacktest's EventSet does."""
    items = []
    for instrument, rows in enumerate(sources):
        local = [row for row in range(len(rows)) if int(rows["ev"][row]) & LOCAL_EVENT]
        for place, row in enumerate(local):
            ts = int(rows["local_ts"][row])
            after = int(rows["local_ts"][local[place + 1]]) if place + 1 < len(local) else None
            flags = LOCAL | (LAST if after != ts else 0)
            items.append((ts, instrument * 4, row, instrument, flags))
        for row in range(len(rows)):
            if int(rows["ev"][row]) & EXCH_EVENT:
                items.append((int(rows["exch_ts"][row]), instrument * 4 + 2, row, instrument, EXCH))
    return [(ts, instrument, flags, row) for ts, _, row, instrument, flags in sorted(items)]


@st.composite
def recordings(draw):
    """One instrument's rows with few distinct times, so that ties abound, and where to cut them."""
    n = draw(st.integers(0, 25))
    rows = np.zeros(n, event_dtype)
    rows["ev"] = [1 | draw(st.sampled_from(FLAGS)) for _ in range(n)]
    rows["exch_ts"] = sorted(draw(st.integers(0, 12)) for _ in range(n))
    rows["local_ts"] = sorted(draw(st.integers(0, 12)) for _ in range(n))
    rows["order_id"] = np.arange(n)
    return rows, draw(st.lists(st.integers(0, n), max_size=5))


@settings(max_examples=300, deadline=None)
@given(st.lists(recordings(), max_size=4), st.integers(1, 9), st.data())
def test_any_batching_gives_the_sorted_stream(instruments, batch, data):
    merger = Merger([ChunkedSource(rows, cuts) for rows, cuts in instruments])
    expected = naive_merge([rows for rows, _ in instruments])
    got, until = [], -1
    while merger.next_ts is not None:
        assert merger.next_ts == expected[len(got)][0]
        until = max(until, data.draw(st.integers(0, 13)))
        items = merger.read(batch, until)
        assert len(items) or merger.next_ts > until
        assert (items["ts"] <= until).all()
        got += [
            (int(item["ts"]), int(item["instrument"]), int(item["flags"]), int(item["event"]["order_id"]))
            for item in items
        ]
        assert merger.position == len(got)
        if until == 13:
            until = -1
    assert got == expected
    assert len(merger.read()) == 0


@settings(max_examples=100, deadline=None)
@given(st.lists(recordings(), min_size=1, max_size=3), st.integers(0, 80))
def test_a_merger_started_in_the_middle_goes_on_as_the_first_would_have(instruments, start):
    whole = Merger([ChunkedSource(rows, cuts) for rows, cuts in instruments]).read()
    rest = Merger([ChunkedSource(rows, cuts) for rows, cuts in instruments], start)
    assert rest.position == min(start, len(whole))
    assert rest.read().tobytes() == whole[start:].tobytes()
