"""The population of a simulated market, acting; agents.pxd says who they are."""

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from engine.core.codes cimport OK
from engine.core.random cimport random_chance, random_draw, random_exponential
from engine.core.types cimport (
    EV_BUY,
    EV_EXCH,
    EV_LOCAL,
    EV_SELL,
    EVENT_DEPTH,
    EVENT_DEPTH_CLEAR,
    EVENT_DEPTH_SNAPSHOT,
    EVENT_TRADE,
    ORDER_LIMIT,
    SIDE_BUY,
    SIDE_SELL,
    TIF_GTX,
    TIF_IOC,
    Event,
)
from engine.matching.crowd cimport (
    CROWD_NOBODY,
    CROWD_REACH,
    CrowdOrder,
    crowd_choose,
    crowd_drop,
    crowd_id,
    crowd_list,
    crowd_put,
    crowd_slot,
    crowd_unlist,
    crowd_zone,
)
from engine.matching.levels cimport NO_BEST
from engine.matching.matcher cimport matcher_apply
from engine.matching.records cimport (
    MATCH_ADD,
    MATCH_CANCEL,
    MATCH_ENDED,
    MATCH_LEVEL,
    MATCH_TRADE,
    MatchEvent,
)


cdef enum:
    OPENED = CROWD_ZONES + 1     # open_bin when the opening is over
    SPARE_ORDERS = 512           # room that the crowd leaves to the traders
    LEAN_LIMIT = 4               # halvings of a maker's orders at most
    LEAN_ORDERS = 4              # of its orders held for each of them
    PATIENT = 5                  # orders that a trend follower or reverter holds at most


cdef extern from *:
    """
    #define AGENTS_NEVER 9000000000000000000LL
    #define AGENTS_FIRST_TAKE (1ULL << 56)
    """
    const int64_t AGENTS_NEVER
    const uint64_t AGENTS_FIRST_TAKE


# --- timers: a binary heap -----------------------------------------------------------------------

cdef inline void _timer(Agents* a, int64_t ts, uint32_t kind, uint32_t who) noexcept nogil:
    cdef uint32_t i = a.n_timers
    cdef uint32_t up
    # Only a cluster that grows without end gets here: its further children are left out.
    if i == AGENTS_TIMERS:
        return
    a.n_timers += 1
    while i:
        up = (i - 1) >> 1
        if a.timers[up].ts <= ts:
            break
        a.timers[i] = a.timers[up]
        i = up
    a.timers[i].ts = ts
    a.timers[i].kind = kind
    a.timers[i].who = who


cdef inline void _timer_done(Agents* a) noexcept nogil:
    cdef uint32_t n = a.n_timers - 1
    cdef Timer last = a.timers[n]
    cdef uint32_t i = 0
    cdef uint32_t down = 1
    a.n_timers = n
    while down < n:
        if down + 1 < n and a.timers[down + 1].ts < a.timers[down].ts:
            down += 1
        if last.ts <= a.timers[down].ts:
            break
        a.timers[i] = a.timers[down]
        i = down
        down = 2 * i + 1
    a.timers[i] = last


cdef inline void _again(Agents* a, double gap, uint32_t kind, uint32_t who) noexcept nogil:
    if gap > 0.0:
        _timer(a, a.now + random_exponential(a.rng, gap), kind, who)


cdef inline void _crowd_again(Agents* a) noexcept nogil:
    cdef double rate = <double>(a.law.arriving + a.crowd.leaving) * a.activity * a.excited
    a.crowd_ts = a.now + random_exponential(a.rng, a.law.gap_unit / rate)


# --- rows ----------------------------------------------------------------------------------------

cdef inline void _row(Agents* a, uint64_t ev, int64_t px, int64_t lots) noexcept nogil:
    cdef Event* row
    if a.n_pending == AGENTS_PENDING:
        a.lost = 1
        return
    row = &a.pending[a.n_pending]
    a.n_pending += 1
    row.ev = ev | EV_EXCH | EV_LOCAL
    row.exch_ts = a.now
    row.local_ts = a.local
    # A quotient by a whole number is the nearest double to the decimal price, which a product may miss.
    row.px = <double>px / a.law.ticks_per_unit if a.law.ticks_per_unit > 0.0 else <double>px * a.law.tick_size
    row.qty = <double>lots / a.law.lots_per_unit if a.law.lots_per_unit > 0.0 else <double>lots * a.law.lot_size


cdef inline void _receive_time(Agents* a) noexcept nogil:
    a.local = max(a.local, a.now + a.law.latency[random_draw(a.rng) >> 54])


# --- the matcher ---------------------------------------------------------------------------------

