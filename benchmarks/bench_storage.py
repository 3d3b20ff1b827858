"""Rows a second into a store: the spool and its writer beside a bare insert of the same columns, and reading.

Beside each other: ``bare`` is the engine's own insert of columns that are ready (the driver's, with NumPy and
LZ4, or chdb's from an Arrow table), ``recorder`` is what the recorder does with the same rows: prepare them,
write them to the spool, make them durable, read them back, insert, note that they are stored. ``read`` is a
whole recording out of the store again, checked. Rows are those of the real recording where it is there.

    python -m benchmarks.bench_storage --rounds 3
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.storage.base import Store
from engine.storage.columns import Columns, prepare
from engine.storage.reader import FIELDS, MarketReader
from engine.storage.schema import TABLES
from engine.storage.spool import Spool
from engine.storage.store import open_store
from engine.storage.writer import Writer
from tests.kit.clickhouse_server import Server, executable

BATCH = 1 << 17
TABLE = TABLES["market_data"]


def events(rows: int) -> np.ndarray:
    """Rows of the real recording, as often as it takes; made up where it is not there."""
    from tests.kit import recordings

    try:
        found = np.array(recordings.events("usdm"))
    except BaseException as error:
        if type(error).__name__ != "Skipped":
            raise
        from tests.kit.journals import crossing_events

        found = crossing_events(100_000)
    return np.concatenate([found] * -(-rows // len(found)))[:rows]


def batches(data: np.ndarray, run: str) -> list[dict]:
    """Columns of ``market_data`` of one day, a batch at a time."""
    start = 1_723_075_200_000_000_000
    made = []
    for first in range(0, len(data), BATCH):
        part = data[first : first + BATCH]
        ids = np.arange(first + 1, first + 1 + len(part), dtype=np.uint64)
        columns = {name: np.ascontiguousarray(part[name]) for name in FIELDS}
        made.append(
            {
                "symbol": "BTCUSDT",
                "run_id": run,
                "time": start + ids.astype(np.int64) * 1000,
                "id": ids,
                **columns,
            }
        )
    return made


def bare(store: Store, ready: list[Columns]) -> float:
    """Seconds of the inserts alone."""
    began = time.perf_counter()
    for columns in ready:
        store.insert_prepared(TABLE, columns)
    return time.perf_counter() - began


def recorder(store: Store, given: list[dict], folder: Path) -> float:
    """Seconds of everything that a recorder does, in its two threads."""
    spool = Spool(folder)
    writer = Writer(spool, lambda: store, logging.getLogger("bench"))
    writer.start()
    # The first batch of a process is settled, and loads what a question needs: once, for some hundred ms.
    first = {name: value if isinstance(value, str) else value[:1000] for name, value in given[0].items()}
    spool.add(TABLE.name, "warm-up", prepare(TABLE, first | {"run_id": "warm-up"}))
    spool.wait_empty(600.0)
    began = time.perf_counter()
    for rows in given:
        spool.add(TABLE.name, rows["run_id"], prepare(TABLE, rows))
    spool.wait_empty(600.0)
    took = time.perf_counter() - began
    writer.stop()
    spool.close()
    return took


def read(store: Store, run: str, data: np.ndarray) -> float:
    """Seconds to read a run's rows, which have to be those that went in."""
    began = time.perf_counter()
    at = 0
    for chunk in MarketReader(store, "BTCUSDT", run).chunks():
        if chunk.tobytes() != data[at : at + len(chunk)].tobytes():
            raise SystemExit(f"row {at} and after it are not what went in")
        at += len(chunk)
    if at != len(data):
        raise SystemExit(f"{at} rows came back of {len(data)}")
    return time.perf_counter() - began


def measure(opened: Callable[[], Store], data: np.ndarray, folder: Path, turn: int) -> dict[str, float]:
    """Rows a second of one engine, each way once."""
    plain, recorded = f"bare-{turn}", f"recorder-{turn}"
    with opened() as store:
        seconds = {"bare insert": bare(store, [prepare(TABLE, rows) for rows in batches(data, plain)])}
    with opened() as store:
        seconds["recorder"] = recorder(store, batches(data, recorded), folder / recorded)
    with opened() as store:
        seconds["read"] = read(store, recorded, data)
    return {what: len(data) / took for what, took in seconds.items()}


def rounds(
    name: str, opened: Callable[[], Store], data: np.ndarray, folder: Path, n: int
) -> dict[str, float]:
    """Medians over some rounds, after one batch that warms up."""
    with opened() as store:
        bare(store, [prepare(TABLE, rows) for rows in batches(data[:BATCH], "warm")])
    found = [measure(opened, data, folder / name, turn) for turn in range(n)]
    return {f"{name}, {what}": statistics.median(one[what] for one in found) for what in found[0]}


def main() -> int:
    """Measures the engines that are here."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    data = events(args.rows)
    with tempfile.TemporaryDirectory(prefix="ringbook-bench-") as name:
        folder = Path(name)
        url = f"chdb://{folder / 'store'}"
        found = rounds("chdb", lambda: open_store(url, hold=True), data, folder, args.rounds)
        program = executable()
        if program is not None:
            with Server(folder / "server", program) as server:
                found |= rounds("clickhouse", lambda: open_store(server.url), data, folder, args.rounds)
    if args.json:
        print(json.dumps({what: round(rate) for what, rate in found.items()}))
        return 0
    for what, rate in found.items():
        print(f"{what:<24} {rate:>12,.0f} rows/s")
    if program is None:
        print("clickhouse: not measured, there is no clickhouse-server on this machine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
