"""Waiting for rings and descriptors at once; sleeper.pxd says what it costs."""

cimport cython
from libc.stdint cimport int64_t, uint32_t

from engine.core.clock cimport CLOCK_STEADY, ClockState, clock_now
from engine.core.ring cimport (
    MAX_BELL_RINGS,
    Bell,
    SpscRing,
    bell_drain,
    ring_handles,
    spsc_arm,
    spsc_is_empty,
    spsc_set_sleeping,
)


cdef extern from *:
    """
    #if defined(__x86_64__)
    #define ringbook_pause() __builtin_ia32_pause()
    #elif defined(__aarch64__)
    #define ringbook_pause() __asm__ __volatile__("yield")
    #else
    #define ringbook_pause() ((void)0)
    #endif

    #ifdef __linux__
    #include <sys/epoll.h>
    /* Descriptors that are ready, at most so many; milliseconds are rounded up, so that none are slept short. */
    static int ringbook_epoll(int epoll, int *ready, int most, double timeout_s) {
        struct epoll_event events[32];
        double ms = timeout_s * 1000.0;
        int wait = ms <= 0 ? 0 : ms > 2000000000.0 ? 2000000000 : (int)ms + ((double)(int)ms < ms);
        int n = epoll_wait(epoll, events, most < 32 ? most : 32, wait);
        for (int i = 0; i < n; i++)
            ready[i] = events[i].data.fd;
        return n;
    }
    #else
    #include <errno.h>
    static int ringbook_epoll(int epoll, int *ready, int most, double timeout_s) {
        (void)epoll, (void)ready, (void)most, (void)timeout_s;
        errno = ENOSYS;
        return -1;
    }
    #endif
    """
    void ringbook_pause() noexcept nogil
    int ringbook_epoll(int epoll, int* ready, int most, double timeout_s) noexcept nogil


cdef enum:
    PAUSES = 8
    MAX_READY = 32

FORGIVEN = 1
"""Times in a row that looking may be in vain: the other end has collected garbage, or was interrupted."""
MOST_LEFT_OUT = 256
"""Times that looking is left out, at most, after it was in vain again and again."""

cdef uint32_t _FORGIVEN = FORGIVEN, _MOST_LEFT_OUT = MOST_LEFT_OUT


cdef bint _spin(SpscRing** rings, uint32_t n, int64_t spin_ns) noexcept nogil:
    cdef ClockState clock
    cdef int64_t end
    cdef uint32_t i
    clock.now, clock.kind = 0, CLOCK_STEADY
    end = clock_now(&clock) + spin_ns
    while True:
        for i in range(n):
            if not spsc_is_empty(rings[i]):
                return True
        if clock_now(&clock) >= end:
            return False
        # Not sched_yield: on a busy machine who yields is given the core back milliseconds later.
        for i in range(PAUSES):
            ringbook_pause()


@cython.final
cdef class Lookout:
    """Looks at rings for a while before sleeping, as long as that pays.

    What comes within a few microseconds comes sooner than a sleeper could wake. But looking takes a core that
    whoever is to fill the rings may need. So after each time in vain but the first in a row it is left out,
    twice as often as the last time; once it pays it is done every time again.

    Args:
        spin_ns: How long to look, nanoseconds.
    """

    def __init__(self, int64_t spin_ns):
        self.spin_ns = spin_ns

    cdef bint pays(self, SpscRing** rings, uint32_t n) noexcept nogil:
        if self.leave_out:
            self.leave_out -= 1
            return False
        self.looked += 1
        if _spin(rings, n, self.spin_ns):
            self.left_out = self.in_vain = 0
            return True
        self.in_vain += 1
        if self.in_vain > _FORGIVEN:
            self.left_out = self.leave_out = min(2 * self.left_out + 1, _MOST_LEFT_OUT)
        return False

    def look(self, rings) -> bool:
        """Whether one of the rings has something, or has it soon enough.

        Args:
            rings: At most 32.
        """
        cdef SpscRing* handles[MAX_BELL_RINGS]
        cdef uint32_t n = ring_handles(rings, handles)
        cdef bint found
        with nogil:
            found = self.pays(handles, n)
        return found


@cython.final
cdef class Sleeper:
    """Sleeps until a ring has something or a descriptor is ready.

    Args:
        epoll: An epoll descriptor; the bells of all rings are registered in it, and whatever else is to wake.
        bell: Rung for the first rings.
        lookout: Looks at the rings before that, when it is told to.
    """

    def __init__(self, int epoll, Bell bell not None, Lookout lookout not None):
        self.epoll, self.bell, self.lookout = epoll, bell, lookout

    def sleep(self, rings, uint32_t waking, more, tuple bells not None, double timeout_s, bint look) -> list:
        """Waits, without the GIL; afterwards :attr:`filled` and :attr:`more_filled` say which rings have something.

        Args:
            rings: At most 32 that this consumer drains.
            waking: Bits of those that are to wake; of the others is only said whether they have something.
            more: At most 32 others.
            bells: Descriptors of the bells that are rung for ``more``.
            timeout_s: The longest wait, seconds; 0 or less only looks at the descriptors.
            look: Whether to look for a while first.

        Returns:
            Descriptors that are ready, without those of bells, which are emptied.

        Raises:
            ValueError: A ring is closed, or there are too many.
        """
        cdef SpscRing* handles[2 * MAX_BELL_RINGS]
        cdef SpscRing* wakers[2 * MAX_BELL_RINGS]
        cdef int ready[MAX_READY]
        cdef uint32_t i, first = ring_handles(rings, handles)
        cdef uint32_t n = first + ring_handles(more, handles + first), n_wakers = 0
        cdef int k, count, fd = self.bell.fd
        cdef bint armed = False
        cdef list out = []
        with nogil:
            for i in range(n):
                if i >= first or waking >> i & 1:
                    wakers[n_wakers] = handles[i]
                    n_wakers += 1
            if timeout_s > 0:
                armed = not (look and self.lookout.pays(wakers, n_wakers)) and spsc_arm(wakers, n_wakers)
            count = ringbook_epoll(self.epoll, ready, MAX_READY, timeout_s if armed else 0.0)
            for i in range(n_wakers if armed else 0):
                spsc_set_sleeping(wakers[i], 0)
            self.filled, self.more_filled, self.rung = 0, False, False
            for i in range(first):
                if not spsc_is_empty(handles[i]):
                    self.filled |= <uint32_t>1 << i
            for i in range(first, n):
                self.more_filled |= not spsc_is_empty(handles[i])
            for k in range(count):
                if ready[k] == fd:
                    self.rung = True
                    bell_drain(fd)
        for k in range(count):
            if ready[k] == fd:
                continue
            if ready[k] in bells:
                bell_drain(ready[k])
            else:
                out.append(ready[k])
        return out
