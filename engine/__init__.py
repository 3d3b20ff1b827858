"""Ringbook's engine: order books, matching, backtest, paper and live trading on one core."""

from engine._version import __version__

__all__ = ["__version__"]
