"""Market-by-order book: every order of the feed in its queue, own orders of a backtest between them.

What it is
    The levels' totals and the bests are kept in an L2Book (l2.pxd) that somebody else owns and may read, but
    that nobody else changes. Orders lie in a slab, reached by
    u32 handles; order ids lead to handles through an open-addressing map at half load at most. The orders
    of a level are a doubly linked list, first come first; a bucket table, indexed by the low bits of the
    price so that levels side by side share cache lines, holds the first order of each queue. Own orders
    stand in the same queues, count in no total, and are listed best price first, older first. Who wants no
    own orders has a book without queues. A backtest reads each order once for both its sides, in a roll
    (roll.pxd) of which totals follow: its venue has a book of own orders alone, which know the quantity that
    is ahead of them instead of standing in queues.

What it costs
    Add: a map insertion, a level's total, two orders' links. Cancel: a map removal, a total, two links.
    Modify: a map look-up and a total; a lost place or a new price costs the links as well. None of them
    walks a queue, and neither does a fill: places are numbered, so whether an own order was ahead of the
    filled one is one compare. Without own orders a fill is a map look-up.

The bad case
    An add that finds no room doubles slab and map, which stops it for as long as copying takes (10 ms for
    100,000 orders): whoever cannot wait gives l3_init the number of orders to expect. No other operation
    allocates, but for ladder spills (ladder.pxd) and a new own order beyond the most so far. Clearing one
    side looks at every slot ever used. Levels 65,536 ticks or more apart may share a bucket, whose queues
    are then looked through one by one. A new own order shifts those of its side that are better than it.

The semantics of totals and bests are those of hftbacktest's HashMapMarketDepth, those of queues and fills its
L3FIFOQueueModel's; naive_l3.py spells them out. Own orders that the market fills or clears are taken out of
the book and their tags appended to `given`, best price first and older first; the caller empties it.
"""

from libc.math cimport fabs
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from engine.book.l2 cimport L2_TICK_LIMIT, L2Book, _l2_move_best, l2_fetch
from engine.book.ladder cimport (
    Ladder,
    ladder_put_dense,
    ladder_rare,
    ladder_spill_get,
    ladder_spill_set,
)
from engine.book.queues cimport (
    L3_MARKET,
    L3Book,
    L3Order,
    l3_append,
    l3_cross,
    l3_fill_own,
    l3_more,
    l3_release,
    l3_unlink,
)
from engine.book.roll cimport ROLL_ADD, ROLL_CANCEL, ROLL_MOVE, RollChange
from engine.core.codes cimport ERR_BAD_QTY, ERR_BAD_TICK, ERR_ORDER_NOT_FOUND, OK
from engine.core.idmap cimport idmap_find, idmap_home, idmap_insert, idmap_remove
from engine.core.ticks cimport round_half_away
from engine.core.types cimport (
    EV_BUY,
    EV_KIND_MASK,
    EV_SELL,
    EVENT_ADD_ORDER,
    EVENT_CANCEL_ORDER,
    EVENT_DEPTH_CLEAR,
    EVENT_MODIFY_ORDER,
    SIDE_BUY,
    SIDE_NONE,
    SIDE_SELL,
    Event,
)


# An empty book on an empty L2Book, which is to outlive it. orders: how many of the market to have room for at
# once, 0 for the default. ERR_BAD_SIZE, ERR_NO_MEMORY.
cdef int l3_init(L3Book* book, L2Book* depth, uint32_t orders, bint queued) noexcept nogil
cdef void l3_free(L3Book* book) noexcept nogil
# side: SIDE_BUY, SIDE_SELL, or SIDE_NONE for both; own orders of it are given out.
cdef void l3_clear(L3Book* book, int side) noexcept nogil
# The first and the following orders of a level's queue, own ones included; 0 at the end.
cdef uint32_t l3_first(const L3Book* book, int side, int64_t tick) noexcept nogil
cdef int l3_check(const L3Book* book) noexcept nogil
cdef int l3_check_depth(const L2Book* depth) noexcept nogil

