"""Latency, queue and fee models of one's own, in Python, Numba or Cython; docs/models.md is the guide."""

from engine.backtest.models.base import FeeModel, LatencyModel, QueueModel, compiled
from engine.backtest.models.native import NativeFeeModel, NativeLatencyModel, NativeQueueModel
from engine.strategy.jit_program import Array
from engine.strategy.params import Range

__all__ = [
    "Array",
    "FeeModel",
    "LatencyModel",
    "NativeFeeModel",
    "NativeLatencyModel",
    "NativeQueueModel",
    "QueueModel",
    "Range",
    "compiled",
]
