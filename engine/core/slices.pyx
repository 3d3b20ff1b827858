"""Short time slices: who often wakes for a moment asks the scheduler to be let in sooner.

Linux 6.12 takes a thread's slice from ``sched_setattr``, without any privilege. A thread with short slices that
wakes up may interrupt one with long ones; in return it is interrupted sooner itself. Its share stays the same.
"""

from libc.stdint cimport uint64_t


cdef extern from *:
    """
    #include <errno.h>
    #include <stdint.h>
    #ifdef __linux__
    #include <sys/syscall.h>
    #include <unistd.h>
    struct ringbook_sched {     /* the kernel's struct sched_attr, in its first version */
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    };
    static int ringbook_slice(uint64_t ns) {
        struct ringbook_sched now = {0};
        if (syscall(SYS_sched_getattr, 0, &now, sizeof(now), 0) < 0)
            return 0;
        if (now.policy != 0)    /* of another class: what it has is better */
            return 0;
        now.size = sizeof(now);
        now.runtime = ns;
        return syscall(SYS_sched_setattr, 0, &now, 0) == 0;
    }
    #else
    static int ringbook_slice(uint64_t ns) { (void)ns; return 0; }
    #endif
    """
    int ringbook_slice(uint64_t ns) noexcept nogil


SLICE_NS = 100_000
"""The shortest that the kernel grants."""


def ask_for_short_slices() -> bool:
    """Asks for slices of :data:`SLICE_NS` for this thread and those that it will start.

    Returns:
        Whether the system took the request; kernels before 6.12 take it and do nothing.
    """
    return ringbook_slice(SLICE_NS) != 0
