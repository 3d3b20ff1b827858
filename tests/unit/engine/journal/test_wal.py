"""The journal's buffer: CRC-32C against a plain one, appends, room, reserve, what others see."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from engine.core.errors import CapacityError, RingCorrupt
from engine.journal.wal import (
    HEADER_BYTES,
    Journal,
    JournalFlag,
    RecordType,
    crc32c,
    crc32c_hardware,
    walk,
)
from engine.runtime.records import Kind

RUN = bytes(range(16))


def plain_crc32c(data: bytes, crc: int = 0) -> int:
    """CRC-32C bit by bit, not inverted."""
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc


def make(tmp_path, **kwargs) -> Journal:
    kwargs = {"capacity": 1 << 16} | kwargs
    return Journal.create(tmp_path / "buffer", run_id=RUN, **kwargs)


@pytest.mark.parametrize("by_table", [False, True])
def test_crc32c_is_that_of_a_plain_one(by_table):
    rng = random.Random(5)
    assert crc32c(b"123456789", 0xFFFFFFFF, by_table=by_table) ^ 0xFFFFFFFF == 0xE3069283
    for size in [*range(40), 255, 1000]:
        data, seed = rng.randbytes(size), rng.getrandbits(32)
        assert crc32c(data, seed, by_table=by_table) == plain_crc32c(data, seed)


def test_crc32c_goes_on_from_piece_to_piece():
    data = random.Random(1).randbytes(333)
    for cut in range(0, 333, 7):
        assert crc32c(data[cut:], crc32c(data[:cut], 77)) == crc32c(data, 77)


def test_the_processors_crc_is_used_where_it_is_known_to_be_there():
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        pytest.skip("no /proc/cpuinfo")
    assert crc32c_hardware() == ("sse4_2" in flags or "crc32" in flags)


def test_a_record_lies_as_documented(tmp_path):
    with make(tmp_path, first_seq=7, first_crc=99) as journal:
        payload = (1234).to_bytes(8, "little") + b"abc"
        assert journal.append(33, payload, t_mono=-5, flags=6, instrument=3, strategy=0xFFFF)
        data = bytes(journal.pending(0, 1 << 20))
    assert len(data) == 48
    assert int.from_bytes(data[:4], "little") == HEADER_BYTES + 11
    assert int.from_bytes(data[8:16], "little") == 7
    assert int.from_bytes(data[16:24], "little", signed=True) == -5
    assert data[24:32] == b"\x21\x00\x01\x06\x03\x00\xff\xff"
    assert data[32:] == payload + bytes(5)
    assert int.from_bytes(data[4:8], "little") == plain_crc32c(data[8:], plain_crc32c(data[:4], 99))


def test_record_types_that_rings_have_too_have_their_numbers():
    shared = {kind.name for kind in Kind} & {kind.name for kind in RecordType}
    assert shared == {
        "MARKET",
        "FEED_STATUS",
        "ORDER_REQUEST",
        "SIGNAL",
        "CONTROL",
        "REPLY",
        "ORDER",
        "FILL",
    }
    assert all(Kind[name] == RecordType[name] for name in shared)


def test_appends_around_the_end_many_times_stay_in_one_piece(tmp_path):
    rng = random.Random(3)
    with make(tmp_path) as journal, Journal.attach(journal.path) as other:
        seq = crc = position = sent = 0
        while position < 10 * (1 << 16):
            while journal.append(33, rng.randbytes(rng.randrange(500)), t_mono=sent):
                sent += 1
            view = other.pending(position, 1 << 20)
            size, seq, crc, count = walk(view, seq, crc)
            assert size == len(view)
            assert count > 0
            position += size
            other.commit(position, seq)
        assert seq == sent == journal.accepted_seq == journal.durable_seq
        assert journal.head == journal.tail == position


def test_full_says_so_and_the_reserve_is_for_those_who_may(tmp_path):
    with make(tmp_path, reserve=4096) as journal:
        while journal.append(33, bytes(100)):
            pass
        room = (1 << 16) - journal.head
        assert 4096 <= room < 4096 + 136
        before = journal.accepted_seq
        assert not journal.append(33, bytes(100))
        count = 0
        while journal.append(33, bytes(100), reserved=True):
            count += 1
        assert count == room // 136
        assert journal.accepted_seq == before + count
        journal.commit(journal.head, journal.accepted_seq)
        assert journal.append(33, bytes(100))


def test_a_payload_of_the_limit_is_taken_and_one_more_byte_is_not(tmp_path):
    with make(tmp_path, max_payload=100) as journal:
        assert journal.append(33, bytes(100))
        with pytest.raises(CapacityError, match="101 bytes"):
            journal.append(33, bytes(101))
        assert journal.accepted_seq == 1


@pytest.mark.parametrize(
    "kwargs",
    [
        {"capacity": 100_000},
        {"capacity": 1 << 15},
        {"reserve": 1 << 16},
        {"max_payload": 1 << 14},
        {"max_payload": 0},
    ],
)
def test_impossible_sizes_are_refused(tmp_path, kwargs):
    with pytest.raises(CapacityError):
        make(tmp_path, **kwargs)
    assert os.listdir(tmp_path) == []


def test_rows_are_appended_until_the_buffer_is_full(tmp_path):
    rows = np.random.default_rng(1).integers(0, 256, (2000, 16), dtype=np.uint8)
    with make(tmp_path, max_payload=16) as journal:
        done = journal.append_rows(33, rows, flags=9)
        assert 0 < done < 2000
        view = journal.pending(0, 1 << 20)
        assert walk(view, 0, 0)[3] == done == journal.accepted_seq
        assert bytes(view[32:48]) == rows[0].tobytes()
        with pytest.raises(CapacityError):
            journal.append_rows(33, np.zeros((1, 17), np.uint8))


def test_only_the_creator_appends(tmp_path):
    with make(tmp_path) as journal, Journal.attach(journal.path) as other:
        with pytest.raises(ValueError, match="created"):
            other.append(33, b"")
        with pytest.raises(ValueError, match="created"):
            other.append_rows(33, np.zeros((1, 8), np.uint8))


def test_flags_and_end_are_seen_by_the_other_side(tmp_path):
    with make(tmp_path, build="ab", config="cd") as journal, Journal.attach(journal.path) as other:
        other.set_flag(JournalFlag.DISK_FULL)
        other.set_flag(JournalFlag.HALTED)
        other.set_flag(JournalFlag.DISK_FULL, False)
        assert journal.flags == JournalFlag.HALTED
        assert not journal.wait_durable(1, 10.0), "a halted journaller is not waited for"
        assert not other.ended
        journal.end()
        assert other.ended
        assert (other.run_id, other.build[:4], other.config[:4]) == (RUN, "ab00", "cd00")


def test_walk_stops_at_every_kind_of_broken_record(tmp_path):
    with make(tmp_path) as journal:
        for number in range(10):
            journal.append(33, bytes([number]) * number)
        data = bytes(journal.pending(0, 1 << 20))
    assert walk(data, 0, 0)[3] == 10
    assert walk(data, 1, 0)[3] == 0, "another number"
    assert walk(data, 0, 1)[3] == 0, "another chain"
    assert walk(data[:-8], 0, 0)[3] == 9
    third = walk(data, 0, 0, 2)[0]
    assert walk(data, 0, 0, 2)[3] == 3, "payloads above the limit"
    for bit in range(third * 8, (third + 40) * 8):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        assert walk(broken, 0, 0)[3] == 3


@pytest.mark.parametrize("at", [0, 8, 16, 24, 256])
def test_a_broken_header_is_refused(tmp_path, at):
    make(tmp_path).close()
    with open(tmp_path / "buffer", "r+b") as file:
        file.seek(at)
        file.write(b"\x03\xff\xff\xff\xff\xff\xff\x7f")
    with pytest.raises(RingCorrupt):
        Journal.attach(tmp_path / "buffer")


def test_what_is_no_buffer_is_refused(tmp_path):
    (tmp_path / "short").write_bytes(b"BookJrnl")
    (tmp_path / "long").write_bytes(bytes(1 << 18))
    for name in ("short", "long"):
        with pytest.raises(RingCorrupt):
            Journal.attach(tmp_path / name)


def test_a_hostile_head_does_not_lead_out_of_the_buffer(tmp_path):
    with make(tmp_path) as journal:
        journal.append(33, bytes(10))
        for position in (1 << 20, 2**63, 4):
            with pytest.raises(RingCorrupt):
                journal.pending(position, 100)


def test_closed_is_said(tmp_path):
    journal = make(tmp_path)
    journal.close()
    for use in (lambda: journal.append(33, b""), lambda: journal.head, lambda: journal.pending(0, 8)):
        with pytest.raises(ValueError, match="closed"):
            use()
