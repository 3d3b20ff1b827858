from tui.format import SECOND
from tui.history import History


def test_points_keep_their_distance_and_the_newest_is_last():
    history = History(capacity=100, interval=10)
    for ts in range(101):
        history.add(ts, float(ts))
    assert history.times[-1] == 100
    assert history.values[-1] == 100.0
    assert all(b - a >= 10 for a, b in zip(history.times[:-1], history.times[1:-1], strict=False))
    assert history.times[0] == 0


def test_it_never_outgrows_its_capacity_and_keeps_the_ends():
    history = History(capacity=64, interval=1)
    for ts in range(10_000):
        history.add(ts, float(ts))
        assert len(history.times) == len(history.values) <= 64
    assert history.times[0] == 0
    assert history.times[-1] == 9999
    assert history.interval > 64
    assert history.times == sorted(history.times)
    assert [float(ts) for ts in history.times] == history.values


def test_time_that_goes_back_starts_anew():
    history = History(capacity=8, interval=1)
    for ts in range(100):
        history.add(ts, 1.0)
    history.add(5, 2.0)
    assert history.times == [5]
    assert history.values == [2.0]
    assert history.interval == 1


def test_a_value_that_is_not_finite_is_no_point():
    history = History()
    for ts, value in enumerate((1.0, float("nan"), float("inf"), 2.0)):
        history.add(ts * SECOND, value)
    assert history.values == [1.0, 2.0]
