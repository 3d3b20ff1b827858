"""Stamps of commands: each says which session it is of, which number it has there, and until when it holds.

A command that is repeated, overtaken by a later one, of another session or too late is refused: by whatever
way it came, it does not mean what it meant when it was sent.
"""

from __future__ import annotations

import hmac
import time
from typing import Any

import msgspec

from bridge import protocol as p

TTL_NS = 10_000_000_000
"""How long a client's command holds."""
MAX_TTL_NS = 60_000_000_000
"""How far ahead the end of a command may be."""


def server_clock() -> int:
    """The clock that the ends of stamps are in: the server's own, which nobody sets."""
    return time.monotonic_ns()


class Stamper:
    """The client's side of one session."""

    def __init__(self) -> None:
        self._nonce = ""
        self._counter = self._ahead = 0

    def welcome(self, welcome: p.Welcome) -> None:
        """A session begins: its stamps count from 1."""
        self._nonce, self._counter = welcome.nonce, 0
        self._ahead = welcome.clock - time.monotonic_ns()

    def stamp(self, message: Any) -> Any:
        """The message with a stamp, if it is of a kind that has one and the server has told how."""
        if not self._nonce or not hasattr(message, "stamp"):
            return message
        self._counter += 1
        stamp = p.Stamp(self._nonce, self._counter, time.monotonic_ns() + self._ahead + TTL_NS)
        return msgspec.structs.replace(message, stamp=stamp)


class StampCheck:
    """The server's side of one session.

    Args:
        nonce: What its stamps must carry.
    """

    def __init__(self, nonce: str) -> None:
        self.nonce = nonce
        self._last = 0

    def wrong(self, stamp: p.Stamp | None) -> str:
        """Why a command is refused for its stamp; empty if it is not, and then its number is used up."""
        if stamp is None:
            return "a command needs a stamp"
        if not hmac.compare_digest(stamp.nonce, self.nonce):
            return "nonce is not this session's"
        if stamp.counter <= self._last:
            return f"counter {stamp.counter} is not above {self._last}: repeated, or out of order"
        ahead = stamp.expires - server_clock()
        if ahead <= 0:
            return f"expired {-ahead / 1e9:.3f} s ago"
        if ahead > MAX_TTL_NS:
            return f"expires in {ahead / 1e9:.0f} s, more than {MAX_TTL_NS // 10**9}"
        self._last = stamp.counter
        return ""
