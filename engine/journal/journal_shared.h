/* What wal.pyx does with the shared header: formats it, checks it, and reads and publishes its atomics.
 *
 * Cost: one atomic load or store each. None of it is on the engine's thread.
 */
#ifndef RINGBOOK_JOURNAL_SHARED_H
#define RINGBOOK_JOURNAL_SHARED_H

#include <sys/mman.h>

#include "journal.h"

#ifdef MAP_POPULATE
#define RINGBOOK_PREFAULT MAP_POPULATE
#else
#define RINGBOOK_PREFAULT 0
#endif

static uint64_t journal_shared_load(const JournalShared *s, int which) {
    switch (which) {
    case 0: return atomic_load_explicit(&s->head, memory_order_acquire);
    case 1: return atomic_load_explicit(&s->tail, memory_order_acquire);
    case 2: return atomic_load_explicit(&s->accepted_seq, memory_order_acquire);
    case 3: return atomic_load_explicit(&s->durable_seq, memory_order_acquire);
    case 4: return atomic_load_explicit(&s->commits, memory_order_relaxed);
    case 5: return atomic_load_explicit(&s->sync_ns, memory_order_relaxed);
    case 6: return atomic_load_explicit(&s->flags, memory_order_acquire);
    default: return atomic_load_explicit(&s->closed, memory_order_acquire);
    }
}

static void journal_shared_format(void *memory, uint64_t capacity, uint64_t reserve, uint32_t max_payload,
                                  uint64_t first_seq, uint32_t first_crc, const char *run_id,
                                  const char *build, const char *config) {
    JournalShared *s = (JournalShared *)memory;
    memset(s, 0, sizeof *s);
    s->magic = JOURNAL_MAGIC;
    s->version = JOURNAL_VERSION;
    s->max_payload = max_payload;
    s->capacity = capacity;
    s->reserve = reserve;
    s->first_seq = first_seq;
    s->first_crc = first_crc;
    memcpy(s->run_id, run_id, 16);
    memcpy(s->build, build, 32);
    memcpy(s->config, config, 32);
    atomic_store(&s->accepted_seq, first_seq - 1);
    atomic_store(&s->durable_seq, first_seq - 1);
}

static int journal_shared_ok(const void *memory, uint64_t bytes) {
    const JournalShared *s = (const JournalShared *)memory;
    uint64_t head = atomic_load(&s->head), tail = atomic_load(&s->tail);
    return s->magic == JOURNAL_MAGIC && s->version == JOURNAL_VERSION && s->capacity > 0 &&
           s->capacity == bytes - JOURNAL_DATA_OFFSET && (s->capacity & (s->capacity - 1)) == 0 &&
           s->reserve < s->capacity && s->max_payload <= JOURNAL_MAX_PAYLOAD && s->first_seq > 0 &&
           head - tail <= s->capacity && head % 8 == 0 && tail % 8 == 0;
}

static const char *journal_shared_id(const JournalShared *s, int which) {
    return (const char *)(which == 0 ? s->run_id : which == 1 ? s->build : s->config);
}

static void journal_shared_commit(JournalShared *s, uint64_t tail, uint64_t seq, uint64_t ns) {
    atomic_store_explicit(&s->sync_ns, ns, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->commits, 1, memory_order_relaxed);
    /* In this order, so that durable_seq is never behind what the tail has given back. */
    atomic_store_explicit(&s->durable_seq, seq, memory_order_release);
    atomic_store_explicit(&s->tail, tail, memory_order_release);
}

static void journal_shared_flag(JournalShared *s, uint32_t set, uint32_t clear) {
    if (set)
        atomic_fetch_or_explicit(&s->flags, set, memory_order_release);
    if (clear)
        atomic_fetch_and_explicit(&s->flags, ~clear, memory_order_release);
}

static void journal_shared_close(JournalShared *s) {
    atomic_store_explicit(&s->closed, 1, memory_order_release);
}

static void journal_writer_init(JournalWriter *w, void *memory, JournalCrc crc32c) {
    JournalShared *s = (JournalShared *)memory;
    memset(w, 0, sizeof *w);
    w->shared = s;
    w->data = (unsigned char *)memory + JOURNAL_DATA_OFFSET;
    w->capacity = s->capacity;
    w->mask = s->capacity - 1;
    w->reserve = s->reserve;
    w->max_payload = s->max_payload;
    w->seq = s->first_seq - 1;
    w->crc = s->first_crc;
    w->crc32c = crc32c;
}

/* Everything before head is durable: nobody reads behind it until the next record is published. */
static void journal_writer_resume(JournalWriter *w, uint64_t head, uint64_t seq, uint32_t crc) {
    w->head = w->cached_tail = head;
    w->seq = seq;
    w->crc = crc;
    atomic_store_explicit(&w->shared->accepted_seq, seq, memory_order_release);
}

static const unsigned char *journal_data(const JournalWriter *w, uint64_t at) {
    return w->data + (at & w->mask);
}

#endif
