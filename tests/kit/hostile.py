"""Calls the polled backtest with everything it must refuse: run in a process of its own, which must live.

``python -m tests.kit.hostile MODE SEED ROUNDS``, with a mode of python, assets and compiled. Anything but a
refusal that can be read is printed with what led to it, and ends the process with 1.
"""

from __future__ import annotations

import gc
import inspect
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np

from engine.backtest import hbt
from engine.core.errors import RingbookError
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market

REFUSALS = (RingbookError, TypeError, ValueError, IndexError, OverflowError, StopIteration)
"""What a wrong call may raise; with a text, except the last."""

INTEGERS = (
    0, 0, 0, 0, 1, 1, -1, 2, 3, 7, 15, 16, 255, 1000, 100_000, 2**31, -(2**31), 2**32, 2**62, 2**63 - 1,
    -(2**63), 2**63, 2**64 - 1, 2**64, -(2**64), 10**40,
)  # fmt: skip
NUMBERS = (
    0.0, -0.0, 0.01, 1.0, 0.5, 499.5, 500.0, 500.5, 501.0, -1.0, 1e-320, 1e-9, 1e18, 5e18, 1e19, 1e308,
    -1e308, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip
THINGS = (
    None, "", "x", "500", b"x", (), [], [1], {}, {1: 2}, object(), len, int, 1j, True, False, Ellipsis,
    np.float64("nan"), np.float32(500.0), np.int8(-1), np.uint64(2**64 - 1), np.array([1, 2]), np.array(1.0),
    np.zeros(3, hbt.event_dtype), "\ud800",
)  # fmt: skip


class Unreadable(AssertionError):
    """A call ended in another way than by a result or a refusal."""


def pick(rng: np.random.Generator, *pools):
    """One of one of the pools."""
    pool = pools[rng.integers(len(pools))]
    return pool[int(rng.integers(len(pool)))]


def attempt(what: str, function, *args, also: tuple = (), **kws):
    """Calls; the result, or None for a refusal.

    Args:
        what: Names the call.
        function: What to call.
        also: Further exceptions that are refusals here.

    Raises:
        Unreadable: It raised something else, or without a text.
    """
    try:
        return function(*args, **kws)
    except (*REFUSALS, *also) as refusal:
        if not str(refusal) and not isinstance(refusal, StopIteration):
            raise Unreadable(f"{what} {args!r}: {refusal!r} has no text") from refusal
        return None
    except Exception as error:
        raise Unreadable(f"{what} {args!r}: {error!r}") from error


def described(seed: int, rows: int = 200) -> hbt.BacktestAsset:
    """An asset that is as it should be."""
    return (
        hbt.BacktestAsset()
        .data([random_market(seed, rows)])
        .tick_size(TICK_SIZE)
        .lot_size(LOT_SIZE)
        .last_trades_capacity(10)
        .constant_order_latency(1000, 2000)
        .roi_lb(400.0)
        .roi_ub(600.0)
    )


def made(rng: np.random.Generator, rows: int = 200):
    """A backtest of one or two such assets, of either kind."""
    kind = pick(rng, (hbt.HashMapMarketDepthBacktest, hbt.ROIVectorMarketDepthBacktest))
    assets = [described(int(rng.integers(1000)), rows) for _ in range(rng.integers(1, 3))]
    return kind(assets, compat=pick(rng, (None, "2.4")))


# --- from Python ----------------------------------------------------------------------------------------

SPECIAL = ("__len__", "__iter__", "__contains__", "__next__")


def calls_of(thing) -> list[str]:
    """The public attributes of one of ours, and what Python calls by itself."""
    return [name for name in dir(thing) if not name.startswith("_") or name in SPECIAL]


def arguments(rng: np.random.Generator, pool: list) -> tuple:
    """Arguments for any call: right ones as well, in number and kind, so that some get through."""
    if rng.random() < 0.3:
        order_id, px = int(rng.integers(1, 6)), 490.0 + rng.integers(40) * TICK_SIZE
        kinds = (int(rng.integers(4)), int(rng.random() < 0.1), bool(rng.random() < 0.3))
        right = ((0, order_id, px, 0.01, *kinds), (0, order_id, px, 0.02, False), (0, order_id, False))
        args = list(pick(rng, (*right, (0, order_id), (0, 1, 100_000), (100_000,), (0,), (1,), ())))
        if args and rng.random() < 0.5:
            args[rng.integers(len(args))] = pick(rng, INTEGERS, NUMBERS, THINGS, pool)
        return tuple(args)
    return tuple(pick(rng, INTEGERS, INTEGERS, NUMBERS, THINGS, pool) for _ in range(rng.integers(0, 8)))


def from_python(seed: int, rounds: int) -> None:
    """Random attributes of everything a backtest gives, also after it is closed or deleted."""
    rng = np.random.default_rng(seed)
    ours = (hbt.HashMapMarketDepthBacktest, hbt.ROIVectorMarketDepthBacktest)
    for _ in range(rounds):
        backtest = made(rng)
        pool = [backtest]
        if rng.random() < 0.8:
            backtest.elapse(int(rng.integers(400_000)))
        for _ in range(150):
            thing = pick(rng, pool) if rng.random() < 0.6 else pool[0]
            if isinstance(thing, np.ndarray):
                thing.tobytes()
                continue
            name = pick(rng, calls_of(thing))
            if name == "close" and rng.random() < 0.8:
                continue
            value = attempt(name, getattr, thing, name)
            if callable(value):
                value = attempt(f"{type(thing).__name__}.{name}", value, *arguments(rng, pool))
            if type(value).__module__.startswith("engine") or isinstance(value, np.ndarray):
                pool.append(value)
        for thing in pool:
            if isinstance(thing, ours):
                thing.check_invariants()
        # What is left has to live without it.
        del backtest, thing
        pool = [thing for thing in pool if not isinstance(thing, ours)]
        gc.collect()
        for thing in pool:
            for name in [] if isinstance(thing, np.ndarray) else calls_of(thing):
                value = attempt(name, getattr, thing, name)
                if callable(value):
                    attempt(name, value)
            if isinstance(thing, np.ndarray):
                thing.tobytes()


# --- describing assets ----------------------------------------------------------------------------------


def spoiled(rng: np.random.Generator, rows: np.ndarray):
    """A recording with something wrong, or almost."""
    rows = rows.copy()
    at = rng.integers(len(rows), size=rng.integers(1, 4))
    spoil = rng.integers(12)
    if spoil == 0:
        rows[pick(rng, ("px", "qty"))][at] = pick(rng, NUMBERS)
    elif spoil == 1:
        rows[pick(rng, ("exch_ts", "local_ts"))][at] = pick(rng, (0, -1, 2**63 - 1, -(2**63), 2**62))
    elif spoil == 2:
        rows["ev"][at] = rng.integers(0, 2**63, len(at), dtype=np.uint64)
    elif spoil == 3:
        return np.frombuffer(rng.bytes(64 * 50), hbt.event_dtype)
    elif spoil == 4:
        rows = rows[rng.permutation(len(rows))]
    elif spoil == 5:
        return rows[:: int(pick(rng, (-1, 2, 3)))]
    elif spoil == 6:
        return pick(rng, (rows[:0], rows.reshape(1, -1), rows[0], rows["px"], rows[["px", "qty"]]))
    elif spoil == 7:
        return rows.astype(rows.dtype.newbyteorder())
    elif spoil == 8:
        rows["ev"] = (rows["ev"] & ~np.uint64(0xFF)) | np.uint64(pick(rng, (0, 3, 5, 10, 11, 12, 13, 200)))
    elif spoil == 9:
        rows["px"] *= pick(rng, (1e-300, 1e10, 1e17, 1e300, -1.0))
    elif spoil == 10:
        rows["qty"] *= pick(rng, (1e-300, 1e300, -1.0))
    return rows


def spoiled_latencies(rng: np.random.Generator, rows: np.ndarray) -> np.ndarray:
    """Recorded order latencies with something wrong, or almost."""
    made = np.zeros(20, [(name, "i8") for name in ("req_ts", "exch_ts", "resp_ts", "_padding")])
    made["req_ts"] = np.linspace(rows["exch_ts"][0], rows["local_ts"][-1], 20).astype(np.int64)
    made["exch_ts"] = made["req_ts"] + 1000
    made["resp_ts"] = made["req_ts"] + 3000
    if rng.random() < 0.7:
        field = pick(rng, ("req_ts", "exch_ts", "resp_ts"))
        made[field][rng.integers(20)] = pick(rng, [n for n in INTEGERS if -(2**63) <= n < 2**63])
    return pick(
        rng, (made, made[:1], made[::-1], made[:0], made.astype([(n, "f8") for n in made.dtype.names]))
    )


def spoiled_file(rng: np.random.Generator, directory: Path, rows: np.ndarray) -> str:
    """A file of a recording with something wrong."""
    path = directory / pick(rng, ("a.npz", "a.npy", "a.bin"))
    kind = rng.integers(4)
    if kind == 0:
        path.write_bytes(rng.bytes(int(rng.integers(200))))
    elif kind == 1:
        with path.open("wb") as file:
            np.save(file, np.array([{}, None], object), allow_pickle=True)
    else:
        with path.open("wb") as file:
            np.savez(file, **{pick(rng, ("data", "other")): spoiled(rng, rows)})
        whole = path.read_bytes()
        path.write_bytes(whole[: rng.integers(len(whole))] if kind == 2 else whole)
    return str(path) if rng.random() < 0.9 else str(directory)


def describing(seed: int, rounds: int) -> None:
    """Assets described with anything, on recordings that are spoiled, and what they then run to."""
    rng = np.random.default_rng(seed)
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    methods = [name for name in dir(hbt.BacktestAsset) if not name.startswith("_")]
    with tempfile.TemporaryDirectory() as directory:
        for _ in range(rounds):
            asset = described(int(rng.integers(1000)))
            rows = random_market(int(rng.integers(1000)), 100)
            sources = [spoiled(rng, rows), rows, spoiled_latencies(rng, rows)]
            if rng.random() < 0.3:
                sources.append(spoiled_file(rng, Path(directory), rows))
            if rng.random() < 0.5:
                asset = hbt.BacktestAsset().tick_size(TICK_SIZE).lot_size(LOT_SIZE)
                attempt("data", asset.data, sources[0])
            for _ in range(rng.integers(0, 4)):
                name = pick(rng, methods)
                right = len(inspect.signature(getattr(asset, name)).parameters)
                n = right if rng.random() < 0.9 else int(rng.integers(5))
                pools = (INTEGERS, NUMBERS, sources, THINGS if rng.random() < 0.3 else sources)
                args = [pick(rng, *pools) for _ in range(n)]
                attempt(name, getattr(asset, name), *args, also=(OSError,))
            kind = pick(rng, (hbt.HashMapMarketDepthBacktest, hbt.ROIVectorMarketDepthBacktest))
            assets = [asset] if rng.random() < 0.95 else pick(rng, THINGS)
            compat = pick(rng, (None, "2.4")) if rng.random() < 0.95 else pick(rng, THINGS)
            backtest = attempt("a backtest", kind, assets, compat=compat)
            if backtest is not None:
                run_out(backtest)


def run_out(backtest) -> None:
    """Runs a backtest to its end or its first fault with an order in the market."""
    attempt("elapse", backtest.elapse, 10_000)
    for order_id, px in enumerate(NUMBERS):
        attempt("submit", backtest.submit_buy_order, 0, order_id, px, 0.01, hbt.GTC, hbt.LIMIT, False)
    attempt("depth", lambda: (backtest.depth(0).best_bid, backtest.depth(0).snapshot()))
    if isinstance(backtest, hbt.ROIVectorMarketDepthBacktest):
        attempt("bid_depth", lambda: backtest.depth(0).bid_depth.sum())
    for _ in range(3):
        attempt("wait_next_feed", backtest.wait_next_feed, True, 2**62)
    attempt("wait", backtest.wait_order_response, 0, 1, 10_000_000)
    attempt("elapse", backtest.elapse, hbt.UNTIL_END_OF_DATA)
    attempt("elapse", backtest.elapse, 1)
    attempt("close", backtest.close)


def main(mode: str, seed: int, rounds: int) -> int:
    """Runs one mode; the exit code."""
    from tests.kit.hostile_compiled import compiled

    modes = {"python": from_python, "assets": describing, "compiled": compiled}
    try:
        modes[mode](seed, rounds)
    except Exception:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
