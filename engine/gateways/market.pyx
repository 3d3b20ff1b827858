"""The market within, pushed in time by the engine loop; market.pxd says what it is."""

cimport cython
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from engine.backtest.assets cimport instrument_from_config
from engine.backtest.bus cimport bus_drop, bus_first, bus_free, bus_image, bus_init, bus_pop, bus_push
from engine.backtest.fees cimport FEE_CUSTOM, fee_amount, fees_from_config
from engine.backtest.latency cimport Latencies, latency_entry, latency_image, latency_response
from engine.backtest.order cimport SimOrder, order_from_kernel, order_to_kernel
from engine.backtest.recorder cimport Recorder
from engine.core.codes cimport (
    ERR_BAD_QTY,
    ERR_BAD_TICK,
    ERR_FOK,
    ERR_FULL,
    ERR_INVALID_REQUEST,
    ERR_INVARIANT,
    ERR_NO_LIQUIDITY,
    ERR_NO_MEMORY,
    ERR_ORDER_ID_EXIST,
    ERR_ORDER_NOT_FOUND,
    ERR_PHASE,
    ERR_POST_ONLY,
    OK,
)
from engine.core.idmap cimport idmap_find, idmap_free, idmap_image, idmap_init, idmap_insert, idmap_remove
from engine.core.image cimport Image, image_count, image_fault, image_match, image_move, image_same, image_sparse
from engine.core.ticks cimport to_lot, to_px, to_qty
from engine.core.types cimport (
    ORDER_MARKET,
    REASON_BUSY,
    REASON_CANCEL_REQUESTED,
    REASON_DUPLICATE_ORDER_ID,
    REASON_INVALID_PRICE,
    REASON_INVALID_QTY,
    REASON_MASS_CANCEL,
    REASON_MATCHED,
    REASON_NO_MARKET,
    REASON_NONE,
    REASON_ORDER_NOT_FOUND,
    REASON_POST_ONLY_CROSSED,
    REASON_TRADING_HALTED,
    REASON_UNFILLED_IOC_FOK,
    STATUS_CANCELED,
    STATUS_EXPIRED,
    STATUS_FILLED,
    STATUS_NEW,
    STATUS_NONE,
    STATUS_PARTIALLY_FILLED,
    STATUS_REJECTED,
    STATUS_REPLACED,
    TIF_FOK,
    TIF_IOC,
    Event,
    Order,
    instrument_amount,
)
from engine.gateways.venue cimport (
    ITEM_LOCAL_MARKET,
    ITEM_REQUEST,
    ITEM_RESPONSE,
    ITEM_VENUE_MARKET,
    STEP_MARKET,
    STEP_NOTHING,
    STEP_REPORT,
    Venue,
    VenueDriver,
    VenueStep,
    item_key,
)
from engine.kernel cimport MAX_STRATEGIES, Kernel, Output
from engine.matching.agents cimport (
    AGENTS_EXTERNAL_IDS,
    OWNER_EXTERNAL,
    Agents,
    agents_next,
    agents_send,
    agents_step,
)
from engine.matching.image cimport agents_image
from engine.matching.population cimport Population
from engine.matching.records cimport (
    MATCH_ACCEPTED,
    MATCH_ADD,
    MATCH_CANCEL,
    MATCH_ENDED,
    MATCH_MODIFY,
    MATCH_REPLACED,
    MATCH_TRADE,
    MatchCommand,
    MatchEvent,
)

from engine.core.errors import ConfigError, InvariantError, raise_for_code


cdef enum:
    NIL = 0xFFFFFFFF
    FIRST_ROWS = 4096


# --- market data on its way ----------------------------------------------------------------------------

cdef int _rows_grow(RowRing* ring) noexcept nogil:
    cdef uint32_t size = 2 * (ring.mask + 1)
    cdef uint32_t n = ring.tail - ring.head
    cdef uint32_t i
    cdef Event* rows = <Event*>malloc(size * sizeof(Event))
    if rows == NULL:
        return ERR_NO_MEMORY
    for i in range(n):
        rows[i] = ring.rows[(ring.head + i) & ring.mask]
    free(ring.rows)
    ring.rows, ring.mask, ring.head, ring.tail = rows, size - 1, 0, n
    return OK


