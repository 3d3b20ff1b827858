"""Instruments from configuration; the arithmetic itself is inline in core/types.pxd."""

from engine.core.types cimport Instrument


cdef Instrument instrument_from_config(object asset)
