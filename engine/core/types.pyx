"""Python's view of the record layouts: dtypes derived from the C structs, enums bound to the C values."""

from enum import IntEnum

import numpy as np


# A dtype is read off a one-element C array, so that layout and dtype cannot drift apart.
cdef Event _event
cdef Order _order
cdef Fill _fill

event_dtype = np.asarray(<Event[:1]>&_event).dtype
order_dtype = np.asarray(<Order[:1]>&_order).dtype
fill_dtype = np.asarray(<Fill[:1]>&_fill).dtype

EXCH_EVENT = int(EV_EXCH)
LOCAL_EVENT = int(EV_LOCAL)
BUY_EVENT = int(EV_BUY)
SELL_EVENT = int(EV_SELL)
DEPTH_EVENT = int(EVENT_DEPTH)
TRADE_EVENT = int(EVENT_TRADE)
DEPTH_CLEAR_EVENT = int(EVENT_DEPTH_CLEAR)
DEPTH_SNAPSHOT_EVENT = int(EVENT_DEPTH_SNAPSHOT)
DEPTH_BBO_EVENT = int(EVENT_DEPTH_BBO)
ADD_ORDER_EVENT = int(EVENT_ADD_ORDER)
CANCEL_ORDER_EVENT = int(EVENT_CANCEL_ORDER)
MODIFY_ORDER_EVENT = int(EVENT_MODIFY_ORDER)
FILL_EVENT = int(EVENT_FILL)


class Side(IntEnum):
    """The side of an order or a fill."""

    BUY = SIDE_BUY
    SELL = SIDE_SELL


class OrdType(IntEnum):
    """The type of an order."""

    LIMIT = ORDER_LIMIT
    MARKET = ORDER_MARKET


class TimeInForce(IntEnum):
    """How long an order rests; GTX is post-only."""

    GTC = TIF_GTC
    GTX = TIF_GTX
    FOK = TIF_FOK
    IOC = TIF_IOC


class Status(IntEnum):
    """The status of an order, and of a request in flight (NEW, CANCELED, REPLACED)."""

    NONE = STATUS_NONE
    NEW = STATUS_NEW
    EXPIRED = STATUS_EXPIRED
    FILLED = STATUS_FILLED
    CANCELED = STATUS_CANCELED
    PARTIALLY_FILLED = STATUS_PARTIALLY_FILLED
    REJECTED = STATUS_REJECTED
    REPLACED = STATUS_REPLACED
    DENIED = STATUS_DENIED


class Reason(IntEnum):
    """Why a fill happened, or why an order ended or was denied."""

    NONE = REASON_NONE
    QUEUE_FRONT = REASON_QUEUE_FRONT
    TRADE_THROUGH = REASON_TRADE_THROUGH
    BEST_CROSSED = REASON_BEST_CROSSED
    TAKER = REASON_TAKER
    MATCHED = REASON_MATCHED
    POST_ONLY_CROSSED = REASON_POST_ONLY_CROSSED
    UNFILLED_IOC_FOK = REASON_UNFILLED_IOC_FOK
    ORDER_NOT_FOUND = REASON_ORDER_NOT_FOUND
    CANCEL_REQUESTED = REASON_CANCEL_REQUESTED
    CANCEL_ON_DISCONNECT = REASON_CANCEL_ON_DISCONNECT
    CANCEL_BY_OPERATOR = REASON_CANCEL_BY_OPERATOR
    STRATEGY_ERROR = REASON_STRATEGY_ERROR
    MARKET_CLEARED = REASON_MARKET_CLEARED
    STRATEGY_NOT_RUNNING = REASON_STRATEGY_NOT_RUNNING
    TRADING_HALTED = REASON_TRADING_HALTED
    REDUCE_ONLY = REASON_REDUCE_ONLY
    MAX_ORDER_QTY = REASON_MAX_ORDER_QTY
    MAX_POSITION = REASON_MAX_POSITION
    MAX_NOTIONAL = REASON_MAX_NOTIONAL
    MAX_OPEN_ORDERS = REASON_MAX_OPEN_ORDERS
    BUSY = REASON_BUSY
    NO_MARKET = REASON_NO_MARKET
    INVALID_PRICE = REASON_INVALID_PRICE
    INVALID_QTY = REASON_INVALID_QTY
    DUPLICATE_ORDER_ID = REASON_DUPLICATE_ORDER_ID
    UNKNOWN_ORDER = REASON_UNKNOWN_ORDER
    REQUEST_IN_FLIGHT = REASON_REQUEST_IN_FLIGHT
    UNKNOWN_INSTRUMENT = REASON_UNKNOWN_INSTRUMENT


class StrategyState(IntEnum):
    """The life of a strategy."""

    STARTING = STRATEGY_STARTING
    RUNNING = STRATEGY_RUNNING
    PAUSED = STRATEGY_PAUSED
    STOPPING = STRATEGY_STOPPING
    STOPPED = STRATEGY_STOPPED
    ERROR = STRATEGY_ERROR


class TradingState(IntEnum):
    """What the engine as a whole lets through: everything, only reducing orders, or only cancels."""

    ACTIVE = TRADING_ACTIVE
    REDUCING = TRADING_REDUCING
    HALTED = TRADING_HALTED
