"""Scanner of raw Binance messages: lines of ``<local_ns> <json>`` to rows of ``event_dtype``.

One pass over the bytes, without the GIL and without copying: a scanner for flat objects knows the keys
that matter, reads integers and decimals in place and appends rows to one growing buffer. Key order does
not matter to it. Whatever it does not expect (white space, escapes, numbers of more than 53 bits, other
shapes) makes it drop the message's rows and hand the line to ``messages.decode``, which is plain Python,
slow and complete; so correctness never depends on the fast path, and every error is worded there.

Costs: about one nanosecond a byte; memory 64 bytes a row, the buffer grows by half (``realloc``).
The bad case is a capture whose JSON was written with spaces: every line takes the slow path, which is
about as fast as ``json.loads``.

Every scanning loop ends at a newline or at the NUL behind a ``bytes`` object, hence needs no end check.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memcmp, memcpy, memset, strncmp

from engine.core.types cimport (
    EV_BUY,
    EV_SELL,
    EVENT_DEPTH,
    EVENT_DEPTH_CLEAR,
    EVENT_DEPTH_SNAPSHOT,
    EVENT_TRADE,
    Event,
)


cdef struct Span:
    const char* p         # NULL when absent or not a string
    Py_ssize_t n

cdef struct Message:
    int kind
    bint has_data
    bint top_fields
    bint has_b
    bint has_a
    int m
    int64_t event_ms
    int64_t trade_ms
    int64_t first_id
    int64_t last_id
    int64_t prev_id
    int64_t snapshot_id
    int64_t exch_ts       # of a depth update or snapshot, even of one without levels
    Span p
    Span q
    Span i
    Span r
    Span x
    Span b
    Span b_qty
    Span a
    Span a_qty
    Span symbol

cdef double[23] POW10
cdef unsigned char[256] PLAIN     # 1 for printable ASCII but quote and backslash
cdef int _k
for _k in range(256):
    PLAIN[_k] = 32 <= _k <= 126 and _k != 34 and _k != 92
POW10[0] = 1.0
for _k in range(1, 23):
    POW10[_k] = POW10[_k - 1] * 10.0


# --- rows ----------------------------------------------------------------------------------------

cdef int _grow(Rows* rows, int64_t need) noexcept nogil:
    cdef int64_t capacity = rows.capacity + rows.capacity // 2 + 65536
    cdef Event* data
    if capacity < need:
        capacity = need
    data = <Event*>realloc(rows.data, <size_t>capacity * sizeof(Event))
    if data == NULL:
        return SCAN_NO_MEMORY
    rows.data = data
    rows.capacity = capacity
    return SCAN_OK


cdef int scan_push(Parser* s, uint64_t ev, int64_t exch_ts, double px, double qty) noexcept nogil:
    cdef Event* row
    if s.rows.n == s.rows.capacity and _grow(&s.rows, s.rows.n + 1) != SCAN_OK:
        return SCAN_NO_MEMORY
    row = &s.rows.data[s.rows.n]
    row.ev = ev
    row.exch_ts = exch_ts
    row.local_ts = s.local_ts
    row.px = px
    row.qty = qty
    row.order_id = 0
    row.ival = 0
    row.fval = 0.0
    s.rows.n += 1
    return SCAN_OK


# --- scalars -------------------------------------------------------------------------------------

cdef inline const char* _decimal(const char* p, double* out) noexcept nogil:
    """Reads ``digits[.digits]"`` exactly: a 53-bit integer over a power of ten rounds once, so correctly."""
    cdef uint64_t mantissa = 0
    cdef const char* start = p
    cdef const char* point
    cdef unsigned int c = <unsigned char>p[0] - 48
    cdef Py_ssize_t fraction = 0
    while c <= 9:
        mantissa = mantissa * 10 + c
        p += 1
        c = <unsigned char>p[0] - 48
    if p == start or p - start > 18:
        return NULL
    if p[0] == b".":
        p += 1
        point = p
        c = <unsigned char>p[0] - 48
        while c <= 9:
            mantissa = mantissa * 10 + c
            p += 1
            c = <unsigned char>p[0] - 48
        fraction = p - point
        # Nineteen digits cannot overflow 64 bits; more might, whatever the mantissa says then.
        if fraction == 0 or p - start > 19:
            return NULL
    if p[0] != b'"' or mantissa > (<uint64_t>1 << 53):
        return NULL
    out[0] = <double>mantissa / POW10[fraction]
    return p + 1


