"""Two matchers side by side: equal commands, every answer compared, a difference cut down to few commands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from engine.matching.records import Code, EventKind, Kind
from tests.kit.matching import Client, text
from tests.kit.matching_ledger import Ledger

Answers = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass
class Difference:
    """Where two matchers parted.

    Attributes:
        upto: So many commands from the start show it.
        what: One line.
    """

    upto: int
    what: str


def compare(
    fast, slow, commands: np.ndarray, batch: int = 256, audit: bool = False
) -> Iterator[Difference | Answers]:
    """Sends the same commands to both and yields each batch's commands, results and events.

    Args:
        fast: The matcher to be judged.
        slow: The oracle.
        commands: Of ``command_dtype``.
        batch: How many at a time; the state hashes are compared after each batch.
        audit: Whether a client and a ledger follow the events and are held against the oracle's state.

    Yields:
        Answers while both agree; a :class:`Difference` as the last item if they stop to.
    """
    client, ledger = Client(), Ledger()
    for start in range(0, len(commands), batch):
        part = commands[start : start + batch]
        try:
            results, events = fast.apply(part)
            fast.check_invariants()
            mine = fast.state_hash()
        except Exception as error:
            yield Difference(start + len(part), f"{type(error).__name__}: {error}")
            return
        slow_results, slow_events = slow.apply(part)
        slow.check_invariants()
        difference = (
            first_difference("result", results, slow_results)
            or first_difference("event", events, slow_events)
            or (mine != slow.state_hash() and "the states differ")
        )
        if not difference and audit:
            difference = audit_events(client, ledger, slow, events)
        if difference:
            yield Difference(start + len(part), difference)
            return
        yield part, results, events


def first_difference(name: str, mine: np.ndarray, other: np.ndarray) -> str | None:
    """The first record in which two arrays differ, None when they are equal byte by byte."""
    if mine.tobytes() == other.tobytes():
        return None
    for number, (a, b) in enumerate(zip(mine, other, strict=False)):
        if a.tobytes() != b.tobytes():
            return f"{name} {number} of the batch: {a}, the oracle says {b}"
    return f"{len(mine)} {name}s, the oracle says {len(other)}"


def audit_events(client: Client, ledger: Ledger, slow, events: np.ndarray) -> str | None:
    """Whether what the events tell is the oracle's state."""
    try:
        client.take(events)
        ledger.take(events)
        ledger.check(slow)
        queues = {
            side: {px: {o.order_id: o.shown for o in queue} for px, queue in levels.items()}
            for side, levels in slow.levels.items()
        }
        assert client.queues == queues, "the client's book is another"
        order = [list(q) for levels in client.queues.values() for _, q in sorted(levels.items())]
        assert order == [list(q) for levels in queues.values() for _, q in sorted(levels.items())]
        assert not client.levels or client.levels == client.totals(), "the levels are others"
    except (AssertionError, KeyError) as error:
        return f"{type(error).__name__} of a client: {error}"
    return None


def differs(
    make_fast: Callable, make_slow: Callable, settings: dict, commands: np.ndarray
) -> Difference | None:
    """Whether the two part anywhere in these commands."""
    for item in compare(make_fast(**settings), make_slow(**settings), commands, max(1, len(commands))):
        if isinstance(item, Difference):
            return item
    return None


def shrink(fails: Callable[[np.ndarray], object], commands: np.ndarray) -> np.ndarray:
    """The fewest and plainest commands that still fail, by delta debugging.

    Args:
        fails: Whether commands fail.
        commands: Some that do.
    """
    before = None
    while before is None or before.tobytes() != commands.tobytes():
        before = commands
        commands = plainer(fails, fewer(fails, commands))
    return commands


def fewer(fails: Callable[[np.ndarray], object], commands: np.ndarray) -> np.ndarray:
    """Leaves out halves, quarters and so on down to single commands."""
    size = max(1, len(commands) // 2)
    while size:
        start = 0
        while start < len(commands):
            rest = np.concatenate([commands[:start], commands[start + size :]])
            if len(rest) and fails(rest):
                commands = rest
            else:
                start += size
        size //= 2
    return commands


def plainer(fails: Callable[[np.ndarray], object], commands: np.ndarray) -> np.ndarray:
    """Makes every field 0 that need not be otherwise."""
    names = [name for name in commands.dtype.names if name != "kind"]
    for row in range(len(commands)):
        for name in names:
            simple = commands.copy()
            simple[name][row] = 0
            if commands[name][row] and fails(simple):
                commands = simple
    return commands


def describe(row: np.void) -> str:
    """A command as a line of Python."""
    kind = Kind(int(row["kind"])).name if int(row["kind"]) in list(Kind) else int(row["kind"])
    fields = [f"{name}={row[name]}" for name in row.dtype.names if name != "kind" and row[name]]
    return f"{kind} {' '.join(fields)}"


def story(make: Callable, settings: dict, commands: np.ndarray) -> list[str]:
    """What one matcher answers to each command."""
    matcher = make(**settings)
    lines = []
    for number in range(len(commands)):
        results, events = matcher.apply(commands[number : number + 1])
        lines.append(f"{describe(commands[number])} -> {Code(int(results[0]['code'])).name}")
        lines += [f"    {text(event)}" for event in events if event["kind"] != EventKind.LEVEL]
    return lines
