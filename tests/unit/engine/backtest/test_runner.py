"""The runner: results, slices, samples, and errors that say where."""

from __future__ import annotations

import gc
import json
import signal
import threading

import numpy as np
import pytest

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.core.errors import ConfigError, DataError, StrategyError
from engine.core.types import Reason, Status, fill_dtype
from engine.strategy.loader import load
from engine.strategy.status import StrategyWarning
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
        "funding",
        "equity",
        "num_trades",
        "trading_volume",
        "trading_value",
        "fills",
        "failures",
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
    with pytest.raises(
        DataError, match=r"A\[1\], row 0, field exch_ts: .* earlier than the exchange event before"
    ):
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


def strategy_file(tmp_path, body: str) -> str:
    path = tmp_path / "s.py"
    path.write_text(f"from engine.strategy.base import Strategy\nclass S(Strategy):\n{body}")
    return f"{path}:S"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    def __init__(self): raise ValueError('no')\n", "S cannot be made: ValueError: no"),
        ("    def __init__(self, x): pass\n", "S cannot be made: TypeError"),
        ("    async def on_book(self, ctx, book): pass\n", "S.on_book is async"),
        ("    pass\nraise SystemExit(0)\n", "fails to load: SystemExit: 0"),
    ],
)
def test_a_strategy_that_cannot_be_made_is_the_configurations_fault(tmp_path, data, body, message):
    with pytest.raises(ConfigError, match=message):
        BacktestRunner().run(config(strategy_file(tmp_path, body), {}), data)


def test_a_strategy_may_keep_what_it_likes_in_attributes_of_ours(tmp_path, data):
    body = "    n: int = 3\n    def on_start(self, ctx):\n        self.params = self.specs = {}\n"
    result = BacktestRunner().run(config(strategy_file(tmp_path, body), {}), data)
    assert result.events == len(data["A"])


def test_a_timer_of_a_fraction_is_refused(tmp_path, data):
    body = "    def on_start(self, ctx): ctx.set_timer(1.5)\n"
    with pytest.raises(StrategyError, match="TypeError"):
        BacktestRunner(on_error="raise").run(config(strategy_file(tmp_path, body), {}), data)


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": -1},
        {"seed": 2**64},
        {"max_orders": 0},
        {"equity_sample_ns": -5},
        {"equity_sample_ns": 2**63},
        {"strategies": []},
    ],
)
def test_a_configuration_made_in_python_is_checked_as_a_file_is(data, changes):
    with pytest.raises(ConfigError):
        BacktestRunner().run(config(**changes), data)


@pytest.mark.parametrize("changes", [{"queue_n": -1.0}, {"entry_latency_ns": -1}, {"maker_fee": "x"}])
def test_an_asset_made_in_python_is_checked_as_a_file_is(data, changes):
    with pytest.raises(ConfigError, match=rf"\$.assets\[0\].{next(iter(changes))}"):
        BacktestRunner().run(config(assets=[asset(**changes)]), data)


@pytest.mark.parametrize("name", ["order_qty", "max_position"])
def test_a_quantity_beyond_all_integers_is_only_a_large_one(data, name):
    large, huge = (
        BacktestRunner().run(config(params=PARAMS | {name: value}), data).to_json()["fills"]
        for value in (1e9, 1e300)
    )
    assert huge == large


@pytest.mark.parametrize(
    ("field", "value", "changes"),
    [("px", 1e300, {}), ("qty", -5.0, {}), ("qty", 1e300, {}), ("px", None, {"tick_size": TICK_SIZE * 3})],
)
def test_a_row_that_does_not_fit_the_book_is_named(data, field, value, changes):
    rows = data["A"].copy()
    if value is not None:
        depth = np.flatnonzero((rows["ev"] & np.uint64(0xFF)) == 1)
        rows[field][depth[7]] = value
    with pytest.raises(DataError, match=rf"A\[0\], row \d+, field {field}") as caught:
        BacktestRunner().run(config(assets=[asset(**changes)]), {"A": rows})
    if value is not None:
        assert caught.value.row == depth[7]


