"""A disk in memory for the journal: it knows what is durable and what only looks so, and fails on order."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.journal.files import Files


@dataclass
class Inode:
    """A file: its bytes as a process sees them, as they were when last synced, and the writes since then."""

    data: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    pending: list[tuple[int, bytes]] = field(default_factory=list)


NameOp = tuple[str, str, "str | Inode | None"]


@dataclass(frozen=True)
class Crash:
    """The disk at the moment of a loss of power.

    Attributes:
        names: Durable names and their files.
        name_ops: What was done to names since they were durable, in order.
        files: Durable bytes and later writes of every file.
    """

    names: dict[str, Inode]
    name_ops: tuple[NameOp, ...]
    files: dict[int, tuple[bytes, tuple[tuple[int, bytes], ...]]]


class MemoryFiles(Files):
    """The system's files in memory, in one directory.

    Args:
        contents: What it begins with, durable.
        before: Called with the name of each system call before it happens; it may raise.
    """

    def __init__(
        self, contents: dict[str, bytes] | None = None, before: Callable[[str], int | None] | None = None
    ) -> None:
        self.names = {name: Inode(bytearray(data), bytes(data)) for name, data in (contents or {}).items()}
        self.durable_names = dict(self.names)
        self.name_ops: list[NameOp] = []
        self.before = before
        self._open: dict[int, Inode] = {}
        self._next = 100
        self._locks: dict[int, Inode] = {}

    def _call(self, name: str) -> int | None:
        return None if self.before is None else self.before(name)

    def _open_inode(self, inode: Inode) -> int:
        self._next += 1
        self._open[self._next] = inode
        return self._next

    def makedirs(self, directory: str) -> None:
        self._call("makedirs")

    def listdir(self, directory: str) -> list[str]:
        self._call("listdir")
        return list(self.names)

    def create(self, path: str) -> int:
        self._call("create")
        name = os.path.basename(path)
        self.names[name] = inode = Inode()
        self.name_ops.append(("create", name, inode))
        return self._open_inode(inode)

    def open(self, path: str) -> int:
        self._call("open")
        name = os.path.basename(path)
        if name not in self.names:
            self.names[name] = Inode()
            self.name_ops.append(("create", name, self.names[name]))
        return self._open_inode(self.names[name])

    def close(self, fd: int) -> None:
        del self._open[fd]
        self._locks.pop(fd, None)

    def pwritev(self, fd, pieces, offset: int) -> int:
        limit = self._call("pwritev")
        data = b"".join(pieces)[:limit]
        inode = self._open[fd]
        if len(inode.data) < offset + len(data):
            inode.data.extend(bytes(offset + len(data) - len(inode.data)))
        inode.data[offset : offset + len(data)] = data
        inode.pending.append((offset, data))
        return len(data)

    def fdatasync(self, fd: int) -> None:
        self._sync("fdatasync", fd)

    def fsync(self, fd: int) -> None:
        self._sync("fsync", fd)

    def _sync(self, name: str, fd: int) -> None:
        inode = self._open[fd]
        try:
            self._call(name)
        except InterruptedError:
            raise
        except OSError:
            # As Linux does it: the pages are called clean, and never written unless they change again.
            inode.pending = []
            raise
        if inode.pending or len(inode.durable) != len(inode.data):
            durable = bytearray(inode.durable.ljust(len(inode.data), b"\0"))
            for offset, data in inode.pending:
                durable[offset : offset + len(data)] = data
            inode.durable, inode.pending = bytes(durable), []

    def sync_directory(self, directory: str) -> None:
        self._call("sync_directory")
        self.durable_names, self.name_ops = dict(self.names), []

    def rename(self, old: str, new: str) -> None:
        self._call("rename")
        old, new = os.path.basename(old), os.path.basename(new)
        self.names[new] = self.names.pop(old)
        self.name_ops.append(("rename", old, new))

    def unlink(self, path: str) -> None:
        self._call("unlink")
        name = os.path.basename(path)
        del self.names[name]
        self.name_ops.append(("unlink", name, None))

    def size(self, path: str) -> int:
        self._call("size")
        return len(self._inode(path).data)

    def lock(self, fd: int) -> None:
        self._call("lock")
        if any(other is self._open[fd] for other in self._locks.values()):
            raise BlockingIOError(errno.EAGAIN, "locked")
        self._locks[fd] = self._open[fd]

    def read(self, path: str):
        self._call("read")
        return bytes(self._inode(path).data)

    def _inode(self, path: str) -> Inode:
        try:
            return self.names[os.path.basename(path)]
        except KeyError:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from None

    def forget_processes(self) -> None:
        """What the death of every process does: descriptors and locks are gone."""
        self._open.clear()
        self._locks.clear()

    def crash(self) -> Crash:
        """The disk as it is now, for images of a loss of power."""
        inodes = {id(inode): inode for inode in (*self.durable_names.values(), *self.names.values())}
        files = {key: (inode.durable, tuple(inode.pending)) for key, inode in inodes.items()}
        return Crash(dict(self.durable_names), tuple(self.name_ops), files)


class Fault:
    """Makes the n-th of the calls fail, once.

    Args:
        at: Number of the call, from 0.
        what: An errno, or ``"short"`` for a write of one byte.
    """

    def __init__(self, at: int, what: int | str) -> None:
        self.at, self.what = at, what
        self.calls = 0
        self.names: list[str] = []
        self.failed: str | None = None

    def __call__(self, name: str) -> int | None:
        number, self.calls = self.calls, self.calls + 1
        self.names.append(name)
        if number != self.at:
            return None
        if self.what == "short":
            return 1 if name == "pwritev" else None
        self.failed = self.failed or name
        raise OSError(self.what, os.strerror(self.what))
