"""Runs that were stopped and resumed are those that were not, byte for byte; no other run is resumed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.backtest.checkpoint import CALLS, MANIFEST
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.data import save_events
from engine.backtest.runner import BacktestRunner
from engine.cli.main import main
from engine.core.errors import CheckpointError, ConfigError
from tests.kit.markets import LOT_SIZE, START, TICK_SIZE, random_market
from tests.kit.order_markets import random_orders

KEEPER = "tests/kit/keeper.py:Keeper"
CROSSER = "tests/kit/crosser.py:Crosser"
TALKER = "tests/kit/talker.py:Talker"
MAKER = "engine.strategy.native:MarketMaker"


def asset(symbol="A", **keys):
    sizes = {"tick_size": TICK_SIZE, "lot_size": LOT_SIZE}
    return AssetConfig(symbol=symbol, entry_latency_ns=2_000, response_latency_ns=1_000, **sizes, **keys)


def configure(*classes, assets=None, **params):
    strategies = [
        StrategyConfig(id=f"s{i}", cls=cls, params=params if cls == KEEPER else {"interval_ns": 4_000 + i})
        for i, cls in enumerate(classes)
    ]
    return BacktestConfig(assets=assets or [asset()], strategies=strategies, seed=5, equity_sample_ns=11_000)


class Stopped(Exception):
    """The machine went down."""


def stopping(after):
    """A progress that stops the run at its n-th call."""
    calls = []

    def progress(done):
        calls.append(done)
        if len(calls) == after:
            raise Stopped

    return progress


def in_parts(config, data, directory, stops, **settings):
    """Runs, stops, resumes and so on; the last run goes to its end."""
    resume = False
    for after in [*stops, None]:
        runner = BacktestRunner(
            progress=None if after is None else stopping(after),
            checkpoint=directory,
            every=1,
            resume=resume,
            **settings,
        )
        try:
            result = runner.run(config, data)
        except Stopped:
            resume = (directory / MANIFEST).exists()
    return result


def same(one, other):
    for name in ("fills", "orders", "equity"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()
    for name in ("logs", "events", "first_ts", "last_ts", "failures"):
        assert getattr(one, name) == getattr(other, name)
    assert repr(one.states) == repr(other.states)


@settings(max_examples=12, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from([KEEPER, KEEPER, CROSSER, TALKER, MAKER]), min_size=1, max_size=3),
    st.lists(st.integers(1, 12), min_size=1, max_size=3),
    st.booleans(),
)
def test_a_resumed_run_is_the_run(tmp_path_factory, seed, classes, stops, consumption):
    models = {"exchange": "partial_fill_exchange", "liquidity_consumption": True} if consumption else {}
    funding = [[START + 50_000, 0.01], [START + 200_000, -0.02]]
    config = configure(*classes, assets=[asset("A", funding=funding, **models), asset("B")])
    data = {"A": random_market(seed, 300), "B": random_market(seed + 1, 200)}
    plain = BacktestRunner().run(config, data)
    directory = tmp_path_factory.mktemp("checkpoint")
    same(plain, in_parts(config, data, directory, stops, chunk_rows=29))


def test_everything_has_happened_where_it_was_stopped(tmp_path):
    config, data = configure(KEEPER, CROSSER), {"A": random_market(3, 2_000)}
    plain = BacktestRunner().run(config, data)
    result = in_parts(config, data, tmp_path, [9, 9, 2], chunk_rows=101, check_invariants=True)
    same(plain, result)
    assert len(plain.fills) > 100
    assert len(plain.logs) > 50
    place = json.loads((tmp_path / MANIFEST).read_text())
    assert place["callbacks"] > 1_000
    assert place["calls"] > 200
    # One run, one file of each kind.
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("market", "models"),
    [
        (random_orders, {"queue_model": "l3_fifo_queue_model"}),
        (
            random_market,
            {
                "latency_model": "tests/kit/own_models.py:Latency",
                "queue_model": "tests/kit/own_models.py:Queue",
                "fee_model": "tests/kit/own_models.py:Fee",
            },
        ),
    ],
)
def test_so_is_one_by_order_and_one_with_models_of_ones_own(tmp_path, market, models):
    config, data = configure(KEEPER, assets=[asset(**models)]), {"A": market(4, 600)}
    plain = BacktestRunner().run(config, data)
    assert len(plain.orders) > 50
    same(plain, in_parts(config, data, tmp_path, [4, 3], chunk_rows=37))


@pytest.mark.filterwarnings("ignore::engine.strategy.status.StrategyWarning")
@pytest.mark.parametrize("stop", [2, 5, 15])
def test_a_strategy_that_raised_has_raised_in_the_resumed_run_too(tmp_path, stop):
    config, data = configure(KEEPER, CROSSER, fail_after=60), {"A": random_market(3, 1_000)}
    plain = BacktestRunner().run(config, data)
    assert [failure.strategy for failure in plain.failures] == ["s0"]
    same(plain, in_parts(config, data, tmp_path, [stop], chunk_rows=53))


def test_what_was_written_after_the_checkpoint_does_not_count(tmp_path):
    config, data = configure(KEEPER), {"A": random_market(3, 1_000)}
    with pytest.raises(Stopped):
        BacktestRunner(progress=stopping(8), checkpoint=tmp_path, every=1, chunk_rows=53).run(config, data)
    with open(tmp_path / CALLS, "ab") as file:
        file.write(b"half a call")
    same(
        BacktestRunner().run(config, data),
        BacktestRunner(checkpoint=tmp_path, every=200, resume=True, chunk_rows=53).run(config, data),
    )


def test_compiled_strategies_are_run_again(tmp_path):
    config = configure(MAKER)
    data = {"A": random_market(3, 600)}
    plain = BacktestRunner().run(config, data)
    assert len(plain.orders) > 500
    same(plain, in_parts(config, data, tmp_path, [5], chunk_rows=53))
    assert json.loads((tmp_path / MANIFEST).read_text())["callbacks"] == 0


def stopped(directory, config=None, data=None):
    with pytest.raises(Stopped):
        BacktestRunner(progress=stopping(8), checkpoint=directory, every=1, chunk_rows=53).run(
            config or configure(KEEPER), data or {"A": random_market(3, 1_000)}
        )


def resumed(directory, config=None, data=None):
    runner = BacktestRunner(checkpoint=directory, every=1, resume=True, chunk_rows=53)
    return runner.run(config or configure(KEEPER), data or {"A": random_market(3, 1_000)})


def test_another_run_is_refused(tmp_path):
    stopped(tmp_path)
    with pytest.raises(CheckpointError, match="config_hash was"):
        resumed(tmp_path, configure(KEEPER, interval_ns=5_000))
    with pytest.raises(CheckpointError, match="rows was 1"):
        resumed(tmp_path, data={"A": random_market(3, 900)})
    changed = random_market(3, 1_000)
    changed["qty"][10:200] += LOT_SIZE
    with pytest.raises(CheckpointError, match="the run is another"):
        resumed(tmp_path, data={"A": changed})
    with pytest.raises(ConfigError, match="holds a checkpoint: resume it"):
        BacktestRunner(checkpoint=tmp_path).run(configure(KEEPER), {"A": changed})
    resumed(tmp_path)


def test_damage_is_named(tmp_path):
    stopped(tmp_path)
    manifest = tmp_path / MANIFEST
    place = json.loads(manifest.read_text())
    for text, message in (
        ("{", "truncated"),
        (json.dumps(place | {"format": 0}), "format 0"),
        (json.dumps(place | {"state": "../x.pickle"}), "format"),
        (json.dumps(place | {"version": "0"}), "version was 0"),
    ):
        manifest.write_text(text)
        with pytest.raises(CheckpointError, match=message):
            resumed(tmp_path)
    manifest.write_text(json.dumps(place))
    (tmp_path / place["state"]).write_bytes(b"no pickle")
    with pytest.raises(CheckpointError, match="UnpicklingError"):
        resumed(tmp_path)
    (tmp_path / CALLS).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"calls\.bin: truncated"):
        resumed(tmp_path)


def test_a_strategy_has_to_be_keepable(tmp_path):
    data = {"A": random_market(3, 300)}
    config = BacktestConfig(
        assets=[asset()], strategies=[StrategyConfig(id="odd", cls="tests/kit/keeper.py:Unkeepable")]
    )
    with pytest.raises(CheckpointError, match="strategy odd holds what cannot be kept"):
        BacktestRunner(checkpoint=tmp_path / "a", every=1, chunk_rows=50).run(config, data)
    config.strategies[0].cls = "tests/kit/keeper.py:Forgetful"
    BacktestRunner(checkpoint=tmp_path / "b", every=1, chunk_rows=50).run(config, data)


def test_there_has_to_be_something_to_resume(tmp_path):
    with pytest.raises(ConfigError, match="no checkpoint is named"):
        BacktestRunner(resume=True)
    with pytest.raises(ConfigError, match="holds no checkpoint to resume"):
        resumed(tmp_path)
    with pytest.raises(ConfigError, match="at least 1"):
        BacktestRunner(checkpoint=tmp_path, every=0).run(configure(KEEPER), {"A": random_market(3, 9)})


def test_the_command_keeps_and_resumes(tmp_path, capsys):
    save_events(tmp_path / "a.npz", random_market(3, 1_000))
    run = ["backtest", "--data", str(tmp_path / "a.npz"), "--tick-size", str(TICK_SIZE), "--lot-size"]
    run += [str(LOT_SIZE), "--strategy", KEEPER, "--json"]
    run += ["--entry-latency-ns", "2000", "--response-latency-ns", "1000"]
    kept = ["--checkpoint", str(tmp_path / "c"), "--every", "1"]
    results = []
    for more in ([], kept, [*kept, "--resume"]):
        assert main([*run, *more]) == 0
        result = json.loads(capsys.readouterr().out)
        results.append({name: value for name, value in result.items() if name != "events_per_second"})
    assert results[0] == results[1] == results[2]
    assert main([*run, *kept]) == 2
    assert "holds a checkpoint" in capsys.readouterr().err
    assert main([*run, "--resume"]) == 2
    assert "--resume goes with --checkpoint" in capsys.readouterr().err
