"""The context that Python strategies trade through, thin over the desk; programmer errors raise here."""

cimport cython
from libc.math cimport fabs, isfinite, round as c_round
from libc.stdint cimport uint32_t, uint64_t

from engine.core.codes cimport ERR_DENIED, OK
from engine.core.ticks cimport to_tick
from engine.core.types cimport ORDER_LIMIT, ORDER_MARKET, REASON_CANCEL_REQUESTED, TIF_GTC, TIF_GTX, TIF_IOC
from engine.risk.position cimport position_qty
from engine.strategy.desk cimport (
    ANY_INSTRUMENT,
    OUTPUT_LOG,
    book_mid,
    desk_cancel,
    desk_cancel_all,
    desk_cell,
    desk_emit,
    desk_live,
    desk_modify,
    desk_order,
    desk_set_timer,
    desk_submit,
    desk_trading,
)
from engine.strategy.script cimport (
    SCRIPT_CANCEL,
    SCRIPT_CANCEL_ALL,
    SCRIPT_LOG,
    SCRIPT_MODIFY,
    SCRIPT_RECORD,
    SCRIPT_SUBMIT,
    SCRIPT_TIMER,
    Script,
)
from engine.strategy.views cimport BookView, make_order, make_state

from operator import index

from engine.core.errors import InvalidOrder, OrderNotFound, raise_for_code
from engine.core.types import Side

MAX_LOGS = 4096
"""Log lines kept until someone takes them; later ones are dropped and counted."""

cdef dict _SIDE_NUMBERS = {Side.BUY: 1, Side.SELL: -1, "buy": 1, "sell": -1}


