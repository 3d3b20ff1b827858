"""The seeded simulated market: an endless source of depth and trade events; simulated.pxd says how it works."""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from engine.core.random cimport (
    random_below,
    random_chance,
    random_draw,
    random_exponential,
    random_log_uniform,
    random_seed,
    random_splitmix,
)
from engine.core.ticks cimport round_half_away
from engine.core.types cimport (
    EV_BUY,
    EV_EXCH,
    EV_LOCAL,
    EV_SELL,
    EVENT_DEPTH,
    EVENT_DEPTH_CLEAR,
    EVENT_DEPTH_SNAPSHOT,
    EVENT_TRADE,
    Event,
)

import numpy as np

from engine.core.errors import ConfigError, InvariantError
from engine.core.types import event_dtype
from engine.feeds.generated import START_TS, GeneratedMarket


cdef enum:
    MIN_LEVELS = 24              # a side with fewer is only added to
    PRUNED = 24                  # far levels removed in one step at most
    FAR_FROM_FAIR = 1000         # the fair price waits for the book beyond

cdef extern from *:
    """
    #define MS 1000000.0
    """
    const double MS


# --- the book and its rows -----------------------------------------------------------------------

cdef inline int64_t* _at(Market* m, int64_t tick) noexcept nogil:
    return &m.lots[tick & (MARKET_WIDTH - 1)]


cdef inline void _emit(Market* m, uint64_t ev, int64_t tick, int64_t lots) noexcept nogil:
    cdef Event* row = &m.pending[m.n_pending]
    m.n_pending += 1
    row.ev = ev | EV_EXCH | EV_LOCAL
    row.exch_ts = m.now
    row.local_ts = m.local
    row.px = <double>tick * m.tick_size
    row.qty = <double>lots * m.lot_size


cdef void _set_bid(Market* m, int64_t tick, int64_t lots, uint64_t kind) noexcept nogil:
    cdef int64_t* at = _at(m, tick)
    m.n_bids += (lots != 0) - (at[0] != 0)
    at[0] = lots
    if lots:
        m.bid = max(m.bid, tick)
        m.low = min(m.low, tick)
    while _at(m, m.bid)[0] == 0:
        m.bid -= 1
    _emit(m, kind | EV_BUY, tick, lots)


cdef void _set_ask(Market* m, int64_t tick, int64_t lots, uint64_t kind) noexcept nogil:
    cdef int64_t* at = _at(m, tick)
    m.n_asks += (lots != 0) - (at[0] != 0)
    at[0] = lots
    if lots:
        m.ask = min(m.ask, tick)
        m.high = max(m.high, tick)
    while _at(m, m.ask)[0] == 0:
        m.ask += 1
    _emit(m, kind | EV_SELL, tick, lots)


cdef inline void _set(Market* m, bint is_bid, int64_t tick, int64_t lots) noexcept nogil:
    if is_bid:
        _set_bid(m, tick, lots, EVENT_DEPTH)
    else:
        _set_ask(m, tick, lots, EVENT_DEPTH)


# Removes levels that the market has left far behind, which also keeps both sides within the array.
cdef void _prune(Market* m) noexcept nogil:
    cdef int64_t keep = <int64_t>5 << (m.reach_bits - 2)
    cdef int removed = 0
    while m.low < m.bid - keep and removed < PRUNED:
        if _at(m, m.low)[0]:
            _set_bid(m, m.low, 0, EVENT_DEPTH)
            removed += 1
        m.low += 1
    while m.high > m.ask + keep and removed < PRUNED:
        if _at(m, m.high)[0]:
            _set_ask(m, m.high, 0, EVENT_DEPTH)
            removed += 1
        m.high -= 1


# --- what participants do ------------------------------------------------------------------------

cdef inline int64_t _order_lots(Market* m, int64_t distance) noexcept nogil:
    return random_log_uniform(m.rng, 12 if distance > 1 else 13)


# Takes from the best up to `lots`, no further than `limit`, and never the side's last levels: the trades,
# then the levels they leave.
cdef void _take(Market* m, bint buys, int64_t lots, int64_t limit) noexcept nogil:
    cdef int64_t ticks[MARKET_SWEEP]
    cdef int64_t left[MARKET_SWEEP]
    cdef int64_t step = 1 if buys else -1
    cdef int64_t tick = m.ask if buys else m.bid
    cdef uint32_t spare = (m.n_asks if buys else m.n_bids) - MIN_LEVELS
    cdef int n = 0
    cdef int i
    cdef int64_t here, taken
    while lots and n < MARKET_SWEEP and (limit - tick) * step >= 0 and spare:
        here = _at(m, tick)[0]
        if here:
            taken = min(here, lots)
            lots -= taken
            _emit(m, EVENT_TRADE | (EV_BUY if buys else EV_SELL), tick, taken)
            ticks[n] = tick
            left[n] = here - taken
            n += 1
            spare -= 1
        tick += step
    for i in range(n):
        _set(m, not buys, ticks[i], left[i])