# The best ticks; not above 0 when there is none.
cdef inline int64_t _bid(Agents* a) noexcept nogil:
    return a.venue.sides[0].best


cdef inline int64_t _ask(Agents* a) noexcept nogil:
    return ~a.venue.sides[1].best if a.venue.sides[1].best != NO_BEST else 0


cdef void agents_events(void* context, const MatchEvent* events, uint32_t n) noexcept nogil:
    cdef Agents* a = <Agents*>context
    cdef uint64_t kind = EVENT_DEPTH if a.open_bin == OPENED else EVENT_DEPTH_SNAPSHOT
    cdef uint64_t side
    cdef const MatchEvent* event
    cdef uint32_t i, slot
    if a.listener != NULL:
        a.listener(a.listening, events, n)
    for i in range(n):
        event = events + i
        side = EV_BUY if event.side > 0 else EV_SELL
        if event.kind == MATCH_LEVEL:
            _row(a, kind | side, event.px, event.qty)
        elif event.kind == MATCH_TRADE:
            _row(a, EVENT_TRADE | side, event.px, event.qty)
            if event.owner < AGENTS_OWNERS:
                a.position[event.owner] -= event.side * event.qty
            if event.other_owner < AGENTS_OWNERS:
                a.position[event.other_owner] += event.side * event.qty
            slot = crowd_slot(&a.crowd, event.order_id)
            if slot < a.crowd.capacity:
                a.crowd.orders[slot].lots -= <uint32_t>event.qty
                if a.crowd.orders[slot].lots == 0:
                    crowd_drop(&a.crowd, slot)
        elif event.kind == MATCH_ENDED:
            slot = crowd_slot(&a.crowd, event.order_id)
            if slot < a.crowd.capacity:
                crowd_drop(&a.crowd, slot)


cdef int agents_send(Agents* a) noexcept nogil:
    cdef int code
    a.commands += 1
    _receive_time(a)
    code = matcher_apply(a.venue, &a.command, &a.result)
    agents_events(a, a.venue.buffer, a.venue.n_buffer)
    a.venue.n_buffer = 0
    return code


# A limit order of an agent that is to rest; its id, or 0 when the matcher refused it.
cdef uint64_t _place(
    Agents* a, uint32_t owner, int side, int64_t px, int64_t lots, uint8_t zone, uint8_t who
) noexcept nogil:
    cdef uint32_t slot
    cdef uint64_t order_id
    if a.crowd.n_free == 0:
        a.lost = 1
        return 0
    slot = crowd_put(&a.crowd, side, px, lots, zone, who)
    order_id = crowd_id(&a.crowd, slot)
    a.command.kind = MATCH_ADD
    a.command.ts = a.now
    a.command.order_id = order_id
    a.command.px = px
    a.command.qty = lots
    a.command.owner = owner
    a.command.side = <signed char>side
    a.command.order_type = ORDER_LIMIT
    a.command.time_in_force = TIF_GTX
    if agents_send(a) != OK:
        crowd_drop(&a.crowd, slot)
        return 0
    return order_id


cdef void _cancel(Agents* a, uint32_t owner, uint64_t order_id) noexcept nogil:
    a.command.kind = MATCH_CANCEL
    a.command.ts = a.now
    a.command.order_id = order_id
    a.command.owner = owner
    agents_send(a)


# Takes up to `lots`, no further than `reach` ticks behind the best.
cdef void _take(Agents* a, uint32_t owner, int side, int64_t lots, int64_t reach) noexcept nogil:
    cdef int64_t best = _ask(a) if side > 0 else _bid(a)
    if best <= 0:
        return
    a.takes += 1
    a.command.kind = MATCH_ADD
    a.command.ts = a.now
    a.command.order_id = AGENTS_FIRST_TAKE + a.takes
    a.command.px = max(best + side * reach, 1)
    a.command.qty = lots
    a.command.owner = owner
    a.command.side = <signed char>side
    a.command.order_type = ORDER_LIMIT
    a.command.time_in_force = TIF_IOC
    agents_send(a)


# --- the crowd -----------------------------------------------------------------------------------

# Where an order of the crowd goes: behind the best of its side, or behind the reference when there is none.
cdef inline int64_t _behind(Agents* a, int side, int64_t distance) noexcept nogil:
    cdef int64_t best
    if side > 0:
        best = _bid(a)
        return (best if best > 0 else a.reference) - distance
    best = _ask(a)
    return (best if best > 0 else a.reference + 1) + distance


