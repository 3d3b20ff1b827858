"""hftbacktest's constants and record layouts, by its names."""

import numpy as np

order_dtype = np.dtype(
    [
        ("qty", "f8"),
        ("leaves_qty", "f8"),
        ("exec_qty", "f8"),
        ("exec_price_tick", "i8"),
        ("price_tick", "i8"),
        ("tick_size", "f8"),
        ("exch_timestamp", "i8"),
        ("local_timestamp", "i8"),
        ("order_id", "u8"),
        ("_q1", "u8"),
        ("_q2", "u8"),
        ("maker", "?"),
        ("order_type", "u1"),
        ("req", "u1"),
        ("status", "u1"),
        ("side", "i1"),
        ("time_in_force", "u1"),
    ],
    align=True,
)
"""An order as ``Order.arr`` gives it; the first 96 bytes of the venue's."""

state_values_dtype = np.dtype(
    [
        ("position", "f8"),
        ("balance", "f8"),
        ("fee", "f8"),
        ("num_trades", "i8"),
        ("trading_volume", "f8"),
        ("trading_value", "f8"),
    ],
    align=True,
)
"""State values as ``StateValues.arr`` gives them."""

ALL_ASSETS = -1
"""In place of an asset number: all of them."""

UNTIL_END_OF_DATA = (1 << 63) - 1
"""As a duration or timeout."""

# What an event is, in its low byte.
DEPTH_EVENT = 1
TRADE_EVENT = 2
DEPTH_CLEAR_EVENT = 3
DEPTH_SNAPSHOT_EVENT = 4
DEPTH_BBO_EVENT = 5
ADD_ORDER_EVENT = 10
CANCEL_ORDER_EVENT = 11
MODIFY_ORDER_EVENT = 12
FILL_EVENT = 13

# Who sees an event, and whose side it is on.
EXCH_EVENT = 1 << 31
LOCAL_EVENT = 1 << 30
BUY_EVENT = 1 << 29
SELL_EVENT = 1 << 28

# Sides.
BUY = 1
SELL = -1

# States of an order, and of its request.
NONE = 0
NEW = 1
EXPIRED = 2
FILLED = 3
CANCELED = 4
PARTIALLY_FILLED = 5
REJECTED = 6

# Times in force.
GTC = 0
GTX = 1
FOK = 2
IOC = 3

# Order types.
LIMIT = 0
MARKET = 1
