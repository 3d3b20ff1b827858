"""The market replayed: own orders against recorded data, with latency, queue and fee models."""
