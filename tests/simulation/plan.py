"""What a seed makes of a world: its faults, its venue, its strategies."""

from __future__ import annotations

import random
from dataclasses import dataclass

from engine.backtest.config import AssetConfig, StrategyConfig
from engine.runtime.config import DaemonConfig, EngineSection, ExternalSection, FeedSection

SYMBOL, TICK, LOT = "BTCUSDT", 0.1, 0.001
MOST_LOTS = 5
"""Lots that an order may have."""
QUEUES = ("risk_adverse_queue_model", "log_prob_queue_model2", "power_prob_queue_model3")
ORDERS_RESERVE = 8192
"""Below this many free slots of ``orders_out`` the engine denies new orders."""


@dataclass
class Plan:
    """What a seed makes of the world: how long, and how likely each fault is in a step."""

    market: bool
    steps: int
    orders_in: int
    filler: int
    latency_ns: int
    loss: float
    stall: float
    gap: float
    silence: float
    hang_up: float
    command: float
    most: int
    journal: bool
    death: float

    @classmethod
    def of(cls, rng: random.Random) -> Plan:
        """Draws a plan; each fault is absent from half the worlds, so that it also meets the others alone."""

        def some(most: float) -> float:
            return rng.random() * most if rng.random() < 0.5 else 0.0

        return cls(
            market=rng.random() < 0.06,
            steps=rng.randint(4, 12) if rng.random() < 0.9 else 40,
            orders_in=rng.choice((4, 16, 64)),
            filler=rng.choice((0, 0, 0, ORDERS_RESERVE - 200)),
            latency_ns=rng.choice((0, 1_000, 1_000_000, 30_000_000)),
            loss=some(0.3),
            stall=some(0.5),
            gap=some(0.5),
            silence=some(0.5),
            hang_up=some(0.2),
            command=some(0.4),
            most=rng.randint(1, 40),
            journal=rng.random() < 0.02,
            death=rng.random() * 0.5,
        )


def configuration(plan: Plan, rng: random.Random, seed: int) -> DaemonConfig:
    """The daemon's configuration in a world.

    Args:
        plan: The world's.
        rng: Draws the venue's models and the market maker's parameters.
        seed: The world's.
    """
    asset = AssetConfig(
        symbol=SYMBOL,
        tick_size=TICK,
        lot_size=LOT,
        maker_fee=-0.00005,
        taker_fee=0.0007,
        queue_model=rng.choice(QUEUES),
        exchange=rng.choice(("no_partial_fill_exchange", "partial_fill_exchange")),
        entry_latency_ns=plan.latency_ns,
        response_latency_ns=rng.choice((0, plan.latency_ns)),
    )
    limits = {"max_position": plan.most * LOT, "max_order_qty": MOST_LOTS * LOT}
    params = {
        "interval_ns": rng.choice((3_000_000, 20_000_000)),
        "half_spread": 0.0,
        "order_qty": 3 * LOT,
        "max_position": 1000 * LOT,
        "grid_num": rng.choice((1, 3)),
    }
    maker = StrategyConfig(id="mm", cls="engine.strategy.native:MarketMaker", params=params, limits=limits)
    return DaemonConfig(
        engine=EngineSection(max_orders=24, depth_interval_us=0),
        feed=FeedSection(kind="market" if plan.market else "replay", agents=False, seed=seed),
        external=ExternalSection(limits=limits),
        instruments=[asset],
        strategies=[maker],
    )
