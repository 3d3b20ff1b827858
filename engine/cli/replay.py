"""``ringbook replay``: a run once more, from its journal, held against what the run did."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from engine.core.errors import ConfigError, RecordsRemoved, ReplayDiverged

if TYPE_CHECKING:
    from engine.runtime.images import Start
    from engine.runtime.recovery import Beginning

EXAMPLE = """examples:
  ringbook replay --journal ~/journals --out paper.npz
  ringbook replay --journal ~/journals --speed 10 --tui
  ringbook replay --journal ~/journals --from 2026-11-20T14:25 --until 2026-11-20T14:32:05 --speed 1

DIR is the journal.dir of a daemon's configuration, whose newest run is taken, or one run's directory in it.
The configuration is the run's own; strategies in Python are loaded from where they were. Exit code 1 says
that the replay came to something else than the run: another version, or a strategy that has changed since.

Without --speed it is as fast as it goes, and only says what it came to. With it, books, orders, positions and
strategies are served as they were, to the terminal UI and to every other client of the bridge: a pause or a
resume of all strategies (p and r in the terminal UI) is one of the replay, and nothing else can be changed.
At its end, or at --until, it stands there until Ctrl-C or SIGTERM.
"""

DIVERGED = 1
MAX_SPEED = 1e9


def replay_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``ringbook replay``."""
    parser.epilog = EXAMPLE
    parser.add_argument("--journal", type=Path, required=True, metavar="DIR", help="where the journal is")
    parser.add_argument(
        "--until",
        metavar="TIME",
        help="engine time to stop at: ISO 8601 (UTC) or nanoseconds since the epoch",
    )
    parser.add_argument("--from", dest="since", metavar="TIME", help="engine time to begin to show it at")
    parser.add_argument(
        "--speed", type=_speed, metavar="X", help="serve it: market seconds a second, 0 as fast as it goes"
    )
    parser.add_argument(
        "--tui",
        action="store_true",
        help="open the terminal UI on it, and end with it (--speed 1 by default)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the session, for 'ringbook compare'")


def replay(args: argparse.Namespace) -> int:
    """Replays a journal and prints what it came to."""
    from engine.runtime.recovery import LAST_TS, beginning, newest_run

    until = LAST_TS if args.until is None else _time("--until", args.until)
    since = None if args.since is None else _time("--from", args.since)
    served = args.speed is not None or args.tui
    if since is not None and not served:
        raise ConfigError("--from says where to begin to show the run: it needs --speed or --tui")
    if args.tui and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError(
            "the terminal UI needs a terminal; --speed without --tui serves the run to any client"
        )
    directory = newest_run(args.journal)
    begun = beginning(directory)
    begun.config.engine.result = "" if args.out is None else str(args.out)
    if args.out is not None:
        _whole(directory)
    began = time.perf_counter()
    if served:
        from engine.cli.playback import play

        start, diverged = play(directory, begun, args, since=since, until=until)
    else:
        start, diverged = _at_once(directory, begun, until)
    loop, run = start.loop, start.replay
    reached = run.reached()
    saved = not diverged and loop.save(reached.ts)
    report = {
        "journal": str(directory),
        "after": start.seq,
        "records": reached.seq - start.seq,
        "engine_ts": reached.ts,
        "outputs": reached.outputs,
        "outputs_hash": f"{reached.outputs_hash:016x}",
        "state_hash": f"{reached.state_hash:016x}",
        "compared": reached.compared,
        "ended": reached.ended,
        "complete": not diverged and run.next_ts is None,
        "diverged": diverged,
        "seconds": time.perf_counter() - began,
        "out": str(args.out) if saved else None,
    }
    if args.json:
        print(json.dumps(report))
    else:
        _print(report)
    return DIVERGED if diverged else 0


def _at_once(directory: Path, begun: Beginning, until: int) -> tuple[Start, str]:
    """The run as fast as it goes, seen by nobody, and where it departed from what it was, if it did."""
    from engine.runtime.images import earliest
    from engine.runtime.recovery import private_loop, quiet_log

    start = earliest(lambda: private_loop(begun.config, begun.switches, quiet_log()), directory, begun)
    try:
        start.replay.run(until)
    except ReplayDiverged as error:
        return start, str(error)
    return start, ""


def _whole(directory: Path) -> None:
    """Refuses a journal that does not reach back to its run's beginning."""
    from engine.journal.reader import JournalReader

    try:
        JournalReader(directory, after=0)
    except RecordsRemoved as error:
        raise ConfigError(f"--out: {error}; a session's file has all of it") from None


def _print(report: dict) -> None:
    from engine.core.times import shown

    rate = report["records"] / report["seconds"] if report["seconds"] > 0 else 0.0
    print(f"journal      {report['journal']}")
    if report["after"]:
        print(f"begins with  the snapshot of record {report['after']:,}: what was before has been removed")
    print(f"records      {report['records']:,} in {report['seconds']:.2f} s ({rate:,.0f} a second)")
    print(f"engine time  {shown(report['engine_ts'])}")
    print(f"outputs      {report['outputs']:,}, hash {report['outputs_hash']}")
    print(f"state hash   {report['state_hash']}")
    if report["diverged"]:
        print(f"DIVERGED     {report['diverged']}")
        return
    end = "the journal goes no further" if report["complete"] else "the journal goes on from there"
    end = "the run ended in good order" if report["ended"] else end
    print(f"same as the run in all {report['compared']} places where the journal says what it came to; {end}")
    if report["out"]:
        print(f"wrote        {report['out']}")


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 <= speed <= MAX_SPEED:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to {MAX_SPEED:g}")
    return speed


def _time(option: str, text: str) -> int:
    from datetime import UTC, datetime

    if text.isdigit():
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option}: {text!r} is neither ISO 8601 nor nanoseconds") from None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return int(at.timestamp()) * 1_000_000_000 + at.microsecond * 1000
