"""The daemon's keys: its own, and the public keys of those who may come in, each with a role.

They lie in a directory that only its user may enter: ``server.key``, ``authorized.json`` with one entry a
key, and the key files of clients that were made here. The bridge reads the list again whenever it has
changed; a list that cannot be read gives nobody anything.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import zmq

from bridge import protocol as p
from bridge.auth import ClientKey, is_key, read_secret, write_secret
from bridge.endpoints import private_directory
from bridge.errors import BridgeError
from bridge.roles import Grant

LOCAL = "local"
"""The admin's key that a daemon makes for its own user's command line and terminal UI."""
BARRED_S = 60.0
"""How long a key is good for nothing after it was used to flood the bridge."""
MAX_KEYS = 10_000
MAX_LIST = 16 * 1024 * 1024

KeyName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]


class Entry(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, frozen=True):
    """One key of the list.

    Attributes:
        name: Unique among the keys that are not revoked.
        public: The public key, Z85.
        role: What its sessions may be.
        strategies: Strategies that it may trade as; empty for any.
        made: When, nanoseconds since the epoch.
        revoked: When, or 0.
    """

    name: KeyName
    public: str
    role: p.Role
    strategies: tuple[p.Name, ...] = ()
    made: int = 0
    revoked: int = 0


_decoder = msgspec.json.Decoder(list[Entry])


class KeyDir:
    """The directory as the command line edits it.

    Args:
        path: The directory.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser().absolute()
        self.list_file = self.path / "authorized.json"
        self.server_file = self.path / "server.key"

    def key_file(self, name: str) -> Path:
        """Where the key file of a client that was made here lies, unless it was put elsewhere."""
        return self.path / f"{name}.key"

    def server(self) -> tuple[str, str]:
        """The daemon's public and secret key.

        Raises:
            BridgeError: There is none, or others may read it.
        """
        private_directory(self.path, make=False)
        values = read_secret(self.server_file)
        if set(values) != {"public", "secret"} or not all(map(is_key, values.values())):
            raise BridgeError(f"{self.server_file}: is no key of a daemon")
        return values["public"], values["secret"]

    def entries(self) -> list[Entry]:
        """All keys, revoked ones too; empty where there is no list yet.

        Raises:
            BridgeError: The list cannot be read.
        """
        try:
            with self.list_file.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o022:
                    raise BridgeError(f"{self.list_file}: others may write it: chmod 600 it")
                data = file.read(MAX_LIST + 1)
            entries = _decoder.decode(data)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise BridgeError(f"{self.list_file}: {error.strerror}") from None
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise BridgeError(f"{self.list_file}: {error}") from None
        if not all(is_key(entry.public) for entry in entries):
            raise BridgeError(f"{self.list_file}: a public key is none")
        return entries

    def make(
        self, name: str, role: p.Role, strategies: tuple[str, ...] = (), out: str | Path = ""
    ) -> tuple[Entry, Path]:
        """Makes a key, writes its file and lists it; the first one makes the daemon's own as well.

        Args:
            name: Its name; a trader's key trades as the strategy of that name unless others are given.
            role: Its role.
            strategies: The strategies that it may trade as.
            out: Where to write the key file; empty is in the directory.

        Raises:
            BridgeError: The name is taken or wrong, or a file cannot be written.
        """
        if role == "trader" and not strategies:
            strategies = (name,)
        public, secret = (key.decode() for key in zmq.curve_keypair())
        try:
            entry = msgspec.convert(
                {"name": name, "public": public, "role": role, "strategies": strategies}
                | {"made": time.time_ns()},
                Entry,
            )
        except msgspec.ValidationError as error:
            raise BridgeError(f"key {name!r}: {error}") from None
        private_directory(self.path)
        with self._locked():
            entries = self.entries()
            if any(known.name == name and not known.revoked for known in entries):
                raise BridgeError(f"there is a key {name!r}: revoke it first, or choose another name")
            if len(entries) >= MAX_KEYS:
                raise BridgeError(f"{MAX_KEYS} keys are listed")
            if not self.server_file.exists():
                own = [key.decode() for key in zmq.curve_keypair()]
                write_secret(self.server_file, f'public = "{own[0]}"\nsecret = "{own[1]}"\n')
            path = Path(out).expanduser() if out else self.key_file(name)
            write_secret(path, ClientKey(name, role, public, secret, self.server()[0]).text())
            self._write([*entries, entry])
        return entry, path

    def revoke(self, name: str) -> Entry:
        """Takes a key's right to come in away, for good, and removes its file from the directory.

        Raises:
            BridgeError: There is no such key.
        """
        private_directory(self.path, make=False)
        with self._locked():
            entries = self.entries()
            for place, entry in enumerate(entries):
                if entry.name == name and not entry.revoked:
                    entries[place] = msgspec.structs.replace(entry, revoked=time.time_ns())
                    self._write(entries)
                    self.key_file(name).unlink(missing_ok=True)
                    return entries[place]
        raise BridgeError(f"there is no key {name!r} that could be revoked")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _write(self, entries: list[Entry]) -> None:
        # Whole or not at all: the bridge may read at any time.
        fresh = self.list_file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        write_secret(fresh, msgspec.json.format(msgspec.json.encode(entries)).decode() + "\n")
        fresh.replace(self.list_file)


