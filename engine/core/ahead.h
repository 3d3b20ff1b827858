/* A helper thread of a run: it does pieces of jobs that somebody will want soon, before they want them.
 *
 * A job's pieces are done in order, by whoever holds the lock: the helper, or the thread that needs the next
 * piece now and finds it neither done nor being done. So nobody waits for a helper that has not started yet,
 * that has no processor, or that is gone, and what is done does not depend on who does it.
 *
 * Costs: a lock that is free, per piece. A helper with nothing to do looks for some microseconds whether there
 * is something, then sleeps; who makes something for it to do wakes it only then, which is a system call.
 *
 * A fork takes the lock, so that no piece is half done in the child, which has no helper and does all by itself.
 * The helper takes no signals, and never needs the interpreter's lock.
 */
#ifndef RINGBOOK_AHEAD_H
#define RINGBOOK_AHEAD_H

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#define AHEAD_SPINS 2000
#define AHEAD_PATIENCE 2
#define AHEAD_CALM 16
#define AHEAD_STACK (256 << 10)

#if defined(__x86_64__) || defined(__i386__)
#define ahead_relax() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define ahead_relax() __asm__ __volatile__("isb" ::: "memory")
#else
#define ahead_relax() ((void)0)
#endif

/* What two threads share without the lock is read and written with these only. */
#define ahead_load(place) __atomic_load_n(place, __ATOMIC_SEQ_CST)
#define ahead_store(place, value) __atomic_store_n(place, value, __ATOMIC_SEQ_CST)
#define ahead_acquire(place) __atomic_load_n(place, __ATOMIC_ACQUIRE)
#define ahead_release(place, value) __atomic_store_n(place, value, __ATOMIC_RELEASE)

/* A list that one thread adds to, linked by `next`, and another takes as a whole. */
#define ahead_take(list) __atomic_exchange_n(list, NULL, __ATOMIC_ACQUIRE)
#define ahead_push(list, item)                                                                                   \
    do {                                                                                                         \
        (item)->next = __atomic_load_n(list, __ATOMIC_RELAXED);                                                  \
    } while (!__atomic_compare_exchange_n(list, &(item)->next, item, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED))

typedef struct Ahead {
    pthread_mutex_t lock;
    pthread_cond_t something;
    pthread_t thread;
    /* Does a piece, with the lock held; false when there is none to do. */
    int (*work)(void *job);
    /* Whether there may be one, without the lock: 1, 0, or -1 when there will never be one again. */
    int (*ready)(const void *job);
    int started;
    int waits;                  /* how often somebody slept for the lock, less what has been forgiven */
    int calm;
    int running;                /* there is a helper; only the thread that owns the run looks at it */
    int asleep;
    int stop;
    int n_jobs;
    int room;
    struct Ahead *next;         /* of those that have a helper */
    struct Ahead *prev;
    void *jobs[];
} Ahead;

static pthread_mutex_t ahead_registry = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t ahead_once = PTHREAD_ONCE_INIT;
static Ahead *ahead_first;

static void ahead_before_fork(void) {
    pthread_mutex_lock(&ahead_registry);
    for (Ahead *a = ahead_first; a != NULL; a = a->next)
        pthread_mutex_lock(&a->lock);
}

static void ahead_in_parent(void) {
    for (Ahead *a = ahead_first; a != NULL; a = a->next)
        pthread_mutex_unlock(&a->lock);
    pthread_mutex_unlock(&ahead_registry);
}

static void ahead_in_child(void) {
    for (Ahead *a = ahead_first; a != NULL; a = a->next) {
        /* Somebody who is not here any more may be asleep on them. */
        pthread_mutex_init(&a->lock, NULL);
        pthread_cond_init(&a->something, NULL);
        a->running = a->asleep = 0;
        a->prev = NULL;
    }
    for (Ahead *a = ahead_first, *next; a != NULL; a = next) {
        next = a->next;
        a->next = NULL;
    }
    ahead_first = NULL;
    pthread_mutex_init(&ahead_registry, NULL);
}

static void ahead_mind_forks(void) {
    pthread_atfork(ahead_before_fork, ahead_in_parent, ahead_in_child);
}

static void ahead_enrol(Ahead *a) {
    pthread_mutex_lock(&ahead_registry);
    a->prev = NULL;
    a->next = ahead_first;
    if (a->next != NULL)
        a->next->prev = a;
    ahead_first = a;
    pthread_mutex_unlock(&ahead_registry);
}

