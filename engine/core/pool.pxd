"""Slab pool: fixed-size records in one block, reached by u32 handles; handle 0 is null.

Cost: alloc and free are a pop and a push on a free list, last freed first used (still in cache);
``pool_get`` is one multiplication. alloc zeroes the record, so that no output depends on its last user.
Bad case: none; a full pool answers 0. Freeing a free or foreign handle is refused, not undefined.
"""

from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memset

from engine.core.codes cimport ERR_INVARIANT, OK
from engine.core.image cimport Image


cdef enum:
    POOL_MAX = 0x7fffffff


# POOL_LIVE is next[h] of a live record; no handle reaches it. A debug build stops at a bad handle.
cdef extern from *:
    """
    #define POOL_LIVE 0xffffffffu
    #ifdef RINGBOOK_DEBUG
    #include <assert.h>
    #define POOL_ASSERT(x) assert(x)
    #else
    #define POOL_ASSERT(x) ((void)0)
    #endif
    """
    const uint32_t POOL_LIVE
    void POOL_ASSERT(bint x) noexcept nogil


cdef struct Slab:
    uint8_t* records       # record h lies at records + h * record_size; record 0 is never used
    uint32_t* next         # free list, or POOL_LIVE
    uint64_t record_size
    uint32_t capacity
    uint32_t free_head     # 0 when full
    uint32_t used


# OK, ERR_BAD_SIZE or ERR_NO_MEMORY. record_size becomes a multiple of 8.
cdef int pool_init(Slab* pool, uint32_t capacity, uint64_t record_size) noexcept nogil
cdef void pool_free_all(Slab* pool) noexcept nogil
cdef int pool_check(const Slab* pool) noexcept nogil
# Moves all records and who is free, out or in.
cdef void pool_image(Slab* pool, Image* image) noexcept nogil


# A zeroed record's handle, or 0 when the pool is full.
cdef inline uint32_t pool_alloc(Slab* pool) noexcept nogil:
    cdef uint32_t handle = pool.free_head
    if handle == 0:
        return 0
    pool.free_head = pool.next[handle]
    pool.next[handle] = POOL_LIVE
    pool.used += 1
    memset(pool.records + handle * pool.record_size, 0, pool.record_size)
    return handle


cdef inline bint pool_is_live(const Slab* pool, uint32_t handle) noexcept nogil:
    return handle != 0 and handle <= pool.capacity and pool.next[handle] == POOL_LIVE


# The record of a live handle; only a debug build checks that it is.
cdef inline void* pool_get(const Slab* pool, uint32_t handle) noexcept nogil:
    POOL_ASSERT(pool_is_live(pool, handle))
    return pool.records + handle * pool.record_size


# ERR_INVARIANT when the handle is not live: a double free is a bug of ours.
cdef inline int pool_release(Slab* pool, uint32_t handle) noexcept nogil:
    if not pool_is_live(pool, handle):
        return ERR_INVARIANT
    pool.next[handle] = pool.free_head
    pool.free_head = handle
    pool.used -= 1
    return OK


cdef class Pool:
    cdef Slab slab

    cdef int _live(self, uint32_t handle) except -1
