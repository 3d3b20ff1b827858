"""The engine's death and return: what it kept of its inputs must bring it back as it was.

In half of the worlds a standby writes down where the run stands before the engine dies, now and then dying
itself: while it writes, while that is proven, or while old segments are removed.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from engine.core.errors import NotKept
from engine.journal.files import Files
from engine.journal.journaller import settle
from engine.journal.reader import JournalReader
from engine.journal.retention import remove_segments
from engine.journal.segments import Sizes
from engine.journal.snapshots import KEEP, adopt_snapshot, draft_snapshot, list_snapshots, read_snapshot
from engine.journal.wal import Journal
from engine.runtime.engine import EngineLoop
from engine.runtime.proving import same_again
from engine.runtime.recovery import Replay, RunImage
from tests.kit.dying import Dying, Killed
from tests.simulation.ledger import must

if TYPE_CHECKING:
    from collections.abc import Callable

RUN_ID = b"simulated world."
SIZES = Sizes(segment=36 << 12, batch=1 << 18)
DIES = 0.15
"""How likely a standby dies at each of its steps."""


class Kept:
    """The journal of a world's engine: a buffer that outlives the engine, and a directory.

    Args:
        engine: The loop, before its first input.
        seed: Of what the standby does.
        make: Makes a loop at the run's beginning, on rings of its own.

    Attributes:
        deaths: Of the engine.
        from_snapshots: Returns that began with a snapshot.
        removed: Returns from a journal whose beginning has gone.
        spoil: Changes what the standby has written down, for a planted bug.
        needed: Says before which record segments may go, by the older snapshot's, for another.
    """

    def __init__(self, engine: EngineLoop, seed: int, make: Callable[[], EngineLoop]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rb-")
        self._path = Path(self._folder.name)
        self._buffer, self._journals = self._path / "buffer", self._path / "journal"
        self._journal = self._keep(engine, 1, 0)
        self._rng, self._make = random.Random(f"standby {seed}"), make
        self._writes = self._rng.random() < 0.5
        self.deaths = self.from_snapshots = self.removed = 0
        self.spoil: Callable[[RunImage], RunImage] = lambda image: image
        self.needed: Callable[[int], int] = lambda seq: seq

    def _keep(self, engine: EngineLoop, first_seq: int, first_crc: int) -> Journal:
        journal = Journal.create(
            self._buffer, run_id=RUN_ID, capacity=1 << 20, first_seq=first_seq, first_crc=first_crc
        )
        engine.keep_in(journal)
        return journal

    def die(self, engine: EngineLoop, start: Callable[[], EngineLoop]) -> None:
        """Kills the engine between two turns and brings it back from what it kept.

        Args:
            engine: The one that dies.
            start: Makes another one on the same rings.

        Raises:
            Broken: It comes back otherwise than it was.
        """
        was = (engine.kernel.state_hash(), engine.outputs, engine.outputs_hash, engine.now)
        self._journal.close()
        found = settle(self._journals, self._buffer, sizes=SIZES)
        if self._writes:
            self._stand_by()
        again = start()
        replay, began = self._begun(again)
        self.from_snapshots += began > 0
        self.removed += JournalReader(self._journals).first_seq > 1
        again.publish_rest()
        replay.run()
        again.end_repeating()
        again.skip_taken()
        reached = replay.reached()
        now = (reached.state_hash, reached.outputs, reached.outputs_hash, reached.ts)
        must(now == was, f"the engine was {was} and comes back as {now}")
        again.kernel.check_invariants()
        self._journal = self._keep(again, found.seq + 1, found.crc)
        again.inputs.note_resumed(again.now)
        again.flush()
        self.deaths += 1

    def _begun(self, loop: EngineLoop, limit: int = 2**63) -> tuple[Replay, int]:
        """A repetition from the newest snapshot there is, and its record."""
        snapshots = list_snapshots(Files(), str(self._journals))
        after = snapshots[-1].seq if snapshots else 0
        reader = JournalReader(self._journals, after=after)
        reader.limit = limit
        loop.begin_repeating()
        replay = Replay(loop, reader)
        if snapshots:
            state = read_snapshot(snapshots[-1].path).state
            replay.read_back(msgspec.msgpack.decode(state, type=RunImage))
        return replay, after

    def _stand_by(self) -> None:
        """What a standby and its prover do, as far as they come."""
        rng, directory = self._rng, str(self._journals)
        before = [one.seq for one in list_snapshots(Files(), directory)][-1:] or [0]
        last = JournalReader(directory).last()[0]
        if last <= before[0]:
            return
        loop = self._make()
        replay, _ = self._begun(loop, rng.randint(before[0] + 1, last))
        replay.run()
        reached = replay.reached()
        try:
            image = replay.written()
        except NotKept:
            return
        draft = draft_snapshot(
            directory,
            seq=reached.seq,
            ts=reached.ts,
            state_hash=reached.state_hash,
            state=msgspec.msgpack.encode(self.spoil(image)),
            run_id=RUN_ID,
        )
        if rng.random() < DIES:
            return
        other = self._make()
        other.begin_repeating()
        proof = Replay(other, JournalReader(directory, after=reached.seq))
        proof.read_back(msgspec.msgpack.decode(read_snapshot(draft).state, type=RunImage))
        same_again(self.spoil(image), proof.written(), "it is another once it is read back")
        if rng.random() < DIES:
            return
        adopt_snapshot(draft, lambda snapshot: None)
        kept = list_snapshots(Files(), directory)
        files = Dying(rng.randint(1, 6), rng.random() < 0.5) if rng.random() < DIES else Files()
        if len(kept) == KEEP:
            try:
                remove_segments(directory, self.needed(kept[0].seq), 0, files=files)
            except Killed:
                return

    def close(self) -> None:
        """Removes it all."""
        self._journal.close()
        self._folder.cleanup()
