"""Deny codes: the reason of a denial with its category in front, such as ``RISK_MAX_POSITION``.

A reason has one spelling (``max_position``); its code is that spelling in capitals behind the category,
made here and nowhere else, so that the two cannot differ.
"""

from __future__ import annotations

from engine.core.types import Reason

CATEGORIES: dict[str, tuple[Reason, ...]] = {
    "STATE": (
        Reason.STRATEGY_NOT_RUNNING,
        Reason.TRADING_HALTED,
        Reason.REDUCE_ONLY,
        Reason.KILL_SWITCH,
        Reason.SESSION_HOURS,
        Reason.RESTRICTED_INSTRUMENT,
    ),
    "ORDER": (
        Reason.INVALID_PRICE,
        Reason.INVALID_QTY,
        Reason.UNKNOWN_INSTRUMENT,
        Reason.UNKNOWN_ORDER,
        Reason.REQUEST_IN_FLIGHT,
        Reason.DUPLICATE_ORDER_ID,
        Reason.DUPLICATE_CONTENT,
        Reason.SELF_TRADE_PREVENTION,
    ),
    "MARKET": (
        Reason.NO_MARKET,
        Reason.BOOK_UNSYNCED,
        Reason.CROSSED_BOOK,
        Reason.STALE_MARKET_DATA,
        Reason.CLOCK_SANITY,
        Reason.PRICE_COLLAR,
    ),
    "RISK": (
        Reason.MAX_ORDER_QTY,
        Reason.MAX_POSITION,
        Reason.MAX_NOTIONAL,
        Reason.MAX_OPEN_ORDERS,
        Reason.MAX_OPEN_NOTIONAL,
        Reason.MAX_GROSS_NOTIONAL,
        Reason.BUYING_POWER,
        Reason.MAX_DAILY_LOSS,
        Reason.MAX_DRAWDOWN,
    ),
    "RATE": (
        Reason.ORDER_RATE,
        Reason.MESSAGE_RATE,
        Reason.MAX_ORDER_TO_TRADE_RATIO,
        Reason.REPEAT_EXECUTION_THROTTLE,
        Reason.REJECT_RATE_BREAKER,
    ),
    "SYSTEM": (Reason.BUSY,),
}
"""The reasons that deny, by category."""

DENY_CODES: dict[int, str] = {
    int(reason): f"{category}_{reason.name}" for category, reasons in CATEGORIES.items() for reason in reasons
}
"""Deny codes by ``Reason``; reasons that never deny have none."""

SCOPES = ("order", "strategy", "instrument", "global")
"""Whose limit denied an order, by its ``flags``; ``order`` is the strategy's own in that instrument."""
