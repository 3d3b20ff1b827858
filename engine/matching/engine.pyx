"""Python's face of the matching engine: commands in as NumPy records, results and events out."""

cimport cython
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from engine.core.codes cimport ERR_BAD_SIZE, OK
from engine.matching.book cimport (
    OUTPUT_ALL,
    OUTPUT_NONE,
    OUTPUT_TRADES,
    MatcherConfig,
    book_open,
    matcher_flush,
    matcher_free,
    matcher_init,
)
from engine.matching.matcher cimport (
    matcher_apply,
    matcher_apply_many,
    matcher_best,
    matcher_depth,
    matcher_find,
    matcher_first,
    matcher_has,
    matcher_level,
    matcher_next,
    matcher_order,
    matcher_position,
    matcher_px,
)
from engine.matching.orders cimport BIT_ASK, BIT_WAITING, SHIFT_LIFE, SHIFT_TYPE, MatchOrder
from engine.matching.records cimport MatchCommand, MatchResult
from engine.matching.state cimport matcher_check, matcher_hash

from operator import index
from types import MappingProxyType

import numpy as np

from engine.core.errors import CapacityError, ConfigError, InvalidOrder, InvariantError, raise_for_code
from engine.matching.records import (
    Kind,
    Life,
    OrderType,
    Phase,
    SelfTradePolicy,
    command_dtype,
    event_dtype,
    result_dtype,
)

depth_dtype = np.dtype([("px", np.int64), ("qty", np.int64), ("orders", np.uint32)])
order_dtype = np.dtype(
    [
        ("order_id", np.uint64),
        ("px", np.int64),
        ("qty", np.int64),
        ("hidden", np.int64),
        ("owner", np.uint32),
        ("side", np.int8),
        ("order_type", np.uint8),
        ("time_in_force", np.uint8),
        ("waiting", np.bool_),
    ]
)


_OUTPUTS = {"none": OUTPUT_NONE, "trades": OUTPUT_TRADES, "all": OUTPUT_ALL}


cdef void log_keep(void* context, const MatchEvent* events, uint32_t n) noexcept nogil:
    cdef EventLog* log = <EventLog*>context
    cdef uint64_t capacity = max(log.capacity, <uint64_t>1024)
    cdef void* grown
    while capacity < log.n + n:
        capacity *= 2
    if capacity != log.capacity:
        grown = realloc(log.events, capacity * sizeof(MatchEvent))
        if grown == NULL:
            log.lost += n
            return
        log.events = <MatchEvent*>grown
        log.capacity = capacity
    memcpy(log.events + log.n, events, n * sizeof(MatchEvent))
    log.n += n


cdef object log_take(EventLog* log):
    cdef MatchEvent[::1] view
    if log.lost:
        raise CapacityError(f"{log.lost} events were lost for want of memory")
    events = np.empty(log.n, event_dtype)
    if log.n:
        view = events
        memcpy(&view[0], log.events, log.n * sizeof(MatchEvent))
        log.n = 0
    return events


cdef int _side(side) except -1:
    if side not in (1, -1):
        raise InvalidOrder(f"a side is 1 (bids) or -1 (asks), not {side!r}")
    return side == -1


def _setting(settings, name, least, most):
    value = settings[name]
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not least <= value <= most:
        raise ConfigError(f"matching: {name} is a whole number from {least} to {most}, not {value!r}")
    return int(value)


