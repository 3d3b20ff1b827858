"""The way of an engine into the run of one that was killed: it repeats the journal and goes on in its buffer.

A standby goes most of the way beforehand: it repeats what the living engine has journaled, always but for
the last record, because only what lies before another record is sure to have been published. What is left
at the engine's death is that record and what had not become durable, so a return takes as long after a day
as after a minute. The journaller and the bridge work on meanwhile.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable

import msgspec

from engine.core.errors import JournalError, JournalLocked
from engine.core.settings import config_hash
from engine.journal.journaller import Journaller
from engine.journal.segments import Sizes
from engine.journal.wal import Journal, RecordType
from engine.runtime.build import build_hash, strategies_code
from engine.runtime.config import DaemonConfig
from engine.runtime.engine import EngineLoop
from engine.runtime.images import Start, repeat
from engine.runtime.ledger import Ledger
from engine.runtime.recovery import Beginning, Instrument, Replay, beginning, run_directory
from engine.runtime.resuming import journal_of, resume
from engine.runtime.rundir import RunDir
from engine.runtime.switches import restore_switches
from engine.runtime.unfinished import settle_left

BEGIN_S = 10.0
"""How long a standby waits for the run's first record on disk."""
DRAIN_S = 30.0
"""How long a return waits for the journaller to bring everything to disk."""
DRAIN_POLL_S = 0.0005
FOLLOW_S = 0.01
"""How often a standby looks for more."""


class Return:
    """One engine on its way.

    Args:
        make: Makes a loop at the beginning of the run, with the run's rings; a new one each time.
        buffer: The run's.
        config: The daemon's.
        log: Says how far it came.
        dead: Whether the engine before us is dead already.

    Raises:
        JournalError: The journal does not come to disk, has no beginning, or is damaged.
    """

    def __init__(
        self,
        make: Callable[[], EngineLoop],
        buffer: Journal,
        config: DaemonConfig,
        log: logging.Logger,
        *,
        dead: bool,
    ) -> None:
        self._buffer, self._log, self._dead = buffer, log, dead
        self._directory = run_directory(config, buffer.run_id)
        self._sizes = Sizes(segment=config.journal.segment_mb << 20)
        if dead:
            self._drain()
        elif not buffer.wait_durable(buffer.first_seq, BEGIN_S):
            raise JournalError(f"{buffer.path}: nothing of this run is on disk after {BEGIN_S:g} s")
        start = repeat(make, self._directory, beginning(self._directory), self._catch_up, log)
        self.loop, self._reader, self._replay = start.loop, start.reader, start.replay
        self._caught_up = False

    def _catch_up(self, start: Start) -> None:
        if self._dead and not start.seq:
            # In one go, by :meth:`complete`: there is nothing else to begin with.
            return
        # What lies before another record is sure to have been published.
        start.reader.limit = max(0, self._buffer.durable_seq - 1)
        start.replay.run()

    def follow(
        self,
        called: Callable[[float], bool],
        caught_up: Callable[[], None],
        look: Callable[[Replay], None] = lambda replay: None,
    ) -> None:
        """Repeats what another engine does, until we are called.

        Args:
            called: Waits for so many seconds at most; whether that engine is dead and we are to take over.
            caught_up: Told once that we are where the engine is.
            look: Shown the repetition now and then, between two records.

        Raises:
            RingbookError: As :meth:`engine.runtime.recovery.Replay.run`.
        """
        while True:
            self._reader.limit = max(0, self._buffer.durable_seq - 1)
            self._replay.run()
            if not self._caught_up:
                self._caught_up = True
                self._log.info("standing by at record %d", self._reader.seq)
                caught_up()
            look(self._replay)
            if called(FOLLOW_S):
                return

    def complete(self, ledger: Ledger | None = None) -> None:
        """Takes the rest in, publishes what the dead engine had not, and goes on in its buffer.

        Args:
            ledger: Where switches and changes are kept; by default the loop's own.

        Raises:
            JournalError: Not all of it came to disk, or its run has ended.
            RingbookError: As :meth:`engine.runtime.recovery.Replay.run`.
        """
        loop, buffer, reader = self.loop, self._buffer, self._reader
        followed = reader.seq
        self._drain()
        reader.limit = buffer.durable_seq
        loop.publish_rest()
        self._replay.run()
        loop.end_repeating(ledger)
        loop.skip_taken()
        buffer.take_over(reader.seq, reader.crc)
        loop.keep_in(buffer)
        loop.inputs.note_resumed(loop.now)
        loop.flush()
        self._log.info(
            "goes on after record %d, the last %d repeated just now, at engine time %d",
            reader.seq,
            reader.seq - followed,
            loop.now,
        )

    def _drain(self) -> None:
        """Waits until all that the dead engine accepted is on disk; without a journaller, brings it there."""
        deadline = time.monotonic() + DRAIN_S
        while self._buffer.tail != self._buffer.head:
            try:
                with Journaller(self._buffer, self._directory, sizes=self._sizes) as journaller:
                    journaller.drain()
            except JournalLocked:
                if time.monotonic() > deadline:
                    raise JournalError(
                        f"{self._directory}: the journaller has not brought all to disk in {DRAIN_S:g} s"
                    ) from None
                time.sleep(DRAIN_POLL_S)


def open_journal(
    make: Callable[[], EngineLoop], config: DaemonConfig, run: RunDir, log: logging.Logger
) -> EngineLoop:
    """Has a loop keep its inputs, once it is where the engine was that ran before it in this run.

    Where the run is on disk and nothing of it in shared memory any more, the whole daemon had gone. What an
    earlier run left in shared memory is brought to disk first, whatever ended it.

    Args:
        make: Makes the engine's loop, before its first input; a new one each time.
        config: The daemon's.
        run: Its directory.
        log: Says what was found.

    Returns:
        The loop that keeps them.

    Raises:
        JournalError: It cannot be written, is damaged, or is not what its run did.
    """
    state = run.read_state()
    run_id = bytes.fromhex(state.run_id) if state is not None and state.run_id else os.urandom(16)
    left = _left_buffer(run)
    if left is not None and left.run_id == run_id and left.head:
        way = Return(make, left, config, log, dead=True)
        way.complete()
        return way.loop
    if left is not None:
        left.close()
        settle_left(config, run, log)
    if (directory := journal_of(config, run)) is not None:
        return resume(make, directory, config, run, log)
    loop = make()
    code = strategies_code(config.strategies)
    journal = Journal.create(
        run.journal_buffer,
        run_id=run_id,
        build=build_hash(code),
        config=config_hash(config),
        capacity=config.journal.buffer_mb << 20,
    )
    restore_switches(loop.kernel, run, log)
    loop.switches_restored()
    begun = Beginning(
        run_id.hex(),
        [Instrument(asset.symbol) for asset in config.instruments],
        list(loop.kernel.latches()),
        loop.version,
        config,
        str(run.path),
        code,
    )
    journal.append_time(RecordType.META, 0, msgspec.msgpack.encode(begun))
    loop.keep_in(journal)
    return loop


def _left_buffer(run: RunDir) -> Journal | None:
    """The buffer that is still in shared memory."""
    try:
        return Journal.attach(run.journal_buffer, prefault=True)
    except FileNotFoundError:
        return None
