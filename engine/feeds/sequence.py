"""Sequence numbers of Binance's depth streams: what the updates of a capture lack.

USD-M and COIN-M updates carry ``pu``, the ``u`` of the update before; spot's begin with the ``U`` that
follows the ``u`` before. The first update that a snapshot does not include has to reach back to it
(https://developers.binance.com, "How to manage a local order book correctly").
"""

from __future__ import annotations

import numpy as np

_DEPTH = 2
_SNAPSHOT = 5

Found = tuple[str, str, int, list[int]]


def sequence_problems(marks: np.ndarray, shown: int = 10) -> list[Found]:
    """Finds gaps in the depth updates of a capture.

    Args:
        marks: Array of ``mark_dtype``, from ``CaptureParser.take_marks``.
        shown: How many lines of each problem to return.

    Returns:
        Tuples of name, message, count and the first lines.
    """
    depth = marks[marks["kind"] == _DEPTH]
    found: list[Found] = []
    if len(depth) == 0:
        return found
    inverted = depth["first_id"] > depth["last_id"]
    _add(found, "update_ids", "the first update id is greater than the last", depth["line"][inverted], shown)
    before, after = depth["last_id"][:-1], depth[1:]
    futures = after["prev_id"] >= 0
    gap = np.where(futures, after["prev_id"] != before, after["first_id"] != before + 1)
    repeated = gap & (after["last_id"] <= before)
    _add(found, "repeated_update", "an update that was there already", after["line"][repeated], shown)
    lost = gap & ~repeated
    message = "updates are missing before it"
    if lost.any():
        # Futures ids count more than this stream's updates, so the span of ids is an upper bound there.
        span = int(np.maximum(after["first_id"][lost] - before[lost] - 1, 1).max())
        message = f"updates are missing before it (at most {span:,} ids at once)"
    _add(found, "sequence_gap", message, after["line"][lost], shown)
    late = [snapshot["line"] for snapshot in marks[marks["kind"] == _SNAPSHOT] if _unreached(depth, snapshot)]
    _add(found, "snapshot_gap", "no update continues the snapshot", np.array(late, np.int64), shown)
    return found


def _unreached(depth: np.ndarray, snapshot: np.void) -> bool:
    """Whether the first update beyond a snapshot begins after the snapshot's end."""
    if snapshot["last_id"] < 0:
        return False
    beyond = depth[depth["last_id"] > snapshot["last_id"]]
    if len(beyond) == 0:
        # The capture ends before the next update: nothing says that one is missing.
        return False
    first = beyond[0]
    reach = first["prev_id"] if first["prev_id"] >= 0 else first["first_id"] - 1
    return bool(reach > snapshot["last_id"])


def _add(found: list[Found], name: str, message: str, lines: np.ndarray, shown: int) -> None:
    if len(lines):
        found.append((name, message, len(lines), lines[:shown].tolist()))