cdef int _take_rows(Floor* floor) noexcept nogil:
    """Takes over what the agents' side has written for everybody to see."""
    cdef Agents* agents = floor.agents
    cdef RowRing* ring = &floor.seen
    cdef uint32_t i
    for i in range(agents.taken, agents.n_pending):
        if ring.tail - ring.head > ring.mask and _rows_grow(ring) != OK:
            return ERR_NO_MEMORY
        ring.rows[ring.tail & ring.mask] = agents.pending[i]
        ring.tail += 1
    agents.taken = agents.n_pending = 0
    return ERR_INVARIANT if agents.lost else OK


cdef inline int64_t _rows_ts(const RowRing* ring) noexcept nogil:
    return INT64_MAX if ring.head == ring.tail else ring.rows[ring.head & ring.mask].local_ts


# --- our orders ----------------------------------------------------------------------------------------

cdef uint32_t _known(const Floor* floor, uint64_t order_id) noexcept nogil:
    """The handle of our live order of that id, or NIL."""
    cdef uint32_t found = idmap_find(&floor.ids, order_id)
    return found - 1 if found else <uint32_t>NIL


cdef int _remember(Floor* floor, const SimOrder* order) noexcept nogil:
    cdef uint32_t handle = floor.free
    cdef int code
    if handle == <uint32_t>NIL:
        return ERR_FULL
    code = idmap_insert(&floor.ids, order.order_id, handle + 1)
    if code != OK:
        return code
    floor.free = floor.orders[handle].next_handle
    floor.orders[handle] = order[0]
    return OK


cdef void _forget(Floor* floor, uint32_t handle) noexcept nogil:
    idmap_remove(&floor.ids, floor.orders[handle].order_id)
    floor.orders[handle].next_handle = floor.free
    floor.free = handle


cdef void _answer(Floor* floor, const SimOrder* order) noexcept nogil:
    cdef int64_t arrival = order.exch_ts + latency_response(&floor.response, order.exch_ts, order)
    cdef int code = bus_push(&floor.responses, order, arrival)
    floor.taken = NIL
    if code != OK:
        floor.code = code


cdef void _executed(Floor* floor, uint64_t order_id, const MatchEvent* trade, bint is_maker) noexcept nogil:
    """One of ours has traded."""
    cdef uint32_t handle = _known(floor, order_id - AGENTS_EXTERNAL_IDS)
    cdef SimOrder* order
    cdef double px
    if handle == <uint32_t>NIL:
        floor.code = ERR_INVARIANT
        return
    order = &floor.orders[handle]
    px = to_px(trade.px, floor.instrument.tick_size)
    order.exec_price_tick = trade.px
    order.exec_qty = to_qty(trade.qty, floor.instrument.lot_size)
    order.leaves_qty = to_qty(
        to_lot(order.leaves_qty, floor.instrument.lot_size) - trade.qty, floor.instrument.lot_size
    )
    order.is_maker = is_maker
    order.reason = REASON_MATCHED
    order.status = STATUS_PARTIALLY_FILLED if order.leaves_qty > 0.0 else STATUS_FILLED
    order.exch_ts = trade.ts
    order.fee = fee_amount(&floor.fees, order, instrument_amount(&floor.instrument, px, order.exec_qty))
    _answer(floor, order)
    if order.status == STATUS_FILLED:
        _forget(floor, handle)


cdef void _changed(Floor* floor, const MatchEvent* event) noexcept nogil:
    """One of ours was accepted, modified or has ended."""
    cdef uint32_t handle = _known(floor, event.order_id - AGENTS_EXTERNAL_IDS)
    cdef SimOrder* order
    cdef bint asked
    if handle == <uint32_t>NIL:
        floor.code = ERR_INVARIANT
        return
    order = &floor.orders[handle]
    order.exch_ts = event.ts
    order.exec_qty = 0.0
    order.reason = event.reason
    order.leaves_qty = to_qty(event.qty, floor.instrument.lot_size)
    order.status = STATUS_NEW
    if event.kind != MATCH_ENDED:
        # What it does at once is the answer, as at the paper venue.
        floor.taken = handle
        if event.kind == MATCH_REPLACED:
            order.price_tick = event.px
            order.qty = order.leaves_qty
    else:
        asked = event.reason == REASON_CANCEL_REQUESTED or event.reason == REASON_MASS_CANCEL
        order.status = STATUS_CANCELED if asked else STATUS_EXPIRED
        _answer(floor, order)
        _forget(floor, handle)


