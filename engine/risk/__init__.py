"""Positions and the limits that orders are checked against."""
