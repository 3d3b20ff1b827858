"""A recorder of made-up rows, to be killed: ``python -m tests.kit.recorder_child URL SPOOL TOTAL RATE``.

Rows tell their own id in every field. It goes on where its spool says, makes rows at a rate until there are
so many, and ends once all of them are stored.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import numpy as np

from engine.runtime.recorder import MAX_PAUSE
from engine.runtime.recording import MARKET_ROWS as MAX_ROWS
from engine.storage.columns import prepare
from engine.storage.schema import TABLES
from engine.storage.spool import Spool
from engine.storage.store import open_store
from engine.storage.writer import Writer
from tests.kit.stores import NOON, market_rows

RUN = "campaign"
PERIOD_S = 0.25
ORDERS = 100
"""Market rows to an order."""


def order_rows(first: int, n: int) -> dict:
    """Columns of ``orders``."""
    ids = np.arange(first, first + n, dtype=np.uint64)
    numbers = ids.astype(np.int64)
    return {
        "symbol": "BTCUSDT",
        "time": NOON + numbers * 1000 * ORDERS,
        "id": ids,
        "run_id": RUN,
        "order_id": ids,
        "status": ["new" if n % 2 else "filled" for n in numbers.tolist()],
        "px": numbers,
        "qty": numbers,
    }


def main(url: str, spool_path: str, total: int, rate: int) -> int:
    """Makes and stores rows until there are ``total`` of the market."""
    logging.basicConfig(level=logging.ERROR)
    spool = Spool(Path(spool_path))
    writer = Writer(spool, lambda: open_store(url, hold=True), logging.getLogger("child"))
    writer.start()
    began = time.monotonic()
    place = spool.place(RUN)
    first_made = made = place.get("market_data", 0)
    orders = place.get("orders", 0)
    while made < total:
        due = min(total, first_made + int((time.monotonic() - began + PERIOD_S) * rate))
        due = min(due, made + MAX_ROWS)
        rows = market_rows(due - made, made + 1, run=RUN)
        spool.add("market_data", RUN, prepare(TABLES["market_data"], rows))
        made = due
        if made // ORDERS > orders:
            rows = order_rows(orders + 1, made // ORDERS - orders)
            spool.add("orders", RUN, prepare(TABLES["orders"], rows))
            orders = made // ORDERS
        if due < first_made + int((time.monotonic() - began) * rate):
            continue
        # As a recorder does, fewer and larger batches for a store that is behind.
        time.sleep(PERIOD_S * min(MAX_PAUSE, 1 + len(spool) // 4))
    while not writer.stop(3600.0):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