cdef void _hear(void* context, const MatchEvent* events, uint32_t n) noexcept nogil:
    """Everything that the matcher says: accounts are kept of all of it, answers made of what is ours."""
    cdef Floor* floor = <Floor*>context
    cdef const MatchEvent* event
    cdef int64_t lots, value
    cdef uint32_t i
    for i in range(n):
        event = events + i
        if event.kind == MATCH_TRADE:
            lots = event.side * event.qty
            value = lots * event.px
            floor.accounts[event.owner].position -= lots
            floor.accounts[event.owner].cash += value
            floor.accounts[event.other_owner].position += lots
            floor.accounts[event.other_owner].cash -= value
            if event.owner >= OWNER_EXTERNAL:
                _executed(floor, event.order_id, event, True)
            if event.other_owner >= OWNER_EXTERNAL:
                _executed(floor, event.other_id, event, False)
        elif event.owner >= OWNER_EXTERNAL and (
            event.kind == MATCH_ACCEPTED or event.kind == MATCH_REPLACED or event.kind == MATCH_ENDED
        ):
            _changed(floor, event)


# --- requests ------------------------------------------------------------------------------------------

cdef uint8_t _reason(int code) noexcept nogil:
    """Why the matcher refused a request, in the words of orders."""
    if code == ERR_POST_ONLY:
        return REASON_POST_ONLY_CROSSED
    if code == ERR_FOK:
        return REASON_UNFILLED_IOC_FOK
    if code == ERR_NO_LIQUIDITY:
        return REASON_NO_MARKET
    if code == ERR_BAD_TICK:
        return REASON_INVALID_PRICE
    if code == ERR_BAD_QTY:
        return REASON_INVALID_QTY
    if code == ERR_FULL:
        return REASON_BUSY
    if code == ERR_ORDER_ID_EXIST:
        return REASON_DUPLICATE_ORDER_ID
    if code == ERR_PHASE:
        return REASON_TRADING_HALTED
    return REASON_NONE


cdef int _send(Floor* floor, const SimOrder* order, uint8_t kind, int64_t now) noexcept nogil:
    """Makes a command of a request; the matcher's code, once everything it said has been heard."""
    cdef MatchCommand theirs = floor.agents.command
    cdef MatchCommand* command = &floor.agents.command
    cdef int code
    memset(command, 0, sizeof(MatchCommand))
    command.kind = kind
    command.ts = now
    command.order_id = AGENTS_EXTERNAL_IDS + order.order_id
    command.owner = OWNER_EXTERNAL + order.strategy
    command.px = order.price_tick
    command.qty = to_lot(order.qty, floor.instrument.lot_size)
    command.side = order.side
    command.order_type = order.order_type
    command.time_in_force = order.time_in_force
    if order.order_type == ORDER_MARKET and order.time_in_force != TIF_FOK:
        command.time_in_force = TIF_IOC
    floor.agents.now = now
    floor.taken = NIL
    code = agents_send(floor.agents)
    if floor.taken != <uint32_t>NIL:
        _answer(floor, &floor.orders[floor.taken])
    # Agents fill in what changes from one of their commands to the next.
    floor.agents.command = theirs
    return code


