"""``ringbook params``, ``limits`` and ``logs``: what strategies are set to, and who changed it."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.cli.control import asked, plain, say, session, statuses
from engine.cli.daemon import find, where_arguments
from engine.cli.keys import key_argument
from engine.core.errors import ConfigError, NotRunning
from engine.core.settings import toml_value

LEVELS = ("debug", "info", "warning", "error", "critical")
FOLLOW_S = 0.2
EVERYTHING = "everything"
"""How limits over all strategies and instruments are named."""


def _arguments(parser: argparse.ArgumentParser, what: str, example: str) -> None:
    parser.add_argument("action", nargs="?", choices=("show", "set"), default="show", help="default: show")
    parser.add_argument("strategy", nargs="?", default="", help="the strategy")
    parser.add_argument("values", nargs="*", metavar="NAME=VALUE", help=f"new {what}, all or none of them")
    parser.add_argument("--history", action="store_true", help=f"who changed {what}, when, from what to what")
    parser.add_argument("-n", "--last", type=int, default=50, metavar="N", help="changes shown (default: 50)")
    where_arguments(parser)
    parser.add_argument(
        "--endpoint", metavar="URL", help="of a daemon elsewhere: ipc://DIR or tcp://HOST:PORT"
    )
    key_argument(parser)
    parser.epilog = example


def params_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ringbook params``."""
    _arguments(
        parser,
        "parameters",
        "examples:\n  ringbook params show mm\n  ringbook params set mm half_spread=2.5 skew=0.1\n"
        "  ringbook params --history",
    )


def params(args: argparse.Namespace) -> int:
    """Shows or changes the parameters of strategies, or says who changed them."""
    if args.history:
        return _history(args, "params")
    if args.action == "set":
        values = _assignments(args, none=False)
        return asked(args, lambda client: client.update_params(args.strategy, values))
    try:
        with session(args) as client:
            found = [one for one in statuses(client) if args.strategy in ("", one.strategy_id)]
    except NotRunning:
        return 1
    if args.strategy and not found:
        raise ConfigError(f"unknown strategy {args.strategy!r}; 'ringbook strategies' lists them")
    if args.json:
        listed = {
            one.strategy_id: {
                param.name: {"value": param.value, "kind": param.kind, "ge": param.ge, "le": param.le}
                for param in one.params
            }
            for one in found
        }
        print(json.dumps({"params": listed}))
        return 0
    for one in found:
        print(one.strategy_id)
        for param in one.params:
            low = "" if param.ge is None else f" >= {param.ge:g}"
            high = "" if param.le is None else f" <= {param.le:g}"
            doc = f"  {param.doc}" if param.doc else ""
            print(f"  {param.name} = {_toml(param.value)}  ({param.kind}{low}{high}){doc}")
    return 0


def limits_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ringbook limits``."""
    _arguments(
        parser,
        "limits",
        "examples:\n  ringbook limits show mm\n  ringbook limits set mm --symbol BTCUSDT max_position=0.5\n"
        "  ringbook limits set mm max_notional=none\n  ringbook limits --history\n"
        "over all strategies:\n  ringbook limits set max_gross_notional=1000000\n"
        "  ringbook limits set --symbol BTCUSDT max_position=2",
    )
    parser.add_argument("--symbol", default="", help="in one instrument only")


def limits(args: argparse.Namespace) -> int:
    """Shows or changes the risk limits of a strategy or over all of them, or says who changed them."""
    if args.history:
        return _history(args, "limits")
    if args.action == "set":
        if "=" in args.strategy:
            # No strategy is named: the limits over all of them are meant.
            args.strategy, args.values = "", [args.strategy, *args.values]
        values = _assignments(args, none=True)
        return asked(args, lambda client: client.update_risk_limits(args.strategy, args.symbol, **values))
    try:
        with session(args) as client:
            # The first is over all strategies, under no name.
            names = [args.strategy] if args.strategy else ["", *(one.strategy_id for one in statuses(client))]
            replies = {name: client.query_limits(name, args.symbol) for name in names}
    except NotRunning:
        return 1
    refused = [reply for reply in replies.values() if not reply.success]
    # Of all strategies, those that do not trade the symbol have nothing to say.
    if refused and not replies[names[0]].success:
        return say(args, refused[0])
    found = {name: reply.details["limits"] for name, reply in replies.items() if reply.success}
    if args.json:
        over_all = {symbol or EVERYTHING: values for symbol, values in found.pop("", {}).items()}
        said = {name or EVERYTHING: plain(reply)["message"] for name, reply in replies.items()}
        print(json.dumps({"over_all": over_all, "limits": found, "replies": said}))
        return 0
    for name, symbols in found.items():
        for symbol, values in symbols.items():
            shown = ", ".join(f"{field} {_value(value)}" for field, value in values.items())
            place = f"{name} {symbol}" if name else f"all strategies, {symbol or EVERYTHING}"
            print(f"{place}: {shown or 'no limits'}")
        if replies[name].message != "ok":
            print(f"{name or EVERYTHING}: {replies[name].message}")
    return 0


def _value(value: Any) -> str:
    """A limit's value for people: a number, a truth value, a text or several."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _assignments(args: argparse.Namespace, *, none: bool) -> dict[str, Any]:
    """What is to be set.

    Raises:
        ConfigError: No strategy where one is needed, no value, or not NAME=VALUE.
    """
    if "=" in args.strategy or not (args.strategy or none) or not args.values:
        raise ConfigError("set needs a strategy and at least one NAME=VALUE")
    made = {}
    for text in args.values:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"{text!r} is not NAME=VALUE")
        if name in made:
            raise ConfigError(f"{name} is given twice")
        made[name] = math.inf if none and value.lower() == "none" else toml_value(value)
    return made


