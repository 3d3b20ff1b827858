"""``ringbook keys``: makes, lists and revokes the keys that a daemon's clients need."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.auth import ClientKey, find_key
from engine.core.errors import ConfigError

if TYPE_CHECKING:
    from bridge.keyring import Entry, KeyDir

DIRECTORY_VARIABLE = "RINGBOOK__BRIDGE__KEYS"
ROLES = ("observer", "trader", "risk", "admin")
EXAMPLE = "ringbook keys make mm --role trader"


def keys_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the sub-commands of ``ringbook keys`` and their arguments."""
    parts = parser.add_subparsers(dest="part", metavar="PART", required=True)
    make = _part(parts, "make", "make a key and write its key file", EXAMPLE)
    make.add_argument("key", metavar="NAME", help="what the key is called, in logs too")
    make.add_argument("--role", required=True, choices=ROLES, help="what its sessions may be")
    make.add_argument(
        "--strategy",
        action="append",
        default=[],
        metavar="ID",
        help="a strategy that a trader's key may trade as (default: the one called NAME); may be repeated",
    )
    make.add_argument("--out", metavar="FILE", help="where to write the key file (default: DIR/NAME.key)")
    _part(parts, "list", "list the keys", "ringbook keys list --json")
    revoke = _part(parts, "revoke", "revoke a key: its sessions end at once", "ringbook keys revoke mm")
    revoke.add_argument("key", metavar="NAME", help="the key")
    parser.epilog = (
        "'ringbook keys PART --help' explains one. The first key makes the daemon's own as well; name the\n"
        "directory in the daemon's configuration as bridge.keys. A running daemon takes changes at once.\n\n"
        f"example:\n  {EXAMPLE}\n  ringbook keys list\n  ringbook keys revoke mm"
    )


def _part(parts: Any, name: str, help: str, example: str) -> argparse.ArgumentParser:
    parser = parts.add_parser(
        name,
        help=help,
        description=help[0].upper() + help[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"example:\n  {example}",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--keys",
        metavar="DIR",
        help=f"their directory (default: ${DIRECTORY_VARIABLE}, ~/.config/ringbook/keys)",
    )
    where.add_argument("--config", metavar="FILE", help="a daemon's configuration, which names it")
    # Without a default of its own, so that `keys --json list` is the same as `keys list --json`.
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object instead of text"
    )
    return parser


def keys(args: argparse.Namespace) -> int:
    """Makes, lists or revokes keys."""
    from bridge.keyring import KeyDir

    directory = KeyDir(_directory(args))
    return {"make": _make, "list": _list, "revoke": _revoke}[args.part](args, directory)


def _directory(args: argparse.Namespace) -> Path:
    if args.keys:
        return Path(args.keys)
    if not args.config:
        own = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config") / "ringbook" / "keys"
        return Path(os.environ.get(DIRECTORY_VARIABLE) or own)
    from engine.core import settings
    from engine.runtime.config import DaemonConfig

    # Not checked as a whole: before the first key is made, its directory need not be there.
    named = settings.load(args.config, DaemonConfig).bridge.keys
    if not named:
        raise ConfigError(f"{args.config}: $.bridge.keys: names no directory")
    return Path(named)


def _make(args: argparse.Namespace, directory: KeyDir) -> int:
    if args.strategy and args.role not in ("trader", "admin"):
        raise ConfigError(f"--strategy: a key with role {args.role} does not trade")
    entry, path = directory.make(args.key, args.role, tuple(args.strategy), args.out or "")
    if args.json:
        print(json.dumps(_plain(entry) | {"file": str(path), "directory": str(directory.path)}))
    else:
        print(f"{_words(entry)}: {path}")
        print(f"Bring the file to the client by a safe way, and name it there: RINGBOOK_KEY_FILE={path.name}")
    return 0


def _list(args: argparse.Namespace, directory: KeyDir) -> int:
    entries = directory.entries()
    if args.json:
        print(json.dumps({"directory": str(directory.path), "keys": [_plain(entry) for entry in entries]}))
        return 0
    for entry in entries:
        state = f"revoked {_day(entry.revoked)}" if entry.revoked else f"made {_day(entry.made)}"
        print(f"{entry.name:<16} {entry.role:<8} {state:<24} {' '.join(entry.strategies)}".rstrip())
    if not entries:
        print(f"no keys in {directory.path}")
    return 0


def _revoke(args: argparse.Namespace, directory: KeyDir) -> int:
    entry = directory.revoke(args.key)
    if args.json:
        print(json.dumps(_plain(entry)))
    else:
        print(f"revoked {_words(entry)}: a running daemon has ended its sessions")
    return 0


def _plain(entry: Entry) -> dict[str, Any]:
    import msgspec

    return msgspec.to_builtins(entry)


def _words(entry: Entry) -> str:
    names = f" for {', '.join(entry.strategies)}" if entry.strategies else ""
    return f"key {entry.name}, {entry.role}{names}"


def _day(ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.gmtime(ns // 10**9))


# --- the key that a command itself uses -----------------------------------------------------------


def key_argument(parser: argparse.ArgumentParser) -> None:
    """The argument of commands that connect to a daemon."""
    parser.add_argument(
        "--key-file",
        metavar="FILE",
        default="",
        help="our key, where the daemon has keys (default: $RINGBOOK_KEY_FILE, or a local daemon's own)",
    )


def own_key(key_file: str, directory: str | None) -> tuple[str | Path | None, ClientKey | None]:
    """The key file and the key that a command connects with.

    Args:
        key_file: What the user named.
        directory: The keys of the daemon on this machine that is connected to, empty if it has none; None of
            a daemon that may be anywhere.

    Returns:
        What a client takes as ``key_file``, and the key in it.

    Raises:
        BridgeError: The key file cannot be used.
    """
    from bridge.keyring import LOCAL, KeyDir

    if directory == "" and not key_file:
        # A key in the environment is for another daemon: this one knows none.
        return None, None
    key = find_key(key_file)
    if key is not None or not directory:
        return key_file, key
    path = KeyDir(directory).key_file(LOCAL)
    return (path, find_key(path)) if path.exists() else (None, None)
