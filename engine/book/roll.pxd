"""The roll of a market's orders: what each is, by its id, for books that keep no orders themselves.

What it is
    An open-addressing map at half load at most whose slots hold the orders themselves: price, side, quantity
    and place. An event becomes a ``RollChange``, which says what the order was and what it is now, so that a
    book of levels can follow without knowing one order. That is a function of the events alone: several
    books that see the same events share one roll, and each change is looked up once for all of them.

    Of two orders of a queue, that with the lesser place is ahead. Whoever applies an event gives the place
    that an order gets which joins a queue by it; places grow from event to event and have bit 0 free.

What it costs
    An event of an order is a search, in one cache line or two, that ``roll_fetch`` can ask for beforehand.
    A removal shifts the slots behind it back, so there are no tombstones.

The bad case
    An add that finds the map half full doubles it, which takes as long as it takes to write all orders
    again. A clear of one side looks at every slot. Ids made to collide cost a scan, never a wrong answer.
"""

from libc.math cimport fabs
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from engine.book.l2 cimport L2_TICK_LIMIT, l2_fetch
from engine.book.ladder cimport ladder_rare
from engine.core.codes cimport ERR_BAD_TICK, ERR_ORDER_NOT_FOUND, OK
from engine.core.ticks cimport round_half_away
from engine.core.types cimport (
    EV_BUY,
    EV_KIND_MASK,
    EV_SELL,
    EVENT_ADD_ORDER,
    EVENT_CANCEL_ORDER,
    EVENT_DEPTH_CLEAR,
    EVENT_FILL,
    EVENT_MODIFY_ORDER,
    Event,
)


cdef enum RollOp:
    ROLL_NONE = 0                # nothing to a book of orders
    ROLL_ADD = 1
    ROLL_CANCEL = 2
    ROLL_STAY = 3                # modified at its price
    ROLL_MOVE = 4                # modified to another
    ROLL_FILL = 5                # filled; it stays until it is cancelled
    ROLL_CLEAR = 6
    ROLL_REFUSED = 7


cdef enum:
    ROLL_BOTH = 2                # the side of a clear of both


# A free one is all 0.
cdef struct RollSlot:
    uint64_t order_id
    int64_t key                  # tick of a bid, ~tick of an ask
    double qty
    uint64_t place               # with the side as bit 0


# What an event did to an order, or what is wrong with it.
cdef struct RollChange:
    int64_t key                  # the level that the order was at, or an add puts it to,
    double delta                 # and what that makes of the level's total
    int64_t to                   # the level to which a move puts all of it; where a fill was done
    uint64_t place               # that the order had, without a side
    uint8_t op                   # RollOp
    uint8_t side                 # of the order: 0 bids, 1 asks
    uint16_t _pad
    int32_t code                 # OK, or why it is refused; a refused fill stays one: not all books look at those


cdef struct OrderRoll:
    RollSlot* slots              # two to a cache line
    void* memory                 # in which they are
    uint32_t mask                # slots - 1
    uint32_t shift               # 64 - log2(slots)
    uint32_t n_orders
    double tick_size
    double max_qty


# orders: how many to have room for from the start, 0 for the default. ERR_BAD_SIZE, ERR_NO_MEMORY.
cdef int roll_init(OrderRoll* roll, double tick_size, double lot_size, uint32_t orders) noexcept nogil
cdef void roll_free(OrderRoll* roll) noexcept nogil
# Makes `roll`, which holds nothing yet, another of the same orders. ERR_NO_MEMORY.
cdef int roll_copy(OrderRoll* roll, const OrderRoll* other) noexcept nogil
cdef int roll_check(const OrderRoll* roll) noexcept nogil

# The out-of-line parts of roll_apply: why an event is refused, OK if it is not; ...
cdef int _roll_refuse(const OrderRoll* roll, const Event* event) noexcept nogil
cdef int _roll_double(OrderRoll* roll) noexcept nogil
cdef void _roll_clear(OrderRoll* roll, int side) noexcept nogil


cdef inline uint32_t _roll_home(const OrderRoll* roll, uint64_t order_id) noexcept nogil:
    # As in core/idmap.pxd: folding lets ids that differ only in high bits spread as well.
    return <uint32_t>(((order_id ^ (order_id >> 32)) * <uint64_t>0x9e3779b97f4a7c15) >> roll.shift)


# The slot of an order, or the free one where it would go.
cdef inline RollSlot* _roll_find(const OrderRoll* roll, uint64_t order_id) noexcept nogil:
    cdef uint32_t i = _roll_home(roll, order_id)
    while roll.slots[i].place != 0 and roll.slots[i].order_id != order_id:
        i = (i + 1) & roll.mask
    return roll.slots + i


