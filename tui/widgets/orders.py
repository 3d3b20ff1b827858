"""Orders of all strategies: live ones first, then those that ended."""

from __future__ import annotations

from tui.format import price, quantity, reason, side, status, time_of_day
from tui.store import Store
from tui.widgets.table import Cell, Column, Row, Table

_TONES = {"REJECTED": "bad", "DENIED": "bad", "FILLED": "accent"}


class Orders(Table):
    """The orders table."""

    TITLE, KEY = "Orders", "3"
    SECTIONS = ("orders", "instruments")
    EMPTY = "no orders yet"
    COLUMNS = (
        Column("time UTC", leaves=3),
        Column("strategy", leaves=2, stretch=True),
        Column("symbol", leaves=4),
        Column("side"),
        Column("price", right=True),
        Column("qty", right=True, leaves=5),
        Column("open", right=True),
        Column("status"),
        Column("type", leaves=7),
        Column("reason", leaves=6),
        Column("id", right=True, leaves=8),
    )

    def detail(self, store: Store) -> str:
        """How many are live."""
        return str(len(store.live_orders)) if store.live_orders else ""

    def read(self, store: Store) -> None:
        """Takes in all orders."""
        orders = list(store.orders())
        live = len(store.live_orders)

        def row(index: int) -> Row:
            order = orders[index]
            quiet = "" if index < live else "quiet"
            tick, lot = store.tick_size(order.symbol), store.lot_size(order.symbol)
            kind = order.time_in_force if order.order_type == "limit" else "MARKET"
            return (
                Cell(time_of_day(order.ts), quiet),
                Cell(order.strategy_id, quiet),
                Cell(order.symbol, quiet),
                Cell(side(order.side), order.side if index < live else "quiet"),
                Cell(price(order.px, tick), order.side if index < live else "quiet"),
                Cell(quantity(order.qty, lot), quiet),
                Cell(quantity(order.leaves_qty, lot) if index < live else "", quiet),
                Cell(
                    status(order.status),
                    _TONES.get(order.status.upper(), "strong" if index < live else "quiet"),
                ),
                Cell(kind, quiet),
                Cell(reason(order.reason), quiet),
                Cell(str(order.client_order_id or order.order_id), quiet),
            )

        self.set_rows(len(orders), row)
