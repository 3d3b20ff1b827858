"""The kernel: inputs, control commands, and its face for Python. Contract and costs are in kernel.pxd."""

from libc.stdint cimport INT64_MAX, uint8_t, uint64_t
from libc.string cimport memset

from engine.book.l2 cimport L2Change, l2_apply
from engine.book.ladder cimport ladder_touch
from engine.core.codes cimport ERR_OUTBOX_FULL, ERR_UNKNOWN_INSTRUMENT, OK
from engine.core.types cimport *
from engine.risk.scope cimport SCOPE_GLOBAL
from engine.strategy.audit cimport DESK_AUDITS, desk_audit, desk_hash, desk_must_hold
from engine.strategy.desk cimport (
    ANY_INSTRUMENT,
    ANY_STRATEGY,
    CALL_BOOK,
    CALL_FILL,
    CALL_ORDER,
    CALL_SIGNAL,
    CALL_TIMER,
    CALL_TRADE,
    CLOSE_TRIES,
    KIND_EXTERNAL,
    OUTPUT_STRATEGY,
    Cell,
    ReportEffect,
    book_mid,
    desk_cancel_all,
    desk_cell,
    desk_close,
    desk_emit,
    desk_find_next_timer,
    desk_report,
    desk_retire,
)
from engine.strategy.external cimport external_reduce, external_request
from engine.strategy.views cimport make_state
from engine.strategy.warden cimport Warden

import msgspec
import numpy as np

from engine.core.errors import ConfigError, IllegalTransition, RingbookError, StrategyError, raise_for_code
from engine.core.types import TradingState
from engine.risk.limits import RiskLimits
from engine.strategy.base import Strategy
from engine.strategy.params import ParamSpec
from engine.strategy.roster import InstrumentSpec  # re-exported: what a kernel is made of
from engine.strategy.states import STRATEGY_MOVES, may, next_trading
from engine.strategy.status import KIND_NAMES, STATE_NAMES, ControlResult, StrategyInfo
from engine.strategy.views import Signal

cdef Output _output
output_dtype = np.asarray(<Output[:1]>&_output).dtype


