"""Strategies that hold what no file can give back."""

from __future__ import annotations

import sys

from engine.strategy.base import Strategy
from tests.kit.runs import Trader


class Holder(Strategy):
    """Holds a function of its own."""

    def on_start(self, ctx):
        self.rule = lambda px: px + 1


class Sets(Strategy):
    """Holds numbers in no order."""

    def on_start(self, ctx):
        self.seen = {1, 2, 3}


class Elsewhere(Trader):
    """Counts books in its class, where no snapshot looks, and trades by it."""

    counted = 0

    @staticmethod
    def forget():
        """As a new process has it."""
        for module in list(sys.modules.values()):
            if hasattr(module, "Elsewhere"):
                module.Elsewhere.counted = 0

    def on_book(self, ctx, book):
        type(self).counted += 1
        self.n = type(self).counted
        super().on_book(ctx, book)
