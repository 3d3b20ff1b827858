"""What a polled backtest is made of: assets and their models, by the names of hftbacktest's builder."""

from __future__ import annotations

import math
import operator
import os
import warnings
from typing import Any, Self

import numpy as np

from engine.backtest.files import read_array
from engine.backtest.funding_rates import funding_rows
from engine.backtest.hbt.spec import AssetSpec, Source
from engine.core.errors import ConfigError, DataError

VERSIONS = ("2.4",)
"""Versions of hftbacktest whose faults ``compat`` can repeat."""

MAX_ROI_TICKS = 1 << 26
MAX_TICK = 1 << 62
MAX_LATENCY_NS = 1 << 60


def _finite(name: str, value: float, *, above: float | None = None) -> float:
    value = float(value)
    if not math.isfinite(value) or (above is not None and not value > above):
        raise ConfigError(
            f"{name}: {value} is not a finite number{'' if above is None else f' above {above:g}'}"
        )
    return value


def _nanoseconds(name: str, value: int) -> int:
    value = operator.index(value)
    if abs(value) > MAX_LATENCY_NS:
        raise ConfigError(f"{name}: {value} ns is more than 2**60")
    return value


def _recording(name: str, value: Any) -> Source:
    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, str | os.PathLike):
        raise ConfigError(f"{name}: {type(value).__name__}, it has to be a path or an array of events")
    if not os.path.exists(value):
        raise DataError("no such file", file=os.fspath(value))
    return value


def _model(name: str, model: type | str) -> type | str:
    if not isinstance(model, type) and not (isinstance(model, str) and ":" in model):
        raise ConfigError(f"{name}: takes a class or the name of one, with its parameters, not {model!r}")
    return model


