"""Where the daemon serves its metrics: an address, read and checked."""

from __future__ import annotations

from engine.core.errors import ConfigError


def split(listen: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``[HOST]:PORT`` in two.

    Raises:
        ConfigError: It is something else.
    """
    host, colon, port = listen.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"metrics.listen: {listen!r} is not HOST:PORT")
    return host, int(port)


def check_listen(listen: str, allow_remote: bool, source: str) -> None:
    """Refuses an address that is none, or that others reach without anybody having said so.

    Raises:
        ConfigError: As said.
    """
    if not listen:
        return
    try:
        host, _ = split(listen)
    except ConfigError as error:
        raise ConfigError(f"{source}: $.{error}") from None
    if not allow_remote and host not in ("127.0.0.1", "::1", "localhost"):
        raise ConfigError(
            f"{source}: $.metrics.listen: {host} is not this machine: anybody who reaches it can read; "
            "metrics.allow_remote = true says that this is meant"
        )
