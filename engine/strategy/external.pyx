"""Requests of external strategies: checked, then the desk's own submit, modify and cancel.

What a client can get wrong is answered by a DENIED update with the reason. What only a broken bridge can
get wrong is a result code, and changes nothing.
"""

from libc.stdint cimport int64_t, uint16_t, uint32_t

from engine.core.codes cimport (
    ERR_INVALID_REQUEST,
    ERR_REQUEST_IN_PROCESS,
    ERR_UNKNOWN_INSTRUMENT,
    ERR_UNKNOWN_STRATEGY,
    OK,
)
from engine.core.idmap cimport idmap_find
from engine.core.types cimport *
from engine.strategy.admission cimport open_lots
from engine.strategy.desk cimport (
    ANY_INSTRUMENT,
    Cell,
    KIND_EXTERNAL,
    LiveOrder,
    desk_cancel_all,
    desk_cell,
    desk_deny,
    desk_live,
    desk_modify,
    desk_submit,
    desk_want_cancel,
)


cdef int _external_change(Desk* desk, const Order* request) noexcept nogil:
    """A modify or cancel by client_order_id; what cannot be done is answered by a DENIED update."""
    cdef uint32_t handle = idmap_find(&desk.client_ids[request.strategy], request.client_order_id)
    cdef Order* order
    cdef Order answer
    cdef int code
    if handle == 0:
        answer = request[0]
        desk_deny(desk, &answer, STATUS_NONE, REASON_UNKNOWN_ORDER)
        return OK
    order = &desk_live(desk, handle).order
    if request.req == STATUS_CANCELED:
        if order.req != STATUS_CANCELED:
            desk_want_cancel(desk, desk_live(desk, handle), REASON_CANCEL_REQUESTED)
        return OK
    code = desk_modify(desk, request.strategy, order.order_id, request.price_tick, request.qty)
    if code == ERR_REQUEST_IN_PROCESS or code == ERR_INVALID_REQUEST:
        answer = order[0]
        answer.req = STATUS_REPLACED
        if code == ERR_REQUEST_IN_PROCESS:
            desk_deny(desk, &answer, order.status, REASON_REQUEST_IN_FLIGHT)
        else:
            desk_deny(desk, &answer, order.status, REASON_INVALID_QTY if request.qty <= 0 else REASON_INVALID_PRICE)
    return OK


cdef int external_request(Desk* desk, const Order* request) noexcept nogil:
    """An external strategy's request; a malformed one, which no client can have sent, is an error."""
    cdef Order order
    if request.strategy >= desk.n_strategies or desk.slots[request.strategy].kind != KIND_EXTERNAL:
        return ERR_UNKNOWN_STRATEGY
    if request.req == STATUS_CANCELED and request.client_order_id == 0:
        if request.instrument != ANY_INSTRUMENT and request.instrument >= desk.n_instruments:
            return ERR_UNKNOWN_INSTRUMENT
        desk_cancel_all(desk, request.strategy, request.instrument, REASON_CANCEL_REQUESTED)
        return OK
    if request.instrument >= desk.n_instruments:
        return ERR_UNKNOWN_INSTRUMENT
    if request.req == STATUS_CANCELED or request.req == STATUS_REPLACED:
        return _external_change(desk, request)
    if (
        request.req != STATUS_NEW or request.order_type > ORDER_MARKET or request.time_in_force > TIF_IOC
        or (request.side != SIDE_BUY and request.side != SIDE_SELL)
    ):
        return ERR_INVALID_REQUEST
    if (
        request.client_order_id == 0
        or idmap_find(&desk.client_ids[request.strategy], request.client_order_id) != 0
    ):
        order = request[0]
        desk_deny(desk, &order, STATUS_NONE, REASON_DUPLICATE_ORDER_ID)
        return OK
    desk_submit(
        desk, request.strategy, request.instrument, request.side, request.price_tick, request.qty,
        request.order_type, request.time_in_force, request.client_order_id,
    )
    return OK


cdef uint32_t external_reduce(Desk* desk, uint16_t strategy) noexcept nogil:
    cdef Cell* cell
    cdef LiveOrder* live
    cdef uint32_t handle, found = 0
    cdef int64_t room, lots
    cdef uint16_t i
    for i in range(desk.n_instruments):
        cell = desk_cell(desk, strategy, i)
        room = cell.position.lots if cell.position.lots > 0 else -cell.position.lots
        handle = cell.head
        while handle != 0:
            live = desk_live(desk, handle)
            handle = live.order.next_handle
            lots = open_lots(&live.order)
            if live.order.side * cell.position.lots < 0 and lots <= room and live.order.req != STATUS_CANCELED:
                room -= lots
            else:
                desk_want_cancel(desk, live, REASON_CANCEL_ON_DISCONNECT)
                found += 1
    return found
