"""What Python sees of an order of the venue, by hftbacktest's names."""

from engine.backtest.order cimport SimOrder


cdef class OrderView:
    cdef const SimOrder* order
    cdef object owner            # of the memory that it lies in


# An order as a model is given it: a copy, so that keeping one does no harm.
cdef class ModelOrder(OrderView):
    cdef SimOrder record


cdef ModelOrder model_order(const SimOrder* order)
