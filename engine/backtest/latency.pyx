"""Latency models by name."""


cdef LatencyModel latency_from_config(object asset):
    """The latency model of an ``AssetConfig``."""
    cdef LatencyModel model
    model.kind = LATENCY_CONSTANT
    model.entry_ns = asset.entry_latency_ns
    model.response_ns = asset.response_latency_ns
    return model
