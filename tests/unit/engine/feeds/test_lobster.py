"""LOBSTER's message files: every type, random days from their beginning and from within, errors."""

import gzip
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
    FILL_EVENT,
    MODIFY_ORDER_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
)
from engine.feeds.formats import recognise
from engine.feeds.lobster import LobsterParser
from engine.feeds.nasdaq import convert_lobster
from tests.kit import itch, lobster

NAME = "AAPL_2012-06-21_34200000_57600000_message_10.csv"
BOOK = NAME.replace("message", "orderbook")
MIDNIGHT = 1_340_251_200_000_000_000
"""2012-06-21 in New York."""
ADD = "34200.5,1,7,100,5850000,1\n"


@pytest.fixture(scope="module")
def day():
    """The lines of a random day, those of its orderbook file and the orders behind each."""
    messages, _ = itch.random_flow(1, 1_500, {"AAPL": 13})
    return lobster.retell([m for m in messages if m[:1] != b"R"])


def write(tmp_path, text, name=NAME):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def rows(tmp_path, text, **options):
    """The events of a file, as (kind, side, px, qty, order id)."""
    events = convert_lobster(write(tmp_path, text), **options).events
    sides = {BUY_EVENT: "B", SELL_EVENT: "S", 0: ""}
    return [
        (ev & 0xFF, sides[ev & (BUY_EVENT | SELL_EVENT)], px, qty, order_id)
        for ev, px, qty, order_id in events[["ev", "px", "qty", "order_id"]].tolist()
    ]


def test_every_type_becomes_the_rows_it_should(tmp_path):
    text = (
        ADD + "34200.6,1,8,50,5850100,-1\n"
        "34200.6,2,7,30,5850000,1\n"
        "34200.7,4,7,20,5850000,1\n"
        "34200.7,4,8,50,5850100,-1\n"
        "34200.8,5,0,11,5850050,-1\n"
        "34200.8,6,-1,1200,5850000,-1\n"
        "34200.8,6,-1,0,0,-1\n"
        "34200.8,7,0,0,-1,-1\n"
        "34200.9,3,7,50,5850000,1\n"
    )
    found = [
        (ADD_ORDER_EVENT, "B", 585.0, 100, 7),
        (ADD_ORDER_EVENT, "S", 585.01, 50, 8),
        (MODIFY_ORDER_EVENT, "B", 585.0, 70, 7),
        (TRADE_EVENT, "S", 585.0, 20, 0),
        (FILL_EVENT, "B", 585.0, 20, 7),
        (MODIFY_ORDER_EVENT, "B", 585.0, 50, 7),
        (TRADE_EVENT, "B", 585.01, 50, 0),
        (FILL_EVENT, "S", 585.01, 50, 8),
        (CANCEL_ORDER_EVENT, "S", 585.01, 50, 8),
        (TRADE_EVENT, "B", 585.005, 11, 0),
        (TRADE_EVENT, "", 585.0, 1200, 0),
        (CANCEL_ORDER_EVENT, "B", 585.0, 50, 7),
    ]
    assert rows(tmp_path, text) == found
    found[9] = (TRADE_EVENT, "", 585.005, 11, 0)
    assert rows(tmp_path, text, day=date(2014, 7, 14)) == found
    # Windows' line ends, and the participant's name that newer files have.
    assert rows(tmp_path, text.replace("\n", ",NSDQ\r\n"), day=date(2014, 7, 14)) == found
    result = convert_lobster(tmp_path / NAME)
    assert (result.symbol, result.lines, result.unknown) == ("AAPL", 10, 0)
    assert result.messages == {
        "add": 2, "reduced": 1, "deleted": 1, "executed": 2, "hidden_trade": 1, "cross": 2, "halt": 1,
    }  # fmt: skip


def test_times_are_exact_and_new_yorks(tmp_path):
    text = "34200,1,1,1,1,1\n34200.017459617,1,2,1,1,1\n34200.0174596179,1,3,1,1,1\n34201.5,1,4,1,1,1\n"
    result = convert_lobster(write(tmp_path, text), base_latency=5)
    after = [0, 17_459_617, 17_459_617, 1_500_000_000]
    start = MIDNIGHT + 34_200 * 10**9
    assert (result.events["exch_ts"] - start).tolist() == after
    assert (result.events["local_ts"] - start).tolist() == [ts + 5 for ts in after]
    with pytest.raises(DataError, match="the latency -1 ns is not from 0 to a day"):
        convert_lobster(tmp_path / NAME, base_latency=-1)


