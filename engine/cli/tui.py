"""``ringbook tui``: the terminal UI on a running daemon."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bridge.protocol import socket_endpoint
from engine.cli.keys import key_argument, own_key
from engine.core.errors import ConfigError, NotRunning
from engine.runtime.config import of_run
from engine.runtime.rundir import RunDir, default_base, default_endpoint


def tui_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options of ``ringbook tui``."""
    parser.add_argument(
        "--connect",
        metavar="ENDPOINT",
        default="",
        help="the bridge's base endpoint, ipc://DIRECTORY or tcp://HOST:PORT (default: the running daemon's)",
    )
    parser.add_argument("--name", default="", help="name of the daemon, where several run")
    key_argument(parser)
    parser.add_argument("--theme", choices=("dark", "light"), default="dark", help="colours to start with")
    parser.epilog = (
        "example:\n  ringbook run --config paper.toml --detach\n  ringbook tui\n\n"
        "Press ? in it for all keys. NO_COLOR=1 shows it without colours."
    )


def running(base: Path) -> list[str]:
    """Names of the daemons that run below a base directory."""
    if not base.is_dir():
        return []
    return [path.name for path in sorted(base.iterdir()) if RunDir(path).owner() is not None]


def find_endpoint(connect: str, name: str) -> str:
    """Where to connect to.

    Args:
        connect: What the user named, or empty.
        name: The daemon's name, or empty for the only one that runs.

    Raises:
        ConfigError: The endpoint is none, or several daemons run and none is named.
        NotRunning: No daemon runs, or none of that name.
    """
    if connect:
        try:
            socket_endpoint(connect, "orders")
        except ValueError as error:
            raise ConfigError(f"--connect {error}") from None
        return connect
    names = running(default_base())
    if name and name not in names:
        others = f"; running: {', '.join(names)}" if names else ""
        raise NotRunning(f"no daemon named {name} runs{others}")
    if not names:
        raise NotRunning("no daemon runs here: start one with 'ringbook run', or name it with --connect")
    if not name and len(names) > 1:
        raise ConfigError(f"several daemons run ({', '.join(names)}): choose one with --name")
    return default_endpoint(name or names[0])


def keys_of(name: str) -> str:
    """The directory of the keys of a daemon on this machine; empty if it has none."""
    run = RunDir(default_base() / (name or running(default_base())[0]))
    return of_run(run).bridge.keys


def tui(args: argparse.Namespace) -> int:
    """Opens the terminal UI and stays until the user leaves."""
    if args.json:
        raise ConfigError("the terminal UI has no JSON form; 'ringbook status --json' has")
    endpoint = find_endpoint(args.connect, args.name)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigError("the terminal UI needs a terminal; 'ringbook status' does without")
    from tui.app import RingbookApp

    # A daemon that is named by its endpoint may be on another machine: its keys are not ours to look for.
    keys = None if args.connect else keys_of(args.name)
    key_file, key = own_key(args.key_file, keys)
    role = key.role if key is not None and key.role != "trader" else "admin"
    app = RingbookApp(endpoint, theme=f"ringbook-{args.theme}", role=role, key_file=key_file)
    app.run()
    return app.return_code or 0
