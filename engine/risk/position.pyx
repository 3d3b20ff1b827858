"""A position for Python: what reports, recovery and tests keep outside the kernel."""

cimport cython
from libc.string cimport memset

from engine.core.types cimport ASSET_INVERSE

from engine.core.errors import ConfigError

import math


@cython.final
cdef class PositionKeeper:
    """One position, kept as the kernel keeps it; the arithmetic is position.pxd's.

    Args:
        tick_size: Price units of a tick.
        lot_size: Quantity units of a lot.
        contract_size: Contract multiplier.
        inverse: Whether the asset settles in the coin.

    Raises:
        ConfigError: A size is not a positive number.
    """

    def __cinit__(self, double tick_size, double lot_size, double contract_size=1.0, bint inverse=False):
        for name, size in (("tick", tick_size), ("lot", lot_size), ("contract", contract_size)):
            if not math.isfinite(size) or size <= 0:
                raise ConfigError(f"{name} size {size} is not a positive number")
        memset(&self.position, 0, sizeof(Position))
        memset(&self.inst, 0, sizeof(Instrument))
        self.inst.tick_size = tick_size
        self.inst.lot_size = lot_size
        self.inst.contract_size = contract_size
        self.inst.asset_kind = ASSET_INVERSE if inverse else ASSET_LINEAR

    def apply(self, int side, int64_t price_tick, int64_t lots, double fee=0.0):
        """Adds an execution.

        Args:
            side: 1 or -1.
            price_tick: Its price.
            lots: Its quantity, above 0.
            fee: Its fee; negative is a rebate.
        """
        if side not in (1, -1) or lots <= 0 or price_tick <= 0:
            raise ValueError(f"no execution: side {side}, {lots} lots at tick {price_tick}")
        position_apply(&self.position, &self.inst, side, price_tick, lots, fee)

    @property
    def lots(self):
        """Lots held, signed."""
        return self.position.lots

    @property
    def qty(self):
        """The position in quantity units."""
        return position_qty(&self.position, &self.inst)

    @property
    def avg_px(self):
        """Average cost in price units; NaN when flat."""
        return position_avg_px(&self.position, &self.inst)

    @property
    def realized_pnl(self):
        """Realized PnL before fees, by average cost."""
        return self.position.realized_pnl

    @property
    def balance(self):
        """hftbacktest's balance: minus the signed value of all trades."""
        return self.position.balance

    @property
    def fee(self):
        """Fees paid."""
        return self.position.fee

    @property
    def num_trades(self):
        """Executions."""
        return self.position.num_trades

    @property
    def trading_volume(self):
        """Quantity traded, both sides."""
        return self.position.trading_volume

    @property
    def trading_value(self):
        """Value traded, both sides."""
        return self.position.trading_value

    def unrealized_pnl(self, double mid):
        """What closing at ``mid`` would realise, before fees."""
        return position_unrealized(&self.position, &self.inst, mid)

    def equity(self, double mid):
        """hftbacktest's equity at ``mid``."""
        return position_equity(&self.position, &self.inst, mid)
