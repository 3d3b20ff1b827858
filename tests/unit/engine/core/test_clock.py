import time

import pytest

from engine.core.clock import Clock


def test_system_clocks_agree_with_the_system():
    for clock, reference in ((Clock.wall(), time.time_ns), (Clock.monotonic(), time.monotonic_ns)):
        before = reference()
        now = clock.now()
        assert before <= now <= reference()
        assert not clock.is_simulated
        with pytest.raises(ValueError, match="only a simulated clock"):
            clock.set(now + 1)


def test_a_simulated_clock_stands_still_until_moved():
    clock = Clock.simulated(5)
    assert (clock.now(), clock.now(), clock.is_simulated) == (5, 5, True)
    clock.set(9)
    assert clock.advance(2**60) == 9 + 2**60
    assert clock.now() == 9 + 2**60


def test_time_does_not_go_back():
    clock = Clock.simulated(5)
    with pytest.raises(ValueError, match="does not go back"):
        clock.set(4)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)
    assert clock.now() == 5
