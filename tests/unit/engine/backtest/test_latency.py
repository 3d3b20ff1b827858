"""Latencies: each kind of request its own, recorded ones from files, and what is wrong with them by row."""

from __future__ import annotations

import numpy as np
import pytest

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.latency import Latencies, latency_dtype, load_latencies
from engine.backtest.runner import BacktestRunner
from engine.core.errors import ConfigError, DataError
from engine.core.types import Reason, Status
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market

ASSET = {"symbol": "A", "tick_size": TICK_SIZE, "lot_size": LOT_SIZE}


def rows(*values) -> np.ndarray:
    array = np.zeros(len(values), latency_dtype)
    for name, column in zip(("req_ts", "exch_ts", "resp_ts"), zip(*values, strict=True), strict=True):
        array[name] = column
    return array


def saved(path, *values) -> str:
    np.save(path, rows(*values))
    return str(path)


def interpolated(path, **changes) -> Latencies:
    values = {"latency_model": "intp_order_latency", "order_latency_data": [str(path)]}
    return Latencies(AssetConfig(**(ASSET | values | changes)))


PROBE = """
from engine.core.types import Status
from engine.strategy.base import Strategy

class Probe(Strategy):
    def on_start(self, ctx):
        self.turn, self.id = 0, 0
        ctx.set_timer(20_000)

    def on_timer(self, ctx, now):
        book = ctx.book()
        if book.best_bid_tick is None:
            return
        order = ctx.order(self.id)
        if order is None or order.req is not Status.NONE:
            self.turn = 0
        px = (book.best_bid_tick - 30) * book.tick_size
        if self.turn % 3 == 0:
            self.id = ctx.buy(px, 2 * book.lot_size)
        elif self.turn % 3 == 1:
            ctx.modify(self.id, px - book.tick_size, 2 * book.lot_size)
        else:
            ctx.cancel(self.id)
        self.kind = ("submit", "modify", "cancel")[self.turn % 3]
        self.turn += 1

    def on_order(self, ctx, order):
        if order.req is Status.NONE and order.exec_qty == 0:
            ctx.log(f"{self.kind} {order.exch_ts - order.local_ts} {ctx.now - order.exch_ts}")
"""


def test_each_kind_of_request_has_its_own_latency(tmp_path):
    (tmp_path / "probe.py").write_text(PROBE)
    times = {"entry_latency_ns": 1_000, "response_latency_ns": 4_000}
    strategy = StrategyConfig(id="p", cls=f"{tmp_path}/probe.py:Probe")

    def seen(**more):
        config = BacktestConfig(assets=[AssetConfig(**ASSET, **times, **more)], strategies=[strategy])
        logs = BacktestRunner(on_error="raise").run(config, {"A": random_market(3, 600)}).logs
        return {log[-1] for log in logs}

    same = {"submit 1000 4000", "modify 1000 4000", "cancel 1000 4000"}
    assert seen() == same
    assert seen(modify_latency_ns=3_000) == same - {"modify 1000 4000"} | {"modify 3000 4000"}
    assert seen(modify_latency_ns=0, cancel_latency_ns=7_000) == {
        "submit 1000 4000",
        "modify 0 4000",
        "cancel 7000 4000",
    }


def test_the_round_trip_is_the_longest():
    latencies = Latencies(
        AssetConfig(**ASSET, entry_latency_ns=5, cancel_latency_ns=9, response_latency_ns=7)
    )
    assert (latencies.entry(0), latencies.response(0), latencies.round_trip) == (5, 7, 16)


def test_latencies_between_recorded_ones_are_interpolated(tmp_path):
    path = saved(tmp_path / "x.npy", (1000, 1100, 1300), (2000, 2300, 2400), (3000, 3100, 3500))
    latencies = interpolated(path)
    assert [latencies.entry(t) for t in (0, 1000, 1500, 1999, 2500, 3000, 9000)] == [
        100, 100, 200, 299, 200, 100, 100,
    ]  # fmt: skip
    assert [latencies.response(t) for t in (0, 1100, 1700, 2300, 2700, 3100, 9000)] == [
        200, 200, 150, 100, 250, 400, 400,
    ]  # fmt: skip
    assert latencies.round_trip == 500
    shifted = interpolated(path, order_latency_offset=50)
    assert (shifted.entry(1500), shifted.response(1150), shifted.round_trip) == (250, 250, 600)


def test_refused_requests_stay_refused_at_the_ends_and_with_an_offset(tmp_path):
    path = saved(tmp_path / "x.npy", (1000, 0, 1300), (2000, 2300, 2400), (3000, 0, 3500))
    assert [interpolated(path).entry(t) for t in (0, 1500, 2500, 4000)] == [-300, -350, -450, -500]
    shifted = interpolated(path, order_latency_offset=50)
    assert [shifted.entry(t) for t in (0, 4000)] == [-400, -600]