cdef inline const char* _integer(const char* p, int64_t* out) noexcept nogil:
    cdef int64_t value = 0
    cdef const char* start = p
    cdef unsigned int c = <unsigned char>p[0] - 48
    while c <= 9:
        value = value * 10 + c
        p += 1
        if p - start > 18:
            return NULL
        c = <unsigned char>p[0] - 48
    if p == start or (start[0] == b"0" and p - start > 1):
        return NULL
    if p[0] != b"," and p[0] != b"}":
        return NULL
    out[0] = value
    return p


cdef inline const char* _string(const char* p, Span* out) noexcept nogil:
    """Reads what follows an opening quote; only printable ASCII without escapes."""
    cdef const char* start = p
    while PLAIN[<unsigned char>p[0]]:
        p += 1
    if p[0] != b'"':
        return NULL
    out.p = start
    out.n = p - start
    return p + 1


cdef inline bint _is(Span text, const char* word, Py_ssize_t n) noexcept nogil:
    return text.n == n and memcmp(text.p, word, n) == 0


cdef const char* _skip(const char* p) noexcept nogil:
    """Skips a string, an integer, true, false or null."""
    cdef Span ignored
    cdef int64_t number
    if p[0] == b'"':
        return _string(p + 1, &ignored)
    if p[0] == b"t":
        return p + 4 if strncmp(p, b"true", 4) == 0 else NULL
    if p[0] == b"f":
        return p + 5 if strncmp(p, b"false", 5) == 0 else NULL
    if p[0] == b"n":
        return p + 4 if strncmp(p, b"null", 4) == 0 else NULL
    return _integer(p, &number)


cdef inline const char* _text(const char* p, Span* out) noexcept nogil:
    if p[0] == b'"':
        return _string(p + 1, out)
    out.p = NULL
    return _skip(p)


# --- objects -------------------------------------------------------------------------------------

cdef const char* _levels(Parser* s, const char* p, uint64_t ev, int* status) noexcept nogil:
    """Reads ``[["px","qty"],...]`` into rows whose kind and exchange time are set when they are known."""
    cdef double px, qty
    if p[1] == b"]":
        return p + 2
    while True:
        if p[1] != b"[" or p[2] != b'"':
            return NULL
        p = _decimal(p + 3, &px)
        if p == NULL or p[0] != b"," or p[1] != b'"':
            return NULL
        p = _decimal(p + 2, &qty)
        if p == NULL or p[0] != b"]":
            return NULL
        if scan_push(s, ev, 0, px, qty) != SCAN_OK:
            status[0] = SCAN_NO_MEMORY
            return NULL
        p += 1
        if p[0] == b"]":
            return p + 1
        if p[0] != b",":
            return NULL


cdef const char* _snapshot_side(Parser* s, const char* p, uint64_t side, int* status) noexcept nogil:
    """As ``_levels``, behind a row that clears the side down to the last level."""
    cdef int64_t first = s.rows.n
    if p[0] != b"[":
        return NULL
    if scan_push(s, side | EVENT_DEPTH_CLEAR, 0, 0.0, 0.0) != SCAN_OK:
        status[0] = SCAN_NO_MEMORY
        return NULL
    p = _levels(s, p, side | EVENT_DEPTH_SNAPSHOT, status)
    if s.rows.n == first + 1:
        s.rows.n = first
    else:
        s.rows.data[first].px = s.rows.data[s.rows.n - 1].px
    return p


cdef inline int _kind_of(Span e) noexcept nogil:
    if _is(e, b"bookTicker", 10):
        return MSG_BOOK_TICKER
    if _is(e, b"trade", 5):
        return MSG_TRADE
    if _is(e, b"depthUpdate", 11):
        return MSG_DEPTH
    if _is(e, b"markPriceUpdate", 15):
        return MSG_MARK_PRICE
    return MSG_OTHER


