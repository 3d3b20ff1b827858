"""What a run of random commands has reached: codes, events, reasons, kinds of order and the rarer rules."""

from __future__ import annotations

from collections import Counter

import numpy as np

from engine.core.types import Reason
from engine.matching.naive_book import MAX_PX
from engine.matching.records import (
    POST_ONLY_SLIDE,
    REDUCE_ONLY,
    AllocationRule,
    Code,
    EventKind,
    Kind,
    Life,
    OrderType,
    SelfTradePolicy,
)


def called(enum, number: int) -> str:
    """The name of a number, or the number."""
    return enum(number).name if number in list(enum) else str(number)


class Coverage:
    """Counts, by name."""

    def __init__(self) -> None:
        self.commands = 0
        self.counts: Counter[str] = Counter()

    def count(self, *columns: np.ndarray, names) -> None:
        """Counts each combination of the columns' values."""
        found, times = np.unique(
            np.stack([c.astype(np.int64) for c in columns], 1), axis=0, return_counts=True
        )
        for values, n in zip(found.tolist(), times.tolist(), strict=True):
            self.counts[names(*values)] += n

    def take(self, settings: dict, commands: np.ndarray, results: np.ndarray, events: np.ndarray) -> None:
        """Counts one batch."""
        self.commands += len(commands)
        codes, kinds = results["code"], commands["kind"]
        self.count(kinds, codes, names=lambda k, c: f"code {called(Kind, k)} {called(Code, c)}")
        taken = commands[(kinds == Kind.ADD) & (codes == 0)]
        self.count(
            taken["order_type"],
            taken["time_in_force"],
            names=lambda t, f: f"order {OrderType(t).name} {Life(f).name}",
        )
        self.count(taken["flags"], names=lambda flags: f"order with flags {flags}")
        if not len(events):
            return
        event_kinds = events["kind"]
        self.count(event_kinds, names=lambda kind: f"event {EventKind(kind).name}")
        ended = events["reason"][event_kinds == EventKind.ENDED]
        self.count(ended, names=lambda reason: f"ended {Reason(reason).name}")
        self.take_rules(settings, commands, results, events)

    def take_rules(
        self, settings: dict, commands: np.ndarray, results: np.ndarray, events: np.ndarray
    ) -> None:
        """Counts what takes more than one field to see."""
        kinds, ids = events["kind"], events["order_id"]
        whose = np.repeat(np.arange(len(results)), results["n_events"])
        trades = kinds == EventKind.TRADE
        same = ids[1:] == ids[:-1]

        def then(first: EventKind, second: EventKind) -> np.ndarray:
            return same & (kinds[:-1] == first) & (kinds[1:] == second)

        own = ids == commands["order_id"][whose]
        triggered = kinds == EventKind.TRIGGERED
        cascades = np.bincount(whose[triggered], minlength=1)
        by_stp = (kinds == EventKind.ENDED) & (events["reason"] == Reason.SELF_TRADE)
        arriving_reduces = (commands["flags"][whose] & REDUCE_ONLY > 0) & (
            events["other_id"] == commands["order_id"][whose]
        )
        slid = (commands["flags"] & POST_ONLY_SLIDE > 0) & (results["leaves_qty"] > 0)
        slid &= (commands["kind"] == Kind.ADD) & (results["px"] != commands["px"])
        slices = then(EventKind.REMOVED, EventKind.ADDED)
        rules = {
            f"trades by {AllocationRule(settings['allocation']).name}": trades,
            "trades in an uncross": trades & (events["side"] == 0),
            "trades at a price near the end of the range": trades & (np.abs(events["px"]) > MAX_PX - 8),
            "trades of more than 2^31 lots": trades & (events["qty"] > 2**31),
            "trades with oneself": trades & (events["owner"] == events["other_owner"]),
            "next slices of icebergs": slices,
            "modifications that lose the place": then(EventKind.REPLACED, EventKind.REMOVED),
            "modifications that keep the place": then(EventKind.REPLACED, EventKind.CHANGED),
            "stops triggered as they come": triggered & own,
            "commands that triggered several stops": cascades > 1,
            "commands that triggered more than ten stops": cascades > 10,
            "trades of reduce-only orders as they come": trades & arriving_reduces,
            "post-only orders slid": slid,
            "refused commands that made orders expire": (results["code"] != 0) & (results["n_events"] > 0),
            "commands with more than a hundred events": results["n_events"] > 100,
        }
        for name, hits in rules.items():
            self.counts[f"rule {name}"] += int(hits.sum())
        policies = commands["self_trade"][whose[by_stp]]
        self.count(
            policies,
            names=lambda p: f"rule self-trades ended in a command with policy {called(SelfTradePolicy, p)}",
        )

    def report(self) -> list[str]:
        """One line a count, sorted by name."""
        width = max(map(len, self.counts), default=0)
        return [f"{name:<{width}}  {count:>12,}" for name, count in sorted(self.counts.items())]