class BacktestAsset:
    """Describes one asset; every method sets one thing and returns the asset, so that calls can be chained.

    Without any: linear of contract size 1, no latency, ``log_prob_queue_model2``, no partial fills, no
    fees, no trades kept. Tick and lot size have to be set, and data.

    Every method raises ConfigError for a value that cannot be, DataError for a file that is not there.
    """

    def __init__(self) -> None:
        self._spec = AssetSpec()

    # --- data -------------------------------------------------------------------------------------------

    def data(self, data: Source | list[Source]) -> Self:
        """Appends recordings in order of time: npz or npy files, or arrays of ``event_dtype``."""
        for item in data if isinstance(data, list | tuple) else [data]:
            self._spec.data.append(_recording("data", item))
        return self

    def add_data(self, data: np.ndarray) -> Self:
        """Appends one array."""
        return self.data(data)

    def add_file(self, data: str) -> Self:
        """Appends one file."""
        return self.data(data)

    def initial_snapshot(self, data: Source) -> Self:
        """The levels that both books begin with: snapshot events, as a file or an array."""
        self._spec.snapshot = _recording("initial_snapshot", data)
        return self

    def latency_offset(self, latency_offset: int) -> Self:
        """Nanoseconds added to every row's way to us."""
        self._spec.latency_offset = _nanoseconds("latency_offset", latency_offset)
        return self

    def parallel_load(self, parallel_load: bool) -> Self:
        """Nothing: files are mapped, and read when they are needed."""
        return self

    def last_trades_capacity(self, capacity: int) -> Self:
        """Keeps market trades for ``last_trades`` if it is above 0; there is no limit to them."""
        if operator.index(capacity) < 0:
            raise ConfigError(f"last_trades_capacity: {capacity} is negative")
        self._spec.trades_kept = capacity > 0
        return self

    # --- the instrument ---------------------------------------------------------------------------------

    def tick_size(self, tick_size: float) -> Self:
        """The price step."""
        self._spec.tick_size = _finite("tick_size", tick_size, above=0.0)
        return self

    def lot_size(self, lot_size: float) -> Self:
        """The quantity step."""
        self._spec.lot_size = _finite("lot_size", lot_size, above=0.0)
        return self

    def linear_asset(self, contract_size: float) -> Self:
        """Settled in the quote."""
        self._spec.asset = "linear"
        self._spec.contract_size = _finite("contract_size", contract_size, above=0.0)
        return self

    def inverse_asset(self, contract_size: float) -> Self:
        """Settled in the base."""
        self._spec.asset = "inverse"
        self._spec.contract_size = _finite("contract_size", contract_size, above=0.0)
        return self

    def roi_lb(self, roi_lb: float) -> Self:
        """The lowest price of the depth's arrays, for ``ROIVectorMarketDepthBacktest``."""
        self._spec.roi = (_finite("roi_lb", roi_lb), self._spec.roi[1])
        return self

    def roi_ub(self, roi_ub: float) -> Self:
        """The highest price of the depth's arrays."""
        self._spec.roi = (self._spec.roi[0], _finite("roi_ub", roi_ub))
        return self

    def funding(self, rates: Source | list[tuple[float, ...]]) -> Self:
        """Funding of a perpetual: at each time a long position pays the rate of its value, a short gets it.

        hftbacktest has no such call. What has been paid is a backtest's ``funding_paid``, in no other number.

        Args:
            rates: ``(ts, rate)`` or ``(ts, rate, mark_price)`` each, times in nanoseconds: tuples, an array
                of two or three columns or with such fields, or a file of one. Without a mark price, or where
                it is NaN, the mid price of our book values the position.
        """
        name = "funding"
        if isinstance(rates, str | os.PathLike):
            name = os.fspath(_recording(name, rates))
            rates = read_array(name)
        self._spec.funding = funding_rows(rates, name)
        return self

    # --- latency ----------------------------------------------------------------------------------------

    def constant_order_latency(self, entry_latency: int, resp_latency: int) -> Self:
        """Nanoseconds of every request's way there, and of every answer's way back."""
        return self.order_latencies(entry_latency, entry_latency, entry_latency, resp_latency)

    def constant_latency(self, entry_latency: int, resp_latency: int) -> Self:
        """The old name of ``constant_order_latency``."""
        warnings.warn("use constant_order_latency", DeprecationWarning, stacklevel=2)
        return self.constant_order_latency(entry_latency, resp_latency)

    def order_latencies(self, entry: int, modify: int, cancel: int, response: int) -> Self:
        """Nanoseconds of each kind of request, and of answers; hftbacktest has no such call.

        A negative latency of a request refuses it, after that many nanoseconds.
        """
        named = {"entry": entry, "modify": modify, "cancel": cancel, "response": response}
        entry, modify, cancel, response = (_nanoseconds(f"{k} latency", v) for k, v in named.items())
        if response < 0:
            raise ConfigError(f"response latency: {response} ns is negative")
        self._spec.entry_latency_ns = entry
        self._spec.modify_latency_ns = modify
        self._spec.cancel_latency_ns = cancel
        self._spec.response_latency_ns = response
        self._spec.latency_model = "constant_order_latency"
        return self

    def intp_order_latency(self, data: Source | list[Source], latency_offset: int = 0) -> Self:
        """Interpolates between recorded order latencies.

        Args:
            data: Arrays or files (array ``data``) with the fields req_ts, exch_ts and resp_ts, in order.
            latency_offset: Nanoseconds added to either way.

        Their rows are looked at when the backtest is made.
        """
        parts = list(data) if isinstance(data, list | tuple) else [data]
        if not parts:
            raise ConfigError("intp_order_latency: no recordings")
        self._spec.order_latency_data = [_recording("intp_order_latency", item) for item in parts]
        self._spec.order_latency_offset = _nanoseconds("latency_offset", latency_offset)
        self._spec.latency_model = "intp_order_latency"
        return self

    def latency_model(self, model: type | str, **params: Any) -> Self:
        """A latency model of one's own: a subclass of ``engine.backtest.models.LatencyModel``, or in Cython.

        Args:
            model: The class, or its name as ``package.module:Class`` or ``path/to/file.py:Class``.
            **params: Its parameters; each backtest makes its own model with them.
        """
        self._spec.latency_model = _model("latency_model", model)
        self._spec.latency_params = params
        return self

    # --- queue and exchange -----------------------------------------------------------------------------

    def _queue(self, model: str, n: float = 3.0) -> Self:
        self._spec.queue_model = model
        self._spec.queue_n = _finite(f"{model}: n", n, above=0.0)
        return self

    def queue_model(self, model: type | str, **params: Any) -> Self:
        """A queue model of one's own, as ``latency_model``: a subclass of ``QueueModel``, or in Cython."""
        self._spec.queue_model = _model("queue_model", model)
        self._spec.queue_params = params
        return self

    def risk_adverse_queue_model(self) -> Self:
        """Only trades move an order forward."""
        return self._queue("risk_adverse_queue_model")

    def log_prob_queue_model(self) -> Self:
        """Cancels are in front or behind by the logarithms of what is there; see docs/models.md."""
        return self._queue("log_prob_queue_model")

    def log_prob_queue_model2(self) -> Self:
        """As ``log_prob_queue_model``, with the logarithm of both together below."""
        return self._queue("log_prob_queue_model2")

    def power_prob_queue_model(self, n: float) -> Self:
        """Cancels are in front or behind by powers of what is there."""
        return self._queue("power_prob_queue_model", n)

    def power_prob_queue_model2(self, n: float) -> Self:
        """As ``power_prob_queue_model``, with the power of both together below."""
        return self._queue("power_prob_queue_model2", n)

    def power_prob_queue_model3(self, n: float) -> Self:
        """As ``power_prob_queue_model2``, by what is in front."""
        return self._queue("power_prob_queue_model3", n)

    def l3_fifo_queue_model(self) -> Self:
        """Orders stand in the market's own queues: for recordings market by order, without partial fills."""
        return self._queue("l3_fifo_queue_model")

    def no_partial_fill_exchange(self) -> Self:
        """Orders fill whole."""
        self._spec.exchange = "no_partial_fill_exchange"
        return self

    def partial_fill_exchange(self) -> Self:
        """Orders fill by what trades and what levels hold."""
        self._spec.exchange = "partial_fill_exchange"
        return self

    def liquidity_consumption(self, consumed: bool = True) -> Self:
        """What own orders take of a level is gone for those that come after; see docs/models.md.

        For ``partial_fill_exchange``; hftbacktest has no such call.
        """
        if not isinstance(consumed, bool):
            raise ConfigError(f"liquidity_consumption: {consumed!r} is neither True nor False")
        self._spec.liquidity_consumption = consumed
        return self

    # --- fees -------------------------------------------------------------------------------------------

    def _fees(self, model: str, maker_fee: float, taker_fee: float) -> Self:
        self._spec.fee_model = model
        self._spec.maker_fee = _finite("maker_fee", maker_fee)
        self._spec.taker_fee = _finite("taker_fee", taker_fee)
        return self

    def fee_model(self, model: type | str, **params: Any) -> Self:
        """A fee model of one's own, as ``latency_model``: a subclass of ``FeeModel``, or in Cython."""
        self._spec.fee_model = _model("fee_model", model)
        self._spec.fee_params = params
        return self

    def trading_value_fee_model(self, maker_fee: float, taker_fee: float) -> Self:
        """Fractions of the value; negative are rebates."""
        return self._fees("trading_value_fee_model", maker_fee, taker_fee)

    def trading_qty_fee_model(self, maker_fee: float, taker_fee: float) -> Self:
        """Money a unit of quantity."""
        return self._fees("trading_qty_fee_model", maker_fee, taker_fee)

    def flat_per_trade_fee_model(self, maker_fee: float, taker_fee: float) -> Self:
        """Money a fill."""
        return self._fees("flat_per_trade_fee_model", maker_fee, taker_fee)

    def directional_fees(self, buyer_fee: float, seller_fee: float) -> Self:
        """On top of either, the fraction of the value that a buyer and a seller pay."""
        self._spec.buyer_fee = _finite("buyer_fee", buyer_fee)
        self._spec.seller_fee = _finite("seller_fee", seller_fee)
        return self

    def spec(self) -> AssetSpec:
        """What has been described so far; later calls do not change it."""
        spec = object.__new__(AssetSpec)
        vars(spec).update(vars(self._spec))
        spec.data = list(spec.data)
        return spec


