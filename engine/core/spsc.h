/* A bounded single-producer single-consumer ring of fixed-size slots, in C11 atomics.
 *
 * The header lives in memory that two processes may share; everything a side derives from it (mask,
 * capacity, slot size, its cache of the other side's index) lives in that process's SpscRing.
 *
 * Cost: claim, publish, peek and consume touch the side's own cache line; the other side's line is
 * read only when the cached index says full (or empty), so a batch of n costs one miss, not n.
 * Bad case: a ring that hovers around empty or full, where every operation reads the other line.
 *
 * Indices are unsigned 64-bit counts that never wrap in practice; a slot is index & mask. Nothing read
 * from shared memory is trusted: each operation copies the indices once, checks head - tail <= capacity
 * and masks, so a hostile peer can feed wrong bytes but not wrong addresses. (A peer that truncates the
 * file can still kill us with SIGBUS: the files belong to one user, mode 0600.)
 */
#ifndef RINGBOOK_SPSC_H
#define RINGBOOK_SPSC_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Two lines of 64: x86 prefetches lines in pairs, and some arm64 have lines of 128. */
#define SPSC_LINE 128
#define SPSC_MAGIC 0x676e69526b6f6f42ULL /* "BookRing" */
#define SPSC_VERSION 1u
#define SPSC_MAX_CAPACITY (1ULL << 32)
#define SPSC_MAX_SLOT 65536u

/* The stress test weakens these to prove that ThreadSanitizer notices. */
#ifndef SPSC_PUBLISH_ORDER
#define SPSC_PUBLISH_ORDER memory_order_release
#endif
#ifndef SPSC_CONSUME_ORDER
#define SPSC_CONSUME_ORDER memory_order_release
#endif

/* The numbers of engine/core/codes.pxd; ring.pyx refuses to load when they differ. */
enum { SPSC_OK = 0, SPSC_FULL = 20, SPSC_EMPTY = 21, SPSC_CORRUPT = 23, SPSC_BAD_SIZE = 24 };

typedef struct SpscHeader {
    /* Written once, before anybody else can map it. */
    uint64_t magic;
    uint32_t version;
    uint32_t slot_size;
    uint64_t capacity;
    unsigned char pad0[SPSC_LINE - 24];
    /* The producer writes here. */
    _Atomic uint64_t head;
    _Atomic uint64_t cursor_prev;
    _Atomic uint64_t cursor_next;
    _Atomic uint64_t cursor_at;
    _Atomic uint64_t dropped;
    unsigned char pad1[SPSC_LINE - 40];
    /* The consumer writes here. */
    _Atomic uint64_t tail;
    _Atomic uint64_t consumer_cursor;
    unsigned char pad2[SPSC_LINE - 16];
    /* The consumer writes, the producer reads after each publish: seldom changed, so both keep it cached. */
    _Atomic uint32_t sleeping;
    unsigned char pad3[SPSC_LINE - 4];
} SpscHeader;

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "64-bit atomics must be lock-free to work across processes");
_Static_assert(sizeof(_Atomic uint64_t) == 8, "atomics must have no hidden lock");
_Static_assert(offsetof(SpscHeader, head) == 1 * SPSC_LINE, "head has its own line");
_Static_assert(offsetof(SpscHeader, tail) == 2 * SPSC_LINE, "tail has its own line");
_Static_assert(offsetof(SpscHeader, sleeping) == 3 * SPSC_LINE, "sleeping has its own line");
_Static_assert(sizeof(SpscHeader) == 4 * SPSC_LINE, "slots start on a line");

typedef struct SpscRing {
    SpscHeader *header;
    unsigned char *slots;
    uint64_t capacity;
    uint64_t mask;
    uint64_t slot_size;
    unsigned char pad0[SPSC_LINE];
    uint64_t cached_tail; /* the producer's */
    unsigned char pad1[SPSC_LINE];
    uint64_t cached_head; /* the consumer's */
    unsigned char pad2[SPSC_LINE];
} SpscRing;

static inline int spsc_size_ok(uint64_t capacity, uint64_t slot_size) {
    return capacity >= 1 && capacity <= SPSC_MAX_CAPACITY && (capacity & (capacity - 1)) == 0 &&
           slot_size >= 8 && slot_size <= SPSC_MAX_SLOT && slot_size % 8 == 0;
}

/* Bytes of memory a ring takes, header included. */
static inline uint64_t spsc_bytes(uint64_t capacity, uint64_t slot_size) {
    return sizeof(SpscHeader) + capacity * slot_size;
}

/* Published and not yet consumed; UINT64_MAX when the indices are corrupt. For any process. */
static inline uint64_t spsc_used(const SpscRing *ring) {
    uint64_t tail = atomic_load_explicit(&ring->header->tail, memory_order_acquire);
    for (int attempt = 0; attempt < 1000; attempt++) {
        uint64_t head = atomic_load_explicit(&ring->header->head, memory_order_acquire);
        if (head - tail <= ring->capacity)
            return head - tail;
        /* Both sides may have moved between our two reads; if the tail did not, the head is wrong. */
        uint64_t again = atomic_load_explicit(&ring->header->tail, memory_order_acquire);
        if (again == tail)
            break;
        tail = again;
    }
    return UINT64_MAX;
}

