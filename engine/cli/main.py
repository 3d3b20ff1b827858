"""The ``ringbook`` command: finds the sub-command, loads only its module, and speaks of errors in one line.

Exit codes: 0 done; 1 done and the answer is no (a failed check, nothing running); 2 the user's mistake
or a refused input; 3 a backtest was done and its results printed, but a strategy raised and was stopped;
130 interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple


class Command(NamedTuple):
    """Where a sub-command lives: ``module`` has ``<name>_arguments(parser)`` and ``<name>(args) -> int``."""

    module: str
    help: str


COMMANDS: dict[str, Command] = {
    "demo": Command("engine.cli.demo", "watch a market maker trade on a simulated market"),
    "backtest": Command("engine.cli.backtest", "replay a recording against a strategy"),
    "report": Command("engine.cli.report", "say what a run came to: text, a page, a PDF"),
    "sweep": Command("engine.cli.sweep", "run many backtests over parameters, symbols and days"),
    "runs": Command("engine.cli.runs", "list, show and compare the runs that are kept"),
    "query": Command("engine.cli.store", "ask the store: SQL in, a table, csv or JSON out"),
    "record": Command("engine.cli.store", "capture a feed or a journal into the store, without trading"),
    "store": Command("engine.cli.store", "list, import and export the store's market data"),
    "compare": Command("engine.cli.compare", "say why a live or paper session and its backtest differ"),
    "convert": Command("engine.cli.data", "turn a raw capture or a vendor's file into npz"),
    "validate": Command("engine.cli.data", "check a recording for gaps, order and crossed books"),
    "market": Command("engine.cli.market", "fit market laws to recordings and simulate markets by them"),
    "replay": Command(
        "engine.cli.replay", "repeat a daemon's run from its journal, and check that it is the same"
    ),
    "run": Command("engine.cli.daemon", "start the daemon: engine, feed and bridge"),
    "status": Command("engine.cli.daemon", "say how a running daemon is"),
    "stop": Command("engine.cli.daemon", "stop a running daemon in good order"),
    "journal": Command("engine.cli.journal", "verify a journal, show its records, export its market data"),
    "pause": Command("engine.cli.control", "let a strategy or all send no new orders"),
    "resume": Command("engine.cli.control", "let paused strategies, or a halted engine, trade again"),
    "halt": Command("engine.cli.control", "cancel all orders and let no new ones pass"),
    "flatten": Command("engine.cli.control", "halt, and close all positions"),
    "cancel-all": Command("engine.cli.control", "cancel live orders"),
    "kill": Command("engine.cli.control", "throw the kill switch, which stays thrown until it is re-armed"),
    "rearm": Command("engine.cli.control", "list thrown switches, or take one back"),
    "strategies": Command("engine.cli.control", "list the strategies and their states"),
    "keys": Command("engine.cli.keys", "make, list and revoke the keys of a daemon's clients"),
    "params": Command("engine.cli.values", "show or change parameters, and who changed them"),
    "limits": Command("engine.cli.values", "show or change risk limits, and who changed them"),
    "logs": Command("engine.cli.values", "print the daemon's log"),
    "tui": Command("engine.cli.tui", "open the terminal UI on a running daemon"),
    "doctor": Command("engine.cli.doctor", "explain what is wrong with a set-up"),
}


def _top_parser() -> argparse.ArgumentParser:
    from engine import __version__

    width = max(map(len, COMMANDS))
    listing = "\n".join(f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="ringbook",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="An embedded high-frequency trading engine for Python people.",
        epilog=f"commands:\n{listing}\n\n'ringbook COMMAND --help' explains one and shows an example.",
        usage="ringbook [--version] COMMAND ...",
    )
    parser.add_argument("--version", action="version", version=f"ringbook {__version__}")
    parser.add_argument("command", metavar="COMMAND", choices=list(COMMANDS), help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser


def _command_parser(name: str) -> tuple[argparse.ArgumentParser, object]:
    command = COMMANDS[name]
    module = importlib.import_module(command.module)
    parser = argparse.ArgumentParser(
        prog=f"ringbook {name}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=command.help[0].upper() + command.help[1:] + ".",
    )
    attribute = name.replace("-", "_")
    getattr(module, f"{attribute}_arguments")(parser)
    if not any(action.dest == "json" for action in parser._actions):
        parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    return parser, getattr(module, attribute)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The arguments without the program's name; ``sys.argv[1:]`` by default.

    Returns:
        The exit code.
    """
    try:
        return _main(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        print("ringbook: interrupted", file=sys.stderr)
        return 130


def _main(argv: list[str]) -> int:
    if argv and argv[0] in COMMANDS:
        name, rest = argv[0], argv[1:]
    elif not argv:
        _top_parser().error("which command? 'ringbook --help' lists them")
    else:
        parsed = _top_parser().parse_args(argv)
        name, rest = parsed.command, parsed.rest
    parser, run = _command_parser(name)
    args = parser.parse_args(rest)
    return _guarded(run, args)


def _guarded(run: object, args: argparse.Namespace) -> int:
    from bridge.errors import BridgeError
    from engine.core.errors import RingbookError

    # What is shown may hold names of files and symbols that the terminal's encoding does not have.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = run(args)  # type: ignore[operator]
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except (RingbookError, BridgeError) as error:
        if args.json:
            print(json.dumps({"error": type(error).__name__, "message": str(error)}))
        print(f"ringbook: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader of our output (head, less) has left: nothing more to say, and nothing to flush.
        _forget_output()
        return 0
    except OSError as error:
        _forget_output()
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"ringbook: {where}{error.strerror or error}", file=sys.stderr)
        return 2


def _forget_output() -> None:
    """Lets what is still in standard output's buffer go nowhere when the interpreter ends."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
