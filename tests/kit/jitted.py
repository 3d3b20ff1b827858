"""Strategies of this kit with compiled handlers, by the names of their classes."""

from __future__ import annotations

from engine.strategy.base import Strategy
from engine.strategy.jit import compiled
from tests.kit import reader, talker

Reader = compiled(reader.Reader)
Talker = compiled(talker.Talker)


@compiled
class Signals(Strategy):
    """Keeps sums of the signals called trend, and writes down the others."""

    _told: int = 0
    _when: int = 0
    _value: float = 0.0
    _second: bool = False

    def on_signal(self, ctx, signal):
        if signal.name != "trend":
            ctx.log(signal.name + " " + str(signal.value))
            return
        self._told += 1
        self._when += signal.ts
        self._value += signal.value
        if signal.symbol:
            self._second = ctx.symbols[1] == signal.symbol
            ctx.log(f"{ctx.position_lots(signal.symbol)} {signal.value}")
        else:
            ctx.log(f"all {signal.value}")
