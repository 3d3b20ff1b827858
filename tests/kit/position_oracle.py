"""A position in exact fractions: the slow and obvious twin of engine/risk/position.pxd."""

from __future__ import annotations

from fractions import Fraction


class ExactPosition:
    """Average cost, realized PnL and hftbacktest's balance, without rounding.

    Each execution is taken apart into what closes and what opens; values are prices times size for a
    linear asset and size divided by prices, in coin, for an inverse one.
    """

    def __init__(self, tick: Fraction, lot: Fraction, contract: Fraction, *, inverse: bool) -> None:
        """An empty position in an instrument."""
        self.tick, self.lot, self.contract, self.inverse = tick, lot, contract, inverse
        self.lots = 0
        self.avg_px: Fraction | None = None
        self.realized = self.balance = self.fee = Fraction(0)
        self.volume = self.value = Fraction(0)
        self.trades = 0

    def worth(self, px: Fraction, lots: int) -> Fraction:
        """The value of ``lots`` at a price."""
        size = self.contract * self.lot * lots
        return size / px if self.inverse else size * px

    def gain(self, entry: Fraction, exit_px: Fraction, lots: int) -> Fraction:
        """What signed ``lots`` gain from one price to another."""
        if self.inverse:
            return self.worth(entry, lots) - self.worth(exit_px, lots)
        return self.worth(exit_px, lots) - self.worth(entry, lots)

    def apply(self, side: int, tick: int, lots: int, fee: Fraction) -> None:
        """Adds an execution."""
        px = tick * self.tick
        self.balance -= side * self.worth(px, lots)
        self.fee += fee
        self.volume += self.lot * lots
        self.value += self.worth(px, lots)
        self.trades += 1
        closing = min(lots, max(0, -side * self.lots))
        if closing:
            self.realized += self.gain(self.avg_px, px, -side * closing)
            self.lots += side * closing
            lots -= closing
            if self.lots == 0:
                self.avg_px = None
        if lots:
            held = abs(self.lots)
            if held == 0:
                self.avg_px = px
            elif self.inverse:
                # The average whose value in coin is that of the parts.
                self.avg_px = (held + lots) / (held / self.avg_px + lots / px)
            else:
                self.avg_px = (held * self.avg_px + lots * px) / (held + lots)
            self.lots += side * lots

    def unrealized(self, mid: Fraction) -> Fraction:
        """What closing at ``mid`` would gain."""
        return Fraction(0) if self.lots == 0 else self.gain(self.avg_px, mid, self.lots)

    def equity(self, mid: Fraction) -> Fraction:
        """hftbacktest's equity."""
        signed = self.worth(mid, self.lots)
        return (-self.balance - signed if self.inverse else self.balance + signed) - self.fee
