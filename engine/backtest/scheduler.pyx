"""The order of everything in a backtest; see the header of scheduler.pxd."""

from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport INT64_MAX, int64_t, uint32_t
from libc.string cimport memset

from engine.backtest.exchange cimport (
    Exchange,
    ExchangeModels,
    exchange_check,
    exchange_free,
    exchange_init,
    exchange_next_ts,
    exchange_requests,
    exchange_row,
    exchange_run,
    exchange_silent,
    exchange_take,
    models_from_config,
    venues_run,
)
from engine.backtest.exchange_l3 cimport orders_blame
from engine.backtest.funding cimport FundingRates, funding_pass
from engine.backtest.latency cimport Latencies
from engine.backtest.local cimport (
    Local,
    kernel_request,
    local_listens,
    local_next_ts,
    local_passive,
    local_pay,
    local_response,
    local_row,
)
from engine.backtest.models.seat cimport CustomModels, seat_models
from engine.backtest.queue cimport QUEUE_L3_FIFO
from engine.backtest.recorder cimport Recorder
from engine.backtest.source cimport Packer, Source
from engine.backtest.tape cimport LOCAL, VENUE
from engine.core.codes cimport ERR_MODEL, OK
from engine.core.errors import raise_for_code
from engine.core.types cimport Order
from engine.kernel cimport Kernel

# The four things that can be next in an asset, in the order they have at one instant.
cdef enum:
    LOCAL_ROW = 0
    LOCAL_RESPONSE = 1
    VENUE_ROW = 2
    VENUE_REQUEST = 3

# Moments at which a strategy can act between two looks for an interrupt; tens of milliseconds at most,
# while a timer of a nanosecond or a recording with a gap of years may need billions of them.
cdef enum:
    PAUSE_AFTER = 1 << 18


