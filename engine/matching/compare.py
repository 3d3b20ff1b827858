"""A recording and a simulated market side by side: six charts on a page, and a table of figures."""

from __future__ import annotations

from engine.matching.charts import Chart, page
from engine.matching.facts import Facts

_ROWS = {
    "seconds": ("seconds looked at", "{:,.0f}"),
    "spread_one_tick": ("spread is one tick, share of updates", "{:.3f}"),
    "spread_mean_ticks": ("mean spread, ticks", "{:.2f}"),
    "best_lots_mean": ("mean quantity at the best, lots", "{:,.0f}"),
    "level_changes_per_second": ("changes of levels a second", "{:,.0f}"),
    "market_orders_per_second": ("market orders a second", "{:.1f}"),
    "sign_autocorrelation_1": ("autocorrelation of their sides, next one", "{:.2f}"),
    "sign_autocorrelation_10": ("the same, ten later", "{:.2f}"),
    "mid_moves_per_second": ("moves of the mid price a second", "{:.2f}"),
    "passed_levels_traded": ("share traded of levels moved through", "{:.2f}"),
    "volatility_0_1s": ("volatility over 0.1 s, ticks in the root of a second", "{:.0f}"),
    "volatility_1s": ("volatility over 1 s", "{:.0f}"),
    "volatility_10s": ("volatility over 10 s", "{:.0f}"),
    "excess_kurtosis_1s": ("excess kurtosis of 1 s returns", "{:.1f}"),
    "excess_kurtosis_10s": ("excess kurtosis of 10 s returns", "{:.1f}"),
    "impact_1s_of_median_order": ("move in the second after a median market order, ticks", "{:.1f}"),
    "impact_1s_of_largest_percent": ("move after the largest percent", "{:.1f}"),
}
_CHARTS = {
    "spread": ("Spread", "ticks", "share of updates above", "xy"),
    "depth": ("Depth profile", "ticks from the best, plus 1", "mean lots a tick", "xy"),
    "waits": ("Between market orders", "seconds", "share of waits above", "xy"),
    "tails": ("Return tails, 1 s", "standard deviations", "share above", "xy"),
    "clusters": ("Volatility clustering", "lag, seconds", "autocorrelation of absolute returns", ""),
    "impact": ("Impact after 1 s", "lots of the market order", "ticks in its direction", "x"),
}
"""Facts by name: title, axes, and which of them are logarithmic."""


def picture(real: Facts, simulated: Facts) -> str:
    """The charts, as SVG.

    Args:
        real: The recording's facts.
        simulated: The simulated market's.
    """

    charts = []
    for name, (title, x, y, log) in _CHARTS.items():
        curves = [("recording", getattr(real, name)), ("simulated", getattr(simulated, name))]
        charts.append(
            Chart(
                title,
                x,
                y,
                [(label, curve.x, curve.y) for label, curve in curves],
                log_x="x" in log,
                log_y="y" in log,
                marks=log != "xy",
            )
        )
    return page(charts)


def table(real: Facts, simulated: Facts) -> str:
    """The figures, as a table in Markdown.

    Args:
        real: The recording's facts.
        simulated: The simulated market's.
    """
    lines = ["| figure | recording | simulated |", "|---|---|---|"]
    for key, (label, style) in _ROWS.items():
        values = [
            style.format(side.figures[key]) if key in side.figures else "" for side in (real, simulated)
        ]
        lines.append(f"| {label} | {values[0]} | {values[1]} |")
    return "\n".join(lines)
