"""Executions that nobody takes: the last ones stay, and what is missing is told once, where it is missing."""

import asyncio
import queue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ExecutionsDropped
from bridge.iterators import END, AsyncExecutions, Backlog


def test_the_oldest_give_way_and_are_told_once():
    backlog = Backlog(3)
    for number in range(5):
        backlog.put(number)
    assert backlog.dropped == 2
    with pytest.raises(ExecutionsDropped, match="2 executions were dropped: more than 3 waited") as told:
        backlog.take(0)
    assert told.value.count == 2
    assert [backlog.take(0) for _ in range(3)] == [2, 3, 4]
    with pytest.raises(queue.Empty):
        backlog.take(0)


def test_the_end_drops_nothing():
    backlog = Backlog(2)
    for one in (1, 2, END, END):
        backlog.put(one)
    assert [backlog.take(0) for _ in range(3)] == [1, 2, END]
    assert backlog.dropped == 0


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 5))
def test_whoever_takes_hears_of_every_gap_no_later_than_it_comes(steps, most):
    """Against a list: what is taken is in order, and numbers are missing only after a gap was told."""
    backlog, put, taken, told = Backlog(most), 0, [], 0
    for add in [*steps, *[False] * (2 * most + 2)]:
        if add:
            backlog.put(put)
            put += 1
            continue
        try:
            taken.append(backlog.take(0))
        except ExecutionsDropped as gap:
            told += gap.count
        except queue.Empty:
            pass
        missing = (taken[-1] + 1 - len(taken)) if taken else 0
        assert missing <= told
    assert told == backlog.dropped == put - len(taken)
    assert taken == sorted(set(taken))


def test_an_asynchronous_reader_is_told_as_well():
    async def run():
        opened: list[AsyncExecutions] = []
        reader = AsyncExecutions(opened, most=3)
        assert opened == [reader]
        for number in range(5):
            reader.put(number)
        with pytest.raises(ExecutionsDropped) as told:
            await anext(reader)
        assert (told.value.count, reader.dropped) == (2, 2)
        reader.close()
        assert [number async for number in reader] == [2, 3, 4]
        assert opened == []

    asyncio.run(run())
