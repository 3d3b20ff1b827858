"""Merges all sides of all assets in time: hftbacktest's order, in batches.

At one instant, assets come in order, and of one asset local rows, then answers, then what the venue
sees, then requests that arrive there. A timer at T fires after everything with a time of at most T; funding
of T is paid, and a sample of T is taken, just before it.

What we do at t cannot reach a venue before t (latencies are not negative). So between two moments at
which a strategy can act (the next timer, the next answer, the next row of a market somebody listens to)
the venues run ahead on their own, each in one tight loop, until the first answer they send; then the
local books catch up in one loop each; and only the instant itself is merged event by event. A run of k
rows between two such moments costs k book updates a side, and a handful of compares an asset.

``stepwise`` merges every event instead: slow, obvious, and the oracle of the batches.
"""

from libc.stdint cimport int64_t

from engine.backtest.exchange cimport Exchange
from engine.backtest.local cimport Local
from engine.backtest.recorder cimport Recorder
from engine.backtest.source cimport Packer
from engine.kernel cimport Kernel


cdef class Scheduler:
    cdef Kernel kernel
    cdef Recorder recorder
    cdef Exchange* venues
    cdef Local* locals
    cdef int n_assets
    cdef bint stepwise
    cdef readonly bint ended
    cdef int64_t sample_interval
    cdef int64_t next_sample
    cdef int64_t next_due        # of the next sample or funding payment
    cdef Packer packer
    cdef list sources            # of each asset
    cdef list latencies
    cdef list rates              # funding of each asset
    cdef list custom             # models of each asset that are not built in

    cdef check_data(self)
    cdef blame(self, int code)
    cdef int run(self, int64_t until, bint* paused) noexcept nogil
    cdef int64_t next_ts(self) noexcept nogil
    cdef int64_t action_bound(self, int64_t until) noexcept nogil
    cdef int run_venues(self, int64_t bound) noexcept nogil
    cdef int run_instant(self, int64_t now) noexcept nogil
    cdef int one_event(self, int asset, int kind, int64_t now) noexcept nogil
    cdef void find_next_due(self) noexcept nogil
    cdef int settle(self, int64_t now) noexcept nogil
    cdef int fire_due(self, int64_t now) noexcept nogil
    cdef int drain(self) noexcept nogil