# Makers pull what the fair price has passed, outermost first, so that the best moves once.
cdef void _pull(Market* m, bint asks) noexcept nogil:
    cdef int64_t ticks[MARKET_SWEEP]
    cdef int64_t step = 1 if asks else -1
    cdef int64_t tick = m.ask if asks else m.bid
    cdef int64_t limit = m.fair if asks else m.fair + 1
    cdef uint32_t spare = (m.n_asks if asks else m.n_bids) - MIN_LEVELS
    cdef int n = 0
    while n < MARKET_SWEEP and (limit - tick) * step >= 0 and spare:
        if _at(m, tick)[0]:
            ticks[n] = tick
            n += 1
            spare -= 1
        tick += step
    while n:
        n -= 1
        _set(m, not asks, ticks[n], 0)


# The fair price has passed the best of a side: its makers pull, or somebody takes it.
cdef void _catch_up(Market* m, bint up) noexcept nogil:
    cdef int64_t tick
    if (m.n_asks if up else m.n_bids) <= MIN_LEVELS:
        tick = random_log_uniform(m.rng, m.reach_bits)
        tick = m.fair + tick if up else m.fair + 1 - tick
        _set(m, not up, tick, _at(m, tick)[0] + _order_lots(m, 2))
    elif random_chance(m.rng, 400):
        _take(m, up, random_log_uniform(m.rng, 12), m.fair if up else m.fair + 1)
    else:
        _pull(m, up)


cdef void _take_noise(Market* m) noexcept nogil:
    cdef bint buys
    cdef int64_t lots = random_log_uniform(m.rng, 8)
    if m.burst and random_chance(m.rng, 768):
        buys = m.burst > 0
    else:
        buys = random_draw(m.rng) >> 63
    if random_chance(m.rng, 24):
        lots *= 16
    if (m.n_asks if buys else m.n_bids) > MIN_LEVELS:
        _take(m, buys, lots, m.ask + 8 if buys else m.bid - 8)


# A limit order or a cancel, equally likely at any distance; as cancels take a share of what is there, the
# depth settles where both are equal.
cdef void _place_or_cancel(Market* m) noexcept nogil:
    cdef bint is_bid = random_draw(m.rng) >> 63
    cdef int64_t distance = random_log_uniform(m.rng, m.reach_bits) - 1
    cdef int64_t tick = m.bid - distance if is_bid else m.ask + distance
    cdef int64_t lots = _at(m, tick)[0]
    cdef bint thin = (m.n_bids if is_bid else m.n_asks) <= MIN_LEVELS
    if lots == 0 or thin or random_chance(m.rng, 512):
        _set(m, is_bid, tick, lots + _order_lots(m, distance))
    elif random_chance(m.rng, 512 if distance else 12):
        _set(m, is_bid, tick, 0)
    else:
        _set(m, is_bid, tick, lots - <int64_t>random_below(m.rng, <uint64_t>min(lots, 1 << 30)))


# Closes a gap at the touch with a new best at the fair price.
cdef void _improve(Market* m) noexcept nogil:
    if m.bid < m.fair and (m.ask == m.fair + 1 or random_draw(m.rng) >> 63):
        _set(m, True, m.fair, _order_lots(m, 0))
    else:
        _set(m, False, m.fair + 1, _order_lots(m, 0))


# --- time ----------------------------------------------------------------------------------------

cdef void _jump(Market* m) noexcept nogil:
    cdef int64_t size = random_log_uniform(m.rng, m.jump_bits)
    cdef int64_t middle = (m.bid + m.ask) >> 1
    cdef int64_t lean = m.drift + 12000 * m.burst
    if <int64_t>random_below(m.rng, 65536) >= 32768 + lean:
        size = -size
    # The fair price stays near the book, and the book above zero.
    if -FAR_FROM_FAIR < m.fair + size - middle < FAR_FROM_FAIR and m.fair + size > (<int64_t>2 << m.reach_bits):
        m.fair += size
    # The drift is a slow random walk that is pulled back to none.
    m.drift += <int64_t>random_below(m.rng, 513) - 256 - m.drift // 256
    m.next_jump = m.now + random_exponential(m.rng, m.mean_jump / (4.0 if m.burst else 1.0))


