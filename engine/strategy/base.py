"""The base of strategies written in Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from engine.strategy import params as parameters
from engine.strategy.params import ParamSpec, Range

if TYPE_CHECKING:
    from engine.strategy.context import Context
    from engine.strategy.views import BookView, FillView, OrderView, Signal, TradeView

__all__ = ["Range", "Strategy"]


class Strategy:
    """Trades. Override the callbacks that you need; the engine calls no others.

    Parameters are annotated class attributes with defaults::

        class Momentum(Strategy):
            threshold: Annotated[float, Range(ge=0, doc="in ticks")] = 3.0
            order_qty: float = 0.001

    ``Momentum(threshold=5.0)`` overrides them; unknown names, wrong types and values out of range are
    errors. They can be changed while the strategy runs: all that are given, or none of them.

    A callback that raises puts the strategy into the state Error: it is called no more, its orders are
    cancelled, the traceback is logged (and is in a backtest's result), and the engine goes on.
    """

    _specs: ClassVar[dict[str, ParamSpec] | None] = None

    def __init__(self, **params: Any) -> None:
        """Sets parameters.

        Args:
            **params: Values that differ from the defaults.

        Raises:
            ConfigError: A name is unknown, or a value has the wrong type or is out of range.
        """
        for name, value in parameters.check(type(self).specs(), params, type(self).__name__).items():
            setattr(self, name, value)

    @classmethod
    def specs(cls) -> dict[str, ParamSpec]:
        """The declared parameters by name.

        Raises:
            ConfigError: A declaration is wrong.
        """
        if "_specs" not in cls.__dict__ or cls._specs is None:
            cls._specs = parameters.declared(cls)
        return cls._specs

    def params(self) -> dict[str, Any]:
        """The present values of all parameters."""
        return {name: getattr(self, name) for name in type(self).specs()}

    def update(self, params: Mapping[str, Any]) -> None:
        """Changes parameters: all or none.

        Args:
            params: Names and new values.

        Raises:
            ConfigError: As the constructor; nothing has changed then.
        """
        for name, value in parameters.check(type(self).specs(), params, type(self).__name__).items():
            setattr(self, name, value)

    def on_start(self, ctx: Context) -> None:
        """Called once, at the time of the first event and before it is applied."""

    def on_book(self, ctx: Context, book: BookView) -> None:
        """A feed message has been applied to a book."""

    def on_trade(self, ctx: Context, trade: TradeView) -> None:
        """A public trade."""

    def on_order(self, ctx: Context, order: OrderView) -> None:
        """An order changed: acknowledged, modified, executed, ended, or denied by the risk checks."""

    def on_fill(self, ctx: Context, fill: FillView) -> None:
        """An order was executed, wholly or in part; called after ``on_order``."""

    def on_timer(self, ctx: Context, now: int) -> None:
        """The timer that ``ctx.set_timer`` armed is due."""

    def on_signal(self, ctx: Context, signal: Signal) -> None:
        """A signal from outside: a model's prediction, an operator's hint."""

    def on_params(self, ctx: Context) -> None:
        """Parameters were changed by :meth:`update`."""

    def on_stop(self, ctx: Context) -> None:
        """Called once at the end, before the strategy's orders are cancelled; no new orders any more."""
