"""What travels over the daemon's shared-memory rings: one 256-byte slot a record.

A slot is a 32-byte header and 224 bytes of payload, which ``header.kind`` says how to read. Longer
messages (parameters, log lines) are msgpack blobs cut into consecutive slots: all but the last carry
FLAG_MORE, and a producer publishes them together.

Rings of one engine, each single producer, single consumer:

=================  ==================  =======================================  =======================
ring               from, to            kinds                                    when it is full
=================  ==================  =======================================  =======================
``feed``           feed, engine        MARKET, FEED_STATUS                      the feed waits (replay)
``orders_in``      bridge, engine      ORDER_REQUEST, SIGNAL                    the bridge answers BUSY
``control_in``     bridge, engine      CONTROL                                  the bridge answers BUSY
``orders_out``     engine, bridge      ORDER, FILL, STRATEGY, some REPLY        new orders get BUSY
``control_out``    engine, bridge      REPLY to an operator's command           drops: the asker times out
``market_out``     engine, bridge      DEPTH, TRADE                             conflates, marked so
``telemetry_out``  engine, bridge      POSITION, STATUS, LOG                    drops and counts
=================  ==================  =======================================  =======================
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from engine.core.types cimport Event, Fill, Order


cdef enum:
    SLOT_SIZE = 256
    HEADER_SIZE = 32
    PAYLOAD_SIZE = 224
    DEPTH_LEVELS = 13
    NO_STRATEGY = 0xffff

cdef enum RecordKind:
    RECORD_MARKET = 1          # MarketRecord
    RECORD_FEED_STATUS = 2     # FeedStatusRecord
    RECORD_ORDER_REQUEST = 3   # OrderRecord; order.req says NEW, CANCELED or REPLACED
    RECORD_SIGNAL = 4          # blob {"name", "symbol", "value"}
    RECORD_CONTROL = 5         # blob {"request_id", "command", ...}: see runtime/commands
    RECORD_REPLY = 6           # blob {"request_id", "success", "message", "journal_seq", ...}
    RECORD_ORDER = 7           # OrderRecord
    RECORD_FILL = 8            # FillRecord
    RECORD_DEPTH = 9           # DepthRecord
    RECORD_TRADE = 10          # MarketRecord
    RECORD_POSITION = 11       # PositionRecord
    RECORD_STRATEGY = 12       # blob {"strategy_id", "state", "message", "params", "symbols", ...}
    RECORD_STATUS = 13         # StatusRecord
    RECORD_LOG = 14            # blob {"level", "source", "text"}

cdef enum RecordFlags:
    FLAG_MORE = 1              # the blob goes on in the next slot
    FLAG_LAST = 2              # MARKET: the last row of its feed message; DEPTH: the last of its batch
    FLAG_CONFLATED = 4         # DEPTH: several changes were merged since the last batch
    FLAG_SNAPSHOT = 8          # DEPTH: starts from an empty book
    FLAG_EXCH = 16             # MARKET: as the venue saw it, at exch_ts
    FLAG_LOCAL = 32            # MARKET: as we saw it, at local_ts

cdef struct RecordHeader:
    uint16_t kind
    uint16_t flags
    uint16_t instrument
    uint16_t strategy          # slot number, or NO_STRATEGY
    uint32_t length            # payload bytes in this slot
    uint32_t dropped           # records of this ring that were dropped just before this one
    uint64_t step              # engine step that wrote it; of a feed, when it received it (steady clock); 0 from the bridge
    int64_t ts                 # engine time

cdef struct MarketRecord:
    Event event

cdef struct OrderRecord:
    Order order
    double px                  # order.price_tick in price units
    double qty                 # in quantity units, as the next three
    double leaves_qty
    double cum_exec_qty
    double exec_qty
    double exec_px
    uint8_t prev_status
    uint8_t _pad[7]
    uint64_t journal_seq       # the journal's record that this follows from; 0 without a journal

cdef struct FillRecord:
    Fill fill
    double qty                 # in quantity units
    double position            # after it

cdef struct DepthLevel:
    double px
    double qty                 # 0 removes the level

cdef struct DepthRecord:
    uint16_t n_bids            # bids come first, then asks
    uint16_t n_asks
    uint32_t _pad
    int64_t exch_ts
    DepthLevel levels[DEPTH_LEVELS]

cdef struct PositionRecord:
    double position            # quantity units
    double avg_px              # NaN when flat
    double mid_px
    double realized_pnl        # before fees
    double unrealized_pnl
    double fee
    double balance             # hftbacktest's definition
    double equity
    double trading_volume
    double trading_value
    uint64_t num_trades
    uint32_t open_orders
    uint32_t _pad

cdef struct StatusRecord:
    uint8_t trading_state
    uint8_t feed_state         # 0 waiting, 1 running, 2 ended, 3 lost, 4 paused (a replay)
    uint8_t journal_state      # 0 off, 1 ok, 2 its disk is full, 3 halted
    uint8_t _pad[5]
    int64_t wall_ts            # when it was written, wall clock
    int64_t feed_wall_ts       # when the last market record was taken in, wall clock
    int64_t market_ts          # engine time of that record
    uint64_t events            # market events applied
    uint64_t orders            # order requests sent to the venue
    uint64_t fills
    uint64_t denied
    uint64_t conflated         # depth batches that were conflated
    uint64_t dropped           # telemetry records dropped
    double events_per_second
    double loop_ns             # mean time of a busy step
    uint64_t accepted_seq      # the journal's last record that survives a killed process
    uint64_t durable_seq       # its last record that survives a loss of power

cdef struct FeedStatusRecord:
    uint8_t state              # as StatusRecord.feed_state
    uint8_t _pad[7]
    uint64_t row               # rows sent so far
    uint64_t rows              # rows in all, 0 when unbounded

cdef union Payload:
    MarketRecord market
    OrderRecord order
    FillRecord fill
    DepthRecord depth
    PositionRecord position
    StatusRecord status
    FeedStatusRecord feed_status
    uint8_t blob[PAYLOAD_SIZE]

cdef struct Record:
    RecordHeader header
    Payload payload
