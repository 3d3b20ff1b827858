"""SPSC rings in private or shared memory, and the bell on which one consumer of many rings sleeps."""

import os
import stat

import numpy as np

cimport cython
from libc.stdlib cimport free
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.stdlib cimport posix_memalign
from posix.unistd cimport read as c_read

from engine.core.codes cimport ERR_BAD_SIZE, ERR_CORRUPT, ERR_EMPTY, ERR_FULL, OK

from engine.core.errors import CapacityError, InvariantError, RingCorrupt
from engine.core.shm import new_file, reserve


cdef extern from *:
    """
    #include <poll.h>
    #include <time.h>
    /* Nanosecond timeouts where the system has them; elsewhere milliseconds, rounded up. */
    static int ringbook_poll(int fd, int64_t timeout_ns) {
        struct pollfd p = {fd, POLLIN, 0};
    #ifdef __linux__
        struct timespec t = {timeout_ns / 1000000000, timeout_ns % 1000000000};
        return ppoll(&p, 1, timeout_ns < 0 ? NULL : &t, NULL);
    #else
        int64_t ms = timeout_ns < 0 ? -1 : (timeout_ns + 999999) / 1000000;
        return poll(&p, 1, ms > 2147483647 ? 2147483647 : (int)ms);
    #endif
    }
    """
    int ringbook_poll(int fd, int64_t timeout_ns) noexcept nogil


if (SPSC_OK, SPSC_FULL, SPSC_EMPTY, SPSC_CORRUPT, SPSC_BAD_SIZE) != (
    OK, ERR_FULL, ERR_EMPTY, ERR_CORRUPT, ERR_BAD_SIZE
):
    raise ImportError("spsc.h and codes.pxd disagree about result codes")


cdef void bell_drain(int fd) noexcept nogil:
    cdef char buffer[256]
    while c_read(fd, buffer, sizeof(buffer)) == sizeof(buffer):
        pass


cdef int bell_wait(int fd, SpscRing** rings, uint32_t n, int64_t timeout_ns) noexcept nogil:
    cdef uint32_t i
    if not spsc_arm(rings, n):
        return 1
    if ringbook_poll(fd, timeout_ns) > 0:
        bell_drain(fd)
    for i in range(n):
        spsc_set_sleeping(rings[i], 0)
    for i in range(n):
        if not spsc_is_empty(rings[i]):
            return 1
    return 0


cdef uint32_t ring_handles(object rings, SpscRing** out) except? 0xffffffff:
    cdef uint32_t n = 0
    cdef Ring ring
    for ring in rings:
        if n == MAX_BELL_RINGS:
            raise ValueError(f"a bell serves at most {MAX_BELL_RINGS} rings")
        ring._open()
        out[n] = &ring.spsc
        n += 1
    return n


