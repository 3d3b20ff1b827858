"""``/metrics`` and ``/health`` over HTTP: a thread of the supervisor that reads what the engine wrote anyway.

Nobody is asked for anything, so a scrape costs the engine nothing, and answers come while the bridge is down.
Requests are answered by a few threads; more at a time are refused, so that nobody can pile them up.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from engine.core.errors import ConfigError, RingbookError
from engine.runtime import exposition, metrics
from engine.runtime.listen import split
from engine.runtime.rundir import RunDir

TIMEOUT_S = 5.0
"""How long a client may take to say what it wants, and to read the answer."""
MOST = 16
"""Requests that are answered at a time."""


class Beat:
    """How long ago the engine last wrote its page, by our own clock: what is in the page may be wrong."""

    def __init__(self, run: RunDir) -> None:
        self._run, self._lock = run, threading.Lock()
        self._beat, self._seen = 0, 0.0

    def age(self) -> float | None:
        """Seconds since it changed, as far as we have looked; None before the first time."""
        beat, now = self._run.page_beat(), time.monotonic()
        with self._lock:
            if beat != self._beat:
                self._beat, self._seen = beat, now
            return now - self._seen if self._beat else None


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = TIMEOUT_S
    protocol_version = "HTTP/1.1"
    server_version = "ringbook"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        try:
            report, age = metrics.read(self.server.run_dir), self.server.beat.age()
        except (RingbookError, OSError) as error:
            self._answer(503, "application/json", json.dumps({"status": "unwell", "reasons": [str(error)]}))
            return
        if path == "/metrics":
            self._answer(200, exposition.CONTENT_TYPE, exposition.metrics(report, age))
        elif path == "/health":
            reasons = exposition.trouble(report, age)
            said = {"status": "unwell" if reasons else "ok", "reasons": reasons, "state": report["state"]}
            said |= {"name": report.get("name"), "uptime_s": report.get("uptime_s")}
            self._answer(503 if reasons else 200, "application/json", json.dumps(said))
        else:
            self._answer(404, "text/plain", "there are /metrics and /health\n")

    do_HEAD = do_GET

    def _answer(self, code: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        # One answer a connection: idle ones would keep threads.
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing: scrapes are no events."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], run: RunDir) -> None:
        self.run_dir, self.beat = run, Beat(run)
        self._room = threading.BoundedSemaphore(MOST)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing: a client that went away, or was too slow, is its own trouble."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class Monitor:
    """Serves a daemon's metrics for as long as the block lasts.

    Args:
        listen: ``HOST:PORT``; port 0 takes a free one. Empty serves nothing.
        run: The daemon's directory.

    Raises:
        ConfigError: The address is none, or is taken.
    """

    def __init__(self, listen: str, run: RunDir) -> None:
        self._server: _Server | None = None
        if not listen:
            return
        host, port = split(listen)
        try:
            self._server = (_Server6 if ":" in host else _Server)((host, port), run)
        except OSError as error:
            raise ConfigError(f"metrics.listen {listen}: {error.strerror or error}") from None

    @property
    def port(self) -> int | None:
        """Where it listens."""
        return None if self._server is None else self._server.server_address[1]

    def __enter__(self) -> Monitor:
        if self._server is not None:
            threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