@cython.final
cdef class MatchingEngine:
    """One instrument's exchange; ``docs/matching.md`` has its rules.

    Args:
        max_orders: Live orders at a time, waiting stops included.
        max_owners: Owners are 1 to this.
        allocation: Who of a level trades first.
        top_share: Percent that a level's top order takes first, with PRO_RATA.
        min_allocation: Lots under which a share is none, with PRO_RATA.
        protection_ticks: How far from the best a market order trades; 0 is without a limit.
        levels: Whether LEVEL events are put out.
        events: What else is: ``"all"``, ``"trades"`` (no ADDED, CHANGED, REMOVED) or ``"none"``.
        instrument: The number in every event.
        window: Ticks a side keeps dense, a power of two from 1024.

    Raises:
        ConfigError: A setting out of its bounds.
        CapacityError: No memory for so many orders.
    """

    def __cinit__(
        self,
        allocation=0,
        *,
        max_orders=65_536,
        max_owners=1_024,
        top_share=0,
        min_allocation=0,
        protection_ticks=0,
        levels=True,
        events="all",
        instrument=0,
        window=16_384,
    ):
        cdef MatcherConfig config
        given = {
            "max_orders": max_orders,
            "max_owners": max_owners,
            "allocation": allocation,
            "top_share": top_share,
            "min_allocation": min_allocation,
            "protection_ticks": protection_ticks,
            "levels": bool(levels),
            "events": events,
            "instrument": instrument,
            "window": window,
        }
        config.max_orders = _setting(given, "max_orders", 1, 1 << 28)
        config.max_owners = _setting(given, "max_owners", 1, 1 << 24)
        config.allocation = _setting(given, "allocation", 0, 2)
        config.top_share = _setting(given, "top_share", 0, 100)
        config.min_allocation = _setting(given, "min_allocation", 0, (1 << 32) - 1)
        config.protection_ticks = _setting(given, "protection_ticks", 0, (1 << 31) - 1)
        if events not in _OUTPUTS:
            raise ConfigError(f"matching: events are 'all', 'trades' or 'none', not {events!r}")
        config.output = _OUTPUTS[events]
        config.levels = bool(levels)
        config.instrument = _setting(given, "instrument", 0, (1 << 16) - 1)
        config.window = _setting(given, "window", 1024, 1 << 28)
        config.buffer = 0
        config.flush = log_keep
        config.context = &self.log
        code = matcher_init(&self.matcher, &config)
        if code == ERR_BAD_SIZE:
            raise ConfigError(f"matching: window is a power of two, not {window}")
        if code != OK:
            raise CapacityError(f"no memory for a matcher of {max_orders} orders and {max_owners} owners")
        self.settings = MappingProxyType(given)

    def __dealloc__(self):
        matcher_free(&self.matcher)
        free(self.log.events)

    # --- commands ---------------------------------------------------------------------------------

    def apply(self, commands, results=None):
        """Applies commands, one after the other.

        Args:
            commands: Records of ``command_dtype``, one-dimensional and contiguous.
            results: Records of ``result_dtype`` to fill, as many; new ones by default.

        Returns:
            The results, and the events put out by them and by whatever came before and was not taken.

        Raises:
            InvalidOrder: What was given is not commands, or the results do not fit.
        """
        cdef const MatchCommand[::1] view
        cdef MatchResult[::1] answers
        cdef uint64_t n
        if not isinstance(commands, np.ndarray) or commands.dtype != command_dtype or commands.ndim != 1:
            raise InvalidOrder("commands are a one-dimensional array of engine.matching.records.command_dtype")
        if results is None:
            results = np.empty(len(commands), result_dtype)
        elif not isinstance(results, np.ndarray) or results.dtype != result_dtype or len(results) != len(commands):
            raise InvalidOrder(f"results are an array of {len(commands)} of engine.matching.records.result_dtype")
        if not commands.flags.c_contiguous or not results.flags.c_contiguous or not results.flags.writeable:
            raise InvalidOrder("commands and results are contiguous, and results can be written")
        n = len(commands)
        if n:
            view = commands
            answers = results
            with nogil:
                matcher_apply_many(&self.matcher, &view[0], &answers[0], n)
        return results, self.take_events()

    def take_events(self):
        """The events that nobody has taken yet, as an array of ``event_dtype``.

        Raises:
            CapacityError: Some were lost for want of memory.
        """
        matcher_flush(&self.matcher)
        return log_take(&self.log)

    cdef object _one(self, dict fields):
        cdef MatchCommand[::1] view
        cdef MatchResult[::1] answer
        command = np.zeros(1, command_dtype)
        result = np.empty(1, result_dtype)
        fields.setdefault("ts", self.matcher.clock)
        if fields["ts"] is None:
            fields["ts"] = self.matcher.clock
        for name, value in fields.items():
            try:
                command[name] = index(value)
            except (OverflowError, TypeError, ValueError) as error:
                raise InvalidOrder(f"{name} of a command cannot be {value!r}") from error
        view = command
        answer = result
        matcher_apply(&self.matcher, &view[0], &answer[0])
        return result[0]

    def add(
        self,
        owner,
        order_id,
        side,
        px,
        qty,
        *,
        order_type=OrderType.LIMIT,
        life=Life.GTC,
        stop_px=0,
        display_qty=0,
        expire_ts=0,
        self_trade=SelfTradePolicy.NONE,
        flags=0,
        ts=None,
    ):
        """Enters an order; see the rules for each argument. ``ts`` is the clock's by default.

        Returns:
            The result, a record of ``result_dtype``; a refusal is a result too.

        Raises:
            InvalidOrder: An argument that no command can carry.
        """
        return self._one(
            {
                "kind": Kind.ADD,
                "owner": owner,
                "order_id": order_id,
                "side": side,
                "px": px,
                "qty": qty,
                "order_type": order_type,
                "time_in_force": life,
                "stop_px": stop_px,
                "display_qty": display_qty,
                "expire_ts": expire_ts,
                "self_trade": self_trade,
                "flags": flags,
                "ts": ts,
            }
        )

    def cancel(self, owner, order_id, *, ts=None):
        """Takes an order out; owner 0 may take anybody's."""
        return self._one({"kind": Kind.CANCEL, "owner": owner, "order_id": order_id, "ts": ts})

    def modify(self, owner, order_id, px, qty, *, stop_px=0, ts=None):
        """Gives an order a new price and a new open quantity."""
        fields = {"kind": Kind.MODIFY, "owner": owner, "order_id": order_id, "px": px, "qty": qty}
        return self._one(fields | {"stop_px": stop_px, "ts": ts})

    def reduce(self, owner, order_id, qty, *, ts=None):
        """Takes a quantity off an order, which keeps its place; owner 0 may reduce anybody's."""
        return self._one({"kind": Kind.REDUCE, "owner": owner, "order_id": order_id, "qty": qty, "ts": ts})

    def mass_cancel(self, owner=0, side=0, *, ts=None):
        """Cancels all orders of an owner (0: everybody's) and a side (0: both)."""
        return self._one({"kind": Kind.MASS_CANCEL, "owner": owner, "side": side, "ts": ts})

    def set_phase(self, phase, *, ts=None):
        """Goes to another phase; leaving an auction uncrosses it."""
        return self._one({"kind": Kind.PHASE, "qty": phase, "ts": ts})

    def set_bands(self, low, high, *, ts=None):
        """Has orders accepted only from one price to another."""
        return self._one({"kind": Kind.BANDS, "px": low, "stop_px": high, "ts": ts})

    def advance(self, ts):
        """Moves the clock; orders whose time has come end."""
        return self._one({"kind": Kind.TIME, "ts": ts})

    # --- readers ----------------------------------------------------------------------------------

    def best(self, side):
        """The best price of a side, or None."""
        index = _side(side)
        return matcher_best(&self.matcher, index) if matcher_has(&self.matcher, index) else None

    def level(self, side, int64_t px):
        """What a level shows in how many orders: ``(qty, orders)``."""
        cdef uint32_t orders = 0
        cdef int64_t qty = matcher_level(&self.matcher, _side(side), px, &orders)
        return qty, orders

    def depth(self, side, uint32_t n=10):
        """At most ``n`` levels, best first, as an array of ``depth_dtype``."""
        cdef int index = _side(side)
        cdef uint32_t count = min(n, self.matcher.sides[index].n_levels)
        cdef int64_t[::1] px, qty
        cdef uint32_t[::1] orders
        levels = np.empty(count, depth_dtype)
        if count:
            px, qty = np.empty(count, np.int64), np.empty(count, np.int64)
            orders = np.empty(count, np.uint32)
            matcher_depth(&self.matcher, index, count, &px[0], &qty[0], &orders[0])
            levels["px"], levels["qty"], levels["orders"] = px, qty, orders
        return levels

    def order(self, uint64_t order_id):
        """A live order as a record of ``order_dtype``, or None."""
        cdef uint32_t handle = matcher_find(&self.matcher, order_id)
        return np.array([self._row(handle)], order_dtype)[0] if handle else None

    def queue(self, side, int64_t px):
        """A level's orders, first to trade (by time) first, as an array of ``order_dtype``."""
        cdef uint32_t handle = matcher_first(&self.matcher, _side(side), px)
        rows = []
        while handle:
            rows.append(self._row(handle))
            handle = matcher_next(&self.matcher, handle)
        return np.array(rows, order_dtype)

    def _row(self, uint32_t handle):
        cdef const MatchOrder* order = matcher_order(&self.matcher, handle)
        return (
            order.id,
            matcher_px(&self.matcher, handle),
            order.qty,
            book_open(&self.matcher, handle) - order.qty,
            order.owner,
            -1 if order.bits & BIT_ASK else 1,
            (order.bits >> SHIFT_TYPE) & 3,
            (order.bits >> SHIFT_LIFE) & 7,
            order.bits & BIT_WAITING != 0,
        )

    def position(self, uint32_t owner):
        """What an owner bought less what it sold, in lots.

        Raises:
            InvalidOrder: There is no such owner.
        """
        if not 1 <= owner <= self.matcher.config.max_owners:
            raise InvalidOrder(f"owners are 1 to {self.matcher.config.max_owners}, not {owner}")
        return matcher_position(&self.matcher, owner)

    @property
    def clock(self):
        """The time of the last command, in nanoseconds."""
        return self.matcher.clock

    @property
    def phase(self):
        """The phase."""
        return Phase(self.matcher.phase)

    @property
    def last_px(self):
        """The last trade's price, or None."""
        return self.matcher.last_px if self.matcher.has_last else None

    @property
    def last_seq(self):
        """The number of the last event."""
        return self.matcher.seq

    def __len__(self):
        return self.matcher.orders.used

    def state_hash(self):
        """The canonical hash of the state; equal books have equal ones."""
        return matcher_hash(&self.matcher)

    def check_invariants(self):
        """Looks whether the state is sound.

        Raises:
            InvariantError: It is not: a bug in Ringbook.
        """
        if matcher_check(&self.matcher) != OK:
            raise InvariantError("the matcher's state is not sound")
