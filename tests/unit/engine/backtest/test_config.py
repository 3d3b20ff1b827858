"""Configurations of backtests: defaults, ranges, and messages that name the key."""

import msgspec
import pytest

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig, check
from engine.core.errors import ConfigError
from engine.core.settings import config_hash, convert

ASSET = {"symbol": "BTCUSDT", "tick_size": 0.1, "lot_size": 0.001}
STRATEGY = {"id": "mm", "class": "engine.strategy.native:MarketMaker"}


def read(**changes):
    values = {"assets": [dict(ASSET)], "strategies": [dict(STRATEGY)]} | changes
    config = convert(values, BacktestConfig, source="file.toml")
    check(config, "file.toml")
    return config


def test_defaults():
    config = read()
    assert config.assets[0].queue_model == "risk_adverse_queue_model"
    assert config.strategies[0].cls == "engine.strategy.native:MarketMaker"
    assert config.strategies[0].symbols == []


def test_class_is_the_key_in_files():
    assert msgspec.to_builtins(StrategyConfig(id="a", cls="m:C"))["class"] == "m:C"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tick_size": 0}, r"tick_size"),
        ({"tick_size": float("nan")}, r"assets\[0\]\.tick_size"),
        ({"maker_fee": float("nan")}, r"assets\[0\]\.maker_fee"),
        ({"lot_size": float("inf")}, r"assets\[0\]\.lot_size"),
        ({"entry_latency_ns": -1}, r"entry_latency_ns"),
        ({"queue_model": "fifo"}, r"queue_model"),
        ({"tik_size": 0.1}, r"tik_size"),
        ({"symbol": ""}, r"symbol"),
    ],
)
def test_a_wrong_asset_names_its_key(change, message):
    with pytest.raises(ConfigError, match=message):
        read(assets=[ASSET | change])


def test_twice_the_same_symbol_or_id():
    with pytest.raises(ConfigError, match=r"assets\[1\]\.symbol: 'BTCUSDT' is there twice"):
        read(assets=[ASSET, ASSET])
    with pytest.raises(ConfigError, match=r"strategies\[1\]\.id: 'mm' is there twice"):
        read(strategies=[STRATEGY, STRATEGY])


def test_an_unknown_symbol():
    with pytest.raises(ConfigError, match=r"strategies\[0\]\.symbols: 'ETH' is none of BTCUSDT"):
        read(strategies=[STRATEGY | {"symbols": ["ETH"]}])


def test_nothing_to_run():
    with pytest.raises(ConfigError, match="assets"):
        read(assets=[])


def test_the_hash_follows_the_values():
    asset = AssetConfig(**ASSET)
    same = config_hash(AssetConfig(**ASSET))
    assert config_hash(asset) == same
    assert config_hash(AssetConfig(**ASSET, maker_fee=0.1)) != same
