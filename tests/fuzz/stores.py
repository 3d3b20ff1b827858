"""A recorder and its store under every fault there is: ``python -m tests.fuzz.stores``.

Rows are made at a rate and brought to a real server over a proxy, or to an embedded store. Meanwhile the
server is killed and started again and frozen, connections are cut at any byte, answers are lost after what
they answer was done, and the recorder is killed. At the end every row is there once, unchanged. The long form
is 10 minutes at 50,000 rows a second; ``--outage`` has the store away for all of it but the first seconds::

    python -m tests.fuzz.stores --engine clickhouse --seconds 600 --rate 50000 --outage
    python -m tests.fuzz.stores --engine clickhouse --seconds 600 --rate 50000
    python -m tests.fuzz.stores --engine chdb --seconds 600 --rate 50000
    python -m tests.fuzz.stores --engine chdb --seconds 600 --rate 50000 --outage
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from engine.core.errors import StoreError
from engine.storage.base import Store
from engine.storage.store import open_store
from tests.kit.clickhouse_server import Server, executable
from tests.kit.proxy import Proxy
from tests.kit.recorder_child import ORDERS, RUN

CATCH_UP_S = 300.0
TIMEOUT_S = 2
TURNS = 3
LOOK_S = 300
"""How long a server may take to count what it has."""


class Campaign:
    """One run.

    Args:
        folder: For everything.
        seconds: How long rows are made.
        rate: Rows a second.
        seed: Of the faults.
        server: None for an embedded store.
    """

    def __init__(self, folder: Path, seconds: float, rate: int, seed: int, server: Server | None) -> None:
        self._folder, self._rng, self._server = folder, random.Random(seed), server
        self.total, self._rate, self._seconds = int(seconds * rate), rate, seconds
        self.faults = {"recorder killed": 0, "server killed": 0, "server frozen": 0, "store taken": 0}
        self.faults["turn not given"] = 0
        self._proxy = None if server is None else Proxy(server.port, seed)
        if self._proxy is not None:
            self._url = f"clickhouse://127.0.0.1:{self._proxy.port}/ringbook?timeout={TIMEOUT_S}"
        else:
            self._url = f"chdb://{folder / 'store'}"
        self._child = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        words = [self._url, str(self._folder / "spool"), str(self.total), str(self._rate)]
        return subprocess.Popen([sys.executable, "-m", "tests.kit.recorder_child", *words])

    def run(self) -> dict[str, Any]:
        """Makes rows and faults, then leaves all alone until everything is stored, and looks.

        Raises:
            AssertionError: A row is missing, there twice, or another.
        """
        end = time.monotonic() + self._seconds
        try:
            if self._proxy is not None:
                self._proxy.cut, self._proxy.swallow = 0.6, 0.3
                self._until_broken(self._proxy, time.monotonic() + self._seconds / 2)
            while time.monotonic() < end and self._child.poll() is None:
                time.sleep(self._rng.uniform(0.5, 3.0))
                self._fault()
            return self._calm()
        finally:
            self._child.kill()
            self._child.wait()
            if self._proxy is not None:
                self._proxy.close()

    def outage(self) -> dict[str, Any]:
        """Has the store away while rows are made: the server dead, or an embedded store in somebody's hands.

        Raises:
            AssertionError: As :meth:`run`.
        """
        try:
            time.sleep(3.0)
            left = max(0.0, self._seconds - 3.0)
            if self._server is None:
                with open_store(self._url, hold=True):
                    time.sleep(left)
            else:
                self._server.kill()
                time.sleep(left)
                self._server.start()
            return self._calm()
        finally:
            self._child.kill()
            self._child.wait()

    def _until_broken(self, proxy: Proxy, end: float) -> None:
        """Lets the recorder live until connections have been broken in both ways."""
        while time.monotonic() < end and self._child.poll() is None:
            if min(proxy.broken["cut"], proxy.broken["answer lost"]) > 0:
                return
            time.sleep(0.05)

    def _fault(self) -> None:
        draw = self._rng.random() if self.faults["recorder killed"] else 0.0
        if draw < 0.3 or self._server is None:
            if self._server is None and draw > 0.6:
                self._take_store()
                return
            self._child.kill()
            self._child.wait()
            self.faults["recorder killed"] += 1
            self._child = self._start()
        elif draw < 0.6:
            self._server.kill()
            time.sleep(self._rng.uniform(0.0, 1.0))
            self._server.start()
            self.faults["server killed"] += 1
        elif draw < 0.8:
            self._server.freeze(True)
            time.sleep(self._rng.uniform(0.1, 1.5 * TIMEOUT_S))
            self._server.freeze(False)
            self.faults["server frozen"] += 1

    def _take_store(self) -> None:
        """Somebody else asks the embedded store something."""
        for left in reversed(range(TURNS)):
            try:
                with open_store(self._url) as store:
                    store.query("SELECT count() FROM market_data")
                self.faults["store taken"] += 1
                return
            except StoreError as error:
                # A machine that stands still is no fault of the holder's.
                self.faults["turn not given"] += 1
                if not left:
                    raise AssertionError(f"a holder did not let us in: {error}") from error

    def _calm(self) -> dict[str, Any]:
        began = time.monotonic()
        if self._proxy is not None:
            self._proxy.cut = self._proxy.swallow = 0.0
        # Rows that were not made because nobody lived to make them are made now.
        code = self._child.wait(self._seconds + CATCH_UP_S)
        assert code == 0, f"the recorder has ended with {code}"
        caught_up = time.monotonic() - began
        url = self._url
        if self._server is not None:
            url = f"{self._server.url.partition('?')[0]}?timeout={LOOK_S}"
        with open_store(url) as store:
            found = look(store, self.total)
        broken = {} if self._proxy is None else self._proxy.broken
        return {**found, "caught_up_s": round(caught_up, 1), "faults": self.faults | broken}


def look(store: Store, total: int) -> dict[str, Any]:
    """Counts rows that are missing, there twice, or not what was made.

    Args:
        store: Where they are.
        total: Rows of the market that were made.

    Raises:
        AssertionError: There are any.
    """
    found = {}
    for table, wanted in (("market_data", total), ("orders", total // ORDERS)):
        counts = store.query(
            f"SELECT count() AS n, uniqExact(id) AS ids, max(id) AS last FROM {table} WHERE run_id = '{RUN}'"
        ).rows()[0]
        found[table] = {"rows": counts[0], "lost": wanted - counts[1], "doubled": counts[0] - counts[1]}
        assert counts == (wanted, wanted, wanted), (table, wanted, counts)
    other = "order_id != id OR ival != -toInt64(id) OR qty != id * 0.5 OR exch_ts != local_ts - 500"
    wrong = store.query(f"SELECT count() AS n FROM market_data WHERE {other}").scalar()
    assert wrong == 0, f"{wrong} rows are not what was made"
    other = "order_id != id OR toInt64(px) != toInt64(id)"
    wrong = store.query(f"SELECT count() AS n FROM orders WHERE {other}").scalar()
    assert wrong == 0, f"{wrong} orders are not what was made"
    return found


def campaign(engine: str, seconds: float, rate: int, seed: int, *, outage: bool = False) -> dict[str, Any]:
    """Runs one in a folder of its own.

    Args:
        engine: ``clickhouse`` or ``chdb``.
        seconds: How long rows are made.
        rate: Rows a second.
        seed: Of the faults.
        outage: Whether the only fault is a store that is away all the time.

    Raises:
        AssertionError: A row is missing, there twice, or another.
    """
    with tempfile.TemporaryDirectory(prefix="ringbook-campaign-") as name:
        folder = Path(name)
        if engine == "chdb":
            one = Campaign(folder, seconds, rate, seed, None)
            return one.outage() if outage else one.run()
        program = executable()
        if program is None:
            raise SystemExit("no clickhouse-server on this machine")
        with Server(folder / "server", program) as server:
            one = Campaign(folder, seconds, rate, seed, server)
            return one.outage() if outage else one.run()


def main() -> int:
    """Runs a campaign and prints what came of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.stores", description=__doc__.split("\n")[0])
    parser.add_argument("--engine", choices=("clickhouse", "chdb"), default="clickhouse")
    parser.add_argument("--seconds", type=float, default=60.0, help="(default: %(default)g)")
    parser.add_argument("--rate", type=int, default=50_000, help="rows a second (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--outage", action="store_true", help="only: the store is away all the time")
    args = parser.parse_args()
    found = campaign(args.engine, args.seconds, args.rate, args.seed, outage=args.outage)
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
