"""Reading captures: plain and gzipped, whole, cut short and corrupt; threads end with their reader."""

import gzip
import random
import threading

import numpy as np
import pytest

from engine.core.errors import DataError
from engine.feeds.capture import BLOCK, convert, parse, text_blocks
from tests.kit.captures import depth, line, snapshot, trade, write

LINES = [
    line(0, snapshot(0, 5, [("10.0", "1")], [("10.1", "2")]), stream=None),
    *(line(i * 1000, depth(i, i + 5, i + 5, i + 4, [("10.0", str(i))])) for i in range(1, 200)),
    line(300_000, trade(200, "10.1", "0.5")),
]


def test_plain_gzipped_and_many_members_are_the_same(tmp_path):
    plain = convert(write(tmp_path / "x.txt", LINES))
    packed = convert(write(tmp_path / "x.gz", LINES))
    many = tmp_path / "many"
    many.write_bytes(b"".join(gzip.compress(text) for text in LINES) + bytes(100))
    members = convert(many)
    assert plain.events.tobytes() == packed.events.tobytes() == members.events.tobytes()
    assert plain[1:] == packed[1:] == members[1:]
    assert plain.symbol == "BTCUSDT"
    assert plain.lines == len(LINES)
    assert plain.messages == {"trade": 1, "depthUpdate": 199, "snapshot": 1}


def test_no_latency_is_negative_and_the_shift_is_told(tmp_path):
    lines = [line(-5_000_000, trade(0, "1", "1")), line(7, trade(1, "1", "1"))]
    result = convert(write(tmp_path / "x", lines), base_latency=10)
    assert result.latency_offset == 5_000_010
    assert (result.events["local_ts"] - result.events["exch_ts"]).min() == 10


def test_progress_counts_the_bytes_of_the_file(tmp_path):
    path = write(tmp_path / "x.gz", LINES)
    steps = []
    convert(path, progress=steps.append)
    assert sum(steps) == path.stat().st_size


def test_blocks_are_bounded(tmp_path):
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(bytes(20_000_000).replace(b"\0", b"x")))
    sizes = [len(block) for block in text_blocks(path)]
    assert sum(sizes) == 20_000_000
    assert max(sizes) <= 4 << 20


def test_a_truncated_gzip_is_refused_at_every_length(tmp_path):
    content = write(tmp_path / "x.gz", LINES).read_bytes()
    cut = tmp_path / "cut.gz"
    for length in range(len(content) - 1, 2, -13):
        cut.write_bytes(content[:length])
        with pytest.raises(DataError, match="truncated") as caught:
            convert(cut)
        assert (caught.value.file, caught.value.byte) == (str(cut), length)


def test_a_truncated_plain_file_is_refused_unless_cut_between_lines(tmp_path):
    content = write(tmp_path / "x", LINES[:5]).read_bytes()
    cut = tmp_path / "cut"
    ends = {i + 1 for i, byte in enumerate(content) if byte == 10} | {
        i for i, byte in enumerate(content) if byte == 10
    }
    for length in range(1, len(content)):
        cut.write_bytes(content[:length])
        if length in ends:
            assert len(convert(cut).events) > 0
        else:
            with pytest.raises(DataError, match="line"):
                convert(cut)


def test_flipped_bytes_of_a_gzip_never_crash(tmp_path):
    content = write(tmp_path / "x.gz", LINES).read_bytes()
    chance = random.Random(3)
    path = tmp_path / "y.gz"
    refused = 0
    for _ in range(300):
        mutated = bytearray(content)
        mutated[chance.randrange(len(mutated))] ^= 1 << chance.randrange(8)
        path.write_bytes(mutated)
        try:
            assert len(convert(path).events) >= 200
        except DataError:
            refused += 1
    assert refused > 250


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no market events"),
        (b"\n\n", "no market events"),
        (b"PK\x03\x04rest", "npz or zip archive"),
        (b"\x93NUMPY", "npy array"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\xfd7zXZ\0", "xz"),
        (b"BZh9", "bzip2"),
        (bytes(range(256)), "line 1"),
    ],
)
def test_files_that_are_no_captures(tmp_path, content, message):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        convert(path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        convert(tmp_path / "absent")
    with pytest.raises(DataError, match="directory"):
        convert(tmp_path)


def test_the_reading_thread_ends_after_an_error(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"nonsense\n" + b"".join(LINES) * (8 * BLOCK // len(b"".join(LINES))))
    before = threading.active_count()
    with pytest.raises(DataError, match="line 1"):
        parse(path)
    assert threading.active_count() == before


def test_the_order_of_lines_is_kept_until_it_is_corrected(tmp_path):
    lines = [line(0, trade(9, "1", "1")), line(1, trade(3, "2", "1"))]
    path = write(tmp_path / "x", lines)
    assert parse(path).take()["px"].tolist() == [1, 2]
    events = convert(path).events
    assert events["px"].tolist() == [2, 1, 2]
    assert np.all(np.diff(events["exch_ts"][(events["ev"] >> np.uint64(31)) == 1]) > 0)
