"""jsonl of other platforms: what a line may be, and what is wrong with one."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from engine.core.errors import DataError
from engine.core.types import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    LOCAL_EVENT,
    SELL_EVENT,
    TRADE_EVENT,
)
from engine.feeds import formats, platform

GOOD = {"exch_ts": 1000, "local_ts": 1500, "side": "buy", "price": 10.5, "qty": 2, "type": "depth"}


def write(tmp_path, *lines, name="x.jsonl"):
    path = tmp_path / name
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


def test_lines_become_rows(tmp_path):
    path = write(
        tmp_path,
        GOOD,
        "",
        GOOD | {"exch_ts": 2000, "local_ts": 2400, "side": "SELL", "type": "trade", "extra": [1]},
        GOOD | {"exch_ts": 3000, "local_ts": 3100, "side": "ask", "price": "11.5", "qty": "3"},
    )
    found = formats.convert([path])
    rows = found.events
    both = EXCH_EVENT | LOCAL_EVENT
    assert rows["ev"].tolist() == [
        both | BUY_EVENT | DEPTH_EVENT,
        both | SELL_EVENT | TRADE_EVENT,
        both | SELL_EVENT | DEPTH_EVENT,
    ]
    assert rows["px"].tolist() == [10.5, 10.5, 11.5]
    assert rows["qty"].tolist() == [2, 2, 3]
    assert rows["exch_ts"].tolist() == [1000, 2000, 3000]
    assert rows["local_ts"].tolist() == [1500, 2400, 3100]
    assert found.messages == {"depth": 2, "trade": 1}


def test_gzip_symbols_and_disagreeing_orders(tmp_path):
    lines = [
        GOOD | {"symbol": "A", "exch_ts": 1000, "local_ts": 5000},
        GOOD | {"symbol": "B"},
        GOOD | {"symbol": "A", "exch_ts": 2000, "local_ts": 3000},
    ]
    path = write(tmp_path, *lines, name="x.jsonl.gz")
    with pytest.raises(DataError, match="several symbols, name one: A, B"):
        platform.convert(path)
    rows = platform.convert(path, symbol="A").events
    exch, local = ((rows["ev"] & np.uint64(flag)) != 0 for flag in (EXCH_EVENT, LOCAL_EVENT))
    assert rows["exch_ts"][exch].tolist() == [1000, 2000]
    assert rows["local_ts"][local].tolist() == [3000, 5000]


def test_a_clock_that_is_behind_is_corrected(tmp_path):
    found = platform.convert(write(tmp_path, GOOD | {"local_ts": 900}), base_latency=50)
    assert found.latency_offset == 150
    assert found.events["local_ts"].tolist() == [1050]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2"),
        (GOOD | {"type": "candle"}, "field type"),
        (GOOD | {"side": "up"}, "field side"),
        (GOOD | {"price": None}, "field price"),
        (GOOD | {"qty": "many"}, "qty"),
        (GOOD | {"exch_ts": None, "local_ts": None}, "one of them is needed"),
        (GOOD | {"exch_ts": 1 << 63}, "64 bits"),
        ({"exch_ts": 1, "local_ts": 2}, "price"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, says):
    with pytest.raises(DataError, match=says) as caught:
        platform.convert(write(tmp_path, GOOD, line))
    assert caught.value.line == 2


def test_one_sided_lines_out_of_order_are_refused(tmp_path):
    one = GOOD | {"local_ts": None}
    with pytest.raises(DataError, match="exch_ts"):
        platform.convert(write(tmp_path, one | {"exch_ts": 2000}, one))
    rows = platform.convert(write(tmp_path, one, GOOD | {"exch_ts": 2000, "local_ts": 2500})).events
    assert (rows["ev"] & np.uint64(EXCH_EVENT | LOCAL_EVENT)).tolist() == [
        EXCH_EVENT,
        EXCH_EVENT | LOCAL_EVENT,
    ]


def test_nothing_in_it(tmp_path):
    with pytest.raises(DataError, match="no market events"):
        platform.convert(write(tmp_path, "\n"))