# The out-of-line parts of l3_modify and of l3_follow, for a level outside the window.
cdef int _l3_follow_far(L2Book* depth, const RollChange* change, double qty) noexcept nogil
cdef int _l3_undo(L2Book* depth, int side, int64_t key, double qty, int code) noexcept nogil


# --- totals ---------------------------------------------------------------------------------------

# Adds to a level; the best and the bound follow. ERR_FULL, ERR_NO_MEMORY from a far level.
cdef inline int _l3_increase(L2Book* depth, int side, int64_t key, double qty) noexcept nogil:
    cdef Ladder* ladder = &depth.ladders[side]
    cdef double total, prev
    cdef int code
    if ladder_rare(<uint64_t>(key - ladder.base) > ladder.mask):
        total = ladder_spill_get(ladder, key) + qty
        code = ladder_spill_set(ladder, key, total if total > 0.0 else 0.0, &prev)
        if code != OK:
            return code
    else:
        total = ladder.qty[<uint64_t>key & ladder.mask] + qty
        ladder_put_dense(ladder, key, total, total > 0.0)
    if ladder_rare((key > ladder.best) | (key < ladder.bound)):
        _l2_move_best(depth, side, key, True)
    return OK


# Takes from a level, which goes when no lot is left; a spilled one needs no room for that.
cdef inline void _l3_reduce(L2Book* depth, int side, int64_t key, double qty) noexcept nogil:
    cdef Ladder* ladder = &depth.ladders[side]
    cdef double total, prev
    cdef bint keep
    if ladder_rare(<uint64_t>(key - ladder.base) > ladder.mask):
        total = ladder_spill_get(ladder, key) - qty
        keep = total >= depth.min_qty
        ladder_spill_set(ladder, key, total if keep else 0.0, &prev)
    else:
        total = ladder.qty[<uint64_t>key & ladder.mask] - qty
        keep = total >= depth.min_qty
        ladder_put_dense(ladder, key, total, keep)
    if ladder_rare((not keep) & (key == ladder.best)):
        _l2_move_best(depth, side, key, False)


# What a modification at the same price does to the level; bests stay, even where nothing is left.
cdef inline int _l3_change(L2Book* depth, int side, int64_t key, double delta) noexcept nogil:
    cdef Ladder* ladder = &depth.ladders[side]
    cdef double total, prev
    if ladder_rare(<uint64_t>(key - ladder.base) > ladder.mask):
        total = ladder_spill_get(ladder, key) + delta
        return ladder_spill_set(ladder, key, total if total > 0.0 else 0.0, &prev)
    total = ladder.qty[<uint64_t>key & ladder.mask] + delta
    ladder_put_dense(ladder, key, total, total > 0.0)
    return OK


# Does to totals and bests what an add, cancel or modification did to a roll's order, which now has `qty`. The ops
# differ in no branch but that for the second level of a move, because their mixture cannot be predicted.
# ERR_FULL, ERR_NO_MEMORY: nothing changed.
cdef inline int l3_follow(L2Book* depth, const RollChange* change, double qty) noexcept nogil:
    cdef Ladder* ladder = &depth.ladders[change.side]
    cdef int64_t key = change.key
    cdef int op = change.op
    cdef uint64_t takes = (op == ROLL_CANCEL) | (op == ROLL_MOVE)
    cdef int64_t best = ladder.best
    cdef double total
    cdef int64_t least
    cdef bint keep, adds
    if ladder_rare(<uint64_t>(key - ladder.base) > ladder.mask):
        return _l3_follow_far(depth, change, qty)
    total = ladder.qty[<uint64_t>key & ladder.mask] + change.delta
    # As integers, doubles compare as they do, if one of them is positive: the least of all is 1.
    least = <int64_t>(((<uint64_t*>&depth.min_qty)[0] & -takes) | (takes ^ 1))
    keep = (<int64_t*>&total)[0] >= least
    ladder_put_dense(ladder, key, total, keep)
    adds = op == ROLL_ADD
    if ladder_rare(
        (adds & ((key > best) | (key < ladder.bound))) | (<bint>takes & (not keep) & (key == best))
    ):
        _l2_move_best(depth, change.side, key, adds)
    if op == ROLL_MOVE:
        return _l3_arrive(depth, change, qty)
    return OK