cdef void _pass_time(Market* m) noexcept nogil:
    cdef bint hurried = m.ask <= m.fair or m.bid > m.fair
    cdef double gap = 0.15 * MS / m.rate if hurried else m.mean_gap / (2.5 if m.burst else 1.0)
    m.now += random_exponential(m.rng, gap)
    if m.burst and m.now >= m.burst_end:
        m.burst = 0
    if m.now >= m.next_burst:
        m.burst = 1 if random_draw(m.rng) >> 63 else -1
        m.burst_end = m.now + random_exponential(m.rng, 700.0 * MS / m.rate)
        m.next_burst = m.burst_end + random_exponential(m.rng, 15000.0 * MS / m.rate)
    if m.now >= m.next_jump:
        _jump(m)
    # A millisecond and a heavy tail to the feed's receiver, which gets rows in order.
    m.local = max(m.local, m.now + 1000000 + (random_log_uniform(m.rng, 9) << 14))


cdef void _step(Market* m) noexcept nogil:
    _pass_time(m)
    if m.ask <= m.fair:
        _catch_up(m, True)
    elif m.bid > m.fair:
        _catch_up(m, False)
    elif (m.bid < m.fair or m.ask > m.fair + 1) and random_chance(m.rng, 700):
        _improve(m)
    elif random_chance(m.rng, 140 if m.burst else 48):
        _take_noise(m)
    else:
        _place_or_cancel(m)
    _prune(m)


# --- the opening ---------------------------------------------------------------------------------

# A book around the fair price, as long trading leaves it: four ticks in five have a level.
cdef void _build(Market* m) noexcept nogil:
    cdef int64_t distance
    m.bid = m.low = m.fair
    m.ask = m.high = m.fair + 1
    for distance in range(<int64_t>1 << m.reach_bits):
        if distance == 0 or random_chance(m.rng, 819):
            _at(m, m.fair - distance)[0] = _order_lots(m, distance)
            m.low = m.fair - distance
            m.n_bids += 1
        if distance == 0 or random_chance(m.rng, 819):
            _at(m, m.fair + 1 + distance)[0] = _order_lots(m, distance)
            m.high = m.fair + 1 + distance
            m.n_asks += 1


# The next row of the opening, if there is a level: a clear of both sides, then the snapshot.
cdef void _open(Market* m) noexcept nogil:
    cdef int64_t n = <int64_t>1 << m.reach_bits
    cdef int64_t i = <int64_t>m.snapshot_row - 1
    cdef int64_t tick
    m.snapshot_row += 1
    if i < 0:
        _emit(m, EVENT_DEPTH_CLEAR, 0, 0)
        return
    tick = m.fair - i if i < n else m.fair + 1 + (i - n)
    if _at(m, tick)[0]:
        _emit(m, EVENT_DEPTH_SNAPSHOT | (EV_BUY if i < n else EV_SELL), tick, _at(m, tick)[0])


