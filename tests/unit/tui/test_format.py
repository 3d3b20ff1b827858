import math

import pytest

from bridge.protocol import ParamInfo
from tui import format as f

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0.1, 1),
        (0.5, 1),
        (0.25, 2),
        (1.0, 0),
        (25.0, 0),
        (1e-8, 8),
        (0.00001, 5),
        (0.0, 2),
        (NAN, 2),
        (-1.0, 2),
    ],
)
def test_decimals_follow_the_tick(step, expected):
    assert f.decimals(step) == expected


def test_prices_and_quantities():
    assert f.price(97_012.300000001, 0.1) == "97,012.3"
    assert f.price(0.00001234, 1e-8) == "0.00001234"
    assert f.price(NAN, 0.1) == f.NOTHING
    assert f.quantity(0.02, 0.001) == "0.020"
    assert f.signed_quantity(-4.0, 0.001) == "-4.000"
    assert f.signed_quantity(0.1, 0.001) == "+0.100"
    assert f.signed_quantity(-0.0000001, 0.001) == "0"
    assert f.signed_quantity(INF, 0.001) == f.NOTHING


@pytest.mark.parametrize(
    ("values", "digits"),
    [
        ([], 2),
        ([0.0], 2),
        ([12.0, 0.001], 2),
        ([0.5], 4),
        ([0.004], 6),
        ([3e-6], 8),
        ([NAN, 0.2], 4),
        ([-7.0], 2),
    ],
)
def test_money_digits_keep_small_columns_readable(values, digits):
    assert f.money_digits(values) == digits


def test_money_has_a_sign_unless_it_is_nothing():
    assert f.money(1234.567) == "+1,234.57"
    assert f.money(-0.004) == "0.00"
    assert f.money(-0.006) == "-0.01"
    assert f.money(NAN) == f.NOTHING


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (999.6, "1.00k"),
        (1234, "1.23k"),
        (12_345, "12.3k"),
        (99_960, "100k"),
        (123_456, "123k"),
        (999_600, "1.00M"),
        (45.6e6, "45.6M"),
        (-1500, "-1.50k"),
        (2e12, "2.00T"),
        (NAN, f.NOTHING),
    ],
)
def test_compact(number, text):
    assert f.compact(number) == text


@pytest.mark.parametrize(
    ("ns", "text"), [(850, "850ns"), (1840, "1.8µs"), (2.3e6, "2.3ms"), (1.2e9, "1.2s"), (INF, f.NOTHING)]
)
def test_duration(ns, text):
    assert f.duration(ns) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0s"),
        (0.44, "0.4s"),
        (59.99, "59.9s"),
        (60, "1m00s"),
        (192, "3m12s"),
        (7500, "2h05m"),
        (356_400, "4d03h"),
    ],
)
def test_age_never_reads_sixty_seconds(seconds, text):
    assert f.age(int(seconds * f.SECOND)) == text


def test_date():
    assert f.date(1_723_161_599 * f.SECOND) == "2024-08-08"
    assert f.date(0) == f.NOTHING


def test_time_of_day():
    assert f.time_of_day(1_755_684_059_896_000_000) == "10:00:59.896"
    assert f.time_of_day(1_755_684_059_896_000_000, millis=False) == "10:00:59"
    assert f.time_of_day(0) == f.NOTHING
    assert f.time_of_day(2**63 - 1).count(":") == 2


def test_words():
    assert f.reason("TRADE_THROUGH") == f.reason("trade-through") == "trade-through"
    assert f.reason("none") == f.reason("") == ""
    assert f.reason("cancel_by_operator") == "cancel by operator"
    assert f.status("partially_filled") == "PARTIAL"
    assert f.status("NONE") == "SENDING"
    assert f.side("buy") == "BUY"
    assert f.value(True) == "true"
    assert f.value(0.30000000000000004) == "0.3"


@pytest.mark.parametrize(
    ("ge", "le", "text"),
    [
        (0.0, 10.0, "float, 0 to 10"),
        (0.5, None, "float, at least 0.5"),
        (None, 3.0, "float, at most 3"),
        (None, None, "float, any"),
    ],
)
def test_limits_in_words(ge, le, text):
    assert f.limits(ParamInfo("p", "float", 1.0, ge, le)) == text


def test_limits_of_text_and_truth():
    assert f.limits(ParamInfo("p", "bool", True)) == "bool"
    assert f.limits(ParamInfo("p", "str", "")) == "str"


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("int", " 12 ", 12),
        ("int", "-3", -3),
        ("int", "1_000", 1000),
        ("float", "2.5", 2.5),
        ("float", "1e-3", 0.001),
        ("bool", "On", True),
        ("bool", "0", False),
        ("str", " a b ", "a b"),
    ],
)
def test_values_are_read_by_type(kind, text, expected):
    parsed = f.parse_value(ParamInfo("p", kind, None), text)
    assert parsed == expected
    assert type(parsed) is type(expected)


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        ("int", "2.5", "not a whole number"),
        ("int", "", "nothing is not a whole number"),
        ("float", "fast", "not a number"),
        ("float", "nan", "not a finite number"),
        ("float", "inf", "not a finite number"),
        ("bool", "maybe", "not true or false"),
        ("int", "9" * 30, "64 bits"),
    ],
)
def test_bad_values_say_why(kind, text, why):
    with pytest.raises(ValueError, match=why):
        f.parse_value(ParamInfo("p", kind, None), text)


def test_limits_are_kept():
    param = ParamInfo("p", "int", 3, 1, 10)
    assert f.parse_value(param, "10") == 10
    with pytest.raises(ValueError, match="below the least allowed, 1"):
        f.parse_value(param, "0")
    with pytest.raises(ValueError, match="above the most allowed, 10"):
        f.parse_value(param, "11")
