"""The operator's commands: each asks the running daemon over the bridge's control socket.

Exit codes: 0 done; 1 the engine says no, or no daemon runs; 2 a mistake in the command, or the bridge
refuses it or does not answer.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli.daemon import find, none_runs, where_arguments
from engine.cli.keys import key_argument, own_key
from engine.core.errors import ConfigError, NotRunning

if TYPE_CHECKING:
    from bridge import protocol as p
    from bridge.client import Client

TOKEN_VARIABLE = "RINGBOOK_REARM_TOKEN"
PATIENCE = 50
"""Silent intervals after which the bridge counts as gone: a command has a time limit of its own."""


# --- what all of them share ---------------------------------------------------------------------


def _arguments(parser: argparse.ArgumentParser, example: str) -> None:
    where_arguments(parser)
    parser.add_argument(
        "--endpoint", metavar="URL", help="of a daemon elsewhere: ipc://DIR or tcp://HOST:PORT"
    )
    key_argument(parser)
    parser.epilog = f"example: {example}"


def operator() -> str:
    """What the engine is told of who we are."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return "cli:" + re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:32]


@contextmanager
def session(args: argparse.Namespace) -> Iterator[Client]:
    """A connection to the daemon that the arguments name.

    Args:
        args: With :func:`engine.cli.daemon.where_arguments` and ``endpoint``.

    Raises:
        NotRunning: No daemon runs there; it has been said already.
        BridgeError: The bridge does not answer, or refuses us.
    """
    from bridge.client import connect
    from engine.runtime.config import of_run

    endpoint, keys = args.endpoint, None
    if not endpoint:
        run_dir, pid = find(args)
        state = run_dir.read_state()
        if pid is None or state is None:
            none_runs(run_dir, args.json)
            raise NotRunning(str(run_dir.path))
        endpoint, keys = state.endpoint, of_run(run_dir).bridge.keys
    key_file, key = own_key(args.key_file, keys)
    role: Any = "risk" if key is not None and key.role == "risk" else "admin"
    with connect(
        endpoint, role=role, name=operator(), heartbeat_misses=PATIENCE, key_file=key_file
    ) as client:
        yield client


def asked(args: argparse.Namespace, ask: Callable[[Client], p.ControlReply]) -> int:
    """Asks the daemon one thing and says the answer; the exit code."""
    try:
        with session(args) as client:
            reply = ask(client)
    except NotRunning:
        return 1
    return say(args, reply)


def say(args: argparse.Namespace, reply: p.ControlReply) -> int:
    """Prints an answer of the engine; the exit code."""
    if args.json:
        print(json.dumps(plain(reply)))
    elif reply.success:
        print(reply.message)
    if not reply.success:
        print(f"ringbook: refused: {reply.message}", file=sys.stderr)
    return 0 if reply.success else 1


def plain(reply: p.ControlReply) -> dict[str, Any]:
    """An answer for ``--json``."""
    import msgspec

    fields = msgspec.structs.asdict(reply)
    del fields["request_id"]
    return fields


# --- states -------------------------------------------------------------------------------------


def pause_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ringbook pause``."""
    parser.add_argument("strategy", nargs="?", default="", help="one strategy; all if it is left out")
    _arguments(parser, "ringbook pause mm")


def pause(args: argparse.Namespace) -> int:
    """No new orders of a strategy or of all; cancels, market data and callbacks go on."""
    return asked(args, lambda client: client.pause(args.strategy))


def resume_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ringbook resume``."""
    parser.add_argument(
        "strategy", nargs="?", default="", help="one strategy; if left out all, and a halt ends"
    )
    _arguments(parser, "ringbook resume mm")


def resume(args: argparse.Namespace) -> int:
    """Lets paused strategies trade again, and, without a name, trading itself after a halt."""
    return asked(args, lambda client: client.resume(args.strategy))


def halt_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ringbook halt``."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--keep-orders", action="store_true", help="leave live orders at the venue")
    choice.add_argument(
        "--reduce", action="store_true", help="not a halt: only orders that reduce a position pass"
    )
    _arguments(parser, "ringbook halt")


def halt(args: argparse.Namespace) -> int:
    """Cancels all orders and lets no new ones pass until ``ringbook resume``."""
    if args.reduce:
        return asked(args, lambda client: client.reduce_only())
    return asked(args, lambda client: client.emergency_stop(cancel_orders=not args.keep_orders))