# The second half of a move.
cdef inline int _l3_arrive(L2Book* depth, const RollChange* change, double qty) noexcept nogil:
    cdef int code = _l3_increase(depth, change.side, change.to, qty)
    if ladder_rare(code != OK):
        return _l3_undo(depth, change.side, change.key, -change.delta, code)
    return OK


# --- the market's orders --------------------------------------------------------------------------

# Own orders opposite a best that improved from prev are given out.
cdef inline void _l3_after(L3Book* book, int side, int64_t prev) noexcept nogil:
    cdef int64_t best = book.depth.ladders[side].best
    cdef int64_t mirror = -<int64_t>side
    if ladder_rare(best > prev) and ~best <= book.own[1 - side].best:
        l3_cross(book, 1 - side, prev ^ mirror, best ^ mirror)


# side: 0 bids, 1 asks. ERR_BAD_TICK, ERR_BAD_QTY, ERR_ORDER_ID_EXIST, ERR_FULL, ERR_NO_MEMORY: nothing changed.
cdef inline int l3_add(L3Book* book, int side, uint64_t order_id, double px, double qty) noexcept nogil:
    cdef double ratio = px / book.depth.tick_size
    cdef int64_t prev = book.depth.ladders[side].best
    cdef uint32_t handle
    cdef L3Order* order
    cdef int64_t key
    cdef int code
    # Written so that NaN fails.
    if ladder_rare(not fabs(ratio) < L2_TICK_LIMIT):
        return ERR_BAD_TICK
    if ladder_rare(not (0.0 <= qty <= book.depth.max_qty)):
        return ERR_BAD_QTY
    if ladder_rare(book.free == 0):
        code = l3_more(book)
        if code != OK:
            return code
    handle = book.free
    key = round_half_away(ratio) ^ -<int64_t>side
    code = idmap_insert(&book.ids, order_id, handle)
    if ladder_rare(code != OK):
        return code
    code = _l3_increase(book.depth, side, key, qty)
    if ladder_rare(code != OK):
        idmap_remove(&book.ids, order_id)
        return code
    order = book.orders + handle
    book.free = order.next
    book.n_orders += 1
    book.ragged |= qty < book.depth.min_qty
    order.order_id = order_id
    order.key = key
    order.qty = qty
    order.side = <uint8_t>side
    order.kind = L3_MARKET
    l3_append(book, handle)
    _l3_after(book, side, prev)
    return OK


# ERR_ORDER_NOT_FOUND: nothing changed.
cdef inline int l3_cancel(L3Book* book, uint64_t order_id) noexcept nogil:
    cdef uint32_t handle = idmap_remove(&book.ids, order_id)
    cdef L3Order* order = book.orders + handle
    if ladder_rare(handle == 0):
        return ERR_ORDER_NOT_FOUND
    _l3_reduce(book.depth, order.side, order.key, order.qty)
    l3_unlink(book, handle)
    l3_release(book, handle)
    book.n_orders -= 1
    return OK


