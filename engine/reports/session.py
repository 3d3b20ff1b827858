"""A finished session as a file: what a backtest, a paper or a live session sent, was told and came to.

The file is an npz without pickles: ``fills``, ``orders`` (every update of every order) and ``meta``, JSON.
Its columns are named here and not the engine's structs, so that a file outlives the build that wrote it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.core.errors import DataError

FORMAT = 1

fill_dtype = np.dtype(
    [
        ("exch_ts", "<i8"),
        ("local_ts", "<i8"),
        ("order_id", "<u8"),
        ("client_order_id", "<u8"),
        ("price_tick", "<i8"),
        ("qty", "<i8"),
        ("px", "<f8"),
        ("fee", "<f8"),
        ("mid_price", "<f8"),
        ("instrument", "<u2"),
        ("strategy", "<u2"),
        ("side", "i1"),
        ("is_maker", "u1"),
        ("reason", "u1"),
    ]
)
"""A fill in the file; quantities in lots, times in nanoseconds."""

order_dtype = np.dtype(
    [
        ("ts", "<i8"),
        ("exch_ts", "<i8"),
        ("local_ts", "<i8"),
        ("order_id", "<u8"),
        ("client_order_id", "<u8"),
        ("price_tick", "<i8"),
        ("qty", "<i8"),
        ("leaves_qty", "<i8"),
        ("instrument", "<u2"),
        ("strategy", "<u2"),
        ("side", "i1"),
        ("order_type", "u1"),
        ("time_in_force", "u1"),
        ("status", "u1"),
        ("req", "u1"),
        ("reason", "u1"),
        ("prev_status", "u1"),
    ]
)
"""An update of an order in the file: ``ts`` is when the engine put it out, the rest is the order after it."""


sample_dtype = np.dtype(
    [
        ("ts", "<i8"),
        ("mid_price", "<f8"),
        ("position", "<f8"),
        ("balance", "<f8"),
        ("fee", "<f8"),
        ("funding", "<f8"),
        ("equity", "<f8"),
        ("instrument", "<u2"),
        ("strategy", "<u2"),
    ]
)
"""Where a strategy stood in an instrument at a moment, in quantity units and money."""

mid_dtype = np.dtype([("ts", "<i8"), ("mid", "<f8"), ("instrument", "<u2")])
"""The middle price that we saw at a moment."""


tick_dtype = np.dtype(
    [
        ("ts", "<i8"),
        ("took", "<i8"),
        ("order_id", "<u8"),
        ("instrument", "<u2"),
        ("strategy", "<u2"),
        ("req", "u1"),
    ]
)
"""A request that a tick led to: engine time of its sending, and nanoseconds from the tick's arrival to it."""


@dataclass(frozen=True, slots=True)
class InstrumentMeta:
    """An instrument of a session; ``mid`` is its last middle price, NaN without a market."""

    symbol: str
    tick_size: float
    lot_size: float
    contract_size: float
    asset: str
    mid: float


@dataclass(frozen=True, slots=True)
class Account:
    """Where a strategy ended in an instrument, by the engine's own books."""

    strategy: str
    symbol: str
    position: float
    fee: float
    funding: float
    equity: float
    trading_value: float


