"""The built-in models written as somebody else would write them, in Python and for Numba.

``benchmarks/peers/own_models.pyx`` has them in Cython. Python raises where C's arithmetic goes on with an
infinity or no number, so the three operations of which that matters are methods here.
"""

from __future__ import annotations

import math

from engine.backtest.models import FeeModel, LatencyModel, QueueModel, compiled
from engine.core.types import Side, Status

CANCELED, REPLACED, BUY = int(Status.CANCELED), int(Status.REPLACED), int(Side.BUY)


class Latency(LatencyModel):
    """Constant latencies of each kind of request."""

    new_ns: int = 0
    modify_ns: int = 0
    cancel_ns: int = 0
    response_ns: int = 0

    def entry(self, now, order):
        if order.req == CANCELED:
            return self.cancel_ns
        return self.modify_ns if order.req == REPLACED else self.new_ns

    def response(self, now, order):
        return self.response_ns


class Queue(QueueModel):
    """The six queue models, by number."""

    kind: int = 0
    n: float = 3.0

    def least(self, a, b):
        return a if a <= b or b != b else b

    def power(self, x):
        if x < 0.0 and self.n != math.floor(self.n):
            return math.nan
        return math.pow(x, self.n)

    def log1(self, x):
        if x > -1.0:
            return math.log(1.0 + x)
        return -math.inf if x == -1.0 else math.nan

    def ratio(self, a, b):
        if b != 0.0:
            return a / b
        return math.inf if a > 0.0 else -math.inf if a < 0.0 else math.nan

    def behind(self, front, back):
        if self.kind == 1:
            return self.ratio(self.power(back), self.power(back) + self.power(front))
        if self.kind == 2:
            return self.ratio(self.power(back), self.power(back + front))
        if self.kind == 3:
            return 1.0 - self.power(self.ratio(front, front + back))
        if self.kind == 4:
            return self.ratio(self.log1(back), self.log1(back) + self.log1(front))
        return self.ratio(self.log1(back), self.log1(back + front))

    def depth(self, order, prev_qty, new_qty):
        front = order.queue_ahead
        if self.kind == 0:
            order.queue_ahead = self.least(front, new_qty)
            return
        change = prev_qty - new_qty - order.queue_traded
        order.queue_traded = 0.0
        if change < 0.0:
            order.queue_ahead = self.least(front, new_qty)
            return
        back = prev_qty - front
        p = self.behind(front, back)
        if math.isinf(p):
            p = 1.0
        front = front - (1.0 - p) * change + self.least(back - p * change, 0.0)
        order.queue_ahead = self.least(front, new_qty)


class Fee(FeeModel):
    """The three fee models, by number, with duties."""

    kind: int = 0
    maker: float = 0.0
    taker: float = 0.0
    buyer: float = 0.0
    seller: float = 0.0

    def fee(self, order, value):
        rate = self.maker if order.maker else self.taker
        duty = self.buyer if order.side == BUY else self.seller
        if self.kind == 0:
            return (rate + duty) * value
        if self.kind == 1:
            rate *= order.exec_qty
        return rate + duty * value


FastLatency = compiled(Latency)
FastQueue = compiled(Queue)
FastFee = compiled(Fee)


class Bad(LatencyModel):
    """What a model can do wrong, by number."""

    fault: int = 0

    def entry(self, now, order):
        if self.fault == 1:
            raise LookupError("no such latency")
        return (1 << 62) if self.fault == 2 else 1000

    def response(self, now, order):
        return -5 if self.fault == 3 else 1000


class BadQueue(QueueModel):
    """A queue model that goes wrong, by number."""

    fault: int = 0

    def rest(self, order, level_qty):
        order.queue_ahead = math.nan if self.fault == 1 else 0.0

    def depth(self, order, prev_qty, new_qty):
        order.queue_traded = math.nan if self.fault == 2 else 0.0

    def filled(self, order):
        if self.fault == 3:
            raise ValueError("who is filled?")
        return math.nan if self.fault == 4 else 0.0


class BadFee(FeeModel):
    """A fee that is none."""

    def fee(self, order, value):
        return math.inf


FastBad, FastBadQueue, FastBadFee = compiled(Bad), compiled(BadQueue), compiled(BadFee)
