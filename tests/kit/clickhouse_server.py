"""A real clickhouse-server of a test's own: free ports, its own data directory, killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

START_S = 30.0
_PLACES = ("/usr/sbin", "/usr/bin", "/usr/local/bin", "/opt/clickhouse")

_CONFIG = """<?xml version="1.0"?>
<yandex>
  <logger><level>warning</level><log>{dir}/server.log</log><errorlog>{dir}/server.err.log</errorlog></logger>
  <listen_host>127.0.0.1</listen_host>
  <tcp_port>{port}</tcp_port>
  <http_port>{http}</http_port>
  <path>{dir}/data/</path>
  <tmp_path>{dir}/tmp/</tmp_path>
  <user_files_path>{dir}/files/</user_files_path>
  <users_config>{dir}/users.xml</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <timezone>UTC</timezone>
  <mark_cache_size>67108864</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
</yandex>
"""
_USERS = """<?xml version="1.0"?>
<yandex>
  <profiles><default><max_memory_usage>2000000000</max_memory_usage></default></profiles>
  <users><default>
    <password></password><networks><ip>127.0.0.1</ip></networks>
    <profile>default</profile><quota>default</quota>
  </default></users>
  <quotas><default></default></quotas>
</yandex>
"""


def executable() -> str | None:
    """Where clickhouse-server is, or None."""
    found = shutil.which("clickhouse-server")
    for place in _PLACES:
        path = os.path.join(place, "clickhouse-server")
        found = found or (path if os.access(path, os.X_OK) else None)
    return found


def require() -> str:
    """The server's path; skips the test with a reason where there is none, and fails it where one must be.

    ``RINGBOOK_REQUIRE_CLICKHOUSE=1`` is what CI sets: there these tests may not be skipped.
    """
    path = executable()
    if path is None:
        reason = "no clickhouse-server on this machine (Debian: apt-get install clickhouse-server)"
        if os.environ.get("RINGBOOK_REQUIRE_CLICKHOUSE"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def free_port() -> int:
    """A port of the loopback interface that nobody has now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Server:
    """One server.

    Args:
        directory: Where it keeps everything; made where it is missing.
        program: The executable.

    Attributes:
        port: Of the native protocol.
        url: For :func:`engine.storage.store.open_store`.
    """

    def __init__(self, directory: Path, program: str) -> None:
        self._dir, self._program = directory.absolute(), program
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self._http = free_port(), free_port()
        for part in ("", "data", "tmp", "files"):
            (self._dir / part).mkdir(parents=True, exist_ok=True)
        config = _CONFIG.format(dir=self._dir, port=self.port, http=self._http)
        (self._dir / "config.xml").write_text(config)
        (self._dir / "users.xml").write_text(_USERS)

    @property
    def url(self) -> str:
        """The store on this server, reached directly."""
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """The store on this server, reached by another port.

        Args:
            port: A proxy's.
        """
        return f"clickhouse://127.0.0.1:{port}/ringbook?timeout=5"

    @property
    def pid(self) -> int:
        """Of the running server."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        with open(self._dir / "output.log", "ab") as output:
            self._process = subprocess.Popen(
                [self._program, f"--config-file={self._dir / 'config.xml'}"],
                cwd=self._dir,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                time.sleep(0.05)
        said = (self._dir / "output.log").read_text(errors="replace")[-2000:]
        self.kill()
        raise RuntimeError(f"clickhouse-server did not start: {said}")

    def kill(self) -> None:
        """Ends it as a power cut would, without notice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self, frozen: bool) -> None:
        """Lets it do nothing, or go on.

        Args:
            frozen: Which of the two.
        """
        os.kill(self.pid, signal.SIGSTOP if frozen else signal.SIGCONT)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