cdef int _arrive(Floor* floor, SimOrder* request, int64_t now) noexcept nogil:
    """Carries out one request; what it leads to is answered as the matcher says it."""
    cdef uint8_t kind = request.req
    cdef uint32_t handle
    cdef int64_t sent
    cdef int code
    request.req = STATUS_NONE
    request.exch_ts = now
    if kind == STATUS_NEW:
        request.leaves_qty = request.qty
        code = _remember(floor, request)
        if code == OK:
            code = _send(floor, request, MATCH_ADD, now)
            if code != OK:
                _forget(floor, _known(floor, request.order_id))
        if code != OK:
            request.status = STATUS_EXPIRED
            request.reason = _reason(code)
            _answer(floor, request)
        return floor.code
    if kind != STATUS_CANCELED and kind != STATUS_REPLACED:
        return ERR_INVALID_REQUEST
    handle = _known(floor, request.order_id)
    code = ERR_ORDER_NOT_FOUND
    if handle != <uint32_t>NIL:
        # Answers carry the time at which the request that they answer was sent.
        sent = floor.orders[handle].local_ts
        floor.orders[handle].local_ts = request.local_ts
        code = _send(floor, request, MATCH_CANCEL if kind == STATUS_CANCELED else MATCH_MODIFY, now)
        if code != OK:
            floor.orders[handle].local_ts = sent
    if code != OK:
        request.req = STATUS_REJECTED
        request.reason = REASON_ORDER_NOT_FOUND if code == ERR_ORDER_NOT_FOUND else _reason(code)
        _answer(floor, request)
    return floor.code


# --- written down ----------------------------------------------------------------------------------------

cdef void _rows_image(RowRing* ring, Image* image) noexcept nogil:
    cdef uint64_t n = image_count(image, ring.tail - ring.head, <uint64_t>1 << 31)
    cdef uint64_t i
    while image.code == OK and <uint64_t>ring.mask + 1 < n:
        image_fault(image, _rows_grow(ring))
    if image.code != OK:
        return
    if image.loading:
        ring.head, ring.tail = 0, <uint32_t>n
    for i in range(n):
        image_move(image, &ring.rows[(ring.head + i) & ring.mask], sizeof(Event))


cdef void _floor_image(Floor* floor, Image* image) noexcept nogil:
    image_same(image, &floor.instrument.tick_size, sizeof(double))
    image_same(image, &floor.instrument.lot_size, sizeof(double))
    image_same(image, &floor.instrument.contract_size, sizeof(double))
    image_match(image, floor.instrument.asset_kind)
    image_match(image, floor.fees.kind)
    image_match(image, floor.capacity)
    image_match(image, floor.n_owners)
    latency_image(&floor.entry, image)
    latency_image(&floor.response, image)
    bus_image(&floor.requests, image)
    bus_image(&floor.responses, image)
    _rows_image(&floor.seen, image)
    image_move(image, floor.orders, floor.capacity * sizeof(SimOrder))
    idmap_image(&floor.ids, image)
    image_move(image, &floor.free, sizeof(floor.free))
    image_move(image, &floor.taken, sizeof(floor.taken))
    image_sparse(image, floor.accounts, floor.n_owners, sizeof(Account))
    agents_image(floor.agents, image)


# --- the venue -----------------------------------------------------------------------------------------