def test_an_endless_run_can_be_interrupted(data):
    rows = data["A"].copy()
    # Fifty years between the first row and the second: no slice of the run ends within a lifetime.
    rows["exch_ts"][1:] += 1_600_000_000_000_000_000
    rows["local_ts"][1:] += 1_600_000_000_000_000_000
    # Whoever started the tests may ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.2, signal.raise_signal, [signal.SIGINT])
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            BacktestRunner().run(config(), {"A": rows})
    finally:
        signal.signal(signal.SIGINT, before)
    timer.join()


def test_everything_goes_when_a_run_ends_without_waiting_for_the_garbage_collector(tmp_path, data):
    body = (
        "    alive = __import__('weakref').WeakSet()\n"
        "    made = []\n"
        "    raising: bool = False\n"
        "    def on_start(self, ctx):\n"
        "        self.alive.add(self)\n"
        "        self.made.append(ctx.now)\n"
        "        self.ctx, self.book = ctx, ctx.book()\n"
        "    def on_book(self, ctx, book):\n"
        "        if self.raising: raise ValueError('no')\n"
    )
    name = strategy_file(tmp_path, body)
    alive, made = load(name).alive, load(name).made
    gc.collect()
    gc.disable()
    try:
        BacktestRunner().run(config(name, {}), data)
        assert not alive
        with pytest.warns(StrategyWarning, match="ValueError"):
            BacktestRunner().run(config(name, {"raising": True}), data)
        assert not alive
        with pytest.raises(StrategyError):
            BacktestRunner(on_error="raise").run(config(name, {"raising": True}), data)
        assert not alive
        assert len(made) == 3
    finally:
        gc.enable()


def test_what_a_strategy_was_given_can_be_looked_at_after_the_run(tmp_path, data):
    body = "    kept = []\n    def on_start(self, ctx):\n        self.kept.append((self, ctx, ctx.book()))\n"
    name = strategy_file(tmp_path, body)
    result = BacktestRunner().run(config(name, {}), data)
    (strategy, ctx, book) = load(name).kept.pop()
    assert strategy.params() == {}
    assert ctx.now == result.last_ts
    assert book.best_bid < book.best_ask
    assert ctx.buy(book.best_bid, LOT_SIZE) == 0
    assert ctx.orders() == []


@pytest.mark.parametrize(
    ("cls", "params"),
    [
        (MAKER, PARAMS | {"order_qty": 0.05, "max_position": 1.0}),
        ("tests/kit/crosser.py:Crosser", {"interval_ns": 5_000, "order_qty": 0.05}),
    ],
)
def test_partial_fills_reach_position_and_money(data, cls, params):
    setup, plain = (
        config(cls, params, assets=[asset(exchange=exchange, taker_fee=0.0005)])
        for exchange in ("partial_fill_exchange", "no_partial_fill_exchange")
    )
    result = BacktestRunner(check_invariants=True).run(setup, data)
    fills = result.fills
    whole = BacktestRunner().run(plain, data)
    assert fills.tobytes() != whole.fills.tobytes()
    assert Status.PARTIALLY_FILLED in result.orders["order"]["status"]
    totals = result.totals()
    assert totals["position"] == pytest.approx((fills["qty"] * fills["side"]).sum() * LOT_SIZE)
    spent = (fills["px"] * fills["qty"] * fills["side"]).sum() * LOT_SIZE
    assert totals["balance"] == pytest.approx(-spent)
    assert totals["fee"] == pytest.approx(fills["fee"].sum())
    last = {order["order_id"]: order for order in result.orders["order"]}
    for order in last.values():
        filled = fills["qty"][fills["order_id"] == order["order_id"]].sum()
        assert filled == order["cum_exec_qty"] <= order["qty"]
    stepped = BacktestRunner(stepwise=True).run(setup, data)
    assert stepped.orders.tobytes() == result.orders.tobytes()
