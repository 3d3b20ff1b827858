"""An asset of a polled backtest as plain data: what its builder fills in and the backtest is made of."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.backtest.data import Chunks, Recording, asset_chunks, load_events
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
    liquidity_consumption: bool = False
    latency_model: str | type = "constant_order_latency"
    latency_params: dict[str, Any] = field(default_factory=dict)
    entry_latency_ns: int = 0
    modify_latency_ns: int | None = None
    cancel_latency_ns: int | None = None
    response_latency_ns: int = 0
    order_latency_data: list[Source] = field(default_factory=list)
    order_latency_offset: int = 0
    latency_offset: int = 0
    funding: np.ndarray | None = None
    funding_data: list[Source] = field(default_factory=list)
    trades_kept: bool = False
    roi: tuple[float, float] = (0.0, 0.0)
    data: list[Source] = field(default_factory=list)
    snapshot: Source | None = None

    @property
    def roi_ticks(self) -> tuple[int, int]:
        """The range of interest in ticks, both ends in it."""
        return tuple(math.floor(abs(px) / self.tick_size + 0.5) * (1 if px >= 0 else -1) for px in self.roi)

    def chunks(self) -> Chunks:
        """The recordings, read as they are needed; see ``asset_chunks``."""
        names = (
            f"data[{number}]" if isinstance(recording, np.ndarray) else os.fspath(recording)
            for number, recording in enumerate(self.data)
        )
        return asset_chunks(self, map(Recording, self.data, names))

    def snapshot_rows(self) -> np.ndarray:
        """The levels both books begin with, ``event_dtype`` of shape ``(n,)``."""
        if self.snapshot is None:
            return np.empty(0, event_dtype)
        return load_events(
            self.snapshot,
            name="initial_snapshot" if isinstance(self.snapshot, np.ndarray) else None,
            sizes=(self.tick_size, self.lot_size),
        )
