"""Kill switch, latches and live limits; see warden.pxd."""

from libc.stdint cimport uint16_t

from engine.core.types cimport *
from engine.risk.latch cimport (
    LATCH_DAILY_LOSS,
    LATCH_DRAWDOWN,
    LATCH_KILL,
    LATCH_REJECTS,
    LATCH_REPEATS,
    Latch,
    latch_clear,
)
from engine.risk.pretrade cimport ScopeState
from engine.risk.scope cimport SCOPE_GLOBAL, SCOPE_STRATEGIES
from engine.strategy.admission cimport admission_equity, admission_recount
from engine.strategy.desk cimport (
    ANY_INSTRUMENT,
    ANY_STRATEGY,
    MAX_STRATEGIES,
    OUTPUT_STRATEGY,
    desk_cancel_all,
    desk_emit,
)

import msgspec

from engine.core.errors import ConfigError, RingbookError
from engine.core.types import TradingState
from engine.risk.limits import UNLIMITED, RiskLimits, check_limits, check_scope
from engine.strategy.base import Strategy
from engine.strategy.roster import CAUSES
from engine.strategy.status import STATE_NAMES, ControlResult, LatchInfo


cdef class Warden(Roster):
    """What stands between strategies and the market besides the checks themselves."""

    # --- answers ---------------------------------------------------------------------------------

    cdef object _answer(self, bint success, str message, int slot):
        return ControlResult(
            success,
            message,
            STATE_NAMES[self.desk.slots[slot].state] if slot >= 0 else "",
            TradingState(self.desk.trading_state).name,
            self.params(self.names[slot]) if slot >= 0 else {},
        )

    def _command(self, name, act):
        """Runs a command on a strategy (or none) and turns a refusal into an answer."""
        success = False
        if self.desk.n_outputs > self.desk.outbox_soft:
            message = "busy: outputs wait to be taken"
        else:
            try:
                message = act()
                success = True
            except RingbookError as error:
                message = str(error)
        return self._answer(success, message, self.names.index(name) if name in self.names else -1)

    def params(self, name):
        """A strategy's present parameters."""
        slot = self.slot_of(name)
        strategy = self.strategies[slot]
        if isinstance(strategy, Strategy):
            # Not through the instance: a strategy may well keep something of its own in self.params.
            return Strategy.params(strategy)
        return dict(self.params_of[slot]) if strategy is None else strategy.params()

    # --- the kill switch and latches -------------------------------------------------------------

    def _scope_of(self, strategy, symbol):
        """The number of the scope that a command names: a strategy, an instrument, or neither for all."""
        if strategy and symbol:
            raise ConfigError("name a strategy or a symbol, not both")
        if strategy:
            return SCOPE_STRATEGIES + self.slot_of(strategy)
        if symbol:
            return SCOPE_STRATEGIES + MAX_STRATEGIES + self.instrument_of(symbol)
        return SCOPE_GLOBAL

    cdef object place_of(self, size_t scope):
        """What a scope is called: its kind and its name."""
        if scope == SCOPE_GLOBAL:
            return "global", ""
        if scope < SCOPE_STRATEGIES + MAX_STRATEGIES:
            return "strategy", self.names[scope - SCOPE_STRATEGIES]
        return "instrument", self.symbols[scope - SCOPE_STRATEGIES - MAX_STRATEGIES]

    cdef uint16_t strategy_at(self, size_t scope):
        """The slot that a scope is, for outputs; ANY_STRATEGY for the others."""
        if SCOPE_STRATEGIES <= scope < SCOPE_STRATEGIES + MAX_STRATEGIES:
            return <uint16_t>(scope - SCOPE_STRATEGIES)
        return ANY_STRATEGY

    def kill(self, strategy="", symbol="", *, reason="", who="", cancel_orders=True):
        """Throws the kill switch of a strategy, of an instrument, or of everything: only cancels pass.

        It latches: neither ``resume`` nor the strategy's return ends it, only :meth:`rearm` does. It
        works even while outputs wait to be taken; only the cancels have to be asked for again then.

        Args:
            strategy: The strategy, or empty.
            symbol: The instrument, or empty; with neither, everything.
            reason: Why, for whoever re-arms it.
            who: Who did it.
            cancel_orders: Whether live orders of the scope are cancelled too.
        """
        try:
            scope = self._scope_of(strategy, symbol)
        except RingbookError as error:
            return self._answer(False, str(error), -1)
        kind, name = self.place_of(scope)
        slot = self.slot_of(strategy) if strategy else -1
        before = (kind, name, CAUSES[LATCH_KILL]) in self.latched
        if not before:
            self.latched[kind, name, CAUSES[LATCH_KILL]] = LatchInfo(
                kind, name, CAUSES[LATCH_KILL], "HALTED", self.desk.now, 0.0, 0.0, reason, who
            )
            self._latch(scope)
        done = f"{kind} {name} ".replace("  ", " ") + ("killed already" if before else "killed")
        if self.desk.n_outputs > self.desk.outbox_soft:
            return self._answer(False, f"{done}, but busy: live orders were not cancelled, ask again", slot)
        if not before:
            desk_emit(&self.desk, OUTPUT_STRATEGY, self.strategy_at(scope), NULL, 0, NULL, True)
        count = 0
        if cancel_orders:
            count = desk_cancel_all(
                &self.desk, slot if strategy else ANY_STRATEGY,
                self.instrument_of(symbol) if symbol else ANY_INSTRUMENT, REASON_KILL_SWITCH,
            )
        return self._answer(True, f"{done}; orders being cancelled: {count}", slot)

    def _latch(self, scope):
        """Makes a scope's latches those that are kept under its name; the engine's latch is its trading state."""
        kind, name = self.place_of(scope)
        self.keep_latches(scope, kind, name)
        self.apply_latches(scope, kind, name)
        if scope == SCOPE_GLOBAL and self.desk.scopes[SCOPE_GLOBAL].latch.state > self.desk.trading_state:
            self.desk.trading_state = self.desk.scopes[SCOPE_GLOBAL].latch.state

    def rearm(self, strategy="", symbol="", *, cause="", who=""):
        """Takes latches away: of a strategy, of an instrument, or the engine's own, and no others.

        After the engine's own, trading stays as it is until ``resume``.

        Args:
            strategy: The strategy, or empty; one that has left and is latched may be named.
            symbol: The instrument, or empty.
            cause: A cause such as ``kill_switch``, or empty for all that are set there.
            who: Who does it.
        """

        def act():
            kind, name = ("strategy", strategy) if strategy else ("instrument", symbol) if symbol else ("global", "")
            if strategy and symbol:
                raise ConfigError("name a strategy or a symbol, not both")
            if cause and cause not in CAUSES:
                raise ConfigError(f"unknown cause {cause!r}; known are {', '.join(CAUSES)}")
            known = name in (self.names if strategy else self.symbols) or not name
            if known:
                self.keep_latches(self._scope_of(strategy, symbol), kind, name)
            chosen = [c for c in CAUSES if (kind, name, c) in self.latched and (not cause or c == cause)]
            if not known and not chosen:
                self._scope_of(strategy, symbol)
            if not chosen:
                return "nothing to do: not latched"
            for c in chosen:
                del self.latched[kind, name, c]
            if known:
                scope = self._scope_of(strategy, symbol)
                for c in chosen:
                    self.unlatch(scope, CAUSES.index(c))
                desk_emit(&self.desk, OUTPUT_STRATEGY, self.strategy_at(scope), NULL, 0, NULL, True)
            by = f" by {who}" if who else ""
            done = f"{kind} {name} ".replace("  ", " ") + f"re-armed{by}: {', '.join(chosen)}"
            if kind == "global" and self.desk.trading_state != TRADING_ACTIVE:
                return f"{done}; trading is {TradingState(self.desk.trading_state).name} until it is resumed"
            return done

        return self._command(strategy if strategy in self.names else "", act)

    cdef int unlatch(self, size_t scope, int cause) except -1:
        """Takes one cause away from a scope."""
        cdef Latch* latch = &self.desk.scopes[scope].latch
        cdef ScopeState* state = &self.desk.scopes[scope].state
        if latch_clear(latch, cause) and latch.state == TRADING_ACTIVE:
            self.desk.n_latched -= 1
        # What tripped a breaker must not trip it again at once: losses and buckets count from now.
        state.last_equity = admission_equity(&self.desk, scope)
        if cause == LATCH_DAILY_LOSS:
            state.day_equity = state.last_equity
        elif cause == LATCH_DRAWDOWN:
            state.peak_equity = state.last_equity
        elif cause == LATCH_REJECTS:
            state.reject_due = 0
        elif cause == LATCH_REPEATS:
            state.repeat_due = 0
        return 0

    cdef object message_of(self, uint16_t slot):
        """What a strategy's last change of state said, and what it is latched by."""
        cdef size_t scope = <size_t>SCOPE_STRATEGIES + slot
        said = [self.messages[slot]] if self.messages[slot] else []
        if self.desk.scopes[scope].latch.state != TRADING_ACTIVE:
            self.keep_latches(scope, "strategy", self.names[slot])
            said += [
                self.latched["strategy", self.names[slot], cause].line()
                for cause in CAUSES if ("strategy", self.names[slot], cause) in self.latched
            ]
        return "; ".join(said)

    def latches(self):
        """All that is latched, as ``LatchInfo``; what is kept so can be given to :meth:`restore_latches`."""
        cdef size_t scope
        for scope in range(SCOPE_STRATEGIES + MAX_STRATEGIES + self.desk.n_instruments):
            if self.desk.scopes[scope].latch.state != TRADING_ACTIVE:
                kind, name = self.place_of(scope)
                self.keep_latches(scope, kind, name)
        return tuple(self.latched[key] for key in sorted(self.latched))

    def restore_latches(self, latches):
        """Sets the latches of an earlier run, for use before the start; those that are set stay.

        A latch of a strategy or symbol that is not there is kept, and holds as soon as it is.

        Args:
            latches: ``LatchInfo`` of each.

        Raises:
            ConfigError: A cause is unknown. Nothing has changed then.
        """
        latches = list(latches)
        for info in latches:
            if info.cause not in CAUSES:
                raise ConfigError(f"latch of {info.scope} {info.name}: unknown cause {info.cause!r}")
        for info in latches:
            self.latched.setdefault((info.scope, info.name, info.cause), info)
        for kind, name in {(info.scope, info.name) for info in latches}:
            if kind == "global":
                self._latch(SCOPE_GLOBAL)
            elif kind == "strategy" and name in self.names:
                self._latch(SCOPE_STRATEGIES + self.slot_of(name))
            elif kind == "instrument" and name in self.symbols:
                self._latch(SCOPE_STRATEGIES + MAX_STRATEGIES + self.instrument_of(name))

    # --- limits ----------------------------------------------------------------------------------

    def limits_of(self, strategy="", symbol=""):
        """The present ``RiskLimits``: of a strategy in a symbol, of a strategy, of an instrument, or of everything."""
        if strategy and symbol:
            slot, i = self.slot_of(strategy), self.instrument_of(symbol)
            return self.limits[slot, i].merged(self.scope_limits[SCOPE_STRATEGIES + slot])
        return self.scope_limits.get(self._scope_of(strategy, symbol), UNLIMITED)

    def set_risk(self, config):
        """Sets the limits of a ``RiskConfig``: of everything, and of instruments; for use before the start.

        Raises:
            ConfigError: A limit is wrong or a symbol unknown; nothing has changed then.
        """
        self._set_scopes({("", ""): config.limits} | {("", symbol): it for symbol, it in config.instruments.items()})

    def _set_scopes(self, limits):
        everywhere = list(range(self.desk.n_instruments))
        for (_, symbol), those in limits.items():
            check_scope(those, everything=not symbol)
            self.must_add_up(those, [self.instrument_of(symbol)] if symbol else everywhere)
        for (_, symbol), those in limits.items():
            over = [self.instrument_of(symbol)] if symbol else everywhere
            self.set_scope_limits(self._scope_of("", symbol), those, over)
        admission_recount(&self.desk)

    def update_limits(self, name="", symbol="", **limits):
        """Changes risk limits, all or none of them; those not given stay.

        Args:
            name: A strategy, in one symbol or in all it trades. Without it, the limits over all strategies
                are meant: of the symbol, or of everything if that is empty too.
            symbol: A symbol, or empty.
            **limits: Fields of ``RiskLimits``; ``math.inf`` lifts a number, false a condition, 0 a
                duplicate window, an empty list the sessions; None leaves a limit as it is.
        """

        def act():
            try:
                change = msgspec.convert(limits, RiskLimits)
            except msgspec.ValidationError as error:
                raise ConfigError(str(error)) from None
            if name:
                where = self._update_strategy(self.slot_of(name), symbol, change)
                desk_emit(&self.desk, OUTPUT_STRATEGY, self.slot_of(name), NULL, 0, NULL, True)
            else:
                where = symbol or "everything"
                self._set_scopes({("", symbol): self.limits_of("", symbol).merged(change)})
            return f"limits changed in {where}"

        return self._command(name, act)

    def _update_strategy(self, slot, symbol, change):
        orders, sums = change.of_orders(), change.of_sums()
        scope = SCOPE_STRATEGIES + slot
        chosen = (symbol,) if symbol else self.symbols_of[slot]
        cells = {i: self.limits[slot, i].merged(orders) for i in [self.instrument_of(s) for s in chosen]}
        if symbol and sums.given():
            names = ", ".join(sums.given())
            raise ConfigError(f"{names}: of the strategy as a whole, in all its symbols; name none")
        sums = self.scope_limits[scope].merged(sums)
        for limits in (sums, *cells.values()):
            check_limits(limits)
        self.must_add_up(sums, [self.instrument_of(s) for s in self.symbols_of[slot]])
        self.set_scope_limits(scope, sums, [self.instrument_of(s) for s in self.symbols_of[slot]])
        for i, limits in cells.items():
            self.set_limits(slot, i, limits)
        admission_recount(&self.desk)
        return ", ".join(chosen)
