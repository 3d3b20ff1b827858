"""Those who have no business at a bridge that has keys, each with one socket and one try."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import zmq
from zmq.utils import z85

from bridge import protocol as p
from bridge.auth import ClientKey
from bridge.trial import Stranger

KINDS = ("unknown", "revoked", "wrong secret", "wrong server", "no key", "password")


def pair(rng: random.Random) -> tuple[str, str]:
    """A key pair that the generator decides."""
    secret = z85.encode(rng.randbytes(32))
    return zmq.curve_public(secret).decode(), secret.decode()


class Knock(Stranger):
    """One try: what it shows is of one of :data:`KINDS`."""

    def __init__(
        self, context: zmq.Context[Any], base: str, name: str, kind: str, key: ClientKey | None
    ) -> None:
        self.kind, self.name = kind, name
        self.password = kind == "password"
        sort = zmq.DEALER if name in ("orders", "control") else zmq.SUB
        super().__init__(context, p.socket_endpoint(base, name), sort, key)

    def prepare(self) -> None:
        """Before it connects."""
        if self.password:
            self.socket.plain_username, self.socket.plain_password = b"admin", b"admin"


def key_of(kind: str, rng: random.Random, known: ClientKey, revoked: Sequence[ClientKey]) -> ClientKey | None:
    """What a stranger of a kind shows.

    Args:
        kind: One of :data:`KINDS`.
        rng: Decides.
        known: A key that is good; the wrong ones are made of it.
        revoked: Keys that are good no more.
    """
    public, secret = pair(rng)
    if kind == "unknown":
        return ClientKey("x", "admin", public, secret, known.server)
    if kind == "revoked":
        return rng.choice(revoked)
    if kind == "wrong secret":
        return ClientKey("x", "admin", known.public, secret, known.server)
    if kind == "wrong server":
        return ClientKey("x", "admin", known.public, known.secret, public)
    return None


@dataclass
class Tries:
    """What became of tries.

    Attributes:
        refused: Those that were shut out, by kind and socket.
        unanswered: Those that heard nothing at all in time.
    """

    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    unanswered: Counter[tuple[str, str]] = field(default_factory=Counter)


def knock(
    base: str,
    rng: random.Random,
    tries: int,
    known: ClientKey,
    revoked: Sequence[ClientKey],
    *,
    at_once: int = 40,
    patience_s: float = 30.0,
    between: Callable[[], Any] = lambda: None,
) -> Tries:
    """Has strangers of all kinds try all sockets.

    Args:
        base: The bridge's endpoint.
        rng: Decides who tries where.
        tries: How many.
        known: A good key.
        revoked: Keys that are good no more.
        at_once: How many try together.
        patience_s: How long one batch may take.
        between: Called now and then, so that there is something to be overheard.

    Raises:
        BridgeError: One of them got in, or got something.
    """
    done = Tries()
    while (left := tries - done.refused.total() - done.unanswered.total()) > 0:
        context: zmq.Context[Any] = zmq.Context()
        try:
            strangers = []
            for _ in range(min(at_once, left)):
                kind, name = rng.choice(KINDS), rng.choice(p.SOCKETS)
                strangers.append(Knock(context, base, name, kind, key_of(kind, rng, known, revoked)))
            deadline = time.monotonic() + patience_s
            while not all(one.refused for one in strangers) and time.monotonic() < deadline:
                between()
                for one in strangers:
                    one.look()
                time.sleep(0.001)
            for one in strangers:
                one.look()
                (done.refused if one.refused else done.unanswered)[one.kind, one.name] += 1
                one.socket.disable_monitor()
                one.monitor.close(0)
        finally:
            context.destroy(0)
    return done
