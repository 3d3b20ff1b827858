"""The record of what operators changed: one JSON line a change, in the run directory, over all runs.

A change is one command that did something: its version counts from 1 without gaps, and it says who, when
(wall clock and engine step), and of each value what it was and what it is now.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

TAIL_BYTES = 64 * 1024


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One change.

    Attributes:
        version: Counts all changes of a run directory.
        ts: Wall clock in ISO 8601, UTC, when the command came in.
        step: The engine step that applied it.
        who: The client that sent it, or the file that it came from.
        kind: ``params``, ``limits``, or the name of another command.
        strategy: The strategy that it named; empty for all or none.
        values: Old and new value of each name that changed; None is no limit.
        message: What was answered.
    """

    version: int
    ts: str
    step: int
    who: str
    kind: str
    strategy: str = ""
    values: dict[str, tuple[Any, Any]] = {}
    message: str = ""


def moment(wall_ns: int) -> str:
    """A wall clock time as :attr:`Change.ts` has it."""
    seconds, rest = divmod(wall_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1000:06}Z"


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Old and new value of each name whose value is another now; a limit that is lifted is None."""
    names = [name for name in {**before, **after} if _plain(before.get(name)) != _plain(after.get(name))]
    return {name: (_plain(before.get(name)), _plain(after.get(name))) for name in names}


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def last_version(path: Path) -> int:
    """The version of the last change in a record, 0 without one; a line that was cut off does not count."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return 0
    return max((change.version for change in _decoded(lines)), default=0)


def read(path: Path, kinds: frozenset[str] = frozenset(), strategy: str = "", last: int = 0) -> list[Change]:
    """The changes in a record, oldest first.

    Args:
        path: The file; where it is missing there was none.
        kinds: Which kinds; all if empty.
        strategy: Of which strategy; of all if empty.
        last: How many at most, the latest; 0 is all.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    found = [
        change
        for change in _decoded(lines)
        if (not kinds or change.kind in kinds) and (not strategy or change.strategy == strategy)
    ]
    return found[-last:] if last else found


def _decoded(lines: list[bytes]) -> Iterator[Change]:
    decoder = msgspec.json.Decoder(Change)
    for line in filter(None, lines):
        try:
            yield decoder.decode(line)
        except msgspec.MsgspecError:
            # The end of a line that a full disk or a killed engine cut off; the others stand.
            continue


def describe(change: Change) -> str:
    """A change in one line, for people."""
    values = ", ".join(f"{name} {_shown(old)} -> {_shown(new)}" for name, (old, new) in change.values.items())
    what = " ".join(filter(None, (change.kind, change.strategy)))
    return f"{change.version:>5}  {change.ts}  {change.who}  {what}: {values or change.message}"


def _shown(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
