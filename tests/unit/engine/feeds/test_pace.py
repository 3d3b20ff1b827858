import math

import pytest

from engine.core.clock import Clock
from engine.feeds.pace import END_OF_TIME, Pacer

FIRST = 1_723_000_000_000_000_000


@pytest.mark.parametrize(("speed", "elapsed"), [(1, 1000), (10, 100), (0.5, 2000), (3, 334)])
def test_a_time_is_due_when_the_clock_has_got_there(speed, elapsed):
    clock = Clock.simulated(77)
    pacer = Pacer(clock, speed)
    assert pacer.due(FIRST)
    assert not pacer.due(FIRST + 1000)
    assert pacer.delay(FIRST + 1000) == elapsed
    clock.advance(elapsed - 1)
    assert not pacer.due(FIRST + 1000)
    assert pacer.delay(FIRST + 1000) > 0
    clock.advance(1)
    assert pacer.due(FIRST + 1000)
    assert pacer.delay(FIRST + 1000) == 0
    assert pacer.delay(FIRST) == 0
    assert pacer.horizon(FIRST) >= FIRST + 1000


def test_waiting_for_the_delay_is_always_enough():
    clock = Clock.simulated()
    pacer = Pacer(clock, 7.3)
    ts = FIRST
    for step in range(1, 2000):
        clock.advance(pacer.delay(ts))
        assert pacer.due(ts)
        ts += step * 7919 % 100_003


def test_full_speed_waits_for_nothing():
    pacer = Pacer(Clock.simulated(), 0)
    assert pacer.horizon(FIRST) == END_OF_TIME
    assert pacer.due(FIRST + 10**18)
    assert pacer.delay(FIRST + 10**18) == 0


def test_after_a_restart_the_next_time_is_due_at_once():
    clock = Clock.simulated()
    pacer = Pacer(clock, 1)
    pacer.due(FIRST)
    pacer.restart()
    assert pacer.due(FIRST + 500)
    assert pacer.delay(FIRST + 600) == 100


@pytest.mark.parametrize("speed", [-1, math.inf, math.nan])
def test_an_impossible_speed_is_refused(speed):
    with pytest.raises(ValueError, match="speed"):
        Pacer(Clock.simulated(), speed)
