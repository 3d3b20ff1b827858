"""An external trader that writes down everything it sends and hears, and holds it against the journal."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from pathlib import Path

from bridge import protocol as p
from bridge.client import Client
from bridge.errors import ConnectionLost, OrderRejected
from engine.core.types import Status
from engine.reports.session import Session, load
from tests.kit.daemons import until
from tests.kit.patience import PATIENT

NAME = "clerk"
SYMBOL = "BTCUSDT"
TICK, LOT = 0.1, 0.001
OPEN_ORDERS = 24
TURN_S = 0.002


class Clerk:
    """Trades on a daemon, in a thread of its own, until it is told to stop.

    Args:
        endpoint: The daemon's.
        seed: Of what it does.

    Attributes:
        sent: When each order was sent, by client_order_id; steady clock, seconds.
        refused: Orders that never reached the engine: the bridge has said so, or was not there.
        heard: All executions, in the order in which they came.
        undisturbed: Seconds that the answers to orders took while nobody was dead or just back.
        faults: What went wrong in the thread.
    """

    def __init__(self, endpoint: str, seed: int) -> None:
        self.client = Client(endpoint, role="trader", strategy_id=NAME, symbols=[SYMBOL], **PATIENT)
        self.sent: dict[int, float] = {}
        self.refused: set[int] = set()
        self.heard: list[p.Execution] = []
        self.undisturbed: list[float] = []
        self.faults: list[BaseException] = []
        self._rng = random.Random(seed)
        self._served = threading.Condition()
        self._since, self._served_at, self._calm = float("inf"), 0.0, 0.0
        self._answered: set[int] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.client.on_execution = self._hear
        self.client.on_error = self._refuse

    def start(self) -> None:
        """Connects and begins."""
        self.client.start()
        self.client.connected(60.0)
        self.client.subscribe_depth(SYMBOL)
        until(lambda: self.client.book(SYMBOL).mid is not None, "a book")
        self._thread.start()
        until(lambda: len(self.heard) > 20, "the first executions")

    def expect_service(self) -> None:
        """From now on looks out for the answer to an order that is sent after now."""
        with self._served:
            self._since, self._served_at = time.monotonic(), 0.0

    def await_service(self, seconds: float = 60.0) -> float:
        """Waits for that answer; returns seconds between the call of :meth:`expect_service` and it."""
        with self._served:
            assert self._served.wait_for(lambda: self._served_at > 0.0, seconds), "no order was answered"
            took, self._since = self._served_at - self._since, float("inf")
            self._calm = time.monotonic()
            return took

    def stop(self) -> None:
        """Ends trading, cancels everything, and waits until all is told."""
        self._stopping.set()
        self._thread.join()
        if self.faults:
            raise self.faults[0]

        def settled() -> bool:
            try:
                for order in self.client.orders():
                    self.client.cancel(order.client_order_id)
            except ConnectionLost:
                return False
            before = len(self.heard)
            time.sleep(0.2)
            return not self.client.orders() and len(self.heard) == before

        until(settled, "the end of all orders", 60)

    def close(self) -> None:
        """Leaves."""
        self._stopping.set()
        self.client.close()

    def _hear(self, execution: p.Execution) -> None:
        self.heard.append(execution)
        number, now = execution.client_order_id, time.monotonic()
        if number in self.sent and number not in self._answered:
            self._answered.add(number)
            if self._since == float("inf") and self.sent[number] > self._calm:
                self.undisturbed.append(now - self.sent[number])
        if self.sent.get(execution.client_order_id, 0.0) > self._since and not self._served_at:
            with self._served:
                self._served_at = time.monotonic()
                self._served.notify_all()

    def _refuse(self, error: p.Error) -> None:
        if error.client_order_id:
            self.refused.add(error.client_order_id)

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._turn()
                except (ConnectionLost, OrderRejected):
                    time.sleep(0.01)
                time.sleep(TURN_S)
        except BaseException as fault:
            self.faults.append(fault)

    def _turn(self) -> None:
        rng, client = self._rng, self.client
        live = client.orders()
        if live and (len(live) >= OPEN_ORDERS or rng.random() < 0.35):
            client.cancel(rng.choice(live).client_order_id)
            return
        book = client.book(SYMBOL)
        if book.mid is None:
            return
        side = rng.choice(("buy", "sell"))
        best = book.best_bid if side == "buy" else book.best_ask
        taking = rng.random() < 0.2
        away = rng.randrange(0, 4) * (1 if (side == "sell") != taking else -1)
        px = round(best / TICK + away) * TICK
        number = client.new_order_id()
        self.sent[number] = time.monotonic()
        try:
            tif = "IOC" if taking else "GTX"
            qty = rng.randrange(1, 20) * LOT
            client.submit(SYMBOL, side, px, qty, time_in_force=tif, client_order_id=number)
        except (ConnectionLost, OrderRejected):
            self.refused.add(number)
            raise

    # --- afterwards ------------------------------------------------------------------------------

    def check(self, result: Path, *, complete: bool) -> Counter[str]:
        """Holds the log against a replay of the journal.

        Args:
            result: The session that the replay has written.
            complete: Whether nothing may be missing: else the bridge was killed, which may have taken with
                it what it was just passing on.

        Returns:
            What was compared.

        Raises:
            AssertionError: An order or an execution is missing, or was told twice.
        """
        session = load(result)
        mine = session.strategies.index(NAME)
        updates = session.orders[session.orders["strategy"] == mine]
        known = set(updates["client_order_id"].tolist())
        acknowledged = {e.client_order_id for e in self.heard}
        assert acknowledged <= known, f"orders without a trace: {sorted(acknowledged - known)[:5]}"
        numbered = [(e.epoch, e.seq) for e in self.heard]
        assert len(set(numbered)) == len(numbered), "an execution was given twice"
        # The first bridge has passed everything on, once and in order, for as long as it lived.
        first_epoch = self.heard[0].epoch
        told, later = (
            [
                (e.ts, e.client_order_id, e.order_id, e.status, e.prev_status)
                for e in self.heard
                if (e.epoch == first_epoch) == is_first
            ]
            for is_first in (True, False)
        )
        done = [
            (
                *(int(u[name]) for name in ("ts", "client_order_id", "order_id")),
                *(Status(int(u[name])).name for name in ("status", "prev_status")),
            )
            for u in updates
        ]
        first = next((i for i, (a, b) in enumerate(zip(told, done, strict=False)) if a != b), None)
        assert first is None, f"execution {first}: told {told[first]}, journaled {done[first]}"
        # The others first tell what is live, and then each change that there was, once.
        changes = Counter(one for one in later if one[3] != one[4])
        never = changes - Counter(done)
        assert not never, f"executions that never were, or told twice: {list(never.items())[:5]}"
        if complete:
            assert set(self.sent) - self.refused <= known, "an order that was sent is unknown"
            assert len(told) == len(done), f"told {len(told)} executions, {len(done)} are journaled"
        fills = self._check_fills(session, mine, complete)
        return Counter(orders=len(self.sent), executions=len(self.heard), fills=fills)

    def _check_fills(self, session: Session, mine: int, complete: bool) -> int:
        told = Counter(
            (e.client_order_id, e.exch_ts, round(e.exec_px / TICK), round(e.exec_qty / LOT))
            for e in self.heard
            if e.exec_qty > 0
        )
        fills = session.fills[session.fills["strategy"] == mine]
        names = ("client_order_id", "exch_ts", "price_tick", "qty")
        done = Counter(tuple(int(fill[name]) for name in names) for fill in fills)
        assert not told - done, f"fills that never were, or told twice: {list((told - done).items())[:5]}"
        if complete:
            assert not done - told, f"fills that were not told: {list((done - told).items())[:5]}"
        return sum(told.values())
