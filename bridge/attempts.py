"""What was refused at the bridge, told to the engine, which records it as it records what was done.

A record takes room on disk, and who is refused decides how often he tries: so equal attempts are counted
together, and after a first few only one record goes out every some seconds.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from typing import Any, Protocol

from bridge import protocol as p

BURST = 20
"""Records that may go out at once."""
REFILL_TICKS = 50
"""Ticks until one more may."""
MAX_KINDS = 64
"""Different attempts that are counted apart."""
REST = ("others", "attempts", "more than are counted apart")

Attempt = tuple[str, str, str]
"""Who, what, and why not."""


class Ask(Protocol):
    """How the engine is told: as ``Control.ask``."""

    def __call__(self, command: str, fields: dict[str, Any], answer: Any, who: str) -> bool:
        """Sends a command; false when there is no room for it."""


class Attempts:
    """Counts what was refused until the engine has been told.

    Args:
        ask: Tells the engine.
        log: Where to say it too.
    """

    def __init__(self, ask: Ask, log: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> None:
        self._ask, self._log = ask, log
        self._waiting: Counter[Attempt] = Counter()
        self._room, self._ticks = BURST, 0

    def refused(self, who: str, what: str, why: str, times: int = 1) -> None:
        """Somebody was refused something.

        Args:
            who: His key and name, or his address.
            what: What he wanted.
            why: Why not.
            times: How often.
        """
        attempt = (who, what, why)
        known = attempt in self._waiting or len(self._waiting) < MAX_KINDS
        self._waiting[attempt if known else REST] += times

    def tick(self, strangers: Mapping[str, int]) -> None:
        """One heartbeat interval.

        Args:
            strangers: Connections that were refused since the last one, by address.
        """
        for address, times in strangers.items():
            self.refused(f"address:{address}", "connect", "no key that is known", times)
        self._ticks += 1
        if self._ticks % REFILL_TICKS == 0:
            self._room = min(BURST, self._room + 1)
        while self._waiting and self._room:
            (who, what, why), times = next(iter(self._waiting.items()))
            text = f"{what} refused: {why}" + (f" ({times} times)" if times > 1 else "")
            if not self._ask("attempt", {"what": text}, lambda reply, step: None, who):
                return
            self._log.warning("%s: %s", who, text)
            self._room -= 1
            del self._waiting[who, what, why]


class Ration:
    """So many of something at once, and one more every some ticks, for each of those who want it.

    Args:
        burst: How many at once.
        ticks: How many ticks until one more.
    """

    def __init__(self, burst: int, ticks: int) -> None:
        self._burst, self._every = burst, ticks
        self._ticks = 0
        self._used: Counter[str] = Counter()

    def spent(self, key: str = "") -> bool:
        """Whether somebody has had all that he may."""
        return self._used[key] >= self._burst

    def use(self, key: str = "") -> None:
        """Somebody had one."""
        self._used[key] += 1

    def tick(self) -> None:
        """One heartbeat interval."""
        self._ticks += 1
        if self._ticks % self._every == 0:
            self._used = Counter({key: used - 1 for key, used in self._used.items() if used > 1})


def who(key: str, hello: p.Hello) -> str:
    """Who somebody is in records: his key's name, his strategy, and what he calls himself."""
    return "/".join(filter(None, (f"key:{key}" if key else "", hello.strategy_id, hello.client)))
