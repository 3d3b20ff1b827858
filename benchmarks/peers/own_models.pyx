# cython: cdivision=True
"""The built-in models written as somebody else would write them, in Cython; own_models.py has them in Python."""

from libc.math cimport isinf, log, pow
from libc.stdint cimport int64_t

from engine.backtest.models.native cimport NativeFeeModel, NativeLatencyModel, NativeQueueModel
from engine.backtest.order cimport SimOrder
from engine.core.types cimport SIDE_BUY, STATUS_CANCELED, STATUS_REPLACED


cdef class Latency(NativeLatencyModel):
    """Constant latencies of each kind of request."""

    cdef int64_t new_ns, modify_ns, cancel_ns, response_ns

    def __init__(self, int64_t new_ns, int64_t modify_ns, int64_t cancel_ns, int64_t response_ns):
        self.new_ns, self.modify_ns = new_ns, modify_ns
        self.cancel_ns, self.response_ns = cancel_ns, response_ns

    cdef int64_t entry(self, int64_t now, const SimOrder* order) except? -1 nogil:
        if order.req == STATUS_CANCELED:
            return self.cancel_ns
        return self.modify_ns if order.req == STATUS_REPLACED else self.new_ns

    cdef int64_t response(self, int64_t now, const SimOrder* order) except? -1 nogil:
        return self.response_ns


cdef inline double least(double a, double b) noexcept nogil:
    return a if (a <= b or b != b) else b


cdef class Queue(NativeQueueModel):
    """The six queue models, by number."""

    cdef int kind
    cdef double n

    def __init__(self, int kind, double n=3.0):
        self.kind, self.n = kind, n

    cdef double behind(self, double front, double back) noexcept nogil:
        if self.kind == 1:
            return pow(back, self.n) / (pow(back, self.n) + pow(front, self.n))
        if self.kind == 2:
            return pow(back, self.n) / pow(back + front, self.n)
        if self.kind == 3:
            return 1.0 - pow(front / (front + back), self.n)
        if self.kind == 4:
            return log(1.0 + back) / (log(1.0 + back) + log(1.0 + front))
        return log(1.0 + back) / log(1.0 + (back + front))

    cdef int depth(self, SimOrder* order, double prev_qty, double new_qty) except -1 nogil:
        cdef double front = order.queue_ahead
        cdef double change = prev_qty - new_qty - order.queue_traded
        cdef double back, p
        if self.kind == 0:
            order.queue_ahead = least(front, new_qty)
            return 0
        order.queue_traded = 0.0
        if change < 0.0:
            order.queue_ahead = least(front, new_qty)
            return 0
        back = prev_qty - front
        p = self.behind(front, back)
        if isinf(p):
            p = 1.0
        front = front - (1.0 - p) * change + least(back - p * change, 0.0)
        order.queue_ahead = least(front, new_qty)
        return 0


cdef class Fee(NativeFeeModel):
    """The three fee models, by number, with duties."""

    cdef int kind
    cdef double maker, taker, buyer, seller

    def __init__(self, int kind, double maker, double taker, double buyer, double seller):
        self.kind, self.maker, self.taker, self.buyer, self.seller = kind, maker, taker, buyer, seller

    cdef double fee(self, const SimOrder* order, double value) except? -1 nogil:
        cdef double rate = self.maker if order.is_maker else self.taker
        cdef double duty = self.buyer if order.side == SIDE_BUY else self.seller
        if self.kind == 0:
            return (rate + duty) * value
        if self.kind == 1:
            rate *= order.exec_qty
        return rate + duty * value


cdef class Raiser(NativeQueueModel):
    """Raises at the third change of a level."""

    cdef int calls

    cdef int depth(self, SimOrder* order, double prev_qty, double new_qty) except -1 nogil:
        self.calls += 1
        if self.calls == 3:
            with gil:
                raise LookupError("the third change")
        return 0


cdef class Late(NativeLatencyModel):
    """Refuses every request after a nanosecond, which is the number by which Cython says that it raised."""

    cdef int64_t entry(self, int64_t now, const SimOrder* order) except? -1 nogil:
        return -1

    cdef int64_t response(self, int64_t now, const SimOrder* order) except? -1 nogil:
        return 0
