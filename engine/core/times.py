"""Times as people read them."""

from __future__ import annotations

import time


def shown(ts: int) -> str:
    """An engine time as people read it: UTC, to the nanosecond.

    Args:
        ts: Nanoseconds since the epoch.
    """
    seconds, rest = divmod(ts, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"
