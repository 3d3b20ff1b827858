"""A position and its money: exact lots, average cost, hftbacktest's balance, fees and trade counters.

One struct per (strategy, instrument). Every operation is a handful of double operations: no loops, no
branches that depend on history. Lots are exact integers. ``entry_value`` is what the open part is
worth at its average cost, in the settlement currency (contract value for a linear asset, coin for an
inverse one), so adding, reducing and flipping are the same arithmetic for both kinds of asset; a
position that closes sets it to exactly zero, so rounding never survives a round trip.
"""

from libc.math cimport NAN
from libc.stdint cimport int64_t

from engine.core.ticks cimport to_px, to_qty
from engine.core.types cimport ASSET_LINEAR, Instrument, instrument_amount, instrument_equity


cdef struct Position:
    int64_t lots                 # signed
    double entry_value           # value of the open part at average cost, never negative
    double realized_pnl          # before fees
    double balance               # hftbacktest: minus the signed value of all trades
    double fee                   # paid so far; rebates are negative
    double funding               # paid so far by holding it; negative was received
    double last_px               # of the last execution
    double trading_volume        # quantity units
    double trading_value
    int64_t num_trades


cdef inline void position_apply(
    Position* self, const Instrument* inst, int side, int64_t price_tick, int64_t lots, double fee
) noexcept nogil:
    """Adds an execution of ``lots`` > 0 at ``price_tick`` on ``side`` (1 or -1)."""
    cdef double px = to_px(price_tick, inst.tick_size)
    cdef double qty = to_qty(lots, inst.lot_size)
    cdef double amount = instrument_amount(inst, px, qty)
    cdef int64_t signed_lots = lots if side > 0 else -lots
    cdef int64_t held = self.lots if self.lots >= 0 else -self.lots
    cdef int64_t closed
    cdef double entry, gain
    self.balance -= amount if side > 0 else -amount
    self.fee += fee
    self.last_px = px
    self.num_trades += 1
    self.trading_volume += qty
    self.trading_value += amount
    if held == 0 or (self.lots > 0) == (side > 0):
        self.entry_value += amount
    else:
        closed = lots if lots < held else held
        entry = self.entry_value if closed == held else self.entry_value * (<double>closed / <double>held)
        gain = instrument_amount(inst, px, to_qty(closed, inst.lot_size)) - entry
        # A long gains when its value rises; an inverse asset's value in coin falls as the price rises.
        if (self.lots > 0) == (inst.asset_kind == ASSET_LINEAR):
            self.realized_pnl += gain
        else:
            self.realized_pnl -= gain
        if lots > held:
            self.entry_value = instrument_amount(inst, px, to_qty(lots - held, inst.lot_size))
        else:
            self.entry_value = 0.0 if closed == held else self.entry_value - entry
    self.lots += signed_lots


cdef inline double position_qty(const Position* self, const Instrument* inst) noexcept nogil:
    return to_qty(self.lots, inst.lot_size)


cdef inline double position_avg_px(const Position* self, const Instrument* inst) noexcept nogil:
    """The average cost in price units; NaN when flat."""
    cdef double size
    if self.lots == 0:
        return NAN
    size = inst.contract_size * to_qty(self.lots if self.lots > 0 else -self.lots, inst.lot_size)
    if inst.asset_kind == ASSET_LINEAR:
        return self.entry_value / size
    return size / self.entry_value


cdef inline double position_unrealized(
    const Position* self, const Instrument* inst, double mid
) noexcept nogil:
    """What closing at ``mid`` would realise, before fees; 0 when flat, NaN without a mid."""
    cdef double gain
    if self.lots == 0:
        return 0.0
    gain = instrument_amount(inst, mid, to_qty(self.lots if self.lots > 0 else -self.lots, inst.lot_size))
    gain -= self.entry_value
    return gain if (self.lots > 0) == (inst.asset_kind == ASSET_LINEAR) else -gain


cdef inline double position_equity(const Position* self, const Instrument* inst, double mid) noexcept nogil:
    """hftbacktest's equity, less funding. A flat position needs no mid."""
    if self.lots == 0:
        return (self.balance if inst.asset_kind == ASSET_LINEAR else -self.balance) - self.fee - self.funding
    return instrument_equity(inst, mid, self.balance, to_qty(self.lots, inst.lot_size), self.fee) - self.funding


cdef class PositionKeeper:
    cdef Position position
    cdef Instrument inst