def _toml(value: Any) -> str:
    return json.dumps(value) if isinstance(value, bool | str) else str(value)


def _history(args: argparse.Namespace, kind: str) -> int:
    """Prints the record of changes, which is in the run directory whether or not a daemon runs."""
    import msgspec

    from engine.runtime.changes import describe, read

    run_dir, _ = find(args)
    changes = read(run_dir.changes_file, frozenset({kind}), args.strategy, max(0, args.last))
    if args.json:
        print(json.dumps({"changes": [msgspec.to_builtins(change) for change in changes]}))
        return 0
    print("\n".join(map(describe, changes)) or f"no {kind} were changed in {run_dir.path}")
    return 0


# --- logs ---------------------------------------------------------------------------------------


def logs_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ringbook logs``."""
    parser.add_argument("-n", "--last", type=int, default=50, metavar="N", help="lines shown (default: 50)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what is written from now on")
    parser.add_argument("--level", choices=LEVELS, default="debug", help="least level shown")
    parser.add_argument("--source", default="", help="of one process: daemon, engine, feed or bridge")
    parser.add_argument(
        "--json", action="store_true", help="print the lines as they are, one JSON object each"
    )
    where_arguments(parser)
    parser.epilog = "example: ringbook logs --follow --level warning"


def logs(args: argparse.Namespace) -> int:
    """Prints the daemon's log; of the last run, if none runs now."""
    run_dir, _ = find(args)
    if not run_dir.log_file.exists():
        message = f"no log in {run_dir.path}"
        if args.json:
            print(json.dumps({"error": "NotRunning", "message": message}))
        print(f"ringbook: {message}", file=sys.stderr)
        return 1
    with run_dir.log_file.open(encoding="utf-8", errors="replace") as file:
        lines = file.readlines()
        # The last one may still be being written.
        part = lines.pop() if args.follow and lines and not lines[-1].endswith("\n") else ""
        lines = [line for line in lines if _wanted(line, args)]
        for line in lines[-args.last :] if args.last > 0 else []:
            _print(line, args)
        for line in _following(file, run_dir.log_file, part) if args.follow else ():
            if _wanted(line, args):
                _print(line, args)
    return 0


def _following(file: Any, path: Path, part: str) -> Iterator[str]:
    """Lines as they are written; ``part`` is the beginning of the next, which waits for its end."""
    while path.exists():
        part += file.readline()
        if part.endswith("\n"):
            yield part
            part = ""
        else:
            sys.stdout.flush()
            time.sleep(FOLLOW_S)


def _wanted(line: str, args: argparse.Namespace) -> bool:
    entry = _entry(line)
    level = entry.get("level", "info")
    known = LEVELS.index(level) if level in LEVELS else len(LEVELS)
    return known >= LEVELS.index(args.level) and args.source in ("", entry.get("source"))


def _print(line: str, args: argparse.Namespace) -> None:
    if args.json:
        print(line.rstrip("\n"))
        return
    entry = _entry(line)
    level = entry.get("level", "info")
    mark = f"{level.upper()}: " if level not in ("info", "debug") else ""
    print(f"{entry.get('ts', '')} {entry.get('source', '?'):<8} {mark}{entry.get('text', line.rstrip())}")


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}
