"""A polled backtest as an object: what owns the markets and knows their recordings."""

from engine.backtest.hbt.calls cimport Session
from engine.backtest.latency cimport LatencyModel


cdef class Backtest:
    cdef Session session
    cdef list sources            # of each asset
    cdef list kept               # arrays that models read
    cdef readonly bint roi
    cdef object __weakref__

    cdef _add(self, int index, object asset, bint faithful)
    cdef LatencyModel _latency(self, object asset)


cdef class HashMapMarketDepthBacktest(Backtest):
    pass


cdef class ROIVectorMarketDepthBacktest(Backtest):
    pass
