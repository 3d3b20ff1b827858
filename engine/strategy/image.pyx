"""Writing a kernel down and reading it back; image.pxd says what is in it."""

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from engine.book.l2 cimport l2_image
from engine.core.codes cimport ERR_NO_IMAGE, ERR_OUTBOX_FULL
from engine.core.idmap cimport idmap_image
from engine.core.image cimport (
    Image,
    ImageBuffer,
    image_count,
    image_fault,
    image_match,
    image_move,
    image_same,
    image_sparse,
)
from engine.core.pool cimport pool_image
from engine.core.types cimport Instrument
from engine.risk.scope cimport SCOPE_STRATEGIES, Scope
from engine.strategy.audit cimport desk_audit
from engine.strategy.desk cimport (
    KIND_EXTERNAL,
    KIND_NATIVE,
    MAX_STRATEGIES,
    ActiveCell,
    Cell,
    Desk,
    StrategySlot,
)
from engine.strategy.native cimport NativeStrategy
from engine.strategy.roster cimport Roster

from typing import Any

import msgspec

from engine.core.errors import ImageError, NotKept, RingbookError
from engine.risk.limits import RiskLimits
from engine.strategy.holdings import dump, load, restore
from engine.strategy.status import LatchInfo, StrategyFailure


class SeatState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Python holds of one slot.

    Attributes:
        name: The strategy's.
        kind: A ``StrategyKind``.
        message: Of its last change of state.
        symbols: What it trades.
        params: Of a compiled or an external one.
        failure: What it raised.
        own: What a compiled one has in fields of its own.
    """

    name: str
    kind: int
    message: str
    symbols: tuple[str, ...]
    params: dict[str, Any]
    failure: list | None
    own: bytes


class KernelState(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A kernel, written down.

    Attributes:
        desk: What C holds.
        started: Whether the strategies have been started.
        seats: The strategies by slot.
        limits: Of orders, by slot and instrument.
        scope_limits: By number of the scope.
        latched: What is latched, as far as it has a text.
        held: What Python strategies hold, pickled.
    """

    desk: bytes
    started: bool
    seats: list[SeatState]
    limits: list[tuple[int, int, RiskLimits]]
    scope_limits: list[tuple[int, RiskLimits]]
    latched: list[LatchInfo]
    held: bytes


cdef void desk_image(Desk* desk, Image* image) noexcept nogil:
    cdef uint64_t cells = <uint64_t>MAX_STRATEGIES * desk.n_instruments
    cdef uint16_t i
    # Between inputs nothing waits to be put out or delivered.
    if desk.n_outputs or desk.n_denied:
        image_fault(image, ERR_OUTBOX_FULL)
    image_same(image, desk.instruments, desk.n_instruments * sizeof(Instrument))
    image_match(image, desk.max_orders)
    image_match(image, desk.n_strategies)
    image_move(image, &desk.now, sizeof(desk.now))
    image_move(image, &desk.step, sizeof(desk.step))
    image_move(image, &desk.next_timer, sizeof(desk.next_timer))
    image_move(image, &desk.next_order_id, sizeof(desk.next_order_id))
    image_move(image, &desk.n_latched, sizeof(desk.n_latched))
    image_move(image, &desk.n_tripped, sizeof(desk.n_tripped))
    image_move(image, desk.tripped, sizeof(desk.tripped))
    image_move(image, &desk.limits_mask, sizeof(desk.limits_mask))
    image_move(image, &desk.counting, sizeof(desk.counting))
    image_move(image, &desk.requests, sizeof(desk.requests))
    image_move(image, &desk.fills, sizeof(desk.fills))
    image_move(image, &desk.denials, sizeof(desk.denials))
    image_move(image, &desk.dropped, sizeof(desk.dropped))
    image_move(image, &desk.trading_state, sizeof(desk.trading_state))
    image_move(image, &desk.silence, sizeof(desk.silence))
    image_move(image, &desk.busy, sizeof(desk.busy))
    image_sparse(image, desk.slots, MAX_STRATEGIES, sizeof(StrategySlot))
    image_sparse(image, desk.cells, cells, sizeof(Cell))
    image_sparse(
        image, desk.scopes, <uint64_t>SCOPE_STRATEGIES + MAX_STRATEGIES + desk.n_instruments, sizeof(Scope)
    )
    desk.n_active = <uint32_t>image_count(image, desk.n_active, cells)
    image_move(image, desk.active, desk.n_active * sizeof(ActiveCell))
    for i in range(desk.n_instruments):
        l2_image(&desk.books[i], image)
    pool_image(&desk.orders, image)
    idmap_image(&desk.ids, image)
    for i in range(desk.n_strategies):
        if desk.slots[i].kind == KIND_EXTERNAL:
            idmap_image(&desk.client_ids[i], image)


