"""Asset kinds by name, and their arithmetic for Python."""

from libc.string cimport memset

from engine.core.types cimport ASSET_INVERSE, ASSET_LINEAR, Instrument, instrument_amount, instrument_equity


cdef Instrument instrument_from_config(object asset):
    """The instrument of an ``AssetConfig``."""
    cdef Instrument instrument
    memset(&instrument, 0, sizeof(Instrument))
    instrument.tick_size = asset.tick_size
    instrument.lot_size = asset.lot_size
    instrument.contract_size = asset.contract_size
    instrument.asset_kind = ASSET_INVERSE if asset.asset == "inverse" else ASSET_LINEAR
    return instrument


def amount(asset, px: float, qty: float) -> float:
    """The value of ``qty`` contracts at ``px``: in the quote for linear, in the base for inverse assets."""
    cdef Instrument instrument = instrument_from_config(asset)
    return instrument_amount(&instrument, px, qty)


def equity(asset, px: float, balance: float, position: float, fee: float) -> float:
    """What an account is worth at ``px``, in hftbacktest's definition."""
    cdef Instrument instrument = instrument_from_config(asset)
    return instrument_equity(&instrument, px, balance, position, fee)
