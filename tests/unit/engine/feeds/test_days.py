"""The day of a file whose times count from midnight."""

from datetime import date

import pytest

from engine.core.errors import ConfigError, DataError
from engine.feeds.days import day_of, midnight


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("AAPL_2012-06-21_34200000_57600000_message_10.csv", date(2012, 6, 21)),
        ("20190130.BX_ITCH_50.gz", date(2019, 1, 30)),
        ("01302019.NASDAQ_ITCH50.gz", date(2019, 1, 30)),
        ("12202019.NASDAQ_ITCH50", date(2019, 12, 20)),
        ("S081321-v50.txt.gz", date(2021, 8, 13)),
        ("x_20199999_20190130.bin", date(2019, 1, 30)),
    ],
)
def test_a_name_tells_its_day(name, day):
    assert day_of(f"/data/2001-01-01/{name}") == day
    assert day_of(name, date(2020, 2, 3)) == date(2020, 2, 3)


@pytest.mark.parametrize(
    "name", ["day.bin", "34200000_57600000.csv", "2019-13-30.csv", "2019-0130.csv", "13302019"]
)
def test_a_name_without_a_day_is_refused(name):
    with pytest.raises(DataError, match="--date YYYY-MM-DD"):
        day_of(name)


def test_days_begin_at_new_yorks_midnight():
    assert midnight(date(2019, 1, 30)) == 1_548_824_400 * 10**9
    assert midnight(date(2019, 7, 30)) == 1_564_459_200 * 10**9
    with pytest.raises(ConfigError, match="pip install tzdata"):
        midnight(date(2019, 7, 30), "Nowhere/Land")
