"""Parameters of strategies: declaration, checks, all or nothing."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import pytest

from engine.core.errors import ConfigError
from engine.strategy.base import Range, Strategy
from engine.strategy.native import MarketMaker
from engine.strategy.params import ParamSpec


class Base(Strategy):
    """Two parameters, and things that are none."""

    edge: Annotated[float, Range(ge=0, le=10, doc="in ticks")] = 1
    count: int = 3
    shared: ClassVar[int] = 5
    _hidden: int = 6
    later: float
    plain = 7


class Derived(Base):
    """More, and one changed."""

    count: Annotated[int, Range(ge=1)] = 4
    on: bool = True
    tag: Annotated[str, "a label"] = "x"


def test_parameters_are_the_annotated_attributes_with_defaults():
    assert list(Base.specs()) == ["edge", "count"]
    assert Base.specs()["edge"] == ParamSpec("edge", "float", 1.0, 0, 10, "in ticks")
    assert list(Derived.specs()) == ["edge", "count", "on", "tag"]
    assert Derived.specs()["count"] == ParamSpec("count", "int", 4, 1)
    assert Derived.specs()["tag"].doc == "a label"
    assert Derived().params() == {"edge": 1.0, "count": 4, "on": True, "tag": "x"}


def test_the_constructor_overrides_defaults_of_the_instance_only():
    strategy = Derived(edge=2, tag="y")
    assert strategy.params() == {"edge": 2.0, "count": 4, "on": True, "tag": "y"}
    assert isinstance(strategy.edge, float)
    assert Derived().tag == "x"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"egde": 1.0}, "unknown parameter egde; it has edge, count, on, tag"),
        ({"later": 1.0}, "unknown"),
        ({"_hidden": 1}, "unknown"),
        ({"edge": -0.1}, r"Derived\.edge: -0\.1 is below 0"),
        ({"edge": 10.5}, "above 10"),
        ({"edge": math.nan}, "finite"),
        ({"edge": math.inf}, "finite"),
        ({"edge": "1"}, "expected float, got str"),
        ({"edge": True}, "expected float, got bool"),
        ({"count": 1.0}, "expected int, got float"),
        ({"count": True}, "expected int, got bool"),
        ({"count": 0}, "below 1"),
        ({"on": 1}, "expected bool"),
        ({"tag": 1}, "expected str"),
    ],
)
def test_a_wrong_value_is_refused_and_nothing_changes(wrong, text):
    with pytest.raises(ConfigError, match=text):
        Derived(**wrong)
    strategy = Derived()
    before = strategy.params()
    with pytest.raises(ConfigError, match=text):
        strategy.update({"tag": "changed", **wrong})
    assert strategy.params() == before


def test_update_changes_what_is_given():
    strategy = Derived()
    strategy.update({"edge": 3, "on": False})
    assert strategy.params() == {"edge": 3.0, "count": 4, "on": False, "tag": "x"}


def test_a_declaration_that_cannot_be_is_refused():
    class Wrong(Strategy):
        sizes: list = []

    class OutOfRange(Strategy):
        edge: Annotated[float, Range(le=1)] = 2.0

    class Unresolved(Strategy):
        edge: Nowhere = 2.0  # noqa: F821

    with pytest.raises(ConfigError, match=r"Wrong\.sizes.*underscore"):
        Wrong()
    with pytest.raises(ConfigError, match="above 1"):
        OutOfRange.specs()
    with pytest.raises(ConfigError, match="Nowhere"):
        Unresolved()


def test_native_parameters_behave_the_same():
    native = MarketMaker(skew=2)
    assert native.params()["skew"] == 2.0
    with pytest.raises(ConfigError, match="unknown parameter skw"):
        MarketMaker(skw=1.0)
    with pytest.raises(ConfigError, match="below 1"):
        native.update({"skew": 3.0, "grid_num": 0})
    assert native.params()["skew"] == 2.0
    native.update({"skew": 3})
    assert native.params()["skew"] == 3.0
