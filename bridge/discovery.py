"""Where a daemon on this machine is found when nobody names its endpoint; client and daemon both ask here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

DEFAULT_NAME = "main"
"""What a daemon is called whose configuration names none."""


def default_base(environ: Mapping[str, str] | None = None) -> Path:
    """The directory of all runs: one folder a daemon.

    Args:
        environ: The environment; ``os.environ`` by default.

    Returns:
        ``$RINGBOOK_RUN_DIR``, else ``$XDG_RUNTIME_DIR/ringbook``, else ``/tmp/ringbook-<uid>``.
    """
    environ = os.environ if environ is None else environ
    if base := environ.get("RINGBOOK_RUN_DIR"):
        return Path(base)
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        return Path(runtime) / "ringbook"
    return Path(f"/tmp/ringbook-{os.getuid()}")


def default_endpoint(name: str = DEFAULT_NAME, environ: Mapping[str, str] | None = None) -> str:
    """The endpoint that a client takes when it is given none.

    Args:
        name: The daemon's name.
        environ: The environment; ``os.environ`` by default.

    Returns:
        ``$RINGBOOK_ENDPOINT``, else ipc in the run directory of the daemon of that name. A daemon that
        listens on tcp must be named: ``ringbook status`` shows its endpoint.
    """
    environ = os.environ if environ is None else environ
    return environ.get("RINGBOOK_ENDPOINT") or f"ipc://{(default_base(environ) / name).absolute()}"
