"""``ringbook query``, ``ringbook record`` and ``ringbook store``: what is kept, put there, and taken out."""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import sys
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.core.errors import ConfigError, DataError

if TYPE_CHECKING:
    from engine.feeds.base import EventSource
    from engine.storage.base import Result, Store

FORMATS = ("table", "csv", "json")
STORE_HELP = "clickhouse://HOST/DATABASE, chdb://DIRECTORY or parquet://DIRECTORY (default: $RINGBOOK_STORE)"


def _store_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", metavar="URL", default="", help=STORE_HELP)


# --- query ---------------------------------------------------------------------------------------


def query_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``ringbook query``."""
    parser.add_argument(
        "sql", metavar="SQL", help="one statement; tables and views are those of docs/storage.md"
    )
    _store_argument(parser)
    parser.add_argument("--format", choices=FORMATS, default="table", help="(default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="as --format json")
    parser.add_argument(
        "--write", action="store_true", help="also statements that change the store, such as DROP or OPTIMIZE"
    )
    parser.epilog = (
        "examples:\n"
        '  ringbook query "SELECT strategy, count() AS fills, sum(qty) AS qty FROM fills GROUP BY strategy"\n'
        '  ringbook query "SELECT * FROM pnl_attribution" --format csv\n\n'
        "Times are UTC. JSON gives decimals as numbers where that is exact, else as text."
    )


def query(args: argparse.Namespace) -> int:
    """Runs a statement and prints what it gave."""
    from engine.storage.statements import only_reads
    from engine.storage.store import open_store

    if not args.sql.strip(" \t\r\n;"):
        raise ConfigError('SQL: there is none; try "SELECT * FROM fills LIMIT 5"')
    if not args.write and not only_reads(args.sql):
        raise ConfigError("SQL: not one statement that only reads; --write lets others change the store")
    with open_store(args.store, create=False) as store:
        found = store.query(args.sql)
    write = {"table": _table, "csv": _csv, "json": _json}["json" if args.json else args.format]
    write(found)
    return 0


def _shown(result: Result) -> list[list[Any]]:
    """Columns of values fit for printing: times as text, decimals without their zeros."""
    return [
        [f"{text}Z" for text in np.datetime_as_string(column, unit="ns").tolist()]
        if column.dtype.kind == "M"
        else [_tidy(value) for value in column.tolist()]
        for column in result.columns
    ]


def _tidy(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f") if value else "0"
    return value


def _table(result: Result) -> None:
    if not result.names:
        return
    columns = [[_cell(value) for value in column] for column in _shown(result)]
    widths = [
        max(len(name), *map(len, column), 0) for name, column in zip(result.names, columns, strict=True)
    ]
    right = [column.dtype.kind in "iuf" or _is_decimal(column) for column in result.columns]
    lines = [result.names, *zip(*columns, strict=True)]
    for line in lines:
        cells = zip(line, widths, right, strict=True)
        text = "  ".join(cell.rjust(n) if to_right else cell.ljust(n) for cell, n, to_right in cells)
        print(text.rstrip())
    print(f"({len(result):,} row{'' if len(result) == 1 else 's'})")


def _is_decimal(column: np.ndarray) -> bool:
    return column.dtype == object and any(isinstance(value, Decimal) for value in column)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _csv(result: Result) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(result.names)
    writer.writerows(zip(*_shown(result), strict=True))


def _json(result: Result) -> None:
    columns = [[_plain(value) for value in column] for column in _shown(result)]
    for column, given in zip(columns, result.columns, strict=True):
        if _is_decimal(given):
            column[:] = [None if value is None else _number(value) for value in given.tolist()]
    print(
        json.dumps(
            [dict(zip(result.names, row, strict=True)) for row in zip(*columns, strict=True)], default=str
        )
    )


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Decimal) -> float | str:
    number = float(value)
    return number if Decimal(repr(number)) == value else format(value.normalize(), "f")


# --- record --------------------------------------------------------------------------------------


def record_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``ringbook record``."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", type=Path, help="of a daemon: its feed is captured, nothing is traded")
    what.add_argument("--journal", type=Path, help="a run's journal, or the folder of several: the newest")
    _store_argument(parser)
    parser.add_argument(
        "--run", metavar="NAME", default="", help="what the capture is called (default: capture)"
    )
    parser.add_argument("--seconds", type=float, default=0.0, help="market seconds to capture (default: all)")
    parser.epilog = (
        "examples:\n  ringbook record --config examples/configs/paper_simulated.toml --seconds 60 --run mon\n"
        "  ringbook record --journal journals\n\n"
        "The same again adds nothing. A daemon records its own runs with [recorder] in its configuration."
    )


def record(args: argparse.Namespace) -> int:
    """Captures a feed, or brings a journal to a store."""
    from engine.storage.store import open_store

    if args.seconds < 0 or not math.isfinite(args.seconds):
        raise ConfigError(f"--seconds {args.seconds}: cannot be negative")
    if args.journal is not None:
        if args.run or args.seconds:
            raise ConfigError("--run and --seconds go with --config: a journal has its own name and end")
        summary = _record_journal(args.journal, args.store)
    else:
        with open_store(args.store, hold=True) as store:
            summary = _record_feed(args.config, store, args.run or "capture", args.seconds)
    if args.json:
        print(json.dumps(summary))
    else:
        count = f"{summary['stored']:,} of {summary['rows']:,}"
        print(f"{count} rows stored in {summary['store']}, run {summary['run']}")
    return 0


def _record_feed(path: Path, store: Store, run_id: str, seconds: float) -> dict[str, Any]:
    from engine.runtime.config import load
    from engine.runtime.sources import of_config
    from engine.storage.reader import write_market

    config = load(path)
    if config.feed.kind == "market":
        raise ConfigError(f"{path}: $.feed.kind: a market within has no feed to capture")
    if config.feed.kind == "simulated" and not (seconds or config.feed.seconds):
        raise ConfigError(f"{path}: the simulated market has no end: name one with --seconds")
    rows = stored = 0
    for source in of_config(config):
        given, new = write_market(store, source.symbol, run_id, _until(source, seconds))
        rows, stored = rows + given, stored + new
    return {"store": store.url, "run": run_id, "rows": rows, "stored": stored}


def _until(source: EventSource, seconds: float) -> Iterator[np.ndarray]:
    """The rows of the first seconds, by the venue's clock."""
    end = None
    for chunk in source.chunks():
        if end is None and len(chunk):
            end = int(chunk["exch_ts"][0]) + int(seconds * 1e9) if seconds else 2**63 - 1
        late = np.flatnonzero(chunk["exch_ts"] >= end)
        if len(late):
            yield chunk[: late[0]]
            return
        yield chunk


