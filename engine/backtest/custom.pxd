"""Models that somebody else wrote: C functions with a pointer to what they keep, called in place of the built-in ones.

Whoever writes one in Python, Numba or Cython uses ``engine.backtest.models``; this is where all three end. A call
costs a branch, a call through the pointer and a look at what came back: what cannot be (a latency of an answer below
0, a place in the queue or a fee that is no number) is noted in the venue's fault and ends the run, as an exception
does. From the first fault on nothing is called any more, and the venue stops at the end of the step it is in.
"""

from libc.stdint cimport int64_t

from engine.backtest.order cimport SimOrder
from engine.core.codes cimport OK


cdef enum ModelCall:
    CALL_ENTRY = 0
    CALL_RESPONSE = 1
    CALL_REST = 2
    CALL_TRADE = 3
    CALL_DEPTH = 4
    CALL_FILLED = 5
    CALL_FEE = 6


# What went wrong first in the models of one venue.
cdef struct ModelFault:
    int code                     # OK, or ERR_MODEL
    int call                     # ModelCall
    double value                 # what was returned, unless the model raised


# Nanoseconds on the way.
ctypedef int64_t (*LatencyCall)(void* state, int64_t now, const SimOrder* order) noexcept nogil
# The order came to rest behind `qty`, or `qty` traded at its price.
ctypedef void (*QueueCall)(void* state, SimOrder* order, double qty) noexcept nogil
# The order's level changed.
ctypedef void (*DepthCall)(void* state, SimOrder* order, double prev_qty, double new_qty) noexcept nogil
# What trades have eaten beyond all in front; not above 0 for nothing.
ctypedef double (*FilledCall)(void* state, SimOrder* order) noexcept nogil
# Of the order's last execution, worth `value`.
ctypedef double (*FeeCall)(void* state, const SimOrder* order, double value) noexcept nogil


cdef struct CustomLatency:
    LatencyCall entry
    LatencyCall response
    void* state
    ModelFault* fault


cdef struct CustomQueue:
    QueueCall rest
    QueueCall trade
    DepthCall depth
    FilledCall filled
    void* state
    ModelFault* fault


cdef struct CustomFee:
    FeeCall fee
    void* state
    ModelFault* fault


cdef int64_t custom_entry(const CustomLatency* model, int64_t now, const SimOrder* order) noexcept nogil
cdef int64_t custom_response(const CustomLatency* model, int64_t now, const SimOrder* order) noexcept nogil
cdef void custom_rest(const CustomQueue* model, SimOrder* order, double level_qty) noexcept nogil
cdef void custom_trade(const CustomQueue* model, SimOrder* order, double qty) noexcept nogil
cdef void custom_depth(const CustomQueue* model, SimOrder* order, double prev_qty, double new_qty) noexcept nogil
cdef double custom_filled(const CustomQueue* model, SimOrder* order) noexcept nogil
cdef double custom_fee(const CustomFee* model, const SimOrder* order, double value) noexcept nogil


cdef inline int model_code(const ModelFault* fault) noexcept nogil:
    """OK, or ERR_MODEL; a venue without any such model has no fault to look at."""
    return OK if fault == NULL else fault.code
