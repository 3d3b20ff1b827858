"""Python's view of a matcher's records: dtypes derived from the C structs, enums bound to the C values."""

from enum import IntEnum

import numpy as np

from engine.core.codes cimport (
    ERR_BAD_QTY,
    ERR_BAD_TICK,
    ERR_EXPIRED,
    ERR_FOK,
    ERR_FULL,
    ERR_INVALID_REQUEST,
    ERR_NO_LIQUIDITY,
    ERR_NOT_OWNER,
    ERR_ORDER_ID_EXIST,
    ERR_ORDER_NOT_FOUND,
    ERR_PHASE,
    ERR_POST_ONLY,
    ERR_PRICE_BAND,
    ERR_REDUCE_ONLY,
    ERR_UNSORTED,
    OK as RESULT_OK,
)
from engine.core.types cimport ORDER_LIMIT, ORDER_MARKET, TIF_FOK, TIF_GTC, TIF_GTX, TIF_IOC


# A dtype is read off a one-element C array, so that layout and dtype cannot drift apart.
cdef MatchCommand _command
cdef MatchResult _result
cdef MatchEvent _event

# Named as a view: Cython declares what its shared code for views needs only where a view has a name.
cdef MatchCommand[::1] _commands = <MatchCommand[:1]>&_command
command_dtype = np.asarray(_commands).dtype
result_dtype = np.asarray(<MatchResult[:1]>&_result).dtype
event_dtype = np.asarray(<MatchEvent[:1]>&_event).dtype

POST_ONLY = int(MATCH_POST_ONLY)
POST_ONLY_SLIDE = int(MATCH_POST_ONLY_SLIDE)
REDUCE_ONLY = int(MATCH_REDUCE_ONLY)


class Kind(IntEnum):
    """What a command does."""

    ADD = MATCH_ADD
    CANCEL = MATCH_CANCEL
    MODIFY = MATCH_MODIFY
    REDUCE = MATCH_REDUCE
    MASS_CANCEL = MATCH_MASS_CANCEL
    PHASE = MATCH_PHASE
    BANDS = MATCH_BANDS
    TIME = MATCH_TIME


class OrderType(IntEnum):
    """The type of an order."""

    LIMIT = ORDER_LIMIT
    MARKET = ORDER_MARKET
    STOP = ORDER_STOP
    STOP_LIMIT = ORDER_STOP_LIMIT


class Life(IntEnum):
    """How long an order lives; GTX is GTC and post-only."""

    GTC = TIF_GTC
    GTX = TIF_GTX
    FOK = TIF_FOK
    IOC = TIF_IOC
    DAY = TIF_DAY
    GTD = TIF_GTD


class SelfTradePolicy(IntEnum):
    """What happens when an order meets another of its owner."""

    NONE = STP_NONE
    CANCEL_NEWEST = STP_CANCEL_NEWEST
    CANCEL_OLDEST = STP_CANCEL_OLDEST
    CANCEL_BOTH = STP_CANCEL_BOTH
    DECREMENT = STP_DECREMENT


class AllocationRule(IntEnum):
    """Who of a level trades first."""

    FIFO = ALLOC_FIFO
    PRO_RATA = ALLOC_PRO_RATA
    SIZE_WEIGHTED = ALLOC_SIZE_WEIGHTED


class Phase(IntEnum):
    """What a matcher takes and does at present."""

    CONTINUOUS = PHASE_CONTINUOUS
    AUCTION = PHASE_AUCTION
    HALTED = PHASE_HALTED
    CLOSED = PHASE_CLOSED


class EventKind(IntEnum):
    """What an event says; from ACCEPTED on, to the owner alone."""

    ADDED = MATCH_ADDED
    CHANGED = MATCH_CHANGED
    REMOVED = MATCH_REMOVED
    TRADE = MATCH_TRADE
    LEVEL = MATCH_LEVEL
    PHASE_CHANGED = MATCH_PHASE_CHANGED
    UNCROSSED = MATCH_UNCROSSED
    ACCEPTED = MATCH_ACCEPTED
    REPLACED = MATCH_REPLACED
    TRIGGERED = MATCH_TRIGGERED
    ENDED = MATCH_ENDED


class Code(IntEnum):
    """How a command is answered: the result codes of core/codes.pxd that a matcher gives."""

    OK = RESULT_OK
    ORDER_ID_EXIST = ERR_ORDER_ID_EXIST
    ORDER_NOT_FOUND = ERR_ORDER_NOT_FOUND
    INVALID_REQUEST = ERR_INVALID_REQUEST
    FULL = ERR_FULL
    BAD_TICK = ERR_BAD_TICK
    BAD_QTY = ERR_BAD_QTY
    UNSORTED = ERR_UNSORTED
    NOT_OWNER = ERR_NOT_OWNER
    PHASE = ERR_PHASE
    PRICE_BAND = ERR_PRICE_BAND
    EXPIRED = ERR_EXPIRED
    REDUCE_ONLY = ERR_REDUCE_ONLY
    POST_ONLY = ERR_POST_ONLY
    FOK = ERR_FOK
    NO_LIQUIDITY = ERR_NO_LIQUIDITY
