"""Random commands for matchers, chunk by chunk: a chunk is settings and commands, drawn from its number.

A chunk draws its own character first (how many ids, owners and prices, which sizes, how much of what): some
are at the edges, with a full matcher, two prices, quantities that fill 32 bits or prices at the range's end.
Ids come from a small pool, so that cancels and modifications find their order; an id says its owner.
"""

from __future__ import annotations

import numpy as np

from engine.matching.naive_book import MAX_PX, MAX_QTY
from engine.matching.records import (
    POST_ONLY,
    POST_ONLY_SLIDE,
    REDUCE_ONLY,
    AllocationRule,
    Kind,
    Life,
    OrderType,
    Phase,
    command_dtype,
)

EXTREME_PRICES = [MAX_PX, -MAX_PX, MAX_PX + 1, -MAX_PX - 1, 0, 2**63 - 1, -(2**63)]
EXTREME_QUANTITIES = [0, -1, 1, MAX_QTY, MAX_QTY + 1, 2**63 - 1, -(2**63)]
LIVES = {
    OrderType.LIMIT: [Life.GTC] * 4 + [Life.GTX, Life.FOK, Life.FOK, Life.IOC, Life.DAY, Life.GTD],
    OrderType.MARKET: [Life.IOC, Life.IOC, Life.FOK],
    OrderType.STOP: [Life.GTC, Life.DAY, Life.GTD],
    OrderType.STOP_LIMIT: [Life.GTC, Life.DAY, Life.GTD],
}
FLAGS = {
    OrderType.LIMIT: [0] * 7 + [POST_ONLY, POST_ONLY_SLIDE, REDUCE_ONLY, POST_ONLY | REDUCE_ONLY],
    OrderType.MARKET: [0, 0, 0, REDUCE_ONLY],
    OrderType.STOP: [0],
    OrderType.STOP_LIMIT: [0, 0, POST_ONLY, POST_ONLY_SLIDE],
}


def draw(seed: int, chunk: int, n: int) -> tuple[dict, np.ndarray]:
    """The settings and the ``n`` commands of a chunk.

    Args:
        seed: Of the whole run.
        chunk: The chunk's number.
        n: How many commands.

    Returns:
        Keyword arguments of a matcher and an array of ``command_dtype``.
    """
    rng = np.random.default_rng([seed, chunk])
    settings = draw_settings(rng)
    return settings, draw_commands(rng, settings["max_owners"], n)


def draw_settings(rng: np.random.Generator) -> dict:
    """A matcher's settings."""
    return {
        "allocation": int(rng.choice(list(AllocationRule))),
        "top_share": int(rng.choice([0, 10, 40, 100])),
        "min_allocation": int(rng.choice([0, 1, 2, 10])),
        "protection_ticks": int(rng.choice([0, 0, 1, 3, 1000])),
        "max_owners": int(rng.choice([1, 2, 4, 16])),
        "max_orders": int(rng.choice([4, 16, 64] + [1024] * 7)),
        "levels": bool(rng.random() < 0.8),
        "events": str(rng.choice(["all"] * 8 + ["trades", "none"])),
        "instrument": int(rng.integers(0, 2**16)),
    }


def sometimes(rng: np.random.Generator, share: float, values: np.ndarray, others: list) -> None:
    """Puts one of ``others`` in place of a share of ``values``."""
    where = rng.random(len(values)) < share
    values[where] = rng.choice(np.array(others, values.dtype), where.sum())


def draw_commands(rng: np.random.Generator, owners: int, n: int) -> np.ndarray:
    """Commands for a matcher with so many owners."""
    rows = np.zeros(n, command_dtype)
    pool = int(rng.choice([8, 64, 256, 512]))
    shares = {
        Kind.ADD: 60,
        Kind.CANCEL: rng.choice([2, 12]),
        Kind.MODIFY: 14,
        Kind.REDUCE: 7,
        Kind.MASS_CANCEL: rng.choice([0.1, 1]),
        Kind.BANDS: 0.5,
        Kind.TIME: 2,
    }
    rows["kind"] = rng.choice(list(shares), n, p=np.array(list(shares.values())) / sum(shares.values()))
    sometimes(rng, 0.001, rows["kind"], [0, 9, 255])
    rows["order_id"] = rng.integers(1, pool + 1, n, dtype=np.uint64) * np.uint64(rng.choice([1, 2**40 + 1]))
    earlier = np.maximum(np.arange(n) - rng.geometric(1 / rng.choice([5, 30]), n), 0)
    to_orders = (rows["kind"] >= Kind.CANCEL) & (rows["kind"] <= Kind.REDUCE)
    rows["order_id"][to_orders] = rows["order_id"][earlier[to_orders]]
    sometimes(rng, 0.002, rows["order_id"], [0, 2**64 - 1])
    rows["owner"] = 1 + rows["order_id"] % np.uint64(owners)
    rows["owner"] = np.where(rng.random(n) < 0.03, rng.integers(0, owners + 2, n), rows["owner"])
    rows["side"] = rng.choice([-1, 1], n)
    rows["instrument"] = rng.integers(0, 2**16, n)
    draw_times(rng, rows)
    draw_orders(rng, rows)
    draw_prices(rng, rows)
    repeat_prices(rng, rows)
    for_everybody = rows["kind"] == Kind.MASS_CANCEL
    rows["owner"][for_everybody] = rng.integers(0, owners + 2, for_everybody.sum())
    rows["side"][for_everybody] = rng.choice([-1, 0, 1, 1, 5], for_everybody.sum())
    sometimes(rng, 0.002, rows["side"], [0, 2, -128])
    draw_phases(rng, rows)
    return rows


