"""An order's way in, in compiled code, beside NumPy's view of the records and plain Python."""

from math import floor, inf, isfinite, nan

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.orderentry import MAX_UNITS, Slots, request, units
from engine.core.ring import Bell, Ring
from engine.runtime.records import Kind, order_record_dtype, record_dtype

I64, U64, U16, U8 = (
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**8 - 1),
)


@given(U8, U16, U16, U64, st.sampled_from([1, 0, -1]), I64, I64, U8, U8)
def test_a_request_is_the_record_that_numpy_sees(req, slot, instrument, number, side, tick, lots, kind, tif):
    bell = Bell()
    ring = Ring(2, bell=bell)
    # What lay there before is gone.
    for _ in range(2):
        ring.push(b"\xff" * 256)
        ring.pop()
    assert request(ring, req, slot, instrument, number, side, tick, lots, kind, tif)
    (record,) = ring.pop_many().view(record_dtype).reshape(-1)
    want = np.zeros(1, record_dtype)
    want["kind"], want["instrument"], want["strategy"] = Kind.ORDER_REQUEST, instrument, slot
    want["length"] = order_record_dtype.itemsize
    order = want["payload"].view(order_record_dtype)["order"]
    for name, value in {
        "client_order_id": number,
        "price_tick": tick,
        "qty": lots,
        "leaves_qty": lots,
        "instrument": instrument,
        "strategy": slot,
        "side": side,
        "order_type": kind,
        "time_in_force": tif,
        "req": req,
    }.items():
        order[name] = value
    assert record.tobytes() == want[0].tobytes()


def test_a_full_ring_takes_no_request_and_a_sleeper_is_rung():
    bell = Bell()
    ring = Ring(1, bell=bell)
    assert bell.arm([ring])
    assert request(ring, 1, 2, 3, 4, 1, 5, 6, 0, 0)
    assert bell.wait([], 0) is False
    assert not request(ring, 1, 2, 3, 4, 1, 5, 6, 0, 0)
    assert len(ring) == 1
    with pytest.raises(ValueError, match="64 bytes"):
        request(Ring(2, 64), 1, 2, 3, 4, 1, 5, 6, 0, 0)
    ring.close()
    with pytest.raises(ValueError, match="closed"):
        request(ring, 1, 2, 3, 4, 1, 5, 6, 0, 0)


def plain_units(value, unit):
    """The rule in plain Python."""
    if not isfinite(value) or value <= 0 or value / unit > MAX_UNITS:
        return 0
    many = value / unit
    whole = floor(many + 0.5)
    return 0 if whole < 1 or abs(many - whole) > 1e-6 + many * 4e-16 else whole


UNITS = st.sampled_from([1.0, 0.1, 0.01, 0.001, 1e-8, 0.25, 5.0, 1 / 3])


@given(st.floats(width=64) | st.integers(0, 2**54).map(float), UNITS)
@example(nan, 0.1)
@example(inf, 0.1)
@example(-0.0, 0.1)
@example(5e-324, 0.1)
@example(float(MAX_UNITS), 1.0)
@example(float(MAX_UNITS + 2), 1.0)
def test_units_of_any_float(value, unit):
    assert units(value, unit) == plain_units(value, unit)


@given(st.integers(1, MAX_UNITS), UNITS)
def test_every_multiple_is_one(many, unit):
    value = many * unit
    assert units(value, unit) == plain_units(value, unit)
    if many < 2**40:
        assert units(value, unit) == many


def test_slots_hold_what_was_written_and_nothing_beside():
    memory = bytearray(b"\xee" * 128)
    slots = Slots(memory)
    slots.order(8, 40, 60, 7, 2**64 - 1, bytes(range(16)))
    assert memory[8:40] == (7).to_bytes(8, "little") + b"\xff" * 8 + bytes(range(16))
    assert (memory[40:42], memory[60:62]) == (b"\0\0", b"\0\0")
    slots.frame(60, b"abc")
    slots.number(0, 5)
    assert memory[60:65] == b"\3\0abc"
    assert memory[:8] == (5).to_bytes(8, "little")
    assert set(memory[42:60]) == set(memory[65:]) == {0xEE}
    for call in (
        lambda: slots.number(121, 1),
        lambda: slots.number(-1, 1),
        lambda: slots.frame(125, b"xx"),
        lambda: slots.order(100, 0, 2, 1, 1, bytes(16)),
        lambda: slots.order(0, 127, 2, 1, 1, bytes(16)),
        lambda: slots.order(0, 2, 127, 1, 1, bytes(16)),
    ):
        with pytest.raises(IndexError):
            call()
    with pytest.raises(ValueError, match="15 bytes"):
        slots.order(0, 40, 60, 1, 1, bytes(15))
    with pytest.raises(ValueError, match="65536 bytes"):
        Slots(bytearray(1 << 17)).frame(0, bytes(65_536))
    with pytest.raises(BufferError):
        memory.clear()
    slots.release()
    memory.clear()
    with pytest.raises(IndexError):
        slots.number(0, 1)
