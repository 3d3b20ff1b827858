"""A market maker in a process of its own: quotes both sides of the mid with post-only orders.

    python market_maker.py --symbol BTCUSDT --seconds 30

Control-C, or even kill -9, takes its orders off the market: the daemon cancels what it no longer hears of.
"""

import argparse
import contextlib
import math
import time

from bridge.client import connect
from bridge.errors import ConnectionLost


def main() -> None:
    """Quotes until time is up or Control-C; prints fills and a last line."""
    parser = argparse.ArgumentParser(description="Quotes both sides of a symbol on a Ringbook daemon.")
    parser.add_argument("--connect", default="", help="default: the daemon on this machine")
    parser.add_argument("--symbol", default="BTCUSDT")
    parser.add_argument("--seconds", type=float, default=math.inf)
    args = parser.parse_args()
    fills, position, cash, quotes = 0, 0.0, 0.0, {}
    with connect(args.connect, role="trader", strategy_id="external_mm", symbols=[args.symbol]) as client:
        tick, lot = client.instruments[args.symbol].tick_size, client.instruments[args.symbol].lot_size
        client.subscribe_depth(args.symbol)
        end = time.monotonic() + args.seconds
        with contextlib.suppress(KeyboardInterrupt):
            while time.monotonic() < end:
                time.sleep(0.01)
                for e in client.executions(timeout=0):
                    if e.exec_qty > 0:
                        signed = e.exec_qty if e.side == "buy" else -e.exec_qty
                        fills, position = fills + 1, position + signed
                        cash -= signed * e.exec_px + e.fee
                        print(f"{e.side} {e.exec_qty:g} @ {e.exec_px:.10g} {e.reason}", flush=True)
                book = client.book(args.symbol)
                if book.stale or book.mid is None:
                    continue
                fair = book.mid / tick - position / lot  # leans against its position, one tick a lot
                wanted = {
                    "buy": min(math.floor(fair - 0.5), round(book.best_ask / tick) - 1),
                    "sell": max(math.ceil(fair + 0.5), round(book.best_bid / tick) + 1),
                }
                for side, px in wanted.items():
                    order = client.order(quotes.get(side, 0))
                    with contextlib.suppress(ConnectionLost):
                        if order is None or not order.live:
                            px *= tick
                            quotes[side] = client.submit(args.symbol, side, px, lot, time_in_force="GTX")
                        elif order.status != "PENDING" and round(order.px / tick) != px:
                            client.cancel(order.client_order_id)
        value = cash + position * (client.book(args.symbol).mid or 0.0)
    print(f"{fills} fills, position {position:g}, profit after fees {value:.10g}")


if __name__ == "__main__":
    main()
