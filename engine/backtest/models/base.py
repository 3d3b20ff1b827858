"""Latency, queue and fee models written in Python: the bases, and what makes Numba compile one.

A model's parameters are annotated class attributes with defaults, as a strategy's. What it keeps may be any
attribute; for ``@compiled`` it is declared with a leading underscore (``_seen: int = 0``) or as ``Array``.
docs/models.md has an example of each.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any, ClassVar

from engine.core.errors import ModelError
from engine.strategy import params as parameters
from engine.strategy.params import ParamSpec

if TYPE_CHECKING:
    from engine.backtest.order_view import ModelOrder


class Model:
    """What all three kinds have in common. Every run makes its own model of a class, so runs are alike.

    Attributes:
        tick_size: The asset's; set before :meth:`start`.
        lot_size: The asset's.
        contract_size: The asset's.
    """

    tick_size = 0.0
    lot_size = 0.0
    contract_size = 1.0

    calls: ClassVar[tuple[str, ...]] = ()
    """The methods that the venue calls."""
    jit: ClassVar[bool] = False
    """Whether they are compiled."""

    def __init__(self, **params: Any) -> None:
        """Sets parameters.

        Args:
            **params: Values that differ from the defaults.

        Raises:
            ConfigError: A name is unknown, or a value has the wrong type or is out of range.
        """
        for name, value in parameters.check(self.specs(), params, type(self).__name__).items():
            setattr(self, name, value)

    @classmethod
    def specs(cls) -> dict[str, ParamSpec]:
        """The declared parameters by name."""
        return parameters.declared(cls)

    def start(self) -> None:
        """Called once before the run, when the asset's sizes are known; in Python also if ``@compiled``."""


class LatencyModel(Model):
    """How long requests and answers travel."""

    calls = ("entry", "response")

    def entry(self, now: int, order: ModelOrder) -> int:
        """Nanoseconds from sending a request to the venue.

        Args:
            now: When it is sent.
            order: As it is sent; ``req`` is ``NEW``, ``CANCELED`` or ``REPLACED``.

        Returns:
            A negative number refuses the request: the refusal arrives after that long.
        """
        raise ModelError(f"{type(self).__name__} has no entry")

    def response(self, now: int, order: ModelOrder) -> int:
        """Nanoseconds from an answer of the venue, or a fill, to us; at least 0.

        Args:
            now: When the venue answers.
            order: As the venue has it then.
        """
        raise ModelError(f"{type(self).__name__} has no response")


class QueueModel(Model):
    """Where a resting order stands. Only ``depth`` has to be written; the others are the built-in models'."""

    calls = ("rest", "trade", "depth", "filled")

    def rest(self, order: ModelOrder, level_qty: float) -> None:
        """The order comes to rest: sets ``order.queue_ahead``.

        Args:
            order: The order.
            level_qty: What is at its level already.
        """
        order.queue_ahead = level_qty
        order.queue_traded = 0.0

    def trade(self, order: ModelOrder, qty: float) -> None:
        """A trade of ``qty`` printed at the order's price."""
        order.queue_ahead -= qty
        order.queue_traded += qty

    def depth(self, order: ModelOrder, prev_qty: float, new_qty: float) -> None:
        """The order's level changed from ``prev_qty`` to ``new_qty``."""
        raise ModelError(f"{type(self).__name__} has no depth")

    def filled(self, order: ModelOrder) -> float:
        """What trades have eaten beyond everything in front of the order; asked after each trade.

        Returns:
            A quantity that the order fills by, in whole lots; 0 for nothing. It has been taken: the next
            call does not return it again.
        """
        lots = -order.queue_ahead / self.lot_size
        if not lots >= 0.5:
            return 0.0
        # Half a lot counts as one; adding 0.5 first would round twice.
        whole = math.floor(lots)
        order.queue_ahead = 0.0
        return (whole + 1 if lots - whole >= 0.5 else whole) * self.lot_size


class FeeModel(Model):
    """What a fill costs."""

    calls = ("fee",)

    def fee(self, order: ModelOrder, value: float) -> float:
        """The fee of the order's last execution, in the asset's currency; negative is a rebate.

        Args:
            order: With ``exec_qty``, ``exec_price``, ``side`` and ``maker`` of the execution.
            value: What it was worth.
        """
        raise ModelError(f"{type(self).__name__} has no fee")


def compiled(cls: type[Model]) -> type[Model]:
    """Makes of a model the same one with methods that Numba compiles; use it as a decorator.

    With ``NUMBA_DISABLE_JIT=1`` in the environment the class comes back as it is, for a debugger.

    Args:
        cls: The class; ``plain`` of the result has it.

    Raises:
        ModelError: The class is no model. What cannot be compiled raises when a run begins.
    """
    if not isinstance(cls, type) or not issubclass(cls, Model) or not cls.calls:
        bases = "LatencyModel, QueueModel or FeeModel"
        raise ModelError(f"@compiled is for subclasses of {bases}, and {cls!r} is none")
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return cls
    body = {"__doc__": cls.__doc__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls)(cls.__name__, (cls,), {**body, "jit": True, "plain": cls})
