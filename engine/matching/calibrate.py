"""Scales what market orders bring about until a simulated market has as many of them as the recording.

A Hawkes process fitted to a recording holds every market order, also those with which the informed and the
followers answered others. In a simulated market these come by themselves, so the fitted reaction would count
them twice.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from engine.core.types import event_dtype
from engine.matching.laws import Law
from engine.matching.population import Population

SECONDS = 1200
"""Of simulated market a trial: some 20,000 market orders at the packaged law's rate."""
SEED = 1
TRIALS = 7
"""Halvings of the range of factors: what is left is below the trials' own noise."""
_TRADE = 2
_BUY = np.uint64(1 << 29)


def calibrated(law: Law, rate: float) -> tuple[Law, float]:
    """Makes a law's market as busy as what it was fitted to.

    Args:
        law: As fitted.
        rate: Market orders a second in the recording.

    Returns:
        The law, and the factor by which its takers' excitation was multiplied, 0 to 1. It is 1 where the
        simulated market has too few anyway.
    """
    if market_orders(law) <= rate * SECONDS:
        return law, 1.0
    low, high = 0.0, 1.0
    for _ in range(TRIALS):
        middle = 0.5 * (low + high)
        if market_orders(_excited(law, middle)) > rate * SECONDS:
            high = middle
        else:
            low = middle
    return _excited(law, low), low


def _excited(law: Law, factor: float) -> Law:
    takers = law.takers
    return replace(
        law,
        takers=replace(
            takers,
            self_excite=tuple(float(f"{factor * x:.5g}") for x in takers.self_excite),
            cross_excite=tuple(float(f"{factor * x:.5g}") for x in takers.cross_excite),
        ),
    )


def market_orders(law: Law) -> int:
    """How many market orders there are in :data:`SECONDS` of a law's market, without regimes and news.

    Prints of one time and side count as one, as in a recording.

    Args:
        law: The law.
    """
    # Regimes and news are assumed, and would make a trial of minutes say more about them than about takers.
    plain = replace(law, fair=replace(law.fair, activity=0.0, news=0.0))
    market = Population(
        plain,
        seed=SEED,
        start_ts=0,
        speed=1.0,
        tick_size=law.market.tick_size,
        lot_size=law.market.lot_size,
        start_tick=round(law.market.start_price / law.market.tick_size),
    )
    rows = np.zeros(1 << 16, event_dtype)
    count, last = 0, (-1, False)
    end = SECONDS * 1_000_000_000
    while True:
        n = market.fill(rows, end)
        prints = rows[:n][(rows["ev"][:n] & np.uint64(0xFF)) == _TRADE]
        for ts, buys in zip(prints["exch_ts"].tolist(), ((prints["ev"] & _BUY) != 0).tolist(), strict=True):
            count += (ts, buys) != last
            last = ts, buys
        if n < len(rows):
            return count
