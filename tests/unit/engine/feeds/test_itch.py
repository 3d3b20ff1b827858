"""TotalView-ITCH 5.0: every message, files cut anywhere, random days against the obvious book, errors."""

import gzip
import json
import random
from datetime import date

import numpy as np
import pytest

from engine.book.l3 import L3
from engine.cli.main import main
from engine.core.errors import DataError
from engine.core.types import (
    ADD_ORDER_EVENT,
    BUY_EVENT,
    CANCEL_ORDER_EVENT,
    EXCH_EVENT,
    FILL_EVENT,
    LOCAL_EVENT,
    MODIFY_ORDER_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
)
from engine.feeds import nasdaq
from engine.feeds.formats import recognise
from engine.feeds.itch import LENGTHS, ItchParser
from engine.feeds.nasdaq import convert_itch
from engine.feeds.spool import Spool
from tests.kit import itch

T = itch.NANOSECONDS
MIDNIGHT = 1_548_824_400_000_000_000
"""2019-01-30 in New York."""
NAME = "01302019.NASDAQ_ITCH50"
SYMBOLS = {"AAPL": 13, "MSFT": 7_000, "ZVZZT": 65_535}
DAY = [itch.system(T, "O"), itch.directory(13, T, "AAPL"), itch.directory(14, T, "MSFT"), itch.system(T, "Q")]
ADD = itch.add(13, T, 1, "B", 100, "AAPL", 1_500_000)


def rows(tmp_path, *messages, name=NAME, **options):
    """The events of a file with these messages, as (kind, side, px, qty, order id)."""
    path = itch.write(tmp_path / name, [*DAY, *messages])
    events = convert_itch(path, symbol="AAPL", **options).events
    both = np.uint64(EXCH_EVENT | LOCAL_EVENT)
    assert (events["ev"] & both == both).all()
    sides = {BUY_EVENT: "B", SELL_EVENT: "S", 0: ""}
    return [
        (ev & 0xFF, sides[ev & (BUY_EVENT | SELL_EVENT)], px, qty, order_id)
        for ev, px, qty, order_id in events[["ev", "px", "qty", "order_id"]].tolist()
    ]


def test_an_order_comes_and_goes(tmp_path):
    assert rows(
        tmp_path,
        ADD,
        itch.add(13, T, 2, "S", 7, "AAPL", 1_500_101, "MPID"),
        itch.reduced(13, T, 1, 30),
        itch.replaced(13, T, 1, 3, 80, 1_499_900),
        itch.deleted(13, T, 2),
        itch.reduced(13, T, 3, 80),
    ) == [
        (ADD_ORDER_EVENT, "B", 150.0, 100, 1),
        (ADD_ORDER_EVENT, "S", 150.0101, 7, 2),
        (MODIFY_ORDER_EVENT, "B", 150.0, 70, 1),
        (CANCEL_ORDER_EVENT, "B", 150.0, 70, 1),
        (ADD_ORDER_EVENT, "B", 149.99, 80, 3),
        (CANCEL_ORDER_EVENT, "S", 150.0101, 7, 2),
        (CANCEL_ORDER_EVENT, "B", 149.99, 80, 3),
    ]


def test_an_execution_is_a_trade_a_fill_and_what_is_left(tmp_path):
    assert rows(
        tmp_path,
        ADD,
        itch.executed(13, T, 1, 40),
        itch.executed_at(13, T, 1, 10, 1_490_000),
        itch.executed_at(13, T, 1, 20, 1_480_000, "N"),
        itch.executed(13, T, 1, 30),
    )[1:] == [
        (TRADE_EVENT, "S", 150.0, 40, 0),
        (FILL_EVENT, "B", 150.0, 40, 1),
        (MODIFY_ORDER_EVENT, "B", 150.0, 60, 1),
        (TRADE_EVENT, "S", 149.0, 10, 0),
        (FILL_EVENT, "B", 149.0, 10, 1),
        (MODIFY_ORDER_EVENT, "B", 150.0, 50, 1),
        (FILL_EVENT, "B", 148.0, 20, 1),
        (MODIFY_ORDER_EVENT, "B", 150.0, 30, 1),
        (TRADE_EVENT, "S", 150.0, 30, 0),
        (FILL_EVENT, "B", 150.0, 30, 1),
        (CANCEL_ORDER_EVENT, "B", 150.0, 30, 1),
    ]