cdef void _arrive(Agents* a, uint32_t zone, int side, uint64_t draw) noexcept nogil:
    cdef uint32_t low = a.law.edges[zone]
    cdef uint64_t width = a.law.edges[zone + 1] - low
    cdef int64_t px = _behind(a, side, low + <int64_t>(((draw >> 32) * width) >> 32))
    cdef uint32_t group = 0 if zone == 0 else 1 if zone < a.law.near_bins else 2
    cdef int64_t lots = max((<int64_t>a.law.lots[group][draw & (AGENTS_TABLE - 1)] * a.law.scale[zone]) >> 12, 1)
    if a.crowd.n_free > SPARE_ORDERS and px > 0:
        _place(a, OWNER_CROWD, side, px, lots, <uint8_t>zone, 0)


# Cancels one of the crowd's, unless its place has become one where orders are more patient.
cdef void _leave(Agents* a, int64_t pick) noexcept nogil:
    cdef uint32_t slot = crowd_choose(&a.crowd, pick)
    cdef CrowdOrder* order
    cdef int64_t distance, ratio
    cdef uint8_t zone
    if slot == a.crowd.capacity:
        return
    order = a.crowd.orders + slot
    distance = _bid(a) - order.px if order.side > 0 else order.px - _ask(a)
    zone = crowd_zone(&a.crowd, distance)
    if zone != order.zone:
        ratio = (a.crowd.rate[zone] << 10) / a.crowd.rate[order.zone]
        if ratio < 1024 and not random_chance(a.rng, <uint64_t>ratio):
            crowd_unlist(&a.crowd, slot)
            crowd_list(&a.crowd, slot, zone)
            return
    _cancel(a, OWNER_CROWD, crowd_id(&a.crowd, slot))


cdef void _crowd_acts(Agents* a) noexcept nogil:
    cdef uint64_t draw = random_draw(a.rng)
    cdef double share = <double>(draw >> 11) * (1.0 / 9007199254740992.0)
    cdef int64_t pick = <int64_t>(share * <double>(a.law.arriving + a.crowd.leaving))
    if pick < a.law.arriving:
        # The low bits took no part in the choice, as far as 2**-20 of it is concerned.
        _arrive(a, a.law.bins[draw & (AGENTS_TAKES - 1)], 1 if draw & AGENTS_TAKES else -1, random_draw(a.rng))
    else:
        _leave(a, pick - a.law.arriving)
    _crowd_again(a)


# When the market orders that one brings about will come.
cdef void _excite(Agents* a, bint buys) noexcept nogil:
    cdef uint64_t draw
    cdef uint32_t k, n
    cdef int other
    for k in range(a.law.kernels):
        for other in range(2):
            draw = random_draw(a.rng) >> 32
            n = 0
            while n < AGENTS_CHILDREN and draw < a.law.children[k][other][n]:
                n += 1
                _again(a, a.law.child_gap[k], TIMER_CHILD, buys ^ other)


cdef inline void _cluster_takes(Agents* a, bint buys) noexcept nogil:
    _take(a, OWNER_TAKERS, 1 if buys else -1, a.law.take_lots[random_draw(a.rng) >> 52], a.law.sweep)
    _excite(a, buys)


# --- traders -------------------------------------------------------------------------------------

# What makers take for the middle: between the bests, and of a gap that trades left, its far end or its near one.
cdef void _refer(Agents* a) noexcept nogil:
    cdef int gap
    cdef int64_t bid = _bid(a)
    cdef int64_t ask = _ask(a)
    if ask > 0 and a.reference >= ask:
        a.reference = ask - 1
    if bid > 0 and a.reference < bid:
        a.reference = bid
    if bid <= 0 or ask <= 0 or ask == bid + 1 or (bid == a.gap_bid and ask == a.gap_ask):
        return
    a.gap_bid = bid
    a.gap_ask = ask
    gap = 1 if bid == a.reference else -1 if ask == a.reference + 1 else 0
    if gap == 0:
        return
    # Who refused and was taken again follows.
    if gap == a.refused or random_chance(a.rng, a.law.follow):
        a.reference = ask - 1 if gap > 0 else bid
        a.refused = 0
    else:
        a.refused = gap


cdef void _quote(Agents* a, uint32_t who, int side, uint32_t i, int64_t px, int64_t lots) noexcept nogil:
    cdef Trader* trader = &a.traders[who]
    cdef uint64_t* quote = &trader.bids[i] if side > 0 else &trader.asks[i]
    cdef uint32_t slot = crowd_slot(&a.crowd, quote[0])
    if quote[0] and slot < a.crowd.capacity:
        if a.crowd.orders[slot].px == px:
            return
        _cancel(a, OWNER_TRADERS + who, quote[0])
    quote[0] = 0
    if px > 0:
        quote[0] = _place(a, OWNER_TRADERS + who, side, px, lots, CROWD_NOBODY, <uint8_t>who)


