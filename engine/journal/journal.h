/* The journal's shared-memory buffer and its records, in C11 atomics.
 *
 * The engine appends records to a ring of bytes in a file that outlives it; the journaller copies them to
 * disk and then gives the room back. The data is mapped twice, end to start, so a record is always in one
 * piece and what lies between tail and head is, byte for byte, what goes to disk.
 *
 * Record (little-endian, 8-aligned, zero-padded to 8):
 *     len u32        header and payload, without the padding
 *     crc u32        CRC-32C of len and of everything from seq to the padding's end, seeded by the record before
 *     seq u64        counts from 1, without gaps
 *     t_mono i64     steady clock
 *     type u16, version u8, flags u8, instrument u16, strategy u16
 *     payload        begins with the engine time, i64, in every type
 *
 * Cost of an append: one copy of the payload, one CRC over it (8 bytes every 3 cycles with SSE4.2 or ARM's
 * CRC instructions), a handful of stores. The journaller's cache line is read only when the buffer seems
 * full. No lock, no system call.
 * Bad case: a journaller that does not keep up, where every append reads its line and then says ERR_FULL.
 *
 * Nothing read from shared memory is trusted: the writer keeps its own head, and a tail that cannot be right
 * is ERR_CORRUPT.
 */
#ifndef RINGBOOK_JOURNAL_H
#define RINGBOOK_JOURNAL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define JOURNAL_LINE 128
#define JOURNAL_MAGIC 0x6c6e724a6b6f6f42ULL /* "BookJrnl" */
#define JOURNAL_VERSION 1u
#define JOURNAL_RECORD_VERSION 1u
/* Data begins on a page of every size that Linux and macOS use. */
#define JOURNAL_DATA_OFFSET 65536u
#define JOURNAL_HEADER_SIZE 32u
#define JOURNAL_MAX_PAYLOAD (1u << 18)

/* The numbers of engine/core/codes.pxd; wal.pyx refuses to load when they differ. */
enum { JOURNAL_OK = 0, JOURNAL_FULL = 20, JOURNAL_CORRUPT = 23, JOURNAL_BAD_SIZE = 24 };

/* Bits of JournalShared.flags. */
enum {
    JOURNAL_DISK_FULL = 1, /* new orders are to be denied; cancels still fit */
    JOURNAL_HALTED = 2     /* nothing becomes durable any more: stop trading */
};

typedef struct JournalRecord {
    uint32_t len;
    uint32_t crc;
    uint64_t seq;
    int64_t t_mono;
    uint16_t type;
    uint8_t version;
    uint8_t flags;
    uint16_t instrument;
    uint16_t strategy;
} JournalRecord;

typedef struct JournalShared {
    /* Written once, before anybody else can map it. */
    uint64_t magic;
    uint32_t version;
    uint32_t max_payload;
    uint64_t capacity;
    uint64_t reserve;   /* bytes that only journal_append_reserved may use */
    uint64_t first_seq; /* of the first record in this buffer */
    uint32_t first_crc; /* of the record before that */
    uint32_t pad0;
    unsigned char run_id[16];
    unsigned char build[32];
    unsigned char config[32];
    unsigned char pad1[2 * JOURNAL_LINE - 128];
    /* The engine writes here. */
    _Atomic uint64_t head; /* bytes appended so far */
    _Atomic uint64_t accepted_seq;
    _Atomic uint32_t closed; /* the engine has said its last record */
    unsigned char pad2[JOURNAL_LINE - 20];
    /* The journaller writes here, once a commit. */
    _Atomic uint64_t tail; /* bytes that are durable, and may be overwritten */
    _Atomic uint64_t durable_seq;
    _Atomic uint64_t commits;
    _Atomic uint64_t sync_ns; /* what the last fdatasync took */
    unsigned char pad3[JOURNAL_LINE - 32];
    /* The journaller writes here, hardly ever. */
    _Atomic uint32_t flags;
    unsigned char pad4[JOURNAL_LINE - 4];
} JournalShared;

_Static_assert(sizeof(JournalRecord) == JOURNAL_HEADER_SIZE, "a record's header has 32 bytes");
_Static_assert(offsetof(JournalRecord, seq) == 8 && offsetof(JournalRecord, type) == 24, "no padding within");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are little-endian");
_Static_assert(sizeof(_Atomic uint64_t) == 8 && ATOMIC_LLONG_LOCK_FREE == 2, "atomics without locks");
_Static_assert(offsetof(JournalShared, head) == 2 * JOURNAL_LINE, "the engine has its own line");
_Static_assert(offsetof(JournalShared, tail) == 3 * JOURNAL_LINE, "the journaller has its own line");
_Static_assert(offsetof(JournalShared, flags) == 4 * JOURNAL_LINE, "the flags have their own line");

typedef uint32_t (*JournalCrc)(uint32_t crc, const void *data, size_t size);

/* The engine's handle: everything an append needs, none of it trusted to shared memory. */
typedef struct JournalWriter {
    JournalShared *shared;
    unsigned char *data;
    uint64_t mask;
    uint64_t capacity;
    uint64_t reserve;
    uint64_t head;
    uint64_t cached_tail;
    uint64_t seq; /* of the last record */
    JournalCrc crc32c;
    uint32_t crc; /* of the last record */
    uint32_t max_payload;
} JournalWriter;

/* Bytes a record takes, padding included. */
static inline uint64_t journal_size(uint64_t payload) {
    return (JOURNAL_HEADER_SIZE + payload + 7) & ~7ULL;
}