@cython.no_gc_clear
cdef class MarketVenue(Venue):
    """Markets for some instruments, on which strategies trade with agents and with each other.

    Args:
        assets: ``AssetConfig`` of each, in the kernel's order: sizes, latencies and fees count.
        markets: A new ``Population`` of each instrument; the venue is the only one to use it.
        max_orders: Room for live orders of strategies in each.

    Raises:
        ConfigError: An instrument has a fee model of the user's own, or latencies that are not constant.
    """

    def __cinit__(self, list assets not None, list markets not None, uint32_t max_orders=4096):
        cdef Latencies latencies
        cdef Floor* floor
        cdef uint32_t i
        self.has_market = True
        self.markets = tuple(markets)
        self.numbers = {asset.symbol: i for i, asset in enumerate(assets)}
        self.floors = <Floor*>PyMem_Calloc(max(len(assets), 1), sizeof(Floor))
        if self.floors == NULL:
            raise MemoryError
        for number, (asset, market) in enumerate(zip(assets, markets, strict=True)):
            floor = &self.floors[number]
            self.n_instruments += 1
            floor.number = number
            floor.instrument = instrument_from_config(asset)
            floor.fees = fees_from_config(asset)
            if floor.fees.kind == FEE_CUSTOM or asset.latency_model != "constant_order_latency":
                raise ConfigError(f"{asset.symbol}: a market within takes built-in fees and constant latencies")
            latencies = Latencies(asset)
            floor.entry = floor.response = latencies.model
            floor.n_owners = OWNER_EXTERNAL + MAX_STRATEGIES
            floor.accounts = <Account*>PyMem_Calloc(floor.n_owners, sizeof(Account))
            floor.orders = <SimOrder*>PyMem_Calloc(max_orders, sizeof(SimOrder))
            floor.seen.rows = <Event*>malloc(FIRST_ROWS * sizeof(Event))
            if floor.accounts == NULL or floor.orders == NULL or floor.seen.rows == NULL:
                raise MemoryError
            floor.seen.mask = FIRST_ROWS - 1
            floor.capacity = max_orders
            floor.taken = NIL
            for i in range(max_orders):
                floor.orders[i].next_handle = i + 1 if i + 1 < max_orders else <uint32_t>NIL
            raise_for_code(idmap_init(&floor.ids, max_orders), asset.symbol)
            raise_for_code(bus_init(&floor.requests, 2 * max_orders, True), asset.symbol)
            raise_for_code(bus_init(&floor.responses, 4 * max_orders, True), asset.symbol)
            floor.agents = (<Population?>market).agents
            floor.agents.listener = _hear
            floor.agents.listening = floor

    def __dealloc__(self):
        for i in range(self.n_instruments):
            bus_free(&self.floors[i].requests)
            bus_free(&self.floors[i].responses)
            idmap_free(&self.floors[i].ids)
            free(self.floors[i].seen.rows)
            PyMem_Free(self.floors[i].orders)
            PyMem_Free(self.floors[i].accounts)
            if self.floors[i].agents != NULL:
                self.floors[i].agents.listener = NULL
        PyMem_Free(self.floors)

    def accounts(self, str symbol):
        """What everybody who has traded has come to.

        Args:
            symbol: Of the instrument.

        Returns:
            ``{owner: (position, cash)}``: lots bought less sold, and ticks times lots received less paid, without
            fees; agents' owner numbers are below ``EXTERNAL_OWNER``, strategies' are that and their slot's number.
            Both add up to zero.

        Raises:
            ConfigError: There is no such instrument.
        """
        if symbol not in self.numbers:
            raise ConfigError(f"{symbol!r} is none of {', '.join(self.numbers)}")
        cdef Floor* floor = &self.floors[self.numbers[symbol]]
        return {
            owner: (floor.accounts[owner].position, floor.accounts[owner].cash)
            for owner in range(floor.n_owners)
            if floor.accounts[owner].position or floor.accounts[owner].cash
        }

    def check_invariants(self):
        """Raises InvariantError unless all books are consistent and nothing was made or lost in trading."""
        for market in self.markets:
            market.check_invariants()
        for symbol in self.numbers:
            accounts = self.accounts(symbol).values()
            if sum(position for position, _ in accounts) or sum(cash for _, cash in accounts):
                raise InvariantError(f"{symbol}: positions or cash of all who trade do not add up to zero")

    cdef void image(self, Image* image) noexcept nogil:
        cdef uint16_t i
        image_match(image, self.n_instruments)
        for i in range(self.n_instruments):
            _floor_image(&self.floors[i], image)

    cdef int venue_request(self, const Order* request, int64_t now) noexcept nogil:
        cdef Floor* floor = &self.floors[request.instrument]
        cdef SimOrder order
        order_from_kernel(request, &floor.instrument, &order)
        return bus_push(&floor.requests, &order, now + latency_entry(&floor.entry, now, &order))

    cdef bint venue_next(self, int64_t* ts, int64_t* key) noexcept nogil:
        cdef Floor* floor
        cdef int64_t next_ts
        cdef uint16_t i
        self.venue_pending(ts, key)
        for i in range(self.n_instruments):
            floor = &self.floors[i]
            next_ts = _rows_ts(&floor.seen)
            if next_ts < ts[0] or (next_ts == ts[0] and item_key(i, ITEM_LOCAL_MARKET) < key[0]):
                ts[0], key[0] = next_ts, item_key(i, ITEM_LOCAL_MARKET)
            next_ts = agents_next(floor.agents)
            if next_ts < ts[0] or (next_ts == ts[0] and item_key(i, ITEM_VENUE_MARKET) < key[0]):
                ts[0], key[0] = next_ts, item_key(i, ITEM_VENUE_MARKET)
        return ts[0] != INT64_MAX

    cdef bint venue_pending(self, int64_t* ts, int64_t* key) noexcept nogil:
        cdef Floor* floor
        cdef uint16_t i
        ts[0], key[0] = INT64_MAX, 0
        for i in range(self.n_instruments):
            floor = &self.floors[i]
            if floor.responses.next_ts < ts[0]:
                ts[0], key[0] = floor.responses.next_ts, item_key(i, ITEM_RESPONSE)
            if floor.requests.next_ts < ts[0]:
                ts[0], key[0] = floor.requests.next_ts, item_key(i, ITEM_REQUEST)
        return ts[0] != INT64_MAX

    cdef int venue_step(self, VenueStep* step) noexcept nogil:
        """One action of an agent or all requests of an instant, or one report or row that has reached us."""
        cdef int64_t ts, key
        cdef SimOrder request
        cdef RowRing* ring
        cdef Floor* floor
        cdef int code = OK
        step.kind = STEP_NOTHING
        if not self.venue_next(&ts, &key):
            return OK
        floor = &self.floors[key >> 2]
        if key & 3 == ITEM_LOCAL_MARKET:
            ring = &floor.seen
            step.kind = STEP_MARKET
            step.instrument = floor.number
            step.event = ring.rows[ring.head & ring.mask]
            ring.head += 1
            step.last = _rows_ts(ring) != ts
            return OK
        if key & 3 == ITEM_RESPONSE:
            order_to_kernel(bus_first(&floor.responses), &floor.instrument, &step.report)
            bus_drop(&floor.responses)
            step.kind = STEP_REPORT
            return OK
        if key & 3 == ITEM_VENUE_MARKET:
            agents_step(floor.agents, ts + 1)
            code = floor.code
        while code == OK and key & 3 == ITEM_REQUEST and floor.requests.next_ts == ts:
            bus_pop(&floor.requests, &request)
            code = _arrive(floor, &request, ts)
        return code if code != OK else _take_rows(floor)


