/* Robust locks between processes: a word in shared memory that the kernel changes when its owner's thread ends.
 *
 * A thread that ends, killed or not, goes through its list of robust mutexes before anything else of it is
 * taken down: its memory and its files come later, for a large process by milliseconds. So whoever sleeps on
 * such a word knows of a death sooner than a socket or a process descriptor can tell. The word is a futex:
 * its owner's thread id, FUTEX_WAITERS if somebody is to be woken, and FUTEX_OWNER_DIED once nobody can release it.
 *
 * A watch is a thread that sleeps on up to ROBUST_MOST words at once (futex_waitv, Linux 5.16) and writes to
 * a pipe when one of them tells of a death. Cost: nothing while all live; a look at every word, under a lock
 * of its own, when one changes or the set does.
 *
 * The words are another process's: they are only ever read as numbers, and a word that does anything else than
 * stay, be released or tell of a death is not looked at again, so nobody can keep the thread busy.
 */
#ifndef RINGBOOK_ROBUST_H
#define RINGBOOK_ROBUST_H

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define ROBUST_MOST 127
#define ROBUST_SIZE 4096

enum { ROBUST_FREE, ROBUST_NEW, ROBUST_HELD, ROBUST_DEAD, ROBUST_OVER };

typedef struct RobustWatch {
    pthread_mutex_t lock;
    uint32_t changed;           /* a futex of this process: the set has changed */
    int stop;
    int bell;                   /* end of a pipe that a byte is written to when there is a death to tell */
    uint32_t *words[ROBUST_MOST];
    uint32_t expected[ROBUST_MOST];
    unsigned char states[ROBUST_MOST];
} RobustWatch;

#ifdef __linux__

#include <linux/futex.h>
#include <sys/syscall.h>

#define ROBUST_WAITV 449        /* the same number on every architecture */

struct robust_waiter {          /* the kernel's struct futex_waitv, which older headers lack */
    uint64_t val, uaddr;
    uint32_t flags, reserved;
};

/* Whether the kernel lets a thread sleep on several words. */
static int robust_works(void) {
    return syscall(ROBUST_WAITV, NULL, 0, 0, NULL, 0) < 0 && errno == EINVAL;
}

/* Makes a lock at the start of zeroed shared memory and holds it for this thread; 0 or an errno. */
static int robust_hold(void *memory) {
    pthread_mutex_t *mutex = memory;
    pthread_mutexattr_t kind;
    int failed;
    pthread_mutexattr_init(&kind);
    failed = pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    failed = failed ? failed : pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    failed = failed ? failed : pthread_mutex_init(mutex, &kind);
    pthread_mutexattr_destroy(&kind);
    failed = failed ? failed : pthread_mutex_lock(mutex);
    /* Where the C library keeps the futex elsewhere in its mutex, there is no such lock. */
    if (!failed && (*(volatile uint32_t *)memory & FUTEX_TID_MASK) != (uint32_t)syscall(SYS_gettid)) {
        pthread_mutex_unlock(mutex);
        failed = ENOSYS;
    }
    return failed;
}

/* Releases what this thread holds. Returns whether the memory may go: not while another thread has it in its list. */
static int robust_release(void *memory) {
    uint32_t owner = __atomic_load_n((uint32_t *)memory, __ATOMIC_ACQUIRE);
    if ((owner & FUTEX_TID_MASK) == (uint32_t)syscall(SYS_gettid))
        return pthread_mutex_unlock(memory) == 0;
    return (owner & FUTEX_TID_MASK) == 0;
}

/* Unlike an eventfd's, a pipe's wake-up says that the writer is about to sleep: who reads is given its processor,
 * instead of waiting for the one on which the process is being taken down. */
static void robust_ring(RobustWatch *watch) {
    ssize_t written = write(watch->bell, "x", 1);
    (void)written;
}

