"""Views: what Python strategies see of books, orders, fills and trades.

A view of a book is live: it shows the book of the moment it is read. Views of orders, fills, trades and
states are copies and may be kept. Making one costs an allocation; the path of compiled strategies
(native.pyx) makes none.
"""

cimport cython
from libc.math cimport NAN
from libc.stdint cimport uint32_t
from libc.stdlib cimport free, malloc

from engine.book.l2 cimport l2_ask_qty, l2_bid_qty, l2_levels
from engine.core.ticks cimport INVALID_MAX_TICK, INVALID_MIN_TICK, to_px, to_qty
from engine.core.types cimport *
from engine.risk.position cimport (
    position_avg_px,
    position_equity,
    position_qty,
    position_unrealized,
)
from engine.strategy.desk cimport book_mid, order_ended

from typing import NamedTuple

from engine.core.types import OrdType, Reason, Side, Status, TimeInForce
from engine.risk.codes import DENY_CODES, SCOPES

# Calling an IntEnum costs ten times what indexing a tuple does.
cdef dict _SIDES = {1: Side.BUY, -1: Side.SELL, 0: None}
cdef tuple _TYPES = tuple(OrdType)
cdef tuple _TIFS = tuple(TimeInForce)
cdef tuple _STATUSES = tuple(Status)
cdef dict _REASONS = {int(reason): reason for reason in Reason}


class StateValues(NamedTuple):
    """A strategy's position and money in one instrument; hftbacktest's definitions.

    Attributes:
        position: Quantity units, signed.
        balance: Minus the signed value of all trades.
        fee: Paid so far; rebates are negative.
        num_trades: Executions.
        trading_volume: Quantity traded, both sides.
        trading_value: Value traded, both sides.
        avg_px: Average cost of the position; NaN when flat.
        realized_pnl: Before fees, by average cost.
        unrealized_pnl: Against the mid price; NaN without one.
        equity: Balance plus the position's value at the mid, minus fees and funding; NaN without a mid.
        funding: Paid so far for holding the position; negative was received.
    """

    position: float
    balance: float
    fee: float
    num_trades: int
    trading_volume: float
    trading_value: float
    avg_px: float
    realized_pnl: float
    unrealized_pnl: float
    equity: float
    funding: float = 0.0


class Signal(NamedTuple):
    """A number from outside.

    Attributes:
        name: What it is.
        symbol: The instrument it is about; empty for all.
        value: The number.
        ts: Engine time when it arrived.
    """

    name: str
    symbol: str
    value: float
    ts: int


cdef object make_state(const Position* p, const Instrument* inst, double mid):
    return StateValues(
        position_qty(p, inst), p.balance, p.fee, p.num_trades, p.trading_volume, p.trading_value,
        position_avg_px(p, inst), p.realized_pnl, position_unrealized(p, inst, mid),
        position_equity(p, inst, mid), p.funding,
    )


