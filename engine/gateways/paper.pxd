"""The paper venue: the backtest's own exchange side, pushed event by event by whoever has a live stream.

Asking what is due next costs two compares an instrument; the rest costs what the exchange side costs
(backtest/exchange.pxd). The same stream gives the fills of a backtest, at any speed.
"""

from libc.stdint cimport uint16_t

from engine.backtest.exchange cimport Exchange
from engine.gateways.venue cimport Venue


cdef class Paper(Venue):
    cdef Exchange* venues
    cdef list custom             # models of each instrument that are not built in
    cdef readonly uint16_t n_instruments
    cdef list latencies
