"""A run that goes on from where it was written down has the same outputs and the same state, byte by byte."""

from __future__ import annotations

import gc
from dataclasses import replace

import msgspec
import pytest

from engine.backtest.config import StrategyConfig
from engine.runtime.proving import comparable
from engine.runtime.recovery import RunImage
from tests.kit.loops import asset
from tests.kit.runs import journaled, make_loop, replay_of

MAKER = StrategyConfig(id="mm", cls="engine.strategy.native:MarketMaker", params={"interval_ns": 5_000_000})
JIT = StrategyConfig(id="jit", cls="tests/kit/jitted.py:Quoting", params={})
MODELS = [
    {},
    {"queue_model": "log_prob_queue_model2", "exchange": "partial_fill_exchange"},
    {"queue_model": "power_prob_queue_model3", "queue_n": 2.0},
    {"exchange": "partial_fill_exchange", "liquidity_consumption": True},
]


def paper(seed):
    return make_loop(assets=[asset(**MODELS[seed % len(MODELS)])])


def two(seed):
    return make_loop(assets=[asset(), asset("ETHUSDT")])


def compiled(seed):
    """One by Cython, one by Numba."""
    return make_loop((MAKER, JIT)[seed % 2])


def within(seed):
    """The market within, of one or two instruments."""
    return make_loop(kind="market", assets=[asset(), asset("ETHUSDT")][: 1 + seed % 2])


def plain(image):
    """What an image says, as bytes, without the clock on the wall."""
    changes = comparable(image).standing.changes
    standing = msgspec.structs.replace(image.standing, changes=changes)
    return msgspec.msgpack.encode(msgspec.structs.replace(image, standing=standing))


def again(data):
    return msgspec.msgpack.decode(msgspec.msgpack.encode(data), type=RunImage)


@pytest.mark.parametrize(
    ("make", "seed", "every"),
    [(paper, 0, 1)] + [(paper, seed, 61) for seed in range(1, 5)] + [(two, 1, 71)]
    + [(compiled, seed, 83) for seed in range(2)] + [(within, seed, 7) for seed in range(3)],
)  # fmt: skip
def test_a_run_goes_on_from_any_record_as_it_went(tmp_path, make, seed, every):
    directory = journaled(tmp_path, seed, make(seed), 8 if every == 1 else 60)
    whole = replay_of(directory)
    whole.run()
    end, last = whole.reached(), plain(whole.written())
    assert end.ended
    assert end.compared > 3
    assert end.outputs > (8 if every == 1 else 40)
    first = replay_of(directory)
    taken = 0
    while True:
        first.run(most=every)
        if first.stopped:
            break
        image = first.written()
        other = replay_of(directory, after=first.reached().seq)
        other.read_back(again(image))
        assert plain(other.written()) == plain(image)
        other.run()
        found = other.reached()
        # Of the comparisons it has made those only that were still to come.
        assert replace(found, compared=end.compared) == end
        assert plain(other.written()) == last
        taken += 1
        if taken % 8 == 0:
            # Loops are in circles, and the collector cannot see how large their rings and books are.
            gc.collect()
    assert taken > 8
