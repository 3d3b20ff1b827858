"""The one state machine: books, strategies, limits, positions. Inputs in, outputs in an outbox.

Whoever drives it (the backtest's scheduler, the engine loop, a test) applies one input, then reads
``kernel.desk.outbox[0 .. kernel.desk.n_outputs)`` and calls ``take_outputs``: order requests for a
venue, order updates, fills and state changes for whoever listens. ``kernel.desk`` also has the engine
time, the step, the books, the instruments and ``next_timer`` (see strategy/desk.pxd).

Costs: a market row is a book update and two tests of a word that says who listens; nothing more until
someone does. Bad case: a Python strategy that listens to every book of a busy feed.
"""

from libc.stdint cimport int64_t, uint16_t

from engine.core.types cimport Event, Order
# Re-exported: how much a kernel holds and puts out.
from engine.strategy.desk cimport MAX_STRATEGIES, OUTPUT_FILL, OUTPUT_ORDER, OUTPUT_REQUEST, Output  # re-exported
from engine.strategy.warden cimport Warden


cdef class Kernel(Warden):
    # Inputs. Each returns OK or a ResultCode; a strategy that raises is stopped, not propagated.
    # ERR_OUTBOX_FULL means that nothing was applied: take the outputs and apply it again.
    cdef int apply_market(self, uint16_t instrument, const Event* event, bint last) noexcept nogil
    cdef int apply_report(self, const Order* report, int64_t now) noexcept nogil
    # Fires timers that are due, each once: call again while desk.next_timer <= now.
    cdef int apply_timer(self, int64_t now) noexcept nogil
    cdef int apply_request(self, const Order* request, int64_t now) noexcept nogil
    cdef void take_outputs(self) noexcept nogil
    # Moves engine time forward without any other input.
    cdef void advance(self, int64_t now) noexcept nogil
