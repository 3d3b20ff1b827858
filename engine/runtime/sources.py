"""The event sources that a daemon's configuration asks for."""

from __future__ import annotations

from engine.feeds.base import EventSource
from engine.runtime.config import DaemonConfig


def of_config(config: DaemonConfig) -> list[EventSource]:
    """One source an instrument, in the configuration's order.

    Args:
        config: The daemon's.

    Raises:
        DataError: A recording is missing or no recording.
    """
    feed = config.feed
    if feed.kind == "replay":
        from engine.feeds.replay import open_source

        return [open_source(asset.symbol, *asset.data, loop=feed.loop) for asset in config.instruments]
    from engine.feeds.simulated import SimulatedMarket

    return [
        SimulatedMarket(
            asset.symbol,
            seed=feed.seed,
            tick_size=asset.tick_size,
            lot_size=asset.lot_size,
            start_px=feed.start_px,
            rate=feed.rate,
            seconds=feed.seconds or None,
        )
        for asset in config.instruments
    ]