@cython.final
cdef class BookView:
    """A live view of one instrument's local book. Prices of an empty side are NaN."""

    @property
    def best_bid_tick(self):
        """The best bid in ticks; None without a bid."""
        return None if self.book.best_bid_tick == INVALID_MIN_TICK else self.book.best_bid_tick

    @property
    def best_ask_tick(self):
        """The best ask in ticks; None without an ask."""
        return None if self.book.best_ask_tick == INVALID_MAX_TICK else self.book.best_ask_tick

    @property
    def best_bid(self):
        """The best bid's price."""
        if self.book.best_bid_tick == INVALID_MIN_TICK:
            return NAN
        return to_px(self.book.best_bid_tick, self.inst.tick_size)

    @property
    def best_ask(self):
        """The best ask's price."""
        if self.book.best_ask_tick == INVALID_MAX_TICK:
            return NAN
        return to_px(self.book.best_ask_tick, self.inst.tick_size)

    @property
    def best_bid_qty(self):
        """The quantity at the best bid; 0 without one."""
        if self.book.best_bid_tick == INVALID_MIN_TICK:
            return 0.0
        return l2_bid_qty(self.book, self.book.best_bid_tick)

    @property
    def best_ask_qty(self):
        """The quantity at the best ask; 0 without one."""
        if self.book.best_ask_tick == INVALID_MAX_TICK:
            return 0.0
        return l2_ask_qty(self.book, self.book.best_ask_tick)

    def bid_qty(self, int64_t tick):
        """The quantity bid at a price tick; 0 where there is none."""
        return l2_bid_qty(self.book, tick)

    def ask_qty(self, int64_t tick):
        """The quantity offered at a price tick; 0 where there is none."""
        return l2_ask_qty(self.book, tick)

    @property
    def mid(self):
        """The middle of the best prices; NaN unless both sides have one."""
        return book_mid(self.book)

    @property
    def tick_size(self):
        """The instrument's tick."""
        return self.inst.tick_size

    @property
    def lot_size(self):
        """The instrument's lot."""
        return self.inst.lot_size

    @property
    def contract_size(self):
        """The instrument's contract size."""
        return self.inst.contract_size

    cdef list _levels(self, int side, object n):
        cdef uint32_t size = max(0, min(int(n), 1 << 16)), count, i
        cdef int64_t* ticks
        cdef double* qtys
        if size == 0:
            return []
        ticks = <int64_t*>malloc(size * sizeof(int64_t))
        qtys = <double*>malloc(size * sizeof(double))
        try:
            if ticks == NULL or qtys == NULL:
                raise MemoryError
            count = l2_levels(self.book, side, size, ticks, qtys)
            return [(to_px(ticks[i], self.inst.tick_size), qtys[i]) for i in range(count)]
        finally:
            free(ticks)
            free(qtys)

    def bids(self, n=10):
        """The best ``n`` bids as (price, quantity), best first."""
        return self._levels(SIDE_BUY, n)

    def asks(self, n=10):
        """The best ``n`` asks as (price, quantity), best first."""
        return self._levels(SIDE_SELL, n)

    def __repr__(self):
        return f"<BookView {self.symbol} {self.best_bid} x {self.best_ask}>"


cdef BookView make_book(object owner, const L2Book* book, const Instrument* inst, str symbol):
    cdef BookView view = BookView.__new__(BookView)
    view.owner = owner
    view.book = book
    view.inst = inst
    view.symbol = symbol
    return view


@cython.final
@cython.freelist(32)
cdef class OrderView:
    """An order as it was when the view was made; prices and quantities in price and quantity units."""

    @property
    def order_id(self):
        """The engine's id of the order."""
        return self.order.order_id

    @property
    def client_order_id(self):
        """The owner's own id; 0 for strategies inside the engine."""
        return self.order.client_order_id

    @property
    def side(self):
        """BUY or SELL."""
        return _SIDES[self.order.side]

    @property
    def px(self):
        """The limit price; during a modify, the new one."""
        return to_px(self.order.price_tick, self.tick_size)

    @property
    def price_tick(self):
        """The limit price in ticks."""
        return self.order.price_tick

    @property
    def lots(self):
        """The quantity asked for, in lots."""
        return self.order.qty

    @property
    def leaves_lots(self):
        """The quantity still open, in lots."""
        return self.order.leaves_qty

    @property
    def cum_exec_lots(self):
        """The quantity executed so far, in lots."""
        return self.order.cum_exec_qty

    @property
    def exec_lots(self):
        """The quantity of the last execution, in lots."""
        return self.order.exec_qty

    @property
    def qty(self):
        """The quantity asked for."""
        return to_qty(self.order.qty, self.lot_size)

    @property
    def leaves_qty(self):
        """The quantity still open."""
        return to_qty(self.order.leaves_qty, self.lot_size)

    @property
    def cum_exec_qty(self):
        """The quantity executed so far."""
        return to_qty(self.order.cum_exec_qty, self.lot_size)

    @property
    def exec_qty(self):
        """The quantity of the last execution."""
        return to_qty(self.order.exec_qty, self.lot_size)

    @property
    def exec_px(self):
        """The price of the last execution."""
        return to_px(self.order.exec_price_tick, self.tick_size)

    @property
    def status(self):
        """What the order is; DENIED means that a request was refused by the engine's own checks."""
        return _STATUSES[self.order.status]

    @property
    def req(self):
        """The request in flight: NEW, CANCELED or REPLACED; NONE without one."""
        return _STATUSES[self.order.req]

    @property
    def reason(self):
        """Why the order ended or was denied."""
        return _REASONS[self.order.reason]

    @property
    def deny_code(self):
        """Of a denied request: its reason with the category in front, such as ``RISK_MAX_POSITION``; else empty."""
        return DENY_CODES.get(self.order.reason, "") if self.order.status == STATUS_DENIED else ""

    @property
    def limit(self):
        """Of a denied request: the limit that stood against it, in the limit's own unit; 0 without one."""
        return self.order.queue_ahead if self.order.status == STATUS_DENIED else 0.0

    @property
    def actual(self):
        """Of a denied request: the value that would have passed the limit."""
        return self.order.queue_traded if self.order.status == STATUS_DENIED else 0.0

    @property
    def scope(self):
        """Of a denied request: whose limit it was, ``order``, ``strategy``, ``instrument`` or ``global``; else empty."""
        return SCOPES[self.order.flags] if self.order.status == STATUS_DENIED else ""

    @property
    def order_type(self):
        """LIMIT or MARKET."""
        return _TYPES[self.order.order_type]

    @property
    def time_in_force(self):
        """How long the order rests."""
        return _TIFS[self.order.time_in_force]

    @property
    def exch_ts(self):
        """When the venue last touched it; 0 before it did."""
        return self.order.exch_ts

    @property
    def local_ts(self):
        """When its last request was sent."""
        return self.order.local_ts

    @property
    def is_live(self):
        """Whether it can still execute or has a request in flight."""
        return self.order.status != STATUS_DENIED and not order_ended(&self.order)

    def __repr__(self):
        return (
            f"<OrderView {self.order_id} {self.symbol} {self.side.name} {self.leaves_qty:g}/{self.qty:g} "
            f"at {self.px:g} {self.status.name} req {self.req.name}>"
        )


