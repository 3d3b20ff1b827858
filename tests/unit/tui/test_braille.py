import math
import random

import pytest

from tui.braille import ZERO_CHAR, bounds, nice_step, plot


def cells(drawn):
    """The rows, a (character, tone) for each cell."""
    return [[(char, tone) for text, tone in row for char in text] for row in drawn.rows]


def text(drawn):
    return ["".join(char for char, _ in row) for row in cells(drawn)]


def dots(drawn):
    return sum(
        (ord(char) - 0x2800).bit_count()
        for row in cells(drawn)
        for char, _ in row
        if 0x2800 <= ord(char) < 0x2900
    )


def test_a_rise_goes_from_bottom_left_to_top_right():
    drawn = plot(list(range(8)), [float(i) for i in range(8)], 4, 2)
    top, bottom = text(drawn)
    assert top.strip()[-1] != " "
    assert bottom[0] != " "
    assert top[0] == " "


def test_every_column_has_the_line():
    rng = random.Random(3)
    times = sorted(rng.sample(range(10**12), 500))
    values = [rng.gauss(0, 5) for _ in times]
    drawn = plot(times, values, 40, 9)
    for column in range(40):
        assert any(0x2800 < ord(row[column][0]) < 0x2900 for row in cells(drawn))


def test_zero_line_and_tones():
    drawn = plot([0, 10, 20, 30], [4.0, 4.0, -4.0, -4.0], 20, 8)
    assert 0.0 in drawn.axis.labels.values()
    zero = next(row for row, value in drawn.axis.labels.items() if value == 0.0)
    assert any(char == ZERO_CHAR for char, _ in cells(drawn)[zero])
    assert {tone for row in cells(drawn)[:zero] for _, tone in row} <= {"gain", "gain-ground", ""}
    assert {tone for row in cells(drawn)[zero + 1 :] for _, tone in row} <= {"loss", "loss-ground", ""}
    assert cells(drawn)[0][0][1] == "gain"
    assert cells(drawn)[-1][-1][1] == "loss"


def test_zero_is_left_out_where_it_would_flatten_the_line():
    drawn = plot([0, 1, 2], [1000.0, 1001.0, 1000.5], 10, 5)
    assert 0.0 not in drawn.axis.labels.values()
    assert all(char != ZERO_CHAR for row in cells(drawn) for char, _ in row)
    assert {tone for row in cells(drawn) for _, tone in row} <= {"gain", "gain-ground", ""}
    losing = plot([0, 1, 2], [-1000.0, -1001.0, -1000.5], 10, 5)
    assert {tone for row in cells(losing) for _, tone in row} <= {"loss", "loss-ground", ""}


@pytest.mark.parametrize("values", [[0.0], [5.0], [-3.0, -3.0], [1e-9, 2e-9], [1e15, 1e15]])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (30, 8)])
def test_degenerate_series_are_drawn(values, width, height):
    drawn = plot(list(range(len(values))), values, width, height)
    assert len(drawn.rows) == height
    assert all(len(row) == width for row in cells(drawn))
    assert dots(drawn) > 0


def test_bounds_always_have_an_extent():
    for values in ([0.0, 0.0], [7.0, 7.0], [-7.0], [1e300, 1e300]):
        low, high = bounds(values)
        assert low < high
    assert bounds([2.0, 10.0]) == (0.0, 10.0)
    assert bounds([100.0, 101.0]) == (100.0, 101.0)


@pytest.mark.parametrize("extent", [1e-7, 0.3, 1.0, 7.0, 99.0, 12_345.0])
@pytest.mark.parametrize("most", [1, 3, 10])
def test_steps_are_nice_and_few_enough(extent, most):
    step = nice_step(extent, most)
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert any(math.isclose(mantissa, nice) for nice in (1, 2, 5, 10))
    assert extent / step <= most * (1 + 1e-9)


def test_labels_stand_where_their_values_are():
    drawn = plot([0, 1], [0.0, 100.0], 10, 11)
    rows = sorted(drawn.axis.labels)
    assert [drawn.axis.labels[row] for row in rows] == sorted(drawn.axis.labels.values(), reverse=True)
    assert drawn.axis.labels[0] == 100.0
    assert drawn.axis.labels[10] == 0.0
