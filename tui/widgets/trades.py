"""The last public trades of the ladder's symbol, newest first."""

from __future__ import annotations

from tui.format import price, quantity, side, time_of_day
from tui.store import Store
from tui.widgets.table import Cell, Column, Row, Table


class Trades(Table):
    """The tape."""

    TITLE, KEY, AGES = "Trades", "", "market"
    SECTIONS = ("trades", "instruments")
    EMPTY = "no trades yet"
    COLUMNS = (
        Column("time UTC", stretch=True, least=12),
        Column("side", leaves=1),
        Column("price", right=True),
        Column("qty", right=True),
    )
    can_focus = False
    symbol = ""

    def inputs(self) -> tuple[object, ...]:
        """The symbol decides what is shown, too."""
        return (self.symbol,)

    def read(self, store: Store) -> None:
        """Takes in the symbol's trades."""
        trades = store.trades.get(self.symbol) or ()
        tick, lot = store.tick_size(self.symbol), store.lot_size(self.symbol)

        def row(index: int) -> Row:
            trade = trades[index]
            return (
                time_of_day(trade.exch_ts or trade.ts),
                Cell(side(trade.side), trade.side),
                Cell(price(trade.px, tick), trade.side),
                quantity(trade.qty, lot),
            )

        self.set_rows(len(trades), row)