/* Tells the thread that the set has changed, or that it is to end. */
static void robust_tell(RobustWatch *watch) {
    __atomic_add_fetch(&watch->changed, 1, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &watch->changed, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

/* What has become of a word since it was looked at last. */
static unsigned char robust_look(RobustWatch *watch, int i) {
    uint32_t value = __atomic_load_n(watch->words[i], __ATOMIC_ACQUIRE);
    if (watch->states[i] == ROBUST_NEW && !(value & FUTEX_OWNER_DIED) && value & FUTEX_TID_MASK) {
        uint32_t told = value | FUTEX_WAITERS;
        /* The kernel wakes nobody who has not said that he sleeps. */
        if (__atomic_compare_exchange_n(watch->words[i], &value, told, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
            value = told;
        watch->expected[i] = told;
        watch->states[i] = ROBUST_HELD;
    }
    if (value & FUTEX_OWNER_DIED)
        return ROBUST_DEAD;
    return watch->states[i] == ROBUST_HELD && value == watch->expected[i] ? ROBUST_HELD : ROBUST_OVER;
}

/* The thread: sleeps and rings until it is told to stop, or the kernel refuses. */
static void robust_run(RobustWatch *watch) {
    struct robust_waiter waiters[ROBUST_MOST + 1];
    for (;;) {
        unsigned n = 1, died = 0;
        memset(waiters, 0, sizeof(waiters));
        waiters[0].val = __atomic_load_n(&watch->changed, __ATOMIC_SEQ_CST);
        waiters[0].uaddr = (uintptr_t)&watch->changed;
        waiters[0].flags = 2 | FUTEX_PRIVATE_FLAG;      /* of 32 bits */
        if (__atomic_load_n(&watch->stop, __ATOMIC_SEQ_CST))
            return;
        pthread_mutex_lock(&watch->lock);
        for (int i = 0; i < ROBUST_MOST; i++) {
            if (watch->states[i] != ROBUST_NEW && watch->states[i] != ROBUST_HELD)
                continue;
            watch->states[i] = robust_look(watch, i);
            died |= watch->states[i] == ROBUST_DEAD;
            if (watch->states[i] == ROBUST_HELD) {
                waiters[n].val = watch->expected[i];
                waiters[n].uaddr = (uintptr_t)watch->words[i];
                waiters[n++].flags = 2;
            }
        }
        pthread_mutex_unlock(&watch->lock);
        if (died)
            robust_ring(watch);
        /* A word that was unmapped in this instant is EFAULT, one that has just changed EAGAIN. */
        if (syscall(ROBUST_WAITV, waiters, n, 0, NULL, 0) < 0 && errno != EAGAIN && errno != EINTR && errno != EFAULT)
            return;
    }
}

#else

static int robust_works(void) { return 0; }
static int robust_hold(void *memory) { (void)memory; return ENOSYS; }
static int robust_release(void *memory) { (void)memory; return 1; }
static void robust_tell(RobustWatch *watch) { (void)watch; }
static void robust_run(RobustWatch *watch) { (void)watch; }

#endif

/* Readies a zeroed watch. */
static void robust_start(RobustWatch *watch) { pthread_mutex_init(&watch->lock, NULL); }

/* A place for one more word, or -1. */
static int robust_add(RobustWatch *watch, void *word) {
    int place = -1;
    pthread_mutex_lock(&watch->lock);
    for (int i = 0; i < ROBUST_MOST && place < 0; i++)
        if (watch->states[i] == ROBUST_FREE)
            place = i;
    if (place >= 0) {
        watch->words[place] = word;
        watch->states[place] = ROBUST_NEW;
    }
    pthread_mutex_unlock(&watch->lock);
    if (place >= 0)
        robust_tell(watch);
    return place;
}

/* Frees a place; the word's memory may go once this has returned. */
static void *robust_remove(RobustWatch *watch, int place) {
    void *word;
    pthread_mutex_lock(&watch->lock);
    word = watch->words[place];
    watch->words[place] = NULL;
    watch->states[place] = ROBUST_FREE;
    pthread_mutex_unlock(&watch->lock);
    robust_tell(watch);
    return word;
}

/* The next place from `from` on whose owner has died and nobody has been told, or -1. */
static int robust_dead(RobustWatch *watch, int from) {
    int place = -1;
    pthread_mutex_lock(&watch->lock);
    for (int i = from; i < ROBUST_MOST && place < 0; i++)
        if (watch->states[i] == ROBUST_DEAD) {
            watch->states[i] = ROBUST_OVER;
            place = i;
        }
    pthread_mutex_unlock(&watch->lock);
    return place;
}

#endif
