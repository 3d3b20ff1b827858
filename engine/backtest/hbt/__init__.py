"""hftbacktest's interface on this engine: change the import and keep the strategy.

Names, constants, builder and methods are those of the ``hftbacktest`` package 2.4, and strategies may be
compiled with Numba as there. What differs, and why, is in docs/parity.md; docs/coming-from-hftbacktest.md is
the guide.
"""

from hftbacktest import Recorder

from engine.backtest.hbt.asset import BacktestAsset
from engine.backtest.hbt.constants import (
    ADD_ORDER_EVENT,
    ALL_ASSETS,
    BUY,
    BUY_EVENT,
    CANCEL_ORDER_EVENT,
    CANCELED,
    DEPTH_BBO_EVENT,
    DEPTH_CLEAR_EVENT,
    DEPTH_EVENT,
    DEPTH_SNAPSHOT_EVENT,
    EXCH_EVENT,
    EXPIRED,
    FILL_EVENT,
    FILLED,
    FOK,
    GTC,
    GTX,
    IOC,
    LIMIT,
    LOCAL_EVENT,
    MARKET,
    MODIFY_ORDER_EVENT,
    NEW,
    NONE,
    PARTIALLY_FILLED,
    REJECTED,
    SELL,
    SELL_EVENT,
    TRADE_EVENT,
    UNTIL_END_OF_DATA,
    order_dtype,
    state_values_dtype,
)
from engine.backtest.hbt.face import (
    HashMapMarketDepthBacktest,
    ROIVectorMarketDepthBacktest,
    fill_dtype,
    order_log_dtype,
)
from engine.core.types import event_dtype

# Registers the methods with Numba.
import engine.backtest.hbt.binding  # noqa: F401  # isort: skip

__all__ = [
    "ADD_ORDER_EVENT",
    "ALL_ASSETS",
    "BUY",
    "BUY_EVENT",
    "CANCELED",
    "CANCEL_ORDER_EVENT",
    "DEPTH_BBO_EVENT",
    "DEPTH_CLEAR_EVENT",
    "DEPTH_EVENT",
    "DEPTH_SNAPSHOT_EVENT",
    "EXCH_EVENT",
    "EXPIRED",
    "FILLED",
    "FILL_EVENT",
    "FOK",
    "GTC",
    "GTX",
    "IOC",
    "LIMIT",
    "LOCAL_EVENT",
    "MARKET",
    "MODIFY_ORDER_EVENT",
    "NEW",
    "NONE",
    "PARTIALLY_FILLED",
    "REJECTED",
    "SELL",
    "SELL_EVENT",
    "TRADE_EVENT",
    "UNTIL_END_OF_DATA",
    "BacktestAsset",
    "HashMapMarketDepthBacktest",
    "ROIVectorMarketDepthBacktest",
    "Recorder",
    "event_dtype",
    "fill_dtype",
    "order_dtype",
    "order_log_dtype",
    "state_values_dtype",
]