def flatten_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ringbook flatten``."""
    _arguments(parser, "ringbook flatten")


def flatten(args: argparse.Namespace) -> int:
    """Halts, cancels all orders, and closes all positions with market orders."""
    return asked(args, lambda client: client.emergency_stop(cancel_orders=True, close_position=True))


def cancel_all_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ringbook cancel-all``."""
    parser.add_argument("strategy", nargs="?", default="", help="one strategy; all if it is left out")
    parser.add_argument("--symbol", default="", help="in one instrument only")
    _arguments(parser, "ringbook cancel-all mm --symbol BTCUSDT")


def cancel_all(args: argparse.Namespace) -> int:
    """Cancels live orders; strategies go on and may send new ones."""
    return asked(args, lambda client: client.cancel_orders(args.strategy, args.symbol))


# --- the kill switch ----------------------------------------------------------------------------


def kill_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ringbook kill``."""
    parser.add_argument("strategy", nargs="?", default="", help="one strategy; everything if it is left out")
    parser.add_argument("--symbol", default="", help="one instrument instead of a strategy")
    parser.add_argument("--reason", default="", help="why, for whoever re-arms the switch")
    _arguments(parser, 'ringbook kill --reason "wrong prices"')


def kill(args: argparse.Namespace) -> int:
    """Throws the kill switch: cancels, and stays thrown over restarts until ``ringbook rearm``."""
    return asked(args, lambda client: client.kill(args.strategy, args.symbol, args.reason))


def rearm_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ringbook rearm``."""
    parser.add_argument(
        "--confirm", metavar="ID", help="the switch to re-arm; without it, thrown ones are listed"
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help=f"holds the token, where the daemon asks for one (or ${TOKEN_VARIABLE} does)",
    )
    _arguments(parser, "ringbook rearm --confirm 1f3a9c07")


def rearm(args: argparse.Namespace) -> int:
    """Takes back one thrown switch, by its id, so that nobody re-arms what he has not seen."""
    if args.confirm:
        token = _token(args.token_file)
        return asked(args, lambda client: client.rearm(args.confirm, token))
    try:
        with session(args) as client:
            switches = client.query_status().details.get("switches", [])
    except NotRunning:
        return 1
    if args.json:
        print(json.dumps({"switches": switches}))
    else:
        print("\n".join(map(switch_line, switches)) or "no switch is thrown")
    if switches:
        print("ringbook: nothing re-armed: name one with --confirm ID", file=sys.stderr)
    return 1 if switches else 0


def switch_line(switch: dict[str, Any]) -> str:
    """A thrown switch for people."""
    place = " ".join(filter(None, (switch["scope"], switch["name"])))
    reason = f": {switch['reason']}" if switch.get("reason") else ""
    value = f" ({switch['actual']:g}, limit {switch['limit']:g})" if switch.get("limit") else ""
    who = switch.get("who") or "nobody named"
    return f"{switch['id']}  {place}: {switch['state']} by {switch['cause']}{value}, set by {who}{reason}"


def _token(name: str | None) -> str:
    if name is None:
        return os.environ.get(TOKEN_VARIABLE, "")
    try:
        return Path(name).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name}: {getattr(error, 'strerror', None) or error}") from None


# --- strategies ---------------------------------------------------------------------------------


def strategies_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ringbook strategies``."""
    _arguments(parser, "ringbook strategies --json")


def strategies(args: argparse.Namespace) -> int:
    """Lists the strategies: kind, state, symbols, and what their last change of state said."""
    try:
        with session(args) as client:
            found = statuses(client)
    except NotRunning:
        return 1
    if args.json:
        import msgspec

        fields = ("strategy_id", "kind", "state", "message", "symbols")
        listed = [
            {name: getattr(one, name) for name in fields}
            | {
                "params": [msgspec.structs.asdict(param) for param in one.params],
                "switches": [msgspec.structs.asdict(switch) for switch in one.switches],
            }
            for one in found
        ]
        print(json.dumps({"strategies": listed}))
        return 0
    for one in found:
        symbols = ", ".join(one.symbols[:5]) + (", ..." if len(one.symbols) > 5 else "")
        said = f"  {one.message}" if one.message else ""
        said += "".join(f"  {held.name} {held.state} by {held.cause}" for held in one.switches)
        print(f"{one.strategy_id:<16} {one.kind:<8} {one.state:<8} {symbols}{said}")
    if not found:
        print("no strategies")
    return 0


def statuses(client: Client, timeout: float = 5.0) -> list[p.StrategyStatus]:
    """The present status of every strategy.

    Raises:
        RequestTimeout: The bridge has not answered in time.
    """
    from bridge import protocol as p
    from bridge.errors import RequestTimeout

    for message in client.messages(p.STRATEGIES_TOPIC, timeout=timeout):
        if isinstance(message, p.Snapshot):
            return [one for one in message.messages if isinstance(one, p.StrategyStatus)]
    raise RequestTimeout(f"no answer in {timeout:g} s")
