"""The venue that a daemon's configuration asks for."""

from __future__ import annotations

from engine.gateways.venue import Venue
from engine.runtime.config import DaemonConfig


def of_config(config: DaemonConfig) -> Venue:
    """What the engine trades with: a model of a venue beside its feed, or the market itself.

    Args:
        config: The daemon's.

    Raises:
        ConfigError: A model does not load, or the law of the market is wrong.
    """
    feed = config.feed
    if feed.kind != "market":
        from engine.gateways.paper import Paper

        return Paper(config.instruments, config.engine.max_orders)
    from engine.feeds.market import AgentMarket
    from engine.gateways.market import MarketVenue

    sources = [
        AgentMarket(
            asset.symbol,
            law=feed.law or None,
            seed=feed.seed,
            tick_size=asset.tick_size,
            lot_size=asset.lot_size,
            start_px=feed.start_px,
            start_ts=feed.opens,
            rate=feed.rate,
        )
        for asset in config.instruments
    ]
    markets = [source.population(agents=feed.agents) for source in sources]
    return MarketVenue(config.instruments, markets, config.engine.max_orders)
