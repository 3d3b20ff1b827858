"""Hash and invariants of a desk.

The hash is canonical: it depends on what the state means, not on where it lies, so a kernel that was
rebuilt from a journal has the hash of the one that wrote it. Handles, links, the outbox and the venue's
queue estimates are left out. Both functions are linear in the state; neither is for the hot path.
"""

from libc.math cimport isnan
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport abort
from libc.string cimport memcpy

from engine.book.l2 cimport l2_check, l2_hash
from engine.core.codes cimport OK
from engine.core.idmap cimport idmap_check, idmap_find
from engine.core.pool cimport pool_check, pool_is_live
from engine.core.types cimport *
from engine.risk.latch cimport LATCH_CAUSES, Latch
from engine.risk.position cimport Position
from engine.risk.pretrade cimport LimitSet, ScopeState
from engine.risk.scope cimport SCOPE_STRATEGIES
from engine.strategy.desk cimport (
    KIND_EXTERNAL,
    MAX_STRATEGIES,
    Cell,
    LiveOrder,
    StrategySlot,
    desk_cell,
    desk_live,
    order_ended,
)

import sys

from engine.core.errors import InvariantError


cdef inline uint64_t _mix(uint64_t state, uint64_t value) noexcept nogil:
    """One round of splitmix64 over a running state."""
    cdef uint64_t z = (state ^ value) + <uint64_t>0x9e3779b97f4a7c15
    z = (z ^ (z >> 30)) * <uint64_t>0xbf58476d1ce4e5b9
    z = (z ^ (z >> 27)) * <uint64_t>0x94d049bb133111eb
    return z ^ (z >> 31)


cdef inline uint64_t _mix_double(uint64_t state, double value) noexcept nogil:
    cdef uint64_t bits = 0
    # Minus zero and zero are one value, and so are all NaNs.
    if value != 0.0 and not isnan(value):
        memcpy(&bits, &value, sizeof(double))
    elif isnan(value):
        bits = <uint64_t>0x7ff8000000000000
    return _mix(state, bits)


cdef uint64_t _hash_order(uint64_t h, const LiveOrder* live) noexcept nogil:
    cdef const Order* o = &live.order
    h = _mix(h, o.order_id)
    h = _mix(h, o.client_order_id)
    h = _mix(h, <uint64_t>o.price_tick)
    h = _mix(h, <uint64_t>o.qty)
    h = _mix(h, <uint64_t>o.leaves_qty)
    h = _mix(h, <uint64_t>o.cum_exec_qty)
    h = _mix(h, <uint64_t>o.exch_ts)
    h = _mix(h, <uint64_t>o.local_ts)
    h = _mix(h, <uint64_t>live.venue_tick)
    h = _mix(h, <uint64_t>live.venue_qty)
    h = _mix(h, live.cancel_reason | (<uint64_t>live.cancel_tries << 8))
    return _mix(
        h,
        <uint64_t>o.instrument | (<uint64_t>o.strategy << 16) | (<uint64_t><uint8_t>o.side << 32)
        | (<uint64_t>o.order_type << 40) | (<uint64_t>o.time_in_force << 44)
        | (<uint64_t>o.status << 48) | (<uint64_t>o.req << 56),
    )


cdef uint64_t _hash_position(uint64_t h, const Position* p) noexcept nogil:
    h = _mix(h, <uint64_t>p.lots)
    h = _mix_double(h, p.entry_value)
    h = _mix_double(h, p.realized_pnl)
    h = _mix_double(h, p.balance)
    h = _mix_double(h, p.fee)
    if p.funding != 0.0:
        h = _mix_double(h, p.funding)
    h = _mix_double(h, p.trading_volume)
    h = _mix_double(h, p.trading_value)
    return _mix(h, <uint64_t>p.num_trades)


