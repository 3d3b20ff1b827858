"""Files of shared memory: made whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from engine.core.errors import CapacityError


@contextmanager
def new_file(path: str, size: int, what: str) -> Iterator[int]:
    """Gives the descriptor of a file to be filled; it has its name only once it has been.

    Args:
        path: Its name; who has a former file of that name mapped keeps it.
        size: Bytes.
        what: It is, for the error.

    Raises:
        CapacityError: There is no room for it.
    """
    draft = f"{path}.{os.getpid()}"
    fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        reserve(fd, size, f"{path}: no room for a {what} of {size} bytes")
        yield fd
        # Renamed last, so that nobody attaches to a half-made one.
        os.rename(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
    finally:
        os.close(fd)


def reserve(fd: int, size: int, otherwise: str) -> None:
    """Gives a file its size, and the memory for it.

    Args:
        fd: The file's.
        size: Bytes.
        otherwise: What the error says if there is no room.

    Raises:
        CapacityError: There is no room.
    """
    # ftruncate alone would let a full memory file system kill us with SIGBUS at the first write.
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(fd, 0, size)
        else:
            os.ftruncate(fd, size)
    except OSError as error:
        raise CapacityError(f"{otherwise}: {error.strerror}") from None
