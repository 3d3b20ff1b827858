"""The classes that ``compiled`` makes: parameters, state, arrays, when Numba is loaded, how to do without."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from engine.core.errors import ConfigError, RingbookError, StrategyError
from engine.strategy.jit import Array, JitStrategy, compiled
from engine.strategy.loader import load
from examples.strategies.market_maker_jit import MarketMaker
from tests.kit import jitted, reader
from tests.kit.kernels import trading


def test_the_class_keeps_its_name_and_parameters():
    assert issubclass(MarketMaker, JitStrategy)
    assert (MarketMaker.__name__, MarketMaker.__module__) == ("MarketMaker", MarketMaker.plain.__module__)
    assert MarketMaker.__doc__ == MarketMaker.plain.__doc__
    assert MarketMaker.specs() == MarketMaker.plain.specs()
    assert MarketMaker(skew=2.0).params() == MarketMaker.plain(skew=2.0).params()


@pytest.mark.parametrize("params", [{"skew": -1.0}, {"skew": "a"}, {"unknown": 1}])
def test_parameters_are_checked(params):
    with pytest.raises(ConfigError):
        MarketMaker(**params)
    maker = MarketMaker()
    with pytest.raises(ConfigError):
        maker.update(params | {"half_spread": 9.0})
    assert maker.half_spread == 5.0


def test_an_integer_parameter_fits_64_bits():
    with pytest.raises(ConfigError, match=r"Reader\.interval_ns: 9223372036854775808 does not fit 64 bits"):
        jitted.Reader(interval_ns=1 << 63)
    strategy = jitted.Reader()
    with pytest.raises(ConfigError, match="does not fit"):
        strategy.update({"weight": 3.0, "interval_ns": -(1 << 63) - 1})
    assert strategy.params() == jitted.Reader().params()
    assert strategy.weight == 0.5


def test_parameters_and_state_are_attributes():
    strategy = jitted.Reader(weight=2.0)
    assert (strategy.weight, strategy.quiet, strategy._calls, strategy._flag) == (2.0, False, 0, True)
    assert strategy._counts.tolist() == [0] * 9
    strategy._counts[0] = 5
    assert strategy._counts[0] == 0
    with pytest.raises(AttributeError, match="'Reader' object has no attribute 'nothing'"):
        _ = strategy.nothing


def test_each_strategy_has_its_own_state():
    one, other = jitted.Reader(), jitted.Reader()
    trading(one)
    assert one._calls > 0
    assert other._calls == 0


def test_a_strategy_belongs_to_one_kernel():
    strategy = jitted.Reader()
    trading(strategy)
    with pytest.raises(RingbookError, match="already belongs to a kernel"):
        trading(strategy)


def test_an_array_is_each_instances_own_in_python_too():
    one, other = reader.Reader(), reader.Reader()
    one._table[0, 0] = 9.0
    assert one._table[0, 0] == 9.0
    assert other._table.tolist() == [[1.5] * 3] * 2
    assert reader.Reader._table.dtype == np.float64
    assert Array(4, bool).dtype == np.bool_


def test_the_loader_finds_it():
    assert load("examples.strategies.market_maker_jit:MarketMaker") is MarketMaker


def test_a_subclass_has_the_handlers_of_both():
    class More(reader.Reader):
        _more: int = 0

        def on_timer(self, ctx, now):
            self._more += 1

    strategy = compiled(More)(interval_ns=10)
    kernel, _venue = trading(strategy)
    for ts in range(2_000, 2_050, 10):
        kernel.timer(ts)
    assert strategy._more > 0
    assert strategy._counts[0] == strategy._counts[3] == 1


def test_a_compiled_class_is_not_extended():
    with pytest.raises(StrategyError, match=r"extend Reader\.plain, and decorate the result"):
        type("More", (jitted.Reader,), {})()
    more = type("More", (jitted.Reader.plain,), {})
    assert compiled(more).specs() == jitted.Reader.specs()


def run(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": ".", **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_numba_is_loaded_when_the_first_strategy_is_made():
    code = (
        "import sys\n"
        "from examples.strategies.market_maker_jit import MarketMaker\n"
        "print('numba' in sys.modules)\n"
        "MarketMaker()\n"
        "print('numba' in sys.modules)\n"
    )
    assert run(code) == ["False", "True"]


def test_without_compiling_the_class_is_itself():
    code = (
        "import sys\n"
        "from engine.strategy.base import Strategy\n"
        "from examples.strategies.market_maker_jit import MarketMaker\n"
        "MarketMaker()\n"
        "print(issubclass(MarketMaker, Strategy), 'numba' in sys.modules)\n"
    )
    assert run(code, NUMBA_DISABLE_JIT="1") == ["True", "False"]
