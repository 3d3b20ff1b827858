"""Sends orders twice, late, out of order, over new connections and through restarts; counts what is executed.

A client with a plan of its own stands against the bridge's real sessions and router; rings and clock are
not there, the table of sessions is a real file. Each try is one message: a new order, one that was sent
before (as it was, or with other content), a numbered one that comes late or leaves a gap, on the present
connection or on one that was given up. In between the client reconnects, the bridge is killed and starts
again from the file, and rings are full. An order must reach the engine at most once, a repeat must be
answered with the first result, and other content under its number by an error.

    python -m tests.fuzz.orders --tries 1000000 --seed 1
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bridge import codec, records
from bridge import protocol as p
from bridge.intake import Intakes, digest
from engine.core.types import Status
from engine.runtime.records import Kind, order_record_dtype, record_dtype
from tests.kit.bridge_parts import Parts

SLOT = 0
KEPT = 4000
"""Orders that the client remembers and may send again."""


def _template() -> np.ndarray:
    batch = np.zeros(1, record_dtype)
    batch["kind"], batch["strategy"] = Kind.ORDER, SLOT
    batch["payload"].view(order_record_dtype)["order"]["side"] = 1
    return batch


class Campaign:
    """One client, one strategy, one file.

    Args:
        path: The table of sessions.
        seed: Of everything.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.path = path
        self.counts: Counter[str] = Counter()
        self.content: dict[int, p.Submit] = {}
        self.first: dict[int, p.Execution] = {}
        self.orders: list[p.Submit] = []
        self.ancient: list[p.Submit] = []
        self.number = 0
        self.connection = 0
        self.session = ""
        self.seq = 0
        self.parts: Parts
        self.record = _template()
        self.intakes: Intakes | None = None
        self.restart()

    def restart(self) -> None:
        """The bridge is killed: all that the next one has is the file, and what the engine tells."""
        live = [] if self.intakes is None else list(self.parts.router.externals["mm"].live)[-500:]
        if self.intakes is not None:
            self.intakes.close()
        self.intakes = Intakes(self.path)
        self.parts = Parts(intakes=self.intakes)
        if self.session:
            self.parts.restart(records.StrategyBlob("mm", "Running", "external"))
            for number in live:
                self.tell(number, Status.NEW)
        self.connect()

    def connect(self) -> None:
        """The client says hello over a new connection and goes on where the server is."""
        self.connection += 1
        self.parts.tell(p.Hello(1, "c", "trader", "mm", [], {}, self.session), self.identity)
        if not self.session:
            self.parts.reply(slot=SLOT)
        welcome = self.parts.sent[-1][1]
        assert type(welcome) is p.Welcome, welcome
        assert not self.session or welcome.session == self.session
        self.session = welcome.session
        self.seq = self.parts.router.externals["mm"].intake.received
        assert self.intakes is not None

    @property
    def identity(self) -> bytes:
        """Of the present connection."""
        return b"%d" % self.connection

    def tell(self, number: int, status: Status) -> None:
        """The engine says what became of an order."""
        order = self.record["payload"].view(order_record_dtype)["order"]
        order["client_order_id"], order["status"] = number, int(status)
        ((_, (news,), _),) = records.runs(self.record)
        self.parts.router.order(news, "BTCUSDT")

    def send(self, message: Any, identity: bytes) -> list[Any]:
        """Sends a message and returns what was answered; the engine takes what has reached it."""
        sent, orders = self.parts.sent, self.parts.link.orders
        sent.clear()
        self.parts.sessions.receive("orders", [identity, codec.encode(message)])
        answers = [answer for _, answer in sent]
        for values, _ in orders:
            if values[0] == Status.NEW:
                number = values[3]
                assert number not in self.content, f"order {number} was executed twice"
                self.content[number] = message
                self.counts["executed"] += 1
        for values, _ in list(orders):
            # The engine says what became of it, or is not heard because the bridge is killed first.
            if values[0] == Status.NEW and self.rng.random() < 0.9:
                sent.clear()
                self.tell(values[3], Status.FILLED if self.rng.random() < 0.5 else Status.NEW)
                told = [answer for _, answer in sent if type(answer) is p.Execution]
                if told:
                    self.first[values[3]] = told[0]
        orders.clear()
        return answers

    def order(self) -> p.Submit:
        """A new order."""
        self.number += self.rng.randint(1, 3)
        qty = 0.001 * self.rng.randint(1, 9)
        return p.Submit(self.number, "BTCUSDT", self.rng.choice(["buy", "sell"]), 100.0, qty)

    def judge(self, order: p.Submit, was: p.Submit | None, answers: list[Any]) -> None:
        """Holds the answer to an order against what had been executed under its number."""
        if was is None:
            return
        assert len(answers) == 1, answers
        if type(answers[0]) is p.Error and answers[0].code == "out_of_sequence":
            self.counts["gaps refused"] += 1
        elif order.client_order_id not in self.parts.router.externals["mm"].intake.orders:
            assert type(answers[0]) is p.Error, answers
            self.counts["forgotten ones refused"] += 1
        elif digest(order) == digest(was):
            assert type(answers[0]) is p.OrderReport, answers
            assert answers[0].known
            first = self.first.get(order.client_order_id)
            assert first is None or answers[0].first == first, "another first result"
            self.counts["repeats answered"] += 1
        else:
            assert type(answers[0]) is p.Error, answers
            assert answers[0].code == "duplicate_order_id"
            self.counts["other content refused"] += 1

    def turn(self) -> None:
        """One try."""
        rng = self.rng
        kind = rng.random()
        self.parts.link.full = kind < 0.05
        if kind > 0.9995:
            self.restart()
        elif kind > 0.995:
            self.connect()
        old = b"%d" % (self.connection - 1) if rng.random() < 0.1 and self.connection > 1 else self.identity
        late = [0, self.seq + 1, self.seq + 1, self.seq + rng.randint(2, 5), rng.randint(1, self.seq + 1)]
        order = rng.choice(self.orders) if self.orders and rng.random() < 0.5 else self.order()
        if self.ancient and rng.random() < 0.01:
            order = rng.choice(self.ancient)
        order = msgspec.structs.replace(order, seq=rng.choice(late))
        if rng.random() < 0.1:
            order = msgspec.structs.replace(order, px=101.0)
        was = self.content.get(order.client_order_id)
        answers = self.send(order, old)
        if old == self.identity:
            self.judge(order, was, answers)
        else:
            assert not answers or type(answers[0]) is p.Error, answers
            self.counts["on an old connection"] += 1
        self.orders.append(order)
        if rng.random() < 0.02:
            self.ancient.append(order)
        if len(self.orders) > KEPT:
            del self.orders[: KEPT // 2]
        self.counts["tries"] += 1
        intake = self.parts.router.externals["mm"].intake
        assert intake is not None
        self.seq = intake.received

    def close(self) -> None:
        """Unmaps the table."""
        assert self.intakes is not None
        self.intakes.close()


def run(tries: int, seed: int) -> Counter[str]:
    """Runs a campaign.

    Args:
        tries: Messages sent.
        seed: Of everything.

    Returns:
        How often what happened.
    """
    with tempfile.TemporaryDirectory() as folder:
        campaign = Campaign(Path(folder) / "sessions.table", seed)
        for _ in range(tries):
            campaign.turn()
        campaign.counts["sessions cut over"] = campaign.connection
        campaign.close()
        return campaign.counts


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tries", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.monotonic()
    counts = run(options.tries, options.seed)
    for name, count in counts.items():
        print(f"{name}: {count:,}")
    print(f"each order executed at most once; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
