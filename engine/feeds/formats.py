"""Which recordings can be converted: what a file is, told by its beginning, and the converter of each."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from engine.core.errors import DataError
from engine.feeds import capture, databento, nasdaq, platform, tardis
from engine.feeds.capture import Conversion, Progress, text_blocks
from engine.feeds.dbn import is_databento

FORMATS = {
    "binance": {"opt"},
    "databento": {"symbol"},
    "itch": {"symbol", "day"},
    "jsonl": {"symbol"},
    "lobster": {"symbol", "day"},
    "tardis": {"symbol", "snapshots"},
}
"""The names of the formats, and which of the options that not all have each of them has."""

_FILES = {"lobster": 2, "tardis": 1000}
_SHOWN = {"opt": "--opt", "symbol": "--symbol", "day": "--date", "snapshots": "--snapshots"}


@dataclass(frozen=True)
class Options:
    """What a user may say about a conversion.

    Attributes:
        opt: For Binance's captures, see ``capture.convert``.
        symbol: What to take of a file with several.
        day: Of a file whose times count from midnight; by default its name tells.
        base_latency: Nanoseconds; see the converter of each format.
        snapshots: Of Tardis's level changes, one of ``tardis.SNAPSHOTS``.
    """

    opt: str = ""
    symbol: str | None = None
    day: date | None = None
    base_latency: int = 0
    snapshots: str = "process"


def recognise(path: str | Path) -> str:
    """The format of a file; ``binance``, whose converter says what is wrong, when it is none.

    Args:
        path: The file.

    Raises:
        ConfigError: It is compressed with what needs an extra that is not installed.
    """
    if is_databento(path):
        return "databento"
    try:
        with closing(text_blocks(path)) as blocks:
            block = next(blocks, b"")
    except DataError:
        return "binance"
    if nasdaq.itch_framing(block) is not None:
        return "itch"
    line = block.split(b"\n", 1)[0]
    if platform.is_platform(line):
        return "jsonl"
    if tardis.is_tardis(line):
        return "tardis"
    return "lobster" if nasdaq.is_lobster(line) else "binance"


def convert(
    paths: Sequence[str | Path],
    *,
    form: str | None = None,
    options: Options | None = None,
    progress: Progress | None = None,
) -> Conversion:
    """Converts a recording of any format.

    Args:
        paths: Its file, or files: LOBSTER's messages and then their orderbook, Tardis's trades and
            level changes in any order.
        form: One of ``FORMATS``; by default the file's beginning tells.
        options: What else is asked for.
        progress: Called with the number of bytes of the file read since the last call.

    Raises:
        DataError: The file is unreadable or wrong, or an option does not belong to its format.
        ConfigError: Something that the format needs is not installed.
    """
    options = options or Options()
    path = paths[0]
    form = form or recognise(path)
    _refuse_foreign(path, form, options)
    if len(paths) > _FILES.get(form, 1):
        raise DataError(f"more files than one recording of the format {form} has", file=str(paths[-1]))
    common = {"base_latency": options.base_latency, "progress": progress}
    if form == "lobster":
        return nasdaq.convert_lobster(*paths, symbol=options.symbol, day=options.day, **common)
    if form == "tardis":
        return tardis.convert(paths, symbol=options.symbol, snapshots=options.snapshots, **common)
    if form == "itch":
        return nasdaq.convert_itch(path, symbol=options.symbol, day=options.day, **common)
    if form == "jsonl":
        return platform.convert(path, symbol=options.symbol, **common)
    if form == "databento":
        return databento.convert(path, symbol=options.symbol, **common)
    return capture.convert(path, opt=options.opt, **common)


def _refuse_foreign(path: str | Path, form: str, options: Options) -> None:
    default = Options()
    for option, shown in _SHOWN.items():
        if getattr(options, option) != getattr(default, option) and option not in FORMATS[form]:
            fitting = ", ".join(name for name, has in FORMATS.items() if option in has)
            raise DataError(f"{shown} is for {fitting} files, this is {form}", file=str(path))