# Both sides of the reference, with less on the side that would add to a large position.
cdef void _make(Agents* a, uint32_t who) noexcept nogil:
    cdef Trader* trader = &a.traders[who]
    cdef int64_t lean = a.position[OWNER_TRADERS + who] / (LEAN_ORDERS * trader.lots)
    cdef uint32_t i
    cdef int64_t buys = max(trader.lots >> min(max(lean, 0), LEAN_LIMIT), 1)
    cdef int64_t sells = max(trader.lots >> min(max(-lean, 0), LEAN_LIMIT), 1)
    _refer(a)
    for i in range(trader.quotes):
        _quote(a, who, SIDE_BUY, i, a.reference - i, buys)
        _quote(a, who, SIDE_SELL, i, a.reference + 1 + i, sells)


# Takes what there is up to the fair value when that is beyond the best by more than an edge.
cdef void _inform(Agents* a, uint32_t who) noexcept nogil:
    cdef Trader* trader = &a.traders[who]
    cdef int64_t bid = _bid(a)
    cdef int64_t ask = _ask(a)
    if ask > 0 and a.fair > ask + trader.edge:
        _take(a, OWNER_TRADERS + who, SIDE_BUY, trader.lots, min(a.fair - ask, a.law.sweep))
        _excite(a, True)
    elif bid > 0 and a.fair < bid - trader.edge:
        _take(a, OWNER_TRADERS + who, SIDE_SELL, trader.lots, min(bid - a.fair, a.law.sweep))
        _excite(a, False)


# Trend followers take with the trend and flatten when it ends; reverters quote against it and wait.
cdef void _speculate(Agents* a, uint32_t who) noexcept nogil:
    cdef Trader* trader = &a.traders[who]
    cdef uint32_t owner = OWNER_TRADERS + who
    cdef int64_t bid = _bid(a)
    cdef int64_t ask = _ask(a)
    cdef int64_t held = a.position[owner]
    cdef int64_t edge = 512 * trader.edge
    cdef int64_t away, wanted
    if bid <= 0 or ask <= 0:
        return
    away = 256 * (bid + ask) - trader.average
    if trader.average == 0:
        trader.average = 256 * (bid + ask)
        return
    trader.average += away / 16
    if -edge / 4 <= away <= edge / 4:
        wanted = -min(max(held, -trader.lots), trader.lots)
    elif -edge <= away <= edge:
        wanted = 0
    else:
        wanted = trader.lots if (away > 0) == (trader.kind == TRADER_MOMENTUM) else -trader.lots
        if wanted * held >= PATIENT * trader.lots * trader.lots:
            wanted = 0
    if trader.kind == TRADER_MOMENTUM:
        if wanted:
            _take(a, owner, SIDE_BUY if wanted > 0 else SIDE_SELL, wanted if wanted > 0 else -wanted, 4)
        return
    _quote(a, who, SIDE_BUY, 0, bid if wanted > 0 else 0, wanted)
    _quote(a, who, SIDE_SELL, 0, ask if wanted < 0 else 0, -wanted)


# --- the fair value and the times ----------------------------------------------------------------

cdef void _move_fair(Agents* a, int64_t ticks) noexcept nogil:
    # Far from zero and from the matcher's greatest price.
    if not 3 * CROWD_REACH < a.fair + ticks < 1 << 30:
        ticks = -ticks
    a.fair += ticks


cdef void _draw_regime(Agents* a, uint32_t which) noexcept nogil:
    cdef uint32_t i
    a.regimes[which] = random_draw(a.rng) >> 63
    a.activity = 1.0
    for i in range(AGENTS_REGIMES):
        a.activity *= a.law.busy if a.regimes[i] else a.law.calm