def save_kernel(Roster kernel not None) -> KernelState:
    """Writes a kernel down, between two inputs.

    Args:
        kernel: The kernel.

    Raises:
        NotKept: A strategy holds what cannot be written down; the message names it.
    """
    cdef ImageBuffer buffer = ImageBuffer()
    cdef uint16_t i
    desk_image(&kernel.desk, &buffer.image)
    for i in range(kernel.desk.n_instruments):
        image_move(&buffer.image, &kernel.book_calls[i], sizeof(uint64_t))
        image_move(&buffer.image, &kernel.trade_calls[i], sizeof(uint64_t))
    return KernelState(
        buffer.finish("the kernel"),
        kernel.started,
        [_seat(kernel, slot) for slot in range(kernel.desk.n_strategies)],
        [(slot, number, limits) for (slot, number), limits in sorted(kernel.limits.items())],
        sorted(kernel.scope_limits.items()),
        [kernel.latched[key] for key in sorted(kernel.latched)],
        dump(kernel.parts()),
    )


def load_kernel(Roster kernel not None, state) -> None:
    """Brings a kernel of the same configuration, that has not begun, to where another was.

    Args:
        kernel: The kernel; of no use any more where this raises.
        state: As :func:`save_kernel` gave it.

    Raises:
        ImageError: It is of another configuration or damaged, or a strategy does not take its state back.
    """
    cdef ImageBuffer buffer = ImageBuffer(state.desk)
    cdef uint16_t i
    _take_seats(kernel, state.seats)
    parts = kernel.parts()
    held = load(state.held, parts)
    if {name for kind, name in parts if kind == "strategy"} != set(held):
        raise ImageError("the state is of a kernel with other strategies")
    desk_image(&kernel.desk, &buffer.image)
    for i in range(kernel.desk.n_instruments):
        image_move(&buffer.image, &kernel.book_calls[i], sizeof(uint64_t))
        image_move(&buffer.image, &kernel.trade_calls[i], sizeof(uint64_t))
    buffer.finish("the kernel")
    kernel.started = state.started
    kernel.limits = {(slot, number): limits for slot, number, limits in state.limits}
    kernel.scope_limits = dict(state.scope_limits)
    kernel.latched = {(info.scope, info.name, info.cause): info for info in state.latched}
    for name, holding in held.items():
        try:
            restore(parts["strategy", name], holding)
        except Exception as error:
            raise ImageError(f"strategy {name} does not take its state back: {type(error).__name__}: {error}") from error
    desk_audit(&kernel.desk)


cdef object _seat(Roster kernel, uint16_t slot):
    """What Python holds of a slot."""
    kind = kernel.desk.slots[slot].kind
    strategy = kernel.strategies[slot]
    params = kernel.params_of[slot]
    own = b""
    if kind == KIND_NATIVE:
        params, own = strategy.params(), _native(strategy, kernel.names[slot], None)
    failed = kernel.failed[slot]
    return SeatState(
        kernel.names[slot], kind, kernel.messages[slot], kernel.symbols_of[slot], params,
        None if failed is None else list(failed[0]), own,
    )


cdef bytes _native(NativeStrategy strategy, str name, bytes own):
    """The fields of a compiled strategy, written or, where they are given, read back."""
    cdef ImageBuffer buffer = ImageBuffer(own)
    strategy.image(&buffer.image)
    if buffer.image.code == ERR_NO_IMAGE:
        raise NotKept(f"strategy {name}: {type(strategy).__name__} does not say how it is written down (image)")
    return buffer.finish(f"strategy {name}")


cdef int _take_seats(Roster kernel, list seats) except -1:
    """Seats the external strategies, and gives every slot what Python holds of it."""
    cdef uint16_t slot
    if kernel.started or len(seats) < kernel.desk.n_strategies:
        raise ImageError("the state is of a kernel with other strategies")
    for number, seat in enumerate(seats):
        slot = number
        if slot >= kernel.desk.n_strategies:
            if seat.kind != KIND_EXTERNAL:
                raise ImageError(f"the state has a strategy {seat.name} that the configuration has not")
            try:
                kernel.seat(seat.name, KIND_EXTERNAL, None, seat.symbols, None)
            except RingbookError as error:
                raise ImageError(f"external strategy {seat.name}: {error}") from error
        if kernel.names[slot] != seat.name or kernel.desk.slots[slot].kind != seat.kind:
            raise ImageError(f"slot {slot} has {kernel.names[slot]}, the state has {seat.name}")
        if seat.kind == KIND_NATIVE:
            kernel.strategies[slot].update(seat.params)
            _native(kernel.strategies[slot], seat.name, seat.own)
        elif seat.kind == KIND_EXTERNAL:
            kernel.params_of[slot] = dict(seat.params)
        kernel.symbols_of[slot] = seat.symbols
        kernel.messages[slot] = seat.message
        kernel.failed[slot] = None if seat.failure is None else (StrategyFailure(*seat.failure), None)
    return 0