cdef const char* _letter(Parser* s, Message* m, char key, const char* p, int* status) noexcept nogil:
    """Reads the value of a key of one letter."""
    cdef Span text
    if key == b"e":
        p = _text(p, &text)
        m.kind = _kind_of(text) if p != NULL and text.p != NULL else MSG_OTHER
        return p
    if key == b"E":
        return _integer(p, &m.event_ms)
    if key == b"T":
        return _integer(p, &m.trade_ms)
    if key == b"U":
        return _integer(p, &m.first_id)
    if key == b"u":
        return _integer(p, &m.last_id)
    if key == b"s":
        return _text(p, &m.symbol)
    if key == b"p":
        return _text(p, &m.p)
    if key == b"q":
        return _text(p, &m.q)
    if key == b"X":
        return _text(p, &m.x)
    if key == b"i":
        return _text(p, &m.i)
    if key == b"r":
        return _text(p, &m.r)
    if key == b"B":
        return _text(p, &m.b_qty)
    if key == b"A":
        return _text(p, &m.a_qty)
    if key == b"m":
        m.m = 1 if p[0] == b"t" else 0 if p[0] == b"f" else -1
        return _skip(p)
    if key == b"b" or key == b"a":
        if p[0] != b"[":
            return _text(p, &m.b if key == b"b" else &m.a)
        # Bids come before asks in the result; the other order in the message is the slow path's.
        if m.has_a or (key == b"b" and m.has_b):
            return NULL
        if key == b"b":
            m.has_b = True
            return _levels(s, p, EVENT_DEPTH | EV_BUY, status)
        m.has_a = True
        return _levels(s, p, EVENT_DEPTH | EV_SELL, status)
    return _skip(p)


cdef const char* _word(Parser* s, Message* m, Span key, const char* p, int* status) noexcept nogil:
    """Reads the value of a longer key."""
    if _is(key, b"pu", 2):
        return _integer(p, &m.prev_id)
    if _is(key, b"lastUpdateId", 12):
        return _integer(p, &m.snapshot_id)
    if _is(key, b"symbol", 6):
        return _text(p, &m.symbol)
    if _is(key, b"bids", 4):
        if m.has_a or m.has_b:
            return NULL
        m.has_b = True
        m.kind = MSG_SNAPSHOT if m.kind == MSG_NONE else MSG_OTHER
        return _snapshot_side(s, p, EV_BUY, status)
    if _is(key, b"asks", 4):
        if m.has_a or not m.has_b:
            return NULL
        m.has_a = True
        return _snapshot_side(s, p, EV_SELL, status)
    return _skip(p)


cdef const char* _object(Parser* s, Message* m, const char* p, bint nested, int* status) noexcept nogil:
    """Reads an object from its opening brace; NULL when something in it is unusual."""
    cdef Span key
    while True:
        if p[1] != b'"':
            return NULL
        p = _string(p + 2, &key)
        if p == NULL or p[0] != b":":
            return NULL
        p += 1
        if key.n == 1:
            m.top_fields |= not nested
            p = _letter(s, m, key.p[0], p, status)
        elif not nested and _is(key, b"data", 4):
            if p[0] != b"{" or m.has_data:
                return NULL
            m.has_data = True
            p = _object(s, m, p, True, status)
        elif not nested and _is(key, b"stream", 6):
            p = _skip(p)
        else:
            m.top_fields |= not nested
            p = _word(s, m, key, p, status)
        if p == NULL:
            return NULL
        if p[0] == b"}":
            return p + 1
        if p[0] != b",":
            return NULL


# --- messages ------------------------------------------------------------------------------------

cdef inline bint _is_ms(int64_t ms) noexcept nogil:
    return <int64_t>1_000_000_000_000 <= ms < <int64_t>10_000_000_000_000


cdef inline int _price_row(Parser* s, uint64_t ev, int64_t exch_ts, Span px, Span qty) noexcept nogil:
    cdef double price, quantity = 0.0
    if px.p == NULL or _decimal(px.p, &price) == NULL:
        return SCAN_UNUSUAL
    if qty.p != NULL and _decimal(qty.p, &quantity) == NULL:
        return SCAN_UNUSUAL
    return scan_push(s, ev, exch_ts, price, quantity)