@cython.final
cdef class Context:
    """What a strategy trades through. Where ``symbol`` may be left out, it is the strategy's first."""

    @property
    def now(self):
        """Engine time in nanoseconds."""
        return self.desk.now

    @property
    def seed(self):
        """The run's seed: draw random numbers from it, and the same run draws the same ones."""
        return self.owner.seed

    @property
    def trading(self):
        """Whether new orders can pass: the strategy is running and trading is not halted or reducing."""
        return desk_trading(self.desk, self.slot)

    cdef int _instrument(self, object symbol) except -1:
        if symbol is None:
            return self.first
        found = self.index.get(symbol)
        if found is None:
            raise InvalidOrder(f"unknown symbol {symbol!r}; {self.name} has {', '.join(self.symbols)}")
        return found

    cdef int64_t _lots(self, uint16_t instrument, double qty) except -1:
        cdef double lots = qty / self.desk.instruments[instrument].lot_size
        cdef double whole = c_round(lots)
        if not isfinite(qty) or whole < 1.0 or whole > 9e15 or fabs(lots - whole) > 1e-6:
            raise InvalidOrder(
                f"quantity {qty!r} is not a positive number of lots of "
                f"{self.desk.instruments[instrument].lot_size:g}"
            )
        return <int64_t>whole

    cdef int64_t _tick(self, uint16_t instrument, double px) except? -1:
        cdef double tick_size = self.desk.instruments[instrument].tick_size
        if not isfinite(px) or fabs(px / tick_size) > 9e15:
            raise InvalidOrder(f"price {px!r} is not a number that a price can be")
        return to_tick(px, tick_size)

    cdef int _check(self, object side, int order_type, int time_in_force) except? -2:
        """The side's number; raises for what no order can have."""
        number = _SIDE_NUMBERS.get(side)
        if number is None:
            raise InvalidOrder(f"side {side!r} is neither buy nor sell")
        if not ORDER_LIMIT <= order_type <= ORDER_MARKET:
            raise InvalidOrder(f"unknown order type {order_type}")
        if not TIF_GTC <= time_in_force <= TIF_IOC:
            raise InvalidOrder(f"unknown time in force {time_in_force}")
        return number

    def book(self, symbol=None):
        """The live view of a book."""
        return self.views[self._instrument(symbol)]

    def position(self, symbol=None):
        """The position in quantity units, signed."""
        cdef uint16_t i = self._instrument(symbol)
        return position_qty(&desk_cell(self.desk, self.slot, i).position, &self.desk.instruments[i])

    def position_lots(self, symbol=None):
        """The position in lots, signed."""
        return desk_cell(self.desk, self.slot, self._instrument(symbol)).position.lots

    def state(self, symbol=None):
        """Position and money of this strategy in an instrument, valued at the mid, as ``StateValues``."""
        cdef uint16_t i = self._instrument(symbol)
        return make_state(
            &desk_cell(self.desk, self.slot, i).position, &self.desk.instruments[i],
            book_mid(&self.desk.books[i]),
        )

    def submit(self, symbol, side, double px, double qty, int order_type=ORDER_LIMIT, int time_in_force=TIF_GTC):
        """Sends an order.

        Args:
            symbol: The instrument; None for the first.
            side: ``Side.BUY`` or ``Side.SELL`` (1, -1, "buy", "sell").
            px: The limit price, rounded to the nearest tick; ignored for a market order.
            qty: A whole number of lots in quantity units.
            order_type: ``OrdType.LIMIT`` or ``OrdType.MARKET``.
            time_in_force: ``TimeInForce``.

        Returns:
            The order's id, or 0 when it was denied: ``on_order`` then has the reason.

        Raises:
            InvalidOrder: The order cannot exist: unknown symbol, NaN price, quantity not in lots.
        """
        cdef uint16_t i = self._instrument(symbol)
        cdef int number = self._check(side, order_type, time_in_force)
        cdef int64_t lots = self._lots(i, qty)
        cdef int64_t tick = 0 if order_type == ORDER_MARKET else self._tick(i, px)
        return self._submit(i, number, tick, lots, order_type, time_in_force)

    def submit_ticks(
        self, symbol, side, int64_t price_tick, int64_t lots, int order_type=ORDER_LIMIT,
        int time_in_force=TIF_GTC
    ):
        """Sends an order given in whole ticks and lots; otherwise as :meth:`submit`."""
        cdef uint16_t i = self._instrument(symbol)
        cdef int number = self._check(side, order_type, time_in_force)
        return self._submit(i, number, price_tick, lots, order_type, time_in_force)

    cdef object _submit(self, uint16_t i, int side, int64_t tick, int64_t lots, int order_type, int time_in_force):
        if self.script.mode == SCRIPT_RECORD:
            self.script.add(self.slot, SCRIPT_SUBMIT, i, 0, tick, lots, side, order_type, time_in_force)
        return desk_submit(self.desk, self.slot, i, side, tick, lots, order_type, time_in_force, 0)

    def buy(self, px, qty, symbol=None, post_only=False):
        """A limit order to buy; ``post_only`` never takes. As :meth:`submit`."""
        return self.submit(symbol, 1, px, qty, ORDER_LIMIT, TIF_GTX if post_only else TIF_GTC)

    def sell(self, px, qty, symbol=None, post_only=False):
        """A limit order to sell; ``post_only`` never takes. As :meth:`submit`."""
        return self.submit(symbol, -1, px, qty, ORDER_LIMIT, TIF_GTX if post_only else TIF_GTC)

    def cancel(self, order_id):
        """Asks the venue to cancel an order.

        Raises:
            OrderNotFound: No live order of this strategy has the id.
            RequestInProcess: Another request on it is in flight; wait for ``on_order``.
        """
        cdef uint64_t number = order_id
        cdef int code
        if self.script.mode == SCRIPT_RECORD:
            self.script.add(self.slot, SCRIPT_CANCEL, 0, number, 0, 0, 0, 0, 0)
        code = desk_cancel(self.desk, self.slot, number, REASON_CANCEL_REQUESTED)
        if code != OK:
            raise_for_code(code, f"order {order_id}")

    def modify(self, order_id, double px, double qty):
        """Asks the venue for a new price and open quantity of an order.

        Returns:
            Whether it was sent; false when it was denied: ``on_order`` then has the reason.

        Raises:
            InvalidOrder: As :meth:`submit`.
            OrderNotFound: No live order of this strategy has the id.
            RequestInProcess: Another request on it is in flight; wait for ``on_order``.
        """
        cdef uint16_t i
        if desk_order(self.desk, self.slot, order_id) == NULL:
            raise OrderNotFound(f"no order of that id: order {order_id}")
        i = desk_order(self.desk, self.slot, order_id).order.instrument
        cdef int64_t tick = self._tick(i, px)
        return self.modify_ticks(order_id, tick, self._lots(i, qty))

    def modify_ticks(self, order_id, int64_t price_tick, int64_t lots):
        """Asks for a new price and open quantity in whole ticks and lots; otherwise as :meth:`modify`."""
        cdef uint64_t number = order_id
        cdef int code
        if self.script.mode == SCRIPT_RECORD:
            self.script.add(self.slot, SCRIPT_MODIFY, 0, number, price_tick, lots, 0, 0, 0)
        code = desk_modify(self.desk, self.slot, number, price_tick, lots)
        if code == ERR_DENIED:
            return False
        if code != OK:
            raise_for_code(code, f"order {order_id}")
        return True

    def cancel_all(self, symbol=None):
        """Cancels all live orders, of one instrument if it is named; returns how many.

        Orders with a request in flight are cancelled as soon as it is answered.
        """
        cdef uint16_t i = ANY_INSTRUMENT if symbol is None else self._instrument(symbol)
        if self.script.mode == SCRIPT_RECORD:
            self.script.add(self.slot, SCRIPT_CANCEL_ALL, i, 0, 0, 0, 0, 0, 0)
        return desk_cancel_all(self.desk, self.slot, i, REASON_CANCEL_REQUESTED)

    def orders(self, symbol=None):
        """Views of the live orders, oldest first in each instrument, of one instrument if it is named."""
        cdef uint32_t handle
        cdef uint16_t i
        chosen = self.views if symbol is None else (self._instrument(symbol),)
        found = []
        for i in chosen:
            handle = desk_cell(self.desk, self.slot, i).head
            while handle != 0:
                found.append(self._view(i, handle))
                handle = desk_live(self.desk, handle).order.next_handle
        return found

    def _view(self, uint16_t instrument, uint32_t handle):
        return make_order(
            &desk_live(self.desk, handle).order, &self.desk.instruments[instrument],
            (<BookView>self.views[instrument]).symbol,
        )

    def order(self, order_id):
        """A view of an order, or None when no live order of this strategy has the id."""
        cdef uint16_t i
        if desk_order(self.desk, self.slot, order_id) == NULL:
            return None
        i = desk_order(self.desk, self.slot, order_id).order.instrument
        return make_order(
            &desk_order(self.desk, self.slot, order_id).order, &self.desk.instruments[i],
            (<BookView>self.views[i]).symbol,
        )

    def set_timer(self, interval_ns, first=None):
        """Arms the strategy's timer: ``on_timer`` at ``first`` and every ``interval_ns`` after it.

        Args:
            interval_ns: Nanoseconds between calls; 0 disarms the timer.
            first: Engine time of the first call; one interval from now by default.

        Raises:
            InvalidOrder: The interval is negative or does not fit 63 bits.
            TypeError: It is no integer.
        """
        interval_ns, first = index(interval_ns), None if first is None else index(first)
        if not 0 <= interval_ns < 1 << 62 or not (first is None or 0 <= first < 1 << 62):
            raise InvalidOrder(f"timer of {interval_ns} ns, first at {first}")
        cdef int64_t start = self.desk.now + <int64_t>interval_ns if first is None else first
        if self.script.mode == SCRIPT_RECORD:
            self.script.add(self.slot, SCRIPT_TIMER, 0, 0, start, interval_ns, 0, 0, 0)
        desk_set_timer(self.desk, self.slot, interval_ns, start)

    def log(self, text):
        """Writes a line to the log; of very many at once only the first are kept."""
        text = str(text)
        if self.script.mode == SCRIPT_RECORD:
            self.script.add_text(self.slot, SCRIPT_LOG, text)
        # The output does not hang on how soon the lines before it were taken: a replay takes none.
        if desk_emit(self.desk, OUTPUT_LOG, self.slot, NULL, 0, NULL, False) and len(self.logs) < MAX_LOGS:
            self.logs.append((self.desk.now, self.desk.step, self.name, "info", text))


cdef Context make_context(
    object owner, Desk* desk, uint16_t slot, str name, tuple symbols, list instruments, list logs, list views,
    Script script
):
    cdef Context ctx = Context.__new__(Context)
    ctx.owner = owner
    ctx.desk = desk
    ctx.slot = slot
    ctx.name = name
    ctx.symbols = symbols
    ctx.first = instruments[0]
    ctx.index = dict(zip(symbols, instruments))
    ctx.views = {i: views[i] for i in instruments}
    ctx.logs = logs
    ctx.script = script
    return ctx