def check_assets(assets: Any, compat: str | None, roi: bool) -> list[AssetSpec]:
    """Checks what single calls cannot say.

    Args:
        assets: A list of :class:`BacktestAsset`.
        compat: None, or one of ``VERSIONS``.
        roi: Whether the ranges of interest matter.

    Raises:
        ConfigError: No assets, something else among them, no tick or lot size, no data, or a range that is
            empty or too wide.
    """
    if compat is not None and not (isinstance(compat, str) and compat in VERSIONS):
        raise ConfigError(f"compat {compat!r} is none of {', '.join(VERSIONS)}")
    if not isinstance(assets, list | tuple) or not assets:
        raise ConfigError("a backtest needs a list of at least one BacktestAsset")
    specs = []
    for number, asset in enumerate(assets):
        if not isinstance(asset, BacktestAsset):
            kind = f"{type(asset).__module__}.{type(asset).__qualname__}"
            raise ConfigError(f"asset {number}: {kind} is no engine.backtest.hbt.BacktestAsset")
        spec = asset.spec()
        for name in ("tick_size", "lot_size"):
            if not getattr(spec, name) > 0:
                raise ConfigError(f"asset {number}: {name} has not been set")
        if not spec.data:
            raise ConfigError(f"asset {number}: no data")
        if spec.queue_model == "l3_fifo_queue_model" and spec.exchange != "no_partial_fill_exchange":
            raise ConfigError(f"asset {number}: l3_fifo_queue_model has no partial fills")
        if spec.queue_model == "l3_fifo_queue_model" and spec.snapshot is not None:
            raise ConfigError(f"asset {number}: a snapshot of levels has no orders for l3_fifo_queue_model")
        if spec.liquidity_consumption and spec.exchange != "partial_fill_exchange":
            raise ConfigError(f"asset {number}: liquidity_consumption goes with partial_fill_exchange only")
        if spec.liquidity_consumption and compat is not None:
            raise ConfigError(f"asset {number}: hftbacktest {compat} has no liquidity_consumption")
        if not roi:
            spec.roi = (0.0, 0.0)
        within = max(map(abs, spec.roi)) / spec.tick_size < MAX_TICK
        first, last = spec.roi_ticks if within else (0, -1)
        if not 0 <= last - first < MAX_ROI_TICKS:
            raise ConfigError(
                f"asset {number}: roi_lb {spec.roi[0]:g} to roi_ub {spec.roi[1]:g} is no range, or one "
                f"of more than {MAX_ROI_TICKS} ticks"
            )
        specs.append(spec)
    return specs
