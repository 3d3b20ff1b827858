import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.core.errors import RingCorrupt
from engine.core.types import event_dtype, fill_dtype, order_dtype
from engine.runtime import records as rec


def test_every_slot_and_payload_has_its_fixed_size():
    assert rec.record_dtype.itemsize == rec.SLOT_BYTES == 256
    assert rec.record_dtype.fields["payload"][1] == 32
    assert {dtype.itemsize for dtype in rec.PAYLOAD_DTYPES.values()} == {rec.PAYLOAD_BYTES} == {224}
    assert set(rec.Kind) == set(rec.PAYLOAD_DTYPES) | rec.BLOB_KINDS


def test_offsets_are_the_c_structs():
    offset = {name: field[1] for name, field in rec.record_dtype.fields.items()}
    assert offset == {
        "kind": 0,
        "flags": 2,
        "instrument": 4,
        "strategy": 6,
        "length": 8,
        "dropped": 12,
        "step": 16,
        "ts": 24,
        "payload": 32,
    }
    assert rec.market_record_dtype.fields["event"] == (event_dtype, 0)
    assert rec.order_record_dtype.fields["order"] == (order_dtype, 0)
    assert rec.order_record_dtype.fields["px"][1] == order_dtype.itemsize
    assert rec.fill_record_dtype.fields["fill"] == (fill_dtype, 0)
    levels, at = rec.depth_record_dtype.fields["levels"][:2]
    assert (levels.shape, levels.base.names, at) == ((rec.LEVELS_PER_RECORD,), ("px", "qty"), 16)


def test_a_batch_of_slots_is_read_in_place():
    batch = np.zeros(3, rec.record_dtype)
    view = batch["payload"].view(rec.position_record_dtype)
    view["position"] = [1.5, -2.0, 0.25]
    assert np.shares_memory(view, batch)
    again = np.frombuffer(batch.tobytes(), rec.record_dtype)["payload"].view(rec.position_record_dtype)
    assert again["position"].tolist() == [1.5, -2.0, 0.25]


@given(st.text(max_size=1500), st.integers(0, 2**63 - 1))
def test_blobs_survive_cutting_and_joining(text, ts):
    message = {"request_id": 7, "text": text, "params": {"a": 0.1, "b": [1, None, True]}}
    slots = rec.blob_records(rec.Kind.CONTROL, message, strategy=3, step=9, ts=ts)
    assert [bool(flags & rec.Flag.MORE) for flags in slots["flags"].tolist()] == [True] * (len(slots) - 1) + [
        False
    ]
    assert set(slots["step"].tolist()) == {9}
    assert set(slots["ts"].tolist()) == {ts}
    joiner = rec.BlobJoiner()
    *before, last = [joiner.add(slot) for slot in slots]
    assert before == [None] * (len(slots) - 1)
    assert last == message


def test_a_blob_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match=f"limit of {rec.MAX_BLOB_BYTES}"):
        rec.blob_records(rec.Kind.LOG, {"text": "x" * rec.MAX_BLOB_BYTES})


def test_corrupt_blob_slots_are_named_and_forgotten():
    slots = rec.blob_records(rec.Kind.REPLY, {"request_id": 1, "message": "m" * 300})
    joiner = rec.BlobJoiner()
    bad = slots[:1].copy()
    bad["length"] = rec.PAYLOAD_BYTES + 1
    with pytest.raises(RingCorrupt, match="225 bytes"):
        joiner.add(bad[0])
    bad["length"] = 3
    bad["flags"] = 0
    bad["payload"] = np.full(rec.PAYLOAD_BYTES, 0xC1, np.uint8).view(f"V{rec.PAYLOAD_BYTES}")
    with pytest.raises(RingCorrupt, match="not msgpack"):
        joiner.add(bad[0])
    assert [joiner.add(slot) for slot in slots][-1]["message"] == "m" * 300