def test_a_refused_order_comes_back_rejected(tmp_path):
    data = random_market(3, 600)
    start = int(data["exch_ts"].min())
    path = saved(tmp_path / "x.npy", *((start + i, 0, start + i + 500) for i in range(0, 10**7, 10**6)))
    asset = AssetConfig(**ASSET, latency_model="intp_order_latency", order_latency_data=[path])
    maker = StrategyConfig(id="m", cls="engine.strategy.native:MarketMaker", params={"interval_ns": 5_000})
    result = BacktestRunner().run(BacktestConfig(assets=[asset], strategies=[maker]), {"A": data})
    orders = result.orders["order"]
    rejected = orders[orders["status"] == Status.REJECTED]
    assert len(rejected) > 5
    assert set(rejected["reason"]) == {Reason.BUSY}
    assert set(result.orders["ts"][orders["status"] == Status.REJECTED] - rejected["local_ts"]) == {500}
    assert len(result.fills) == 0


def test_several_files_are_one_recording(tmp_path):
    values = [(t, t + 100 + t % 70, t + 400) for t in range(1000, 9000, 37)]
    whole = saved(tmp_path / "whole.npy", *values)
    parts = [saved(tmp_path / f"{i}.npy", *values[i * 50 : i * 50 + 50]) for i in range(5)]
    assert (
        load_latencies([p for p in parts if len(np.load(p))]).tobytes() == load_latencies([whole]).tobytes()
    )


@pytest.mark.parametrize(
    ("values", "offset", "message"),
    [
        ([(10, 20, 30), (9, 20, 30)], 0, r"x.npy, row 1, field req_ts: 9: earlier"),
        ([(10, 20, 30), (11, 40, 30)], 0, r"x.npy, row 1, field exch_ts: 40: not between"),
        ([(10, 20, 5)], 0, r"x.npy, row 0, field resp_ts: 5: not between"),
        ([(10, 90, 200), (20, 25, 200)], -6, r"x.npy, row 1, field exch_ts: 19: with an offset of -6"),
        ([(10, 0, 20)], -6, r"x.npy, row 0, field resp_ts: 8: with an offset of -6"),
    ],
)
def test_wrong_rows_are_named(tmp_path, values, offset, message):
    with pytest.raises(DataError, match=message):
        load_latencies([saved(tmp_path / "x.npy", *values)], offset)


def test_wrong_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.npy: No such file"):
        load_latencies([tmp_path / "absent.npy"])
    np.save(tmp_path / "events.npy", random_market(1, 10))
    with pytest.raises(DataError, match=r"events\.npy: order latencies have the fields req_ts"):
        load_latencies([tmp_path / "events.npy"])
    np.save(tmp_path / "empty.npy", rows((1, 2, 3))[:0])
    with pytest.raises(DataError, match=r"empty\.npy: no order latencies"):
        load_latencies([tmp_path / "empty.npy"])
    late, early = saved(tmp_path / "b.npy", (50, 60, 70)), saved(tmp_path / "a.npy", (10, 20, 30))
    with pytest.raises(DataError, match=r"a\.npy, row 0, field req_ts: 10: earlier than 50"):
        load_latencies([late, early])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latency_model": "intp_order_latency"}, r"assets\[0\]\.order_latency_data: .* needs a recording"),
        ({"order_latency_data": ["x.npy"]}, r"assets\[0\]\.order_latency_data: is for intp_order_latency"),
        ({"order_latency_offset": 5}, r"assets\[0\]\.order_latency_offset: is for intp_order_latency"),
        ({"modify_latency_ns": -1}, r"assets\[0\]\.modify_latency_ns"),
        ({"latency_offset": 10**13}, r"assets\[0\]\.latency_offset"),
        (
            {"latency_model": "intp_order_latency", "order_latency_data": ["x"], "cancel_latency_ns": 5},
            r"assets\[0\]\.cancel_latency_ns: intp_order_latency takes it",
        ),
    ],
)
def test_wrong_configurations_name_their_key(changes, message):
    config = BacktestConfig(
        assets=[AssetConfig(**ASSET, **changes)],
        strategies=[StrategyConfig(id="m", cls="engine.strategy.native:MarketMaker")],
    )
    with pytest.raises(ConfigError, match=message):
        BacktestRunner().run(config, {"A": random_market(3, 50)})


def test_a_feed_cannot_be_shifted_to_before_it_happened():
    data = random_market(3, 600)
    data["local_ts"] += 10_000
    data["local_ts"][250:] -= 5_000
    data = data[np.argsort(data["local_ts"], kind="stable")]
    data["exch_ts"] = np.sort(data["exch_ts"])
    late = (data["ev"] >> np.uint64(30)) & np.uint64(1) == 1
    bad = int(np.flatnonzero(late & (data["local_ts"] - 9_000 < data["exch_ts"]))[0])
    config = BacktestConfig(
        assets=[AssetConfig(**ASSET, latency_offset=-9_000)],
        strategies=[StrategyConfig(id="m", cls="engine.strategy.native:MarketMaker")],
    )
    with pytest.raises(DataError, match="earlier than exch_ts with a latency_offset of -9000") as caught:
        BacktestRunner(chunk_rows=16).run(config, {"A": data})
    assert (caught.value.file, caught.value.row, caught.value.field) == ("A[0]", bad, "local_ts")
