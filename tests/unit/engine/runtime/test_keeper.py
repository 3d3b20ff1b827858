"""The file that a session of the engine loop leaves."""

from __future__ import annotations

import pytest

from engine.backtest.config import StrategyConfig
from engine.core.errors import ConfigError
from engine.reports.session import load
from engine.runtime.records import FeedState
from tests.kit.loops import Loop, asset
from tests.kit.sessions import market

MAKER = StrategyConfig(
    id="mm",
    cls="engine.strategy.native:MarketMaker",
    params={"half_spread": 1.0, "order_qty": 0.01, "max_position": 0.1},
)


def test_an_ordered_stop_writes_the_session(tmp_path):
    path = tmp_path / "paper.npz"
    loop = Loop(MAKER, assets=[asset(maker_fee=-0.00005)], result=str(path))
    events = market(5.0)
    loop.feed(events)
    loop.feed_status(FeedState.ENDED)
    loop.run_dry()
    assert not path.exists()
    loop.engine.stop()
    kept = load(path)
    assert (kept.kind, kept.strategies) == ("paper", ("mm",))
    assert kept.first_ts == events["exch_ts"].min()
    assert len(kept.fills) == loop.kernel.counters["fills"] > 0
    assert kept.accounts[0].equity == loop.kernel.state("mm", "BTCUSDT").equity
    # The cancels of the stop are in it too.
    assert kept.orders["ts"].max() > kept.last_ts


def test_without_a_market_there_is_no_file(tmp_path):
    loop = Loop(MAKER, result=str(tmp_path / "paper.npz"))
    loop.engine.stop()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_refused_at_the_start(tmp_path):
    with pytest.raises(ConfigError, match=r"engine\.result: no folder"):
        Loop(MAKER, result=str(tmp_path / "no" / "paper.npz"))
