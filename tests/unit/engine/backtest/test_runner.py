"""The runner: results, slices, samples, and errors that say where."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.core.errors import ConfigError, DataError, StrategyError
from engine.core.types import Reason, Status, fill_dtype
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market

MAKER = "engine.strategy.native:MarketMaker"
PARAMS = {"interval_ns": 5_000, "half_spread": 0.5, "order_qty": 0.02, "max_position": 0.1}


def asset(**changes) -> AssetConfig:
    values = {
        "symbol": "A",
        "tick_size": TICK_SIZE,
        "lot_size": LOT_SIZE,
        "maker_fee": -0.0001,
        "entry_latency_ns": 1_000,
        "response_latency_ns": 1_000,
    }
    return AssetConfig(**(values | changes))


def config(cls: str = MAKER, params=None, **changes) -> BacktestConfig:
    strategy = StrategyConfig(id="mm", cls=cls, params=PARAMS if params is None else params)
    return BacktestConfig(**({"assets": [asset()], "strategies": [strategy]} | changes))


@pytest.fixture(scope="module")
def data():
    return {"A": random_market(3, 600)}


def test_a_result_is_whole(data):
    result = BacktestRunner().run(config(seed=7), data)
    assert result.fills.dtype == fill_dtype
    assert len(result.fills) > 3
    assert result.events == len(data["A"])
    assert result.totals()["num_trades"] == len(result.fills)
    assert result.totals()["fee"] == pytest.approx(result.fills["fee"].sum())
    signed = result.fills["qty"] * result.fills["side"]
    assert result.totals()["position"] == pytest.approx(signed.sum() * LOT_SIZE)
    assert (result.strategies, result.symbols, result.seed) == (("mm",), ("A",), 7)


def test_the_json_has_exactly_its_keys(data):
    plain = json.loads(json.dumps(BacktestRunner().run(config(), data).to_json()))
    assert list(plain) == [
        "events",
        "events_per_second",
        "position",
        "balance",
        "fee",
        "equity",
        "num_trades",
        "trading_volume",
        "trading_value",
        "fills",
        "config_hash",
        "seed",
    ]
    assert set(plain["fills"][0]) == {"ts", "strategy", "symbol", "side", "px", "qty", "fee", "reason"}
    assert {fill["side"] for fill in plain["fills"]} == {"buy", "sell"}
    assert all(len(str(fill["qty"])) < 8 for fill in plain["fills"])


def test_progress_goes_to_the_end(data):
    seen = []
    BacktestRunner(progress=seen.append).run(config(), data)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0


def test_equity_samples(data):
    result = BacktestRunner().run(config(equity_sample_ns=50_000), data)
    samples = result.equity
    assert len(samples) > 5
    assert np.all(np.diff(samples["ts"]) == 50_000)
    assert samples["ts"][0] == result.first_ts + 50_000
    traded = ~np.isnan(samples["mid_price"])
    expected = samples["balance"] + samples["position"] * samples["mid_price"] - samples["fee"]
    assert samples["equity"][traded] == pytest.approx(expected[traded])
    # Looking changes nothing.
    assert result.fills.tobytes() == BacktestRunner().run(config(), data).fills.tobytes()


def test_a_run_ends_although_a_strategy_never_stops_asking(data):
    # Answers take longer than a poll, so at every poll something is on its way.
    params = {"interval_ns": 2_000, "order_qty": LOT_SIZE}
    slow = config("tests/kit/crosser.py:Crosser", params, assets=[asset(entry_latency_ns=9_000)])
    result = BacktestRunner().run(slow, data)
    assert result.orders["ts"][-1] > result.last_ts


def test_a_strategy_that_raises_stops_the_run(data, tmp_path):
    file = tmp_path / "broken.py"
    file.write_text(
        "from engine.strategy.base import Strategy\n"
        "class Broken(Strategy):\n"
        "    def on_book(self, ctx, book):\n"
        "        raise ValueError('no idea')\n"
    )
    with pytest.raises(StrategyError, match="strategy mm raised ValueError: no idea") as caught:
        BacktestRunner().run(config(f"{file}:Broken", {}), data)
    assert "on_book" in "".join(caught.value.__notes__)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"cls": "engine.nowhere:X"}, r"\$\.strategies\[0\].*engine\.nowhere"),
        ({"params": {"spread": 1}}, r"\$\.strategies\[0\].*unknown parameter spread"),
        ({"limits": {"max_positon": 1}}, r"\$\.strategies\[0\]\.limits.*max_positon"),
    ],
)
def test_wrong_strategies(data, changed, message):
    entry = StrategyConfig(**({"id": "mm", "cls": MAKER} | changed))
    with pytest.raises(ConfigError, match=message):
        BacktestRunner().run(config(strategies=[entry]), data)


def test_data_are_needed_and_checked(data):
    with pytest.raises(ConfigError, match=r"\$\.assets\[0\]\.data: names no recording"):
        BacktestRunner().run(config())
    with pytest.raises(DataError, match=r"nowhere\.npz"):
        BacktestRunner().run(config(assets=[asset(data=["nowhere.npz"])]))
    with pytest.raises(DataError, match="no events"):
        BacktestRunner().run(config(), {"A": data["A"][:0]})
    later = data["A"].copy()
    later["exch_ts"] += 10**9
    later["local_ts"] += 10**9
    with pytest.raises(DataError, match=r"A\[1\], field exch_ts: .* earlier than .* the file before it"):
        BacktestRunner().run(config(), {"A": [later, data["A"]]})


def test_no_room_is_a_denial(data):
    params = PARAMS | {"grid_num": 20, "max_position": 10.0}
    result = BacktestRunner(check_invariants=True).run(config(params=params, max_orders=3), data)
    orders = result.orders["order"]
    assert Reason.BUSY in orders["reason"][orders["status"] == Status.DENIED]


def test_a_strategy_reads_the_runs_seed(data, tmp_path):
    source = tmp_path / "drawn.py"
    source.write_text(
        "import random\n"
        "from engine.strategy.base import Strategy\n\n\n"
        "class Drawn(Strategy):\n"
        "    def on_start(self, ctx):\n"
        "        ctx.log(str(random.Random(ctx.seed).random()))\n"
    )
    texts = [
        [line[-1] for line in BacktestRunner().run(config(f"{source}:Drawn", {}, seed=seed), data).logs]
        for seed in (5, 5, 6)
    ]
    assert texts[0] == texts[1] != texts[2]
