"""Return and risk of a backtest against hftbacktest's own ``stats`` of the same samples."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hftbacktest.stats import InverseAssetRecord, LinearAssetRecord
from hftbacktest.stats import metrics as theirs

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.reports import returns as ours
from engine.reports.session import of_backtest
from tests.kit.recordings import events
from tests.kit.sessions import market

SAME = 1e-12
NAMES = {
    "Return": "total",
    "AnnualReturn": "annual",
    "SR": "sr",
    "Sortino": "sortino",
    "ReturnOverMDD": "over_max_drawdown",
    "ReturnOverTrade": "over_trade",
    "MaxDrawdown": "max_drawdown",
    "NumberOfTrades": "num_trades",
    "DailyNumberOfTrades": "daily_num_trades",
    "TradingVolume": "volume",
    "DailyTradingVolume": "daily_volume",
    "Turnover": "turnover",
    "DailyTurnover": "daily_turnover",
    "MaxPositionValue": "max_position_value",
    "MeanPositionValue": "mean_position_value",
    "MedianPositionValue": "median_position_value",
}
METRICS = [
    theirs.Ret,
    theirs.AnnualRet,
    theirs.SR,
    theirs.Sortino,
    theirs.ReturnOverMDD,
    theirs.ReturnOverTrade,
    theirs.MaxDrawdown,
    theirs.NumberOfTrades,
    theirs.DailyNumberOfTrades,
    theirs.TradingVolume,
    theirs.DailyTradingVolume,
    theirs.TradingValue,
    theirs.DailyTradingValue,
    theirs.MaxPositionValue,
    theirs.MeanPositionValue,
    theirs.MedianPositionValue,
]


def _run(rows: np.ndarray, *, kind: str = "linear", contract_size: float = 1.0, lot_size: float = 0.001):
    config = BacktestConfig(
        assets=[
            AssetConfig(
                symbol="BTCUSDT",
                tick_size=0.1,
                lot_size=lot_size,
                asset=kind,
                contract_size=contract_size,
                maker_fee=-0.00005,
                taker_fee=0.0007,
            )
        ],
        strategies=[StrategyConfig(id="c", cls="tests.kit.sessions:Clockwork")],
        equity_sample_ns=100_000_000,
    )
    return of_backtest(BacktestRunner().run(config, {"BTCUSDT": rows}), config)


def _theirs(session, whole, kind: str, contract_size: float, every: str):
    samples = session.samples
    frame = pl.DataFrame(
        {
            "timestamp": samples["ts"],
            "price": samples["mid_price"],
            "position": samples["position"],
            "balance": samples["balance"],
            "fee": samples["fee"],
            "num_trades": whole.num_trades,
            "trading_volume": whole.volume,
            "trading_value": whole.value,
        }
    )
    record = (LinearAssetRecord if kind == "linear" else InverseAssetRecord)(frame)
    record = record.contract_size(contract_size).resample(every).daily()
    return record.stats(METRICS, book_size=1000.0).splits


def _same(mine: ours.Returns, other: dict) -> None:
    for name, field in NAMES.items():
        value = getattr(mine, field)
        # Ours calls what cannot be had NaN where a division by nothing gives infinity there.
        want = other[name] if math.isfinite(other[name]) else math.nan
        # hftbacktest divides return by the book's size but not the ratio of it to the drawdown or the trades.
        assert value == pytest.approx(want, rel=SAME, abs=1e-15, nan_ok=True), name


@pytest.mark.parametrize(
    ("source", "kind", "contract_size", "lot_size", "every"),
    [
        ("usdm", "linear", 1.0, 0.001, "10s"),
        ("usdm", "linear", 1.0, 0.001, "1s"),
        ("usdm", "linear", 0.01, 1.0, "7s"),
        ("made", "inverse", 100.0, 1.0, "1s"),
        ("made", "linear", 1.0, 0.001, "2s"),
    ],
)
def test_as_hftbacktest(source, kind, contract_size, lot_size, every):
    rows = market(20.0) if source == "made" else events("usdm")
    # Its last second is of the next day, of which hftbacktest can say nothing but a division by zero.
    rows = rows[rows["local_ts"] < 1_723_161_599_000_000_000]
    session = _run(rows, kind=kind, contract_size=contract_size, lot_size=lot_size)
    assert len(session.fills) > 20
    whole = ours.series(session, "c", "BTCUSDT")
    nanoseconds = int(every.removesuffix("s")) * 1_000_000_000
    *days, entire = _theirs(session, whole, kind, contract_size, every)
    _same(ours.returns(whole, every_ns=nanoseconds, book_size=1000.0), entire)
    mine = ours.daily(whole, every_ns=nanoseconds, book_size=1000.0)
    assert len(mine) == len(days)
    for (day, found), other in zip(mine, days, strict=True):
        assert day == str(other["start"].date())
        _same(found, other)


def test_days_are_split_as_hftbacktest_does():
    """Samples over two midnights, made up: what is traded across one counts to the day after."""
    rng = np.random.default_rng(5)
    n = 3000
    ts = 1_723_065_000_000_000_000 + np.arange(n) * 60_000_000_000
    whole = ours.Series(
        ts=ts,
        price=60_000 + np.cumsum(rng.normal(size=n)),
        position=rng.integers(-3, 4, n).astype(float),
        gross=np.cumsum(rng.normal(size=n)),
        fee=np.cumsum(rng.random(n)) * 0.01,
        num_trades=np.cumsum(rng.integers(0, 3, n)).astype(float),
        volume=np.cumsum(rng.random(n)),
        value=np.cumsum(rng.random(n)) * 60_000,
    )
    frame = pl.DataFrame(
        {
            "timestamp": ts,
            "price": whole.price,
            "position": whole.position,
            "balance": whole.gross - whole.position * whole.price,
            "fee": whole.fee,
            "num_trades": whole.num_trades,
            "trading_volume": whole.volume,
            "trading_value": whole.value,
        }
    )
    stats = LinearAssetRecord(frame).resample("5m").daily().stats(METRICS, book_size=50.0)
    mine = ours.daily(whole, every_ns=300_000_000_000, book_size=50.0)
    mine.append(("", ours.returns(whole, every_ns=300_000_000_000, book_size=50.0)))
    assert len(mine) == len(stats.splits) == 4
    for (_, found), other in zip(mine, stats.splits, strict=True):
        for name, field in NAMES.items():
            assert getattr(found, field) == pytest.approx(other[name], rel=1e-9), name