cdef inline void _roll_remove(OrderRoll* roll, RollSlot* slot) noexcept nogil:
    cdef uint32_t hole = <uint32_t>(slot - roll.slots)
    cdef uint32_t i = (hole + 1) & roll.mask
    while roll.slots[i].place != 0:
        # Move it back when the hole lies on its way from home to here.
        if ((i - _roll_home(roll, roll.slots[i].order_id)) & roll.mask) >= ((i - hole) & roll.mask):
            roll.slots[hole] = roll.slots[i]
            hole = i
        i = (i + 1) & roll.mask
    roll.slots[hole].order_id = 0
    roll.slots[hole].key = 0
    roll.slots[hole].qty = 0.0
    roll.slots[hole].place = 0
    roll.n_orders -= 1


# An add or a modification, which differ in little, so that their mixture costs no mispredicted branches: a free
# slot is all 0. An order keeps its side whatever the event says, and its place only at the same price with no more
# quantity.
cdef inline int _roll_put(
    OrderRoll* roll, RollSlot* slot, bint adds, const Event* event, uint64_t place, RollChange* out
) noexcept nogil:
    cdef double ratio = event.px / roll.tick_size
    cdef double qty = event.qty
    cdef double old_qty = slot.qty
    cdef uint64_t held = slot.place
    cdef uint64_t side = ((event.ev & EV_BUY) == 0) if adds else held & 1
    cdef int64_t key
    cdef bint moves
    cdef uint64_t kept
    # Written so that NaN fails.
    if ladder_rare(
        not ((fabs(ratio) < L2_TICK_LIMIT) & (0.0 <= qty) & (qty <= roll.max_qty) & ((held != 0) != adds))
    ):
        return _roll_refuse(roll, event)
    key = round_half_away(ratio) ^ -<int64_t>side
    moves = (key != slot.key) & (not adds)
    # All of the old quantity goes where it moves, else the difference.
    kept = (<uint64_t*>&qty)[0] & (<uint64_t>moves - 1)
    out.op = ROLL_ADD if adds else <uint8_t>(ROLL_STAY + moves)
    out.side = <uint8_t>side
    out.key = slot.key if moves else key
    out.delta = (<double*>&kept)[0] - old_qty
    out.to = key
    out.place = held & ~<uint64_t>1
    roll.n_orders += adds
    slot.order_id = event.order_id
    slot.key = key
    slot.qty = qty
    slot.place = (place | side) if adds | moves | (qty > old_qty) else held
    return OK


# A cancel or a fill.
cdef inline int _roll_take(
    OrderRoll* roll, RollSlot* slot, bint fills, const Event* event, RollChange* out
) noexcept nogil:
    cdef double ratio
    if ladder_rare(slot.place == 0):
        return ERR_ORDER_NOT_FOUND
    out.side = slot.place & 1
    out.key = slot.key
    out.place = slot.place & ~<uint64_t>1
    out.delta = -slot.qty
    out.op = ROLL_CANCEL
    if not fills:
        _roll_remove(roll, slot)
        return OK
    out.op = ROLL_FILL
    ratio = event.px / roll.tick_size
    if ladder_rare(not fabs(ratio) < L2_TICK_LIMIT):
        return ERR_BAD_TICK
    out.to = round_half_away(ratio) ^ -<int64_t>out.side
    return OK


# Applies an event whatever its EXCH/LOCAL flags. `place` is what an order that joins a queue gets.
cdef inline void roll_apply(
    OrderRoll* roll, const Event* event, uint64_t place, RollChange* out
) noexcept nogil:
    cdef uint64_t kind = event.ev & EV_KIND_MASK
    cdef bint has_side = (event.ev & (EV_BUY | EV_SELL)) != 0
    cdef RollSlot* slot = _roll_find(roll, event.order_id)
    cdef int code = OK
    out.op = ROLL_NONE
    if kind == EVENT_MODIFY_ORDER or (kind == EVENT_ADD_ORDER and has_side):
        if ladder_rare(roll.n_orders > roll.mask >> 1):
            code = _roll_double(roll)
            slot = _roll_find(roll, event.order_id)
        if code == OK:
            code = _roll_put(roll, slot, kind == EVENT_ADD_ORDER, event, place, out)
    elif kind == EVENT_CANCEL_ORDER or (kind == EVENT_FILL and has_side):
        code = _roll_take(roll, slot, kind == EVENT_FILL, event, out)
    elif kind == EVENT_DEPTH_CLEAR:
        out.op = ROLL_CLEAR
        out.side = ROLL_BOTH if not has_side else (event.ev & EV_BUY) == 0
        _roll_clear(roll, out.side)
    out.code = code
    if ladder_rare(code != OK):
        out.op = ROLL_FILL if kind == EVENT_FILL else ROLL_REFUSED


# Asks for what an event some way ahead will need.
cdef inline void roll_fetch(const OrderRoll* roll, const Event* event) noexcept nogil:
    l2_fetch(roll.slots + _roll_home(roll, event.order_id))


cdef class Roll:
    cdef OrderRoll roll
    cdef uint64_t n_events
