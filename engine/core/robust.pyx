"""Who has died, told by the kernel before it takes a process down: locks in shared memory, and their watch.

``robust.h`` says how. Linux only; elsewhere :func:`available` is False.
"""

import errno
import fcntl
import os
import threading

cimport cython
from libc.string cimport memset, strerror
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap

from engine.core.ring cimport Bell

from engine.core.errors import CapacityError

from engine.core.shm import reserve


cdef extern from "robust.h" nogil:
    enum:
        ROBUST_MOST
        ROBUST_SIZE

    ctypedef struct RobustWatchC "RobustWatch":
        int stop
        int bell

    int robust_works()
    int robust_hold(void* memory)
    int robust_release(void* memory)
    void robust_start(RobustWatchC* watch)
    void robust_run(RobustWatchC* watch)
    void robust_tell(RobustWatchC* watch)
    int robust_add(RobustWatchC* watch, void* word)
    void* robust_remove(RobustWatchC* watch, int place)
    int robust_dead(RobustWatchC* watch, int first)


def available() -> bool:
    """Whether this system has robust locks and lets a thread wait for several."""
    return robust_works() != 0


cdef void* _map(int fd) except NULL:
    cdef void* memory = mmap(NULL, ROBUST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
    if memory == MAP_FAILED:
        raise OSError(errno.ENOMEM, "cannot map a lock")
    return memory


@cython.final
cdef class RobustLock:
    """A lock in a file of no name, held by the thread that makes it until it releases it or ends.

    A fork of the process does not hold it.

    Attributes:
        fd: The file, for whoever is to watch.

    Raises:
        OSError: The system has no such locks, or no memory.
    """

    cdef readonly int fd
    cdef void* memory

    def __cinit__(self):
        self.fd = -1
        self.memory = NULL

    def __init__(self):
        cdef int failed
        if not robust_works():
            raise OSError(errno.ENOSYS, "no robust locks here")
        if self.fd >= 0:
            raise ValueError("a lock is made once")
        self.fd = os.memfd_create("ringbook-leash", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            reserve(self.fd, ROBUST_SIZE, "no room for a lock")
        except CapacityError as error:
            raise OSError(errno.ENOMEM, str(error)) from None
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
        self.memory = _map(self.fd)
        failed = robust_hold(self.memory)
        if failed:
            munmap(self.memory, ROBUST_SIZE)
            self.memory = NULL
            raise OSError(failed, strerror(failed).decode())

    def release(self) -> None:
        """Releases the lock, which is no death; in another thread than its own it stays held until that one ends."""
        if self.memory != NULL:
            # A living thread's list leads through the memory: it has to stay.
            if robust_release(self.memory):
                munmap(self.memory, ROBUST_SIZE)
            self.memory = NULL
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __dealloc__(self):
        self.release()


@cython.final
cdef class RobustWatch:
    """Watches locks of other processes; a thread without the GIL sleeps on them, once there are any.

    At most 127 at once. :meth:`fileno` becomes readable when :meth:`dead` has something to tell.
    """

    cdef RobustWatchC watch
    cdef object _thread
    cdef Bell _bell

    def __cinit__(self):
        memset(&self.watch, 0, sizeof(self.watch))
        robust_start(&self.watch)

    def __init__(self):
        if self._bell is not None:
            raise ValueError("a watch is made once")
        self._bell = Bell()
        self.watch.bell = self._bell.write_fd

    def fileno(self) -> int:
        """A descriptor that is readable when there is a death to tell; -1 once closed."""
        return self._bell.fd

    def add(self, int fd) -> int:
        """Watches one more lock.

        Args:
            fd: Its file, as :class:`RobustLock` makes it; it may be closed afterwards.

        Returns:
            Its place, which :meth:`dead` tells and :meth:`remove` takes.

        Raises:
            ValueError: It is no file that may be trusted to stay: not sealed against shrinking, or too short.
            CapacityError: 127 are watched, or the watch is closed.
            OSError: It cannot be mapped.
        """
        cdef void* memory
        cdef int place
        try:
            seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        except OSError:
            seals = 0
        if not seals & fcntl.F_SEAL_SHRINK:
            raise ValueError("the lock could be taken away: it is not sealed against shrinking")
        status = os.fstat(fd)
        if status.st_size < ROBUST_SIZE or status.st_blocks * 512 < ROBUST_SIZE:
            raise ValueError(f"a lock of {status.st_size} bytes: it has {ROBUST_SIZE} at least")
        if self._bell.fd < 0:
            raise CapacityError("the watch is closed")
        memory = _map(fd)
        place = robust_add(&self.watch, memory)
        if place < 0:
            munmap(memory, ROBUST_SIZE)
            raise CapacityError(f"{ROBUST_MOST} locks are watched already")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="ringbook-deaths", daemon=True)
            self._thread.start()
        return place

    def _run(self) -> None:
        with nogil:
            robust_run(&self.watch)

    def remove(self, int place) -> None:
        """Ceases to watch a lock.

        Args:
            place: As :meth:`add` has returned it.
        """
        cdef void* memory
        if not 0 <= place < ROBUST_MOST:
            raise ValueError(f"place {place} is none of {ROBUST_MOST}")
        memory = robust_remove(&self.watch, place)
        if memory != NULL:
            munmap(memory, ROBUST_SIZE)

    def dead(self) -> list:
        """Places whose owners have died, each told once."""
        cdef int place = -1
        self._bell.disarm(())
        found = []
        while True:
            place = robust_dead(&self.watch, place + 1)
            if place < 0:
                return found
            found.append(place)

    def close(self) -> None:
        """Ends the thread and lets all locks go."""
        if self._bell.fd < 0:
            return
        self.watch.stop = 1
        robust_tell(&self.watch)
        if self._thread is not None:
            self._thread.join()
        for place in range(ROBUST_MOST):
            self.remove(place)
        self._bell.close()