cdef uint64_t _hash_words(uint64_t h, const void* words, size_t size) noexcept nogil:
    cdef const uint64_t* at = <const uint64_t*>words
    cdef size_t n
    for n in range(size // sizeof(uint64_t)):
        h = _mix(h, at[n])
    return h


cdef uint64_t _hash_cell(uint64_t h, const Desk* desk, const Cell* cell) noexcept nogil:
    cdef uint32_t handle = cell.head
    h = _hash_position(h, &cell.position)
    if cell.limits.mask != 0:
        h = _hash_words(h, &cell.limits, sizeof(LimitSet))
    h = _mix(h, cell.trades | (<uint64_t>cell.close_tries << 8) | (<uint64_t>cell.n_orders << 16))
    while handle != 0:
        h = _hash_order(h, desk_live(desk, handle))
        handle = desk_live(desk, handle).order.next_handle
    return h


cdef inline size_t _scopes(const Desk* desk) noexcept nogil:
    return <size_t>SCOPE_STRATEGIES + MAX_STRATEGIES + desk.n_instruments


cdef uint64_t _hash_latch(uint64_t h, const Latch* latch) noexcept nogil:
    cdef int cause
    for cause in range(LATCH_CAUSES):
        h = _mix(h, latch.states[cause])
        h = _mix(h, <uint64_t>latch.ts[cause])
        h = _mix_double(h, latch.limit[cause])
        h = _mix_double(h, latch.actual[cause])
    return h


cdef uint64_t desk_hash(const Desk* desk) noexcept nogil:
    cdef uint64_t h = 0
    cdef uint16_t s, i
    cdef size_t n
    h = _mix(h, <uint64_t>desk.now)
    h = _mix(h, desk.next_order_id)
    h = _mix(h, desk.trading_state)
    for i in range(desk.n_instruments):
        h = _mix(h, l2_hash(&desk.books[i]))
    for s in range(desk.n_strategies):
        h = _mix(h, desk.slots[s].state | (<uint64_t>desk.slots[s].kind << 8))
        h = _mix(h, <uint64_t>desk.slots[s].timer_due)
        h = _mix(h, <uint64_t>desk.slots[s].timer_interval)
        for i in range(desk.n_instruments):
            h = _hash_cell(h, desk, desk_cell(desk, s, i))
    for n in range(_scopes(desk) if desk.counting or desk.n_latched != 0 else 0):
        if desk.scopes[n].limits.mask != 0:
            h = _hash_words(_mix(h, n), &desk.scopes[n].limits, sizeof(LimitSet))
            h = _hash_words(h, &desk.scopes[n].state, sizeof(ScopeState))
        if desk.scopes[n].latch.state != TRADING_ACTIVE:
            h = _hash_latch(_mix(h, n), &desk.scopes[n].latch)
    return h


cdef int _must(bint holds, str what) except -1:
    if not holds:
        raise InvariantError(what)
    return 0


cdef int _audit_cell(const Desk* desk, uint16_t s, uint16_t i) except -1:
    cdef Cell* cell = desk_cell(desk, s, i)
    cdef const Position* p = &cell.position
    cdef int64_t buy = 0, sell = 0, left
    cdef uint32_t handle = cell.head, previous = 0, n = 0
    cdef const Order* o
    where = f"strategy {s}, instrument {i}"
    while handle != 0:
        _must(pool_is_live(&desk.orders, handle), f"{where}: a dead order is linked")
        o = &desk_live(desk, handle).order
        _must(o.strategy == s and o.instrument == i, f"{where}: order {o.order_id} is another's")
        _must(o.prev_handle == previous, f"{where}: order {o.order_id} is linked wrongly")
        _must(not order_ended(o), f"{where}: order {o.order_id} has ended and is linked")
        _must(o.req != STATUS_NONE or o.status != STATUS_NONE, f"{where}: order {o.order_id} is nothing")
        _must(idmap_find(&desk.ids, o.order_id) == handle, f"{where}: order {o.order_id} is not in the map")
        if o.client_order_id != 0:
            _must(
                idmap_find(&desk.client_ids[s], o.client_order_id) == handle,
                f"{where}: client order {o.client_order_id} is not in the map",
            )
        left = o.qty if o.req == STATUS_REPLACED and o.qty > o.leaves_qty else o.leaves_qty
        if o.side == SIDE_BUY:
            buy += left
        else:
            sell += left
        previous = handle
        handle = o.next_handle
        n += 1
        _must(n <= cell.n_orders, f"{where}: more orders than counted")
    _must(previous == cell.tail and n == cell.n_orders, f"{where}: {n} orders, counted {cell.n_orders}")
    _must(buy == cell.open_buy and sell == cell.open_sell, f"{where}: open {buy}/{sell}, counted "
          f"{cell.open_buy}/{cell.open_sell}")
    _must((p.lots == 0) == (p.entry_value == 0.0), f"{where}: {p.lots} lots cost {p.entry_value}")
    _must(p.entry_value >= 0.0, f"{where}: average cost below zero")
    return <int>n


cdef int desk_audit(const Desk* desk) except -1:
    """Raises InvariantError on the first inconsistency; for use between inputs."""
    cdef uint16_t s, i
    cdef uint32_t orders = 0, clients = 0, latched = 0
    cdef size_t n
    cdef int64_t timer = INT64_MAX
    cdef const StrategySlot* slot
    _must(pool_check(&desk.orders) == OK, "the order pool is broken")
    _must(idmap_check(&desk.ids) == OK, "the id map is broken")
    _must(desk.n_outputs <= desk.outbox_capacity, "more outputs than the outbox holds")
    for i in range(desk.n_instruments):
        _must(l2_check(&desk.books[i]) == OK, f"the book of instrument {i} is broken")
    for s in range(desk.n_strategies):
        slot = &desk.slots[s]
        if slot.kind == KIND_EXTERNAL:
            _must(idmap_check(&desk.client_ids[s]) == OK, f"strategy {s}: the client id map is broken")
            clients += desk.client_ids[s].used
        timer = min(timer, slot.timer_due)
        if slot.state == STRATEGY_ERROR or slot.state == STRATEGY_STOPPED:
            _must(slot.timer_due == INT64_MAX, f"strategy {s} has ended and waits for a timer")
        for i in range(desk.n_instruments):
            orders += _audit_cell(desk, s, i)
    for n in range(_scopes(desk)):
        latched += desk.scopes[n].latch.state != TRADING_ACTIVE
    _must(latched == desk.n_latched, f"{latched} scopes are latched, counted {desk.n_latched}")
    _must(timer == desk.next_timer, f"next timer {desk.next_timer}, due {timer}")
    _must(orders == desk.orders.used == desk.ids.used, f"{orders} orders linked, {desk.orders.used} held")
    _must(clients <= orders, f"{clients} client ids for {orders} orders")
    return 0


cdef void desk_must_hold(const Desk* desk) noexcept nogil:
    with gil:
        try:
            desk_audit(desk)
        except InvariantError as error:
            print(f"ringbook: invariant broken: {error}", file=sys.stderr, flush=True)
            abort()
