"""Open-addressing map from u64 ids to u32 handles; fixed capacity, linear probing.

A value of 0 marks an empty slot, as handle 0 is null; so 0 cannot be stored, and "not found" is 0.
Cost: one multiplication and, at 7/8 load, about 4 probes for a hit and 30 for a miss, in line order;
at half load 1.5 and 2.5. Removal shifts the cluster back, so there are no tombstones and probes do not
grow with churn. Bad case: keys made to collide; they cost a scan, never a wrong answer.
"""

from libc.stdint cimport uint32_t, uint64_t

from engine.core.codes cimport ERR_BAD_SIZE, ERR_FULL, ERR_ORDER_ID_EXIST, OK
from engine.core.image cimport Image


cdef extern from *:
    """
    #define RB_PREFETCH_WRITE(p) __builtin_prefetch((p), 1, 3)
    """
    void prefetch_write "RB_PREFETCH_WRITE"(const void* place) noexcept nogil


cdef struct IdSlot:
    uint64_t key
    uint32_t value         # 0: empty
    uint32_t _pad


cdef struct IdTable:
    IdSlot* slots
    uint32_t mask          # slots - 1
    uint32_t shift         # 64 - log2(slots)
    uint32_t used
    uint32_t limit         # 7/8 of the slots


# OK, ERR_BAD_SIZE or ERR_NO_MEMORY; the table holds at least `items`.
cdef int idmap_init(IdTable* table, uint32_t items) noexcept nogil
cdef void idmap_free(IdTable* table) noexcept nogil
cdef void idmap_clear(IdTable* table) noexcept nogil
cdef int idmap_check(const IdTable* table) noexcept nogil
# Moves all entries, out or in.
cdef void idmap_image(IdTable* table, Image* image) noexcept nogil


cdef inline uint32_t idmap_home(const IdTable* table, uint64_t key) noexcept nogil:
    # Fibonacci hashing; folding first lets ids that differ only in high bits spread as well.
    return <uint32_t>(((key ^ (key >> 32)) * <uint64_t>0x9e3779b97f4a7c15) >> table.shift)


cdef inline void idmap_prefetch(const IdTable* table, uint64_t key) noexcept nogil:
    """Fetches the place of a key that will soon be inserted: where keys are spread, each is a cache miss."""
    prefetch_write(&table.slots[idmap_home(table, key)])


# The value, or 0 when the key is absent.
cdef inline uint32_t idmap_find(const IdTable* table, uint64_t key) noexcept nogil:
    cdef uint32_t i = idmap_home(table, key)
    while table.slots[i].value != 0:
        if table.slots[i].key == key:
            return table.slots[i].value
        i = (i + 1) & table.mask
    return 0


# OK, ERR_ORDER_ID_EXIST, ERR_FULL, or ERR_BAD_SIZE for the value 0.
cdef inline int idmap_insert(IdTable* table, uint64_t key, uint32_t value) noexcept nogil:
    cdef uint32_t i = idmap_home(table, key)
    if value == 0:
        return ERR_BAD_SIZE
    while table.slots[i].value != 0:
        if table.slots[i].key == key:
            return ERR_ORDER_ID_EXIST
        i = (i + 1) & table.mask
    if table.used == table.limit:
        return ERR_FULL
    table.slots[i].key = key
    table.slots[i].value = value
    table.used += 1
    return OK


# The removed value, or 0 when the key was absent.
cdef inline uint32_t idmap_remove(IdTable* table, uint64_t key) noexcept nogil:
    cdef uint32_t hole = idmap_home(table, key), i, home, value
    while table.slots[hole].value == 0 or table.slots[hole].key != key:
        if table.slots[hole].value == 0:
            return 0
        hole = (hole + 1) & table.mask
    value = table.slots[hole].value
    i = (hole + 1) & table.mask
    while table.slots[i].value != 0:
        home = idmap_home(table, table.slots[i].key)
        # Move it back when the hole lies on its way from home to here.
        if ((i - home) & table.mask) >= ((i - hole) & table.mask):
            table.slots[hole] = table.slots[i]
            hole = i
        i = (i + 1) & table.mask
    table.slots[hole].value = 0
    table.slots[hole].key = 0
    table.used -= 1
    return value


cdef class IdMap:
    cdef IdTable table
