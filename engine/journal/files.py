"""Every system call of the journal's files behind one small object, for a test to make any of them fail."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from engine.core.errors import JournalError, JournalLocked

SEGMENT = re.compile(r"journal-(\d{8})\.seg")
SPARE = "spare.seg"
LOCK = "journal.lock"
TEMPORARY = ".new"
"""What the names of unfinished files end with: recovery removes them."""

# On a Mac only F_FULLFSYNC makes the disk empty its own cache.
_FULL = getattr(fcntl, "F_FULLFSYNC", None)


def _sync_all(fd: int) -> None:
    os.fsync(fd) if _FULL is None else fcntl.fcntl(fd, _FULL)


_sync_data = getattr(os, "fdatasync", _sync_all)

Buffer: TypeAlias = "bytes | bytearray | memoryview | mmap.mmap"
Result = TypeVar("Result")


class Files:
    """The system's files. Each method is one system call, or one that cannot be told from it."""

    def makedirs(self, directory: str) -> None:
        """Makes a directory for us alone, and those above it."""
        os.makedirs(directory, mode=0o700, exist_ok=True)

    def listdir(self, directory: str) -> list[str]:
        """Names in a directory, in no order."""
        return os.listdir(directory)

    def create(self, path: str) -> int:
        """Opens a new, empty file for reading and writing; an old one is emptied."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def open(self, path: str) -> int:
        """Opens a file for reading and writing, making it where it is missing."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self, fd: int) -> None:
        """Closes a file."""
        os.close(fd)

    def pwritev(self, fd: int, pieces: Sequence[Buffer], offset: int) -> int:
        """Writes pieces one behind the other; returns how many bytes."""
        return os.pwritev(fd, pieces, offset)

    def fdatasync(self, fd: int) -> None:
        """Makes a file's bytes durable."""
        _sync_data(fd)

    def fsync(self, fd: int) -> None:
        """Makes a file's bytes and length durable."""
        _sync_all(fd)

    def sync_directory(self, directory: str) -> None:
        """Makes the names in a directory durable."""
        fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: str, new: str) -> None:
        """Gives a file another name, in place of the one that has it."""
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        """Removes a file."""
        os.unlink(path)

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return os.stat(path).st_size

    def lock(self, fd: int) -> None:
        """Locks a file for us alone until it is closed, or says BlockingIOError."""
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def read(self, path: str) -> Buffer:
        """A file's bytes, mapped where it has any."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            return mmap.mmap(fd, size, prot=mmap.PROT_READ) if size else b""
        finally:
            os.close(fd)


def again(call: Callable[..., Result], *args: Any) -> Result:
    """Makes a system call until no signal interrupts it.

    Args:
        call: A method of :class:`Files`.
        args: What it takes.
    """
    while True:
        try:
            return call(*args)
        except InterruptedError:
            continue


def write_all(files: Files, fd: int, pieces: Sequence[Buffer], offset: int) -> None:
    """Writes everything, however little a single call takes.

    Args:
        files: The system.
        fd: Where to.
        pieces: Bytes, one behind the other.
        offset: Where they go.

    Raises:
        OSError: The system refuses; some of it may have been written.
    """
    left = [memoryview(piece).cast("B") for piece in pieces if len(memoryview(piece))]
    while left:
        done = again(files.pwritev, fd, left, offset)
        if done <= 0:
            raise OSError(errno.EIO, "nothing was written")
        offset += done
        while left and done >= len(left[0]):
            done -= len(left.pop(0))
        if done:
            left[0] = left[0][done:]


def write_new(files: Files, directory: str, name: str, pieces: Sequence[Buffer]) -> None:
    """Makes a file that is there whole or not at all: a temporary one, made durable and renamed.

    Args:
        files: The system.
        directory: Where.
        name: The file's.
        pieces: Its bytes, one behind the other.

    Raises:
        OSError: The system refuses; nothing of that name has changed.
    """
    path = os.path.join(directory, name)
    fd = again(files.create, path + TEMPORARY)
    try:
        write_all(files, fd, pieces, 0)
        again(files.fsync, fd)
    finally:
        files.close(fd)
    again(files.rename, path + TEMPORARY, path)
    again(files.sync_directory, directory)


def segment_name(index: int) -> str:
    """The file of a segment.

    Args:
        index: Its number.
    """
    return f"journal-{index:08d}.seg"


def list_journal(files: Files, directory: str) -> list[str]:
    """The names of all files in a journal's directory.

    Args:
        files: The system.
        directory: The journal's.

    Raises:
        JournalError: There is no such directory.
    """
    try:
        return again(files.listdir, directory)
    except (FileNotFoundError, NotADirectoryError):
        raise JournalError(f"{directory}: no journal is there") from None


def segment_names(files: Files, directory: str) -> list[str]:
    """The segments in a directory, oldest first.

    Args:
        files: The system.
        directory: The journal's.

    Raises:
        JournalError: There is no such directory.
    """
    return sorted(name for name in list_journal(files, directory) if SEGMENT.fullmatch(name))


def read_segments(files: Files, directory: str, take: Callable[[str, Buffer], Result]) -> list[Result]:
    """Reads every segment, oldest first; whoever removes old ones meanwhile disturbs nobody.

    Args:
        files: The system.
        directory: The journal's.
        take: Makes what is wanted of a segment's name and bytes.

    Raises:
        JournalError: There is no such directory.
        OSError: The system refuses.
    """
    while True:
        names = segment_names(files, directory)
        try:
            return [take(name, again(files.read, os.path.join(directory, name))) for name in names]
        except FileNotFoundError:
            if names == segment_names(files, directory):
                raise


def lock_directory(files: Files, directory: str) -> int:
    """Makes this process the only writer of a journal until the descriptor is closed.

    Args:
        files: The system.
        directory: The journal's; made where it is missing.

    Returns:
        The descriptor that holds the lock.

    Raises:
        JournalLocked: Another process has it.
    """
    again(files.makedirs, directory)
    fd = again(files.open, os.path.join(directory, LOCK))
    try:
        again(files.lock, fd)
    except BlockingIOError:
        files.close(fd)
        raise JournalLocked(f"{directory}: another process writes this journal") from None
    except BaseException:
        files.close(fd)
        raise
    return fd