@cython.final
cdef class Bell:
    """Wakes one sleeping consumer of several rings through one file descriptor.

    ``Bell()`` is private to the process and its threads. ``Bell.named(path)`` is a FIFO that the consumer
    and every producer open; whoever comes first makes it.
    """

    def __cinit__(self):
        self.fd = self.write_fd = -1

    def __init__(self, *, _path=None):
        if _path is None:
            self.fd, self.write_fd = os.pipe()
            os.set_blocking(self.fd, False)
            os.set_blocking(self.write_fd, False)
        else:
            # Both ends open for reading and writing: no end-of-file and no SIGPIPE while the peer is away.
            self.fd = self.write_fd = os.open(_path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self.path = _path
            if not stat.S_ISFIFO(os.fstat(self.fd).st_mode):
                self.close()
                raise RingCorrupt(f"{_path}: not a FIFO")

    @staticmethod
    def named(path) -> Bell:
        """Opens the FIFO at ``path``, making it (mode 0600) where it is missing.

        Args:
            path: Where the FIFO is.

        Raises:
            RingCorrupt: Something else is at that path.
            OSError: It cannot be made or opened.
        """
        path = os.fspath(path)
        try:
            os.mkfifo(path, 0o600)
        except FileExistsError:
            pass
        return Bell(_path=path)

    @staticmethod
    def of_fd(int fd) -> Bell:
        """Makes a bell of a descriptor that both ends write to and read from, such as a Unix socket.

        Args:
            fd: It belongs to the bell from now on, and does not block.
        """
        cdef Bell bell = Bell.__new__(Bell)
        os.set_blocking(fd, False)
        bell.fd = bell.write_fd = fd
        return bell

    def ring(self) -> None:
        """Wakes the consumer whether or not it sleeps; it may be called from any thread."""
        bell_ring(self.write_fd)

    def wait(self, rings, int64_t timeout_ns=-1) -> bool:
        """Sleeps, without the GIL, until a ring has something, the bell is rung or time is up.

        Args:
            rings: The rings this consumer drains, at most 32.
            timeout_ns: Nanoseconds; negative for ever, 0 only looks.

        Returns:
            Whether a ring has something to read (or is corrupt, which reading will tell).
        """
        cdef SpscRing* handles[MAX_BELL_RINGS]
        cdef uint32_t n = ring_handles(rings, handles)
        cdef int found
        with nogil:
            found = bell_wait(self.fd, handles, n, timeout_ns)
        return found != 0

    def arm(self, rings) -> bool:
        """Tells the producers to ring from now on; then poll ``fd``, and :meth:`disarm` afterwards.

        Args:
            rings: The rings this consumer drains.

        Returns:
            False when a ring has something already: nothing is armed, drain first.
        """
        cdef SpscRing* handles[MAX_BELL_RINGS]
        cdef uint32_t n = ring_handles(rings, handles)
        return spsc_arm(handles, n)

    def disarm(self, rings, bint drain=True) -> None:
        """Ends what :meth:`arm` began and empties the descriptor.

        Args:
            rings: The rings given to :meth:`arm`.
            drain: Whether to empty the descriptor; who knows that nobody has rung saves a system call.
        """
        cdef SpscRing* handles[MAX_BELL_RINGS]
        cdef uint32_t i, n = ring_handles(rings, handles)
        for i in range(n):
            spsc_set_sleeping(handles[i], 0)
        if drain:
            bell_drain(self.fd)

    def close(self) -> None:
        """Closes the descriptors; a FIFO's file stays until :meth:`unlink`."""
        for fd in {self.fd, self.write_fd} - {-1}:
            os.close(fd)
        self.fd = self.write_fd = -1

    def unlink(self) -> None:
        """Removes a named bell's FIFO; a missing one is fine."""
        if self.path is not None and os.path.exists(self.path):
            os.unlink(self.path)

    def __dealloc__(self):
        if self.fd >= 0:
            self.close()


@cython.final
cdef class Ring:
    """A bounded queue of equal slots between one producer and one consumer.

    ``Ring(capacity)`` is private memory for two threads; :meth:`create` and :meth:`attach` share a file
    (below /dev/shm, say) between two processes. Full and empty are answers, not errors.

    Args:
        capacity: Slots, a power of two up to 2**32.
        slot_size: Bytes a slot, a multiple of 8 up to 65536.
        bell: Rung after a push when the consumer sleeps.

    Raises:
        CapacityError: A size out of bounds.
    """

    def __cinit__(self):
        self.bell_fd = -1

    def __init__(self, capacity, slot_size=256, *, bell=None):
        if self.memory != NULL:
            raise ValueError("a ring is made once")
        size = _checked_size(capacity, slot_size)
        if posix_memalign(&self.memory, 128, size) != 0:
            self.memory = NULL
            raise MemoryError
        self.memory_size = size
        memset(self.memory, 0, size)
        spsc_format(&self.spsc, self.memory, size, capacity, slot_size)
        self.set_bell(bell)

    @staticmethod
    def create(path, capacity, slot_size=256, *, Bell bell=None) -> Ring:
        """Makes a ring in a file; an older file at ``path`` is replaced, who has it mapped keeps it.

        Args:
            path: The file, best on a memory file system.
            capacity: Slots, a power of two up to 2**32.
            slot_size: Bytes a slot, a multiple of 8 up to 65536.
            bell: Rung after a push when the consumer sleeps.

        Raises:
            CapacityError: A size out of bounds, or no room on the file system.
        """
        cdef Ring ring = Ring.__new__(Ring)
        path = os.fspath(path)
        size = _checked_size(capacity, slot_size)
        with new_file(path, size, "ring") as fd:
            ring._map(fd, size, path)
            spsc_format(&ring.spsc, ring.memory, size, capacity, slot_size)
        ring.set_bell(bell)
        return ring

    @staticmethod
    def attach(path, *, Bell bell=None) -> Ring:
        """Maps a ring that another process made.

        Args:
            path: The ring's file.
            bell: Rung after a push when the consumer sleeps.

        Raises:
            FileNotFoundError: There is no such file.
            RingCorrupt: The file is no ring of this version, or its indices cannot be right.
        """
        path = os.fspath(path)
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            return _attach(fd, path, bell)
        finally:
            os.close(fd)

    @staticmethod
    def create_in(int fd, capacity, slot_size=256, *, Bell bell=None) -> Ring:
        """Makes a ring in an open file of no name, which is given to the other process.

        Args:
            fd: An empty file, as ``os.memfd_create`` makes it; it may be closed afterwards.
            capacity: Slots, a power of two up to 2**32.
            slot_size: Bytes a slot, a multiple of 8 up to 65536.
            bell: Rung after a push when the consumer sleeps.

        Raises:
            CapacityError: A size out of bounds, or no room.
        """
        cdef Ring ring = Ring.__new__(Ring)
        size = _checked_size(capacity, slot_size)
        reserve(fd, size, f"no room for a ring of {size} bytes")
        ring._map(fd, size, f"descriptor {fd}")
        ring.path = None
        spsc_format(&ring.spsc, ring.memory, size, capacity, slot_size)
        ring.set_bell(bell)
        return ring

    @staticmethod
    def attach_in(int fd, *, Bell bell=None) -> Ring:
        """Maps a ring in an open file that another process made.

        Args:
            fd: The file; it may be closed afterwards.
            bell: Rung after a push when the consumer sleeps.

        Raises:
            RingCorrupt: The file is no ring of this version, or its indices cannot be right.
        """
        cdef Ring ring = _attach(fd, f"descriptor {fd}", bell)
        ring.path = None
        return ring

    cdef int _map(self, int fd, uint64_t size, path) except -1:
        cdef void* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if memory == MAP_FAILED:
            raise CapacityError(f"{path}: cannot map {size} bytes")
        self.memory, self.memory_size, self.mapped, self.path = memory, size, True, path
        return 0

    cdef int _open(self) except -1:
        if self.spsc.header == NULL:
            raise ValueError("the ring is closed")
        return 0

    def set_bell(self, Bell bell) -> None:
        """Chooses the bell that pushes ring; None for a consumer that polls.

        Args:
            bell: The consumer's bell.
        """
        self.bell = bell
        self.bell_fd = -1 if bell is None else bell.write_fd

    @property
    def capacity(self) -> int:
        """Slots."""
        self._open()
        return self.spsc.capacity

    @property
    def slot_size(self) -> int:
        """Bytes a slot."""
        self._open()
        return self.spsc.slot_size

    @property
    def cursor(self) -> int:
        """A number the producer keeps for its successor, e.g. the records sent so far.

        :meth:`push_many` with ``cursor`` moves it in the same instant as it publishes, so that a killed
        producer's successor neither repeats nor leaves out a record. While the producer is publishing,
        other processes may read the number before or after.
        """
        self._open()
        return spsc_cursor(&self.spsc)

    @cursor.setter
    def cursor(self, uint64_t value):
        self._open()
        spsc_publish_at(&self.spsc, 0, value)

    @property
    def consumer_cursor(self) -> int:
        """A number the consumer keeps for its successor."""
        self._open()
        return spsc_consumer_cursor(&self.spsc)

    @consumer_cursor.setter
    def consumer_cursor(self, uint64_t value):
        self._open()
        spsc_set_consumer_cursor(&self.spsc, value)

    @property
    def dropped(self) -> int:
        """Records the producer said it dropped (:meth:`drop`)."""
        self._open()
        return spsc_dropped(&self.spsc)

    def drop(self, uint64_t n=1) -> None:
        """Counts records that the producer dropped because the ring was full.

        Args:
            n: How many.
        """
        self._open()
        spsc_drop(&self.spsc, n)

    def push(self, record) -> bool:
        """Publishes one record and wakes the consumer if it sleeps.

        Args:
            record: Bytes, at most a slot of them; the rest of the slot becomes zero.

        Returns:
            False when the ring is full.

        Raises:
            ValueError: The record is longer than a slot.
            RingCorrupt: The indices cannot be right.
        """
        cdef const unsigned char[::1] data = record
        cdef uint64_t size = data.shape[0]
        cdef unsigned char* slot
        self._open()
        if size > self.spsc.slot_size:
            raise ValueError(f"{size} bytes do not fit a slot of {self.spsc.slot_size}")
        code = spsc_claim(&self.spsc, 1)
        if code == SPSC_FULL:
            return False
        if code != SPSC_OK:
            self._corrupt()
        slot = <unsigned char*>spsc_slot(&self.spsc, 0)
        if size > 0:
            memcpy(slot, &data[0], size)
        memset(slot + size, 0, self.spsc.slot_size - size)
        spsc_publish(&self.spsc, 1)
        ring_notify(self)
        return True

    def push_many(self, const unsigned char[:, ::1] records, *, cursor=None) -> int:
        """Publishes as many records as fit, all at once, and wakes the consumer if it sleeps.

        Args:
            records: Shape ``(n, slot_size)``, uint8, C-contiguous.
            cursor: The cursor before the first of them; it goes up by one for each record published, in
                the same instant. It stays as it is by default.

        Returns:
            How many were published, from the front.

        Raises:
            ValueError: The second dimension is not the slot size.
            RingCorrupt: The indices cannot be right.
        """
        cdef uint64_t n = 0, to_end, size, before = 0 if cursor is None else cursor
        cdef unsigned char* first
        cdef int code
        self._open()
        size = self.spsc.slot_size
        if <uint64_t>records.shape[1] != size:
            raise ValueError(f"records of {records.shape[1]} bytes for slots of {size}")
        if records.shape[0] == 0:
            return 0
        code = spsc_claim_upto(&self.spsc, records.shape[0], &n)
        if code == SPSC_FULL:
            return 0
        if code != SPSC_OK:
            self._corrupt()
        first = <unsigned char*>spsc_slot(&self.spsc, 0)
        to_end = self.spsc.capacity - <uint64_t>(first - self.spsc.slots) // size
        memcpy(first, &records[0, 0], min(n, to_end) * size)
        if n > to_end:
            memcpy(self.spsc.slots, &records[to_end, 0], (n - to_end) * size)
        if cursor is None:
            spsc_publish(&self.spsc, n)
        else:
            spsc_publish_at(&self.spsc, n, before + n)
        ring_notify(self)
        return n

    def pop_many(self, max=None):
        """Takes records out, oldest first.

        Args:
            max: The most to take; everything by default.

        Returns:
            A copy of shape ``(n, slot_size)``, uint8; n is 0 when the ring is empty.

        Raises:
            RingCorrupt: The indices cannot be right.
        """
        cdef uint64_t n = 0, done = 0, size, want
        cdef void* first = NULL
        cdef int code
        cdef unsigned char[:, ::1] out
        self._open()
        size = self.spsc.slot_size
        want = len(self)
        if max is not None and max < want:
            want = max if max > 0 else 0
        result = np.empty((want, size), dtype=np.uint8)
        out = result
        while done < want:
            code = spsc_peek(&self.spsc, &first, &n)
            if code != SPSC_OK:
                # What len() counted cannot have gone: we are the only consumer.
                self._corrupt()
            n = min(n, want - done)
            memcpy(&out[done, 0], first, n * size)
            spsc_consume(&self.spsc, n)
            done += n
        return result

    def pop(self):
        """Takes the oldest record.

        Returns:
            Its ``slot_size`` bytes, or None when the ring is empty.

        Raises:
            RingCorrupt: The indices cannot be right.
        """
        cdef uint64_t n = 0
        cdef void* first = NULL
        self._open()
        code = spsc_peek(&self.spsc, &first, &n)
        if code == SPSC_EMPTY:
            return None
        if code != SPSC_OK:
            self._corrupt()
        record = (<unsigned char*>first)[: self.spsc.slot_size]
        spsc_consume(&self.spsc, 1)
        return record

    def __len__(self) -> int:
        cdef uint64_t used
        self._open()
        used = spsc_used(&self.spsc)
        if used > self.spsc.capacity:
            self._corrupt()
        return used

    def notify(self) -> None:
        """Wakes the consumer if it sleeps; pushes do it themselves."""
        self._open()
        ring_notify(self)

    def check_invariants(self) -> None:
        """Looks at header and indices.

        Raises:
            InvariantError: Something is wrong, and what.
        """
        cdef SpscRing again
        self._open()
        if spsc_attach(&again, self.memory, self.memory_size) != SPSC_OK:
            raise InvariantError(f"ring {self.path or 'in private memory'}: header or indices are corrupt")
        if again.capacity != self.spsc.capacity or again.slot_size != self.spsc.slot_size:
            raise InvariantError(f"ring {self.path or 'in private memory'}: its size changed under us")

    cdef int _corrupt(self) except -1:
        raise RingCorrupt(f"ring {self.path or 'in private memory'}: header or indices are corrupt")

    cdef void _release(self) noexcept:
        if self.memory != NULL:
            if self.mapped:
                munmap(self.memory, self.memory_size)
            else:
                free(self.memory)
        self.memory = NULL
        memset(&self.spsc, 0, sizeof(self.spsc))

    def close(self) -> None:
        """Gives the memory back; the file stays. No thread may be using the ring."""
        self._release()

    def unlink(self) -> None:
        """Removes a shared ring's file; who has it mapped keeps it. A missing file is fine."""
        if self.path is not None and os.path.exists(self.path):
            os.unlink(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __dealloc__(self):
        self._release()


cdef Ring _attach(int fd, str name, Bell bell):
    cdef Ring ring = Ring.__new__(Ring)
    size = os.fstat(fd).st_size
    if size < <int64_t>spsc_bytes(1, 8):
        raise RingCorrupt(f"{name}: {size} bytes are too few for a ring")
    ring._map(fd, size, name)
    if spsc_attach(&ring.spsc, ring.memory, size) != SPSC_OK:
        raise RingCorrupt(f"{name}: header or indices are corrupt")
    ring.set_bell(bell)
    return ring


cdef uint64_t _checked_size(capacity, slot_size) except 0:
    if not (0 < capacity <= 1 << 32 and 0 < slot_size <= 65536 and spsc_size_ok(capacity, slot_size)):
        raise CapacityError(
            f"a ring of {capacity} slots of {slot_size} bytes: capacity must be a power of two up to 2**32, "
            "the slot a multiple of 8 up to 65536"
        )
    return spsc_bytes(capacity, slot_size)
