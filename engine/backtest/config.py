"""What a backtest is made of: assets with their models, strategies, and the run's own settings.

The daemon reuses :class:`AssetConfig` (without ``data``) and :class:`StrategyConfig` for its TOML.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from engine.core import settings
from engine.core.errors import ConfigError
from engine.risk.limits import RiskConfig, check_scope

Positive = Annotated[float, Meta(gt=0)]
Nanoseconds = Annotated[int, Meta(ge=0, le=3_600_000_000_000)]
Shift = Annotated[int, Meta(ge=-3_600_000_000_000, le=3_600_000_000_000)]
Fee = Annotated[float, Meta(ge=-1e9, le=1e9)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]

MODELS = {
    "latency": ("constant_order_latency", "intp_order_latency"),
    "queue": (
        "risk_adverse_queue_model",
        "log_prob_queue_model",
        "log_prob_queue_model2",
        "power_prob_queue_model",
        "power_prob_queue_model2",
        "power_prob_queue_model3",
        "l3_fifo_queue_model",
    ),
    "fee": ("trading_value_fee_model", "trading_qty_fee_model", "flat_per_trade_fee_model"),
}
"""The built-in models by what they model; anything else is a class of one's own."""

MODEL_KEYS = {
    "latency": ("modify_latency_ns", "cancel_latency_ns"),
    "fee": ("maker_fee", "taker_fee", "buyer_fee", "seller_fee"),
}
"""Keys that only built-in models look at."""

L3_FIFO = "l3_fifo_queue_model"
"""The queue model whose recordings are market by order."""

FINITE = (
    "tick_size",
    "lot_size",
    "contract_size",
    "maker_fee",
    "taker_fee",
    "buyer_fee",
    "seller_fee",
    "queue_n",
)
"""Numbers of an asset that a range alone does not keep finite."""


class AssetConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One instrument and how its venue is modelled; the models' names are hftbacktest's.

    In place of a latency, queue or fee model's name, a class of one's own may be named, as a strategy is:
    ``package.module:Class`` or ``path/to/file.py:Class``. Its parameters are in ``..._params``, and keys of
    built-in models say nothing then; only the constant latencies still bound how long a run goes on after
    its last row.

    Attributes:
        symbol: What strategies call it.
        tick_size: The price step.
        lot_size: The quantity step.
        contract_size: Units of the underlying in one contract.
        asset: ``linear`` (settled in the quote) or ``inverse`` (settled in the base).
        data: Recordings in time order, for backtests: ``.npz``, ``.npy`` or raw captures.
        maker_fee: Fee of resting orders, in what ``fee_model`` counts; negative is a rebate.
        taker_fee: The same for orders that take liquidity.
        buyer_fee: On top of either, the fraction of the value that a buyer pays, such as a stamp duty.
        seller_fee: The same for a seller.
        fee_model: What ``maker_fee`` and ``taker_fee`` are: a fraction of the value, money a unit of
            quantity, or money a fill.
        fee_params: Parameters of a fee model that is not built in.
        latency_model: How long requests and answers travel: always the same, or as recorded.
        latency_params: Parameters of a latency model that is not built in.
        entry_latency_ns: From sending a new order to its arrival at the venue.
        modify_latency_ns: The same of a modification; as of a new order by default.
        cancel_latency_ns: The same of a cancel; as of a new order by default.
        response_latency_ns: From the venue's answer, or a fill, to the strategy.
        funding: Payments of a perpetual, for backtests: ``[ts, rate]`` or ``[ts, rate, mark_price]`` each,
            times in nanoseconds; without a mark price the mid price values the position.
        funding_data: The same from files in time order, ``.npz`` or ``.npy``, in place of ``funding``.
        order_latency_data: For ``intp_order_latency``, recordings of order latencies in time order, ``.npz``
            or ``.npy`` with hftbacktest's ``req_ts``, ``exch_ts``, ``resp_ts``.
        order_latency_offset: Added to each recorded way there, and to each way back.
        latency_offset: Added to every local time of ``data``: how much farther away than the recorder we are.
        queue_model: How the place in the queue is estimated; with ``l3_fifo_queue_model`` it is
            known, and the recordings are to be market by order.
        queue_params: Parameters of a queue model that is not built in.
        queue_n: The exponent of the power models.
        exchange: How orders fill: whole or not at all, or in parts too.
        liquidity_consumption: Whether what own orders take of a level is gone for those that come after,
            until the market gives it back; with ``partial_fill_exchange`` only.
    """

    symbol: Name
    tick_size: Positive
    lot_size: Positive
    contract_size: Positive = 1.0
    asset: Literal["linear", "inverse"] = "linear"
    data: list[str] = []
    maker_fee: Fee = 0.0
    taker_fee: Fee = 0.0
    buyer_fee: Annotated[float, Meta(ge=-1, le=1)] = 0.0
    seller_fee: Annotated[float, Meta(ge=-1, le=1)] = 0.0
    fee_model: str = "trading_value_fee_model"
    fee_params: dict[str, Any] = {}
    latency_model: str = "constant_order_latency"
    latency_params: dict[str, Any] = {}
    entry_latency_ns: Nanoseconds = 1_000_000
    modify_latency_ns: Nanoseconds | None = None
    cancel_latency_ns: Nanoseconds | None = None
    response_latency_ns: Nanoseconds = 1_000_000
    funding: list[list[int | float]] = []
    funding_data: list[str] = []
    order_latency_data: list[str] = []
    order_latency_offset: Shift = 0
    latency_offset: Shift = 0
    queue_model: str = "risk_adverse_queue_model"
    queue_params: dict[str, Any] = {}
    queue_n: Annotated[float, Meta(gt=0, le=100)] = 3.0
    exchange: Literal["no_partial_fill_exchange", "partial_fill_exchange"] = "no_partial_fill_exchange"
    liquidity_consumption: bool = False


class StrategyConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, rename={"cls": "class"}):
    """One strategy of a run.

    Attributes:
        id: Its name in fills, logs and commands; unique.
        cls: ``package.module:Class`` or ``path/to/file.py:Class``; the key is ``class``.
        symbols: The assets it trades; empty means all.
        params: Values for its annotated attributes.
        limits: Values for its risk limits.
    """

    id: Name
    cls: Annotated[str, Meta(min_length=1)]
    symbols: list[str] = []
    params: dict[str, Any] = {}
    limits: dict[str, Any] = {}


class BacktestConfig(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A whole backtest.

    Attributes:
        assets: At least one.
        strategies: At least one.
        seed: What strategies read as ``ctx.seed``; part of the result.
        risk: Limits over all strategies: of everything, and by instrument.
        max_orders: Live orders the kernel and each venue model have room for.
        equity_sample_ns: Interval of the equity samples; 0 takes none.
    """

    assets: Annotated[list[AssetConfig], Meta(min_length=1, max_length=4096)]
    strategies: Annotated[list[StrategyConfig], Meta(min_length=1, max_length=1024)]
    risk: RiskConfig = RiskConfig()
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    max_orders: Annotated[int, Meta(ge=1, le=1 << 20)] = 4096
    equity_sample_ns: Annotated[int, Meta(ge=0, lt=2**62)] = 0


def check_assets(assets: list[AssetConfig], source: str, key: str = "assets") -> None:
    """Checks what single fields cannot say about assets.

    Args:
        assets: What was read.
        source: The file, for messages.
        key: The name of the list in the file.

    Raises:
        ConfigError: A symbol comes twice, a number is not finite, a fee is more than the value, there is no
            such model, models do not go together, or a key belongs to another model.
    """
    seen: set[str] = set()
    for index, asset in enumerate(assets):
        where = f"{source}: $.{key}[{index}]"
        if asset.symbol in seen:
            raise ConfigError(f"{where}.symbol: {asset.symbol!r} is there twice")
        seen.add(asset.symbol)
        _check_models(asset, where)
        for name in FINITE:
            if not math.isfinite(getattr(asset, name)):
                raise ConfigError(f"{where}.{name}: must be finite")
        for name in ("maker_fee", "taker_fee"):
            if asset.fee_model == "trading_value_fee_model" and abs(getattr(asset, name)) > 1:
                raise ConfigError(f"{where}.{name}: a fraction of the value, from -1 to 1")
        if asset.queue_model == L3_FIFO and asset.exchange != "no_partial_fill_exchange":
            raise ConfigError(f"{where}.exchange: {L3_FIFO} goes with no_partial_fill_exchange only")
        if asset.liquidity_consumption and asset.exchange != "partial_fill_exchange":
            raise ConfigError(f"{where}.liquidity_consumption: goes with partial_fill_exchange only")
        if asset.funding and asset.funding_data:
            raise ConfigError(f"{where}.funding_data: goes in place of funding, not with it")
        _check_latencies(asset, where)


