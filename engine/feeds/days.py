"""The day of a recording whose times count from midnight: told by its file's name, or given."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from engine.core.errors import ConfigError, DataError

NEW_YORK = "America/New_York"

_NAMES = (
    # AAPL_2012-06-21_34200000_57600000_message_10.csv, 20190130.BX_ITCH_50
    (re.compile(r"(?<!\d)(\d{4})(-?)(\d\d)\2(\d\d)(?!\d)"), (1, 3, 4)),
    # 01302019.NASDAQ_ITCH50
    (re.compile(r"(?<!\d)(\d\d)(\d\d)(\d{4})(?!\d)"), (3, 1, 2)),
    # S013019-v50.txt
    (re.compile(r"(?<![0-9A-Za-z])S(\d\d)(\d\d)(\d\d)(?!\d)"), (3, 1, 2)),
)


def day_of(path: str | Path, given: date | None = None) -> date:
    """The day that a file is of.

    Args:
        path: The file; its name is looked at for a year, a month and a day.
        given: What the user says, which counts more.

    Raises:
        DataError: Neither tells.
    """
    if given is not None:
        return given
    for pattern, places in _NAMES:
        for found in pattern.finditer(Path(path).name):
            year, month, day = (int(found[place]) for place in places)
            year += 2000 if year < 100 else 0
            try:
                if 1990 <= year < 2100:
                    return date(year, month, day)
            except ValueError:
                continue
    raise DataError("its name has no date, and its times none either: say --date YYYY-MM-DD", file=str(path))


def midnight(day: date, zone: str = NEW_YORK) -> int:
    """Nanoseconds since the epoch at the beginning of a day.

    Args:
        day: The day.
        zone: Where, as a name of the time zone database.

    Raises:
        ConfigError: This machine has no such database.
    """
    try:
        moment = datetime.combine(day, time(), ZoneInfo(zone))
    except ZoneInfoNotFoundError:
        raise ConfigError(f"this machine does not know the time zone {zone}: pip install tzdata") from None
    return int(moment.timestamp()) * 1_000_000_000