cdef class Kernel(Warden):
    """Owns all trading state; single writer.

    Args:
        instruments: ``InstrumentSpec`` or anything with its attributes; numbered in this order.
        max_orders: Live orders of all strategies together.
        outbox_size: Outputs that may wait before new orders are denied with BUSY and inputs refused.
        window_ticks: Width of a book's dense window; 0 leaves it to the book.
        seed: What strategies read as ``ctx.seed``.

    Raises:
        ConfigError: A symbol is named twice, or a size is not a positive number.
        CapacityError: A capacity is not possible, or memory ran out.
    """

    # --- inputs ----------------------------------------------------------------------------------

    cdef void advance(self, int64_t now) noexcept nogil:
        if now > self.desk.now:
            self.desk.now = now

    cdef void take_outputs(self) noexcept nogil:
        self.desk.n_outputs = 0

    cdef int apply_market(self, uint16_t instrument, const Event* event, bint last) noexcept nogil:
        cdef L2Change change
        cdef int code = OK
        if instrument >= self.desk.n_instruments:
            return ERR_UNKNOWN_INSTRUMENT
        if self.desk.n_outputs > self.desk.outbox_soft:
            return ERR_OUTBOX_FULL
        if event.local_ts > self.desk.now:
            self.desk.now = event.local_ts
        if event.ev & EV_LOCAL:
            if event.ev & EV_KIND_MASK == EVENT_TRADE:
                if self.trade_calls[instrument] != 0:
                    self.fan_out(self.trade_calls[instrument], CALL_TRADE, instrument, event)
            else:
                code = l2_apply(&self.desk.books[instrument], event, &change)
        if last and self.book_calls[instrument] != 0:
            self.fan_out(self.book_calls[instrument], CALL_BOOK, instrument, NULL)
        return code

    cdef int apply_report(self, const Order* report, int64_t now) noexcept nogil:
        cdef ReportEffect effect
        cdef int code
        if self.desk.n_outputs > self.desk.outbox_soft:
            return ERR_OUTBOX_FULL
        self.advance(now)
        code = desk_report(&self.desk, report, &effect)
        if effect.changed:
            self.callback(CALL_ORDER, report.strategy, effect.order.instrument, &effect.order, NULL)
            if effect.executed:
                self.callback(
                    CALL_FILL, report.strategy, effect.order.instrument, &effect.order, &effect.fill
                )
            desk_retire(&self.desk, &effect)
        if DESK_AUDITS:
            desk_must_hold(&self.desk)
        return code

    cdef int apply_timer(self, int64_t now) noexcept nogil:
        cdef uint16_t slot
        if self.desk.n_outputs > self.desk.outbox_soft:
            return ERR_OUTBOX_FULL
        self.advance(now)
        for slot in range(self.desk.n_strategies):
            if self.desk.slots[slot].timer_due <= now:
                # From when it was due, not from now: the beat does not drift.
                self.desk.slots[slot].timer_due += self.desk.slots[slot].timer_interval
                self.callback(CALL_TIMER, slot, 0, NULL, NULL)
        desk_find_next_timer(&self.desk)
        if DESK_AUDITS:
            desk_must_hold(&self.desk)
        return OK

    cdef int apply_request(self, const Order* request, int64_t now) noexcept nogil:
        cdef int code
        if self.desk.n_outputs > self.desk.outbox_soft:
            return ERR_OUTBOX_FULL
        self.advance(now)
        code = external_request(&self.desk, request)
        if DESK_AUDITS:
            desk_must_hold(&self.desk)
        return code

    # --- life ------------------------------------------------------------------------------------

    def start(self, int64_t first_ts):
        """Starts the strategies: ``on_start`` of each, at the time of the first event.

        Args:
            first_ts: Engine time to start from; timers count from it.

        Raises:
            RingbookError: It has started already.
        """
        if self.started:
            raise RingbookError("the kernel has started already")
        self.advance(first_ts)
        self.started = True
        for slot in range(self.desk.n_strategies):
            # An external one may have connected before, and been paused.
            if self.desk.slots[<Py_ssize_t>slot].state == STRATEGY_STARTING:
                self.begin(slot)

    def stop(self):
        """Stops the strategies: ``on_stop`` of each, then its orders are cancelled. Takes no new orders after."""
        cdef uint16_t slot
        for slot in range(self.desk.n_strategies):
            if self.desk.slots[slot].state in (STRATEGY_STOPPED, STRATEGY_ERROR):
                continue
            self.move(slot, "stop", "")
            if self.call_cold(slot, "on_stop", ()):
                desk_cancel_all(&self.desk, slot, ANY_INSTRUMENT, REASON_CANCEL_REQUESTED)
                self.move(slot, "finish", "")

    def touch(self):
        """Has the memory of books and outputs there before it is needed, for a live engine: no page faults later."""
        cdef uint16_t i
        cdef int side
        # A kill of everything is the first to need all of it, and the last that should wait for it.
        memset(self.desk.outbox, 0, self.desk.outbox_capacity * sizeof(Output))
        for i in range(self.desk.n_instruments):
            for side in range(2):
                ladder_touch(&self.desk.books[i].ladders[side])

    def state_hash(self):
        """A canonical 64-bit hash over books, orders, positions, limits, states and timers."""
        return desk_hash(&self.desk)

    def check_invariants(self):
        """Checks everything against everything; for use between inputs.

        Raises:
            InvariantError: Something does not add up: a bug in Ringbook.
        """
        desk_audit(&self.desk)

    # --- control ---------------------------------------------------------------------------------

    def _all_or(self, name):
        """The slots that a command names: one, or all."""
        return [self.slot_of(name)] if name else list(range(self.desk.n_strategies))

    def _set_trading(self, action):
        cdef uint8_t state = next_trading(action, self.desk.trading_state)
        if state < self.desk.scopes[SCOPE_GLOBAL].latch.state:
            raise ConfigError(f"trading is latched: re-arm it before {action}")
        if self.desk.trading_state != state:
            self.desk.trading_state = state
            desk_emit(&self.desk, OUTPUT_STRATEGY, ANY_STRATEGY, NULL, 0, NULL, True)

    def _shift(self, name, str action, str done):
        """Moves strategies by an action: a named one, which may be there already, or all that it can move."""
        moved = []
        for slot in self._all_or(name):
            state = self.desk.slots[<Py_ssize_t>slot].state
            if may(action, state) or (name and STATE_NAMES[state] not in STRATEGY_MOVES[action].values()):
                self.move(slot, action, done)
                moved.append(self.names[slot])
        return f"{done}: {', '.join(moved)}" if moved else f"nothing to do: already {done} or not running"

    def pause(self, name=""):
        """No new orders of a strategy, or of all; cancels, market data and callbacks go on.

        A modify of a paused strategy passes if it keeps the price and does not raise the quantity.
        """
        return self._command(name, lambda: self._shift(name, "pause", "paused"))

    def resume(self, name=""):
        """Lets a paused strategy trade again; without a name, all, and trading itself after a halt."""

        def act():
            halted = self.desk.trading_state != TRADING_ACTIVE
            if not name:
                self._set_trading("resume")
                self._close_no_more()
            done = self._shift(name, "resume", "resumed")
            if halted and not name:
                return f"trading is active again; {done}" if done.startswith("resumed") else "trading is active again"
            return done if self.desk.trading_state == TRADING_ACTIVE else f"{done}; trading is halted"

        return self._command(name, act)

    def reduce_only(self):
        """Lets only orders through that reduce a position, until ``resume()``."""

        def act():
            self._set_trading("reduce")
            return "only orders that reduce a position pass"

        return self._command("", act)

    def emergency_stop(self, cancel_orders=True, close_position=False):
        """Halts trading: from now on only cancels pass.

        Args:
            cancel_orders: Cancel all live orders.
            close_position: Send a market order (IOC) against each position, and again until it is flat.
        """
        return self._command("", lambda: self._halt(cancel_orders, close_position))

    def _close_no_more(self):
        cdef size_t i
        for i in range(<size_t>self.desk.n_strategies * self.desk.n_instruments):
            self.desk.cells[i].close_tries = 0

    def _halt(self, cancel_orders, close_position):
        cdef uint16_t slot, i
        cdef Cell* cell
        cdef int cancelled = 0, closing = 0, stuck = 0
        self._set_trading("halt")
        if cancel_orders:
            cancelled = desk_cancel_all(&self.desk, ANY_STRATEGY, ANY_INSTRUMENT, REASON_CANCEL_BY_OPERATOR)
        if close_position:
            for slot in range(self.desk.n_strategies):
                for i in range(self.desk.n_instruments):
                    cell = desk_cell(&self.desk, slot, i)
                    # A second command must not close twice what the first is closing.
                    if cell.position.lots != 0 and (cell.close_tries == 0 or cell.n_orders == 0):
                        cell.close_tries = CLOSE_TRIES
                        if desk_close(&self.desk, slot, i) == OK:
                            closing += 1
                        else:
                            cell.close_tries = 0
                            stuck += 1
        done = f"trading halted; orders being cancelled: {cancelled}; positions being closed: {closing}"
        return f"{done}; positions without a market to close on: {stuck}" if stuck else done

    def cancel_orders(self, name="", symbol=""):
        """Cancels the live orders of a strategy or of all, in one symbol or in all."""

        def act():
            count = desk_cancel_all(
                &self.desk,
                self.slot_of(name) if name else ANY_STRATEGY,
                self.instrument_of(symbol) if symbol else ANY_INSTRUMENT,
                REASON_CANCEL_BY_OPERATOR,
            )
            return f"orders being cancelled: {count}"

        return self._command(name, act)

    def update_params(self, name, params):
        """Changes parameters of a strategy: typed, ranged, all or none; then calls its ``on_params``."""

        def act():
            slot = self.slot_of(name)
            strategy = self.strategies[slot]
            if not may("stop", self.desk.slots[<Py_ssize_t>slot].state):
                raise IllegalTransition(f"{name} is {STATE_NAMES[self.desk.slots[<Py_ssize_t>slot].state]}: it has ended")
            if strategy is None:
                self._update_external(slot, params)
            else:
                strategy.update(params)
                if not self.call_cold(slot, "on_params", ()):
                    raise RingbookError(self.messages[slot])
            desk_emit(&self.desk, OUTPUT_STRATEGY, slot, NULL, 0, NULL, True)
            return f"changed: {', '.join(params) or 'nothing'}"

        return self._command(name, act)

    def _update_external(self, slot, params):
        known = self.params_of[slot]
        for key, value in params.items():
            if key not in known or type(value) is not type(known[key]):
                raise ConfigError(f"{self.names[slot]}.{key}: no parameter of type {type(value).__name__}")
        known.update(params)

    def query_status(self, name=""):
        """How a strategy is, or the engine."""

        def act():
            if name:
                return self.message_of(self.slot_of(name)) or "ok"
            states = [f"{n} {STATE_NAMES[self.desk.slots[<Py_ssize_t>i].state]}" for i, n in enumerate(self.names)]
            return ", ".join(states) or "no strategies"

        return self._command(name, act)

    def register_external(self, name, symbols, params=None, limits=None):
        """Seats a strategy that trades from outside, or lets one that had left come back to its position.

        Args:
            name: Its name; one that is connected cannot be taken.
            symbols: What it trades.
            params: Its parameters: names and values.
            limits: ``RiskLimits`` in each of its symbols, where it is new.
        """
        return self._command(name, lambda: self._register(name, symbols, dict(params or {}), limits))

    def _register(self, name, symbols, params, limits):
        if name not in self.names:
            slot = self.seat(name, KIND_EXTERNAL, None, symbols, limits)
        else:
            slot = self.slot_of(name)
            if self.strategies[slot] is not None:
                raise ConfigError(f"{name} is a strategy inside the engine")
            if self.desk.slots[<Py_ssize_t>slot].state != STRATEGY_STOPPED:
                raise ConfigError(f"{name} is connected already")
            self.assign(slot, symbols)
        self.params_of[slot] = params
        self.move(slot, "connect", "connected")
        return f"{name} has slot {slot}"

    def disconnect_external(self, name, policy="cancel"):
        """Lets an external strategy go; its position stays.

        Args:
            name: The strategy.
            policy: ``cancel`` cancels its orders, ``keep`` leaves them at the venue, ``reduce`` leaves those that
                only make its position smaller, the oldest first, as far as the position goes.
        """

        def act():
            slot = self.slot_of(name)
            if self.strategies[slot] is not None:
                raise ConfigError(f"{name} is a strategy inside the engine")
            if policy not in ("cancel", "keep", "reduce"):
                raise ConfigError(f"disconnect policy {policy!r} is none of cancel, keep and reduce")
            self.move(slot, "disconnect", "disconnected")
            count = 0
            if policy == "cancel":
                count = desk_cancel_all(&self.desk, slot, ANY_INSTRUMENT, REASON_CANCEL_ON_DISCONNECT)
            elif policy == "reduce":
                count = external_reduce(&self.desk, slot)
            return f"{name} left; orders being cancelled: {count}"

        return self._command(name, act)

    def send_signal(self, name, symbol, double value):
        """Gives a signal to the strategies inside the engine that trade the symbol (all, if it is empty)."""

        def act():
            if symbol:
                self.instrument_of(symbol)
            signal = Signal(name, symbol, value, self.desk.now)
            told = 0
            for slot in range(self.desk.n_strategies):
                alive = self.desk.slots[<Py_ssize_t>slot].state in (STRATEGY_RUNNING, STRATEGY_PAUSED)
                listens = hasattr(self.strategies[slot], "on_signal") or (
                    self.desk.slots[<Py_ssize_t>slot].calls & CALL_SIGNAL
                )
                if alive and listens:
                    if not symbol or symbol in self.symbols_of[slot]:
                        self.call_cold(slot, "on_signal", (signal,))
                        told += 1
            return f"strategies told: {told}"

        return self._command("", act)

    # --- the face for Python ---------------------------------------------------------------------

    @property
    def now(self):
        """Engine time in nanoseconds."""
        return self.desk.now

    @property
    def step(self):
        """The driver's step number; outputs carry it."""
        return self.desk.step

    @step.setter
    def step(self, uint64_t step):
        self.desk.step = step

    @property
    def trading_state(self):
        """``TradingState`` of the engine as a whole."""
        return TradingState(self.desk.trading_state)

    @property
    def next_timer(self):
        """When the earliest timer is due, or None."""
        return None if self.desk.next_timer == INT64_MAX else self.desk.next_timer

    @property
    def counters(self):
        """Requests sent, fills, denials, outputs dropped, live orders and outputs waiting, by name."""
        return {
            "requests": self.desk.requests, "fills": self.desk.fills, "denials": self.desk.denials,
            "dropped": self.desk.dropped, "live_orders": self.desk.orders.used,
            "outputs": self.desk.n_outputs,
        }

    @property
    def strategy_names(self):
        """The strategies by slot."""
        return tuple(self.names)

    def slot(self, name):
        """The slot number of a strategy; ConfigError if there is none of that name."""
        return self.slot_of(name)

    def instrument(self, symbol):
        """The number of a symbol; ConfigError if it is unknown."""
        return self.instrument_of(symbol)

    def strategy(self, name):
        """All about a strategy, as ``StrategyInfo``."""
        slot = self.slot_of(name)
        params = self.params(name)
        strategy = self.strategies[slot]
        specs = type(strategy).specs() if strategy is not None else {
            key: ParamSpec(key, type(value).__name__, value) for key, value in params.items()
        }
        return StrategyInfo(
            name, slot, KIND_NAMES[self.desk.slots[<Py_ssize_t>slot].kind],
            STATE_NAMES[self.desk.slots[<Py_ssize_t>slot].state], self.message_of(slot), self.symbols_of[slot],
            params, specs,
            {symbol: self.limits_of(name, symbol) for symbol in self.symbols_of[slot]},
            self.failed[slot][0].traceback if self.failed[slot] else "",
        )

    def failures(self):
        """What strategies raised, as ``StrategyFailure``, earliest first."""
        return sorted((failed[0] for failed in self.failed if failed), key=lambda failure: failure.ts)

    def raise_failures(self):
        """Raises what a strategy has raised, the earliest if there are several.

        Raises:
            StrategyError: The strategy's exception is its cause.
        """
        for failure, cause in sorted(filter(None, self.failed), key=lambda failed: failed[0].ts):
            raise StrategyError(failure.line()) from cause

    def state(self, name, symbol):
        """Position and money of a strategy in an instrument, valued at the mid, as ``StateValues``."""
        cdef uint16_t i = self.instrument_of(symbol)
        return make_state(
            &desk_cell(&self.desk, self.slot_of(name), i).position, &self.desk.instruments[i],
            book_mid(&self.desk.books[i]),
        )

    def book(self, symbol):
        """The live view of a book."""
        return self.views[self.instrument_of(symbol)]

    def orders(self, name):
        """Views of a strategy's live orders."""
        return self.contexts[self.slot_of(name)].orders()

    def take_logs(self):
        """The log lines since the last call, as (ts, step, strategy, level, text); each has its OUTPUT_LOG."""
        lines = list(self.logs)
        self.logs.clear()
        return lines

    def drain(self):
        """Takes the outbox.

        Returns:
            A structured array of ``output_dtype``, one element an output, in order.
        """
        if self.desk.n_outputs == 0:
            return np.empty(0, output_dtype)
        taken = np.asarray(<Output[:self.desk.n_outputs]>self.desk.outbox).copy()
        self.take_outputs()
        return taken

    def market(self, uint16_t instrument, const Event[::1] events, bint last=True):
        """Applies the rows of one feed message; ``on_book`` follows the final one if ``last``.

        Raises:
            RingbookError: The exception of the first row's result code that is not OK.
        """
        cdef Py_ssize_t i, n = events.shape[0]
        cdef int code = OK
        with nogil:
            for i in range(n):
                code = self.apply_market(instrument, &events[i], i + 1 == n and last)
                if code != OK:
                    break
        if code != OK:
            raise_for_code(code, f"row {i}")

    def report(self, const Order[::1] reports, int64_t now):
        """Applies a venue's answers (``order_dtype``), in order; raises as :meth:`market`."""
        cdef Py_ssize_t i
        for i in range(reports.shape[0]):
            raise_for_code(self.apply_report(&reports[i], now), f"report {i}")

    def request(self, const Order[::1] requests, int64_t now):
        """Applies requests of external strategies (``order_dtype``); raises as :meth:`market`."""
        cdef Py_ssize_t i
        for i in range(requests.shape[0]):
            raise_for_code(self.apply_request(&requests[i], now), f"request {i}")

    def timer(self, int64_t now):
        """Fires all timers that are due at ``now``, as often as they are; raises as :meth:`market`."""
        while True:
            raise_for_code(self.apply_timer(now))
            if self.desk.next_timer > now:
                return
