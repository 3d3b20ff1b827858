"""Features of a live market to a model in another process, signals back: this is the market's side.

    python ml_model.py &                        # the model: learns and answers
    python ml_features.py --symbol BTCUSDT --seconds 60

A look at book and trades every 20 ms of market time makes a row, every 10 rows a NumPy array that goes out
as one message. What comes back is the probability that the mid will be higher 10 looks later. At the end it
says how often that was right, what a coin that always falls on the more frequent side would have had, and
how long an answer took.
"""

import argparse
import json
import time

import numpy as np

from bridge import protocol as p
from bridge.client import connect

COLUMNS = ("batch", "mid", "imbalance", "spread", "flow", "move")
LOOK_NS = 20_000_000
ROWS, HORIZON = 10, 10


class Market:
    """Makes rows of what it hears, and judges forecasts by what came after."""

    def __init__(self, client, symbol: str) -> None:
        self.client, self.symbol = client, symbol
        self.rows, self.mids, self.forecasts = [], [], []
        self.flow, self.due, self.sent, self.took, self.hits = 0.0, 0, [], [], []
        client.on_message = self.hear
        client.subscribe(*(topic(symbol) for topic in (p.depth_topic, p.trade_topic, p.signal_topic)))

    def hear(self, topic: str, message: object) -> None:
        if type(message) is p.Trade:
            self.flow += message.qty if message.side == "buy" else -message.qty
        elif type(message) is p.Depth and message.ts >= self.due:
            self.due = message.ts + LOOK_NS
            self.look()
        elif type(message) is p.SignalUpdate and message.name.startswith("up:"):
            sent, looks = self.sent[int(message.name[3:])]
            self.took.append(time.perf_counter() - sent)
            self.forecasts.append((looks, message.value))

    def look(self) -> None:
        book = self.client.book(self.symbol)
        if book.mid is None:
            return
        (bid, bid_qty), (ask, ask_qty) = book.levels(1)[0][0], book.levels(1)[1][0]
        move = book.mid - self.mids[-1] if self.mids else 0.0
        batch = len(self.sent)
        imbalance = (bid_qty - ask_qty) / (bid_qty + ask_qty)
        self.rows.append((batch, book.mid, imbalance, ask - bid, self.flow, move))
        self.mids.append(book.mid)
        self.flow = 0.0
        while self.forecasts and len(self.mids) >= self.forecasts[0][0] + HORIZON:
            looks, up = self.forecasts.pop(0)
            before, after = self.mids[looks - 1], self.mids[looks + HORIZON - 1]
            if after != before:
                self.hits.append(((up > 0.5) == (after > before), after > before))
        if len(self.rows) == ROWS:
            self.sent.append((time.perf_counter(), len(self.mids)))
            self.client.send_features("looks", self.symbol, COLUMNS, np.array(self.rows))
            self.rows.clear()

    def report(self) -> dict:
        took = sorted(self.took) or [float("nan")]
        rose = [up for _, up in self.hits]
        return {
            "looks": len(self.mids),
            "signals": len(self.took),
            "judged": len(self.hits),
            "right": sum(hit for hit, _ in self.hits) / max(1, len(self.hits)),
            "coin": max(sum(rose), len(rose) - sum(rose)) / max(1, len(rose)),
            "answer_ms_p50": round(1e3 * took[len(took) // 2], 3),
            "answer_ms_p99": round(1e3 * took[int(0.99 * len(took))], 3),
        }


def main() -> None:
    """Sends features until time is up, then reports."""
    parser = argparse.ArgumentParser(description="Sends features of a symbol to a model, judges its signals.")
    parser.add_argument("--connect", default="", help="default: the daemon on this machine")
    parser.add_argument("--symbol", default="BTCUSDT")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--signals", type=int, default=0, help="end after so many signals were judged")
    args = parser.parse_args()
    with connect(args.connect, role="trader", strategy_id="ml_features", symbols=[args.symbol]) as client:
        market, end = Market(client, args.symbol), time.monotonic() + args.seconds
        while time.monotonic() < end and not 0 < args.signals <= len(market.hits):
            time.sleep(0.05)
    print(json.dumps(market.report()))


if __name__ == "__main__":
    main()
