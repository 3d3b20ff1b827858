"""The paper venue, and a driver that runs a kernel on a merged stream with it; see paper.pxd."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport INT64_MAX, int64_t, uint16_t, uint32_t

from engine.backtest.bus cimport bus_drop, bus_first
from engine.backtest.exchange cimport (
    Exchange,
    ExchangeModels,
    exchange_check,
    exchange_event,
    exchange_free,
    exchange_image,
    exchange_init,
    exchange_requests,
    exchange_take,
    models_from_config,
)
from engine.backtest.latency cimport Latencies
from engine.backtest.models.seat cimport CustomModels, seat_models
from engine.backtest.order cimport order_to_kernel
from engine.backtest.recorder cimport Recorder
from engine.core.codes cimport OK
from engine.core.errors import ConfigError, raise_for_code
from engine.core.image cimport Image, image_match
from engine.core.types cimport Event, Order
from engine.gateways.venue cimport (
    ITEM_LOCAL_MARKET,
    ITEM_REQUEST,
    ITEM_RESPONSE,
    ITEM_VENUE_MARKET,
    STEP_NOTHING,
    STEP_REPORT,
    Venue,
    VenueDriver,
    VenueStep,
    item_key,
)
from engine.kernel cimport Kernel, Output


# Bits of an item's flags, as the merge and the rings have them.
cdef enum:
    LAST_OF_MESSAGE = 2
    SEEN_BY_VENUE = 16


cdef class Paper(Venue):
    """A paper venue for some instruments.

    Args:
        assets: ``AssetConfig`` of each, in the kernel's order.
        max_orders: Room for resting orders in each.

    Raises:
        ConfigError: A queue model needs a recording market by order.
    """

    def __cinit__(self, list assets not None, uint32_t max_orders=4096):
        cdef ExchangeModels models
        cdef CustomModels custom
        self.custom = []
        self.n_instruments = 0
        self.latencies = []
        self.venues = <Exchange*>PyMem_Malloc(max(len(assets), 1) * sizeof(Exchange))
        if self.venues == NULL:
            raise MemoryError
        for i, asset in enumerate(assets):
            models = models_from_config(asset)
            self.latencies.append(Latencies(asset))
            models.latency = (<Latencies>self.latencies[i]).model
            custom = seat_models(asset, asset.symbol, &models)
            self.custom.append(custom)
            code = exchange_init(&self.venues[i], &models, max_orders)
            self.n_instruments += 1
            raise_for_code(code, asset.symbol)
            if self.venues[i].by_order:
                raise ConfigError(f"{asset.symbol}: {asset.queue_model} is for recordings market by order")

    def __dealloc__(self):
        for i in range(self.n_instruments):
            exchange_free(&self.venues[i])
        PyMem_Free(self.venues)

    def check_models(self):
        """Raises what a model raised, or what it returned that cannot be."""
        for custom in self.custom:
            (<CustomModels>custom).check()

    def check_invariants(self):
        """Raises InvariantError unless each venue is consistent."""
        for i in range(self.n_instruments):
            raise_for_code(exchange_check(&self.venues[i]), f"paper venue of instrument {i}")

    cdef void image(self, Image* image) noexcept nogil:
        cdef uint16_t i
        image_match(image, self.n_instruments)
        for i in range(self.n_instruments):
            exchange_image(&self.venues[i], image)

    cdef int venue_market(self, uint16_t instrument, const Event* event) noexcept nogil:
        return exchange_event(&self.venues[instrument], event)

    cdef int venue_request(self, const Order* request, int64_t now) noexcept nogil:
        return exchange_take(&self.venues[request.instrument], request, now)

    cdef bint venue_next(self, int64_t* ts, int64_t* key) noexcept nogil:
        cdef Exchange* venue
        cdef uint16_t i
        ts[0] = INT64_MAX
        key[0] = 0
        for i in range(self.n_instruments):
            venue = &self.venues[i]
            if venue.responses.next_ts < ts[0]:
                ts[0] = venue.responses.next_ts
                key[0] = item_key(i, ITEM_RESPONSE)
            if venue.requests.next_ts < ts[0]:
                ts[0] = venue.requests.next_ts
                key[0] = item_key(i, ITEM_REQUEST)
        return ts[0] != INT64_MAX

    cdef int venue_step(self, VenueStep* step) noexcept nogil:
        """Carries requests out, or gives one report."""
        cdef int64_t ts, key
        cdef Exchange* venue
        step.kind = STEP_NOTHING
        if not self.venue_next(&ts, &key):
            return OK
        venue = &self.venues[key >> 2]
        if key & 3 == ITEM_REQUEST:
            return exchange_requests(venue, ts)
        order_to_kernel(bus_first(&venue.responses), &venue.instrument, &step.report)
        bus_drop(&venue.responses)
        step.kind = STEP_REPORT
        return OK


cdef class PaperDriver(VenueDriver):
    """Runs a kernel against a paper venue on a merged stream, as the engine loop does, without its rings.

    Args:
        kernel: Started or not; :meth:`run` starts nothing.
        paper: The venue.
        recorder: What keeps fills and order updates.
    """

    cdef Recorder recorder

    def __init__(self, Kernel kernel not None, Paper paper not None, Recorder recorder not None):
        VenueDriver.__init__(self, kernel, paper)
        self.recorder = recorder

    cdef int emitted(self, const Output* output) noexcept nogil:
        return self.recorder.record(output)

    def push(
        self,
        const Event[::1] events,
        const int64_t[::1] ts,
        const uint16_t[::1] instruments,
        const uint16_t[::1] flags,
    ):
        """Pushes items of a stream, each after everything that is due before it.

        The columns are those of ``engine.feeds.merge``: all of one length, in stream order.

        Args:
            events: The events.
            ts: When the side in question saw each.
            instruments: Whose they are.
            flags: ``EXCH`` (16) or ``LOCAL`` (32), and ``LAST`` (2) on the last row of a message.

        Raises:
            RingbookError: A capacity was exceeded, or an event cannot be applied.
        """
        cdef Py_ssize_t i
        cdef int kind
        cdef int code = OK
        with nogil:
            code = self.drain()
            for i in range(ts.shape[0]):
                if code != OK:
                    break
                kind = ITEM_VENUE_MARKET if flags[i] & SEEN_BY_VENUE else ITEM_LOCAL_MARKET
                code = self.item(
                    ts[i], instruments[i], kind, &events[i], (flags[i] & LAST_OF_MESSAGE) != 0
                )
        self.venue.check_models()
        raise_for_code(code)

    def finish(self, int64_t until=INT64_MAX):
        """After the last item: what is still on its way arrives, with the timers due before it.

        Args:
            until: When to stop at the latest, for strategies that ask for something at every poll.
        """
        cdef int code = OK
        cdef int64_t ts = 0
        cdef int64_t key = 0
        with nogil:
            while code == OK and self.venue.venue_next(&ts, &key) and ts < until:
                code = self.catch_up(ts, key + 1)
        self.venue.check_models()
        raise_for_code(code)
