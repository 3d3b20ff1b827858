"""Result codes inside the core, in numbered ranges per layer; errors.py turns them into exceptions."""


cdef enum ResultCode:
    OK = 0
    END_OF_DATA = 1
    # 10-19: orders, hftbacktest's numbers
    ERR_ORDER_ID_EXIST = 10
    ERR_REQUEST_IN_PROCESS = 11
    ERR_ORDER_NOT_FOUND = 12
    ERR_INVALID_REQUEST = 13
    ERR_INVALID_STATUS = 14
    # 20-39: rings, pools and maps
    ERR_FULL = 20
    ERR_EMPTY = 21
    ERR_NO_MEMORY = 22
    ERR_CORRUPT = 23
    ERR_BAD_SIZE = 24
    ERR_NO_SPACE = 25
    ERR_JOURNAL_HALTED = 26
    ERR_IMAGE_CUT = 27
    ERR_IMAGE_OTHER = 28
    ERR_NO_IMAGE = 29
    # 40-59: books
    ERR_BAD_TICK = 40
    ERR_BAD_QTY = 41
    ERR_INVARIANT = 42
    # 60-79: data
    ERR_UNSORTED = 60
    ERR_BAD_EVENT = 61
    ERR_BAD_ROW = 62
    # 80-99: kernel and strategies
    ERR_STRATEGY_RAISED = 80
    ERR_UNKNOWN_INSTRUMENT = 81
    ERR_UNKNOWN_STRATEGY = 82
    ERR_OUTBOX_FULL = 83
    ERR_DENIED = 84
    # 100-109: the simulated venue
    ERR_MODEL = 100
    # 110-129: matching
    ERR_NOT_OWNER = 110
    ERR_PHASE = 111
    ERR_PRICE_BAND = 112
    ERR_EXPIRED = 113
    ERR_REDUCE_ONLY = 114
    ERR_POST_ONLY = 115
    ERR_FOK = 116
    ERR_NO_LIQUIDITY = 117
