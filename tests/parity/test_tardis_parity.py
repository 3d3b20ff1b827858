"""Our converter of Tardis's csv files against hftbacktest's: row by row, every field, bit by bit."""

import contextlib
import gzip
import random

import numpy as np
import pytest
from hftbacktest.data.utils import tardis as reference_tardis

from engine.core.types import event_dtype
from engine.feeds import tardis

T = 1_600_000_000_000_000
TRADES = "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
DEPTH = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n"


def reference(*paths, **options) -> np.ndarray:
    with contextlib.redirect_stdout(None):
        return reference_tardis.convert(
            [str(path) for path in paths], buffer_size=20_000, ss_buffer_size=2_000, **options
        )


def assert_same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert len(ours) == len(theirs)
    for field in event_dtype.names:
        different = np.flatnonzero(ours[field].view("u8") != theirs[field].view("u8"))
        assert different.size == 0, f"{field} differs first in row {different[0]}"


def number(draw: random.Random) -> str:
    """A price or an amount in one of the forms that exchanges send."""
    value = draw.choice((draw.uniform(0.001, 100), draw.randint(1, 10**6), draw.uniform(1e-9, 1e-5)))
    return draw.choice((f"{value}", f"{value:.8f}", f"{value:.3e}", f"{value:.1f}"))


def day(seed: int, *, late: int = 0, snapshots: int = 3) -> tuple[str, str]:
    """Trades and level changes of a day that begins with a snapshot; ``late``: microseconds of disorder."""
    draw = random.Random(seed)
    trades, depth, ts = [TRADES], [DEPTH], T + seed * 86_400_000_000

    def times() -> str:
        sent = ts + draw.randint(-late, 0)
        return f"{sent},{sent + draw.randint(-late, 3_000) if late else ts + 900}"

    # The reference cuts its buffers to the first snapshot's lengths, so the others may not be longer.
    sizes = sorted(draw.sample(range(5, 60), snapshots), reverse=True)
    for size in sizes:
        ts += 10_000
        stamp = times()
        for side, sign in (("bid", -1), ("ask", 1)):
            depth += [
                f"ex,BTCUSD,{stamp},true,{side},{1000 + sign * k * 0.5:.1f},{number(draw)}\n"
                for k in range(1, size)
            ]
        for _ in range(draw.randint(50, 200)):
            ts += draw.randint(0, 2_000)
            side = draw.choice(("bid", "ask"))
            amount = draw.choice(("0", number(draw)))
            depth.append(f"ex,BTCUSD,{times()},false,{side},{number(draw)},{amount}\n")
            if draw.random() < 0.3:
                side = draw.choice(("buy", "sell", "unknown"))
                trades.append(
                    f"ex,BTCUSD,{times()},{draw.randint(1, 10**9)},{side},{number(draw)},{number(draw)}\n"
                )
    return "".join(trades), "".join(depth)


def write(directory, name: str, text: str, packed: bool = False):
    path = directory / (name + (".csv.gz" if packed else ".csv"))
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("mode", tardis.SNAPSHOTS)
def test_a_day_converts_as_the_reference_does(tmp_path, seed, mode):
    trades, depth = day(seed, late=seed % 3 * 700)
    paths = [write(tmp_path, "trades", trades), write(tmp_path, "incremental_book_L2", depth)]
    theirs = reference(*paths, snapshot_mode=mode)
    assert_same(tardis.convert(paths, snapshots=mode).events, theirs)
    # The order in which the files are named does not matter to ours; the trades come first.
    assert_same(tardis.convert(paths[::-1], snapshots=mode).events, theirs)


def test_days_in_gzip_with_a_latency_convert_as_the_reference_does(tmp_path):
    paths = []
    for seed in (1, 2):
        trades, depth = day(seed, late=5_000)
        paths.insert(seed - 1, write(tmp_path, f"trades_{seed}", trades, packed=True))
        paths.append(write(tmp_path, f"incremental_book_L2_{seed}", depth, packed=True))
    result = tardis.convert(paths, base_latency=1_000_000)
    assert result.latency_offset > 1_000_000
    assert_same(result.events, reference(*paths, base_latency=1_000_000))


def test_files_told_by_their_first_line_alone(tmp_path):
    trades, depth = day(3)
    paths = [write(tmp_path, "a", trades), write(tmp_path, "b", depth)]
    assert_same(tardis.convert(paths).events, reference(*paths))


def test_level_changes_alone_convert_as_the_reference_does(tmp_path):
    path = write(tmp_path, "incremental_book_L2", day(4, late=900)[1])
    assert_same(tardis.convert([path]).events, reference(path))


def test_what_differs_on_purpose(tmp_path):
    """A snapshot at the end, levels that do not come best first, updates before the first snapshot."""
    rows = [
        f"ex,BTCUSD,{T},{T + 5},false,bid,9.5,1\n",
        f"ex,BTCUSD,{T + 1},{T + 6},true,bid,9,1\n",
        f"ex,BTCUSD,{T + 1},{T + 6},true,bid,10,1\n",
        f"ex,BTCUSD,{T + 1},{T + 6},true,ask,12,1\n",
        f"ex,BTCUSD,{T + 1},{T + 6},true,ask,11,1\n",
    ]
    path = write(tmp_path, "incremental_book_L2", DEPTH + "".join(rows))
    assert len(reference(path)) == 1
    result = tardis.convert([path])
    assert (result.events["ev"] & 0xFF).tolist() == [3, 4, 4, 3, 4, 4]
    assert result.events["px"].tolist() == [9.0, 9.0, 10.0, 12.0, 12.0, 11.0]
    assert result.stale == 1
    more = write(
        tmp_path,
        "incremental_book_L2_x",
        DEPTH + "".join(rows) + rows[0].replace("9.5", "8").replace(f"{T},{T + 5}", f"{T + 2},{T + 7}"),
    )
    theirs = reference(more)
    assert theirs["px"].tolist() == [9.5, 10.0, 9.0, 10.0, 11.0, 12.0, 11.0, 8.0]
    assert tardis.convert([more]).events["px"].tolist() == [9.0, 9.0, 10.0, 12.0, 12.0, 11.0, 8.0]
