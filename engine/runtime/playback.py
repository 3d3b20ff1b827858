"""A journal played back for those who watch: at the market's pace, published as the run was.

The loop takes its inputs from the journal alone. Clients of the bridge are answered here: questions by the
kernel as it is at that time, a pause or a resume of everything by the playback itself, and whatever else
would change the run by a refusal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from engine.core.errors import ReplayDiverged, RingCorrupt
from engine.core.ring import Ring
from engine.core.times import shown
from engine.runtime.commands import IN_ORDER
from engine.runtime.engine import COMMANDS_A_STEP, EngineLoop
from engine.runtime.records import BlobJoiner, FeedState, Kind, record_dtype
from engine.runtime.recovery import LAST_TS, Replay

CHUNK = 256
"""Records that are taken in before commands are looked for again."""
SEEK = 1 << 14
"""Records that are taken in at once while nobody watches."""
WAIT_NS = 20_000_000
"""The longest sleep: books that their interval holds back are published after it."""
ROOM_NS = 1_000_000
BEHIND_NS = 1_000_000_000
OBSERVERS = (
    "this is a replay, and what has happened cannot be changed; "
    "a pause or a resume of all strategies is one of the replay itself"
)


class Playback:
    """Plays a run from its journal.

    Args:
        loop: A loop of :func:`engine.runtime.recovery.private_loop`, whose rings a bridge reads.
        replay: The run, which nothing has been taken in of.
        outgoing: The rings from the loop to the bridge.
        speed: Market seconds a second; 0 is as fast as they are read.
        until: Engine time to stop at.
        clock: Steady nanoseconds.

    Attributes:
        diverged: What a strategy or a build did otherwise than in the run; empty while it has not.
        rest: Why it stands still; empty while it plays.
    """

    def __init__(
        self,
        loop: EngineLoop,
        replay: Replay,
        outgoing: Sequence[Ring],
        *,
        speed: float = 1.0,
        until: int = LAST_TS,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._loop, self._replay, self._clock = loop, replay, clock
        self._speed, self._until = speed, until
        self._blobs = BlobJoiner()
        self._rings = outgoing
        self._anchor: tuple[int, int] | None = None
        self.diverged = self.rest = ""
        self._feed: FeedState | None = None

    def seek(self, ts: int, stop: Callable[[], bool]) -> None:
        """Takes in what happened before a time, and publishes none of it.

        Args:
            ts: Engine time.
            stop: Asked now and then whether to leave off.
        """
        before = -1
        while not self.rest and self._replay.records != before and not stop():
            before = self._replay.records
            self._take(min(ts - 1, self._until), SEEK)
        # Lines of long ago would be told as of now; everything else is, when the bridge asks for it.
        self._loop.out.take_logs()

    def begin(self) -> None:
        """Publishes from here on."""
        self._loop.mute(False)

    def turn(self) -> None:
        """Answers who has asked, plays what is due, publishes it, and sleeps until more is."""
        self._commands()
        wait = WAIT_NS if self.rest else self._play()
        self._loop.tell()
        self._replay.show(self._feed)
        if wait > 0:
            self._loop.bell.wait([self._loop.control_in], wait)

    # --- playing --------------------------------------------------------------------------------

    def _play(self) -> int:
        """Takes in a chunk of what is due; nanoseconds until the next."""
        if any(2 * len(ring) > ring.capacity for ring in self._rings):
            return ROOM_NS
        ts, now = self._replay.next_ts, self._clock()
        if ts is None:
            self._stand("the journal goes no further", FeedState.ENDED)
            return 0
        if ts > self._until:
            self._stand(f"it has come to {shown(self._until)}, where it was to stop", FeedState.PAUSED)
            return 0
        target = self._until
        if self._speed > 0 and ts > 0:
            if self._anchor is None:
                self._anchor = ts, now
            at, since = self._anchor
            if at + (now - since) * self._speed - ts > self._speed * BEHIND_NS:
                # It was stopped, or cannot keep up: what was missed is not hurried through.
                self._anchor = at, since = ts, now
            target = min(target, at + int((now - since) * self._speed))
            if ts > target:
                return min(WAIT_NS, int((ts - target) / self._speed) + 1)
        self._take(target, CHUNK)
        return 0

    def _take(self, until: int, most: int) -> None:
        try:
            self._replay.run(until, most)
        except ReplayDiverged as error:
            self.diverged = str(error)
            self._stand(f"it is not what the run was: {error}", FeedState.PAUSED)

    def _stand(self, why: str, feed: FeedState) -> None:
        self.rest, self._feed, self._anchor = why, feed, None
        self._say(f"the replay stands at {shown(self._loop.now)}: {why}")

    def _say(self, text: str) -> None:
        line = {"level": "error" if self.diverged else "info", "source": "replay", "text": text}
        self._loop.out.blob(Kind.LOG, line, ring="telemetry_out")

    # --- who watches ----------------------------------------------------------------------------

    def _commands(self) -> None:
        for record in self._loop.control_in.pop_many(COMMANDS_A_STEP).view(record_dtype).reshape(-1):
            if record["kind"] != Kind.CONTROL:
                continue
            try:
                message = self._blobs.add(record)
            except RingCorrupt:
                # The half of a command whose sender has gone in the middle of it.
                continue
            if message is not None:
                command = message.get("command") if isinstance(message, dict) else None
                ring = "orders_out" if command in IN_ORDER else "control_out"
                self._loop.out.blob(Kind.REPLY, self._answer(command, message), ring=ring)

    def _answer(self, command: Any, message: Any) -> dict[str, Any]:
        if command == "pause" and not message.get("strategy_id"):
            return self._loop.refer(message, *self._pause())
        if command == "resume" and not message.get("strategy_id"):
            return self._loop.refer(message, *self._resume())
        if command == "resync" and not self._loop.tell_all():
            return self._loop.refer(message, False, "busy: the rings have no room for everything, ask again")
        return self._loop.observe(message, OBSERVERS)

    def _pause(self) -> tuple[bool, str]:
        if self.rest:
            return False, f"the replay stands still already: {self.rest}"
        self._stand("somebody has paused it", FeedState.PAUSED)
        return True, f"the replay is paused at {shown(self._loop.now)}"

    def _resume(self) -> tuple[bool, str]:
        if not self.rest:
            return False, "the replay goes on already"
        if self.diverged or self._replay.next_ts is None:
            return False, f"the replay cannot go on: {self.rest}"
        if self._replay.next_ts > self._until:
            self._until = LAST_TS
        self.rest, self._feed = "", None
        self._say(f"the replay goes on from {shown(self._loop.now)}")
        return True, f"the replay goes on from {shown(self._loop.now)}"