@dataclass(frozen=True)
class Session:
    """A finished session.

    Attributes:
        kind: ``backtest``, ``paper``, ``market`` or ``live``.
        fills: ``fill_dtype``, in the order in which the strategies learned of them.
        orders: ``order_dtype``, in the order of the updates.
        strategies: Names by slot number.
        instruments: By instrument number.
        accounts: Of each strategy in each of its instruments.
        first_ts: Engine time of the session's start.
        last_ts: Engine time of its end.
        config_hash: Of the configuration.
        seed: Of the configuration.
        samples: ``sample_dtype``, by time; empty where none were taken.
        mids: ``mid_dtype``, by instrument and time, at the moments that reports look at; may be empty.
        ticks: ``tick_dtype``; empty where no clock ran, as in a backtest.
    """

    kind: str
    fills: np.ndarray
    orders: np.ndarray
    strategies: tuple[str, ...]
    instruments: tuple[InstrumentMeta, ...]
    accounts: tuple[Account, ...]
    first_ts: int
    last_ts: int
    config_hash: str
    seed: int
    samples: np.ndarray = field(default_factory=lambda: np.empty(0, sample_dtype))
    mids: np.ndarray = field(default_factory=lambda: np.empty(0, mid_dtype))
    ticks: np.ndarray = field(default_factory=lambda: np.empty(0, tick_dtype))

    def only(self, strategies: Iterable[str]) -> Session:
        """The session as if no others had traded.

        Args:
            strategies: Names of those that stay.

        Raises:
            DataError: The session has none of that name.
        """
        names = list(strategies)
        for name in names:
            if name not in self.strategies:
                raise DataError(
                    f"no strategy {name!r} in the {self.kind} session, only {list(self.strategies)}"
                )
        slots = [slot for slot, name in enumerate(self.strategies) if name in names]
        return replace(
            self,
            fills=self.fills[np.isin(self.fills["strategy"], slots)],
            orders=self.orders[np.isin(self.orders["strategy"], slots)],
            samples=self.samples[np.isin(self.samples["strategy"], slots)],
            ticks=self.ticks[np.isin(self.ticks["strategy"], slots)],
            accounts=tuple(one for one in self.accounts if one.strategy in names),
        )

    def save(self, path: str | Path) -> None:
        """Writes the file, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        meta = {
            "format": FORMAT,
            **{
                name: getattr(self, name)
                for name in ("kind", "strategies", "first_ts", "last_ts", "config_hash", "seed")
            },
            "instruments": [_plain(asdict(one)) for one in self.instruments],
            "accounts": [_plain(asdict(one)) for one in self.accounts],
        }
        text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        target = Path(path)
        part = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with open(part, "wb") as file:
                np.savez(file, meta=text, **{name: getattr(self, name) for name in _ARRAYS})
            os.replace(part, target)
        finally:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()


_LATER = {"samples": sample_dtype, "mids": mid_dtype, "ticks": tick_dtype}
"""Files of earlier versions have none."""
_ARRAYS = {"fills": fill_dtype, "orders": order_dtype, **_LATER}


def collect(
    kind: str,
    *,
    fills: np.ndarray,
    orders: np.ndarray,
    strategies: Iterable[str],
    assets: Iterable[Any],
    mids: Iterable[float],
    states: Iterable[Any],
    first_ts: int,
    last_ts: int,
    config_hash: str,
    seed: int,
    samples: np.ndarray | None = None,
    ticks: np.ndarray | None = None,
) -> Session:
    """Makes a session of what an engine has left.

    Args:
        kind: See ``Session``.
        fills: The engine's fills.
        orders: Its order updates: ``ts``, ``order``, ``prev_status``.
        strategies: Names by slot.
        assets: Configuration of each instrument: symbol, sizes and ``asset``.
        mids: Last middle price of each.
        states: ``strategy``, ``symbol`` and ``values`` (the kernel's) of each account.
        first_ts: Start, in engine time.
        last_ts: End.
        config_hash: Of the configuration.
        seed: Of the configuration.
        samples: Equity samples, if any were taken.
        ticks: What requests took, where that was measured.
    """
    updates = np.zeros(len(orders), order_dtype)
    for name in order_dtype.names:
        updates[name] = orders[name] if name in ("ts", "prev_status") else orders["order"][name]
    executions = np.zeros(len(fills), fill_dtype)
    for name in fill_dtype.names:
        executions[name] = fills[name]
    names = ("position", "fee", "funding", "equity", "trading_value")
    return Session(
        kind=kind,
        fills=executions,
        orders=updates,
        strategies=tuple(strategies),
        instruments=tuple(
            InstrumentMeta(a.symbol, a.tick_size, a.lot_size, a.contract_size, str(a.asset), float(mid))
            for a, mid in zip(assets, mids, strict=True)
        ),
        accounts=tuple(
            Account(state.strategy, state.symbol, *(float(getattr(state.values, name)) for name in names))
            for state in states
        ),
        first_ts=int(first_ts),
        last_ts=int(last_ts),
        config_hash=config_hash,
        seed=seed,
        samples=_as(sample_dtype, samples),
        ticks=_as(tick_dtype, ticks),
    )


def _as(dtype: np.dtype, rows: np.ndarray | None) -> np.ndarray:
    """Rows with these columns alone; none of None."""
    made = np.zeros(0 if rows is None else len(rows), dtype)
    if rows is not None:
        for name in dtype.names or ():
            made[name] = rows[name]
    return made


def of_backtest(result: Any, config: Any) -> Session:
    """The session that a backtest was.

    Args:
        result: Its ``BacktestResult``.
        config: Its ``BacktestConfig``.
    """
    return collect(
        "backtest",
        fills=result.fills,
        orders=result.orders,
        strategies=result.strategies,
        assets=config.assets,
        mids=result.mids,
        states=result.states,
        first_ts=result.first_ts,
        last_ts=result.last_ts,
        config_hash=result.config_hash,
        seed=result.seed,
        samples=result.equity,
    )


def load(path: str | Path) -> Session:
    """Reads a session's file.

    Args:
        path: What ``Session.save`` wrote.

    Raises:
        DataError: It is missing, damaged, of another format, or no session; the file is named.
    """
    name = str(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {key: file[key] for key in ("fills", "orders", "meta")}
            found |= {key: file[key] for key in _LATER if key in file}
    except OSError as error:
        raise DataError(error.strerror or str(error), file=name) from None
    except KeyError as error:
        raise DataError(f"not the file of a session: {error.args[0]}", file=name) from None
    except (ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"not the file of a session, or damaged: {error}", file=name) from None
    try:
        meta = json.loads(found["meta"].tobytes())
        if meta["format"] != FORMAT:
            raise DataError(f"format {meta['format']}, and this build reads {FORMAT}", file=name)
        session = Session(
            kind=str(meta["kind"]),
            fills=found["fills"],
            orders=found["orders"],
            strategies=tuple(meta["strategies"]),
            instruments=tuple(InstrumentMeta(**_float(one)) for one in meta["instruments"]),
            accounts=tuple(Account(**_float(one)) for one in meta["accounts"]),
            first_ts=int(meta["first_ts"]),
            last_ts=int(meta["last_ts"]),
            config_hash=str(meta["config_hash"]),
            seed=int(meta["seed"]),
            **{key: found[key] for key in _LATER if key in found},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"damaged: {type(error).__name__} {error}", file=name) from None
    _check(session, name)
    return session


def _check(session: Session, name: str) -> None:
    """Refuses a file whose parts do not belong together."""
    for what, dtype in _ARRAYS.items():
        array = getattr(session, what)
        if array.dtype != dtype or array.ndim != 1:
            raise DataError(f"{what} have other columns than a session's", file=name)
        for column, count in (
            ("strategy", len(session.strategies)),
            ("instrument", len(session.instruments)),
        ):
            if column not in dtype.names:
                continue
            wrong = np.flatnonzero(array[column] >= count)
            if len(wrong):
                text = f"{column} {array[column][wrong[0]]} of {what} is not among {count}"
                raise DataError(text, file=name, row=int(wrong[0]), field=column)
    symbols = {one.symbol for one in session.instruments}
    for account in session.accounts:
        if account.strategy not in session.strategies or account.symbol not in symbols:
            raise DataError(f"an account of {account.strategy} in {account.symbol}", file=name)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: None stands for it."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in values.items()
    }


def _float(values: dict[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in values.items()}
