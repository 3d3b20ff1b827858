"""Key files: what a client needs to reach a bridge that has keys, and how secrets are kept on disk.

A key file belongs to one client. It holds the client's CURVE key pair and the daemon's public key, so that
each end proves who it is to the other. Only its owner may read it, and nobody passes it on a command line.
"""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import zmq

from bridge.errors import BridgeError

KEY_VARIABLE = "RINGBOOK_KEY_FILE"
"""Names the key file of a client that is given none."""
MAX_KEY_FILE = 64 * 1024
_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


@dataclass(frozen=True)
class ClientKey:
    """What a key file holds.

    Attributes:
        name: The key's name.
        role: The role that it was made for; what it may do, the daemon's list says.
        public: Its public key, Z85.
        secret: Its secret key, Z85.
        server: The daemon's public key, Z85.
    """

    name: str
    role: str
    public: str
    secret: str
    server: str

    def __repr__(self) -> str:
        return f"ClientKey({self.name!r})"

    def use(self, socket: zmq.Socket[Any]) -> None:
        """Makes a socket that is not connected yet prove this key, and ask its server for its own."""
        socket.curve_publickey = self.public.encode()
        socket.curve_secretkey = self.secret.encode()
        socket.curve_serverkey = self.server.encode()

    def text(self) -> str:
        """The key file's content."""
        lines = "".join(f'{field.name} = "{getattr(self, field.name)}"\n' for field in fields(self))
        return f"# A key of a Ringbook client. Whoever has it is {self.name!r}: keep it to yourself.\n{lines}"


def is_key(text: Any) -> bool:
    """Whether a text may be a CURVE key: 40 characters of Z85."""
    return isinstance(text, str) and _Z85.fullmatch(text) is not None


def read_key(path: str | Path) -> ClientKey:
    """Reads a key file.

    Args:
        path: The file.

    Raises:
        BridgeError: It is missing, others may read it, or it is no key file.
    """
    path = Path(path).expanduser()
    values = read_secret(path)
    names = [field.name for field in fields(ClientKey)]
    if set(values) != set(names) or not all(is_key(values[name]) for name in names[2:]):
        raise BridgeError(f"{path}: is no key file of a client")
    return ClientKey(**values)


def find_key(key_file: str | Path | None = "", environ: Mapping[str, str] | None = None) -> ClientKey | None:
    """The key that a client uses.

    Args:
        key_file: The file; empty takes the one that ``$RINGBOOK_KEY_FILE`` names, if it names one; None is
            no key.
        environ: The environment; ``os.environ`` by default.

    Returns:
        The key; None where none is named.

    Raises:
        BridgeError: As :func:`read_key`.
    """
    if key_file is None:
        return None
    environ = os.environ if environ is None else environ
    name = key_file or environ.get(KEY_VARIABLE, "")
    return read_key(name) if name else None


def read_secret(path: Path) -> dict[str, Any]:
    """Reads a TOML file of texts that only its owner may read.

    Raises:
        BridgeError: It is missing, too long, another user's, readable by others, or no such file.
    """
    try:
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            if not stat.S_ISREG(info.st_mode) or info.st_uid != os.getuid():
                raise BridgeError(f"{path}: not a file of this user")
            if stat.S_IMODE(info.st_mode) & 0o077:
                mode = stat.S_IMODE(info.st_mode)
                raise BridgeError(f"{path}: others may read it (mode {mode:o}): chmod 600 it")
            data = file.read(MAX_KEY_FILE + 1)
        values = tomllib.loads(data.decode()) if len(data) <= MAX_KEY_FILE else None
    except OSError as error:
        raise BridgeError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        values = None
    if values is None or not all(isinstance(value, str) for value in values.values()):
        raise BridgeError(f"{path}: is no key file")
    return values


def write_secret(path: Path, text: str) -> None:
    """Writes a file that only its owner may read; it must not be there yet.

    Raises:
        BridgeError: It is there, or cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(handle, 0o600)
            file.write(text)
            file.flush()
            os.fsync(handle)
    except OSError as error:
        raise BridgeError(f"{path}: {error.strerror}") from None