cdef class MarketDriver(VenueDriver):
    """Runs a kernel on a market within, as the engine loop does, without its rings.

    Args:
        kernel: With the venue's instruments, started at a time that is not after the market's opening.
        venue: The market.
        recorder: What keeps fills and order updates.

    Attributes:
        events: Rows of market data that have reached the kernel.
    """

    cdef Recorder recorder
    cdef readonly uint64_t events

    def __init__(self, Kernel kernel not None, MarketVenue venue not None, Recorder recorder not None):
        VenueDriver.__init__(self, kernel, venue)
        self.recorder = recorder

    cdef int seen(self, int64_t ts, uint16_t instrument, const Event* event) noexcept nogil:
        self.events += 1
        return self.recorder.show(ts, instrument, event)

    cdef int emitted(self, const Output* output) noexcept nogil:
        return self.recorder.record(output)

    def run(self, int64_t until):
        """Lets everything happen up to and at a time.

        Args:
            until: Nanoseconds since the epoch.

        Raises:
            RingbookError: A capacity was exceeded, or something cannot be.
        """
        cdef int code
        with nogil:
            code = self.drain()
            if code == OK:
                code = self.catch_up(until + 1, 0)
        raise_for_code(code)

    def finish(self):
        """Lets what is on its way between the strategies and the market arrive.

        Raises:
            RingbookError: As :meth:`run`.
        """
        cdef int64_t ts = 0, key = 0
        cdef int code = OK
        with nogil:
            code = self.drain()
            while code == OK and self.venue.venue_pending(&ts, &key):
                code = self.catch_up(ts, key + 1)
        raise_for_code(code)
