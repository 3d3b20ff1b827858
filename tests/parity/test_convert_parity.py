"""Our converter against hftbacktest's: row by row, every field, bit by bit."""

import contextlib
import gzip

import numpy as np
import pytest
from hftbacktest.data.utils import binancefutures
from hftbacktest.data.validation import correct_event_order as reference_order
from hftbacktest.data.validation import correct_local_timestamp as reference_shift
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.core.types import event_dtype
from engine.feeds.capture import convert
from engine.feeds.ordering import correct_event_order, latency_shift
from tests.kit.recordings import recording


def reference(path, **options) -> np.ndarray:
    with contextlib.redirect_stdout(None):
        return binancefutures.convert(str(path), buffer_size=1_000_000, **options)


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.dtype == theirs.dtype
    assert len(ours) == len(theirs)
    for field in event_dtype.names:
        different = np.flatnonzero(ours[field].view("u8") != theirs[field].view("u8"))
        assert different.size == 0, f"{field} differs first in row {different[0]}"


@pytest.mark.recording
@pytest.mark.parametrize("name", ["usdm", "cm"])
@pytest.mark.parametrize(("opt", "base_latency"), [("", 0), ("t", 0), ("mt", 1_000_003)])
def test_a_recording_converts_as_the_reference_does(name, opt, base_latency):
    path = recording(name)
    theirs = reference(path, opt=opt, base_latency=base_latency)
    ours = convert(path, opt=opt, base_latency=base_latency)
    assert_same(ours.events, theirs)


@pytest.mark.recording
def test_a_plain_stream_converts_as_the_reference_does(tmp_path):
    with gzip.open(recording("usdm"), "rt") as file:
        lines = [next(file) for _ in range(3000)]
    plain = tmp_path / "plain.gz"
    with gzip.open(plain, "wt", compresslevel=1) as file:
        for line in lines:
            stamp, _, text = line.partition(" ")
            if '"stream"' in text:
                text = text[text.index('"data":') + len('"data":') : -2] + "\n"
                file.write(f"{stamp} {text}")
    theirs = reference(plain, combined_stream=False)
    assert_same(convert(plain).events, theirs)


MARK_PRICE = (
    '{{"stream":"btcusdt@markPrice@1s","data":{{"e":"markPriceUpdate","E":{ms},"s":"BTCUSDT",'
    '"p":"61800.29","P":"61799.1","i":"61822.77","r":"-0.00000512","T":{ms}}}}}'
)


def test_mark_prices_convert_as_the_reference_does(tmp_path):
    path = tmp_path / "marks.gz"
    with gzip.open(path, "wt") as file:
        for i in range(5):
            file.write(
                f"{1723161255000000000 + i * 10**9} {MARK_PRICE.format(ms=1723161256000 + i * 1000)}\n"
            )
    theirs = reference(path, opt="m")
    assert len(theirs) == 15
    assert_same(convert(path, opt="m").events, theirs)


@st.composite
def unordered_events(draw):
    times = draw(st.lists(st.tuples(st.integers(0, 12), st.integers(-6, 12)), min_size=1, max_size=40))
    data = np.zeros(len(times), event_dtype)
    for i, (exch, latency) in enumerate(times):
        # The price is a function of both times: the reference asserts that equal times mean equal rows.
        data[i] = (1, exch, exch + latency, exch * 100 + latency, 1.0, 0, 0, 0.0)
    return data


def padded_order(times: np.ndarray) -> np.ndarray:
    """A stable sort with one index more: the reference reads, and does not use, one behind the end."""
    return np.append(np.argsort(times, kind="mergesort"), 0)


@given(unordered_events(), st.integers(-3, 5))
@settings(max_examples=200, deadline=None)
def test_ordering_is_the_references(data, base_latency):
    with contextlib.redirect_stdout(None):
        theirs = reference_shift(data.copy(), base_latency)
    shift = latency_shift(data, base_latency)
    assert np.array_equal(theirs["local_ts"] - data["local_ts"], np.full(len(data), shift))
    theirs = reference_order(theirs, padded_order(theirs["exch_ts"]), padded_order(theirs["local_ts"]))
    assert_same(correct_event_order(data, shift), theirs)


@pytest.mark.recording
def test_orders_convert_as_the_reference_does_but_for_lost_nanoseconds():
    pytest.importorskip("databento", reason="hftbacktest's converter needs the package databento")
    from hftbacktest.data.utils import databento as reference_orders

    from engine.feeds import databento

    path = recording("cme")
    with contextlib.redirect_stdout(None):
        theirs = reference_orders.convert(str(path), "ESH4")
    ours = databento.convert(path, compat="2.4").events
    assert len(ours) == len(theirs) == 68_792
    for field in ("ev", "px", "qty", "order_id", "ival", "fval"):
        assert ours[field].tobytes() == theirs[field].tobytes(), field
    for field in ("exch_ts", "local_ts"):
        # Theirs cut times to microseconds and then pass them through a double.
        assert np.abs(ours[field] - theirs[field]).max() < 1_300, field
