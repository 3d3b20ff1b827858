"""Risk limits as a configuration names them: of a strategy, of an instrument, of everything."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

import msgspec

from engine.core.errors import ConfigError

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Rate = Annotated[float, msgspec.Meta(ge=0.001, le=1e9)]
Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=86_400_000_000_000)]
Window = Annotated[int, msgspec.Meta(ge=1, le=86_400_000_000_000)]

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_SESSIONS = 8
_SESSION = re.compile(r"(?:(\w{3})(?:-(\w{3}))? )?(\d\d):(\d\d)-(\d\d):(\d\d)")


class RiskLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What an order must not exceed; ``None`` sets no limit. docs/risk.md has each check's formula and code.

    Those up to ``self_trade_prevention`` are about one order and one instrument: a strategy's hold in each
    of its symbols. The others count over all that the section they stand in names.

    Attributes:
        max_position: The position, on either side, that could result with every open order of that
            side filled; quantity units. 0 allows only orders that reduce.
        max_order_qty: The quantity of one order; quantity units.
        max_notional: The value of one order, in the settlement currency.
        max_open_orders: Live orders at a time, those with a request in flight included.
        price_collar_bps: How far from the mid price an order may be; without a mid price none passes.
        max_data_age_ns: How old the book's last change may be, by the venue's time.
        max_clock_skew_ns: How far the venue's time may be ahead of ours.
        require_book: Whether both sides of the book must have a price.
        refuse_crossed_book: Whether the book must not have been crossed by its last quotes.
        reduce_only: Whether only orders pass that reduce a position.
        restricted: Whether no orders pass at all.
        session_hours: When orders pass, in UTC: ``"08:00-16:30"`` or ``"mon-fri 08:00-16:30"``, at most 8.
        self_trade_prevention: Whether an order must not be able to trade with one of our own.
        max_open_notional: The value of all live orders.
        max_gross_notional: The value of all positions and live orders, the worse side of each.
        capital: What is there to trade with; with profit and loss and ``leverage`` it is the buying power.
        leverage: How many times the capital may be used.
        max_order_to_trade_ratio: Messages to the venue for each execution of the day.
        order_to_trade_grace: Messages of a day before that ratio counts.
        duplicate_window_ns: How long an order must not be repeated with the same content; 0 is no limit.
        order_rate: New orders a second, on average.
        order_burst: How many may go at once; by default a second's.
        message_rate: Messages a second, on average: new orders, changes and cancels.
        message_burst: How many may go at once; by default a second's.
        cancel_reserve: How many of the burst are kept for cancels, which always pass.
        max_repeat_executions: Executions within ``repeat_window_ns`` after which trading stops.
        repeat_window_ns: In which time that number is filled up again.
        max_rejects: Requests refused by the venue within ``reject_window_ns`` after which trading stops.
        reject_window_ns: In which time that number is filled up again.
        max_daily_loss: The loss since the UTC day began after which trading stops, until re-armed.
        max_drawdown: The same from the highest equity.
        loss_action: What a loss puts the scope into: ``halt``, or ``reduce`` to let only reductions pass.
    """

    max_position: NotNegative | None = None
    max_order_qty: Positive | None = None
    max_notional: Positive | None = None
    max_open_orders: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 2)] | None = None
    price_collar_bps: Positive | None = None
    max_data_age_ns: Nanoseconds | None = None
    max_clock_skew_ns: Nanoseconds | None = None
    require_book: bool | None = None
    refuse_crossed_book: bool | None = None
    reduce_only: bool | None = None
    restricted: bool | None = None
    session_hours: tuple[str, ...] | None = None
    self_trade_prevention: bool | None = None
    max_open_notional: Positive | None = None
    max_gross_notional: Positive | None = None
    capital: Positive | None = None
    leverage: Annotated[float, msgspec.Meta(gt=0, le=1000)] | None = None
    max_order_to_trade_ratio: Positive | None = None
    order_to_trade_grace: Annotated[int, msgspec.Meta(ge=0, le=2**53)] | None = None
    duplicate_window_ns: Nanoseconds | None = None
    order_rate: Rate | None = None
    order_burst: Count | None = None
    message_rate: Rate | None = None
    message_burst: Count | None = None
    cancel_reserve: Annotated[int, msgspec.Meta(ge=0, lt=1_000_000)] | None = None
    max_repeat_executions: Count | None = None
    repeat_window_ns: Window | None = None
    max_rejects: Count | None = None
    reject_window_ns: Window | None = None
    max_daily_loss: Positive | None = None
    max_drawdown: Positive | None = None
    loss_action: Literal["halt", "reduce"] | None = None

    def merged(self, change: RiskLimits) -> RiskLimits:
        """These limits with every limit that ``change`` sets in place of the present one."""
        return msgspec.structs.replace(self, **change.given())

    def given(self) -> dict[str, object]:
        """The limits that are set, by name."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) is not None}

    def of_orders(self) -> RiskLimits:
        """Only those that are about one order and one instrument."""
        return RiskLimits(**{name: value for name, value in self.given().items() if name in OF_ORDERS})

    def of_sums(self) -> RiskLimits:
        """Only those that are counted over a scope."""
        return RiskLimits(**{name: value for name, value in self.given().items() if name not in OF_ORDERS})


OF_ORDERS = frozenset(
    RiskLimits.__struct_fields__[: RiskLimits.__struct_fields__.index("self_trade_prevention") + 1]
)
"""Limits that are about one order and one instrument."""
MONEY = (
    "max_notional",
    "max_open_notional",
    "max_gross_notional",
    "capital",
    "max_daily_loss",
    "max_drawdown",
)
"""Limits in the settlement currency."""
NEEDS = {
    "leverage": "capital",
    "order_to_trade_grace": "max_order_to_trade_ratio",
    "order_burst": "order_rate",
    "message_burst": "message_rate",
    "cancel_reserve": "message_rate",
    "max_repeat_executions": "repeat_window_ns",
    "repeat_window_ns": "max_repeat_executions",
    "max_rejects": "reject_window_ns",
    "reject_window_ns": "max_rejects",
}
"""Keys that say nothing without another."""
UNLIMITED = RiskLimits()
"""No limits, which is the default."""


class RiskConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The section ``[risk]``: limits over all strategies.

    Attributes:
        limits: Of everything together.
        instruments: By symbol, of all strategies together in that instrument.
    """

    limits: RiskLimits = UNLIMITED
    instruments: dict[str, RiskLimits] = {}