cdef OrderView make_order(const Order* order, const Instrument* inst, str symbol):
    cdef OrderView view = OrderView.__new__(OrderView)
    view.order = order[0]
    view.tick_size = inst.tick_size
    view.lot_size = inst.lot_size
    view.symbol = symbol
    return view


@cython.final
@cython.freelist(8)
cdef class FillView:
    """An execution of one of the strategy's orders."""

    @property
    def order_id(self):
        """The engine's id of the order."""
        return self.fill.order_id

    @property
    def side(self):
        """BUY or SELL."""
        return _SIDES[self.fill.side]

    @property
    def px(self):
        """The price."""
        return self.fill.px

    @property
    def price_tick(self):
        """The price in ticks."""
        return self.fill.price_tick

    @property
    def lots(self):
        """The quantity in lots."""
        return self.fill.qty

    @property
    def qty(self):
        """The quantity in quantity units."""
        return to_qty(self.fill.qty, self.lot_size)

    @property
    def fee(self):
        """The fee; negative is a rebate."""
        return self.fill.fee

    @property
    def is_maker(self):
        """Whether the order rested."""
        return bool(self.fill.is_maker)

    @property
    def mid_price(self):
        """The local mid price when the strategy learned of it; NaN without one."""
        return self.fill.mid_price

    @property
    def reason(self):
        """Why it happened."""
        return _REASONS[self.fill.reason]

    @property
    def exch_ts(self):
        """When it happened at the venue."""
        return self.fill.exch_ts

    @property
    def local_ts(self):
        """When the strategy learned of it."""
        return self.fill.local_ts

    def __repr__(self):
        return f"<FillView {self.order_id} {self.symbol} {self.side.name} {self.qty:g} at {self.px:g}>"


cdef FillView make_fill(const Fill* fill, const Instrument* inst, str symbol):
    cdef FillView view = FillView.__new__(FillView)
    view.fill = fill[0]
    view.lot_size = inst.lot_size
    view.symbol = symbol
    return view


@cython.final
@cython.freelist(8)
cdef class TradeView:
    """A public trade; ``side`` is the aggressor's."""

    def __repr__(self):
        return f"<TradeView {self.symbol} {self.qty:g} at {self.px:g}>"


cdef TradeView make_trade(const Event* event, str symbol):
    cdef TradeView view = TradeView.__new__(TradeView)
    view.symbol = symbol
    view.exch_ts = event.exch_ts
    view.local_ts = event.local_ts
    view.px = event.px
    view.qty = event.qty
    view.side = _SIDES[1 if event.ev & EV_BUY else -1 if event.ev & EV_SELL else 0]
    return view
