"""Strategies in their slots: seating, states, callbacks, and what happens when one raises."""

from cpython.exc cimport PyErr_SetInterrupt
from libc.math cimport isfinite
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from engine.book.l2 cimport l2_free, l2_init
from engine.core.codes cimport OK
from engine.core.idmap cimport idmap_init
from engine.core.types cimport *
from engine.risk.latch cimport LATCH_CAUSES, Latch, latch_reason, latch_set
from engine.risk.pretrade cimport LIMITS_LOSS, NS_PER_DAY, LimitSet, ScopeState, limits_from
from engine.risk.scope cimport SCOPE_STRATEGIES, Scope
from engine.strategy.admission cimport admission_equity, admission_recount
from engine.strategy.context cimport Context, make_context
from engine.strategy.desk cimport (
    ANY_INSTRUMENT,
    CALL_BOOK,
    CALL_FILL,
    CALL_ORDER,
    CALL_TIMER,
    CALL_TRADE,
    KIND_EXTERNAL,
    KIND_NATIVE,
    KIND_PYTHON,
    Cell,
    OUTPUT_LOG,
    OUTPUT_STRATEGY,
    desk_cancel_all,
    desk_cell,
    desk_emit,
    desk_free,
    desk_init,
    desk_set_timer,
)
from engine.strategy.native cimport NativeStrategy
from engine.strategy.script cimport SCRIPT_FAIL, SCRIPT_LOG, SCRIPT_PLAY, SCRIPT_RECORD, Script, script_repeat
from engine.strategy.views cimport BookView, make_book, make_fill, make_order, make_trade

from inspect import isasyncgenfunction, iscoroutinefunction
from typing import NamedTuple

from engine.core.errors import CapacityError, ConfigError, StrategyError, raise_for_code
from engine.core.types import Reason, TradingState
from engine.risk.limits import MONEY, UNLIMITED, RiskLimits, check_limits
from engine.strategy.base import Strategy
from engine.strategy.states import may, next_strategy
from engine.strategy.status import LatchInfo, failure

cdef dict _CALLS = {
    "on_book": CALL_BOOK, "on_trade": CALL_TRADE, "on_order": CALL_ORDER, "on_fill": CALL_FILL,
    "on_timer": CALL_TIMER,
}
CAUSES = tuple(Reason(latch_reason(cause)).name.lower() for cause in range(LATCH_CAUSES))
"""What can set a latch, by ``LatchCause``: the spelling of its reason."""
cdef dict _NAMES = {call: name for name, call in _CALLS.items()}


class InstrumentSpec(NamedTuple):
    """What the kernel needs to know of an instrument.

    Attributes:
        symbol: Its name.
        tick_size: Price units of a tick.
        lot_size: Quantity units of a lot.
        contract_size: Multiplier from quantity to value.
        asset: ``linear`` or ``inverse``.
    """

    symbol: str
    tick_size: float
    lot_size: float
    contract_size: float = 1.0
    asset: str = "linear"


