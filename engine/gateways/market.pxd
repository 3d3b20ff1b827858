"""A market within: matchers on which our strategies and a population of agents trade with each other.

What it is
    For each instrument a matcher, on which every order is real, and whoever trades on it: the agents of a market law,
    and the kernel's strategies, each with an owner number of its own. Requests and answers travel with the
    instrument's latencies, market data with the law's. What a strategy gets to hear is its own orders alone; what
    everybody sees is price levels and trades, as of any other venue.

What it costs
    A request: a map probe for our own record of the order, the matcher's work, an answer for each thing that happened
    to it. An agent's action costs what agents.pxd says, and a probe where it met an order of ours.

The bad case
    A strategy whose order meets hundreds of small ones: an answer each. Rows and answers that wait for their time
    lie in rings that double when they are full; nothing else is allocated after the start.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t

from engine.backtest.bus cimport OrderBus
from engine.backtest.fees cimport FeeModel
from engine.backtest.latency cimport LatencyModel
from engine.backtest.order cimport SimOrder
from engine.core.idmap cimport IdTable
from engine.core.types cimport Event, Instrument
from engine.gateways.venue cimport Venue
from engine.matching.agents cimport Agents


# What an owner has come to: bought less sold, and what was paid for it less what was received.
cdef struct Account:
    int64_t position             # lots
    int64_t cash                 # ticks times lots, negative when more was paid


# Market data on its way to us.
cdef struct RowRing:
    Event* rows
    uint32_t mask
    uint32_t head                # next to take
    uint32_t tail                # next to fill


cdef struct Floor:
    Agents* agents
    Instrument instrument
    FeeModel fees
    LatencyModel entry           # of requests
    LatencyModel response        # of answers; two, because interpolation remembers where it is
    OrderBus requests            # on their way to the matcher
    OrderBus responses           # on their way back
    RowRing seen
    SimOrder* orders             # the slab of our live orders; free ones are linked through next_handle
    IdTable ids                  # order_id to handle + 1
    uint32_t capacity
    uint32_t free
    uint32_t taken               # handle of the order whose request has been taken but not answered yet, or NIL
    Account* accounts            # [n_owners], by owner
    uint32_t n_owners
    uint16_t number              # of the instrument
    int code                     # of what failed while the matcher was telling us


cdef class MarketVenue(Venue):
    cdef Floor* floors
    cdef readonly uint16_t n_instruments
    # Of each instrument, which own agents and matcher: a tuple, because the collector empties lists early.
    cdef readonly tuple markets
    cdef dict numbers            # instrument by symbol
