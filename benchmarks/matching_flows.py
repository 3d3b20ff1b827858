"""The order flows of bench_matching.py, as arrays of commands; seeded, the same for every contender."""

from __future__ import annotations

import numpy as np

from engine.matching.records import Kind, Life, command_dtype

OWNERS = 8
MID = 10_000
FURTHEST = 500
KINDS = (Kind.ADD, Kind.CANCEL, Kind.MODIFY, None, Kind.REDUCE)
SHARES = (0.46, 0.425, 0.08, 0.025, 0.01)


def crossing(n: int, seed: int = 1) -> np.ndarray:
    """Liquibook's flow: buys and sells in turn, each at one of ten prices; six prices of ten overlap.

    Args:
        n: Commands.
        seed: Of the prices and quantities.
    """
    rng = np.random.default_rng(seed)
    buys = np.arange(n) % 2 == 0
    commands = np.zeros(n, command_dtype)
    commands["kind"] = Kind.ADD
    commands["order_id"] = np.arange(1, n + 1)
    commands["owner"] = 1 + np.arange(n) % OWNERS
    commands["side"] = np.where(buys, 1, -1)
    commands["px"] = rng.integers(0, 10, n) + np.where(buys, 1_880, 1_884)
    commands["qty"] = 100 * rng.integers(1, 11, n)
    return commands


def mix(n: int, live: int, *, matching: bool = True, seed: int = 1) -> np.ndarray:
    """A day's mix around a steady mid: 46 % add, 43 % delete, 8 % replace, 2.5 % execute, 1 % reduce.

    Orders lie a geometric distance from the mid, 50 ticks on average; any live order may be deleted,
    replaced or reduced. To execute is an IOC order of the size of one order, or without matching a reduction.

    Args:
        n: Commands after the first.
        live: Orders that the first commands add; about as many stay live.
        matching: Whether executions match.
        seed: Of everything.
    """
    rng = np.random.default_rng(seed)
    total = live + n
    kinds = np.concatenate([np.zeros(live, np.int8), rng.choice(5, n, p=SHARES).astype(np.int8)])
    side = rng.choice([1, -1], total)
    distance = np.minimum(rng.geometric(1 / 50, total), FURTHEST)
    order_id = np.zeros(total, np.uint64)
    pool: list[int] = []
    side_of = np.zeros(total + 1, np.int8)
    picks = rng.random(total)
    last = 0
    for i in range(total):
        if kinds[i] == 0 and len(pool) > live + live // 20:
            kinds[i] = 1
        if kinds[i] == 0 or (kinds[i] == 3 and matching):
            last += 1
            order_id[i] = last
            side_of[last] = side[i]
            if kinds[i] == 0:
                pool.append(last)
            continue
        at = int(picks[i] * len(pool))
        order_id[i] = pool[at]
        side[i] = side_of[pool[at]]
        if kinds[i] == 1:
            pool[at] = pool[-1]
            pool.pop()
    commands = np.zeros(total, command_dtype)
    commands["kind"] = np.array([k or (Kind.ADD if matching else Kind.REDUCE) for k in KINDS], np.uint8)[
        kinds
    ]
    commands["order_id"] = order_id
    commands["owner"] = 1 + order_id % OWNERS
    commands["side"] = side
    commands["px"] = MID - side * distance
    commands["qty"] = 10 * rng.integers(1, 11, total)
    executes = kinds == 3
    if matching:
        commands["px"][executes] = MID + side[executes] * (FURTHEST + 1)
        commands["time_in_force"][executes] = Life.IOC
    commands["qty"][executes | (kinds == 4)] = 50 if matching else 5
    commands["qty"][kinds == 4] = 5
    return commands


def rows(commands: np.ndarray) -> list[tuple]:
    """Commands as the Python peers take them: (kind, order id, side, px, qty, time in force)."""
    return commands[["kind", "order_id", "side", "px", "qty", "time_in_force"]].tolist()
