import gzip

import numpy as np
import pytest

from engine.backtest.data import save_events
from engine.core.errors import DataError
from engine.core.types import DEPTH_CLEAR_EVENT, DEPTH_EVENT, EXCH_EVENT, LOCAL_EVENT, event_dtype
from engine.feeds.merge import LAST, LOCAL, Merger
from engine.feeds.replay import CHUNK_ROWS, CaptureSource, LoopedSource, NpzSource, open_source
from tests.kit.recordings import events, recording
from tests.kit.sources import ChunkedSource

BOTH = DEPTH_EVENT | EXCH_EVENT | LOCAL_EVENT


def sample(n, step=10):
    out = np.zeros(n, event_dtype)
    out["ev"] = BOTH
    out["exch_ts"] = 1000 + step * np.arange(n)
    out["local_ts"] = 1007 + step * np.arange(n)
    out["px"], out["qty"] = 1.5, 2.5
    out["order_id"] = np.arange(n)
    return out


def whole(source, start=0):
    return np.concatenate([np.empty(0, event_dtype), *source.chunks(start)])


@pytest.mark.parametrize("kind", ["stored.npz", "deflated.npz", "plain.npy", "array"])
@pytest.mark.parametrize("start", [0, 1, CHUNK_ROWS - 1, CHUNK_ROWS, CHUNK_ROWS + 10, CHUNK_ROWS + 11, 10**9])
def test_every_kind_of_file_gives_its_rows_from_any_row(tmp_path, kind, start):
    data = sample(CHUNK_ROWS + 11)
    path = tmp_path / kind
    if kind.endswith("npz"):
        save_events(path, data, compress=kind == "deflated.npz")
    elif kind.endswith("npy"):
        np.save(path, data)
    source = open_source("X", path) if kind != "array" else NpzSource("X", data)
    assert (source.symbol, source.rows) == ("X", len(data))
    assert whole(source, start).tobytes() == data[start:].tobytes()
    assert all(len(chunk) <= CHUNK_ROWS for chunk in source.chunks())


@pytest.mark.parametrize("start", [0, 1, 6, 7, 8, 12, 13])
def test_recordings_in_time_order_are_one(tmp_path, start):
    data = sample(13)
    paths = [tmp_path / "one.npz", tmp_path / "two.npy"]
    save_events(paths[0], data[:7])
    np.save(paths[1], data[7:])
    source = open_source("X", *paths)
    assert (source.symbol, source.rows) == ("X", 13)
    assert whole(source, start).tobytes() == data[start:].tobytes()
    assert open_source("X", *paths, loop=3).rows == 13 * 3 + 2


def test_a_bad_row_is_named(tmp_path):
    data = sample(CHUNK_ROWS + 5)
    data["px"][CHUNK_ROWS + 3] = np.nan
    path = tmp_path / "bad.npz"
    save_events(path, data)
    passes = open_source("X", path).chunks()
    assert len(next(passes)) == CHUNK_ROWS
    with pytest.raises(DataError) as caught:
        next(passes)
    assert (caught.value.file, caught.value.row, caught.value.field) == (str(path), CHUNK_ROWS + 3, "px")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no market events"),
        (b"PK\x03\x04junk", "corrupt"),
        (b"\x93NUMPYjunk", "corrupt"),
        (b"no capture\n", "line 1|row 0|byte"),
        (gzip.compress(b"", mtime=0)[:-4], "truncated"),
    ],
)
def test_a_bad_file_is_named(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        whole(open_source("X", path))
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere: No such file"):
        open_source("X", tmp_path / "nowhere")


def test_a_repetition_is_a_clear_and_the_same_rows_later():
    data = sample(5)
    source = LoopedSource(ChunkedSource(data, [2]), 3, gap=100)
    out = whole(source)
    assert len(out) == source.rows == 17
    # From the first time (1000) to the last (1047), and the gap.
    shift = 47 + 100
    for turn, first in ((0, 0), (1, 6), (2, 12)):
        part = out[first : first + 5]
        assert (part["exch_ts"] == data["exch_ts"] + turn * shift).all()
        assert (part["local_ts"] == data["local_ts"] + turn * shift).all()
        assert (part["order_id"] == data["order_id"]).all()
    for turn, seam in ((1, 5), (2, 11)):
        assert out["ev"][seam] == DEPTH_CLEAR_EVENT | EXCH_EVENT | LOCAL_EVENT
        assert (out["exch_ts"][seam], out["local_ts"][seam]) == (1000 + turn * shift, 1007 + turn * shift)
    assert (np.diff(out["exch_ts"]) >= 0).all()
    assert (np.diff(out["local_ts"]) >= 0).all()
    assert data.tobytes() == sample(5).tobytes()


@pytest.mark.parametrize("start", range(19))
def test_a_repeated_source_starts_at_any_row(start):
    source = LoopedSource(ChunkedSource(sample(5), [2, 2, 4]), 3)
    assert whole(source, start).tobytes() == whole(source)[start:].tobytes()


def test_for_ever_goes_on():
    source = LoopedSource(ChunkedSource(sample(2)), 0)
    assert source.rows == 0
    merger = Merger([source])
    items = merger.read(1000)
    assert len(items) == 1000
    assert (np.diff(items["ts"]) >= 0).all()
    clears = items[
        (items["event"]["ev"] & np.uint64(0xFF) == DEPTH_CLEAR_EVENT) & (items["flags"] & LOCAL != 0)
    ]
    assert len(clears) > 100
    # An empty book is not yet a feed message: the rows that fill it have the same time.
    assert not (clears["flags"] & LAST).any()
    assert len(next(source.chunks(1_000_000))) > 0


def test_nothing_repeated_for_ever_is_nothing():
    assert len(whole(LoopedSource(ChunkedSource(sample(0)), 0))) == 0


def test_one_sided_rows_cannot_be_repeated_for_ever():
    data = sample(3)
    data["ev"] = DEPTH_EVENT | LOCAL_EVENT
    out = whole(LoopedSource(ChunkedSource(data), 2))
    assert out["ev"][3] == DEPTH_CLEAR_EVENT | LOCAL_EVENT
    with pytest.raises(DataError, match="one side only"):
        whole(LoopedSource(ChunkedSource(data), 0))


@pytest.mark.parametrize(("times", "gap"), [(-1, 1), (2, 0)])
def test_impossible_repetitions_are_refused(times, gap):
    with pytest.raises(ValueError, match="repeat"):
        LoopedSource(ChunkedSource(sample(1)), times, gap=gap)


@pytest.mark.recording
def test_a_capture_is_its_conversion():
    data = events("spot")
    source = open_source("BTCUSDT", recording("spot"), loop=2)
    assert isinstance(source, LoopedSource)
    assert source.rows == 0
    out = whole(source)
    assert len(out) == source.rows == 2 * len(data) + 1
    assert out[: len(data)].tobytes() == data.tobytes()
    assert (out["px"][len(data) + 1 :] == data["px"]).all()
    assert isinstance(open_source("BTCUSDT", recording("spot")), CaptureSource)
