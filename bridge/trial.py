"""Strangers at the bridge's own door: tried at each start, so that a mistake in the set-up shuts it.

Two strangers knock on each of the four sockets: one with a key made up for it, one without any. The bridge
publishes while they wait. Should one of them get in or get a byte, or not be refused in time, it does not
run.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import zmq

from bridge import codec
from bridge import protocol as p
from bridge.auth import ClientKey
from bridge.errors import BridgeError

PATIENCE_S = 15.0
PROBE = b"md.trial"
_REFUSED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)
_OVER = _REFUSED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED


class Stranger:
    """One who has no business here, on one socket.

    Args:
        context: The strangers' own.
        endpoint: The socket's address.
        kind: The type of socket that belongs to it.
        key: What it shows; None for nothing.
    """

    def __init__(self, context: zmq.Context[Any], endpoint: str, kind: int, key: ClientKey | None) -> None:
        self.endpoint = endpoint
        self.refused = False
        self.socket = context.socket(kind)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.RECONNECT_IVL, -1)
        if key is not None:
            key.use(self.socket)
        self.prepare()
        if kind == zmq.SUB:
            self.socket.setsockopt(zmq.SUBSCRIBE, b"")
        self.monitor = self.socket.get_monitor_socket(_OVER | zmq.EVENT_HANDSHAKE_SUCCEEDED)
        self.socket.connect(endpoint)
        if kind == zmq.DEALER:
            # There is nobody left to send to, if it was refused already.
            with contextlib.suppress(zmq.Again):
                self.socket.send(codec.encode(p.Hello(p.VERSION, "trial", "admin")), zmq.DONTWAIT)

    def prepare(self) -> None:
        """Before it connects: shows nothing else."""

    def look(self) -> None:
        """Looks at what has come of it.

        Raises:
            BridgeError: It got in, or got something.
        """
        while self.monitor.poll(0):
            event = int.from_bytes(self.monitor.recv_multipart()[0][:2], "little")
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                raise BridgeError(f"{self.endpoint}: let somebody in without a key that it knows")
            self.refused = True
        if self.socket.poll(0):
            raise BridgeError(f"{self.endpoint}: sent something to somebody without a key that it knows")


def try_doors(
    base: str,
    server: str,
    answer: Callable[[], Any],
    publish: Callable[[bytes, bytes], Any],
    patience_s: float = PATIENCE_S,
) -> None:
    """Has strangers try all sockets.

    Args:
        base: The base endpoint.
        server: The daemon's public key.
        answer: Lets the bridge answer who asks to come in.
        publish: Publishes a topic and a frame.
        patience_s: How long the sockets have to refuse them.

    Raises:
        BridgeError: A stranger got in, got something, or was not refused.
    """
    context: zmq.Context[Any] = zmq.Context()
    try:
        public, secret = (key.decode() for key in zmq.curve_keypair())
        strangers = [
            Stranger(context, p.socket_endpoint(base, name), kind, key)
            for name in p.SOCKETS
            for kind in (zmq.DEALER if name in ("orders", "control") else zmq.SUB,)
            for key in (ClientKey("stranger", "admin", public, secret, server), None)
        ]
        deadline = time.monotonic() + patience_s
        while not all(stranger.refused for stranger in strangers):
            answer()
            for topic in (PROBE, p.LOG_TOPIC.encode()):
                publish(topic, b"\xc0")
            for stranger in strangers:
                stranger.look()
            if time.monotonic() > deadline:
                waiting = next(stranger for stranger in strangers if not stranger.refused)
                raise BridgeError(f"{waiting.endpoint}: did not refuse a stranger in {patience_s:g} s")
            time.sleep(0.001)
        for stranger in strangers:
            stranger.look()
            stranger.socket.disable_monitor()
            stranger.monitor.close(0)
    finally:
        context.destroy(0)
