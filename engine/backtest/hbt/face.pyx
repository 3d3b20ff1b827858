"""The polled backtest for Python: hftbacktest's classes by its names, on the calls of calls.pxd."""

from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

import numpy as np

from engine.backtest.exchange cimport ExchangeModels, book_window, exchange_init, models_from_config
from engine.backtest.exchange_l3 cimport orders_blame
from engine.backtest.funding cimport FundingRates
from engine.backtest.hbt.account cimport ORDER_LOG_ROWS, Account, FillRow, OrderRow
from engine.backtest.hbt.calls cimport (
    Session,
    call_cancel,
    call_clear_inactive_orders,
    call_clear_last_trades,
    call_close,
    call_elapse,
    call_goto_end,
    call_market,
    call_modify,
    call_now,
    call_submit,
    call_wait_next_feed,
    call_wait_order_response,
    market_queue_ahead,
    market_queue_total,
)
from engine.backtest.hbt.market cimport Market, market_check, market_free
from engine.backtest.hbt.table cimport table_init
from engine.backtest.hbt.views cimport array_of, depth_of, orders_of, state_of
from engine.backtest.latency cimport Latencies
from engine.backtest.models.seat cimport CustomModels, seat_models
from engine.backtest.queue cimport QUEUE_L3_FIFO
from engine.backtest.source cimport Packer, Source
from engine.backtest.tape cimport LOCAL, VENUE
from engine.book.l2 cimport L2Book, L2Change, l2_apply, l2_init
from engine.core.codes cimport OK
from engine.core.types cimport EV_KIND_MASK, EVENT_DEPTH_SNAPSHOT, SIDE_BUY, SIDE_SELL, Event

from engine.backtest.hbt.asset import check_assets
from engine.core.errors import raise_for_code
from engine.core.types import event_dtype

fill_dtype = np.dtype(
    [
        ("ts", "i8"),
        ("exch_ts", "i8"),
        ("order_id", "u8"),
        ("price_tick", "i8"),
        ("px", "f8"),
        ("qty", "f8"),
        ("fee", "f8"),
        ("position", "f8"),
        ("side", "i1"),
        ("maker", "?"),
        ("reason", "u1"),
        ("_padding", "V5"),
    ]
)
"""A fill: when we learnt of it and when it was, what and how it cost, the position after it, and why."""

order_log_dtype = np.dtype(
    [
        ("ts", "i8"),
        ("exch_ts", "i8"),
        ("order_id", "u8"),
        ("price_tick", "i8"),
        ("qty", "f8"),
        ("leaves_qty", "f8"),
        ("answer", "?"),
        ("req", "u1"),
        ("status", "u1"),
        ("order_type", "u1"),
        ("time_in_force", "u1"),
        ("reason", "u1"),
        ("side", "i1"),
        ("_padding", "V9"),
    ]
)
"""An order message: a request as it was sent (``answer`` false, ``exch_ts`` 0) or an answer as it came."""

if fill_dtype.itemsize != sizeof(FillRow) or order_log_dtype.itemsize != sizeof(OrderRow):
    raise ImportError("the logs' layouts and their dtypes differ")


cdef int _apply_snapshot(L2Book* book, const Event[::1] rows) noexcept nogil:
    cdef L2Change change
    cdef Event event
    cdef Py_ssize_t i
    cdef int code
    for i in range(rows.shape[0]):
        event = rows[i]
        event.ev = (event.ev & ~(<uint64_t>EV_KIND_MASK)) | EVENT_DEPTH_SNAPSHOT
        code = l2_apply(book, &event, &change)
        if code != OK:
            return code
    return OK


cdef class Markets:
    def __cinit__(self, int n):
        self.first = <Market*>PyMem_RawCalloc(n, sizeof(Market))
        if self.first == NULL:
            raise MemoryError
        self.n = n

    def __dealloc__(self):
        cdef int i
        for i in range(self.n):
            market_free(&self.first[i])
        PyMem_RawFree(self.first)


