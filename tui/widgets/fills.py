"""Fills of all strategies, newest first, each with the reason it happened."""

from __future__ import annotations

from tui.format import (
    compact,
    money,
    money_digits,
    price,
    quantity,
    reason,
    side,
    signed_quantity,
    time_of_day,
)
from tui.store import Store
from tui.widgets.table import Cell, Column, Row, Table


class Fills(Table):
    """The fills table."""

    TITLE, KEY = "Fills", "4"
    SECTIONS = ("fills", "instruments")
    EMPTY = "no fills yet"
    COLUMNS = (
        Column("time UTC", leaves=1),
        Column("strategy", leaves=2, stretch=True),
        Column("symbol", leaves=4),
        Column("side"),
        Column("price", right=True),
        Column("qty", right=True),
        Column("reason", leaves=3),
        Column("fee", right=True, leaves=5),
        Column("", leaves=8),
        Column("mid", right=True, leaves=7),
        Column("position", right=True, leaves=6),
    )

    def detail(self, store: Store) -> str:
        """How many the engine counts, or we hold."""
        return compact(store.status.fills if store.status else len(store.fills)) if store.fills else ""

    def read(self, store: Store) -> None:
        """Takes in the fills."""
        fills = store.fills
        digits = money_digits(fill.fee for fill in list(fills)[:50])

        def row(index: int) -> Row:
            fill = fills[index]
            tick, lot = store.tick_size(fill.symbol), store.lot_size(fill.symbol)
            return (
                time_of_day(fill.exch_ts or fill.ts),
                fill.strategy_id,
                fill.symbol,
                Cell(side(fill.side), fill.side),
                Cell(price(fill.px, tick), fill.side),
                quantity(fill.qty, lot),
                reason(fill.reason),
                money(-fill.fee, digits),
                "maker" if fill.is_maker else "taker",
                price(fill.mid_price, tick),
                signed_quantity(fill.position, lot),
            )

        self.set_rows(len(fills), row)
