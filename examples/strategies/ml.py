"""Machine learning: learns from the first part of a recording and trades the rest. Needs scikit-learn.

    python -m examples.strategies.ml      # on four minutes of the simulated market
    ringbook backtest --data market.npz --tick-size 0.1 --lot-size 0.001 \\
        --strategy examples/strategies/ml.py:Forecaster

Every ``interval_ns`` it writes down how book and trades look. After ``train_ns`` a linear regression learns
the move over the next ``horizon`` looks from those whose move is known by then, and only forecasts after it.
The simulated market hides little that could be learned: here it is the way that counts.
"""

from __future__ import annotations

from typing import Annotated

from engine.core.types import OrdType, Side, TimeInForce
from engine.strategy.base import Range, Strategy


class Forecaster(Strategy):
    """Holds ``order_qty`` for ``horizon`` looks in the direction of a forecast that is worth its costs."""

    interval_ns: Annotated[int, Range(ge=1, le=2**62 - 1, doc="time between two looks")] = 20_000_000
    train_ns: Annotated[int, Range(ge=1, doc="market time to learn from")] = 60_000_000_000
    horizon: Annotated[int, Range(ge=1, doc="looks ahead that are forecast")] = 5
    entry: Annotated[float, Range(ge=0, doc="ticks forecast that open a position")] = 3.0
    order_qty: Annotated[float, Range(ge=0, doc="quantity held, in whole lots")] = 0.01

    def on_start(self, ctx):
        # Here, so that a library that is missing (pip install 'ringbook[ml]') is missed at once.
        from sklearn.linear_model import LinearRegression

        self._model, self._first = LinearRegression(), None
        self._looks, self._mids, self._forecasts = [], [], []
        self._flow, self._side, self._left = 0.0, 0, 0
        self._learn_at = ctx.now + self.train_ns
        ctx.set_timer(self.interval_ns)

    def on_trade(self, ctx, trade):
        if trade.symbol == ctx.symbols[0] and trade.side is not None:
            self._flow += trade.qty * trade.side

    def on_timer(self, ctx, now):
        book = ctx.book()
        if book.best_bid_tick is None or book.best_ask_tick is None:
            return
        self._mids.append((book.best_bid_tick + book.best_ask_tick) / 2)
        self._looks.append(self._look(book))
        known = len(self._mids) - self.horizon  # the moves of later looks are still to come
        if self._first is None and now >= self._learn_at and known > 0:
            self._model.fit(self._looks[:known], self._moves(0, known))
            self._first = len(self._looks)
        elif self._first is not None:
            self._forecasts.append(float(self._model.predict(self._looks[-1:])[0]))
            self._trade(ctx, book, self._forecasts[-1])

    def _look(self, book):
        """What the model sees: imbalance at the best and over five levels, spread, trades, past moves."""
        bid, ask = book.best_bid_qty, book.best_ask_qty
        bids, asks = (sum(qty for _, qty in levels) for levels in (book.bids(5), book.asks(5)))
        moves = [self._mids[-1] - self._mids[-min(back, len(self._mids))] for back in (2, 4, 11, 51)]
        flow, self._flow = self._flow, 0.0
        spread = book.best_ask_tick - book.best_bid_tick
        return [(bid - ask) / (bid + ask), (bids - asks) / (bids + asks), spread, flow, *moves]

    def _moves(self, first, end):
        return [self._mids[i + self.horizon] - self._mids[i] for i in range(first, end)]

    def _trade(self, ctx, book, forecast):
        self._left -= 1
        if abs(forecast) >= self.entry:
            self._side, self._left = (1 if forecast > 0 else -1), self.horizon
        elif self._left <= 0:
            self._side = 0
        lots = round((self._side * self.order_qty - ctx.position()) / book.lot_size)
        if lots and ctx.trading and not ctx.orders():
            side, px = (Side.BUY, book.best_ask) if lots > 0 else (Side.SELL, book.best_bid)
            ctx.submit(None, side, px, abs(lots) * book.lot_size, OrdType.LIMIT, TimeInForce.IOC)

    def on_stop(self, ctx):
        if self._first is not None:
            moves = self._moves(self._first, len(self._mids) - self.horizon)
            pairs = zip(self._forecasts, moves, strict=False)  # the last moves are not known
            right = [f * move > 0 for f, move in pairs if abs(f) >= self.entry and move]
            ctx.log(f"learned from {self._first} looks; {sum(right)} of {len(right)} forecasts came true")


if __name__ == "__main__":
    from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
    from engine.backtest.runner import BacktestRunner
    from engine.feeds.simulated import SimulatedMarket

    asset = AssetConfig(symbol="BTCUSDT", tick_size=0.1, lot_size=0.001)
    strategy = StrategyConfig(id="ml", cls="examples.strategies.ml:Forecaster")
    config = BacktestConfig(assets=[asset], strategies=[strategy])
    market = SimulatedMarket("BTCUSDT").generate(240)
    result = BacktestRunner(on_error="raise").run(config, {"BTCUSDT": market})
    print(result.logs[-1][-1], result.totals(), sep="\n")
