"""Sessions for tests of reports: small ones by hand, and a backtest with samples and prices."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.core.types import Status
from engine.reports.session import (
    Account,
    InstrumentMeta,
    Session,
    fill_dtype,
    mid_dtype,
    of_backtest,
    order_dtype,
)
from engine.research.runs import Run, Runs, with_mids
from tests.kit.sessions import market

SECOND = 1_000_000_000


def rows(dtype: np.dtype, given: Sequence[dict]) -> np.ndarray:
    """An array of records; columns that are not named are 0."""
    found = np.zeros(len(given), dtype)
    for place, one in enumerate(given):
        for name, value in one.items():
            found[name][place] = value
    return found


def by_hand(
    fills: Sequence[dict] = (),
    orders: Sequence[dict] = (),
    mids: Sequence[tuple[int, float]] = (),
    *,
    asset: str = "linear",
    end: int = 100 * SECOND,
    last_mid: float = 100.0,
    funding: float = 0.0,
) -> Session:
    """A session of one strategy in one instrument with ticks and lots of 1.

    Args:
        fills: Columns of each.
        orders: Columns of each update.
        mids: Times and prices.
        asset: ``linear`` or ``inverse``.
        end: Its last time.
        last_mid: The last price.
        funding: What was paid.
    """
    return Session(
        kind="backtest",
        fills=rows(fill_dtype, [{"mid_price": 100.0} | fill for fill in fills]),
        orders=rows(order_dtype, orders),
        strategies=("s",),
        instruments=(InstrumentMeta("X", 1.0, 1.0, 1.0, asset, last_mid),),
        accounts=(Account("s", "X", 0.0, 0.0, funding, 0.0, 0.0),),
        first_ts=0,
        last_ts=end,
        config_hash="0" * 16,
        seed=0,
        mids=rows(mid_dtype, [{"ts": ts, "mid": mid} for ts, mid in mids]),
    )


def life(
    order_id: int, side: int, sent: int, *, tick: int = 100, qty: int = 1, ended: int = 0, **end
) -> list[dict]:
    """An order's updates: sent, taken a second later, and an end unless ``ended`` is 0.

    Args:
        order_id: Its number.
        side: 1 or -1.
        sent: When.
        tick: Its price.
        qty: Lots.
        ended: When we learned of its end.
        **end: Columns of the last update.
    """
    base = {"order_id": order_id, "side": side, "price_tick": tick, "qty": qty, "leaves_qty": qty}
    base["local_ts"] = sent
    found = [
        {**base, "ts": sent, "status": Status.NONE, "req": Status.NEW, "prev_status": Status.NONE},
        {**base, "ts": sent + 3, "exch_ts": sent + 1, "status": Status.NEW, "prev_status": Status.NONE},
    ]
    if ended:
        found.append({**base, "ts": ended, "exch_ts": ended - 1, "prev_status": Status.NEW, **end})
    return found


@functools.cache
def backtested(seconds: float = 20.0, kind: str = "linear") -> Session:
    """A backtest of two strategies in two instruments, one of which takes, with samples and prices.

    Args:
        seconds: Of the simulated market.
        kind: Of the instruments.
    """
    events = market(seconds)
    sizes = {"tick_size": 0.1, "lot_size": 0.001, "maker_fee": -0.00005, "taker_fee": 0.0007, "asset": kind}
    config = BacktestConfig(
        assets=[AssetConfig(symbol=symbol, **sizes) for symbol in ("BTCUSDT", "OTHER")],
        strategies=[
            StrategyConfig(id="makes", cls="tests.kit.sessions:Clockwork"),
            StrategyConfig(
                id="takes",
                cls="tests.kit.sessions:Clockwork",
                symbols=["OTHER"],
                params={"taking": True, "interval_ns": 700_000_000},
            ),
        ],
        equity_sample_ns=100_000_000,
    )
    data = {"BTCUSDT": events, "OTHER": events}
    result = BacktestRunner().run(config, data)
    return with_mids(of_backtest(result, config), config, [[events], [events]])


def two_strategies(folder: Path) -> Run:
    """A kept run of two strategies, one of which takes, in one instrument.

    Args:
        folder: Where it is kept.
    """
    config = BacktestConfig(
        assets=[AssetConfig(symbol="X", tick_size=0.1, lot_size=0.001, maker_fee=-0.0001, taker_fee=0.0005)],
        strategies=[
            StrategyConfig(id="makes", cls="tests.kit.sessions:Clockwork"),
            StrategyConfig(
                id="takes",
                cls="tests.kit.sessions:Clockwork",
                params={"taking": True, "interval_ns": 400_000_000},
            ),
        ],
        seed=5,
    )
    runs = Runs(folder)
    BacktestRunner(runs=runs).run(config, {"X": market(6.0)})
    assert runs.last is not None
    return runs.last