cdef void _timer_acts(Agents* a) noexcept nogil:
    cdef Timer timer = a.timers[0]
    cdef double hurry = a.activity * a.excited
    cdef int64_t ticks
    cdef uint32_t kind
    cdef bint up
    _timer_done(a)
    if timer.kind == TIMER_LOOK:
        kind = a.traders[timer.who].kind
        if kind == TRADER_MAKER:
            _make(a, timer.who)
        elif kind == TRADER_INFORMED:
            _inform(a, timer.who)
        else:
            _speculate(a, timer.who)
        _again(a, a.traders[timer.who].gap, TIMER_LOOK, timer.who)
    elif timer.kind == TIMER_CHILD:
        _cluster_takes(a, timer.who)
    elif timer.kind == TIMER_CLUSTER:
        _cluster_takes(a, random_draw(a.rng) >> 63)
        _again(a, a.law.cluster_gap / hurry, TIMER_CLUSTER, 0)
    elif timer.kind == TIMER_FAIR:
        up = timer.who == 1 if timer.who else random_draw(a.rng) >> 63
        ticks = a.law.moves[random_draw(a.rng) >> 54]
        _move_fair(a, ticks if up else -ticks)
        if random_chance(a.rng, a.law.again):
            _again(a, a.law.again_gap, TIMER_FAIR, 1 if up == <bint>random_chance(a.rng, a.law.along) else 2)
        if timer.who == 0:
            _again(a, a.law.fair_gap / hurry, TIMER_FAIR, 0)
    elif timer.kind == TIMER_REGIME:
        _draw_regime(a, timer.who)
        _again(a, a.law.regime_gap[timer.who], TIMER_REGIME, timer.who)
    elif timer.kind == TIMER_NEWS:
        ticks = random_exponential(a.rng, a.law.news_ticks)
        _move_fair(a, ticks if random_draw(a.rng) >> 63 else -ticks)
        a.excited = 4.0
        _again(a, a.law.calm_gap, TIMER_CALM, 0)
        _again(a, a.law.news_gap, TIMER_NEWS, 0)
    elif a.excited > 1.0:
        a.excited *= 0.5
        _again(a, a.law.calm_gap, TIMER_CALM, 0)


cdef void agents_start(Agents* a, int64_t tick, int64_t ts) noexcept nogil:
    cdef uint32_t i
    a.now = ts
    a.local = ts
    a.crowd_ts = AGENTS_NEVER
    a.fair = tick
    a.reference = tick
    a.activity = 1.0
    a.excited = 1.0
    for i in range(AGENTS_REGIMES):
        _draw_regime(a, i)
        _again(a, a.law.regime_gap[i], TIMER_REGIME, i)
    _again(a, a.law.cluster_gap, TIMER_CLUSTER, 0)
    _again(a, a.law.fair_gap, TIMER_FAIR, 0)
    _again(a, a.law.news_gap, TIMER_NEWS, 0)
    for i in range(a.n_traders):
        _again(a, a.traders[i].gap, TIMER_LOOK, i)


cdef void agents_absent(Agents* a, int64_t ts) noexcept nogil:
    a.now = ts
    a.local = ts
    a.crowd_ts = AGENTS_NEVER
    a.open_bin = OPENED


cdef int64_t agents_next(const Agents* a) noexcept nogil:
    if a.open_bin != OPENED:
        return a.now
    return a.timers[0].ts if a.n_timers and a.timers[0].ts <= a.crowd_ts else a.crowd_ts


# The next order of the opening: a book as long trading leaves it, each zone with as many as come and go.
cdef void _open(Agents* a) noexcept nogil:
    cdef double orders
    while a.open_left == 0:
        a.open_bin += 1
        if a.open_bin > a.crowd.zones:
            a.open_bin = OPENED
            _crowd_again(a)
            return
        orders = a.open_orders[a.open_bin - 1]
        a.open_left = <uint32_t>orders
        a.open_left += <double>(random_draw(a.rng) >> 11) * (1.0 / 9007199254740992.0) < orders - a.open_left
    a.open_left -= 1
    _arrive(a, a.open_bin - 1, 1 if a.open_left & 1 else -1, random_draw(a.rng))


cdef bint agents_step(Agents* a, int64_t end) noexcept nogil:
    if a.open_bin != OPENED:
        if a.commands == 0 and a.open_bin == 0:
            _receive_time(a)
            _row(a, EVENT_DEPTH_CLEAR, 0, 0)
        _open(a)
        return True
    if a.n_timers and a.timers[0].ts <= a.crowd_ts:
        if a.timers[0].ts >= end:
            return False
        a.now = a.timers[0].ts
        _timer_acts(a)
    else:
        if a.crowd_ts >= end:
            return False
        a.now = a.crowd_ts
        _crowd_acts(a)
    return True


cdef Py_ssize_t agents_fill(Agents* a, Event* rows, Py_ssize_t n, int64_t end) noexcept nogil:
    cdef Py_ssize_t done = 0
    cdef uint32_t ready
    while done < n:
        if a.taken == a.n_pending:
            a.taken = a.n_pending = 0
            if not agents_step(a, end):
                break
        ready = <uint32_t>min(<Py_ssize_t>(a.n_pending - a.taken), n - done)
        memcpy(rows + done, &a.pending[a.taken], ready * sizeof(Event))
        a.taken += ready
        done += ready
    return done