# Keeps its side whatever the event says, and its place only at the same price with no more quantity.
# ERR_ORDER_NOT_FOUND, ERR_BAD_TICK, ERR_BAD_QTY, ERR_FULL, ERR_NO_MEMORY: nothing changed.
cdef inline int l3_modify(L3Book* book, uint64_t order_id, double px, double qty) noexcept nogil:
    cdef double ratio = px / book.depth.tick_size
    cdef uint32_t handle = idmap_find(&book.ids, order_id)
    cdef L3Order* order = book.orders + handle
    cdef int side = order.side
    cdef int64_t prev = book.depth.ladders[side].best
    cdef int64_t key
    cdef bint stays
    cdef int code
    if ladder_rare(handle == 0):
        return ERR_ORDER_NOT_FOUND
    if ladder_rare(not fabs(ratio) < L2_TICK_LIMIT):
        return ERR_BAD_TICK
    if ladder_rare(not (0.0 <= qty <= book.depth.max_qty)):
        return ERR_BAD_QTY
    key = round_half_away(ratio) ^ -<int64_t>side
    stays = key == order.key
    if stays:
        code = _l3_change(book.depth, side, key, qty - order.qty)
        if ladder_rare(code != OK):
            return code
        stays = qty <= order.qty
    else:
        _l3_reduce(book.depth, side, order.key, order.qty)
        code = _l3_increase(book.depth, side, key, qty)
        if ladder_rare(code != OK):
            return _l3_undo(book.depth, side, order.key, order.qty, code)
    book.ragged |= qty < book.depth.min_qty
    if not stays:
        l3_unlink(book, handle)
        order.key = key
        l3_append(book, handle)
    order.qty = qty
    _l3_after(book, side, prev)
    return OK


# The fill of a market order, which stays until it is cancelled: own orders that it reaches are given out.
# ERR_ORDER_NOT_FOUND, ERR_BAD_TICK.
cdef inline int l3_fill(L3Book* book, uint64_t order_id, double px) noexcept nogil:
    cdef uint32_t handle = idmap_find(&book.ids, order_id)
    cdef double ratio = px / book.depth.tick_size
    cdef const L3Order* order
    if ladder_rare(handle == 0):
        return ERR_ORDER_NOT_FOUND
    if ladder_rare(not fabs(ratio) < L2_TICK_LIMIT):
        return ERR_BAD_TICK
    order = book.orders + handle
    if book.own[order.side].n != 0:
        l3_fill_own(
            book, order.side, order.key, order.place, round_half_away(ratio) ^ -<int64_t>order.side
        )
    return OK


# Applies an add, modify, cancel or clear whatever its EXCH/LOCAL flags; other kinds change nothing, fills
# among them: l3_fill is for venues. Codes as above.
cdef inline int l3_apply(L3Book* book, const Event* event) noexcept nogil:
    cdef uint64_t kind = event.ev & EV_KIND_MASK
    cdef bint has_side = (event.ev & (EV_BUY | EV_SELL)) != 0
    cdef int code = OK
    if kind == EVENT_ADD_ORDER:
        if not has_side:
            return OK
        code = l3_add(book, (event.ev & EV_BUY) == 0, event.order_id, event.px, event.qty)
    elif kind == EVENT_CANCEL_ORDER:
        code = l3_cancel(book, event.order_id)
    elif kind == EVENT_MODIFY_ORDER:
        code = l3_modify(book, event.order_id, event.px, event.qty)
    elif kind == EVENT_DEPTH_CLEAR:
        l3_clear(book, SIDE_NONE if not has_side else (SIDE_BUY if event.ev & EV_BUY else SIDE_SELL))
    else:
        return OK
    if code == OK:
        book.depth.ts = event.exch_ts
    return code


# Asks for what an event some rows ahead will need: first where its order's handle is, nearer to it the order.
cdef inline void l3_fetch(const L3Book* book, const Event* event) noexcept nogil:
    l2_fetch(&book.ids.slots[idmap_home(&book.ids, event.order_id)])


cdef inline void l3_fetch_order(const L3Book* book, const Event* event) noexcept nogil:
    l2_fetch(&book.orders[book.ids.slots[idmap_home(&book.ids, event.order_id)].value])


cdef class L3:
    cdef L3Book book
    cdef L2Book depth
    cdef _apply(self, const Event[::1] events, str view, best)
    cdef _done(self, int code, str what)