cdef class Roster:
    """The slots of a kernel; see ``Kernel`` for its arguments."""

    def __cinit__(
        self, instruments, *, uint32_t max_orders=4096, uint32_t outbox_size=4096, uint32_t window_ticks=0,
        uint64_t seed=0
    ):
        cdef int code
        cdef uint16_t i
        self.seed = seed
        specs = list(instruments)
        if not 0 < len(specs) < ANY_INSTRUMENT:
            raise ConfigError(f"{len(specs)} instruments; a kernel has 1 to {ANY_INSTRUMENT - 1}")
        self.symbols = tuple(spec.symbol for spec in specs)
        if len(set(self.symbols)) != len(specs):
            raise ConfigError(f"a symbol is named twice in {', '.join(self.symbols)}")
        code = desk_init(&self.desk, <uint16_t>len(specs), max_orders, outbox_size)
        if code != OK:
            raise_for_code(code, f"{max_orders} orders, {outbox_size} outputs")
        self.book_calls = <uint64_t*>calloc(len(specs), sizeof(uint64_t))
        self.trade_calls = <uint64_t*>calloc(len(specs), sizeof(uint64_t))
        if self.book_calls == NULL or self.trade_calls == NULL:
            raise MemoryError
        self.views = []
        for i in range(self.desk.n_instruments):
            _take_spec(&self.desk.instruments[i], specs[i])
            code = l2_init(&self.desk.books[i], specs[i].tick_size, specs[i].lot_size, window_ticks)
            if code != OK:
                raise_for_code(code, f"the book of {specs[i].symbol}")
            self.views.append(
                make_book(self, &self.desk.books[i], &self.desk.instruments[i], specs[i].symbol)
            )
        self.strategies, self.contexts, self.names, self.messages = [], [], [], []
        self.failed, self.symbols_of, self.params_of, self.logs = [], [], [], []
        self.limits, self.scope_limits, self.latched = {}, {}, {}
        self.script = Script()

    def __dealloc__(self):
        cdef uint16_t i
        if self.desk.books != NULL:
            for i in range(self.desk.n_instruments):
                l2_free(&self.desk.books[i])
        desk_free(&self.desk)
        free(self.book_calls)
        free(self.trade_calls)

    # --- callbacks -------------------------------------------------------------------------------

    cdef void fan_out(
        self, uint64_t listeners, uint8_t call, uint16_t instrument, const void* data
    ) noexcept nogil:
        cdef uint16_t slot = 0
        while listeners != 0:
            if listeners & 1:
                self.callback(call, slot, instrument, data, NULL)
            listeners >>= 1
            slot += 1

    cdef void callback(
        self, uint8_t call, uint16_t slot, uint16_t instrument, const void* data, const void* more
    ) noexcept nogil:
        self._dispatch(call, slot, instrument, data, more)
        if self.desk.n_denied != 0:
            self._deliver_denied()

    cdef void _dispatch(
        self, uint8_t call, uint16_t slot, uint16_t instrument, const void* data, const void* more
    ) noexcept nogil:
        cdef void* native
        if not self.desk.slots[slot].calls & call:
            return
        if self.desk.slots[slot].kind != KIND_NATIVE:
            if self.script.mode == SCRIPT_PLAY:
                self._play()
                return
            self._call_python(call, slot, instrument, data, more)
            return
        native = self.natives[slot]
        if call == CALL_TIMER:
            (<NativeStrategy>native).on_timer(self.desk.now)
        elif call == CALL_BOOK:
            (<NativeStrategy>native).on_book(instrument)
        elif call == CALL_TRADE:
            (<NativeStrategy>native).on_trade(instrument, <const Event*>data)
        elif call == CALL_ORDER:
            (<NativeStrategy>native).on_order(<const Order*>data)
        else:
            (<NativeStrategy>native).on_fill(<const Order*>data, <const Fill*>more)

    cdef void _deliver_denied(self) noexcept nogil:
        # The queue only grows while it is delivered, up to its capacity, so this ends even where a
        # strategy answers each denial with another order that is denied.
        cdef uint32_t i = 0
        cdef Order order
        while i < self.desk.n_denied:
            order = self.desk.denied[i]
            self._dispatch(CALL_ORDER, order.strategy, order.instrument, &order, NULL)
            i += 1
        self.desk.n_denied = 0

    cdef void _call_python(
        self, uint8_t call, uint16_t slot, uint16_t instrument, const void* data, const void* more
    ) noexcept with gil:
        cdef const Instrument* inst = &self.desk.instruments[instrument]
        cdef BookView view = <BookView>self.views[instrument]
        cdef Context ctx = <Context>self.contexts[slot]
        strategy = self.strategies[slot]
        self.script.callbacks += 1
        try:
            if call == CALL_BOOK:
                strategy.on_book(ctx, view)
            elif call == CALL_TRADE:
                strategy.on_trade(ctx, make_trade(<const Event*>data, view.symbol))
            elif call == CALL_ORDER:
                strategy.on_order(ctx, make_order(<const Order*>data, inst, view.symbol))
            elif call == CALL_FILL:
                strategy.on_fill(ctx, make_fill(<const Fill*>more, inst, view.symbol))
            else:
                strategy.on_timer(ctx, self.desk.now)
        except KeyboardInterrupt:
            # The user stops the program, not the strategy: let whoever drives us see it.
            PyErr_SetInterrupt()
        except BaseException as error:
            self.fail(slot, _NAMES[call], error)

    cdef void _play(self) noexcept nogil:
        cdef const ScriptCall* call
        self.script.callbacks += 1
        while self.script.next != self.script.end and self.script.next.at == self.script.callbacks:
            call = self.script.next
            self.script.next += 1
            if call.action == SCRIPT_LOG or call.action == SCRIPT_FAIL:
                self._play_text(call)
            else:
                script_repeat(call, &self.desk)

    cdef void _play_text(self, const ScriptCall* call) noexcept with gil:
        text = self.script.texts[call.order_id]
        if call.action == SCRIPT_LOG:
            self.contexts[call.slot].log(text)
        else:
            self.mark_failed(call.slot, text, StrategyError(text.message))

    cdef int call_cold(self, uint16_t slot, str method, tuple arguments) except -1:
        """A rare callback; false when it raised, which has been dealt with then."""
        cdef NativeStrategy native
        cdef bint failed = self.desk.slots[slot].state == STRATEGY_ERROR
        ok = True
        if self.desk.slots[slot].kind == KIND_NATIVE:
            native = <NativeStrategy>self.strategies[slot]
            if method == "on_start":
                native.on_start()
            elif method == "on_params":
                native.on_params()
            elif method == "on_stop":
                native.on_stop()
            elif method == "on_signal":
                native.on_signal(arguments[0])
            ok = failed or self.desk.slots[slot].state != STRATEGY_ERROR
        elif self.desk.slots[slot].kind == KIND_PYTHON and self.script.mode == SCRIPT_PLAY:
            self._play()
            ok = failed or self.desk.slots[slot].state != STRATEGY_ERROR
        elif self.desk.slots[slot].kind == KIND_PYTHON:
            self.script.callbacks += 1
            try:
                getattr(self.strategies[slot], method)(self.contexts[slot], *arguments)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                self.fail(slot, method, error)
                ok = False
        if self.desk.n_denied != 0:
            self._deliver_denied()
        return ok

    # --- states ----------------------------------------------------------------------------------

    cdef void log(self, uint16_t slot, str level, str text):
        desk_emit(&self.desk, OUTPUT_LOG, slot, NULL, 0, NULL, True)
        self.logs.append((self.desk.now, self.desk.step, self.names[slot], level, text))

    cdef int move(self, uint16_t slot, str action, str message) except -1:
        self.enter(slot, next_strategy(action, self.desk.slots[slot].state, self.names[slot]), message)
        return 0

    cdef void enter(self, uint16_t slot, uint8_t state, str message):
        cdef uint16_t i
        self.desk.slots[slot].state = state
        self.messages[slot] = message
        if state == STRATEGY_ERROR or state == STRATEGY_STOPPED:
            self.desk.slots[slot].calls = 0
            desk_set_timer(&self.desk, slot, 0, 0)
            for i in range(self.desk.n_instruments):
                self.book_calls[i] &= ~(<uint64_t>1 << slot)
                self.trade_calls[i] &= ~(<uint64_t>1 << slot)
        desk_emit(&self.desk, OUTPUT_STRATEGY, slot, NULL, 0, NULL, True)

    cdef void fail(self, uint16_t slot, str callback, object error):
        # A compiled strategy has no such attribute.
        method = getattr(type(self.strategies[slot]), callback, None)
        what = failure(self.names[slot], self.desk.now, callback, method, error)
        if self.script.mode == SCRIPT_RECORD and self.desk.slots[slot].kind == KIND_PYTHON:
            self.script.add_text(slot, SCRIPT_FAIL, what)
        self.mark_failed(slot, what, error)

    cdef void mark_failed(self, uint16_t slot, object what, object error):
        self.failed[slot] = (what, error)
        if may("fail", self.desk.slots[slot].state):
            self.enter(slot, STRATEGY_ERROR, what.message)
        self.log(slot, "error", what.traceback)
        desk_cancel_all(&self.desk, slot, ANY_INSTRUMENT, REASON_STRATEGY_ERROR)

    # --- seats -----------------------------------------------------------------------------------

    cdef int instrument_of(self, object symbol) except -1:
        if symbol not in self.symbols:
            raise ConfigError(f"unknown symbol {symbol!r}; known are {', '.join(self.symbols)}")
        return self.symbols.index(symbol)

    cdef int slot_of(self, object name) except -1:
        if name not in self.names:
            raise ConfigError(f"unknown strategy {name!r}; known are {', '.join(self.names) or 'none'}")
        return self.names.index(name)

    cdef int set_limits(self, uint16_t slot, uint16_t instrument, object limits) except -1:
        limits_from(
            &desk_cell(&self.desk, slot, instrument).limits, limits, &self.desk.instruments[instrument]
        )
        self.limits[slot, instrument] = limits
        return 0

    cdef int set_scope_limits(self, size_t scope, object limits, object instruments) except -1:
        """Limits of a scope over instruments (their numbers); its counters are the caller's to take anew."""
        cdef Scope* of = &self.desk.scopes[scope]
        cdef uint64_t before = of.limits.mask
        cdef Instrument* inst = &self.desk.instruments[<size_t>instruments[0]]
        limits_from(&of.limits, limits, inst)
        self.scope_limits[scope] = limits
        if of.limits.mask & LIMITS_LOSS and not before & LIMITS_LOSS:
            # A loss counts from when it is first limited.
            of.state.day = self.desk.now // NS_PER_DAY
            of.state.last_equity = admission_equity(&self.desk, scope)
            of.state.day_equity = of.state.peak_equity = of.state.last_equity
        return 0

    cdef int must_add_up(self, object limits, object instruments) except -1:
        """Refuses sums of money over instruments that settle in the quote and in the coin."""
        if len({self.desk.instruments[<size_t>i].asset_kind for i in instruments}) > 1:
            for name in MONEY:
                if getattr(limits, name) is not None:
                    raise ConfigError(f"{name}: linear and inverse instruments settle in different currencies")
        return 0

    cdef int take_limits(self, uint16_t slot, object limits, object instruments) except -1:
        """The limits of a strategy that takes its seat."""
        cdef uint16_t i
        memset(&self.desk.scopes[SCOPE_STRATEGIES + slot].state, 0, sizeof(ScopeState))
        memset(&self.desk.scopes[SCOPE_STRATEGIES + slot].limits, 0, sizeof(LimitSet))
        for i in range(self.desk.n_instruments):
            self.set_limits(slot, i, limits.of_orders())
        self.set_scope_limits(SCOPE_STRATEGIES + slot, limits.of_sums(), instruments)
        admission_recount(&self.desk)
        return 0

    cdef int assign(self, uint16_t slot, object symbols) except -1:
        """Gives a slot its symbols, and its callbacks their instruments."""
        cdef uint64_t bit = <uint64_t>1 << slot
        cdef uint16_t i
        instruments = [self.instrument_of(symbol) for symbol in symbols]
        if not symbols or len(set(symbols)) != len(symbols):
            raise ConfigError(f"{self.names[slot]}: a strategy needs symbols, each once, not {symbols!r}")
        for i in range(self.desk.n_instruments):
            desk_cell(&self.desk, slot, i).trades = i in instruments
            self.book_calls[i] &= ~bit
            self.trade_calls[i] &= ~bit
            if i in instruments and self.desk.slots[slot].calls & CALL_BOOK:
                self.book_calls[i] |= bit
            if i in instruments and self.desk.slots[slot].calls & CALL_TRADE:
                self.trade_calls[i] |= bit
        self.symbols_of[slot] = tuple(symbols)
        return 0

    cdef int vacancy(self, str name, uint8_t kind) except -1:
        """A slot for a new strategy: the next, or that of an external one that left without a trace."""
        cdef uint16_t slot, i
        cdef Cell* cell
        if self.desk.n_strategies < MAX_STRATEGIES:
            return self.desk.n_strategies
        for slot in range(MAX_STRATEGIES if kind == KIND_EXTERNAL else 0):
            if self.desk.slots[slot].kind != KIND_EXTERNAL or self.desk.slots[slot].state != STRATEGY_STOPPED:
                continue
            for i in range(self.desk.n_instruments):
                cell = desk_cell(&self.desk, slot, i)
                # Without a trade there is neither a position nor money that a name must keep.
                if cell.n_orders != 0 or cell.position.num_trades != 0:
                    break
            else:
                return slot
        raise CapacityError(
            f"{name}: all {MAX_STRATEGIES} seats are taken by strategies that run or have traded; "
            "use the name of one that has left"
        )

    cdef int seat(self, str name, uint8_t kind, object strategy, object symbols, object limits) except -1:
        """Takes a new slot; all arguments are checked before anything changes."""
        cdef uint16_t slot, i
        cdef bint reused
        symbols = self.symbols if symbols is None else tuple(symbols)
        instruments = [self.instrument_of(symbol) for symbol in symbols]
        if not symbols or len(set(symbols)) != len(symbols):
            raise ConfigError(f"{name}: a strategy needs symbols, each once, not {symbols!r}")
        if not name or name in self.names:
            raise ConfigError(f"a strategy named {name!r} is there already" if name else "a strategy needs a name")
        if limits is not None:
            check_limits(limits)
            self.must_add_up(limits.of_sums(), instruments)
        slot = self.vacancy(name, kind)
        reused = slot < self.desk.n_strategies
        if reused:
            self.keep_latches(SCOPE_STRATEGIES + slot, "strategy", self.names[slot])
        if kind == KIND_EXTERNAL and not reused:
            code = idmap_init(&self.desk.client_ids[slot], self.desk.orders.capacity)
            if code != OK:
                raise_for_code(code, name)
        elif kind == KIND_NATIVE:
            (<NativeStrategy>strategy).attach(self, &self.desk, slot, instruments)
            self.natives[slot] = <void*>strategy
            self.desk.slots[slot].calls = (<NativeStrategy>strategy).calls
        elif kind == KIND_PYTHON:
            for method, call in _CALLS.items():
                if getattr(type(strategy), method) is not getattr(Strategy, method):
                    self.desk.slots[slot].calls |= <uint8_t>call
        self.desk.slots[slot].kind = kind
        self.desk.slots[slot].state = STRATEGY_STARTING
        context = make_context(self, &self.desk, slot, name, symbols, instruments, self.logs, self.views, self.script)
        for column, value in (
            (self.strategies, strategy), (self.names, name), (self.messages, ""), (self.failed, None),
            (self.symbols_of, ()), (self.params_of, {}), (self.contexts, context),
        ):
            column[slot:slot + 1] = [value]
        if not reused:
            self.desk.n_strategies += 1
        self.take_limits(slot, UNLIMITED if limits is None else limits, instruments)
        self.assign(slot, symbols)
        self.apply_latches(SCOPE_STRATEGIES + slot, "strategy", name)
        return slot

    cdef int keep_latches(self, size_t scope, str kind, str name) except -1:
        """Puts what breakers have set in a scope under its name, beside what was set by name."""
        cdef const Latch* latch = &self.desk.scopes[scope].latch
        cdef int cause
        for cause in range(LATCH_CAUSES):
            key = kind, name, CAUSES[cause]
            if latch.states[cause] != TRADING_ACTIVE and key not in self.latched:
                self.latched[key] = LatchInfo(
                    *key, TradingState(latch.states[cause]).name, latch.ts[cause], latch.limit[cause],
                    latch.actual[cause], "", "risk",
                )
        return 0

    cdef int apply_latches(self, size_t scope, str kind, str name) except -1:
        """Sets a scope's latches to those that are kept under its name."""
        cdef Latch* latch = &self.desk.scopes[scope].latch
        cdef int cause
        if latch.state != TRADING_ACTIVE:
            self.desk.n_latched -= 1
        memset(latch, 0, sizeof(Latch))
        for cause in range(LATCH_CAUSES):
            info = self.latched.get((kind, name, CAUSES[cause]))
            if info is not None:
                latch_set(latch, cause, TradingState[info.state], info.ts, info.limit, info.actual)
        if latch.state != TRADING_ACTIVE:
            self.desk.n_latched += 1
        return 0

    cdef int begin(self, uint16_t slot) except -1:
        """Lets a slot run and tells it so."""
        self.move(slot, "start", "")
        return self.call_cold(slot, "on_start", ())

    def add_strategy(self, str name not None, strategy not None, symbols=None, limits=None):
        """Seats a strategy; it starts with the kernel, or at once if that runs already.

        Args:
            name: Its name, unique in the kernel.
            strategy: A ``Strategy`` or a ``NativeStrategy``, with its parameters set.
            symbols: What it trades; all by default. ``Context`` takes the first where none is named.
            limits: ``RiskLimits`` in each of its symbols; none by default.

        Returns:
            Its slot number.

        Raises:
            ConfigError: The name is taken, a symbol unknown, or what is given is no strategy.
            CapacityError: All slots are taken.
        """
        if not isinstance(strategy, (Strategy, NativeStrategy)):
            raise ConfigError(f"{name}: {type(strategy).__name__} is no strategy")
        if limits is not None and not isinstance(limits, RiskLimits):
            raise ConfigError(f"{name}: limits are RiskLimits, not {type(limits).__name__}")
        if isinstance(strategy, Strategy):
            _refuse_coroutines(name, type(strategy))
        kind = KIND_NATIVE if isinstance(strategy, NativeStrategy) else KIND_PYTHON
        slot = self.seat(name, kind, strategy, symbols, limits)
        if self.started:
            self.begin(slot)
        return slot

    def parts(self):
        """What Python strategies may hold on to, and they themselves, by names that hold in any run of the same.

        Returns:
            A dict by ``("strategy", name)`` and ``("context", name)`` of Python strategies and ``("book", symbol)``.
        """
        parts = {("book", symbol): view for symbol, view in zip(self.symbols, self.views)}
        for slot, name in enumerate(self.names):
            if self.desk.slots[<Py_ssize_t>slot].kind == KIND_PYTHON:
                parts["strategy", name] = self.strategies[slot]
                parts["context", name] = self.contexts[slot]
        return parts

    def release(self):
        """Lets go of the strategies and of what they were given: the last use of a kernel.

        They know the kernel and it knows them. Without this, all their memory waits for the garbage
        collector, which cannot see how much that is.
        """
        cdef uint16_t slot, i
        for slot in range(self.desk.n_strategies):
            self.desk.slots[slot].calls = 0
            self.desk.slots[slot].state = STRATEGY_STOPPED
            self.natives[slot] = NULL
        for i in range(self.desk.n_instruments):
            self.book_calls[i] = self.trade_calls[i] = 0
        self.strategies, self.contexts, self.views, self.failed = [], [], [], []


cdef int _refuse_coroutines(str name, object cls) except -1:
    # The engine never awaits: such a callback would silently do nothing.
    for method in dir(Strategy):
        if method.startswith("on_") and (
            iscoroutinefunction(getattr(cls, method)) or isasyncgenfunction(getattr(cls, method))
        ):
            raise ConfigError(f"{name}: {cls.__qualname__}.{method} is async; callbacks are plain functions")
    return 0


cdef int _take_spec(Instrument* inst, object spec) except -1:
    for field in ("tick_size", "lot_size", "contract_size"):
        if not isfinite(getattr(spec, field)) or getattr(spec, field) <= 0:
            raise ConfigError(f"{spec.symbol}: {field} {getattr(spec, field)} is not a positive number")
    if spec.asset not in ("linear", "inverse"):
        raise ConfigError(f"{spec.symbol}: asset {spec.asset!r} is neither linear nor inverse")
    inst.tick_size = spec.tick_size
    inst.lot_size = spec.lot_size
    inst.contract_size = spec.contract_size
    inst.asset_kind = ASSET_INVERSE if spec.asset == "inverse" else ASSET_LINEAR
    return 0
