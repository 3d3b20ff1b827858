"""Positions and PnL, a row for each strategy and symbol, and totals."""

from __future__ import annotations

from tui.format import NOTHING, compact, money, money_digits, price, signed_quantity
from tui.model import Totals, net_pnl
from tui.store import Store
from tui.widgets.table import Cell, Column, Row, Table


def _toned(text: str, value: float) -> Cell:
    return Cell(
        text, "buy" if value > 0 and text[0] == "+" else "sell" if value < 0 and text[0] == "-" else ""
    )


class Positions(Table):
    """The positions table; picking a row selects its strategy and symbol."""

    TITLE, KEY, AGES = "Positions & PnL", "1", "market"
    SECTIONS = ("positions", "instruments")
    CURSOR = True
    EMPTY = "no position reported yet"
    COLUMNS = (
        Column("strategy", stretch=True, least=12),
        Column("symbol", leaves=2),
        Column("position", right=True),
        Column("avg px", right=True, leaves=3),
        Column("mid", right=True, leaves=7),
        Column("unreal", right=True, leaves=4),
        Column("realized", right=True, leaves=5),
        Column("fees", right=True, leaves=6),
        Column("net PnL", right=True),
        Column("trades", right=True, leaves=8),
        Column("turnover", right=True, leaves=9),
    )

    def read(self, store: Store) -> None:
        """Takes in positions and totals."""
        keys = sorted(store.positions)
        rows = [store.positions[key] for key in keys]
        totals = store.totals() if rows else []
        digits = {
            total.asset: money_digits(
                value
                for p in rows
                if store.asset(p.symbol) == total.asset
                for value in (p.realized_pnl, p.unrealized_pnl, p.fee)
            )
            for total in totals
        }

        def row(index: int) -> Row:
            if index >= len(rows):
                total = totals[index - len(rows)]
                return self._total(total, digits[total.asset], alone=len(totals) == 1)
            p = rows[index]
            tick, lot, places = (
                store.tick_size(p.symbol),
                store.lot_size(p.symbol),
                digits[store.asset(p.symbol)],
            )
            return (
                p.strategy_id,
                p.symbol,
                _toned(signed_quantity(p.position, lot), p.position),
                price(p.avg_px, tick),
                price(p.mid_px, tick),
                _toned(money(p.unrealized_pnl, places), p.unrealized_pnl),
                _toned(money(p.realized_pnl, places), p.realized_pnl),
                money(-p.fee, places),
                _toned(money(net_pnl(p), places), net_pnl(p)),
                compact(p.num_trades),
                compact(p.trading_value),
            )

        self.set_rows(len(rows) + len(totals), row, keys)

    @staticmethod
    def _total(total: Totals, digits: int, *, alone: bool) -> Row:
        net = money(total.net, digits)
        return (
            Cell("TOTAL" if alone else f"TOTAL {total.asset}", "strong"),
            "",
            "",
            "",
            "",
            _toned(money(total.unrealized_pnl, digits), total.unrealized_pnl),
            _toned(money(total.realized_pnl, digits), total.realized_pnl),
            money(-total.fee, digits),
            _toned(net, total.net) if net != NOTHING else Cell(net),
            compact(total.num_trades),
            compact(total.trading_value),
        )