cdef int _trade(Parser* s, Message* m) noexcept nogil:
    cdef uint64_t side
    if not _is_ms(m.trade_ms) or m.p.p == NULL or m.q.p == NULL or m.m < 0:
        return SCAN_UNUSUAL
    if m.x.p != NULL and not _is(m.x, b"MARKET", 6):
        return SCAN_OK
    side = EV_SELL if m.m else EV_BUY
    return _price_row(s, EVENT_TRADE | side, m.trade_ms * 1_000_000, m.p, m.q)


cdef int _mark_price(Parser* s, Message* m) noexcept nogil:
    cdef int status
    cdef int64_t exch_ts = m.trade_ms * 1_000_000
    cdef Span none
    none.p = NULL
    if not s.opt & OPT_MARK:
        return SCAN_OK
    if not _is_ms(m.trade_ms):
        return SCAN_UNUSUAL
    status = _price_row(s, ROW_INDEX_PRICE, exch_ts, m.i, none)
    if status == SCAN_OK:
        status = _price_row(s, ROW_MARK_PRICE, exch_ts, m.p, none)
    if status == SCAN_OK:
        status = _price_row(s, ROW_FUNDING_RATE, exch_ts, m.r, none)
    return status


cdef int _book_ticker(Parser* s, Message* m) noexcept nogil:
    cdef int status
    if not s.opt & OPT_TICKER:
        return SCAN_OK
    # Spot's has no time of its own: the slow path gives it one.
    if not _is_ms(m.trade_ms) or m.b_qty.p == NULL or m.a_qty.p == NULL:
        return SCAN_UNUSUAL
    status = _price_row(s, ROW_BEST_BID, m.trade_ms * 1_000_000, m.b, m.b_qty)
    if status == SCAN_OK:
        status = _price_row(s, ROW_BEST_ASK, m.trade_ms * 1_000_000, m.a, m.a_qty)
    return status


cdef int _book(Parser* s, Message* m, int64_t first) noexcept nogil:
    """Sets the exchange time of the rows of a depth update or a snapshot."""
    cdef int64_t i, exch_ts
    cdef int64_t ms = m.trade_ms
    if not m.has_b or not m.has_a:
        return SCAN_UNUSUAL
    if m.kind == MSG_DEPTH and ms < 0:
        ms = m.event_ms
    if not _is_ms(ms) or (m.kind == MSG_DEPTH and (m.first_id < 0 or m.last_id < 0)):
        return SCAN_UNUSUAL
    exch_ts = m.exch_ts = ms * 1_000_000
    for i in range(first, s.rows.n):
        s.rows.data[i].exch_ts = exch_ts
    return SCAN_OK


cdef int _symbol(Parser* s, Span symbol) noexcept nogil:
    if symbol.p == NULL:
        return SCAN_OK
    if s.symbol_n == symbol.n and memcmp(s.symbol, symbol.p, symbol.n) == 0:
        return SCAN_OK
    # The first symbol is remembered by the slow path, which also refuses a second one.
    return SCAN_UNUSUAL


