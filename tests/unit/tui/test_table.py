from tui.widgets.table import GAP, Column, fit

COLUMNS = (Column("a", stretch=True), Column("b", leaves=1), Column("c", leaves=2), Column("d"))


def used(widths):
    shown = [width for width in widths if width]
    return sum(shown) + GAP * (len(shown) - 1)


def test_spare_width_goes_to_the_stretching_column():
    widths = fit(COLUMNS, [5, 5, 5, 5], 60)
    assert widths[1:] == [5, 5, 5]
    assert used(widths) == 60


def test_columns_leave_in_their_order():
    assert fit(COLUMNS, [5, 10, 10, 10], 40) != [5, 0, 0, 10]
    assert fit(COLUMNS, [5, 10, 10, 10], 32)[1:] == [10, 0, 10]
    assert fit(COLUMNS, [5, 10, 10, 10], 20)[1:] == [0, 0, 10]


def test_the_stretching_column_gives_way_first():
    widths = fit(COLUMNS, [40, 10, 10, 10], 50)
    assert widths[0] < 40
    assert widths[1:] == [10, 10, 10]
    assert used(widths) == 50


def test_columns_that_never_leave_stay_where_nothing_fits():
    widths = fit(COLUMNS, [30, 10, 10, 30], 12)
    assert widths[0] >= 1
    assert widths[3] == 30
