"""Who of a level trades, where it is not first come, first served: pro-rata and size-weighted."""

from engine.matching.book cimport Matcher
from engine.matching.trading cimport Taker


# Lets the arriving order trade one round at the opposite best level, which it reaches. It has something to reduce
# if it is reduce-only. Every round trades, ends an order or sets the arriving one's reason.
cdef void share_round(Matcher* m, Taker* t) noexcept nogil
