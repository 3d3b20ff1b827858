/* Two threads push batches through a small ring of spsc.h, sleeping on a pipe whenever there is nothing
 * to do; run under ThreadSanitizer, and built with a weakened order to prove that the sanitizer sees it.
 *
 * Exit code: 0 every record came once, in order and whole; 1 one did not; 2 a wake-up was lost; 66 is
 * what ThreadSanitizer ends with when it found a race.
 */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "spsc.h"

#define CAPACITY 16u
#define WORDS 8u /* a slot is the sequence number and what is derived from it */
#ifndef RECORDS
#define RECORDS 100000u
#endif

static SpscRing ring;
static int bell[2];

static uint64_t word(uint64_t sequence, unsigned i) { return (sequence + i) * 0x9e3779b97f4a7c15ULL; }

static void fail(int code, const char *what) {
    fprintf(stderr, "spsc_stress: %s\n", what);
    _Exit(code);
}

static void pause_for(unsigned steps) {
    for (volatile unsigned i = 0; i < steps; i++)
        ;
}

static void *produce(void *unused) {
    (void)unused;
    uint64_t sent = 0, turn = 0;
    char byte = 1;
    while (sent < RECORDS) {
        uint64_t want = 1 + turn++ % 7, n;
        void *first;
        if (want > RECORDS - sent)
            want = RECORDS - sent;
        if (turn % 2) {
            /* Slot by slot, across the end of the memory. */
            if (spsc_claim(&ring, want) != SPSC_OK)
                continue;
            for (n = 0; n < want; n++)
                for (unsigned i = 0; i < WORDS; i++)
                    ((uint64_t *)spsc_slot(&ring, n))[i] = word(sent + n, i);
        } else {
            if (spsc_claim_run(&ring, want, &first, &n) != SPSC_OK)
                continue;
            for (uint64_t k = 0; k < n; k++)
                for (unsigned i = 0; i < WORDS; i++)
                    ((uint64_t *)first)[k * WORDS + i] = word(sent + k, i);
        }
        sent += n;
        spsc_publish(&ring, n);
        if (spsc_must_wake(&ring) && write(bell[1], &byte, 1) != 1)
            fail(2, "the bell is full");
        /* Mostly nothing follows until the consumer is done: a lost wake-up then stops everything, which
         * the next record would otherwise make good. The pauses of both vary, to meet in every moment
         * of its falling asleep. */
        if (turn % 8 != 0) {
            for (unsigned spins = 0; spsc_used(&ring) != 0; spins++)
                if (spins > 10000)
                    sched_yield();
            pause_for(turn % 61);
        }
    }
    return NULL;
}

static void sleep_until_rung(void) {
    static unsigned nap;
    SpscRing *rings[] = {&ring};
    struct pollfd p = {bell[0], POLLIN, 0};
    char bytes[64];
    pause_for(nap++ % 97);
    if (!spsc_arm(rings, 1))
        return;
    if (poll(&p, 1, 30000) == 0)
        fail(2, "records were published and nobody woke the consumer");
    spsc_set_sleeping(&ring, 0);
    if (read(bell[0], bytes, sizeof bytes) < 1)
        fail(2, "the bell is broken");
}

static void consume(void) {
    uint64_t taken = 0, n;
    void *first;
    while (taken < RECORDS) {
        int code = spsc_peek(&ring, &first, &n);
        if (code == SPSC_EMPTY) {
            sleep_until_rung();
            continue;
        }
        if (code != SPSC_OK)
            fail(1, "the ring says it is corrupt");
        if (n > 3)
            n = 3;
        for (uint64_t k = 0; k < n; k++)
            for (unsigned i = 0; i < WORDS; i++)
                if (((uint64_t *)first)[k * WORDS + i] != word(taken + k, i))
                    fail(1, "a record came torn or out of order");
        taken += n;
        spsc_consume(&ring, n);
    }
    if (spsc_used(&ring) != 0)
        fail(1, "records are left over");
}

int main(void) {
    uint64_t bytes = spsc_bytes(CAPACITY, WORDS * 8);
    void *memory = aligned_alloc(SPSC_LINE, (bytes + SPSC_LINE - 1) / SPSC_LINE * SPSC_LINE);
    pthread_t producer;
    if (memory == NULL || spsc_format(&ring, memory, bytes, CAPACITY, WORDS * 8) != SPSC_OK || pipe(bell) != 0)
        return 1;
    if (pthread_create(&producer, NULL, produce, NULL) != 0)
        return 1;
    consume();
    pthread_join(producer, NULL);
    free(memory);
    return 0;
}
