"""Databento's market-by-order files: whole, mixed, filtered, compressed, cut short and wrong."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cli.main import main
from engine.core.errors import ConfigError, DataError
from engine.core.types import DEPTH_CLEAR_EVENT
from engine.feeds.databento import convert
from engine.feeds.dbn import is_databento
from tests.kit.dbn import SNAPSHOT, UNDEF_PRICE, header, mbo, naive_events

zstandard = pytest.importorskip("zstandard")

T = 1_700_000_000_000_000_000
OTHER = bytes([4, 0x17]).ljust(16, b"\0")
"""A record of another kind, 16 bytes long."""

RECORDS = [
    mbo("A", "B", 4_799_000_000_000, 2, 11, T - 10**12, recv=T, flags=SNAPSHOT),
    mbo("A", "A", 4_799_250_000_000, 3, 12, T - 10**11, recv=T, flags=SNAPSHOT),
    mbo("M", "A", 4_799_500_000_000, 1, 12, T + 5),
    mbo("N", "N", UNDEF_PRICE, 0, 0, T + 5),
    mbo("T", "B", 4_799_500_000_000, 1, 0, T + 7),
    mbo("F", "A", 4_799_500_000_000, 1, 12, T + 7),
    mbo("C", "A", 4_799_500_000_000, 1, 12, T + 8),
]


def write(path, records=RECORDS, symbols=None, **options):
    path.write_bytes(header(symbols or {7: "ESH4"}, **options) + b"".join(records))
    return path


@pytest.mark.parametrize("version", [1, 2, 3])
def test_every_record_becomes_the_row_it_should(tmp_path, version):
    path = write(tmp_path / "x.dbn", version=version)
    result = convert(path)
    assert result.events.tobytes() == naive_events(path).tobytes()
    assert (result.symbol, result.lines, result.latency_offset) == ("ESH4", 7, 0)
    assert result.messages == {"add": 2, "cancel": 1, "modify": 1, "trade": 1, "fill": 1}


def test_a_snapshot_is_as_old_as_its_receipt_unless_asked_otherwise(tmp_path):
    path = write(tmp_path / "x.dbn")
    assert convert(path).events["exch_ts"][:2].tolist() == [T, T]
    assert convert(path, compat="2.4").events["exch_ts"][:2].tolist() == [T - 10**12, T - 10**11]
    with pytest.raises(ConfigError, match="compat"):
        convert(path, compat="1.0")


def test_after_a_clear_the_reference_stamps_too(tmp_path):
    clear = mbo("R", "N", UNDEF_PRICE, 0, 0, T - 7, recv=T)
    added = [mbo("A", "B", 10**9 * i, 1, i, T - 10**12 + i, recv=T) for i in range(1, 4)]
    later = mbo("A", "A", 10**10, 1, 9, T + 1)
    events = convert(write(tmp_path / "x.dbn", [clear, *added, later]), compat="2.4").events
    assert events["exch_ts"].tolist() == [T, T, T, T, T + 1]
    assert events["ev"][0] & 0xFF == DEPTH_CLEAR_EVENT
    assert np.isnan(events["px"][0])


def test_other_records_in_between_are_passed_over(tmp_path):
    mixed = [part for record in RECORDS for part in (OTHER, record)]
    longer = [mbo("A", "B", 10**9, 1, 1, T), mbo("A", "B", 10**9, 1, 2, T, length=16)]
    plain = convert(write(tmp_path / "x.dbn"))
    assert convert(write(tmp_path / "y.dbn", mixed)).events.tobytes() == plain.events.tobytes()
    assert convert(write(tmp_path / "z.dbn", longer)).events["order_id"].tolist() == [1, 2]
    with_times = [mbo("A", "B", 10**9, 1, i, T, length=16) for i in range(1, 5)]
    assert convert(write(tmp_path / "t.dbn", with_times)).events["order_id"].tolist() == [1, 2, 3, 4]


def test_one_of_several_symbols_is_taken(tmp_path):
    records = [mbo("A", "B", 10**9 * i, 1, i, T + i, instrument=7 + i % 2) for i in range(1, 7)]
    path = write(tmp_path / "x.dbn", records, {7: "ESH4", 8: "ESM4"})
    assert convert(path, symbol="ESM4").events["order_id"].tolist() == [1, 3, 5]
    assert convert(path, symbol="ESH4").events.tobytes() == naive_events(path, {7}).tobytes()
    with pytest.raises(DataError, match="several symbols, name one: ESH4, ESM4"):
        convert(path)
    with pytest.raises(DataError, match="no symbol 'NQH4', only: ESH4, ESM4"):
        convert(path, symbol="NQH4")


def test_zstd_of_any_number_of_frames_is_the_same(tmp_path):
    path = write(tmp_path / "x.dbn", RECORDS * 3000)
    content = path.read_bytes()
    pack = zstandard.ZstdCompressor().compress
    packed = tmp_path / "x.dbn.zst"
    packed.write_bytes(b"".join(pack(content[i : i + 50_001]) for i in range(0, len(content), 50_001)))
    steps = []
    assert convert(packed, progress=steps.append).events.tobytes() == convert(path).events.tobytes()
    assert sum(steps) == packed.stat().st_size
    assert is_databento(packed)
    assert is_databento(path)


def test_what_is_cut_short_is_refused_wherever_it_ends(tmp_path):
    content = write(tmp_path / "x.dbn").read_bytes()
    packed = zstandard.ZstdCompressor().compress(content)
    whole = {len(content) - 56 * i for i in range(len(RECORDS))}
    cut = tmp_path / "cut"
    for length in range(1, len(content)):
        if length not in whole:
            cut.write_bytes(content[:length])
            with pytest.raises(DataError):
                convert(cut)
    for length in range(5, len(packed)):
        cut.write_bytes(packed[:length])
        with pytest.raises(DataError):
            convert(cut)


def test_what_is_wrong_is_named(tmp_path):
    def refused(match, records=RECORDS, **options):
        with pytest.raises(DataError, match=match):
            convert(write(tmp_path / "x.dbn", records, **options))

    good = RECORDS[0]
    refused("row 1, field action: 'Q' is none of", [good, mbo("Q", "B", 1, 1, 1, T)])
    refused("row 1, field side: 'S' is none of", [good, mbo("A", "S", 1, 1, 1, T)])
    refused("row 1, field price: the price is undefined", [good, mbo("A", "B", UNDEF_PRICE, 1, 1, T)])
    refused("row 1, field ts_event: no time", [good, mbo("A", "B", 1, 1, 1, 2**64 - 1, recv=T)])
    refused("a record of 4 bytes", [good, b"\x01\xa0\0\0" + bytes(52)])
    refused("no market events", [])
    refused("schema 1 instead of mbo", schema=1)
    refused("version 9", version=9)
    (tmp_path / "x.dbn").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    with pytest.raises(DataError, match="zstd"):
        convert(tmp_path / "x.dbn")
    with pytest.raises(DataError, match="not a DBN file"):
        convert(__file__)
    with pytest.raises(DataError, match="No such file"):
        convert(tmp_path / "none")


def test_without_the_extra_compressed_files_say_what_is_missing(tmp_path, monkeypatch):
    plain = write(tmp_path / "x.dbn")
    packed = tmp_path / "x.dbn.zst"
    packed.write_bytes(zstandard.ZstdCompressor().compress(plain.read_bytes()))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigError, match=r"ringbook\[databento\]"):
        is_databento(packed)
    assert not is_databento(packed.rename(tmp_path / "capture.zst"))
    assert len(convert(plain).events) == 6


def test_the_command_converts_and_refuses_options_of_captures(capsys, tmp_path):
    path, out = write(tmp_path / "x.dbn"), tmp_path / "o.npz"
    assert main(["convert", str(path), str(out)]) == 0
    assert "6 rows of ESH4" in capsys.readouterr().out
    assert np.load(out)["data"].tobytes() == convert(path).events.tobytes()
    assert main(["convert", str(path), str(out), "--force", "--opt", "m"]) == 2
    assert main(["convert", str(path), str(out), "--force", "--symbol", "NQ"]) == 2
    assert main(["convert", __file__, str(out), "--force", "--symbol", "NQ"]) == 2


ACTIONS = st.sampled_from("ACMTFN")
SIDES = st.sampled_from("BAN")


@settings(deadline=None)
@given(
    rows=st.lists(
        st.tuples(ACTIONS, SIDES, st.integers(-(10**12), 10**13), st.integers(0, 2**32 - 1), st.booleans()),
        min_size=1,
        max_size=60,
    ),
    version=st.integers(1, 3),
)
def test_generated_files_convert_as_field_by_field(tmp_path_factory, rows, version):
    records = [mbo("A", "B", 1, 1, 1, T)]
    for i, (action, side, price, size, other) in enumerate(rows):
        records.append(mbo(action, side, price, size, 2**63 + i, T + 10 * i))
        records += [OTHER] * other
    path = write(tmp_path_factory.getbasetemp() / "generated.dbn", records, version=version)
    assert convert(path).events.tobytes() == naive_events(path).tobytes()
