"""Funding payments of one asset: what is due next, and how much a position pays.

At its time a long position pays the rate of its value, a short one receives it; whoever works an asset off stops at
``next_ts`` to have that done, once everything of that instant has happened, and keeps the sum.
"""

from libc.stdint cimport INT64_MAX, int64_t

from engine.core.types cimport Instrument, instrument_amount


# A payment to come: at `ts` a long position pays `rate` of its value at `px`, NaN for the mid price then.
cdef struct FundingRow:
    int64_t ts
    double rate
    double px


cdef struct Funding:
    int64_t next_ts              # INT64_MAX when there is none
    const FundingRow* next
    const FundingRow* end


cdef class FundingRates:
    cdef Funding funding         # from the first payment on; copies follow it by themselves
    cdef object rows


cdef inline void funding_pass(Funding* funding) noexcept nogil:
    """Goes on to the payment after the one that is due."""
    funding.next += 1
    funding.next_ts = funding.next.ts if funding.next != funding.end else INT64_MAX


cdef inline double funding_due(
    const Funding* funding, const Instrument* instrument, double position, double mid, double last_px
) noexcept nogil:
    """What a position pays of the payment that is due, in the currency of the balance.

    ``mid`` is NaN for a book without both sides: then ``last_px`` counts, of the position's last fill.
    """
    cdef double px = funding.next.px
    if px != px:
        px = mid if mid == mid else last_px
    return funding.next.rate * instrument_amount(instrument, px, position)
