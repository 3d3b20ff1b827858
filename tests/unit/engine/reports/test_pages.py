"""The pages of a report: whole, of themselves, readable without colours of the screen."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from engine.reports import charts, draw, html, pdf
from engine.reports.report import Report
from engine.reports.session import tick_dtype
from tests.kit.reported import backtested, by_hand

VOID = {"meta", "link", "img", "br"}


class _Balance(HTMLParser):
    """Raises where an element is not closed by its own end, and keeps what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def report():
    return Report(backtested(), facts={"git commit": "<none>"})


def test_a_page_is_whole_and_of_itself(report):
    page = html.page(report, title="Two & two")
    found = _Balance()
    found.feed(page)
    assert found.open == []
    assert found.links == []
    assert "url(" not in page
    assert "@import" not in page
    assert set(re.findall(r"https?://[^\"' <]+", page)) == {"http://www.w3.org/2000/svg"}
    said = " ".join(found.words)
    for words in ("Two & two", "Equity", "Markouts", "takes OTHER", "queue depletion", "<none>"):
        assert words in said


def test_what_a_reader_can_point_at_is_what_the_chart_shows(report):
    part = report.cells[0]
    drawn = ElementTree.fromstring(charts.over_time(part))
    course = json.loads(drawn.get("data-course"))
    assert set(course["values"]) == {"equity", "before fees", "drawdown", "price", "position"}
    assert {len(values) for values in course["values"].values()} == {len(course["ms"])}
    assert course["ms"] == sorted(course["ms"])
    assert course["ms"][-1] == part.series.ts[-1] // 1_000_000
    assert course["values"]["price"][-1] == draw.amount(part.series.price[-1])
    assert course["values"]["position"][-1] == draw.amount(part.series.position[-1])


def test_the_first_drawdown_is_the_deepest_that_the_chart_shows(report):
    part = report.whole
    equity = part.series.equity
    deepest = max(max(equity[: i + 1]) - equity[i] for i in range(len(equity)))
    assert part.drawdown == pytest.approx(deepest)
    assert part.drawdown >= part.returns.max_drawdown
    assert replace(part, book_size=50.0).drawdown == pytest.approx(deepest / 50.0)
    assert part.to_json()["drawdown"] == part.drawdown
    assert f">{draw.amount(part.drawdown)}<" in html.page(report, title="t")


def test_a_sharpe_ratio_of_minutes_is_not_a_headline(report):
    assert report.whole.returns.days < 1
    assert "less than a day" in html.page(report, title="t")


def test_every_colour_has_a_value_in_each_theme(report):
    used = set(re.findall(r"var\(--([a-z0-9]+)\)", html.page(report)))
    light, rest = html.stylesheet().split('[data-theme="dark"]', 1)
    dark, paper = rest.split("@media print", 1)
    for theme in (light, dark, paper):
        assert used <= set(re.findall(r"--([a-z0-9]+):", theme))


def test_drawings_are_well_formed(report):
    drawn = 0
    for part in [report.whole, *report.cells]:
        for make in (charts.over_time, charts.waterfall, charts.markouts, charts.so_far, charts.fates,
                     charts.latencies, charts.slippage, charts.inventory, charts.tick_to_trade):  # fmt: skip
            if text := make(part):
                tree = ElementTree.fromstring(text)
                drawn += 1
                for element in tree.iter():
                    for name in ("x", "y", "width", "height", "cx", "cy", "d"):
                        assert "nan" not in element.get(name, "")
                        assert "inf" not in element.get(name, "")
    assert drawn > 15


def _timed(report: Report, per_cell: int) -> Report:
    """The report with requests that took 1, 2, 3 ... microseconds in each strategy and instrument."""
    ticks = np.zeros(per_cell * len(report.cells), tick_dtype)
    symbols = [one.symbol for one in report.session.instruments]
    for place, part in enumerate(report.cells):
        mine = ticks[place * per_cell : (place + 1) * per_cell]
        mine["took"] = np.arange(1, per_cell + 1) * 1_000
        mine["strategy"] = report.session.strategies.index(part.strategy)
        mine["instrument"] = symbols.index(part.symbol)
    return Report(replace(report.session, ticks=ticks))


def test_tick_to_trade_is_drawn_where_it_was_measured(report):
    assert charts.tick_to_trade(report.whole) == ""
    assert "tick to trade" not in html.page(report).lower()
    timed = _timed(report, 21)
    drawn = charts.tick_to_trade(timed.whole)
    for part in timed.cells:
        assert f"{part.name}: median 11 µs" in drawn
        assert "requests: median 11 µs" in charts.tick_to_trade(part)
    counts = [int(found.replace(",", "")) for found in re.findall(r"µs: ([0-9,]+)", drawn)]
    assert sum(counts) == 21 * len(timed.cells)
    page = html.page(timed)
    assert page.count("Tick to trade") >= 1 + len(timed.cells)
    assert "<td>p50</td><td>11 µs</td>" in page


def test_a_session_without_anything_has_a_page_too():
    empty = by_hand()
    found = _Balance()
    found.feed(html.page(Report(empty)))
    assert found.open == []
    json.dumps(Report(empty).to_json(), allow_nan=False)
    json.dumps(Report(replace(empty, accounts=())).to_json(), allow_nan=False)


def test_a_pdf(report, tmp_path):
    pytest.importorskip("weasyprint")
    text = pdf.printed(report)
    assert "var(" not in text.split("</style>", 1)[1]
    assert "<script" not in text
    # What takes time to lay out is how much there is.
    pdf.write(Report(by_hand([{"side": 1, "qty": 1, "px": 99.0}])), str(tmp_path / "a.pdf"))
    data = (tmp_path / "a.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")


def test_lines_are_thinned_without_losing_their_ends():
    x = np.arange(100_000)
    y = np.sin(x / 3000.0)
    y[77_777] = 9.0
    a, b = draw.thinned(x, y, 1000)
    assert len(a) <= 1000
    assert (a[0], a[-1]) == (0, 99_999)
    assert b.max() == 9.0
    assert (np.diff(a) > 0).all()


@pytest.mark.parametrize(
    ("value", "step", "said"),
    [(0.0, 5.0, "0"), (61_850.0, 50.0, "61,850"), (150_000.0, 50_000.0, "150 k"), (-0.5, 0.25, "\u22120.50"),
     (2_500_000.0, 500_000.0, "2,500 k"), (2.5e7, 5e6, "25 M"), (0.05, 0.05, "0.05"), (2.5, 2.5, "2.5")],
)  # fmt: skip
def test_numbers_of_axes(value, step, said):
    assert draw.number(value, step) == said