/* The chained CRC of a record that lies in one piece with its padding. */
static inline uint32_t journal_record_crc(JournalCrc crc32c, uint32_t seed, const JournalRecord *record) {
    uint64_t size = ((uint64_t)record->len + 7) & ~7ULL;
    uint32_t crc = crc32c(seed, &record->len, 4);
    return crc32c(crc, (const unsigned char *)record + 8, size - 8);
}

static inline int journal_put(JournalWriter *w, uint64_t keep, uint16_t type, uint8_t flags, uint16_t instrument,
                              uint16_t strategy, const void *payload, uint32_t len, int64_t t_mono) {
    uint64_t size = journal_size(len);
    if (__builtin_expect(len > w->max_payload, 0))
        return JOURNAL_BAD_SIZE;
    if (__builtin_expect(w->head - w->cached_tail + size + keep > w->capacity, 0)) {
        uint64_t tail = atomic_load_explicit(&w->shared->tail, memory_order_acquire);
        if (w->head - tail > w->capacity)
            return JOURNAL_CORRUPT;
        w->cached_tail = tail;
        if (w->head - tail + size + keep > w->capacity)
            return JOURNAL_FULL;
    }
    JournalRecord *record = (JournalRecord *)(w->data + (w->head & w->mask));
    /* The last word first: it becomes the padding, or is overwritten by the payload. */
    if (size > JOURNAL_HEADER_SIZE)
        memset((unsigned char *)record + size - 8, 0, 8);
    record->len = JOURNAL_HEADER_SIZE + len;
    record->seq = ++w->seq;
    record->t_mono = t_mono;
    record->type = type;
    record->version = JOURNAL_RECORD_VERSION;
    record->flags = flags;
    record->instrument = instrument;
    record->strategy = strategy;
    memcpy(record + 1, payload, len);
    w->crc = record->crc = journal_record_crc(w->crc32c, w->crc, record);
    w->head += size;
    atomic_store_explicit(&w->shared->head, w->head, memory_order_release);
    atomic_store_explicit(&w->shared->accepted_seq, w->seq, memory_order_release);
    return JOURNAL_OK;
}

/* JOURNAL_OK once the record is accepted: it survives the death of this process from here on.
 * JOURNAL_FULL when only the reserve is left, JOURNAL_BAD_SIZE for a payload above max_payload. */
static inline int journal_append(JournalWriter *w, uint16_t type, const void *payload, uint32_t len,
                                 int64_t t_mono) {
    return journal_put(w, w->reserve, type, 0, 0, 0, payload, len, t_mono);
}

/* As journal_append, with the fields that a ring record's header has. */
static inline int journal_append_tagged(JournalWriter *w, uint16_t type, uint8_t flags, uint16_t instrument,
                                        uint16_t strategy, const void *payload, uint32_t len, int64_t t_mono) {
    return journal_put(w, w->reserve, type, flags, instrument, strategy, payload, len, t_mono);
}

/* As journal_append_tagged, for cancels and what stops the trading: may use the reserve too. */
static inline int journal_append_reserved(JournalWriter *w, uint16_t type, uint8_t flags, uint16_t instrument,
                                          uint16_t strategy, const void *payload, uint32_t len,
                                          int64_t t_mono) {
    return journal_put(w, 0, type, flags, instrument, strategy, payload, len, t_mono);
}

/* Whether a payload of that length fits now, reserve kept; nothing is written. */
static inline int journal_has_room(JournalWriter *w, uint64_t bytes) {
    if (w->head - w->cached_tail + bytes + w->reserve <= w->capacity)
        return 1;
    uint64_t tail = atomic_load_explicit(&w->shared->tail, memory_order_acquire);
    if (w->head - tail > w->capacity)
        return 0;
    w->cached_tail = tail;
    return w->head - tail + bytes + w->reserve <= w->capacity;
}

static inline uint32_t journal_flags(const JournalWriter *w) {
    return atomic_load_explicit(&w->shared->flags, memory_order_relaxed);
}

static inline uint64_t journal_accepted_seq(const JournalWriter *w) { return w->seq; }

static inline uint64_t journal_durable_seq(const JournalWriter *w) {
    return atomic_load_explicit(&w->shared->durable_seq, memory_order_acquire);
}

/* ---- reading records, from shared memory or disk ---- */

/* Walks records that follow (seq, crc): returns the bytes of whole, valid ones, and moves seq, crc and count.
 * Stops at the first that is cut, out of sequence, too long or has a wrong CRC. */
static inline uint64_t journal_walk(JournalCrc crc32c, const unsigned char *data, uint64_t size,
                                    uint32_t max_payload, uint64_t *seq, uint32_t *crc, uint64_t *count) {
    uint64_t at = 0;
    while (size - at >= JOURNAL_HEADER_SIZE) {
        const JournalRecord *record = (const JournalRecord *)(data + at);
        uint64_t len = record->len;
        if (len < JOURNAL_HEADER_SIZE || len > JOURNAL_HEADER_SIZE + (uint64_t)max_payload)
            break;
        uint64_t whole = (len + 7) & ~7ULL;
        if (whole > size - at || record->seq != *seq + 1)
            break;
        uint32_t found = journal_record_crc(crc32c, *crc, record);
        if (found != record->crc)
            break;
        *crc = found;
        *seq += 1;
        *count += 1;
        at += whole;
    }
    return at;
}

#endif
