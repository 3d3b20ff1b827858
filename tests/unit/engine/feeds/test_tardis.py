"""Tardis's csv files: rows, numbers of any form, several symbols, and what is wrong."""

import gzip
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cli.main import main
from engine.core.errors import ConfigError, DataError
from engine.core.types import BUY_EVENT, SELL_EVENT
from engine.feeds import tardis
from engine.feeds.formats import recognise
from engine.feeds.tardis_rows import TardisParser

T = 1_600_000_000_000_000
TRADES = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
DEPTH = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n"


def trade(ts, side="buy", price="10", amount="1", symbol="BTCUSD", local=None):
    return f"ex,{symbol},{ts},{local or ts + 5},some-id,{side},{price},{amount}\n"


def level(ts, side="bid", price="10", amount="1", snapshot="false", symbol="BTCUSD", local=None):
    return f"ex,{symbol},{ts},{local or ts + 5},{snapshot},{side},{price},{amount}\n"


BOOK = (
    DEPTH
    + level(T, snapshot="true")
    + level(T, "ask", "11", snapshot="true")
    + level(T + 9, "ask", "11", "0")
)


def write(tmp_path, text, name="x.csv"):
    (tmp_path / name).write_bytes(text.encode())
    return tmp_path / name


def test_both_files_become_one_recording(tmp_path):
    trades = write(tmp_path, TRADES + trade(T + 4) + trade(T + 9, "sell") + trade(T + 11, "unknown"), "t.csv")
    book = write(tmp_path, BOOK, "b.csv")
    result = tardis.convert([book, trades])
    kinds = (result.events["ev"] & 0xFF).tolist()
    # At the same time a trade comes before the change of the level that it made.
    assert kinds == [3, 4, 3, 4, 2, 2, 1, 2]
    side = (result.events["ev"] & np.uint64(BUY_EVENT | SELL_EVENT)).tolist()
    assert side == [BUY_EVENT, BUY_EVENT, SELL_EVENT, SELL_EVENT, BUY_EVENT, SELL_EVENT, SELL_EVENT, 0]
    assert result.events["exch_ts"].tolist() == [T * 1000 + k * 1000 for k in (0, 0, 0, 0, 4, 9, 9, 11)]
    assert (result.events["local_ts"] - result.events["exch_ts"] == 5_000).all()
    assert (result.symbol, result.lines, result.stale) == ("BTCUSD", 8, 0)
    assert result.messages == {"trade": 3, "depth": 1, "snapshot": 2}


def test_snapshots_are_taken_or_not(tmp_path):
    rows = [
        level(T, price="9"),
        *(level(T + 1, price=price, snapshot="true") for price in ("8", "7")),
        level(T + 2, price="6"),
        level(T + 3, price="5", snapshot="true"),
    ]
    path = write(tmp_path, DEPTH + "".join(rows))
    prices = {mode: tardis.convert([path], snapshots=mode).events["px"].tolist() for mode in tardis.SNAPSHOTS}
    assert prices == {
        "process": [7.0, 8.0, 7.0, 6.0, 5.0, 5.0],
        "ignore_sod": [9.0, 6.0, 5.0, 5.0],
        "ignore": [9.0, 6.0],
    }
    assert tardis.convert([path]).stale == 1
    with pytest.raises(ConfigError, match="snapshots 'all' is none of process"):
        tardis.convert([path], snapshots="all")


def test_times_that_go_back_are_sorted_and_latencies_shifted(tmp_path):
    rows = [level(T + 5, local=T + 1), level(T + 2, local=T + 3), level(T + 9, local=T + 20)]
    result = tardis.convert([write(tmp_path, DEPTH + "".join(rows))], base_latency=7)
    assert result.latency_offset == 4_007
    events = result.events
    for flag, clock in ((1 << 31, "exch_ts"), (1 << 30, "local_ts")):
        seen = events[clock][(events["ev"] & np.uint64(flag)) != 0]
        assert len(seen) == 3
        assert (np.diff(seen) >= 0).all()


def test_gzip_and_any_cut_are_the_same(tmp_path):
    text = BOOK + "".join(level(T + 10 + k, price=f"{k / 7:.9f}", amount=str(k)) for k in range(300))
    whole = tardis.convert([write(tmp_path, text)])
    packed = tmp_path / "x.csv.gz"
    packed.write_bytes(gzip.compress(text.replace("\n", "\r\n").encode()))
    steps: list[int] = []
    assert tardis.convert([packed], progress=steps.append).events.tobytes() == whole.events.tobytes()
    assert sum(steps) == packed.stat().st_size
    assert recognise(packed) == recognise(tmp_path / "x.csv") == "tardis"
    expected = None
    for size in (1, 13, len(text)):
        parser = TardisParser()
        for at in range(0, len(text), size):
            parser.feed(text[at : at + size].encode())
        parser.close()
        rows = parser.take()
        expected = rows if expected is None else expected
        assert rows.tobytes() == expected.tobytes()


def test_one_of_several_symbols_is_taken(tmp_path):
    text = DEPTH + "".join(level(T + k, price=str(k + 1), symbol=f"S{k % 3}") for k in range(9))
    path = write(tmp_path, text)
    result = tardis.convert([path], symbol="S1")
    assert result.events["px"].tolist() == [2.0, 5.0, 8.0]
    assert (result.symbol, result.lines) == ("S1", 10)
    with pytest.raises(DataError, match="field symbol: has several symbols, name one: S0, S1, S2"):
        tardis.convert([path])
    with pytest.raises(DataError, match="no market events of S4"):
        tardis.convert([path], symbol="S4")
    # The second file has to be of the first one's symbol.
    other = write(tmp_path, TRADES + trade(T, symbol="S9"), "t.csv")
    one = write(tmp_path, DEPTH + level(T, symbol="S1"), "b.csv")
    assert len(tardis.convert([one, other]).events) == 1


