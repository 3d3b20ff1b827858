"""What became of orders: fates, ratios and latencies, by hand and against the lives of ``align``."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from engine.core.types import Reason, Status
from engine.reports.align import lives
from engine.reports.mids import of_session
from engine.reports.orders import FATES, histogram, orders, percentiles
from engine.reports.report import Report
from engine.reports.session import tick_dtype
from tests.kit.reported import SECOND, backtested, by_hand, life, rows

MIDS = [(t * SECOND, 100.0 + t) for t in range(101)]


def _fates(session) -> dict[int, str]:
    found = orders(session, of_session(session))
    return {int(row["price_tick"]): FATES[fate] for row, fate in zip(found.rows, found.fates, strict=True)}


def test_fates_by_hand():
    """The price rises all the time: it leaves buyers, and comes towards sellers."""
    cancelled = {"status": Status.CANCELED, "reason": Reason.CANCEL_REQUESTED}
    updates = [
        *life(1, 1, SECOND, tick=1, ended=5 * SECOND, **cancelled),
        *life(2, -1, SECOND, tick=2, ended=5 * SECOND, **cancelled),
        *life(3, 1, SECOND, tick=3, ended=5 * SECOND, status=Status.FILLED),
        *life(4, 1, SECOND, tick=4),
        *life(5, 1, SECOND, tick=5, ended=2 * SECOND, status=Status.EXPIRED, reason=Reason.POST_ONLY_CROSSED),
        *life(7, 1, SECOND, tick=7, qty=3, ended=5 * SECOND, **cancelled),
    ]
    updates.append(
        {"order_id": 6, "side": 1, "price_tick": 6, "qty": 1, "local_ts": SECOND, "ts": SECOND,
         "status": Status.DENIED, "prev_status": Status.NONE, "reason": Reason.MAX_POSITION}
    )  # fmt: skip
    fills = [{"order_id": 3, "qty": 1, "side": 1, "px": 100}, {"order_id": 7, "qty": 1, "side": 1, "px": 100}]
    session = by_hand(fills, updates, MIDS)
    assert _fates(session) == {
        1: "price_left", 2: "cancelled", 3: "filled", 4: "open", 5: "refused", 6: "refused", 7: "filled",
    }  # fmt: skip
    e = Report(session).whole.execution()
    assert (e["orders"], e["denied"], e["requests"], e["fills"]) == (6, 1, 6, 2)
    assert e["fill_ratio"] == pytest.approx(2 / 6)
    assert e["fill_ratio_qty"] == pytest.approx(2 / 8)
    assert e["order_to_trade"] == pytest.approx(3.0)
    assert e["queue_depletion"] == pytest.approx(1 / 3)


def test_a_denied_change_is_not_the_end():
    updates = life(1, 1, SECOND)
    denied = {**updates[-1], "ts": 2 * SECOND, "status": Status.DENIED, "prev_status": Status.NEW}
    assert _fates(by_hand((), [*updates, denied], MIDS)) == {100: "open"}


def test_latencies_by_hand():
    found = orders(*(lambda s: (s, of_session(s)))(by_hand((), life(1, 1, SECOND), MIDS)))
    assert found.entry_ns.tolist() == [1]
    assert found.response_ns.tolist() == [2]


def _timed(took: list[int], slots: list[int] | None = None) -> np.ndarray:
    slots = slots or [0] * len(took)
    found = [
        {"ts": place, "took": ns, "strategy": slot}
        for place, (ns, slot) in enumerate(zip(took, slots, strict=True))
    ]
    return rows(tick_dtype, found)


def test_tick_to_trade_by_hand():
    """Ninety-nine requests of 1 to 99 microseconds, and one of ten milliseconds."""
    took = [1_000 * n for n in range(1, 100)] + [10_000_000]
    part = Report(replace(by_hand((), life(1, 1, SECOND), MIDS), ticks=_timed(took))).whole
    found = part.to_json()["latency_ns"]["tick_to_trade"]
    assert (found["min"], found["max"]) == (1_000.0, 10_000_000.0)
    # Half the way from the 50th to the 51st, and a hundredth of the way from the 99th to the last.
    assert found["p50"] == 50_500.0
    assert found["p99"] == pytest.approx(99_000 + 0.01 * (10_000_000 - 99_000))
    assert found["mean"] == pytest.approx((sum(range(1, 100)) * 1_000 + 10_000_000) / 100)
    edges, counts = histogram(part.ticks)
    assert counts.sum() == 100
    assert counts[-1] == 1
    assert counts[: np.searchsorted(edges, 99_001)].sum() == 99


def test_tick_to_trade_is_told_by_strategy_and_instrument():
    session = backtested()
    slots = [0, 1, 1]
    session = replace(session, ticks=_timed([10, 20, 30], slots))
    session.ticks["instrument"] = [0, 1, 1]
    report = Report(session)
    assert report.whole.ticks.tolist() == [10, 20, 30]
    assert {part.name: part.ticks.tolist() for part in report.cells} == {
        "makes BTCUSDT": [10],
        "makes OTHER": [],
        "takes OTHER": [20, 30],
    }
    assert Report(session.only(["takes"])).whole.ticks.tolist() == [20, 30]


def test_a_backtest_has_no_tick_to_trade():
    assert Report(backtested()).whole.to_json()["latency_ns"]["tick_to_trade"] == {}


def test_maker_ratio_and_reasons_by_hand():
    fills = [
        {"qty": 1, "px": 100, "is_maker": 1, "reason": Reason.QUEUE_FRONT, "side": 1},
        {"qty": 3, "px": 100, "is_maker": 0, "reason": Reason.TAKER, "side": -1},
    ]
    part = Report(by_hand(fills)).whole
    e = part.execution()
    assert (e["maker_ratio"], e["maker_ratio_count"]) == (0.25, 0.5)
    assert sorted(part.reasons()) == [("queue_front", 1, 100.0), ("taker", 1, 300.0)]


def test_as_the_lives_of_a_backtest():
    """The table is vectors; ``align.lives`` follows each order by itself."""
    session = backtested()
    found = orders(session, of_session(session))
    slow = lives(session)
    assert len(slow) == len(found.rows)
    for row, one in zip(found.rows, slow, strict=True):
        assert (row["side"], row["price_tick"], row["qty"], row["sent"]) == (
            one.side, one.price_tick, one.qty, one.sent,
        )  # fmt: skip
        assert row["filled"] == sum(fill.lots for fill in one.fills)
        assert row["arrived"] == (one.arrived is not None)
        assert row["denied"] == one.denied
    requests = Counter()
    for update in session.orders:
        if update["req"] in (Status.NEW, Status.CANCELED, Status.REPLACED):
            requests[int(update["req"])] += update["prev_status"] == update["status"]
    assert found.requests == sum(requests.values()) > 100
    assert requests[int(Status.NEW)] == found.sent


def test_fates_of_a_backtest_by_a_slow_look():
    session = backtested()
    mids = of_session(session)
    found = orders(session, mids)
    assert found.count("filled") > 10
    assert found.count("price_left") > 10
    assert sum(found.count(fate) for fate in FATES) == len(found.rows)
    for row, fate in zip(found.rows, found.fates, strict=True):
        if FATES[fate] in ("price_left", "cancelled"):
            if row["ended"] > session.last_ts:
                assert FATES[fate] == "cancelled", "nothing is known of the market by then"
                continue
            known = session.mids[session.mids["instrument"] == row["instrument"]]
            before, after = (known["mid"][known["ts"] == row[name]][0] for name in ("sent", "ended"))
            left = after > before if row["side"] > 0 else after < before
            assert (FATES[fate] == "price_left") == left


def test_parts_make_the_whole():
    report = Report(backtested())
    whole, cells = report.whole.execution(), [part.execution() for part in report.cells]
    for name in ("orders", "denied", "requests", "fills"):
        assert whole[name] == sum(one[name] for one in cells)
    assert len(report.cells) == 3


def test_histograms_hold_everything():
    rng = np.random.default_rng(1)
    for values in (rng.lognormal(12, 2, 500), np.full(7, 1e6), np.array([0.0, 5.0])):
        edges, counts = histogram(values)
        assert counts.sum() == len(values)
        assert (np.diff(edges) > 0).all()
    assert percentiles(np.empty(0)) == {}
    assert percentiles(np.arange(101.0))["p50"] == 50.0
