"""The engine's death and return: what it kept of its inputs must bring it back as it was."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from engine.journal.journaller import settle
from engine.journal.reader import JournalReader
from engine.journal.segments import Sizes
from engine.journal.wal import Journal
from engine.runtime.engine import EngineLoop
from engine.runtime.recovery import Replay
from tests.simulation.ledger import must

if TYPE_CHECKING:
    from collections.abc import Callable

RUN_ID = b"simulated world."
SIZES = Sizes(segment=1 << 20, batch=1 << 18)


class Kept:
    """The journal of a world's engine: a buffer that outlives the engine, and a directory.

    Args:
        engine: The loop, before its first input.
    """

    def __init__(self, engine: EngineLoop) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="rb-")
        self._path = Path(self._folder.name)
        self._buffer = self._path / "buffer"
        self._journal = self._keep(engine, 1, 0)
        self.deaths = 0

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
        found = settle(self._path / "journal", self._buffer, sizes=SIZES)
        again = start()
        again.begin_repeating()
        again.publish_rest()
        replay = Replay(again, JournalReader(self._path / "journal"))
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

    def close(self) -> None:
        """Removes it all."""
        self._journal.close()
        self._folder.cleanup()