def draw_times(rng: np.random.Generator, rows: np.ndarray) -> None:
    """Clocks that stand, step and rarely go back, and expiries soon after."""
    n = len(rows)
    rows["ts"] = np.cumsum(rng.choice([0, 0, 0, 1, 1, 10], n)) + rng.choice([0, 2**62])
    rows["expire_ts"] = rows["ts"] + rng.integers(0, rng.choice([5, 100, 2000]), n)
    rows["ts"] -= rng.random(n) < 0.002


def draw_orders(rng: np.random.Generator, rows: np.ndarray) -> None:
    """Types, times in force, flags, policies and quantities."""
    n = len(rows)
    types = list(OrderType)
    rows["order_type"] = rng.choice(types, n, p=rng.dirichlet([14, 2, 1.5, 2]))
    for order_type in types:
        these = rows["order_type"] == order_type
        rows["time_in_force"][these] = rng.choice(LIVES[order_type], these.sum())
        rows["flags"][these] = rng.choice(FLAGS[order_type], these.sum())
    at_once = (rows["time_in_force"] == Life.IOC) | (rows["time_in_force"] == Life.FOK)
    rows["flags"][at_once] &= REDUCE_ONLY
    sometimes(rng, 0.005, rows["order_type"], [0, 1, 2, 3, 4, 255])
    sometimes(rng, 0.01, rows["time_in_force"], [0, 1, 2, 3, 4, 5, 6, 255])
    sometimes(rng, 0.01, rows["flags"], [1, 2, 3, 4, 5, 6, 7, 8, 128])
    policies = rng.choice([0, 0.5, 0.9])
    rows["self_trade"] = np.where(rng.random(n) < policies, rng.integers(1, 5, n), 0)
    sometimes(rng, 0.002, rows["self_trade"], [5, 255])
    largest = int(rng.choice([3, 20, 20, 500, MAX_QTY]))
    rows["qty"] = rng.integers(1, largest + 1, n)
    rows["display_qty"] = 0
    icebergs = (rng.random(n) < rng.choice([0.05, 0.4])) & (rows["order_type"] % 3 == 0)
    share = np.maximum(rng.random(icebergs.sum()) ** 2, 0.05)
    rows["display_qty"][icebergs] = 1 + share * (rows["qty"][icebergs] - 1)
    sometimes(rng, 0.003, rows["display_qty"], [1, largest // 1000 + 1, largest, MAX_QTY])
    sometimes(rng, 0.004, rows["qty"], EXTREME_QUANTITIES)


def draw_prices(rng: np.random.Generator, rows: np.ndarray) -> None:
    """Prices near a wandering middle, buys below it by a little; bands wider than they are."""
    n = len(rows)
    width = int(rng.choice([1, 4, 15, 15, 300]))
    middle = int(rng.choice([0, 100, 100, 100, 100, 100, -70_000, MAX_PX - 2, -MAX_PX + 2]))
    middle = middle + np.cumsum(rng.normal(0, width * 0.03, n)).astype(np.int64)
    apart = int(rng.choice([0, width // 2]))
    for name, away in (("px", -apart), ("stop_px", apart)):
        rows[name] = middle + rng.integers(-width, width + 1, n) + away * rows["side"].astype(np.int64)
        sometimes(rng, 0.003, rows[name], EXTREME_PRICES)
    bands = rows["kind"] == Kind.BANDS
    low, high = middle[bands] - rng.integers(-1, 4 * width, bands.sum()), middle[bands] + 3 * width
    wide = rng.random(bands.sum()) < 0.4
    rows["px"][bands] = np.where(wide, -MAX_PX, low)
    rows["stop_px"][bands] = np.where(wide, MAX_PX, high)


def repeat_prices(rng: np.random.Generator, rows: np.ndarray) -> None:
    """Gives half of the modifications the price their order was last sent with: some keep their place."""
    n = len(rows)
    by_id = np.lexsort((np.arange(n), rows["order_id"]))
    ids, kinds, px = rows["order_id"][by_id], rows["kind"][by_id], rows["px"][by_id]
    sent = np.where(kinds == Kind.ADD, np.arange(n), 0)
    last = np.maximum.accumulate(sent)
    again = (kinds == Kind.MODIFY) & (ids[last] == ids) & (rng.random(n) < 0.5)
    px[again] = px[last][again]
    rows["px"][by_id] = px


def draw_phases(rng: np.random.Generator, rows: np.ndarray) -> None:
    """Puts phase changes among the commands: mostly allowed ones, mostly back to CONTINUOUS before long."""
    phase, at = Phase.CONTINUOUS, 0
    long = int(rng.choice([60, 400, 2000]))
    while True:
        at += 1 + int(rng.exponential({Phase.CONTINUOUS: long, Phase.AUCTION: 50}.get(phase, 12)))
        if at >= len(rows):
            return
        others = [Phase.AUCTION, Phase.AUCTION, Phase.HALTED, Phase.CLOSED]
        new = rng.choice(others if phase == Phase.CONTINUOUS else [Phase.CONTINUOUS] * 4 + others)
        rows["kind"][at] = Kind.PHASE
        rows["qty"][at] = new if rng.random() < 0.97 else rng.integers(-1, 6)
        if (phase, new) != (Phase.AUCTION, Phase.HALTED):
            phase = Phase(int(new))
