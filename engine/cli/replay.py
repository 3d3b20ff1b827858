"""``ringbook replay``: a run once more, from its journal, held against what the run did."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from engine.core.errors import ConfigError, ReplayDiverged

EXAMPLE = """example:
  ringbook replay --journal ~/journals --out paper.npz
  ringbook compare paper.npz backtest.npz

DIR is the journal.dir of a daemon's configuration, whose newest run is taken, or one run's directory in it.
The configuration is the run's own; strategies in Python are loaded from where they were. Exit code 1 says
that the replay came to something else than the run: another version, or a strategy that has changed since.
"""

DIVERGED = 1


def replay_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``ringbook replay``."""
    parser.epilog = EXAMPLE
    parser.add_argument("--journal", type=Path, required=True, metavar="DIR", help="where the journal is")
    parser.add_argument(
        "--until",
        metavar="TIME",
        help="engine time to stop at: ISO 8601 (UTC) or nanoseconds since the epoch",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the session, for 'ringbook compare'")


def replay(args: argparse.Namespace) -> int:
    """Replays a journal and prints what it came to."""
    from engine.journal.reader import JournalReader
    from engine.runtime.recovery import LAST_TS, Replay, beginning, newest_run, private_loop, quiet_log

    until = LAST_TS if args.until is None else _time(args.until)
    directory = newest_run(args.journal)
    begun = beginning(directory)
    begun.config.engine.result = "" if args.out is None else str(args.out)
    loop = private_loop(begun.config, begun.switches, quiet_log())
    run = Replay(loop, JournalReader(directory))
    began = time.perf_counter()
    diverged = ""
    try:
        run.run(until)
    except ReplayDiverged as error:
        diverged = str(error)
    reached = run.reached()
    saved = not diverged and loop.save(reached.ts)
    report = {
        "journal": str(directory),
        "records": reached.records,
        "engine_ts": reached.ts,
        "outputs": reached.outputs,
        "outputs_hash": f"{reached.outputs_hash:016x}",
        "state_hash": f"{reached.state_hash:016x}",
        "compared": reached.compared,
        "ended": reached.ended,
        "diverged": diverged,
        "seconds": time.perf_counter() - began,
        "out": str(args.out) if saved else None,
    }
    if args.json:
        print(json.dumps(report))
    else:
        _print(report)
    return DIVERGED if diverged else 0


def _print(report: dict) -> None:
    rate = report["records"] / report["seconds"] if report["seconds"] > 0 else 0.0
    print(f"journal      {report['journal']}")
    print(f"records      {report['records']:,} in {report['seconds']:.2f} s ({rate:,.0f} a second)")
    print(f"engine time  {_shown(report['engine_ts'])}")
    print(f"outputs      {report['outputs']:,}, hash {report['outputs_hash']}")
    print(f"state hash   {report['state_hash']}")
    if report["diverged"]:
        print(f"DIVERGED     {report['diverged']}")
        return
    end = "the run ended in good order" if report["ended"] else "the journal goes no further"
    print(f"same as the run in all {report['compared']} places where the journal says what it came to; {end}")
    if report["out"]:
        print(f"wrote        {report['out']}")


def _shown(ts: int) -> str:
    seconds, rest = divmod(ts, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest:09d}Z"


def _time(text: str) -> int:
    from datetime import UTC, datetime

    if text.isdigit():
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--until: {text!r} is neither ISO 8601 nor nanoseconds") from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1000
