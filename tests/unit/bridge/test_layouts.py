"""Records read and written by struct are those that NumPy sees."""

from itertools import pairwise

import numpy as np
import pytest

from bridge import records
from bridge.layouts import reader
from engine.runtime.records import (
    Kind,
    fill_record_dtype,
    header_dtype,
    position_record_dtype,
    record_dtype,
    status_record_dtype,
)

PAYLOADS = {
    Kind.FILL: fill_record_dtype,
    Kind.POSITION: position_record_dtype,
    Kind.STATUS: status_record_dtype,
}


def noise(seed, kinds):
    """Records of these kinds, of bytes that are numbers of all sizes and signs, and no NaN."""
    rng = np.random.default_rng(seed)
    batch = np.zeros(len(kinds), record_dtype)
    slots = batch.view(np.uint8).reshape(len(kinds), -1)
    # No float whose exponent is all ones.
    slots[:] = rng.integers(0, 256, slots.shape) & np.where(np.arange(slots.shape[1]) % 8 == 6, 0x7F, 0xFF)
    batch["kind"] = kinds
    return batch


def plain(row):
    """A row without the arrays in it, which nobody reads: they are padding."""
    kept = (one for one in row if not isinstance(one, bytes | list | np.ndarray))
    return tuple(plain(one) if isinstance(one, tuple) else one for one in kept)


@pytest.mark.parametrize("seed", range(20))
def test_runs_are_what_numpy_reads(seed):
    rng = np.random.default_rng(seed)
    batch = noise(seed, rng.choice([int(kind) for kind in PAYLOADS], 12))
    kinds, begin = [], 0
    for kind, headers, rows in records.runs(batch):
        part = batch[begin : begin + len(rows)]
        begin += len(rows)
        kinds.append(kind)
        assert set(part["kind"].tolist()) == {kind}
        assert headers == [records.Header(*row) for row in part[list(header_dtype.names)].tolist()]
        want = part["payload"].view(PAYLOADS[Kind(kind)]).tolist()
        assert [plain(row) for row in rows] == [plain(row) for row in want]
    assert begin == len(batch)
    assert all(one != two for one, two in pairwise(kinds))


def test_a_reader_reads_dtypes_after_each_other():
    batch = noise(5, [int(Kind.FILL)])
    values = reader(header_dtype, fill_record_dtype).unpack(batch.tobytes())
    assert values[: len(header_dtype.names)] == batch[list(header_dtype.names)].tolist()[0]
