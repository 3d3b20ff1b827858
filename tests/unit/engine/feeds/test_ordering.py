"""Ordering by both clocks: corners that the reference does not reach; tests/parity compares the rest."""

import numpy as np
import pytest

from engine.core.errors import DataError
from engine.core.types import EXCH_EVENT, LOCAL_EVENT, event_dtype
from engine.feeds.ordering import correct_event_order, latency_shift


def rows(*times):
    data = np.zeros(len(times), event_dtype)
    data["ev"] = 1
    data["exch_ts"], data["local_ts"] = [t[0] for t in times], [t[1] for t in times]
    data["px"] = np.arange(len(times))
    return data


def test_nothing_gives_nothing():
    assert len(correct_event_order(rows())) == 0
    assert latency_shift(rows()) == 0


def test_events_in_order_are_only_flagged():
    result = correct_event_order(rows((1, 5), (2, 6), (2, 6)), 100)
    assert result["ev"].tolist() == [1 | EXCH_EVENT | LOCAL_EVENT] * 3
    assert result["local_ts"].tolist() == [105, 106, 106]
    assert result["px"].tolist() == [0, 1, 2]


def test_an_event_that_overtook_another_is_split():
    result = correct_event_order(rows((5, 10), (1, 11)))
    sides = [((int(ev) >> 31) & 1, (int(ev) >> 30) & 1) for ev in result["ev"]]
    assert list(zip(result["px"].tolist(), sides, strict=True)) == [(1, (1, 0)), (0, (1, 1)), (1, (0, 1))]


def test_a_shift_beyond_64_bits_is_refused():
    with pytest.raises(DataError, match="64 bits"):
        latency_shift(rows((2**62, 1), (5, 2**63 - 10)))


def test_a_positive_latency_is_left_alone_whatever_the_base():
    assert latency_shift(rows((1, 1), (1, 2)), 50) == 0
    assert latency_shift(rows((2, 1)), 50) == 51
