"""Every exception that Ringbook raises, and the one function that turns a core's result code into one."""

from __future__ import annotations


class RingbookError(Exception):
    """Base of all. The command line prints it as one line and exits with 2."""


class ConfigError(RingbookError):
    """A configuration is wrong; the message names the file and the path of the key."""


class DataError(RingbookError):
    """A recording or capture is wrong; the message names file, row, line or byte, field and limit."""

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        row: int | None = None,
        line: int | None = None,
        byte: int | None = None,
        field: str | None = None,
    ) -> None:
        self.file, self.row, self.line, self.byte, self.field = file, row, line, byte, field
        where = [str(file)] if file is not None else []
        if row is not None:
            where.append(f"row {row}")
        if line is not None:
            where.append(f"line {line}")
        if byte is not None:
            where.append(f"byte {byte}")
        if field is not None:
            where.append(f"field {field}")
        super().__init__(f"{', '.join(where)}: {message}" if where else message)


class InvalidOrder(RingbookError, ValueError):
    """A strategy asked for an order that cannot exist: NaN price, unknown symbol, quantity not in lots."""


class OrderIdExists(InvalidOrder):
    """An order of that id is live already."""


class OrderNotFound(InvalidOrder):
    """No live order has that id."""


class RequestInProcess(InvalidOrder):
    """The order has a request in flight; wait for its answer."""


class RingFull(RingbookError):
    """A bounded ring has no room; its policy says who waits, conflates or drops."""


class RingCorrupt(RingbookError):
    """A shared-memory ring's header or indices cannot be right."""


class CapacityError(RingbookError):
    """A fixed-capacity structure is full."""


class InvariantError(RingbookError, AssertionError):
    """A structure broke its own invariants: a bug in Ringbook, please report it."""


class StrategyError(RingbookError):
    """A strategy raised; the traceback is in ``__cause__`` and in the log."""


class ModelError(RingbookError):
    """A latency, queue or fee model is none, or returned what cannot be."""


class CheckpointError(RingbookError):
    """A checkpoint cannot be made of a run, or is not of the run that is to go on from it."""


class IllegalTransition(RingbookError):
    """A state does not allow what was asked for; the message says which states do."""


class AlreadyRunning(RingbookError):
    """A daemon already runs in that directory."""


class NotRunning(RingbookError):
    """No daemon runs in that directory."""


class JournalError(RingbookError):
    """The journal cannot be written or gone on with."""


class JournalDamaged(JournalError):
    """The journal holds what cannot be the result of a crash; the message names segment and offset."""

    def __init__(self, message: str, *, segment: str, offset: int) -> None:
        self.segment, self.offset = str(segment), offset
        super().__init__(f"{segment}, offset {offset}: {message}")


class RecordsRemoved(JournalError):
    """The journal does not reach back so far: what was before has been removed."""


class ReplayDiverged(JournalError):
    """A replay came to something else than the run it repeats; the message names the record."""


class CannotResume(JournalError):
    """An unfinished run cannot be gone on with; the message says why, and how to begin another."""


class ImageError(RingbookError):
    """State that was written down cannot be read back: cut, damaged, or of another build or configuration."""


class NotKept(RingbookError):
    """Something of a run's state cannot be written down; the message says what."""


class JournalLocked(JournalError):
    """Another process writes the journal in that directory."""


class StoreError(RingbookError):
    """A store cannot be opened or used, or refuses a statement; the message is the engine's own."""


class StoreUnavailable(StoreError):
    """A store does not answer now, or somebody else has it; the same may succeed later."""


_BY_CODE: dict[int, tuple[type[RingbookError], str]] = {
    10: (OrderIdExists, "an order of that id exists"),
    11: (RequestInProcess, "the order has a request in process"),
    12: (OrderNotFound, "no order of that id"),
    13: (InvalidOrder, "the request is invalid"),
    14: (InvalidOrder, "the order's status does not allow the request"),
    20: (RingFull, "full"),
    21: (RingbookError, "empty"),
    22: (CapacityError, "out of memory"),
    23: (RingCorrupt, "header or indices are corrupt"),
    24: (CapacityError, "bad size"),
    25: (CapacityError, "the temporary directory has no room for the log of a run"),
    26: (JournalError, "the journal's disk has failed: nothing may be taken any more"),
    27: (ImageError, "the image ends too early"),
    28: (ImageError, "the image is of something of another shape"),
    29: (NotKept, "its state cannot be written down"),
    40: (DataError, "price is not a tick of the book"),
    41: (DataError, "quantity is not a number of lots"),
    42: (InvariantError, "invariant broken"),
    60: (DataError, "events are not sorted"),
    61: (DataError, "unknown event"),
    62: (DataError, "unusable row"),
    80: (StrategyError, "a strategy raised"),
    81: (InvalidOrder, "unknown instrument"),
    82: (RingbookError, "unknown strategy"),
    83: (CapacityError, "the outbox is full"),
    84: (RingbookError, "denied by the risk checks"),
    100: (ModelError, "a model of the venue failed"),
    110: (InvalidOrder, "the order is another owner's"),
    111: (InvalidOrder, "the phase does not allow it"),
    112: (InvalidOrder, "the price is outside the bands"),
    113: (InvalidOrder, "the order expires before it begins"),
    114: (InvalidOrder, "the order would not reduce the position"),
    115: (InvalidOrder, "the post-only order would trade"),
    116: (InvalidOrder, "the fill-or-kill order cannot be filled whole"),
    117: (InvalidOrder, "there is nothing to trade with"),
}


def raise_for_code(code: int, detail: str = "") -> None:
    """Raises the exception of a core's result code; 0 and 1 (end of data) raise nothing.

    Args:
        code: A ``ResultCode`` of ``core/codes.pxd``.
        detail: What was asked for, appended to the message.
    """
    if code in (0, 1):
        return
    kind, text = _BY_CODE.get(code, (RingbookError, f"result code {code}"))
    raise kind(f"{text}: {detail}" if detail else text)