/* Binds a handle to memory that holds a ring; SPSC_CORRUPT when it does not. */
static inline int spsc_attach(SpscRing *ring, void *memory, uint64_t bytes) {
    SpscHeader *header = (SpscHeader *)memory;
    if (bytes < sizeof(SpscHeader) || header->magic != SPSC_MAGIC || header->version != SPSC_VERSION)
        return SPSC_CORRUPT;
    uint64_t capacity = header->capacity, slot_size = header->slot_size;
    if (!spsc_size_ok(capacity, slot_size) || spsc_bytes(capacity, slot_size) > bytes)
        return SPSC_CORRUPT;
    memset(ring, 0, sizeof *ring);
    ring->header = header;
    ring->slots = (unsigned char *)memory + sizeof(SpscHeader);
    ring->capacity = capacity;
    ring->mask = capacity - 1;
    ring->slot_size = slot_size;
    ring->cached_tail = ring->cached_head = atomic_load_explicit(&header->tail, memory_order_acquire);
    if (spsc_used(ring) == UINT64_MAX)
        return SPSC_CORRUPT;
    return SPSC_OK;
}

/* Writes an empty ring into memory aligned to SPSC_LINE, and binds the handle to it. */
static inline int spsc_format(SpscRing *ring, void *memory, uint64_t bytes, uint64_t capacity,
                              uint64_t slot_size) {
    if (!spsc_size_ok(capacity, slot_size) || spsc_bytes(capacity, slot_size) > bytes)
        return SPSC_BAD_SIZE;
    memset(memory, 0, sizeof(SpscHeader));
    SpscHeader *header = (SpscHeader *)memory;
    header->magic = SPSC_MAGIC;
    header->version = SPSC_VERSION;
    header->slot_size = (uint32_t)slot_size;
    header->capacity = capacity;
    return spsc_attach(ring, memory, bytes);
}

/* ---- producer ---- */

/* SPSC_OK when at least n slots are free; they are then reached with spsc_slot(ring, 0 .. n - 1). */
static inline int spsc_claim(SpscRing *ring, uint64_t n) {
    uint64_t head = atomic_load_explicit(&ring->header->head, memory_order_relaxed);
    uint64_t used = head - ring->cached_tail;
    if (used <= ring->capacity && n <= ring->capacity - used)
        return SPSC_OK;
    ring->cached_tail = atomic_load_explicit(&ring->header->tail, memory_order_acquire);
    used = head - ring->cached_tail;
    if (used > ring->capacity)
        return SPSC_CORRUPT;
    return n <= ring->capacity - used ? SPSC_OK : SPSC_FULL;
}

/* The i-th slot after the last published one; only after a claim of more than i. */
static inline void *spsc_slot(SpscRing *ring, uint64_t i) {
    uint64_t head = atomic_load_explicit(&ring->header->head, memory_order_relaxed);
    return ring->slots + ((head + i) & ring->mask) * ring->slot_size;
}

/* One free slot, or NULL when the ring is full (or corrupt). */
static inline void *spsc_claim_one(SpscRing *ring) {
    return spsc_claim(ring, 1) == SPSC_OK ? spsc_slot(ring, 0) : NULL;
}

/* As many free slots as there are, up to `want`; sets *n, which is at least 1 on SPSC_OK. */
static inline int spsc_claim_upto(SpscRing *ring, uint64_t want, uint64_t *n) {
    *n = 0;
    int code = spsc_claim(ring, want);
    if (code == SPSC_FULL)
        code = spsc_claim(ring, 1);
    if (code != SPSC_OK)
        return code;
    uint64_t head = atomic_load_explicit(&ring->header->head, memory_order_relaxed);
    uint64_t free_slots = ring->capacity - (head - ring->cached_tail);
    if (free_slots > ring->capacity)
        return SPSC_CORRUPT; /* the head was changed under us */
    *n = free_slots < want ? free_slots : want;
    return SPSC_OK;
}

/* As spsc_claim_upto, but only slots that lie side by side from *first on. */
static inline int spsc_claim_run(SpscRing *ring, uint64_t want, void **first, uint64_t *n) {
    int code = spsc_claim_upto(ring, want, n);
    if (code != SPSC_OK)
        return code;
    uint64_t at = atomic_load_explicit(&ring->header->head, memory_order_relaxed) & ring->mask;
    uint64_t to_end = ring->capacity - at;
    *n = *n < to_end ? *n : to_end;
    *first = ring->slots + at * ring->slot_size;
    return SPSC_OK;
}

/* Makes the first n claimed slots visible to the consumer. */
static inline void spsc_publish(SpscRing *ring, uint64_t n) {
    uint64_t head = atomic_load_explicit(&ring->header->head, memory_order_relaxed);
    atomic_store_explicit(&ring->header->head, head + n, SPSC_PUBLISH_ORDER);
}

