"""A TCP proxy that breaks connections as a test says: at any byte, in either direction, or by silence."""

from __future__ import annotations

import contextlib
import random
import selectors
import socket
import threading
from collections import deque

BLOCK = 1 << 16


class Proxy:
    """Passes bytes on to a port of this machine.

    Args:
        target: The port.
        seed: Of the draws.

    Attributes:
        port: Where clients connect.
        cut: Part of the connections that are cut after some bytes.
        swallow: Part of them whose answers get lost from some byte on, while everything sent arrives.
        most: Bytes after which that happens, at most.
        next: What happens to the next connections instead: ``cut`` or ``answer lost``, after how many bytes,
            and whether of what the client sends.
        broken: How many there were of each.
    """

    def __init__(self, target: int, seed: int) -> None:
        self._target, self._rng = target, random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut = self.swallow = 0.0
        self.most = 100_000
        self.next: deque[tuple[str, int, bool]] = deque()
        self.broken = {"cut": 0, "answer lost": 0, "refused": 0}
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Takes no more connections."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            draw, limit = self._rng.random(), self._rng.randrange(1, self._rng.randrange(2, self.most))
            to_server = self._rng.random() < 0.7
            how = "cut" if draw < self.cut else "answer lost" if draw < self.cut + self.swallow else ""
            if self.next:
                how, limit, to_server = self.next.popleft()
            work = threading.Thread(target=self._pass, args=(client, how, limit, to_server), daemon=True)
            work.start()

    def _pass(self, client: socket.socket, how: str, limit: int, to_server: bool) -> None:
        with client, contextlib.ExitStack() as stack:
            try:
                server = stack.enter_context(socket.create_connection(("127.0.0.1", self._target), 2.0))
                server.settimeout(None)
                with selectors.DefaultSelector() as waiting:
                    waiting.register(client, selectors.EVENT_READ, server)
                    waiting.register(server, selectors.EVENT_READ, client)
                    self._shovel(waiting, client, how, limit, to_server)
            except OSError:
                self.broken["refused"] += 1

    def _shovel(
        self, waiting: selectors.BaseSelector, client: socket.socket, how: str, limit: int, to_server: bool
    ) -> None:
        left, lost = limit, False
        while True:
            for key, _ in waiting.select():
                source, sink = key.fileobj, key.data
                data = source.recv(BLOCK)
                if not data:
                    return
                if how == "cut" and (source is client) == to_server:
                    if len(data) >= left:
                        sink.sendall(data[:left])
                        self.broken["cut"] += 1
                        return
                    left -= len(data)
                if how == "answer lost" and source is client:
                    left -= len(data)
                    if left <= 0 and not lost:
                        lost = True
                        self.broken["answer lost"] += 1
                if lost and source is not client:
                    continue
                sink.sendall(data)
