"""Holds a result of ours against hftbacktest's."""

from __future__ import annotations

import numpy as np
import pytest

STATE_NAMES = ("position", "balance", "fee", "num_trades", "trading_volume", "trading_value")


def fill_rows(result) -> list[tuple[int, ...]]:
    """Our fills as (venue time, side, price tick, lots, maker), in that order."""
    fills = result.fills
    columns = [fills[name].astype(np.int64) for name in ("exch_ts", "side", "price_tick", "qty", "is_maker")]
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def peer_rows(peer) -> list[tuple[int, ...]]:
    """hftbacktest's fills in the same form; of one instant its order is that of a hash map."""
    columns = [peer.fills[name].tolist() for name in ("exch_ts", "side", "price_tick", "lots", "maker")]
    return sorted(zip(*columns, strict=True))


def assert_same(result, peer) -> None:
    """Fails unless fills are the same one by one, and the state values to 1e-9."""
    ours, theirs = fill_rows(result), peer_rows(peer)
    for index, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
        assert mine == other, f"fill {index} of {len(ours)} and {len(theirs)}"
    assert len(ours) == len(theirs)
    totals = result.totals()
    for name in STATE_NAMES:
        assert totals[name] == pytest.approx(getattr(peer, name), rel=1e-9, abs=1e-9), name
    assert np.all(np.diff(result.fills["local_ts"]) >= 0)
