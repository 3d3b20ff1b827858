"""Open-addressing id map: the cold half, and Python's view of it."""

cimport cython
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from engine.core.codes cimport ERR_INVARIANT, ERR_NO_MEMORY
from engine.core.image cimport Image, image_fault, image_move, image_sparse

from engine.core.errors import CapacityError, InvariantError, raise_for_code


cdef int idmap_init(IdTable* table, uint32_t items) noexcept nogil:
    cdef uint32_t bits = 3
    memset(table, 0, sizeof(IdTable))
    if items == 0 or items > (1 << 30):
        return ERR_BAD_SIZE
    while (<uint64_t>1 << bits) - (<uint64_t>1 << (bits - 3)) < items:
        bits += 1
    table.slots = <IdSlot*>calloc(<size_t>1 << bits, sizeof(IdSlot))
    if table.slots == NULL:
        return ERR_NO_MEMORY
    table.mask = <uint32_t>((<uint64_t>1 << bits) - 1)
    table.shift = 64 - bits
    table.limit = <uint32_t>((<uint64_t>1 << bits) - (<uint64_t>1 << (bits - 3)))
    return OK


cdef void idmap_free(IdTable* table) noexcept nogil:
    free(table.slots)
    memset(table, 0, sizeof(IdTable))


cdef void idmap_clear(IdTable* table) noexcept nogil:
    memset(table.slots, 0, (<size_t>table.mask + 1) * sizeof(IdSlot))
    table.used = 0


cdef int idmap_check(const IdTable* table) noexcept nogil:
    cdef uint32_t i, at, used = 0
    for i in range(table.mask + 1):
        if table.slots[i].value == 0:
            if table.slots[i].key != 0:
                return ERR_INVARIANT
            continue
        used += 1
        # A search from its home must end here: no gap and no twin on the way.
        at = idmap_home(table, table.slots[i].key)
        while at != i:
            if table.slots[at].value == 0 or table.slots[at].key == table.slots[i].key:
                return ERR_INVARIANT
            at = (at + 1) & table.mask
    return OK if used == table.used and used <= table.limit else ERR_INVARIANT


cdef void idmap_image(IdTable* table, Image* image) noexcept nogil:
    image_sparse(image, table.slots, <uint64_t>table.mask + 1, sizeof(IdSlot))
    image_move(image, &table.used, sizeof(uint32_t))
    if image.loading and image.code == OK:
        image_fault(image, idmap_check(table))


@cython.final
cdef class IdMap:
    """u64 id to u32 handle (1 or more); compiled users work on the ``table`` inside.

    Args:
        items: How many it must hold; the capacity is 7/8 of the next fitting power of two.

    Raises:
        CapacityError: A size out of bounds, or no memory.
    """

    def __init__(self, uint32_t items):
        if self.table.slots != NULL:
            raise ValueError("a map is made once")
        code = idmap_init(&self.table, items)
        if code != OK:
            raise_for_code(code, f"a map of {items} ids")

    def __dealloc__(self):
        idmap_free(&self.table)

    def find(self, uint64_t key) -> int:
        """The handle of an id.

        Args:
            key: The id.

        Returns:
            The handle, or 0 when the id is absent.
        """
        return idmap_find(&self.table, key)

    def insert(self, uint64_t key, uint32_t value) -> bool:
        """Adds an id.

        Args:
            key: The id.
            value: The handle, not 0.

        Returns:
            False when the id is there already; its handle is unchanged.

        Raises:
            CapacityError: The map is full.
            ValueError: The value is 0.
        """
        code = idmap_insert(&self.table, key, value)
        if code == ERR_BAD_SIZE:
            raise ValueError("handle 0 means absent and cannot be stored")
        if code == ERR_FULL:
            raise CapacityError(f"the map's {self.table.limit} ids are all in use")
        return code == OK

    def remove(self, uint64_t key) -> int:
        """Takes an id out.

        Args:
            key: The id.

        Returns:
            Its handle, or 0 when it was absent.
        """
        return idmap_remove(&self.table, key)

    def clear(self) -> None:
        """Takes every id out."""
        idmap_clear(&self.table)

    def __len__(self) -> int:
        return self.table.used

    def __contains__(self, uint64_t key) -> bool:
        return idmap_find(&self.table, key) != 0

    @property
    def capacity(self) -> int:
        """Ids it can hold."""
        return self.table.limit

    def items(self) -> list:
        """All pairs of id and handle, in table order: what was inserted decides it, not addresses."""
        return [
            (self.table.slots[i].key, self.table.slots[i].value)
            for i in range(self.table.mask + 1)
            if self.table.slots[i].value != 0
        ]

    def probes(self) -> tuple[float, int]:
        """How long searches are.

        Returns:
            The mean number of slots looked at to find an id that is there, and the longest run of
            occupied slots, which bounds every search.
        """
        cdef uint32_t i, run = 0, longest = 0
        cdef uint64_t total = 0, n = <uint64_t>self.table.mask + 1, step
        # Twice around, so that a run across the end counts whole.
        for step in range(2 * n):
            i = <uint32_t>(step & self.table.mask)
            if self.table.slots[i].value == 0:
                run = 0
                continue
            run += 1
            longest = max(longest, run)
            if step < n:
                total += ((i - idmap_home(&self.table, self.table.slots[i].key)) & self.table.mask) + 1
        return (total / <double>self.table.used if self.table.used else 0.0), longest

    def check_invariants(self) -> None:
        """Looks every id up from its home and counts.

        Raises:
            InvariantError: An id cannot be found, an empty slot is dirty, or the count is off.
        """
        if idmap_check(&self.table) != OK:
            raise InvariantError("the id map lost an id")
