"""The funding payments of an asset, as C structs; funding.pxd says what is done with them."""

from libc.stdint cimport INT64_MAX, int64_t

import numpy as np

from engine.backtest.funding_rates import load_funding


cdef class FundingRates:
    """An asset's payments, for as long as somebody follows them.

    Args:
        asset: An ``AssetConfig``, or whatever names its funding so.

    Raises:
        ConfigError: No such thing as funding rates.
        DataError: A file or a rate that cannot be; the message names file, row and field.
    """

    def __cinit__(self, asset):
        cdef const int64_t[:, ::1] rows
        self.funding.next = self.funding.end = NULL
        self.funding.next_ts = INT64_MAX
        self.rows = load_funding(asset)
        if len(self.rows):
            rows = self.rows.view(np.int64).reshape(-1, 3)
            self.funding.next = <const FundingRow*>&rows[0, 0]
            self.funding.end = self.funding.next + rows.shape[0]
            self.funding.next_ts = self.funding.next.ts
