"""Counting fills and keeping the logs; see the header of account.pxd."""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memset

from engine.backtest.funding cimport funding_due, funding_pass
from engine.backtest.order cimport SimOrder
from engine.core.codes cimport ERR_NO_MEMORY, OK
from engine.core.ticks cimport to_px
from engine.core.types cimport Instrument, instrument_amount


cdef void account_free(Account* account) noexcept nogil:
    free(account.fills)
    free(account.orders)
    memset(account, 0, sizeof(Account))


cdef int account_fill(
    Account* account, const Instrument* instrument, const SimOrder* order, int64_t now
) noexcept nogil:
    cdef StateValues* values = &account.values
    cdef double px = to_px(order.exec_price_tick, instrument.tick_size)
    cdef double amount = instrument_amount(instrument, px, order.exec_qty)
    cdef uint64_t room
    cdef FillRow* fills
    cdef FillRow* row
    values.position += order.exec_qty * order.side
    values.balance -= amount * order.side
    values.fee += order.fee
    values.num_trades += 1
    values.trading_volume += order.exec_qty
    values.trading_value += amount
    if account.n_fills == account.fill_room:
        room = max(2 * account.fill_room, <uint64_t>256)
        fills = <FillRow*>realloc(account.fills, room * sizeof(FillRow))
        if fills == NULL:
            return ERR_NO_MEMORY
        account.fills = fills
        account.fill_room = room
    row = &account.fills[account.n_fills]
    memset(row, 0, sizeof(FillRow))
    row.ts = now
    row.exch_ts = order.exch_ts
    row.order_id = order.order_id
    row.price_tick = order.exec_price_tick
    row.px = px
    row.qty = order.exec_qty
    row.fee = order.fee
    row.position = values.position
    row.side = order.side
    row.maker = order.is_maker
    row.reason = order.reason
    account.n_fills += 1
    return OK


cdef void account_pay(Account* account, const Instrument* instrument, double mid, bint paying) noexcept nogil:
    cdef double position = account.values.position
    if paying and position != 0.0:
        # A position has had a fill.
        account.funding_paid += funding_due(
            &account.funding, instrument, position, mid, account.fills[account.n_fills - 1].px
        )
    funding_pass(&account.funding)


cdef int account_log(Account* account, const SimOrder* order, bint answer, int64_t now) noexcept nogil:
    cdef uint64_t room
    cdef OrderRow* rows
    cdef OrderRow* row
    if account.n_orders == account.order_room and account.order_room < ORDER_LOG_ROWS:
        room = max(2 * account.order_room, <uint64_t>1024)
        rows = <OrderRow*>realloc(account.orders, room * sizeof(OrderRow))
        if rows == NULL:
            return ERR_NO_MEMORY
        account.orders = rows
        account.order_room = room
    row = &account.orders[account.n_orders & (ORDER_LOG_ROWS - 1)]
    memset(row, 0, sizeof(OrderRow))
    row.ts = now
    row.order_id = order.order_id
    row.price_tick = order.price_tick
    row.qty = order.qty
    row.leaves_qty = order.leaves_qty
    row.answer = answer
    row.req = order.req
    row.status = order.status
    row.order_type = order.order_type
    row.time_in_force = order.time_in_force
    row.side = order.side
    if answer:
        row.exch_ts = order.exch_ts
        row.reason = order.reason
    account.n_orders += 1
    return OK