static void ahead_strike(Ahead *a) {
    pthread_mutex_lock(&ahead_registry);
    if (a->prev != NULL)
        a->prev->next = a->next;
    else
        ahead_first = a->next;
    if (a->next != NULL)
        a->next->prev = a->prev;
    pthread_mutex_unlock(&ahead_registry);
}

/* Room for so many jobs; NULL without memory. */
static Ahead *ahead_new(int room, int (*work)(void *), int (*ready)(const void *)) {
    Ahead *a = (Ahead *)calloc(1, sizeof(Ahead) + room * sizeof(void *));
    if (a == NULL)
        return NULL;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->something, NULL);
    a->work = work;
    a->ready = ready;
    a->room = room;
    return a;
}

static int ahead_any(Ahead *a) {
    int n = ahead_acquire(&a->n_jobs);
    for (int i = 0; i < n; i++)
        if (a->ready(a->jobs[i]) > 0)
            return 1;
    return 0;
}

static void *ahead_main(void *argument) {
    Ahead *a = (Ahead *)argument;
    int idle = 0, over = 0;
    while (over < a->room && !ahead_load(&a->stop)) {
        int done = 0;
        int n = ahead_acquire(&a->n_jobs);
        over = 0;
        for (int i = 0; i < n; i++) {
            int ready = a->ready(a->jobs[i]);
            over += ready < 0;
            if (ready <= 0)
                continue;
            pthread_mutex_lock(&a->lock);
            done |= a->work(a->jobs[i]);
            pthread_mutex_unlock(&a->lock);
        }
        if (done) {
            idle = 0;
        } else if (idle < AHEAD_SPINS) {
            idle++;
            ahead_relax();
        } else {
            pthread_mutex_lock(&a->lock);
            /* Told before it is looked for: who makes something to do looks at this after that. */
            ahead_store(&a->asleep, 1);
            while (ahead_load(&a->asleep) && !ahead_load(&a->stop) && !ahead_any(a))
                pthread_cond_wait(&a->something, &a->lock);
            ahead_store(&a->asleep, 0);
            pthread_mutex_unlock(&a->lock);
            idle = 0;
        }
    }
    return NULL;
}

/* Starts the helper, unless the system has no thread for it: then there is none. */
static void ahead_start(Ahead *a) {
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_once(&ahead_once, ahead_mind_forks);
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, AHEAD_STACK);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    a->running = pthread_create(&a->thread, &attributes, ahead_main, a) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (a->running)
        ahead_enrol(a);
}

/* Wakes the helper if it sleeps; called after there is something for it to do. */
static void ahead_wake(Ahead *a) {
    if (!a->running || !ahead_load(&a->asleep))
        return;
    pthread_mutex_lock(&a->lock);
    ahead_store(&a->asleep, 0);
    pthread_cond_signal(&a->something);
    pthread_mutex_unlock(&a->lock);
}

/* Adds a job, for which there has to be room; the first one starts the helper. */
static void ahead_add(Ahead *a, void *job) {
    a->jobs[a->n_jobs] = job;
    ahead_release(&a->n_jobs, a->n_jobs + 1);
    if (a->started) {
        ahead_wake(a);
        return;
    }
    a->started = 1;
    ahead_start(a);
}

/* Takes the lock; one that is held is free again in a moment, unless its holder has lost its processor. Where that
 * happens again and again the processors have other things to do, and the helper is told to end. */
static void ahead_lock(Ahead *a) {
    for (int i = 0; i < AHEAD_SPINS; i++) {
        if (pthread_mutex_trylock(&a->lock) == 0)
            return;
        ahead_relax();
    }
    pthread_mutex_lock(&a->lock);
    a->waits++;
    if (a->waits > AHEAD_PATIENCE)
        ahead_store(&a->stop, 1);
}

/* Called now and then as the jobs go on: a long run forgives a helper that is seldom without its processor. */
static void ahead_forgive(Ahead *a) {
    if (++a->calm < AHEAD_CALM)
        return;
    a->calm = 0;
    if (a->waits > 0)
        a->waits--;
}

static void ahead_unlock(Ahead *a) {
    pthread_mutex_unlock(&a->lock);
}

/* Ends the helper, if there is one, and waits for that. */
static void ahead_stop(Ahead *a) {
    if (!a->running)
        return;
    pthread_mutex_lock(&a->lock);
    ahead_store(&a->stop, 1);
    pthread_cond_signal(&a->something);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    a->running = 0;
    ahead_strike(a);
}

static int ahead_running(const Ahead *a) {
    return a->running;
}

static void ahead_free(Ahead *a) {
    ahead_stop(a);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->something);
    free(a);
}

#endif