def test_what_is_wrong_is_named_with_its_line(tmp_path):
    def refused(match, line, first=BOOK):
        path = write(tmp_path, first + line)
        with pytest.raises(DataError, match=match) as caught:
            tardis.convert([path])
        assert caught.value.line == first.count("\n") + 1
        assert caught.value.file == str(path)

    refused("field timestamp: 'now' is not a number", level("now", local=T))
    refused("field timestamp: 0 is not from 1 to", level(0, local=T))
    refused("field timestamp: -1 is not from 1 to", level(-1, local=T))
    refused("field local_timestamp: 9999999999999999 is not from 1 to", level(T, local=9_999_999_999_999_999))
    refused("field local_timestamp: '' is not a number", f"ex,B,{T},,false,bid,1,1\n")
    refused("field is_snapshot: 'maybe' is not true or false", level(T, snapshot="maybe"))
    refused("field side: 'unknown' is not bid or ask", level(T, side="unknown"))
    refused("field side: 'bid' is not buy, sell or unknown", trade(T, side="bid"), first=TRADES)
    refused("field price: 'x' is not a number", level(T, price="x"))
    refused("field price: 'nan' is not a number", level(T, price="nan"))
    refused("field price: '1e999' is not a number", level(T, price="1e999"))
    refused("field price: '1_0' is not a number", level(T, price="1_0"))
    refused("field amount: '' is not a number", level(T, amount=""))
    refused(r"field amount: '1\.2\.3' is not a number", level(T, amount="1.2.3"))
    refused("field amount: -1 is not 0 or more", level(T, amount="-1"))
    refused("a line of 7 fields instead of 8", level(T).replace("ex,", ""))
    refused("a line of 9 fields instead of 8", level(T).replace("\n", ",1\n"))
    refused("a line of 1 fields instead of 8", "\n")
    refused("field symbol: S* is not at most 64 bytes", level(T, symbol="S" * 65))
    refused("truncated: the last line does not end", level(T).rstrip())
    refused("the columns a,b are neither those of trades", "a,b\n", first="")
    with pytest.raises(DataError, match="no first line with the columns"):
        tardis.convert([write(tmp_path, "")])
    with pytest.raises(DataError, match="no market events in it"):
        tardis.convert([write(tmp_path, DEPTH)])
    with pytest.raises(DataError, match="No such file"):
        tardis.convert([tmp_path / "none"])
    (tmp_path / "x.csv").write_bytes(gzip.compress(BOOK.encode())[:-9])
    with pytest.raises(DataError, match="truncated: the gzip data"):
        tardis.convert([tmp_path / "x.csv"])
    with pytest.raises(DataError, match="a symbol of 65 bytes"):
        tardis.convert([write(tmp_path, BOOK)], symbol="S" * 65)


def test_changed_bytes_are_refused_or_rows_but_never_more():
    data = (
        BOOK + "".join(level(T + 10 + k, price=f"{k / 7:.9f}", amount=str(k)) for k in range(50))
    ).encode()
    draw = random.Random(9)
    refused = 0
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(len(changed))] = draw.choice((0, 10, 13, 44, 45, 46, draw.randrange(256)))
        parser = TardisParser()
        try:
            parser.feed(bytes(changed))
            parser.close()
        except DataError as error:
            refused += 1 <= error.line <= 60
        assert len(parser.take()) <= 60
    assert 50 < refused < 300


FORMS = st.sampled_from(("{}", "{:.3f}", "{:.17g}", "{:.25f}", "{:e}", "{:E}", "{:.0f}."))


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-1e30, 1e30), FORMS), min_size=1, max_size=30))
def test_numbers_are_read_as_python_reads_them(values):
    texts = [form.format(value) for value, form in values]
    parser = TardisParser()
    parser.feed((DEPTH + "".join(level(T, price=text) for text in texts)).encode())
    assert parser.take()["px"].tobytes() == np.array([float(text) for text in texts]).tobytes()


def test_the_command_takes_both_files(capsys, tmp_path):
    trades = write(tmp_path, TRADES + trade(T + 4), "t.csv")
    book = write(tmp_path, BOOK, "b.csv")
    out = tmp_path / "o.npz"
    assert main(["convert", str(trades), str(book), str(out), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["input"] == [str(trades), str(book)]
    assert (summary["symbol"], summary["rows"], summary["lines"]) == ("BTCUSD", 6, 6)
    assert np.load(out)["data"].tobytes() == tardis.convert([trades, book]).events.tobytes()
    assert main(["convert", str(book), str(out), "--force", "--snapshots", "ignore"]) == 0
    assert len(np.load(out)["data"]) == 1
    assert main(["convert", str(book), str(out), "--force", "--date", "2020-01-01"]) == 2
    assert "--date is for itch, lobster files, this is tardis" in capsys.readouterr().err
    assert main(["convert", str(trades), str(book), str(out), "--force", "--format", "binance"]) == 2
    assert main(["convert", __file__, str(out), "--force", "--snapshots", "ignore"]) == 2
    quotes = write(tmp_path, "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price\n", "q.csv")
    capsys.readouterr()
    assert main(["convert", str(quotes), str(out), "--force"]) == 2
    assert "q.csv, line 1: the columns exchange,symbol,timestamp" in capsys.readouterr().err