def test_hidden_and_cross_trades_have_no_side_since_it_is_not_told(tmp_path):
    trades = [
        itch.hidden(13, T, "B", 5, "AAPL", 1_500_050),
        itch.hidden(13, T, "S", 6, "AAPL", 1_500_050),
        itch.cross(13, T, 5_000_000_000, "AAPL", 1_500_000),
        itch.cross(13, T, 0, "AAPL", 0),
        itch.broken(13, T, 1),
        itch.action(13, T, "AAPL", "H"),
    ]
    found = [
        (TRADE_EVENT, "", 150.005, 5, 0),
        (TRADE_EVENT, "", 150.005, 6, 0),
        (TRADE_EVENT, "", 150.0, 5_000_000_000, 0),
    ]
    assert rows(tmp_path, *trades) == found
    before = rows(tmp_path, *trades, day=date(2014, 7, 13))
    assert [side for _, side, *_ in before] == ["S", "B", ""]
    assert rows(tmp_path, *trades, day=date(2014, 7, 14)) == found


def test_times_are_new_yorks_and_local_ones_later(tmp_path):
    path = itch.write(tmp_path / NAME, [*DAY, ADD])
    result = convert_itch(path, symbol="AAPL", base_latency=1_000)
    assert result.events["exch_ts"].tolist() == [MIDNIGHT + T]
    assert result.events["local_ts"].tolist() == [MIDNIGHT + T + 1_000]
    summer = convert_itch(path, symbol="AAPL", day=date(2019, 7, 30)).events["exch_ts"][0]
    assert summer - MIDNIGHT - T == (181 * 24 - 1) * 3600 * 10**9
    with pytest.raises(DataError, match="the latency -1 ns is not from 0 to a day"):
        convert_itch(path, symbol="AAPL", base_latency=-1)


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_random_day_leads_to_the_book_of_its_messages(tmp_path, framed, seed):
    messages, books = itch.random_flow(seed, 3_000, SYMBOLS)
    path = itch.write(tmp_path / NAME, messages, framed)
    for symbol, expected in books.items():
        result = convert_itch(path, symbol=symbol)
        book = L3(0.01, 1.0)
        book.apply(result.events)
        book.check_invariants()
        assert len(book) == len(expected.orders) > 0
        for ref, (side, price, left) in expected.orders.items():
            assert book.order(ref) == (1 if side == "B" else -1, price // 100, left)
        trades = result.events[(result.events["ev"] & 0xFF) == TRADE_EVENT]
        found = [
            ("B" if ev & BUY_EVENT else "S" if ev & SELL_EVENT else "", round(px * 10_000), qty)
            for ev, px, qty in trades[["ev", "px", "qty"]].tolist()
        ]
        assert found == expected.trades
        locate = SYMBOLS[symbol].to_bytes(2, "big")
        assert result.lines == sum(m[1:3] == locate and m[:1] != b"R" for m in messages) + 1


def test_every_queue_is_in_the_order_of_arrival(tmp_path):
    """The book of the messages is kept message by message, so priority is looked at all the way."""
    messages, _ = itch.random_flow(3, 1_500, {"AAPL": 13}, widest=3)
    parser, book, obvious = ItchParser("AAPL"), L3(0.01, 1.0), itch.Book()
    for m in messages:
        parser.feed(len(m).to_bytes(2, "big") + m)
        book.apply(parser.take())
        obvious.apply(m)
        assert parser.live == len(obvious.orders)
    queues: dict[tuple[int, int], list[int]] = {}
    for ref, (side, price, _) in obvious.orders.items():
        queues.setdefault((1 if side == "B" else -1, price // 100), []).append(ref)
    for (side, tick), queue in queues.items():
        # Fewer shares keep an order's place, a replacement takes the last one: as the dict keeps its keys.
        assert book.queue(side, tick)["order_id"].tolist() == queue


def test_gzip_and_any_cut_are_the_same(tmp_path):
    messages, _ = itch.random_flow(4, 800, SYMBOLS)
    path = itch.write(tmp_path / NAME, messages)
    whole = convert_itch(path, symbol="MSFT").events
    packed = tmp_path / f"{NAME}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    steps: list[int] = []
    assert convert_itch(packed, symbol="MSFT", progress=steps.append).events.tobytes() == whole.tobytes()
    assert sum(steps) == packed.stat().st_size
    assert recognise(path) == recognise(packed) == "itch"
    data = path.read_bytes()
    for size in (1, 2, 3, 37, 1000):
        parser = ItchParser("MSFT", midnight=MIDNIGHT)
        for at in range(0, len(data), size):
            parser.feed(data[at : at + size])
        parser.close()
        assert parser.take().tobytes() == whole.tobytes()
        assert parser.total == len(messages)


def test_rows_in_the_temporary_file_are_the_same(tmp_path, monkeypatch):
    messages, _ = itch.random_flow(4, 800, SYMBOLS)
    path = itch.write(tmp_path / NAME, messages)
    whole = convert_itch(path, symbol="MSFT").events
    monkeypatch.setattr(nasdaq, "Spool", lambda: Spool(0))
    assert convert_itch(path, symbol="MSFT").events.tobytes() == whole.tobytes()


def test_a_file_of_one_symbol_needs_no_name_and_no_directory(tmp_path):
    one = itch.write(tmp_path / NAME, [itch.system(T, "O"), itch.directory(13, T, "AAPL"), ADD])
    assert convert_itch(one).symbol == "AAPL"
    bare = itch.write(tmp_path / NAME, [ADD, itch.executed(13, T, 1, 100)])
    assert len(convert_itch(bare).events) == 4
    assert convert_itch(bare, symbol="AAPL").symbol == "AAPL"
    other = itch.add(14, T, 5, "S", 1, "MSFT", 10_000)
    mixed = itch.write(tmp_path / NAME, [other, ADD])
    assert convert_itch(mixed, symbol="AAPL").events["order_id"].tolist() == [1]
    with pytest.raises(DataError, match="has several symbols, name one: MSFT, AAPL"):
        convert_itch(mixed)


def test_a_missing_symbol_is_named_with_some_of_the_file(tmp_path):
    many = [itch.directory(i, T, f"S{i}") for i in range(100, 125)]
    path = itch.write(tmp_path / NAME, [*many, itch.directory(13, T, "AAPL"), itch.system(T, "Q"), b"Z"])
    # The nearest come first, and what is behind the opening is not read: it would be refused.
    with pytest.raises(DataError, match=r"has no symbol 'APL', only: AAPL, S100, .* and 16 more"):
        convert_itch(path, symbol="APL")
    with pytest.raises(DataError, match="has several symbols, name one: S100, S101"):
        convert_itch(path)
    with pytest.raises(DataError, match="'TOOLONGNAME' has more than 8"):
        convert_itch(path, symbol="TOOLONGNAME")
    quiet = itch.write(tmp_path / NAME, DAY)
    with pytest.raises(DataError, match="no market events of MSFT"):
        convert_itch(quiet, symbol="MSFT")
    with pytest.raises(DataError, match="names no symbol"):
        convert_itch(itch.write(tmp_path / NAME, [itch.system(T, "O")]))


def test_what_is_cut_short_is_refused(tmp_path):
    messages = [*DAY, ADD, itch.executed(13, T, 1, 100)]
    for framed in (True, False):
        content = itch.write(tmp_path / NAME, messages, framed).read_bytes()
        ends = {len(content) - 31 - 2 * framed, len(content)}
        for length in range(len(content) - 70, len(content)):
            if length not in ends:
                (tmp_path / NAME).write_bytes(content[:length])
                with pytest.raises(DataError, match=r"truncated|no market events"):
                    convert_itch(tmp_path / NAME, symbol="AAPL")
    packed = gzip.compress(content)
    (tmp_path / NAME).write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match="truncated: the gzip data"):
        convert_itch(tmp_path / NAME, symbol="AAPL")


def test_what_is_wrong_is_named_with_its_byte(tmp_path):
    at = sum(len(m) + 2 for m in DAY)

    def refused(match, *messages):
        path = itch.write(tmp_path / NAME, [*DAY, *messages])
        with pytest.raises(DataError, match=match) as caught:
            convert_itch(path, symbol="AAPL")
        assert caught.value.byte == at + sum(len(m) + 2 for m in messages[:-1])
        assert caught.value.file == str(path)

    refused("field type: 'Z' is none of", itch.message("Z", 13, T, b""))
    refused("field length: a message 'A' has 36 bytes, not 37", ADD + b"\0")
    refused("field timestamp: 86400000000000 ns .* a day has", itch.deleted(13, 86_400 * 10**9, 1))
    refused("field timestamp: .* behind 32400000000000", ADD, itch.deleted(13, T - 1, 1))
    refused("buy_sell_indicator: 'X' is neither", itch.add(13, T, 1, "X", 1, "AAPL", 1))
    refused("buy_sell_indicator: 'X' is neither", itch.hidden(13, T, "X", 1, "AAPL", 1))
    refused("field shares: the number is not between 1", itch.add(13, T, 1, "B", 0, "AAPL", 1))
    refused("field shares: the number is not between 1", itch.hidden(13, T, "B", 0, "AAPL", 1))
    refused("field shares: the number is not between 1", itch.cross(13, T, 2**53, "AAPL", 1))
    refused("field shares: the number is not between 1", ADD, itch.executed(13, T, 1, 0))
    refused("field shares: the number is not between 1", ADD, itch.replaced(13, T, 1, 2, 0, 5))
    refused("field shares: 101, but less is left of order 1", ADD, itch.executed(13, T, 1, 101))
    refused("field shares: 101, but less is left of order 1", ADD, itch.executed_at(13, T, 1, 101, 5))
    refused("field shares: 101, but less is left of order 1", ADD, itch.reduced(13, T, 1, 101))
    refused("field price: more than 200000", itch.add(13, T, 1, "B", 1, "AAPL", 2_000_000_001))
    refused("field price: more than 200000", ADD, itch.replaced(13, T, 1, 2, 1, 2_000_000_001))
    refused("field price: more than 200000", ADD, itch.executed_at(13, T, 1, 1, 2_000_000_001))
    refused("field price: more than 200000", itch.cross(13, T, 1, "AAPL", 2_000_000_001))
    refused("field stock: 'MSFT' under the locate of 'AAPL'", itch.add(13, T, 1, "B", 1, "MSFT", 1))
    refused("field printable: .* is neither Y nor N", ADD, itch.executed_at(13, T, 1, 1, 5, "?"))
    refused("order_reference: order 1 is in the book already", ADD, ADD)
    refused(
        "order_reference: order 2 is in",
        ADD,
        itch.add(13, T, 2, "B", 1, "AAPL", 1),
        itch.replaced(13, T, 1, 2, 1, 1),
    )
    for never in (itch.deleted(13, T, 9), itch.reduced(13, T, 9, 1), itch.replaced(13, T, 9, 2, 1, 1)):
        refused("order_reference: order 9 is not in the book", ADD, never)
    for never in (itch.executed(13, T, 9, 1), itch.executed_at(13, T, 9, 1, 1), itch.deleted(13, T, 1)):
        refused("order_reference: order . is not in the book", ADD, itch.deleted(13, T, 1), never)


def test_other_instruments_are_not_looked_at(tmp_path):
    wrong = [itch.deleted(14, 0, 9), itch.add(14, T, 1, "?", 0, "AAPL", 2**32 - 1)]
    assert len(rows(tmp_path, ADD, *wrong)) == 1


def test_every_type_has_its_length(tmp_path):
    others = [
        itch.message(kind, 13, T, bytes(n - 11)) for kind, n in LENGTHS.items() if kind in "HYLVWKJhBINO"
    ]
    path = itch.write(tmp_path / NAME, [*DAY, ADD, *others, b"", itch.deleted(13, T, 1)])
    result = convert_itch(path, symbol="AAPL")
    assert len(result.events) == 2
    assert result.messages == {"add": 1, "deleted": 1, "broken_trade": 1, "trading_action": 1, "other": 11}


def test_changed_bytes_are_refused_or_rows_but_never_more(tmp_path):
    """What a message says may be wrong anywhere: an answer or a DataError, whatever it is."""
    messages, _ = itch.random_flow(6, 300, SYMBOLS)
    draw = random.Random(7)
    refused = 0
    for framed in (True, False) * 100:
        data = bytearray(itch.write(tmp_path / NAME, messages, framed).read_bytes())
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        parser = ItchParser("AAPL", framed=framed)
        try:
            parser.feed(bytes(data))
            parser.close()
        except DataError:
            refused += 1
        assert parser.live <= len(parser.take()) <= 3 * len(messages)
    assert 20 < refused < 180


def test_books_of_many_orders_grow(tmp_path):
    adds = [itch.add(13, T, i + 1, "BS"[i % 2], 1, "AAPL", 10_000 + 100 * (i % 7)) for i in range(20_000)]
    gone = [itch.deleted(13, T, i + 1) for i in range(0, 20_000, 2)]
    path = itch.write(
        tmp_path / NAME, [*DAY, *adds, *gone, *[itch.deleted(13, T, i + 1) for i in range(1, 20_000, 2)]]
    )
    events = convert_itch(path, symbol="AAPL").events
    book = L3(0.01, 1.0)
    book.apply(events)
    assert len(events) == 40_000
    assert len(book) == 0


def test_the_command_converts_one_symbol(capsys, tmp_path):
    messages, _ = itch.random_flow(5, 500, SYMBOLS)
    path = itch.write(tmp_path / "day.bin", messages)
    out = tmp_path / "o.npz"

    def run(*args):
        code = main(["convert", str(path), str(out), "--force", *args])
        return code, capsys.readouterr()

    code, (_, err) = run("--symbol", "AAPL")
    assert code == 2
    assert "say --date YYYY-MM-DD" in err
    code, (text, _) = run("--symbol", "AAPL", "--date", "2019-01-30", "--json", "--base-latency", "7")
    assert code == 0
    summary = json.loads(text)
    assert (summary["symbol"], summary["latency_offset"]) == ("AAPL", 0)
    written = np.load(out)["data"]
    assert (
        written.tobytes()
        == convert_itch(path, symbol="AAPL", day=date(2019, 1, 30), base_latency=7).events.tobytes()
    )
    assert run("--date", "2019-01-30")[0] == 2
    assert run("--symbol", "AAPL", "--date", "2019-01-30", "--opt", "m")[0] == 2
    assert run("--symbol", "AAPL", "--date", "2019-01-30", "--format", "databento")[0] == 2
    with pytest.raises(SystemExit):
        run("--date", "2019-13-30")
    assert main(["convert", str(path), str(path), str(out), "--force", "--date", "2019-01-30"]) == 2
    assert "more files than one recording of the format itch" in capsys.readouterr().err
    assert main(["validate", str(out)]) == 0