cdef Py_ssize_t market_fill(Market* market, Event* rows, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t done = 0
    cdef uint32_t ready
    while done < n:
        if market.taken == market.n_pending:
            market.taken = market.n_pending = 0
            if market.snapshot_row <= <uint32_t>2 << market.reach_bits:
                _open(market)
            else:
                _step(market)
            if market.now >= market.end:
                market.n_pending = 0
                break
        ready = <uint32_t>min(<Py_ssize_t>(market.n_pending - market.taken), n - done)
        memcpy(rows + done, &market.pending[market.taken], ready * sizeof(Event))
        market.taken += ready
        done += ready
    return done


# --- Python's face -------------------------------------------------------------------------------

# One pass over the market's time.
@cython.final
cdef class _Pass:
    cdef Market* market

    def __cinit__(self, source, uint64_t seed, int64_t start_tick, int64_t end):
        cdef Market* m = <Market*>calloc(1, sizeof(Market))
        cdef double ticks = <double>start_tick
        if m == NULL:
            raise MemoryError
        self.market = m
        random_seed(m.rng, seed)
        m.tick_size = source.tick_size
        m.lot_size = source.lot_size
        m.rate = source.rate
        m.now = source.start_ts
        m.local = source.start_ts + 1000000
        m.end = end
        m.fair = start_tick
        # Orders reach, and the price jumps, as far as they do at 600,000 ticks, in proportion to the price.
        m.reach_bits = 6
        while m.reach_bits < 11 and ticks >= <double>(<int64_t>8 << m.reach_bits):
            m.reach_bits += 1
        m.jump_bits = 1
        while m.jump_bits < 9 and ticks >= 9000.0 * <double>(<int64_t>2 << m.jump_bits):
            m.jump_bits += 1
        m.mean_gap = 1.1 * MS / m.rate
        m.mean_jump = 250.0 * MS / m.rate
        if ticks < 18000.0:
            m.mean_jump *= (18000.0 / ticks) * (18000.0 / ticks)
        m.next_jump = m.now + random_exponential(m.rng, m.mean_jump)
        m.next_burst = m.now + random_exponential(m.rng, 15000.0 * MS / m.rate)
        _build(m)

    def __dealloc__(self):
        free(self.market)

    def fill(self, Event[::1] rows):
        """Writes the next rows; returns how many, less than there is room for only at the end."""
        cdef Py_ssize_t n
        if rows.shape[0] == 0:
            return 0
        with nogil:
            n = market_fill(self.market, &rows[0], rows.shape[0])
        return n

    def check_invariants(self):
        """Raises InvariantError if the book contradicts itself: crossed, thin, miscounted or out of bounds."""
        cdef Market* m = self.market
        cdef int64_t tick
        cdef uint32_t bids = 0
        cdef uint32_t asks = 0
        for tick in range(m.low, m.bid + 1):
            bids += _at(m, tick)[0] > 0
        for tick in range(m.ask, m.high + 1):
            asks += _at(m, tick)[0] > 0
        if (
            not 0 < m.low <= m.bid < m.ask <= m.high < m.low + MARKET_WIDTH
            or not (bids == m.n_bids and asks == m.n_asks and min(bids, asks) > 0)
            or not (_at(m, m.bid)[0] > 0 and _at(m, m.ask)[0] > 0)
        ):
            raise InvariantError(
                f"simulated book: bids {m.low} to {m.bid}, {bids} of {m.n_bids}; "
                f"asks {m.ask} to {m.high}, {asks} of {m.n_asks}"
            )


class SimulatedMarket(GeneratedMarket):
    """A simulated market of one instrument: the same arguments give the same bytes on every machine.

    It opens with a clear of both sides and a snapshot. The book is never crossed nor empty, trades are
    printed with the taker's side before the levels they changed, and ``local_ts`` is in order. At the
    default sizes it resembles a busy perpetual: some 1,100 rows and 70 trades a second, mostly one tick wide.

    Args:
        symbol: The instrument; two symbols of one seed are different markets.
        seed: What the market depends on, at least 0.
        tick_size: The price of one tick.
        lot_size: The quantity of one lot.
        start_px: The fair price at the start, at least 512 ticks.
        start_ts: When the market opens, nanoseconds since the epoch.
        rate: How many times as fast everything happens.
        seconds: How long the market lasts; for ever by default.
        epoch: Counts restarts: a feed that resumes a market at a later ``start_ts`` and ``start_px`` gets
            other draws by another epoch.
        chunk_rows: Rows of a chunk; the market does not depend on it.

    Raises:
        ConfigError: An argument is out of its range; the message names it.
    """

    def __init__(
        self,
        symbol,
        *,
        seed=7,
        tick_size=0.1,
        lot_size=0.001,
        start_px=60000.0,
        start_ts=START_TS,
        rate=1.0,
        seconds=None,
        epoch=0,
        chunk_rows=4096,
    ):
        super().__init__(
            symbol,
            f"simulated market {symbol}, seed {seed}",
            seed=seed,
            tick_size=tick_size,
            lot_size=lot_size,
            start_px=start_px,
            start_ts=start_ts,
            rate=rate,
            seconds=seconds,
            epoch=epoch,
            chunk_rows=chunk_rows,
            ticks=(512, 10**12),
        )

    def _begin(self, end):
        # FNV-1a of the symbol, so that it does not depend on Python's salted hash.
        digest = 0xCBF29CE484222325
        for byte in self.symbol.encode():
            digest = (digest ^ byte) * 0x100000001B3 & (2**64 - 1)
        cdef uint64_t state = digest ^ self.seed
        state = random_splitmix(&state) ^ self.epoch
        cdef uint64_t seed = random_splitmix(&state)
        return _Pass(self, seed, round_half_away(self.start_px / self.tick_size), end).fill