cdef int scan_line(Parser* s, const char** cursor, const char* end, Mark* mark) noexcept nogil:
    """Parses one line; on anything but SCAN_OK no row of it stays and the cursor does not move."""
    cdef const char* p = cursor[0]
    cdef Message m
    cdef int status = SCAN_OK
    cdef int k
    cdef int64_t first = s.rows.n
    cdef int64_t local_ts = 0
    cdef unsigned int c
    for k in range(19):
        c = <unsigned char>p[k] - 48
        if c > 9:
            return SCAN_UNUSUAL
        local_ts = local_ts * 10 + c
    # Above 8e18 a nineteen-digit number may be more than 64 bits hold.
    if p[0] == b"0" or p[0] > b"8" or p[19] != b" " or p[20] != b"{":
        return SCAN_UNUSUAL
    s.local_ts = local_ts
    memset(&m, 0, sizeof(m))
    m.m = -1
    m.event_ms = m.trade_ms = m.first_id = m.last_id = m.prev_id = m.snapshot_id = m.exch_ts = -1
    p = _object(s, &m, p + 20, False, &status)
    if p == NULL or (p[0] != b"\n" and p != end) or (m.has_data and m.top_fields):
        status = status or SCAN_UNUSUAL
    elif m.kind == MSG_NONE and m.last_id >= 0 and m.b.p != NULL and m.a.p != NULL and m.b_qty.p != NULL:
        m.kind = MSG_BOOK_TICKER if m.a_qty.p != NULL else MSG_OTHER
    if status == SCAN_OK:
        status = _symbol(s, m.symbol)
    if status == SCAN_OK:
        status = _message(s, &m, first)
    if status != SCAN_OK:
        s.rows.n = first
        return status
    cursor[0] = p
    s.counts[m.kind] += 1
    mark.row, mark.rows, mark.kind = first, s.rows.n - first, m.kind
    mark.first_id, mark.prev_id = m.first_id, m.prev_id
    mark.last_id = m.snapshot_id if m.kind == MSG_SNAPSHOT else m.last_id
    mark.exch_ts = s.rows.data[first].exch_ts if s.rows.n > first else -1
    mark.timed = m.trade_ms >= 0
    s.clock = max(s.clock, mark.exch_ts, m.exch_ts)
    return SCAN_OK


cdef int _message(Parser* s, Message* m, int64_t first) noexcept nogil:
    if m.kind == MSG_DEPTH or m.kind == MSG_SNAPSHOT:
        return _book(s, m, first)
    # Levels in a message of another kind mean that it is none of these.
    if s.rows.n != first:
        return SCAN_UNUSUAL
    if m.kind == MSG_BOOK_TICKER:
        return _book_ticker(s, m)
    if m.kind == MSG_TRADE:
        return _trade(s, m)
    if m.kind == MSG_MARK_PRICE:
        return _mark_price(s, m)
    return SCAN_UNUSUAL


# --- spot's snapshots ----------------------------------------------------------------------------

cdef int64_t scan_snapshot_time(Parser* s, int64_t snapshot_id) noexcept nogil:
    """The exchange time of a snapshot without one: that of the last update which it includes."""
    cdef int64_t i
    cdef int64_t oldest = s.recent_n - RECENT if s.recent_n > RECENT else 0
    if s.recent_n == 0:
        return s.clock
    for i in range(s.recent_n - 1, oldest - 1, -1):
        if s.recent[i % RECENT].last_id <= snapshot_id:
            return s.recent[i % RECENT].exch_ts
    return s.recent[oldest % RECENT].exch_ts - 1


cdef int scan_replay_recent(Parser* s, int64_t snapshot_id) noexcept nogil:
    """Repeats, as received now, the updates that a client had to hold back until this snapshot came."""
    cdef int64_t i, k
    cdef Mark* mark
    cdef Event* row
    for i in range(s.recent_n - RECENT if s.recent_n > RECENT else 0, s.recent_n):
        mark = &s.recent[i % RECENT]
        if mark.last_id <= snapshot_id:
            continue
        for k in range(mark.row, mark.row + mark.rows):
            row = &s.rows.data[k]
            if scan_push(s, row.ev, row.exch_ts, row.px, row.qty) != SCAN_OK:
                return SCAN_NO_MEMORY
        s.replayed += mark.rows
    s.recent_n = 0
    return SCAN_OK


cdef void scan_finish(Parser* s, Mark* mark) noexcept nogil:
    """What follows every message: stale updates go, fresh ones are remembered, early rows get a time."""
    cdef int64_t i
    if mark.kind == MSG_DEPTH and not mark.timed:
        if mark.last_id <= s.snapshot_id:
            s.rows.n = mark.row
            mark.rows = 0
            s.stale += 1
        else:
            memcpy(&s.recent[s.recent_n % RECENT], mark, sizeof(Mark))
            s.recent_n += 1
    if s.untimed_rows > 0 and s.clock > 0:
        for i in range(s.untimed_rows):
            s.rows.data[i].exch_ts = s.clock
        s.untimed_rows = 0