def test_a_random_day_leads_to_the_book_of_its_lines(tmp_path, day):
    lines, _, books = day
    result = convert_lobster(write(tmp_path, "".join(lines)))
    book = L3(0.01, 1.0)
    book.apply(result.events)
    assert len(book) == len(books[-1]) > 0
    for ref, (side, price, left) in books[-1].items():
        assert book.order(ref) == (1 if side == "B" else -1, price // 100, left)
    assert result.unknown == 0


@pytest.mark.parametrize("seed", range(5))
def test_from_within_the_day_the_orderbook_tells_what_was_there(tmp_path, seed, day):
    lines, depths, books = day
    first = 500 + 17 * seed
    messages = write(tmp_path, "".join(lines[first:]))
    depth = write(tmp_path, "".join(depths[first:]), BOOK)
    seeded = convert_lobster(messages, depth)
    book = L3(0.01, 1.0)
    book.apply(seeded.events)
    book.check_invariants()
    totals: dict[tuple[int, int], int] = {}
    for side, price, left in books[-1].values():
        place = (1 if side == "B" else -1, price // 100)
        totals[place] = totals.get(place, 0) + left
    found = {(side, round(px * 100)): qty for side in (1, -1) for px, qty in book.levels(side).tolist()}
    assert found == totals
    # The first line may be about an order from before, which the book behind it has no more.
    assert seeded.unknown <= 1
    alone = convert_lobster(messages)
    assert alone.unknown > 10
    trades = [np.count_nonzero((result.events["ev"] & 0xFF) == TRADE_EVENT) for result in (seeded, alone)]
    assert trades[0] == trades[1] == sum(line.split(",")[1] in "45" for line in lines[first:])


def test_orders_that_were_there_before_are_counted_and_their_executions_are_trades(tmp_path):
    text = ADD + "34201,3,1,10,5850000,1\n34201,2,1,10,5850000,1\n34202,4,1,10,5850100,-1\n"
    assert rows(tmp_path, text)[1:] == [(TRADE_EVENT, "B", 585.01, 10, 0)]
    assert convert_lobster(tmp_path / NAME).unknown == 3
    depth = write(tmp_path, "5850100,15,5850000,115,9999999999,0,-9999999999,0\n", BOOK)
    seeded = convert_lobster(tmp_path / NAME, depth)
    # What is there behind the first message has its order already.
    assert seeded.events["qty"].tolist() == [15, 15, 100, 5, 10, 10, 5]
    assert seeded.unknown == 1


def test_gzip_and_any_cut_are_the_same(tmp_path, day):
    lines = day[0][:600]
    data = "".join(lines).encode()
    whole = convert_lobster(write(tmp_path, data.decode()))
    packed = tmp_path / f"{NAME}.gz"
    packed.write_bytes(gzip.compress(data))
    steps: list[int] = []
    assert convert_lobster(packed, progress=steps.append).events.tobytes() == whole.events.tobytes()
    assert sum(steps) == packed.stat().st_size
    assert recognise(packed) == recognise(tmp_path / NAME) == "lobster"
    for size in (1, 7, 100):
        parser = LobsterParser(midnight=MIDNIGHT, hidden_sides=True)
        for at in range(0, len(data), size):
            parser.feed(data[at : at + size])
        parser.close()
        assert parser.take().tobytes() == whole.events.tobytes()
        assert parser.line == whole.lines == len(lines)


def test_what_is_wrong_is_named_with_its_line(tmp_path):
    def refused(match, line, first=ADD):
        path = write(tmp_path, first + line)
        with pytest.raises(DataError, match=match) as caught:
            convert_lobster(path)
        assert caught.value.line == first.count("\n") + 1
        assert caught.value.file == str(path)

    refused("field time: 'x' is no number", "x,1,8,1,1,1\n")
    refused("field time: '-1' is no number", "-1,1,8,1,1,1\n")
    refused("field time: 86400 is not less than a day", "86400,1,8,1,1,1\n")
    refused(r"field time: 34200\.4 is before the line above", "34200.4,1,8,1,1,1\n")
    refused("field type: 8 is not a type from 1 to 7", "34201,8,8,1,1,1\n")
    refused("field type: 0 is not a type from 1 to 7", "34201,0,8,1,1,1\n")
    refused("field order_id: -1 is not 0 or more", "34201,1,-1,1,1,1\n")
    refused("field order_id: '1234567890123456789' is no number", "34201,1,1234567890123456789,1,1,1\n")
    refused("field size: -5 is not from 1 to", "34201,1,8,-5,1,1\n")
    refused("field size: 0 is not from 1 to", "34201,5,0,0,1,1\n")
    refused("field size: '1.5' is no number", "34201,1,8,1.5,1,1\n", first=ADD)
    refused("field price: 2000000001 is not from 0", "34201,1,8,1,2000000001,1\n")
    refused("field direction: 2 is not 1 or -1", "34201,1,8,1,1,2\n")
    refused("a line of 5 fields instead of 6", "34201,1,8,1,1\n")
    refused("a line of 1 fields instead of 6", "\n")
    refused("more behind the direction", "34201,1,8,1,1,1,a,b\n")
    refused("field size: 101, but less is left of order 7", "34201,4,7,101,5850000,1\n")
    refused("field size: 101, but less is left of order 7", "34201,2,7,101,5850000,1\n")
    refused("field order_id: order 7 is in the book already", ADD)
    refused("truncated: the last line does not end", "34201,1,8,1,1,1")
    with pytest.raises(DataError, match="no market events"):
        convert_lobster(write(tmp_path, ""))
    with pytest.raises(DataError, match="say --date"):
        convert_lobster(write(tmp_path, ADD, "x.csv"))
    (tmp_path / NAME).write_bytes(gzip.compress(ADD.encode())[:-9])
    with pytest.raises(DataError, match="truncated: the gzip data"):
        convert_lobster(tmp_path / NAME)
    (tmp_path / NAME).write_bytes(b"1" * 70_000)
    with pytest.raises(DataError, match="a line of more than 65536 bytes"):
        convert_lobster(tmp_path / NAME)


def test_changed_bytes_are_refused_or_rows_but_never_more(day):
    data = "".join(day[0][:200]).encode()
    draw = random.Random(8)
    refused = 0
    for _ in range(300):
        changed = bytearray(data)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(len(changed))] = draw.choice((0, 10, 13, 44, 45, 46, draw.randrange(256)))
        parser = LobsterParser(levels=[(1, 1_000_000, 50)])
        try:
            parser.feed(bytes(changed))
            parser.close()
        except DataError as error:
            refused += 1 <= error.line <= 210
        assert len(parser.take()) <= 640
    assert 50 < refused < 300


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ("", "no orderbook file"),
        (ADD, "no orderbook file"),
        ("1,2,3,x\n", "no orderbook file"),
        ("-5,2,3,4\n", "a level of 2 at -5"),
        ("5,-2,3,4\n", "a level of -2 at 5"),
        ("5,1,3,1,5,1,2,1\n", "a price twice on a side"),
    ],
)
def test_what_is_no_orderbook_is_refused(tmp_path, first, message):
    with pytest.raises(DataError, match=f"orderbook_10.csv.*{message}"):
        convert_lobster(write(tmp_path, ADD), write(tmp_path, first, BOOK))


def test_the_command_takes_messages_and_their_orderbook(capsys, tmp_path, day):
    lines, depths, _ = day
    messages = write(tmp_path, "".join(lines[300:]))
    depth = write(tmp_path, "".join(depths[300:]), BOOK)
    out = tmp_path / "o.npz"
    assert main(["convert", str(messages), str(out)]) == 0
    assert "messages are about orders that the file does not add: left out" in capsys.readouterr().out
    assert main(["convert", str(messages), str(depth), str(out), "--force", "--symbol", "MSFT"]) == 0
    assert "of MSFT" in capsys.readouterr().out
    assert np.load(out)["data"].tobytes() == convert_lobster(messages, depth).events.tobytes()
    assert main(["convert", str(messages), str(depth), str(depth), str(out), "--force"]) == 2
    assert main(["convert", str(messages), str(out), "--force", "--opt", "t"]) == 2
    write(tmp_path, "not,a,line\n" + ADD)
    assert main(["convert", str(messages), str(out), "--force", "--format", "lobster"]) == 2
    assert "line 1, field time: a line of 3 fields" in capsys.readouterr().err
