"""An asset of a polled backtest as plain data: what its builder fills in and the backtest is made of."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.backtest.data import Recording, load_events
from engine.core.errors import DataError
from engine.core.types import event_dtype

Source = str | os.PathLike[str] | np.ndarray


@dataclass
class AssetSpec:
    """An asset as it was described; models are named as in ``AssetConfig``: the same functions make them."""

    tick_size: float = 0.0
    lot_size: float = 0.0
    contract_size: float = 1.0
    asset: str = "linear"
    fee_model: str | type = "trading_value_fee_model"
    fee_params: dict[str, Any] = field(default_factory=dict)
    maker_fee: float = 0.0
    taker_fee: float = 0.0
    buyer_fee: float = 0.0
    seller_fee: float = 0.0
    queue_model: str | type = "log_prob_queue_model2"
    queue_params: dict[str, Any] = field(default_factory=dict)
    queue_n: float = 3.0
    exchange: str = "no_partial_fill_exchange"
    latency_model: str | type = "constant_order_latency"
    latency_params: dict[str, Any] = field(default_factory=dict)
    latencies: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Of new orders, modifications, cancels and answers; one of a request that is negative refuses it."""
    latency_rows: np.ndarray | None = None
    feed_offset: int = 0
    funding: np.ndarray | None = None
    trades_kept: bool = False
    roi: tuple[float, float] = (0.0, 0.0)
    data: list[Source] = field(default_factory=list)
    snapshot: Source | None = None

    @property
    def roi_ticks(self) -> tuple[int, int]:
        """The range of interest in ticks, both ends in it."""
        return tuple(math.floor(abs(px) / self.tick_size + 0.5) * (1 if px >= 0 else -1) for px in self.roi)

    def chunks(self) -> Iterator[tuple[np.ndarray, str | None, int]]:
        """The recordings, read as they are needed: events, name, and the number of the first row."""
        for number, recording in enumerate(self.data):
            name = f"data[{number}]" if isinstance(recording, np.ndarray) else os.fspath(recording)
            for events, file, first in Recording(recording, name).chunks():
                self._check_offset(events, file, first)
                yield events, file, first

    def _check_offset(self, events: np.ndarray, name: str | None, first: int) -> None:
        """What reaches us at the moment it happens, or before, cannot be."""
        if self.feed_offset >= 0:
            return
        early = np.flatnonzero(events["local_ts"] + self.feed_offset <= events["exch_ts"])
        if len(early):
            text = f"not after exch_ts with a latency offset of {self.feed_offset} ns"
            value = events["local_ts"][early[0]]
            raise DataError(f"{value}: {text}", file=name, row=first + int(early[0]), field="local_ts")

    def snapshot_rows(self) -> np.ndarray:
        """The levels both books begin with, ``event_dtype`` of shape ``(n,)``."""
        if self.snapshot is None:
            return np.empty(0, event_dtype)
        return load_events(
            self.snapshot,
            name="initial_snapshot" if isinstance(self.snapshot, np.ndarray) else None,
            sizes=(self.tick_size, self.lot_size),
        )
