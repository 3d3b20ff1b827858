"""What a strategy is, and what it may call."""
