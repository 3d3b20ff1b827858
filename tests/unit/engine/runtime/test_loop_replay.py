"""A replay through the engine loop gives the backtest's fills, however it is cut, delayed or interrupted."""

import numpy as np
import pytest

from engine.backtest.config import BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.feeds.merge import Merger
from engine.feeds.simulated import SimulatedMarket
from engine.runtime.records import FeedState, Kind, market_record_dtype, record_dtype
from tests.kit.loops import ArraySource, Loop, asset
from tests.kit.recordings import events as recorded

MAKER = {"half_spread": 1.0, "skew": 0.3, "order_qty": 0.01, "max_position": 0.1}


def maker(name, symbol, **params):
    return StrategyConfig(
        id=name, cls="engine.strategy.native:MarketMaker", symbols=[symbol], params=MAKER | params
    )


def assets(*symbols):
    return [
        asset(s, maker_fee=-0.00005, taker_fee=0.0007, queue_model="power_prob_queue_model3") for s in symbols
    ]


def records_of(data):
    items = Merger([ArraySource(symbol, events) for symbol, events in data.items()]).read(1 << 21)
    records = np.zeros(len(items), record_dtype)
    records["kind"] = Kind.MARKET
    for name in ("flags", "instrument", "ts"):
        records[name] = items[name]
    records["payload"].view(market_record_dtype)["event"] = items["event"]
    return records


def replayed(loop, records, pieces=(), disturb=lambda loop, ts: None):
    """Feeds the records in pieces and returns all fills."""
    fills = []
    at = 0
    pieces = list(pieces)
    while at < len(records):
        if len(loop.rings["feed"]) < 16_384:
            take = min(pieces.pop() if pieces else 8192, len(records) - at)
            loop.push("feed", records[at : at + take])
            at += take
            if at < len(records):
                disturb(loop, int(records["ts"][at]))
        loop.step(2)
        fills += [out.body["fill"] for out in loop.of_kind("orders_out", Kind.FILL)]
        loop.take("market_out")
        loop.take("telemetry_out")
    loop.feed_status(FeedState.ENDED)
    loop.run_dry()
    fills += [out.body["fill"] for out in loop.of_kind("orders_out", Kind.FILL)]
    return np.array(fills)


@pytest.fixture(scope="module")
def market():
    return {s: SimulatedMarket(s, seed=3).generate(30) for s in ("BTCUSDT", "ETHUSDT")}


@pytest.fixture(scope="module")
def strategies():
    return [maker("btc", "BTCUSDT"), maker("eth", "ETHUSDT", half_spread=2.0, interval_ns=37_000_000)]


@pytest.fixture(scope="module")
def expected(market, strategies):
    config = BacktestConfig(assets=assets("BTCUSDT", "ETHUSDT"), strategies=strategies)
    fills = BacktestRunner().run(config, market).fills
    assert len(fills) > 50
    return fills


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_the_fills_of_a_replay_are_the_backtests(market, strategies, expected, seed):
    loop = Loop(*strategies, assets=assets("BTCUSDT", "ETHUSDT"))
    random = np.random.default_rng(seed)
    pieces = [] if seed is None else random.integers(1, 900, 200).tolist()

    def disturb(loop, next_ts):
        # Commands that change nothing, news of the time: none of it may show in the fills.
        choice = random.integers(0, 4)
        if choice == 0:
            loop.command("query_status")
        elif choice == 1:
            loop.feed_status(FeedState.RUNNING, next_ts)
        elif choice == 2:
            loop.command("resync")

    fills = replayed(loop, records_of(market), pieces, disturb if seed is not None else lambda *_: None)
    assert fills.tobytes() == expected.tobytes()
    loop.kernel.check_invariants()


@pytest.mark.recording
def test_the_fills_on_the_real_recording_are_the_backtests():
    data = {"BTCUSDT": recorded("usdm")}
    strategies = [maker("mm", "BTCUSDT")]
    config = BacktestConfig(assets=assets("BTCUSDT"), strategies=strategies)
    expected = BacktestRunner().run(config, data).fills
    assert len(expected) > 100
    fills = replayed(Loop(*strategies, assets=assets("BTCUSDT")), records_of(data))
    assert fills.tobytes() == expected.tobytes()
