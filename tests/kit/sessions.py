"""Sessions for tests of the comparison: real ones whose causes are known, and made-up ones of any kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.runner import BacktestRunner
from engine.core.types import OrdType, Side, Status
from engine.feeds.simulated import SimulatedMarket
from engine.reports.session import (
    Account,
    InstrumentMeta,
    Session,
    fill_dtype,
    of_backtest,
    order_dtype,
)
from engine.strategy.base import Strategy


class Clockwork(Strategy):
    """Sends the same orders whatever becomes of them: now and then cancels all and quotes the best."""

    interval_ns: int = 50_000_000
    taking: bool = False

    def on_start(self, ctx):
        ctx.set_timer(self.interval_ns)

    def on_timer(self, ctx, now):
        book = ctx.book()
        bid, ask = book.best_bid_tick, book.best_ask_tick
        if bid is None or ask is None:
            return
        ctx.cancel_all()
        if self.taking:
            ctx.submit_ticks(None, Side.BUY, ask + 50, 2, OrdType.LIMIT)
            ctx.submit_ticks(None, Side.SELL, bid - 50, 2, OrdType.LIMIT)
        else:
            ctx.submit_ticks(None, Side.BUY, bid, 2)
            ctx.submit_ticks(None, Side.SELL, ask, 2)


def market(seconds: float = 20.0) -> np.ndarray:
    """A simulated market."""
    return SimulatedMarket("BTCUSDT", seed=3).generate(seconds)


def session(events: np.ndarray, *, params: dict[str, Any] | None = None, **asset: Any) -> Session:
    """A backtest of the clockwork strategy.

    Args:
        events: The market.
        params: Of the strategy.
        **asset: Fields of ``AssetConfig`` that differ.
    """
    chosen = {
        "symbol": "BTCUSDT",
        "tick_size": 0.1,
        "lot_size": 0.001,
        "maker_fee": -0.00005,
        "taker_fee": 0.0007,
    }
    config = BacktestConfig(
        assets=[AssetConfig(**(chosen | asset))],
        strategies=[StrategyConfig(id="c", cls="tests.kit.sessions:Clockwork", params=params or {})],
    )
    result = BacktestRunner().run(config, {"BTCUSDT": events})
    return of_backtest(result, config)


def books(one: Session) -> Session:
    """The session with accounts as its fills make them, for one that has been changed by hand."""
    accounts = []
    for account in one.accounts:
        at = [i.symbol for i in one.instruments].index(account.symbol)
        instrument = one.instruments[at]
        slot = one.strategies.index(account.strategy)
        fills = one.fills[(one.fills["strategy"] == slot) & (one.fills["instrument"] == at)]
        signed = fills["qty"] * fills["side"].astype(np.int64)
        size = instrument.contract_size * instrument.lot_size
        position, fee = int(signed.sum()), float(fills["fee"].sum())
        if instrument.asset == "linear":
            gained = size * float((signed * (0.0 - fills["px"])).sum())
            gained += size * position * instrument.mid if position else 0.0
            value = size * float((fills["qty"] * fills["px"]).sum())
        else:
            gained = size * float((signed / fills["px"]).sum())
            gained -= size * position / instrument.mid if position else 0.0
            value = size * float((fills["qty"] / fills["px"]).sum())
        accounts.append(
            replace(
                account,
                position=position * instrument.lot_size,
                fee=fee,
                equity=gained - fee - account.funding,
                trading_value=value,
            )
        )
    return replace(one, accounts=tuple(accounts))


def made(
    orders: list[tuple], fills: list[tuple], *, kind: str = "paper", mid: float = 100.0, asset: str = "linear"
) -> Session:
    """A session made by hand, of strategy ``s`` in ``X`` with ticks of 0.5 and lots of 0.1.

        Args:
    def resting(
        order_id: int, sent: int, arrived: int, side: int = 1, tick: int = 200, qty: int = 5
    ) -> list[tuple]:
                the time of the order's first one.
            fills: ``(ts, order_id, side, tick, qty, fee)``.
            kind: Of the session.
            mid: The last middle price.
            asset: ``linear`` or ``inverse``.
    """
    updates, executions = np.zeros(len(orders), order_dtype), np.zeros(len(fills), fill_dtype)
    sent: dict[int, int] = {}
    for row, (ts, order_id, side, tick, qty, status, req, exch_ts, prev) in zip(updates, orders, strict=True):
        row["ts"], row["order_id"], row["side"], row["price_tick"], row["qty"] = ts, order_id, side, tick, qty
        row["status"], row["req"], row["exch_ts"], row["prev_status"] = status, req, exch_ts, prev
        row["local_ts"] = sent.setdefault(order_id, ts)
    for row, (ts, order_id, side, tick, qty, fee) in zip(executions, fills, strict=True):
        row["exch_ts"], row["local_ts"], row["order_id"], row["side"] = ts, ts + 1, order_id, side
        row["price_tick"], row["px"], row["qty"], row["fee"] = tick, tick * 0.5, qty, fee
    return books(
        Session(
            kind,
            executions,
            updates,
            ("s",),
            (InstrumentMeta("X", 0.5, 0.1, 1.0, asset, mid),),
            (Account("s", "X", 0.0, 0.0, 0.0, 0.0, 0.0),),
            0,
            1_000_000,
            "hash",
            1,
        )
    )


def resting(
    order_id: int, sent: int, arrived: int, side: int = 1, tick: int = 200, qty: int = 5
) -> list[tuple]:
    """Updates of an order that was sent and came to rest at the venue."""
    return [
        (sent, order_id, side, tick, qty, Status.NONE, Status.NEW, 0, Status.NONE),
        (arrived + 1, order_id, side, tick, qty, Status.NEW, Status.NONE, arrived, Status.NONE),
    ]


def cancelled(order_id: int, at: int, side: int = 1, tick: int = 200, qty: int = 5) -> list[tuple]:
    """The update of an order whose cancel has reached the venue."""
    return [(at + 1, order_id, side, tick, qty, Status.CANCELED, Status.NONE, at, Status.NEW)]


def filled(order_id: int, at: int, side: int = 1, tick: int = 200, qty: int = 5) -> list[tuple]:
    """The update of an order that was filled."""
    return [(at + 1, order_id, side, tick, qty, Status.FILLED, Status.NONE, at, Status.NEW)]