def _record_journal(journal: Path, url: str) -> dict[str, Any]:
    from engine.runtime.recorder import EVERYTHING
    from engine.runtime.recording import Recording
    from engine.runtime.recovery import newest_run
    from engine.storage.spool import Spool
    from engine.storage.store import open_store
    from engine.storage.writer import Writer

    log = logging.getLogger("ringbook.record")
    with open_store(url, hold=True) as store, tempfile.TemporaryDirectory(prefix="ringbook-spool-") as folder:
        spool = Spool(Path(folder))
        writer = Writer(spool, lambda: store, log, doubtful=True)
        recording = Recording(spool, newest_run(journal), log)
        whole = False
        while not whole:
            whole = recording.step(EVERYTHING)
            if whole:
                recording.finish()
            while writer.step(0.0):
                pass
            if writer.written.error:
                raise DataError(writer.written.error, file=str(journal))
        if recording.lost:
            print("ringbook: only its market data could be recorded", file=sys.stderr)
        done = writer.written
        return {
            "store": store.url,
            "run": recording.run_id,
            "rows": done.rows + done.found,
            "stored": done.rows,
        }


# --- store ---------------------------------------------------------------------------------------


def store_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``ringbook store``."""
    what = parser.add_subparsers(dest="what", metavar="list|import|export", required=True)
    listed = what.add_parser("list", help="what market data there is")
    given = what.add_parser(
        "import", help="a recording into the store: npz, npy, Parquet, Arrow or a raw capture"
    )
    given.add_argument("file", type=Path, metavar="FILE")
    taken = what.add_parser("export", help="a recording out of the store, by its name's ending")
    taken.add_argument("file", type=Path, metavar="FILE", help=".npz, .parquet or .arrow")
    for one in (given, taken):
        one.add_argument("--symbol", required=True)
        one.add_argument("--run", metavar="NAME", default="", help="what the recording is called")
    taken.add_argument(
        "--from", dest="begin", metavar="TIME", default="", help="earliest, ISO 8601 or nanoseconds"
    )
    taken.add_argument("--until", metavar="TIME", default="", help="where it ends")
    taken.add_argument("--force", action="store_true", help="replace a file")
    for one in (listed, given, taken):
        _store_argument(one)
        one.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(json=False)
    parser.epilog = (
        "examples:\n  ringbook store import btcusdt.npz --symbol BTCUSDT --run monday\n"
        "  ringbook store list\n  ringbook store export monday.parquet --symbol BTCUSDT --run monday\n\n"
        "A backtest reads it as --data 'store:?run=monday'."
    )


def store(args: argparse.Namespace) -> int:
    """Lists, imports or exports market data."""
    return {"list": _list, "import": _import, "export": _export}[args.what](args)


def _list(args: argparse.Namespace) -> int:
    from engine.storage.base import Result
    from engine.storage.reader import recorded
    from engine.storage.store import open_store

    with open_store(args.store, create=False) as opened:
        found = recorded(opened)
    names = ["symbol", "run_id", "rows", "first_ts", "last_ts"]
    values = [[getattr(item, name) for item in found] for name in names]
    columns = [
        np.array(column, "datetime64[ns]" if name.endswith("_ts") else None)
        for name, column in zip(names, values, strict=True)
    ]
    columns[:2] = [column.astype(object) for column in columns[:2]]
    (_json if args.json else _table)(Result(names, [""] * len(names), columns))
    return 0


def _import(args: argparse.Namespace) -> int:
    from engine.feeds.replay import open_source
    from engine.storage.reader import write_market
    from engine.storage.store import open_store

    source = open_source(args.symbol, args.file)
    run = args.run or args.file.name.split(".")[0]
    with open_store(args.store, hold=True) as opened:
        rows, stored = write_market(opened, args.symbol, run, source.chunks())
        summary = {"store": opened.url, "symbol": args.symbol, "run": run, "rows": rows, "stored": stored}
    text = f"{args.file}: {stored:,} of {rows:,} rows stored in {summary['store']}, run {run}"
    print(json.dumps(summary) if args.json else text)
    return 0


def _export(args: argparse.Namespace) -> int:
    from engine.backtest.data import save_chunks
    from engine.feeds.stored import StoredSource
    from engine.feeds.tabular import SUFFIXES, write_table
    from engine.storage.store import default_url

    output: Path = args.file
    if output.suffix not in (*SUFFIXES, ".npz"):
        raise DataError(f"the output has to end with one of .npz, {', '.join(SUFFIXES)}", file=str(output))
    if output.exists() and not args.force:
        raise DataError("exists already; --force replaces it", file=str(output))
    if not output.absolute().parent.is_dir():
        raise DataError("its directory does not exist", file=str(output))
    options = {"run": args.run, "from": args.begin, "until": args.until}
    source = StoredSource(args.symbol, args.store or default_url(), **{k: v for k, v in options.items() if v})
    if output.suffix == ".npz":
        save_chunks(output, source.rows, source.chunks())
    else:
        write_table(output, source.chunks())
    summary = {"output": str(output), "symbol": args.symbol, "rows": source.rows}
    print(json.dumps(summary) if args.json else f"{output}: {source.rows:,} rows")
    return 0
