"""Slab pool of fixed-size records: the cold half, and Python's view of it."""

cimport cython
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from engine.core.codes cimport ERR_BAD_SIZE, ERR_NO_MEMORY
from engine.core.image cimport Image, image_fault, image_match, image_move, image_sparse

from engine.core.errors import CapacityError, InvariantError, raise_for_code


cdef int pool_init(Slab* pool, uint32_t capacity, uint64_t record_size) noexcept nogil:
    cdef uint32_t handle
    memset(pool, 0, sizeof(Slab))
    if capacity == 0 or capacity > <uint32_t>POOL_MAX or record_size == 0 or record_size > (1 << 20):
        return ERR_BAD_SIZE
    pool.record_size = (record_size + 7) & ~<uint64_t>7
    pool.records = <uint8_t*>calloc(<size_t>capacity + 1, pool.record_size)
    pool.next = <uint32_t*>calloc(<size_t>capacity + 1, sizeof(uint32_t))
    if pool.records == NULL or pool.next == NULL:
        pool_free_all(pool)
        return ERR_NO_MEMORY
    pool.capacity = capacity
    for handle in range(1, capacity):
        pool.next[handle] = handle + 1
    pool.free_head = 1
    return OK


cdef void pool_free_all(Slab* pool) noexcept nogil:
    free(pool.records)
    free(pool.next)
    memset(pool, 0, sizeof(Slab))


cdef int pool_check(const Slab* pool) noexcept nogil:
    cdef uint32_t handle, live = 0, listed = 0
    for handle in range(1, pool.capacity + 1):
        if pool.next[handle] == POOL_LIVE:
            live += 1
        elif pool.next[handle] > pool.capacity:
            return ERR_INVARIANT
    handle = pool.free_head
    while handle != 0:
        # A cycle in the free list shows as more links than records.
        if handle > pool.capacity or pool.next[handle] == POOL_LIVE or listed == pool.capacity:
            return ERR_INVARIANT
        listed += 1
        handle = pool.next[handle]
    if live != pool.used or live + listed != pool.capacity:
        return ERR_INVARIANT
    return OK


cdef void pool_image(Slab* pool, Image* image) noexcept nogil:
    image_match(image, pool.record_size)
    image_sparse(image, pool.records, <uint64_t>pool.capacity + 1, pool.record_size)
    image_move(image, pool.next, (<uint64_t>pool.capacity + 1) * sizeof(uint32_t))
    image_move(image, &pool.free_head, sizeof(uint32_t))
    image_move(image, &pool.used, sizeof(uint32_t))
    if image.loading and image.code == OK:
        image_fault(image, pool_check(pool))


@cython.final
cdef class Pool:
    """Fixed-size records by handle; compiled users work on the ``slab`` inside.

    Args:
        capacity: Records.
        record_size: Bytes a record, rounded up to a multiple of 8.

    Raises:
        CapacityError: A size out of bounds, or no memory.
    """

    def __init__(self, uint32_t capacity, uint64_t record_size):
        if self.slab.records != NULL:
            raise ValueError("a pool is made once")
        code = pool_init(&self.slab, capacity, record_size)
        if code != OK:
            raise_for_code(code, f"a pool of {capacity} records of {record_size} bytes")

    def __dealloc__(self):
        pool_free_all(&self.slab)

    def alloc(self) -> int:
        """Takes a zeroed record.

        Returns:
            Its handle, 1 or more.

        Raises:
            CapacityError: The pool is full.
        """
        handle = pool_alloc(&self.slab)
        if handle == 0:
            raise CapacityError(f"the pool's {self.slab.capacity} records are all in use")
        return handle

    def free(self, uint32_t handle) -> None:
        """Gives a record back.

        Args:
            handle: From :meth:`alloc`.

        Raises:
            InvariantError: The handle is not live: freed twice, or never given out.
        """
        if pool_release(&self.slab, handle) != OK:
            raise InvariantError(f"handle {handle} is not live")

    def read(self, uint32_t handle) -> bytes:
        """A copy of a record.

        Args:
            handle: A live handle.

        Raises:
            InvariantError: The handle is not live.
        """
        self._live(handle)
        return (<unsigned char*>pool_get(&self.slab, handle))[: self.slab.record_size]

    def write(self, uint32_t handle, const unsigned char[::1] data) -> None:
        """Overwrites the front of a record.

        Args:
            handle: A live handle.
            data: At most a record's bytes.

        Raises:
            InvariantError: The handle is not live.
            ValueError: The data is longer than a record.
        """
        self._live(handle)
        if <uint64_t>data.shape[0] > self.slab.record_size:
            raise ValueError(f"{data.shape[0]} bytes do not fit a record of {self.slab.record_size}")
        if data.shape[0] > 0:
            memcpy(pool_get(&self.slab, handle), &data[0], data.shape[0])

    def is_live(self, uint32_t handle) -> bool:
        """Whether the handle is given out at present.

        Args:
            handle: Any number.
        """
        return pool_is_live(&self.slab, handle)

    cdef int _live(self, uint32_t handle) except -1:
        if not pool_is_live(&self.slab, handle):
            raise InvariantError(f"handle {handle} is not live")
        return 0

    def __len__(self) -> int:
        return self.slab.used

    @property
    def capacity(self) -> int:
        """Records in all."""
        return self.slab.capacity

    @property
    def record_size(self) -> int:
        """Bytes a record."""
        return self.slab.record_size

    def check_invariants(self) -> None:
        """Walks the free list and counts.

        Raises:
            InvariantError: A record is neither live nor free, or both, or the counts are off.
        """
        if pool_check(&self.slab) != OK:
            raise InvariantError("the pool's free list is broken")