cdef class Scheduler:
    """Drives a kernel through recorded data.

    Args:
        kernel: With one instrument an asset, in the same order.
        recorder: What keeps fills and order updates.
        assets: ``AssetConfig`` of each.
        data: For each asset what its :class:`~engine.backtest.tape.Source` is made of.
        max_orders: Room for resting orders in each venue.
        sample_interval: Nanoseconds between equity samples; 0 takes none.
        stepwise: Merge event by event instead of in batches; the results are the same.
        threads: How many it may use, see :class:`~engine.backtest.source.Packer`; the results are the same.
    """

    def __cinit__(
        self,
        Kernel kernel not None,
        Recorder recorder not None,
        list assets not None,
        list data not None,
        int max_orders,
        int64_t sample_interval=0,
        bint stepwise=False,
        threads=1,
    ):
        self.kernel = kernel
        self.recorder = recorder
        self.n_assets = 0
        self.stepwise = stepwise
        self.ended = False
        self.sample_interval = sample_interval
        self.next_sample = self.next_due = INT64_MAX
        self.sources = []
        self.latencies = []
        self.custom = []
        self.rates = []
        cdef int n = len(assets)
        self.packer = Packer(n, threads)
        self.venues = <Exchange*>PyMem_Malloc(n * sizeof(Exchange))
        self.locals = <Local*>PyMem_Malloc(n * sizeof(Local))
        if not (self.venues and self.locals):
            raise MemoryError
        for i in range(n):
            self._add_asset(i, assets[i], data[i], max_orders)

    def _add_asset(self, int i, asset, chunks, int max_orders):
        cdef ExchangeModels models = models_from_config(asset)
        cdef Latencies latencies = Latencies(asset)
        cdef FundingRates rates = FundingRates(asset)
        cdef CustomModels custom
        cdef bint by_order = models.queue.kind == QUEUE_L3_FIFO
        cdef Source source = Source(
            chunks, asset.tick_size, asset.lot_size, asset.latency_offset, by_order, self.packer
        )
        models.latency = latencies.model
        custom = seat_models(asset, asset.symbol, &models)
        code = exchange_init(&self.venues[i], &models, max_orders)
        memset(&self.locals[i], 0, sizeof(Local))
        self.n_assets = i + 1
        raise_for_code(code, asset.symbol)
        self.sources.append(source)
        self.latencies.append(latencies)
        self.custom.append(custom)
        self.rates.append(rates)
        self.venues[i].rows = &source.tape.cursors[VENUE]
        self.locals[i].rows = &source.tape.cursors[LOCAL]
        self.locals[i].venue = &self.venues[i]
        self.locals[i].book = &self.kernel.desk.books[i]
        self.locals[i].instrument = i
        self.locals[i].funding = rates.funding
        source.start()

    def __dealloc__(self):
        for i in range(self.n_assets):
            exchange_free(&self.venues[i])
        PyMem_Free(self.venues)
        PyMem_Free(self.locals)

    @property
    def events(self) -> int:
        """Rows of data read so far."""
        return sum(source.rows for source in self.sources)

    @property
    def first_ts(self) -> int | None:
        """Before the run: when any side sees the first row; None when there is none."""
        self.check_data()
        return None if self.next_ts() == INT64_MAX else self.next_ts()

    @property
    def last_ts(self) -> int:
        """After the run: when any side saw the last row."""
        return max(source.last_ts for source in self.sources)

    @property
    def round_trip(self) -> int:
        """The longest time there is between a request and its answer, in nanoseconds."""
        return max(latencies.round_trip for latencies in self.latencies)

    @property
    def horizon(self) -> int | None:
        """The time up to which the data read so far reach in every asset that has more; None at the end."""
        cdef int64_t ts = INT64_MAX
        for source in self.sources:
            ts = min(ts, (<Source>source).horizon())
        return None if ts == INT64_MAX else ts

    cdef check_data(self):
        """Raises what is wrong with the data, once it has been reached."""
        for source in self.sources:
            source.check()

    def begin(self):
        """Takes what the kernel put out when its strategies started, and starts samples and payments."""
        cdef int64_t first = self.next_ts()
        cdef int i, code
        for i in range(self.n_assets):
            while self.locals[i].funding.next_ts < first:
                funding_pass(&self.locals[i].funding)
        if self.sample_interval > 0 and self.next_ts() != INT64_MAX:
            self.next_sample = self.next_ts() + self.sample_interval
        self.find_next_due()
        with nogil:
            code = self.drain()
        if code != OK:
            self.blame(code)

    def run_until(self, until=None):
        """Runs everything strictly before a time; to the end of the data by default.

        Args:
            until: Nanoseconds, or None.

        Raises:
            DataError: A row cannot be used; everything before it has been.
            RingbookError: A capacity was exceeded, or a model returned what cannot be; what one raises is
                raised as it is.
            KeyboardInterrupt: The user stopped the run.
        """
        cdef int64_t bound = INT64_MAX if until is None else until
        cdef int code = OK
        cdef bint paused = True
        while paused:
            with nogil:
                code = self.run(bound, &paused)
            if code != OK:
                self.blame(code)
            self.check_data()
            PyErr_CheckSignals()

    cdef blame(self, int code):
        """Raises what a run failed with: the row of a book of orders, if it was that, or what a model raised."""
        if code == ERR_MODEL:
            for custom in self.custom:
                (<CustomModels>custom).check()
        for i in range(self.n_assets):
            if self.venues[i].fault != NULL:
                orders_blame(<Source>self.sources[i], self.venues[i].fault, code)
            if self.locals[i].fault != NULL:
                orders_blame(<Source>self.sources[i], self.locals[i].fault, code)
        raise_for_code(code)

    def advance(self, int64_t now):
        """Moves engine time to the end of the data: rows that nobody listens to do not."""
        self.kernel.advance(now)

    def finish(self):
        """Records what the kernel put out when its strategies stopped; requests go nowhere any more."""
        cdef int code
        with nogil:
            code = self.drain()
        if code != OK:
            self.blame(code)

    def close(self):
        """Ends the thread that packs recordings ahead, if there is one."""
        self.packer.close()

    def check_invariants(self):
        """Raises InvariantError unless each venue is consistent."""
        for i in range(self.n_assets):
            raise_for_code(exchange_check(&self.venues[i]), f"venue of asset {i}")
            self.sources[i].check_invariants()

    # --- the order of things -------------------------------------------------------------------------

    cdef int64_t next_ts(self) noexcept nogil:
        """The time of the next event of any side; INT64_MAX when nothing is left."""
        cdef int64_t ts = INT64_MAX
        cdef int i
        for i in range(self.n_assets):
            ts = min(ts, local_next_ts(&self.locals[i]), exchange_next_ts(&self.venues[i]))
        return ts

    cdef int64_t action_bound(self, int64_t until) noexcept nogil:
        """The first moment at which a strategy can act, as far as is known now."""
        cdef int64_t bound = until
        cdef int64_t timer = min(self.kernel.desk.next_timer, self.next_due)
        cdef int i
        if timer < bound:
            bound = timer + 1
        for i in range(self.n_assets):
            bound = min(bound, self.venues[i].responses.next_ts)
            if self.locals[i].rows.ts < bound and local_listens(&self.locals[i], self.kernel):
                bound = self.locals[i].rows.ts
        return bound

    cdef int run_venues(self, int64_t bound) noexcept nogil:
        """Runs venues up to ``bound`` or the first answer on its way to us, whichever is earlier.

        Those that can answer advance together in time; the others cannot, and follow alone.
        """
        cdef int i, failed
        cdef int code = venues_run(self.venues, sizeof(Exchange), self.n_assets, &bound, &failed)
        if code != OK:
            return code
        for i in range(self.n_assets):
            if exchange_silent(&self.venues[i]):
                code = exchange_run(&self.venues[i], bound)
                if code != OK:
                    return code
        return OK

    cdef int one_event(self, int asset, int kind, int64_t now) noexcept nogil:
        """Processes the next event of one kind of one asset, and what strategies do about it."""
        cdef Local* local = &self.locals[asset]
        cdef Exchange* venue = &self.venues[asset]
        cdef int code
        if kind == VENUE_ROW:
            return exchange_row(venue)
        if kind == VENUE_REQUEST:
            return exchange_requests(venue, now)
        if kind == LOCAL_ROW:
            code = local_row(local, self.kernel)
        else:
            code = local_response(local, self.kernel, now)
        return code if code != OK else self.drain()

    cdef int run_instant(self, int64_t now) noexcept nogil:
        """Merges everything that happens at ``now``."""
        cdef int i = 0
        cdef int kind, code
        while i < self.n_assets:
            if self.locals[i].rows.ts == now:
                kind = LOCAL_ROW
            elif self.venues[i].responses.next_ts == now:
                kind = LOCAL_RESPONSE
            elif self.venues[i].rows.ts == now:
                kind = VENUE_ROW
            elif self.venues[i].requests.next_ts == now:
                kind = VENUE_REQUEST
            else:
                i += 1
                continue
            code = self.one_event(i, kind, now)
            if code != OK:
                return code
            # What we did may have put something before this asset's place in the order.
            i = 0
        return OK

    cdef void find_next_due(self) noexcept nogil:
        cdef int i
        self.next_due = self.next_sample
        for i in range(self.n_assets):
            self.next_due = min(self.next_due, self.locals[i].funding.next_ts)

    cdef int settle(self, int64_t now) noexcept nogil:
        """Makes the payments of an instant, and then takes its sample."""
        cdef int i
        cdef int code = OK
        for i in range(self.n_assets):
            if self.locals[i].funding.next_ts <= now:
                local_pay(&self.locals[i], self.kernel)
        if self.next_sample <= now:
            code = self.recorder.sample(&self.kernel.desk, self.next_sample)
            self.next_sample += self.sample_interval
        self.find_next_due()
        return code

    cdef int fire_due(self, int64_t now) noexcept nogil:
        """Fires what is due at ``now``, unless the data is over: then a run ends without acting again."""
        cdef int code
        if self.next_ts() == INT64_MAX:
            self.ended = True
            return OK
        if self.next_due <= now:
            self.kernel.advance(now)
            code = self.settle(now)
            if code != OK:
                return code
        while self.kernel.desk.next_timer <= now:
            code = self.kernel.apply_timer(now)
            if code == OK:
                code = self.drain()
            if code != OK:
                return code
        return OK

    cdef int drain(self) noexcept nogil:
        """Sends the kernel's requests on their way and records the rest."""
        cdef const Order* request
        cdef uint32_t i
        cdef int code
        for i in range(self.kernel.desk.n_outputs):
            request = kernel_request(self.kernel, i)
            if request != NULL:
                code = exchange_take(&self.venues[request.instrument], request, request.local_ts)
            else:
                code = self.recorder.record(&self.kernel.desk.outbox[i])
            if code != OK:
                return code
        self.kernel.take_outputs()
        return OK

    cdef int run(self, int64_t until, bint* paused) noexcept nogil:
        cdef int64_t bound, now
        cdef int i, code, steps = 0
        paused[0] = False
        while not self.ended:
            if steps == PAUSE_AFTER:
                paused[0] = True
                return OK
            steps += 1
            now = min(self.kernel.desk.next_timer, self.next_due)
            if self.stepwise:
                bound = min(self.next_ts(), until)
            else:
                code = self.run_venues(self.action_bound(until))
                if code != OK:
                    return code
                bound = self.action_bound(until)
                for i in range(self.n_assets):
                    code = local_passive(&self.locals[i], bound)
                    if code != OK:
                        return code
            if now < bound:
                code = self.fire_due(now)
            elif bound >= until:
                self.ended = self.next_ts() == INT64_MAX
                return OK
            else:
                code = self.run_instant(bound)
            if code != OK:
                return code
        return OK