/* As spsc_publish, and moves the producer's cursor in the same instant: whenever the producer is killed,
 * spsc_cursor() tells its successor exactly what was published. The new cursor counts from cursor_at on. */
static inline void spsc_publish_at(SpscRing *ring, uint64_t n, uint64_t cursor) {
    SpscHeader *header = ring->header;
    uint64_t head = atomic_load_explicit(&header->head, memory_order_relaxed);
    uint64_t old = atomic_load_explicit(&header->cursor_next, memory_order_relaxed);
    atomic_store_explicit(&header->cursor_prev, old, memory_order_release);
    atomic_store_explicit(&header->cursor_at, head + n, memory_order_release);
    atomic_store_explicit(&header->cursor_next, cursor, memory_order_release);
    atomic_store_explicit(&header->head, head + n, SPSC_PUBLISH_ORDER);
}

static inline uint64_t spsc_cursor(const SpscRing *ring) {
    SpscHeader *header = ring->header;
    uint64_t head = atomic_load_explicit(&header->head, memory_order_acquire);
    uint64_t at = atomic_load_explicit(&header->cursor_at, memory_order_acquire);
    return (int64_t)(head - at) >= 0 ? atomic_load_explicit(&header->cursor_next, memory_order_acquire)
                                     : atomic_load_explicit(&header->cursor_prev, memory_order_acquire);
}

/* Counts records the producer dropped because the ring was full. */
static inline void spsc_drop(SpscRing *ring, uint64_t n) {
    uint64_t dropped = atomic_load_explicit(&ring->header->dropped, memory_order_relaxed);
    atomic_store_explicit(&ring->header->dropped, dropped + n, memory_order_relaxed);
}

static inline uint64_t spsc_dropped(const SpscRing *ring) {
    return atomic_load_explicit(&ring->header->dropped, memory_order_relaxed);
}

/* ---- consumer ---- */

/* Published slots that lie side by side, oldest first; sets *n, which is at least 1 on SPSC_OK. */
static inline int spsc_peek(SpscRing *ring, void **first, uint64_t *n) {
    uint64_t tail = atomic_load_explicit(&ring->header->tail, memory_order_relaxed);
    uint64_t used = ring->cached_head - tail;
    *n = 0;
    if (used == 0 || used > ring->capacity) {
        ring->cached_head = atomic_load_explicit(&ring->header->head, memory_order_acquire);
        used = ring->cached_head - tail;
        if (used == 0)
            return SPSC_EMPTY;
        if (used > ring->capacity)
            return SPSC_CORRUPT;
    }
    uint64_t to_end = ring->capacity - (tail & ring->mask);
    *n = used < to_end ? used : to_end;
    *first = ring->slots + (tail & ring->mask) * ring->slot_size;
    return SPSC_OK;
}

/* Gives the n oldest slots back to the producer; n is at most what spsc_peek said. */
static inline void spsc_consume(SpscRing *ring, uint64_t n) {
    uint64_t tail = atomic_load_explicit(&ring->header->tail, memory_order_relaxed);
    atomic_store_explicit(&ring->header->tail, tail + n, SPSC_CONSUME_ORDER);
}

/* Slots consumed since the ring was made. */
static inline uint64_t spsc_consumed(const SpscRing *ring) {
    return atomic_load_explicit(&ring->header->tail, memory_order_relaxed);
}

static inline uint64_t spsc_consumer_cursor(const SpscRing *ring) {
    return atomic_load_explicit(&ring->header->consumer_cursor, memory_order_acquire);
}

static inline void spsc_set_consumer_cursor(SpscRing *ring, uint64_t cursor) {
    atomic_store_explicit(&ring->header->consumer_cursor, cursor, memory_order_release);
}

/* ---- going to sleep without losing a wake-up ----
 *
 * Consumer: sleeping = 1; fence; look again; sleep. Producer: publish; fence; read sleeping; ring the bell.
 * With both fences at least one of them sees the other's store. */

static inline int spsc_is_empty(const SpscRing *ring) {
    uint64_t tail = atomic_load_explicit(&ring->header->tail, memory_order_relaxed);
    return atomic_load_explicit(&ring->header->head, memory_order_acquire) == tail;
}

static inline void spsc_set_sleeping(SpscRing *ring, uint32_t sleeping) {
    atomic_store_explicit(&ring->header->sleeping, sleeping, memory_order_relaxed);
}

/* Sets the flag on n rings; 1 when all are empty and the caller may sleep, else 0 with the flags cleared. */
static inline int spsc_arm(SpscRing **rings, size_t n) {
    int empty = 1;
    for (size_t i = 0; i < n; i++)
        spsc_set_sleeping(rings[i], 1);
    atomic_thread_fence(memory_order_seq_cst);
    for (size_t i = 0; i < n && empty; i++)
        empty = spsc_is_empty(rings[i]);
    for (size_t i = 0; i < n && !empty; i++)
        spsc_set_sleeping(rings[i], 0);
    return empty;
}

/* After publishing: whether the consumer must be woken. */
static inline int spsc_must_wake(const SpscRing *ring) {
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(&ring->header->sleeping, memory_order_relaxed) != 0;
}

#endif
