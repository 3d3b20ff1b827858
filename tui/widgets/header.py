"""The two lines on top: what this engine is, whether money is at stake, and how far it can be believed."""

from __future__ import annotations

from typing import Any

from textual.content import Content
from textual.widgets import Static

from tui.format import age, compact, date, duration, time_of_day
from tui.model import Connection, Staleness
from tui.store import Store
from tui.widgets.strategies import hold

_CONNECTION = {
    Connection.CONNECTING: ("◌", "warn"),
    Connection.CONNECTED: ("●", "good"),
    Connection.RECONNECTING: ("◌", "warn"),
    Connection.LOST: ("✖", "bad"),
}
_TRADING = {"ACTIVE": "good", "REDUCING": "warn", "HALTED": "bad"}
_FEED = {"running": "good", "ended": "plain", "waiting": "warn", "lost": "bad"}
_JOURNAL = {"full": "DISK FULL: NO NEW ORDERS", "halted": "JOURNAL HALTED"}
_STYLES = {
    "good": "$text-success",
    "warn": "bold $text-warning",
    "bad": "bold $text-error",
    "quiet": "$quiet",
    "plain": "",
}
_LIVE_STYLES = {"good": "bold", "warn": "bold reverse", "bad": "bold reverse", "quiet": "", "plain": ""}
"""On the solid bar of a live session colours would drown: weight and reverse say it instead."""

NAME = 16
"""Of a strategy that a switch holds, what fits beside all else."""
Part = tuple[str, str]


class Header(Static):
    """Connection, engine, mode, trading state; feed, rates, drops; and what is stale."""

    DEFAULT_CLASSES = "-unknown"
    can_focus = False
    _seen: Any = None

    def show(self, store: Store, staleness: Staleness) -> None:
        """Brings the header up to date; costs nothing where no character changes."""
        mode = store.mode
        width = max(20, self.size.width)
        parts = (
            mode,
            width,
            self._first(store, staleness, mode, width),
            self._second(store, staleness, width),
        )
        if parts == self._seen:
            return
        self._seen = parts
        for name in ("PAPER", "LIVE", "REPLAY", "unknown"):
            self.set_class(name == mode, f"-{name.lower()}")
        self.update(
            Content("\n").join([self._paint(parts[2], mode), self._paint(parts[3], mode)]), layout=False
        )

    def _first(self, store: Store, staleness: Staleness, mode: str, width: int) -> tuple[Part, ...]:
        status, now = store.status, store.clock()
        live = "  LIVE: REAL MONEY  " if width >= 100 else "  LIVE  "
        replay = "  REPLAY: NOTHING IS TRADED  " if width >= 100 else "  REPLAY  "
        badge = {"LIVE": live, "REPLAY": replay, "unknown": " ... "}.get(mode, f" {mode} ")
        mark, tone = _CONNECTION[store.connection]
        text = f"{mark} {store.connection}"
        if store.disconnected_at is not None:
            text += f" {age(now - store.disconnected_at)}"
        engine = (status.engine if status else store.welcome.engine if store.welcome else "") or "no engine"
        state = status.trading_state.upper() if status else "UNKNOWN"
        # A state that nobody confirms any more is a question.
        known = status is not None and staleness.everything is None
        left: list[Part] = [
            (badge, "badge"),
            (f" {state} ", _TRADING.get(state, "warn")) if known else (f" {state}? ", "warn"),
        ]
        held = sorted(name for name, one in store.strategies.items() if one.switches)
        if held:
            more = f" +{len(held) - 1}" if len(held) > 1 else ""
            left.append((f" {hold(store.strategies[held[0]])} {held[0][:NAME]}{more} ", "bad"))
        left += [(f" {text} ", tone), (f" {engine} ", "strong")]
        clock = time_of_day(status.market_ts, millis=False) if status else ""
        if status and mode == "REPLAY":
            clock = f"{date(status.market_ts)} {clock}"
        right: list[Part] = [(f"{clock} UTC ", "quiet")] if status and status.market_ts > 0 else []
        if mode == "LIVE":
            right.append(("  LIVE  ", "badge"))
        return _justify(left, right, width)

    def _second(self, store: Store, staleness: Staleness, width: int) -> tuple[Part, ...]:
        status, now = store.status, store.clock()
        if status is None:
            left: list[Part] = [(f" {store.connection_detail or 'waiting for the engine'}", "quiet")]
        else:
            feed = status.feed_state.lower()
            # Nobody waits for the next event of a replay, and none of its steps is measured.
            replay = store.mode == "REPLAY"
            feed_age = None if replay else store.feed_age(now)
            left = [(" replay " if replay else " feed ", "quiet"), (feed, _FEED.get(feed, "warn"))]
            if feed_age is not None:
                left.append((f" {age(feed_age)}", "plain"))
            drops = status.dropped + store.missed
            for name, value, tone in (
                ("", f"{compact(status.events_per_second)} ev/s", "plain"),
                ("step", duration(status.loop_ns), "plain"),
                ("drops", compact(drops), "bad" if drops else "plain"),
                ("conflated", compact(status.conflated), "plain"),
                ("denied", compact(status.denied), "warn" if status.denied else "plain"),
                ("orders", compact(status.orders), "plain"),
                ("fills", compact(status.fills), "plain"),
                ("sessions", str(status.sessions), "plain"),
            ):
                if replay and name == "step":
                    continue
                left.append((f"  {name} " if name else "  ", "quiet"))
                left.append((value, tone))
        right: list[Part] = []
        if staleness.everything is not None:
            right = [(f" ALL STALE {age(staleness.everything)}: {staleness.source} silent ", "alarm")]
        elif staleness.feed is not None:
            right = [(f" FEED STALE {age(staleness.feed)} ", "alarm")]
        if status is not None and (trouble := _JOURNAL.get(status.journal)):
            right = [(f" {trouble} ", "trouble"), *right]
        return _justify(left, right, width)

    @staticmethod
    def _paint(parts: tuple[Part, ...], mode: str) -> Content:
        styles = _LIVE_STYLES if mode == "LIVE" else _STYLES
        special = {
            "badge": {
                "LIVE": "bold reverse",
                "PAPER": "bold $background on $primary",
                "REPLAY": "bold $background on $secondary",
            }.get(mode, "bold reverse"),
            "strong": "bold",
            "alarm": "bold $background on $warning",
            "trouble": "bold $background on $error",
        }
        return Content.assemble(*((text, special.get(tone, styles.get(tone, ""))) for text, tone in parts))


def _justify(left: list[Part], right: list[Part], width: int) -> tuple[Part, ...]:
    """Left parts as far as whole ones fit, then space, then the right parts, which always fit."""
    room = width - sum(len(text) for text, _ in right)
    kept: list[Part] = []
    used = 0
    for text, tone in left:
        if used + len(text) > room:
            break
        kept.append((text, tone))
        used += len(text)
    return (*kept, (" " * max(0, room - used), "plain"), *right)