def _check_latencies(asset: AssetConfig, where: str) -> None:
    """Refuses keys that the latency model does not look at: whoever set them expects something of them."""
    if asset.latency_model == "intp_order_latency":
        if not asset.order_latency_data:
            raise ConfigError(f"{where}.order_latency_data: intp_order_latency needs a recording")
        for name in ("modify_latency_ns", "cancel_latency_ns"):
            if getattr(asset, name) is not None:
                raise ConfigError(f"{where}.{name}: intp_order_latency takes it from its recording")
        return
    for name in ("order_latency_data", "order_latency_offset"):
        if getattr(asset, name):
            raise ConfigError(f"{where}.{name}: is for intp_order_latency, not for {asset.latency_model}")


def _check_models(asset: AssetConfig, where: str) -> None:
    for role, names in MODELS.items():
        name = getattr(asset, f"{role}_model")
        if ":" not in name:
            if name not in names:
                raise ConfigError(
                    f"{where}.{role}_model: {name!r} is none of {', '.join(names)}, and no "
                    "package.module:Class or path/to/file.py:Class"
                )
            if getattr(asset, f"{role}_params"):
                raise ConfigError(f"{where}.{role}_params: {name} is built in and has none")
    for role, keys in MODEL_KEYS.items():
        name = getattr(asset, f"{role}_model")
        for key in keys if ":" in name else ():
            if getattr(asset, key):
                raise ConfigError(f"{where}.{key}: says nothing to {name}; give it in {role}_params")


def check_strategies(strategies: list[StrategyConfig], symbols: list[str], source: str) -> None:
    """Checks what single fields cannot say about strategies.

    Args:
        strategies: What was read.
        symbols: The symbols that exist.
        source: The file, for messages.

    Raises:
        ConfigError: An id comes twice or a symbol is unknown.
    """
    seen: set[str] = set()
    for index, strategy in enumerate(strategies):
        where = f"{source}: $.strategies[{index}]"
        if strategy.id in seen:
            raise ConfigError(f"{where}.id: {strategy.id!r} is there twice")
        seen.add(strategy.id)
        for symbol in strategy.symbols:
            if symbol not in symbols:
                raise ConfigError(f"{where}.symbols: {symbol!r} is none of {', '.join(symbols)}")


def check_risk(risk: RiskConfig, symbols: list[str], source: str) -> None:
    """Checks what single fields cannot say about limits over all strategies.

    Args:
        risk: What was read.
        symbols: The symbols that exist.
        source: The file, for messages.

    Raises:
        ConfigError: A limit does not go with the others or is not for its section, or a symbol is unknown.
    """
    try:
        where = "$.risk.limits"
        check_scope(risk.limits, everything=True)
        for symbol, limits in risk.instruments.items():
            where = f"$.risk.instruments.{symbol}"
            if symbol not in symbols:
                raise ConfigError(f"{symbol!r} is none of {', '.join(symbols)}")
            check_scope(limits, everything=False)
    except ConfigError as error:
        raise ConfigError(f"{source}: {where}: {error}") from None


def _plain(config: BacktestConfig, source: str) -> Any:
    try:
        return msgspec.to_builtins(config)
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{source}: {error}") from None


def check(config: BacktestConfig, source: str = "configuration") -> None:
    """Checks a whole backtest's configuration; one that was made in Python has had no check at all yet.

    Raises:
        ConfigError: A key's type or range, or as :func:`check_assets` and :func:`check_strategies`.
    """
    settings.convert(_plain(config, source), type(config), source=source)
    check_assets(config.assets, source)
    check_strategies(config.strategies, [asset.symbol for asset in config.assets], source)
    check_risk(config.risk, [asset.symbol for asset in config.assets], source)
