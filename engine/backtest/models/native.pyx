"""The bases of models in Cython; see the header of native.pxd."""

from libc.math cimport round as c_round
from libc.stdint cimport int64_t

from engine.backtest.order cimport SimOrder

from engine.core.errors import ModelError


cdef class NativeModel:
    """What models in Cython have in common: ``tick_size``, ``lot_size`` and ``contract_size`` of their asset."""

    def start(self) -> None:
        """Called once before the run, when the asset's sizes are known."""


cdef int _missing(object model, str method) except -1:
    raise ModelError(f"{type(model).__name__} has no {method}")


cdef class NativeLatencyModel(NativeModel):
    """The base of latency models in Cython; overrides ``entry`` and ``response``."""

    cdef int64_t entry(self, int64_t now, const SimOrder* order) except? -1 nogil:
        with gil:
            _missing(self, "entry")

    cdef int64_t response(self, int64_t now, const SimOrder* order) except? -1 nogil:
        with gil:
            _missing(self, "response")


cdef class NativeQueueModel(NativeModel):
    """The base of queue models in Cython; overrides at least ``depth``."""

    cdef int rest(self, SimOrder* order, double level_qty) except -1 nogil:
        order.queue_ahead = level_qty
        order.queue_traded = 0.0
        return 0

    cdef int trade(self, SimOrder* order, double qty) except -1 nogil:
        order.queue_ahead -= qty
        order.queue_traded += qty
        return 0

    cdef int depth(self, SimOrder* order, double prev_qty, double new_qty) except -1 nogil:
        with gil:
            _missing(self, "depth")

    cdef double filled(self, SimOrder* order) except? -1 nogil:
        cdef double lots = c_round(-order.queue_ahead / self.lot_size)
        if not lots > 0.0:
            return 0.0
        order.queue_ahead = 0.0
        return lots * self.lot_size


cdef class NativeFeeModel(NativeModel):
    """The base of fee models in Cython; overrides ``fee``."""

    cdef double fee(self, const SimOrder* order, double value) except? -1 nogil:
        with gil:
            _missing(self, "fee")
