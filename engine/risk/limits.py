"""Risk limits of a strategy in an instrument, as a configuration names them."""

from __future__ import annotations

from typing import Annotated

import msgspec

Positive = Annotated[float, msgspec.Meta(gt=0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class RiskLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an order must not exceed; ``None`` sets no limit.

    Attributes:
        max_position: The position, on either side, that could result with every open order of that
            side filled; quantity units. 0 allows only orders that reduce.
        max_order_qty: The quantity of one order; quantity units.
        max_notional: The value of one order, in the settlement currency.
        max_open_orders: Live orders at a time, those with a request in flight included.
    """

    max_position: NotNegative | None = None
    max_order_qty: Positive | None = None
    max_notional: Positive | None = None
    max_open_orders: Annotated[int, msgspec.Meta(ge=0, le=2**32 - 2)] | None = None

    def merged(self, change: RiskLimits) -> RiskLimits:
        """These limits with every limit that ``change`` sets in place of the present one."""
        return RiskLimits(
            max_position=self.max_position if change.max_position is None else change.max_position,
            max_order_qty=self.max_order_qty if change.max_order_qty is None else change.max_order_qty,
            max_notional=self.max_notional if change.max_notional is None else change.max_notional,
            max_open_orders=self.max_open_orders
            if change.max_open_orders is None
            else change.max_open_orders,
        )


UNLIMITED = RiskLimits()
"""No limits, which is the default."""
