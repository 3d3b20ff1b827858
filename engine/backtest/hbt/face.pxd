"""A polled backtest as an object: what owns the markets and knows their recordings."""

from engine.backtest.hbt.calls cimport Session
from engine.backtest.hbt.market cimport Market
from engine.backtest.source cimport Packer


# The memory of all markets. Arrays that compiled strategies give back keep it, when the backtest has gone.
cdef class Markets:
    cdef Market* first
    cdef int n


cdef class Backtest:
    cdef Session session
    cdef Markets markets
    cdef object memory           # Numba's count of references to the markets, None until it asks
    cdef Packer packer
    cdef list sources            # of each asset
    cdef list kept               # arrays that models read
    cdef list custom             # models of each asset that are not built in
    cdef readonly bint roi
    cdef object __weakref__

    cdef _share(self)
    cdef _add(self, int index, object asset, bint faithful)


cdef class HashMapMarketDepthBacktest(Backtest):
    pass


cdef class ROIVectorMarketDepthBacktest(Backtest):
    pass
