"""Binance's wire formats."""
