"""Views of orders for Python; see the header of order_view.pxd."""

from libc.string cimport memset

from engine.backtest.order cimport SimOrder
from engine.core.ticks cimport to_px
from engine.core.types cimport STATUS_NEW, STATUS_NONE, STATUS_PARTIALLY_FILLED

# What a view is on until somebody says.
cdef SimOrder _nothing
memset(&_nothing, 0, sizeof(SimOrder))


cdef class OrderView:
    """One order."""

    def __cinit__(self):
        self.order = &_nothing

    def __init__(self):
        raise TypeError("orders come from a backtest")

    @property
    def price(self) -> float:
        return to_px(self.order.price_tick, self.order.tick_size)

    @property
    def exec_price(self) -> float:
        """Of the last execution."""
        return to_px(self.order.exec_price_tick, self.order.tick_size)

    @property
    def cancellable(self) -> bool:
        """Whether it rests and no request for it is on its way."""
        return (
            self.order.status == STATUS_NEW or self.order.status == STATUS_PARTIALLY_FILLED
        ) and self.order.req == STATUS_NONE

    @property
    def qty(self) -> float:
        return self.order.qty

    @property
    def leaves_qty(self) -> float:
        return self.order.leaves_qty

    @property
    def price_tick(self) -> int:
        return self.order.price_tick

    @property
    def tick_size(self) -> float:
        return self.order.tick_size

    @property
    def exch_timestamp(self) -> int:
        return self.order.exch_ts

    @property
    def local_timestamp(self) -> int:
        return self.order.local_ts

    @property
    def exec_price_tick(self) -> int:
        return self.order.exec_price_tick

    @property
    def exec_qty(self) -> float:
        return self.order.exec_qty

    @property
    def order_id(self) -> int:
        return self.order.order_id

    @property
    def maker(self) -> bool:
        """Whether the last execution was of a resting order."""
        return self.order.is_maker != 0

    @property
    def order_type(self) -> int:
        return self.order.order_type

    @property
    def req(self) -> int:
        return self.order.req

    @property
    def status(self) -> int:
        return self.order.status

    @property
    def side(self) -> int:
        return self.order.side

    @property
    def time_in_force(self) -> int:
        return self.order.time_in_force


cdef class ModelOrder(OrderView):
    """An order as a model of the venue is given it: as it is at that moment, for as long as somebody keeps it.

    Of it a queue model sets ``queue_ahead``, the quantity in front, and ``queue_traded``, which is there for
    what has traded at the level since its last change; everything else is to be read.
    """

    @property
    def queue_ahead(self) -> float:
        return self.record.queue_ahead

    @queue_ahead.setter
    def queue_ahead(self, double qty):
        self.record.queue_ahead = qty

    @property
    def queue_traded(self) -> float:
        return self.record.queue_traded

    @queue_traded.setter
    def queue_traded(self, double qty):
        self.record.queue_traded = qty


cdef ModelOrder model_order(const SimOrder* order):
    cdef ModelOrder view = ModelOrder.__new__(ModelOrder)
    view.record = order[0]
    view.order = &view.record
    return view
