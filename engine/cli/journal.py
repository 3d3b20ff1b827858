"""``ringbook journal``: verify a journal, show its records, export its market data."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.core.errors import ConfigError, DataError, JournalError

if TYPE_CHECKING:
    import numpy as np

    from engine.journal.disk import Record


def journal_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands of ``ringbook journal`` and their arguments."""
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    _part(parts, "verify", "check every record of a journal and say where it ends")
    dump = _part(parts, "dump", "print records, one line of JSON each")
    dump.add_argument("--after", type=_count, metavar="SEQ", help="begin after this record")
    dump.add_argument("--limit", type=_count, metavar="N", help="print at most so many")
    dump.add_argument("--type", metavar="TYPE", help="only these: MARKET, CONTROL, FILL, ...")
    export = _part(parts, "export", "write the market data as a recording")
    export.add_argument("output", type=Path, metavar="OUT", help="OUT.npz, OUT.jsonl or OUT.parquet")
    export.add_argument("--symbol", help="which instrument, by its name or number, when there are several")
    export.add_argument("--force", action="store_true", help="replace OUT if it exists")
    export.epilog = (
        "An npz is a recording as 'ringbook backtest' takes it; jsonl has exch_ts, local_ts, side, price,\n"
        "qty and type, and 'ringbook convert' reads it back; parquet needs pyarrow.\n\nexample:\n"
        "  ringbook journal export /var/lib/ringbook/journal btcusdt.npz --symbol BTCUSDT"
    )
    parser.epilog = (
        "'ringbook journal PART --help' explains one.\n\n"
        "exit code: 0 done, 1 the journal ends in a torn batch (a start cuts it), 2 damaged or unreadable\n\n"
        "example:\n"
        "  ringbook journal verify /var/lib/ringbook/journal\n"
        "  ringbook journal dump /var/lib/ringbook/journal --type CONTROL --limit 20"
    )


def _part(parts: Any, name: str, help: str) -> argparse.ArgumentParser:
    parser = parts.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"example:\n  ringbook journal {name} /var/lib/ringbook/journal",
    )
    parser.add_argument("directory", type=Path, metavar="DIR", help="the journal's directory")
    # Without a default of its own, so that `journal --json verify` is the same as `journal verify --json`.
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object instead of text"
    )
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return int(text)


def journal(args: argparse.Namespace) -> int:
    """Runs one part; exit code 1 when the journal ends in a torn batch, 2 when it is damaged."""
    return {"verify": _verify, "dump": _dump, "export": _export}[args.part](args)


# --- verify ----------------------------------------------------------------------------------------------


def _verify(args: argparse.Namespace) -> int:
    from engine.journal.files import Files, segment_names
    from engine.journal.reader import JournalReader
    from engine.journal.recovery import recover
    from engine.journal.retention import first_record
    from engine.journal.snapshots import list_snapshots, read_snapshot

    files, directory = Files(), str(args.directory)
    if not segment_names(files, directory):
        raise JournalError(f"{directory}: no journal is there")
    found = recover(directory, repair=False, files=files)
    snapshots = [read_snapshot(item.path) for item in list_snapshots(files, directory)]
    # Its run cannot be told without.
    first_record(directory, files=files)
    counts: Counter[str] = Counter()
    first = first_ts = None
    for record in JournalReader(args.directory):
        if first is None:
            first, first_ts = record.seq, record.ts
        counts[_type_name(record)] += 1
    summary = {
        "directory": directory,
        "first_seq": first,
        "first_ts": first_ts,
        "last_seq": found.seq,
        "segments": found.segments,
        "batches": found.batch,
        "records": dict(sorted(counts.items())),
        "run_id": found.segment.run_id.hex(),
        "build": found.segment.build,
        "config": found.segment.config,
        "ended": found.sealed,
        "torn_bytes": found.cut,
        "torn_records_kept": found.kept,
        "snapshots": [{"seq": item.seq, "state_hash": f"{item.state_hash:016x}"} for item in snapshots],
    }
    print(json.dumps(summary) if args.json else _verify_text(summary))
    return 1 if found.cut or found.kept else 0


def _type_name(record: Record) -> str:
    from engine.journal.export import type_name

    return type_name(record.type)


