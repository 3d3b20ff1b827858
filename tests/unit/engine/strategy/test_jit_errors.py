"""What cannot be compiled, and what goes wrong in compiled handlers: said in one line, with the place."""

from __future__ import annotations

import textwrap

import pytest

from engine.core.errors import InvalidOrder, StrategyError
from engine.core.types import Reason, Status
from engine.strategy.loader import load
from tests.kit.kernels import REQUEST, events, trading

HEAD = """\
import numpy as np
from engine.strategy.base import Strategy
from engine.strategy.jit import Array, compiled

def helper(x):
    return x

@compiled
class Mine(Strategy):
    edge: float = 1.0
    label: str = "a"
    SIZE = 3
    _n: int = 0
    _x: float = 0.0
    _window = Array(3)

"""
BODY = HEAD.count("\n") + 1
"""The line of the first statement of what is put behind it."""


@pytest.fixture
def make(tmp_path):
    """Writes a strategy with the given methods; returns its class."""

    def write(body):
        path = tmp_path / "mine.py"
        path.write_text(HEAD + textwrap.indent(body, "    ") + "\n")
        return load(f"{path}:Mine")

    return write


def on_book(statement):
    return f"def on_book(self, ctx, book):\n{textwrap.indent(statement, '    ')}"


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("ctx.bye(1.0, 2.0)", "Context has no 'bye' in compiled handlers"),
        ("ctx.buy(1.0)", "missing a required argument: 'qty'"),
        ("ctx.buy('1', 1.0)", "px is a number, not unicode_type"),
        ("ctx.buy(1.0, 1.0, postonly=True)", "got an unexpected keyword argument 'postonly'"),
        ("ctx.book('BTC')", "a symbol is one of ctx.symbols, not unicode_type"),
        ("ctx.submit(None, 'buy', 1.0, 1.0)", "side is a whole number, not unicode_type"),
        ("ctx.submit_ticks(None, 1, 1.5, 1)", "price_tick is a whole number, not float64: use int(...)"),
        ("ctx.cancel(1.5)", "order_id is a whole number, not float64: use int(...)"),
        ("ctx.log(3)", "ctx.log takes a string: use str(...)"),
        ("self._x = book.best", "BookView has no 'best' in compiled handlers"),
        ("book.mid = 3.0", "a BookView has no 'mid' to set"),
        ("self._other = 1", "self._other is unknown: what a strategy keeps is declared in its class"),
        ("self.edge = 2.0", "self.edge cannot be set: it is no value of the strategy's state"),
        ("self.SIZE = 2", "self.SIZE cannot be set: it is no value of the strategy's state"),
        ("self._n = book.mid", "self._n is declared as int and is given float64"),
        ("self._n += 0.5", "self._n is declared as int and is given float64"),
        ("self._x = 'a'", "Cannot cast Literal[str](a) to float64"),
        ("self._window = np.zeros(3)", "self._window is an Array: set its elements"),
        ("ctx.log(self.label)", "self.label is a str, which compiled handlers cannot read"),
        ("self.update({})", "self.update is for Python: compiled handlers cannot use it"),
        ("helper(1)", "helper is a Python function: decorate it with numba.njit, or make it a method"),
        ("nothing(1)", "name 'nothing' is not defined"),
        ("np.nothing(1)", "module 'numpy' has no attribute 'nothing'"),
        ("super().on_book(ctx, book)", "compiled handlers know no super"),
        ("import json", "Use of unsupported opcode (IMPORT_NAME) found"),
    ],
)  # fmt: skip
def test_what_cannot_be_compiled_is_said_with_its_line(make, statement, reason):
    kind = make(on_book(statement))
    with pytest.raises(StrategyError) as caught:
        kind()
    text = str(caught.value)
    assert text.startswith(f"Mine.on_book cannot be compiled: {reason}")
    assert text.endswith(f"(on_book, mine.py line {BODY + 1}: {statement})")


def test_the_line_is_that_of_the_method_that_was_called(make):
    body = on_book("self._first(ctx)") + "\n\ndef _first(self, ctx):\n    ctx.bye()"
    with pytest.raises(StrategyError, match=rf"\(_first, mine\.py line {BODY + 4}: ctx\.bye\(\)\)$"):
        make(body)()


def test_a_method_that_calls_itself_would_overflow_the_stack(make):
    body = (
        on_book("self._first(3)") + "\n\ndef _first(self, n):\n    return 1 if n < 0 else self._first(n - 1)"
    )
    with pytest.raises(StrategyError, match=r"a method cannot call itself \(_first, mine\.py line"):
        make(body)()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("def on_book(self, ctx): pass", r"Mine\.on_book takes \(self, ctx, book\)"),
        ("def on_book(self, ctx, book, *rest): pass", r"Mine\.on_book takes \(self, ctx, book\)"),
        ("async def on_book(self, ctx, book): pass", "is async"),
        ("def on_book(self, ctx, book): yield 1", r"Mine\.on_book yields"),
        ("def __init__(self): pass", r"__init__ cannot be compiled: begin in on_start"),
        ("_names: list = []", r"Mine\._names: what a compiled strategy keeps is"),
        ("_late: int", r"Mine\._late: what a compiled strategy keeps is"),
        ("_odd: int = 1.5", r"Mine\._odd: 1\.5 is no int"),
        ("_a = Array(0)", r"has no elements"),
        ("_a = Array(3, str)", "an Array holds float, int or bool"),
    ],
)
def test_a_class_that_cannot_be_compiled_is_refused_when_it_is_declared(make, body, reason):
    with pytest.raises(Exception, match=reason):
        make(body)


