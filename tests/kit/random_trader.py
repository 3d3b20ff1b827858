"""An external strategy in a process of its own: trades at random around a price and says what came of it.

``python -m tests.kit.random_trader ENDPOINT NAME SEED ORDERS`` prints one JSON object: the ids it gave its
orders, those it heard of, and what its executions add up to.
"""

from __future__ import annotations

import json
import random
import sys
import time

from bridge.client import connect
from tests.kit.patience import PATIENT

SYMBOL, PX, TICK, LOT = "BTCUSDT", 60_000.0, 0.1, 0.001


def main(endpoint: str, name: str, seed: int, orders: int) -> None:
    """Trades until all orders have been sent and none is live any more."""
    rng = random.Random(seed)
    sent: list[int] = []
    heard: set[int] = set()
    lots = cash = fills = 0
    fee = 0.0
    with connect(endpoint, role="trader", strategy_id=name, symbols=[SYMBOL], **PATIENT) as client:
        quiet = 0
        while quiet < 20:
            if len(sent) < orders:
                side = rng.choice(("buy", "sell"))
                px = round(PX + TICK * rng.randint(-3, 3), 1)
                qty = round(LOT * rng.randint(1, 5), 3)
                force = rng.choice(("GTC", "GTC", "IOC", "GTX"))
                sent.append(client.submit(SYMBOL, side, px, qty, time_in_force=force))
                quiet = 0
            elif quiet == 0:
                client.cancel_all()
            quiet += 1
            for execution in client.executions(timeout=0.005):
                heard.add(execution.client_order_id)
                quiet = min(quiet, 1)
                if execution.exec_qty > 0:
                    signed = round(execution.exec_qty / LOT) * (1 if execution.side == "buy" else -1)
                    lots += signed
                    cash -= signed * round(execution.exec_px / TICK)
                    fee += execution.fee
                    fills += 1
        time.sleep(0.1)
    print(
        json.dumps(
            {"sent": sent, "heard": sorted(heard), "lots": lots, "cash": cash, "fee": fee, "fills": fills}
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