def _verify_text(summary: dict[str, Any]) -> str:
    ended = "ended in good order" if summary["ended"] else "did not end in good order"
    lines = [
        f"{summary['directory']}: records {summary['first_seq']} to {summary['last_seq']} in "
        f"{summary['segments']} segments and {summary['batches']:,} batches; the last run {ended}",
        *_removed(summary),
        *(f"  {name:<14} {count:,}" for name, count in summary["records"].items()),
        *(f"  snapshot of record {item['seq']}, state {item['state_hash']}" for item in summary["snapshots"]),
    ]
    if summary["torn_bytes"] or summary["torn_records_kept"]:
        lines.append(
            f"  TORN: {summary['torn_bytes']:,} bytes at the end were never durable; the next start keeps "
            f"{summary['torn_records_kept']} whole records of them and cuts the rest"
        )
    else:
        lines.append("nothing wrong")
    return "\n".join(lines)


def _removed(summary: dict[str, Any]) -> list[str]:
    from engine.core.times import shown

    if summary["first_seq"] in (None, 1):
        return []
    since = shown(summary["first_ts"])
    return [f"  what was before record {summary['first_seq']}, of engine time {since}, has been removed"]


# --- dump ------------------------------------------------------------------------------------------------


def _dump(args: argparse.Namespace) -> int:
    from engine.journal.export import as_dict
    from engine.journal.reader import JournalReader
    from engine.journal.wal import RecordType

    wanted = None
    if args.type is not None:
        names = {kind.name: kind for kind in RecordType}
        wanted = names.get(args.type.upper())
        if wanted is None:
            raise ConfigError(f"--type {args.type}: none of {', '.join(names)}")
    reader = JournalReader(args.directory, after=args.after)
    found = (record for record in reader if wanted is None or record.type == wanted)
    for record in itertools.islice(found, args.limit):
        print(json.dumps(as_dict(record)))
    if reader.torn:
        print("ringbook: the journal ends in a torn batch; the next start cuts it", file=sys.stderr)
    return 1 if reader.torn else 0


# --- export ----------------------------------------------------------------------------------------------


def _export(args: argparse.Namespace) -> int:
    from engine.journal.export import recording, symbols

    output: Path = args.output
    writers = {".npz": _write_npz, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
    if output.suffix not in writers:
        raise DataError(f"the output has to end with one of {', '.join(writers)}", file=str(output))
    if output.exists() and not args.force:
        raise DataError("exists already; --force replaces it", file=str(output))
    if not output.absolute().parent.is_dir():
        raise DataError("its directory does not exist", file=str(output))
    names = symbols(args.directory)
    instrument = _instrument(args.symbol, names)
    events, local_only = recording(args.directory, instrument)
    if local_only:
        from engine.feeds.ordering import correct_event_order

        events["ev"] &= ~_sides()
        events = correct_event_order(events)
    writers[output.suffix](output, events)
    summary = {
        "directory": str(args.directory),
        "output": str(output),
        "symbol": names[instrument] if instrument is not None and instrument < len(names) else None,
        "rows": len(events),
        "first_exch_ts": int(events["exch_ts"].min()),
        "last_exch_ts": int(events["exch_ts"].max()),
        "first_local_ts": int(events["local_ts"].min()),
        "last_local_ts": int(events["local_ts"].max()),
    }
    print(json.dumps(summary) if args.json else f"{output}: {len(events):,} rows")
    return 0


def _sides() -> Any:
    import numpy as np

    from engine.journal.export import TWO_SIDED

    return np.uint64(TWO_SIDED)


def _instrument(symbol: str | None, names: list[str]) -> int | None:
    if symbol is None:
        return None
    if symbol in names:
        return names.index(symbol)
    if symbol.isdecimal():
        return int(symbol)
    raise ConfigError(f"--symbol {symbol}: the journal has {', '.join(names) or 'no names, give its number'}")


def _write_npz(path: Path, events: np.ndarray) -> None:
    from engine.backtest.data import save_events

    save_events(path, events)


def _write_jsonl(path: Path, events: np.ndarray) -> None:
    from engine.journal.export import platform_rows

    draft = path.with_name(path.name + ".new")
    with open(draft, "w") as file:
        for row in platform_rows(events):
            file.write(json.dumps(row))
            file.write("\n")
    draft.replace(path)


def _write_parquet(path: Path, events: np.ndarray) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ConfigError("parquet needs pyarrow, which is not installed: pip install pyarrow") from None
    table = pyarrow.table({name: events[name] for name in events.dtype.names})
    draft = path.with_name(path.name + ".new")
    pyarrow.parquet.write_table(table, draft)
    draft.replace(path)
