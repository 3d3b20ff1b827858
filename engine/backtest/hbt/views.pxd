"""What a Python strategy reads: views that stay on the market's own memory and keep it alive."""

from libc.stdint cimport int64_t

from engine.backtest.hbt.market cimport Market
from engine.backtest.order_view cimport OrderView


# Bytes of somebody's memory, as an array's base.
cdef class Span:
    cdef void* data
    cdef Py_ssize_t size
    cdef object owner


cdef class MarketDepth:
    cdef Market* market
    cdef object owner


cdef class HashMapMarketDepth(MarketDepth):
    pass


cdef class ROIVectorMarketDepth(MarketDepth):
    pass


cdef class Order(OrderView):
    pass


cdef class OrderDict:
    cdef Market* market
    cdef object owner


cdef class Values:
    cdef Market* market
    cdef int64_t number
    cdef object owner


cdef class StateValues:
    cdef Market* market
    cdef object owner


cdef object array_of(void* data, Py_ssize_t n, object dtype, object owner)
cdef object depth_of(Market* market, object owner, bint roi)
cdef object orders_of(Market* market, object owner)
cdef object state_of(Market* market, object owner)