def test_only_strategies_are_compiled():
    from engine.strategy.jit import JitStrategy, compiled

    with pytest.raises(StrategyError, match="subclasses of Strategy"):
        compiled(int)
    with pytest.raises(StrategyError, match="has no handlers"):
        JitStrategy()


def fail(kind, **options):
    """The failure of a strategy whose on_book raises, and its venue."""
    kernel, venue = trading(kind(), **options)
    (failure,) = kernel.failures()
    assert kernel.strategy("s0").state == "Error"
    assert failure.callback == "on_book"
    assert failure.traceback.startswith("Traceback")
    assert "in on_book\n" in failure.traceback
    assert ".pyx" not in failure.traceback
    return failure, kernel, venue


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("raise ValueError('no idea')", "ValueError: no idea"),
        ("raise ValueError('at ' + str(ctx.now))", "ValueError: at 1000"),
        ("assert book.mid < 3, 'too high'", "AssertionError: too high"),
        ("self._window[int(book.mid)] = 1.0", "IndexError: index is out of bounds"),
        ("self._x = 1 / self._x", "ZeroDivisionError: division by zero"),
        ("ctx.book(ctx.symbols[5])", "IndexError: tuple index out of range"),
        ("ctx.cancel(77)", "OrderNotFound: no order of that id: order 77"),
        ("ctx.buy(np.nan, 0.1)", "InvalidOrder: price nan is not a number that a price can be"),
        ("ctx.buy(9.0, 0.25)", "InvalidOrder: quantity 0.25 is not a positive number of lots"),
        ("ctx.submit(None, 3, 1.0, 0.1)", "InvalidOrder: side 3 is neither buy nor sell"),
        ("ctx.submit_ticks(None, 1, 1, 1, 9)", "InvalidOrder: unknown order type 9"),
        ("ctx.submit_ticks(None, 1, 1, 1, 0, 9)", "InvalidOrder: unknown time in force 9"),
        ("ctx.set_timer(-5)", "InvalidOrder: a timer's interval"),
        ("ctx.buy(ctx.order(3).px, 0.1)", "TypeError: expected OrderView, got None"),
        ("self._x = self._x % self._x", "ZeroDivisionError"),
        ("x = [1, 2][ctx.now]", "IndexError"),
        ("ctx.log(str(ctx.book(ctx.symbols[1]).best_bid_tick + 1))", "TypeError: expected int64, got None"),
    ],
)  # fmt: skip
def test_a_handler_that_raises_stops_its_strategy(make, statement, message):
    failure, _kernel, _venue = fail(make(on_book(statement)))
    assert failure.message.removeprefix("engine.core.errors.").startswith(message)
    assert failure.where.endswith(f"mine.py:{BODY + 1}")
    assert f"line {BODY + 1}, in on_book\n    {statement}\n{failure.message}" in failure.traceback


def test_the_place_is_in_the_method_that_was_called(make):
    body = on_book("x = 1\nself._first(ctx)\nself._n = x")
    body += "\n\ndef _first(self, ctx):\n    if ctx.now > 0:\n        raise RuntimeError('boom')"
    failure, _kernel, _venue = fail(make(body))
    assert failure.where.endswith(f"mine.py:{BODY + 7}")
    assert "in _first\n" in failure.traceback


def test_the_orders_of_a_strategy_that_raised_are_cancelled(make):
    body = on_book(
        "ctx.buy(90.0, 0.2)\nctx.sell(110.0, 0.2)\nif self._n == 1:\n    raise ValueError('x')\nself._n += 1"
    )
    kernel, venue = trading(make(body)())
    venue.answer()
    assert len(kernel.orders("s0")) == 2
    kernel.market(0, events(("bid", 100.5, 1.0), ts=2000))
    assert kernel.strategy("s0").state == "Error"
    venue.answer()
    venue.answer()
    assert kernel.orders("s0") == []
    assert venue.resting == {}
    cancels = [o["order"] for o in venue.of(REQUEST) if o["order"]["req"] == Status.CANCELED]
    assert len(cancels) == 4
    assert {order["reason"] for order in cancels} <= {Reason.STRATEGY_ERROR, Reason.NONE}
    sent = len(venue.of(REQUEST))
    kernel.market(0, events(("bid", 99.5, 1.0), ts=3000))
    assert len(venue.of(REQUEST)) == sent


def test_the_others_go_on(make):
    from tests.kit.kernels import Recorder

    other = Recorder()
    kernel, _venue = trading(make(on_book("raise ValueError('x')"))(), other)
    kernel.market(0, events(("bid", 100.5, 1.0), ts=2000))
    assert len(other.of("on_book")) == 2
    assert [failure.strategy for failure in kernel.failures()] == ["s0"]


def test_the_exception_is_kept(make):
    kernel, _venue = trading(make(on_book("ctx.buy(np.nan, 0.1)"))())
    with pytest.raises(StrategyError) as caught:
        kernel.raise_failures()
    assert isinstance(caught.value.__cause__, InvalidOrder)
