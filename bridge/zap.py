"""Who may connect: answers libzmq's questions about CURVE keys (ZeroMQ RFC 27) from the keyring.

The sockets carry a domain and enforce it, so without an answer from here nobody gets in.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import zmq
from zmq.utils import z85

from bridge.keyring import Keyring

DOMAIN = "ringbook"
ADDRESS = "inproc://zeromq.zap.01"
QUESTIONS_A_TURN = 256
MAX_ADDRESSES = 256
"""Addresses of which refusals are counted apart until they are told."""
HANDSHAKE_MS = 5_000
"""How long a connection may take to prove its key."""


def guard(socket: zmq.Socket[Any], keyring: Keyring) -> None:
    """Makes a socket that is not bound yet ask here who may connect.

    Args:
        socket: The socket.
        keyring: Has the daemon's own key.
    """
    socket.curve_server = True
    socket.curve_secretkey = keyring.secret.encode()
    socket.zap_domain = DOMAIN.encode()
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


class Zap:
    """The handler; it must be there before a guarded socket is bound.

    Args:
        context: The sockets' own.
        keyring: Whom to let in.
    """

    def __init__(self, context: zmq.Context[Any], keyring: Keyring) -> None:
        self._keyring = keyring
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ADDRESS)
        self.refused: Counter[str] = Counter()
        """Connections that were refused, by address, since somebody took the counts."""

    def answer(self) -> bool:
        """Answers what was asked; whether there may be more."""
        for _ in range(QUESTIONS_A_TURN):
            try:
                frames = self.socket.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return False
            if len(frames) >= 4 and frames[1] == b"":
                self.socket.send_multipart([*frames[:2], b"1.0", frames[3], *self._judge(frames)])
        return True

    def _judge(self, frames: list[bytes]) -> list[bytes]:
        if frames[2] != b"1.0" or len(frames) != 9:
            return [b"500", b"not understood", b"", b""]
        domain, address, mechanism, credential = frames[4], frames[5], frames[7], frames[8]
        if domain == DOMAIN.encode() and mechanism == b"CURVE" and len(credential) == 32:
            # The list as it is now: who was revoked a moment ago stays outside.
            self._keyring.refresh()
            public = z85.encode(credential)
            if self._keyring.grant(public.decode()) is not None:
                return [b"200", b"OK", public, b""]
        # Over ipc it names user, group and process as well.
        place = address.decode("ascii", "replace")
        place = "localhost" if place.startswith("localhost:") else place
        self.refused[
            place if place in self.refused or len(self.refused) < MAX_ADDRESSES else "elsewhere"
        ] += 1
        return [b"400", b"no access", b"", b""]