class Keyring:
    """The keys as a running bridge knows them.

    Args:
        path: The directory.

    Raises:
        BridgeError: The directory, the daemon's key or the list cannot be used.
    """

    def __init__(self, path: str | Path) -> None:
        self.directory = KeyDir(path)
        self.public, self.secret = self.directory.server()
        self.trouble = ""
        self._grants: dict[str, Grant] = {}
        self._barred: dict[str, float] = {}
        self._seen: tuple[int, ...] | None = None
        self.lost = False
        """A grant is gone or another one since somebody reset this."""
        self.refresh()
        if self.trouble:
            raise BridgeError(self.trouble)

    def refresh(self) -> None:
        """Reads the list again if it has changed."""
        seen = self._signature()
        if seen == self._seen:
            return
        self._seen, before = seen, self._grants
        try:
            entries, self.trouble = self.directory.entries(), ""
        except BridgeError as error:
            entries, self.trouble = [], str(error)
        self._grants = {
            entry.public: Grant(entry.public, entry.name, entry.role, entry.strategies)
            for entry in entries
            if not entry.revoked
        }
        for entry in entries:
            if entry.revoked:
                # Should a public key be listed twice, the revoked entry decides.
                self._grants.pop(entry.public, None)
        self.lost |= any(not self.holds(grant) for grant in before.values())

    def grant(self, public: str) -> Grant | None:
        """What a public key stands for; None if it is unknown, revoked or barred."""
        if self._barred and self._barred.get(public, 0.0) > time.monotonic():
            return None
        return self._grants.get(public)

    def bar(self, public: str) -> None:
        """Has a key stand for nothing for some time: who has it does harm with it."""
        if public in self._grants:
            now = time.monotonic()
            self._barred = {key: until for key, until in self._barred.items() if until > now}
            self._barred[public] = now + BARRED_S
            self.lost = True

    def holds(self, grant: Grant) -> bool:
        """Whether a grant is still given, in the same words."""
        return self.grant(grant.key) == grant

    def _signature(self) -> tuple[int, ...]:
        try:
            info = os.stat(self.directory.list_file)
        except OSError:
            return ()
        return info.st_ino, info.st_mtime_ns, info.st_size, info.st_mode


def make_local(path: str | Path) -> None:
    """Makes the admin's key of the daemon's own user, unless there is or was one.

    Raises:
        BridgeError: As :meth:`KeyDir.make`.
    """
    directory = KeyDir(path)
    if not any(entry.name == LOCAL for entry in directory.entries()):
        directory.make(LOCAL, "admin")
