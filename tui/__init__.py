"""The terminal UI, one more client of the bridge."""
