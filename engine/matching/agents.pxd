"""The population of a simulated market: who trades on a matcher, when, and what everybody sees of it.

What it is
    A crowd without memory (limit orders, cancellations and market orders by the rates of a market law), and
    traders with one: makers that quote around a shared reference and lean against their position, informed
    ones that know the fair value, momentum and mean-reversion traders. Each has an owner number and sends
    commands to the same matcher that anybody else's orders go to. The crowd's orders are one Poisson process
    whose rate is the sum of all placements and cancellations; everything else waits in a heap of timers.
    Market orders are a Hawkes process made as what it is, a process of clusters: each schedules its children.

What it costs
    A command of the crowd: three draws, a table look-up each for distance and size, the matcher's work and a
    row for each trade and each changed level. A timer: log2 of their number. Nothing is allocated after start.

The bad case
    A large market order in a thin book, whose every trade and level is a row.

Only integer arithmetic and single IEEE operations decide anything, so a seed gives the same commands on
every machine.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from engine.core.types cimport Event
from engine.matching.crowd cimport CROWD_ZONES, Crowd
from engine.matching.book cimport MatchFlush, Matcher
from engine.matching.records cimport MatchCommand, MatchEvent, MatchResult


cdef extern from *:
    """
    /* Order ids from here on are never an agent's. */
    #define AGENTS_EXTERNAL_IDS (1ULL << 60)
    """
    const uint64_t AGENTS_EXTERNAL_IDS

cdef enum:
    AGENTS_TRADERS = 32          # besides the crowd
    AGENTS_QUOTES = 4            # of a trader and side at most
    AGENTS_TIMERS = 8192
    AGENTS_KERNELS = 3
    AGENTS_REGIMES = 4
    AGENTS_TABLE = 1024          # equally likely values of a distribution
    AGENTS_TAKES = 4096          # the same of market orders' sizes, whose tail matters more
    AGENTS_CHILDREN = 8          # of one kernel and side at most
    AGENTS_OWNERS = 64           # whose positions are kept
    AGENTS_PENDING = 32768       # rows of one command at most

cdef enum AgentOwner:
    OWNER_CROWD = 1
    OWNER_TAKERS = 2
    OWNER_TRADERS = 3            # the first trader
    OWNER_EXTERNAL = 40          # the first owner that is no agent

cdef enum TimerKind:
    TIMER_CLUSTER = 1            # a market order that nothing brought about
    TIMER_CHILD = 2              # one that another brought about; who: 1 buys, 0 sells
    TIMER_LOOK = 3               # a trader looks; who: which
    TIMER_FAIR = 4               # the fair value moves; who: 0 by itself, 1 up and 2 down after another move
    TIMER_REGIME = 5             # a regime of activity is drawn anew; who: which
    TIMER_NEWS = 6
    TIMER_CALM = 7               # the excitement after news halves

cdef enum TraderKind:
    TRADER_MAKER = 1
    TRADER_INFORMED = 2
    TRADER_MOMENTUM = 3
    TRADER_REVERSION = 4

cdef struct Timer:
    int64_t ts
    uint32_t kind
    uint32_t who

cdef struct Trader:
    double gap                   # nanoseconds between two looks
    int64_t lots
    int64_t edge                 # ticks
    int64_t average              # of the mid price, in 1/512 ticks; 0 before the first look
    uint32_t kind
    uint32_t quotes              # a side
    uint64_t bids[AGENTS_QUOTES] # order ids, 0 for none
    uint64_t asks[AGENTS_QUOTES]

# The law, in the units of the simulation.
cdef struct AgentLaw:
    double gap_unit              # nanoseconds between two actions of the crowd at a rate of 2**-20 a second
    double cluster_gap           # nanoseconds between market orders that nothing brought about
    double child_gap[AGENTS_KERNELS]
    double fair_gap
    double again_gap             # nanoseconds until a move that another brought about
    double news_gap
    double news_ticks
    double calm_gap
    double regime_gap[AGENTS_REGIMES]
    double busy                  # factors of a regime
    double calm
    double tick_size
    double lot_size
    double ticks_per_unit        # of price, or 0: then prices are ticks times tick_size
    double lots_per_unit
    int64_t arriving             # limit orders, in 2**-20 a second
    int64_t sweep                # ticks behind the best that a market order goes at most
    uint32_t kernels
    uint32_t follow              # out of 1024, as the next two
    uint32_t again
    uint32_t along
    uint32_t near_bins           # from this one on sizes are those of far orders
    uint32_t edges[CROWD_ZONES + 1]
    uint32_t scale[CROWD_ZONES]  # of a bin's lots, in 1/4096
    uint8_t bins[AGENTS_TAKES]   # equally likely bins of distance
    int32_t lots[3][AGENTS_TABLE]
    int32_t take_lots[AGENTS_TAKES]
    int32_t moves[AGENTS_TABLE]  # of the fair value
    int64_t latency[AGENTS_TABLE]
    uint32_t children[AGENTS_KERNELS][2][AGENTS_CHILDREN]  # own, other side: P(more than i) in 2**-32

cdef struct Agents:
    uint64_t rng[4]
    Matcher* venue               # the caller's, without orders at the start
    MatchFlush listener          # hears all events too, unless NULL: somebody whose orders are not agents'
    void* listening              # its context
    int64_t now                  # of the last command
    int64_t local                # when the last row was received
    int64_t crowd_ts             # when the crowd acts next
    int64_t fair
    int64_t reference            # the greatest tick that makers bid
    int64_t gap_bid              # bests of the gap whose fate is drawn
    int64_t gap_ask
    double activity
    double excited               # 1 in calm, more after news
    uint64_t commands
    uint64_t takes
    uint32_t n_traders
    uint32_t n_timers
    int32_t refused              # 1 or -1: makers did not follow a gap in asks or bids, the last time
    uint32_t open_bin            # of the opening: the bin and how many orders of it are still to come
    uint32_t open_left
    uint32_t n_pending
    uint32_t taken
    uint8_t regimes[AGENTS_REGIMES]
    uint8_t lost                 # set when a row or an order found no room: a bug or a hostile command
    MatchCommand command
    MatchResult result
    int64_t position[AGENTS_OWNERS]
    double open_orders[CROWD_ZONES]
    Crowd crowd
    Trader traders[AGENTS_TRADERS]
    Timer timers[AGENTS_TIMERS]
    Event pending[AGENTS_PENDING]
    AgentLaw law


# Draws the first timers; everything else is the caller's to have filled. A tick to start around.
cdef void agents_start(Agents* agents, int64_t tick, int64_t ts) noexcept nogil
# The same without agents: nothing happens but what others send.
cdef void agents_absent(Agents* agents, int64_t ts) noexcept nogil
# When the next action is.
cdef int64_t agents_next(const Agents* agents) noexcept nogil
# Sends `command` to the matcher and keeps the books of it; the result code. Anybody's command goes this way.
cdef int agents_send(Agents* agents) noexcept nogil
# What the matcher says: rows, positions, orders that are gone. The matcher's `flush`, with the agents as context.
cdef void agents_events(void* context, const MatchEvent* events, uint32_t n) noexcept nogil
# One action, at its time; false when that is at or after `end`.
cdef bint agents_step(Agents* agents, int64_t end) noexcept nogil
# Writes at most n rows; less only when the next action is at or after `end`.
cdef Py_ssize_t agents_fill(Agents* agents, Event* rows, Py_ssize_t n, int64_t end) noexcept nogil