cdef class Backtest:
    """A backtest that a strategy drives by asking for time to pass.

    Args:
        assets: ``BacktestAsset`` of each, at least one; asset numbers are their places.
        compat: None for what is right; ``"2.4"`` repeats what hftbacktest 2.4 does wrong (docs/parity.md).
        threads: 1 does everything when it is needed; with 2 a thread of its own prepares the recordings ahead,
            until ``close`` or the end of the object. Results do not depend on it.

    Raises:
        ConfigError: A model cannot be, ``compat`` names no version, or ``threads`` is neither 1 nor 2.
        DataError: A recording or snapshot cannot be used.
    """

    def __cinit__(self, assets, compat=None, threads=1):
        self.sources = []
        self.kept = []
        self.custom = []
        memset(&self.session, 0, sizeof(Session))
        self.session.owner = <void*>self

    def __init__(self, assets, compat=None, threads=1):
        assets = check_assets(assets, compat, self.roi)
        if self.markets is not None:
            raise RuntimeError("a backtest is made once")
        self.markets = Markets(len(assets))
        self.packer = Packer(len(assets), threads)
        self.session.clock.markets = self.markets.first
        for index, asset in enumerate(assets):
            self._add(index, asset, compat == "2.4")
        for source in self.sources:
            source.start()

    cdef _add(self, int index, object asset, bint faithful):
        cdef Market* market = &self.session.clock.markets[index]
        cdef ExchangeModels models = models_from_config(asset)
        cdef CustomModels custom
        cdef bint by_order = models.queue.kind == QUEUE_L3_FIFO
        cdef Source source = Source(
            asset.chunks(), asset.tick_size, asset.lot_size, asset.latency_offset, by_order, self.packer
        )
        cdef Latencies latencies = Latencies(asset, faithful)
        cdef FundingRates rates = FundingRates(asset)
        cdef const Event[::1] snapshot
        self.kept.append(latencies)
        models.latency = latencies.model
        custom = seat_models(asset, f"asset {index}", &models)
        self.custom.append(custom)
        models.faithful = faithful
        models.grows = True
        self.session.clock.n_markets = index + 1
        raise_for_code(exchange_init(&market.venue, &models, 64), f"asset {index}")
        code = l2_init(&market.book, asset.tick_size, asset.lot_size, book_window(by_order))
        raise_for_code(code, f"asset {index}")
        raise_for_code(table_init(&market.orders), f"asset {index}")
        self.sources.append(source)
        market.venue.rows = &source.tape.cursors[VENUE]
        market.rows = &source.tape.cursors[LOCAL]
        market.trades.kept = asset.trades_kept
        market.view.first, market.view.last = asset.roi_ticks
        self.kept.append(rates)
        market.account.funding = rates.funding
        rows = asset.snapshot_rows()
        if len(rows):
            snapshot = rows
            raise_for_code(_apply_snapshot(&market.book, snapshot), f"asset {index}, initial snapshot")
            raise_for_code(_apply_snapshot(&market.venue.book, snapshot), f"asset {index}, initial snapshot")

    @property
    def threads(self) -> int:
        """How many it uses now."""
        return self.packer.threads

    def release(self):
        """Ends the thread that prepares recordings ahead, if there is one."""
        self.packer.close()

    def check_data(self):
        """Raises what is wrong with the recordings, as far as they have been read."""
        cdef Market* market
        for i in range(self.session.clock.n_markets):
            self.sources[i].check()
            market = &self.session.clock.markets[i]
            if market.venue.fault != NULL:
                orders_blame(<Source>self.sources[i], market.venue.fault, self.session.clock.code)
            if market.fault != NULL:
                orders_blame(<Source>self.sources[i], market.fault, self.session.clock.code)

    def check_models(self):
        """Raises what a model raised, or what it returned that cannot be."""
        for custom in self.custom:
            (<CustomModels>custom).check()

    def check_invariants(self):
        """Raises InvariantError unless all structures are consistent."""
        for i in range(self.session.clock.n_markets):
            raise_for_code(market_check(&self.session.clock.markets[i]), f"asset {i}")
            self.sources[i].check_invariants()

    @property
    def address(self) -> int:
        """Where the session is, for compiled strategies."""
        if self.memory is None and self.markets is not None:
            self._share()
        return <size_t>&self.session

    cdef _share(self):
        """Lets arrays of compiled strategies keep the markets' memory, by Numba's own counting."""
        from numba.core.runtime import _nrt_python

        cdef int i
        number = _nrt_python.meminfo_new(<size_t>self.markets.first, self.markets)
        self.memory = _nrt_python._MemInfo(number)
        for i in range(self.markets.n):
            self.markets.first[i].memory = number

    # --- time --------------------------------------------------------------------------------------------

    @property
    def current_timestamp(self) -> int:
        """Nanoseconds; the end of time before the first call that lets it pass, as in hftbacktest."""
        return call_now(&self.session)

    @property
    def num_assets(self) -> int:
        return self.session.clock.n_markets

    def elapse(self, int64_t duration) -> int:
        """Lets time pass; the first call starts at the first event.

        Args:
            duration: Nanoseconds.

        Returns:
            0, or 1 at the end of the data.

        Raises:
            ValueError: A negative duration.
            DataError: A row cannot be used; everything before it has been.
        """
        return call_elapse(&self.session, duration)

    def elapse_bt(self, int64_t duration) -> int:
        """As ``elapse``: in live trading it would not wait."""
        return call_elapse(&self.session, duration)

    def wait_order_response(self, int64_t asset_no, uint64_t order_id, int64_t timeout) -> int:
        """Lets time pass up to the next answer to an order.

        Args:
            asset_no: Its asset.
            order_id: Its id.
            timeout: Nanoseconds, at most.

        Returns:
            0, or 1 at the end of the data.
        """
        return call_wait_order_response(&self.session, asset_no, order_id, timeout)

    def wait_next_feed(self, bint include_order_resp, int64_t timeout) -> int:
        """Lets time pass up to the next row that reaches us.

        Args:
            include_order_resp: Or up to the next answer to any order.
            timeout: Nanoseconds, at most.

        Returns:
            0 at the timeout, 1 at the end of the data, 2 for a row, 3 for an answer.
        """
        return call_wait_next_feed(&self.session, include_order_resp, timeout)

    def _goto_end(self) -> int:
        return call_goto_end(&self.session)

    def close(self) -> int:
        """Ends the backtest: everything but what has been read from it raises from then on."""
        return call_close(&self.session)

    # --- orders ------------------------------------------------------------------------------------------

    def submit_buy_order(
        self,
        int64_t asset_no,
        uint64_t order_id,
        double price,
        double qty,
        int64_t time_in_force,
        int64_t order_type,
        bint wait,
    ) -> int:
        """Sends a new order.

        Args:
            asset_no: Its asset.
            order_id: Any number that no order known here has.
            price: Rounded to the nearest tick; of a market order anything.
            qty: Above 0.
            time_in_force: ``GTC``, ``GTX``, ``FOK`` or ``IOC``.
            order_type: ``LIMIT`` or ``MARKET``.
            wait: Let time pass up to the answer.

        Returns:
            0; 1 at the end of the data while waiting; 10 when an order of that id exists.

        Raises:
            InvalidOrder: A price, quantity or kind that no order can have, or no time yet.
            IndexError: No such asset.
        """
        return call_submit(
            &self.session, asset_no, order_id, SIDE_BUY, price, qty, time_in_force, order_type, wait
        )

    def submit_sell_order(
        self,
        int64_t asset_no,
        uint64_t order_id,
        double price,
        double qty,
        int64_t time_in_force,
        int64_t order_type,
        bint wait,
    ) -> int:
        """As ``submit_buy_order``."""
        return call_submit(
            &self.session, asset_no, order_id, SIDE_SELL, price, qty, time_in_force, order_type, wait
        )

    def modify(self, int64_t asset_no, uint64_t order_id, double price, double qty, bint wait) -> int:
        """Changes an order: less quantity at its price keeps its place in the queue, all else loses it.

        Returns:
            0; 1 at the end of the data while waiting; 11 while a request for it is on its way; 12 when there
            is no such order.

        Raises:
            InvalidOrder: A price or quantity that no order can have.
        """
        return call_modify(&self.session, asset_no, order_id, price, qty, wait)

    def cancel(self, int64_t asset_no, uint64_t order_id, bint wait) -> int:
        """Cancels an order; returns as ``modify``."""
        return call_cancel(&self.session, asset_no, order_id, wait)

    def clear_inactive_orders(self, int64_t asset_no) -> None:
        """Forgets the orders that are expired, filled or canceled; ``ALL_ASSETS`` does so everywhere."""
        call_clear_inactive_orders(&self.session, asset_no)

    def orders(self, int64_t asset_no):
        """The orders of an asset: ``get``, ``values``, ``in``, ``len``."""
        return orders_of(<Market*>call_market(&self.session, asset_no), self)

    def queue_ahead(self, int64_t asset_no, uint64_t order_id) -> float:
        """What stands in front of an order in its queue, by the asset's queue model.

        This is the simulated venue's state at the present time: the market data that tells of it may still be on
        its way to us, and live nobody would know it.

        Args:
            asset_no: Its asset.
            order_id: Its id.

        Returns:
            Quantity, at least 0; NaN unless the order rests at the venue now.
        """
        return market_queue_ahead(<Market*>call_market(&self.session, asset_no), order_id)

    def queue_total(self, int64_t asset_no, uint64_t order_id) -> float:
        """The market's quantity at an order's level, in front of it and behind; none of it our own.

        Args, state and NaN as for ``queue_ahead``.
        """
        return market_queue_total(<Market*>call_market(&self.session, asset_no), order_id)

    # --- markets -----------------------------------------------------------------------------------------

    def depth(self, int64_t asset_no):
        """The book of an asset as it has reached us."""
        return depth_of(<Market*>call_market(&self.session, asset_no), self, self.roi)

    def position(self, int64_t asset_no) -> float:
        return (<Market*>call_market(&self.session, asset_no)).account.values.position

    def state_values(self, int64_t asset_no):
        """Position, balance, fee and counts of an asset."""
        return state_of(<Market*>call_market(&self.session, asset_no), self)

    def funding_paid(self, int64_t asset_no) -> float:
        """Funding paid so far, in the currency of the balance; negative has been received.

        Of the state values none has it in it: take it off the equity (docs/models.md).
        """
        return (<Market*>call_market(&self.session, asset_no)).account.funding_paid

    def last_trades(self, int64_t asset_no):
        """Trades since they were last cleared; none unless the asset's ``last_trades_capacity`` is above 0.

        Returns:
            ``event_dtype`` array of shape ``(n,)``, a view that is good until the next call that lets time
            pass.
        """
        cdef Market* market = <Market*>call_market(&self.session, asset_no)
        return array_of(market.trades.rows, market.trades.n, event_dtype, self)

    def clear_last_trades(self, int64_t asset_no) -> None:
        """Forgets them; ``ALL_ASSETS`` does so everywhere."""
        call_clear_last_trades(&self.session, asset_no)

    def feed_latency(self, int64_t asset_no):
        """``(exch_ts, local_ts)`` of the last row that reached us, or None."""
        cdef Market* market = <Market*>call_market(&self.session, asset_no)
        return (market.feed_exch_ts, market.feed_local_ts) if market.has_feed else None

    def order_latency(self, int64_t asset_no):
        """``(sent, at the venue, answered)`` of the last answer from a venue, or None."""
        cdef Market* market = <Market*>call_market(&self.session, asset_no)
        if not market.has_order:
            return None
        return market.order_req_ts, market.order_exch_ts, market.order_resp_ts

    # --- logs --------------------------------------------------------------------------------------------

    def fills(self, int64_t asset_no):
        """All fills so far, with the reason of each.

        Returns:
            ``fill_dtype`` array of shape ``(n,)``, a copy.
        """
        cdef Account* account = &(<Market*>call_market(&self.session, asset_no)).account
        return array_of(account.fills, account.n_fills, fill_dtype, self).copy()

    def order_log(self, int64_t asset_no):
        """The last 1,048,576 order messages: requests as they were sent, answers as they came.

        Returns:
            ``order_log_dtype`` array of shape ``(n,)``, a copy, oldest first.
        """
        cdef Account* account = &(<Market*>call_market(&self.session, asset_no)).account
        cdef uint64_t n = min(account.n_orders, <uint64_t>ORDER_LOG_ROWS)
        kept = array_of(account.orders, n, order_log_dtype, self)
        # Once full it is a ring, whose oldest entry is the next to be overwritten.
        return np.roll(kept, -<int64_t>(account.n_orders % n)) if n else kept


cdef class HashMapMarketDepthBacktest(Backtest):
    """hftbacktest's name for a backtest whose depth knows all levels. Arguments as for :class:`Backtest`."""


cdef class ROIVectorMarketDepthBacktest(Backtest):
    """A backtest whose depth also gives ranges of quantities as arrays. Arguments as for :class:`Backtest`."""

    def __cinit__(self, assets, compat=None, threads=1):
        self.roi = True