def check_limits(limits: RiskLimits) -> None:
    """Checks what single fields cannot say.

    Raises:
        ConfigError: A limit is NaN, lacks the one that it goes with, or a session is none.
    """
    given = limits.given()
    for name, value in given.items():
        if isinstance(value, float) and math.isnan(value):
            raise ConfigError(f"{name}: a limit of {value} is no limit")
        if name in NEEDS and NEEDS[name] not in given:
            raise ConfigError(f"{name}: says nothing without {NEEDS[name]}")
    if limits.loss_action is not None and limits.max_daily_loss is None and limits.max_drawdown is None:
        raise ConfigError("loss_action: says nothing without max_daily_loss or max_drawdown")
    burst = message_burst(limits)
    if limits.cancel_reserve is not None and limits.cancel_reserve >= burst:
        raise ConfigError(f"cancel_reserve: {limits.cancel_reserve} leaves nothing of a burst of {burst}")
    if limits.session_hours is not None:
        sessions(limits.session_hours)


def check_scope(limits: RiskLimits, *, everything: bool) -> None:
    """Refuses limits that mean nothing over all instruments together: quantities, and restricting all.

    Raises:
        ConfigError: As :func:`check_limits`, or a limit is not for this scope.
    """
    check_limits(limits)
    for name in ("max_position", "max_order_qty") if everything else ():
        if getattr(limits, name) is not None:
            raise ConfigError(f"{name}: quantities of different instruments do not add up; limit each")


def message_burst(limits: RiskLimits) -> int:
    """How many messages may go at once."""
    return limits.message_burst or max(1, math.floor(limits.message_rate or 1))


def sessions(texts: tuple[str, ...]) -> list[tuple[int, int, int]]:
    """Sessions as (days, first second, end second), days a bit each from Monday; over midnight they are two.

    Raises:
        ConfigError: A text is no session, or there are too many.
    """
    found = []
    for text in texts:
        match = _SESSION.fullmatch(text.lower())
        first, last, *clock = match.groups() if match else (None, None)
        hours = [int(part) for part in clock]
        if not clock or {first, last} - {None, *DAYS}:
            raise ConfigError(f"session_hours: {text!r} is no 'mon-fri 08:00-16:30'")
        start, end = hours[0] * 3600 + hours[1] * 60, hours[2] * 3600 + hours[3] * 60
        if max(start, end) > 86_400 or max(hours[1], hours[3]) > 59 or start == end:
            raise ConfigError(f"session_hours: {text!r} has no such times")
        days = _days(first, last)
        if start < end:
            found.append((days, start, end))
        else:
            found.append((days, start, 86_400))
            found.append(((days << 1 | days >> 6) & 0x7F, 0, end))
    found = [session for session in found if session[1] < session[2]]
    if len(found) > MAX_SESSIONS:
        raise ConfigError(
            f"session_hours: {len(found)} sessions, one over midnight counted twice; at most {MAX_SESSIONS}"
        )
    return found


def _days(first: str | None, last: str | None) -> int:
    if first is None:
        return 0x7F
    day, end = DAYS.index(first), DAYS.index(last or first)
    days = 1 << day
    while day != end:
        day = (day + 1) % 7
        days |= 1 << day
    return days
