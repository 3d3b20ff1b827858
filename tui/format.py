"""How numbers, times, prices and sides read on the screen, and how typed values are read back.

Plain functions of plain values: no Textual, nothing of a terminal.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any

from bridge.protocol import ParamInfo

NOTHING = "–"  # noqa: RUF001
"""What stands where there is no value."""

SECOND = 1_000_000_000
_TRUE = frozenset(("true", "on", "yes", "1"))
_FALSE = frozenset(("false", "off", "no", "0"))
_SHORT_REASONS = {
    "queue_front": "queue front",
    "trade_through": "trade-through",
    "best_crossed": "best crossed",
    "none": "",
}


@lru_cache(maxsize=256)
def decimals(step: float) -> int:
    """How many decimals a tick or lot size needs; 2 for a size that is no size.

    Args:
        step: The tick or lot size in price or quantity units.
    """
    if not (math.isfinite(step) and step > 0):
        return 2
    exponent = Decimal(repr(step)).normalize().as_tuple().exponent
    return min(12, max(0, -int(exponent)))


def price(px: float, tick_size: float) -> str:
    """A price with exactly the decimals of its tick size and thousands separated."""
    return f"{px:,.{decimals(tick_size)}f}" if math.isfinite(px) else NOTHING


def quantity(qty: float, lot_size: float) -> str:
    """A quantity with exactly the decimals of its lot size."""
    return f"{qty:,.{decimals(lot_size)}f}" if math.isfinite(qty) else NOTHING


def signed_quantity(qty: float, lot_size: float) -> str:
    """A position: as :func:`quantity`, with its sign, and plain 0 when flat."""
    if not math.isfinite(qty):
        return NOTHING
    digits = decimals(lot_size)
    return "0" if round(qty, digits) == 0 else f"{qty:+,.{digits}f}"


def money_digits(values: Iterable[float]) -> int:
    """How many decimals a column of money needs so that its largest value still says something.

    Args:
        values: The column; values that are not finite do not count.

    Returns:
        2 from 1 up, 4 from 0.01 up, 6 from 0.0001 up, else 8; 2 for a column of zeros.
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    for limit, digits in ((1.0, 2), (0.01, 4), (0.0001, 6)):
        if largest >= limit:
            return digits
    return 8 if largest >= 1e-8 else 2


def money(value: float, digits: int = 2) -> str:
    """An amount with its sign; what rounds to nothing has none."""
    if not math.isfinite(value):
        return NOTHING
    rounded = round(value, digits)
    return f"{rounded:+,.{digits}f}" if rounded else f"{0:.{digits}f}"


def compact(value: float) -> str:
    """A count or rate in at most five characters: ``999``, ``1.23k``, ``45.6M``."""
    if not math.isfinite(value):
        return NOTHING
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit * 0.9995:
            scaled = value / limit
            digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
            return f"{scaled:.{digits}f}{unit}"
    return f"{value:.0f}"


def duration(ns: float) -> str:
    """A short time in the unit that suits it: ``850ns``, ``1.8µs``, ``2.3ms``, ``1.2s``."""
    if not math.isfinite(ns):
        return NOTHING
    for limit, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
        if abs(ns) >= limit:
            return f"{ns / limit:.1f}{unit}"
    return f"{ns:.0f}ns"


def age(ns: int) -> str:
    """How long ago: ``0.4s``, ``12.3s``, ``3m12s``, ``2h05m``, ``4d03h``."""
    seconds = max(0, ns) / SECOND
    if seconds < 60:
        return f"{math.floor(seconds * 10) / 10:.1f}s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def time_of_day(ts: int, *, millis: bool = True) -> str:
    """A nanosecond timestamp as UTC time of day; nothing for 0."""
    if ts <= 0:
        return NOTHING
    seconds, rest = divmod(ts, SECOND)
    seconds %= 86400
    text = f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"
    return f"{text}.{rest // 1_000_000:03d}" if millis else text


def date(ts: int) -> str:
    """A nanosecond timestamp as a UTC date; nothing for 0."""
    return time.strftime("%Y-%m-%d", time.gmtime(ts // SECOND)) if ts > 0 else NOTHING


def side(name: str) -> str:
    """A side as it stands in tables."""
    return name.upper()


def reason(name: str) -> str:
    """A reason code as words: ``TRADE_THROUGH`` and ``trade-through`` both read ``trade-through``."""
    key = name.lower().replace("-", "_")
    return _SHORT_REASONS.get(key, key.replace("_", " "))


def status(name: str) -> str:
    """An order's status, short enough for a column."""
    return {"PARTIALLY_FILLED": "PARTIAL", "NONE": "SENDING"}.get(name.upper(), name.upper())


def value(item: Any) -> str:
    """A parameter's value as one types it."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, float):
        return f"{item:.12g}"
    return str(item)


def limits(param: ParamInfo) -> str:
    """A parameter's type and range in words: ``float, 0 to 10``."""
    if param.ge is not None and param.le is not None:
        return f"{param.kind}, {value(param.ge)} to {value(param.le)}"
    if param.ge is not None:
        return f"{param.kind}, at least {value(param.ge)}"
    if param.le is not None:
        return f"{param.kind}, at most {value(param.le)}"
    return f"{param.kind}, any" if param.kind in ("int", "float") else param.kind


def parse_value(param: ParamInfo, text: str) -> Any:
    """Reads what the user typed as a parameter's new value.

    Args:
        param: The parameter, with its type and limits.
        text: What was typed.

    Raises:
        ValueError: The text is not of the type or outside the limits; the message says which.
    """
    text = text.strip()
    if param.kind == "str":
        return text
    if param.kind == "bool":
        lowered = text.lower()
        if lowered not in _TRUE | _FALSE:
            raise ValueError(f"{text or 'nothing'} is not true or false")
        return lowered in _TRUE
    number: int | float
    try:
        number = int(text.replace("_", "")) if param.kind == "int" else float(text.replace("_", ""))
    except ValueError:
        wanted = "a whole number" if param.kind == "int" else "a number"
        raise ValueError(f"{text or 'nothing'} is not {wanted}") from None
    if not math.isfinite(number):
        raise ValueError(f"{text} is not a finite number")
    if param.kind == "int" and not -(2**63) <= number < 2**63:
        raise ValueError(f"{text} does not fit 64 bits")
    if param.ge is not None and number < param.ge:
        raise ValueError(f"{value(number)} is below the least allowed, {value(param.ge)}")
    if param.le is not None and number > param.le:
        raise ValueError(f"{value(number)} is above the most allowed, {value(param.le)}")
    return number
