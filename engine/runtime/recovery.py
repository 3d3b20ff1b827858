"""Takes a journal in again: to go on after a crash, or to look at a run once more."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import msgspec
import numpy as np

from engine.core.errors import JournalError
from engine.core.ring import Bell, Ring
from engine.journal.reader import JournalReader
from engine.journal.retention import first_record
from engine.journal.wal import RecordType
from engine.runtime.config import DaemonConfig
from engine.runtime.engine import EngineLoop, make_kernel
from engine.runtime.loop import Want
from engine.runtime.publish import Publisher
from engine.runtime.records import SLOT_BYTES, FeedState, record_dtype
from engine.runtime.repeating import Standing
from engine.runtime.replay import JournalPass
from engine.runtime.rundir import RING_SLOTS
from engine.runtime.standing import stand, standing
from engine.strategy.image import KernelState, load_kernel, save_kernel
from engine.strategy.status import LatchInfo

LAST_TS = 2**63 - 1


class Instrument(msgspec.Struct, frozen=True):
    """An instrument, as whoever reads a journal wants it named."""

    symbol: str


class Beginning(msgspec.Struct, frozen=True):
    """What a run begins with: the META record of its journal.

    Attributes:
        run_id: Hex.
        instruments: By number.
        switches: What was thrown in an earlier run and not yet re-armed.
        version: Of the last change before it, see :mod:`engine.runtime.changes`.
        config: The daemon's configuration.
        run_dir: The daemon's run directory.
        code: Hashes of the files of its strategies, by their names.
    """

    run_id: str
    instruments: list[Instrument]
    switches: list[LatchInfo]
    version: int
    config: DaemonConfig
    run_dir: str = ""
    code: dict[str, str] = {}


@dataclass(frozen=True)
class Replayed:
    """How far a replay came.

    Attributes:
        records: Records taken in.
        seq: Number of the last one.
        ts: Engine time.
        compared: How often outputs or state were held against the run's, and were the same.
        ended: Whether the run ended in good order, and all of it has been replayed.
        stopped: Whether its ordered stop has begun.
        state_hash: Of the kernel.
        outputs: How many there were.
        outputs_hash: Of all of them.
    """

    records: int
    seq: int
    ts: int
    compared: int
    ended: bool
    stopped: bool
    state_hash: int
    outputs: int
    outputs_hash: int


class RunImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a run stands, written down.

    Attributes:
        kernel: Books, orders, positions, limits and strategies.
        venue: The venue, and what is on its way to and from it.
        loop: The loop's clocks and counts.
        standing: What Python holds of the loop.
    """

    kernel: KernelState
    venue: bytes
    loop: bytes
    standing: Standing


class Replay:
    """A run that is taken in again by a loop that has not begun.

    Args:
        loop: The loop; it keeps nothing until the replay is over.
        reader: The journal.
    """

    def __init__(self, loop: EngineLoop, reader: JournalReader) -> None:
        self._loop, self._pass = loop, JournalPass(loop, reader)
        self._stopped = False

    @property
    def stopped(self) -> bool:
        """Whether the run's ordered stop has begun."""
        return self._stopped

    def written(self, *, taken: bool = False) -> RunImage:
        """Where the run stands, as far as it has been taken in.

        Args:
            taken: Whether what it has put out, where that is kept in memory, has been taken all the same.

        Raises:
            NotKept: Something of it cannot be written down.
        """
        loop = self._loop
        place = standing(loop, self._pass, taken)
        return RunImage(save_kernel(loop.kernel), loop.driver.venue.written(), place, loop.standing)

    def read_back(self, image: RunImage) -> None:
        """Brings the loop, which has not begun, to where another one stood.

        Args:
            image: What was written there; the reader is behind the last record that it includes.

        Raises:
            ImageError: It is of another configuration, or damaged; the loop is of no use any more.
        """
        loop = self._loop
        load_kernel(loop.kernel, image.kernel)
        loop.driver.venue.read_back(image.venue)
        stand(loop, self._pass, image.loop)
        loop.standing = image.standing

    def run(self, until: int = LAST_TS, most: int = LAST_TS) -> None:
        """Takes in what happened up to an engine time.

        Args:
            until: Nanoseconds since the epoch; everything by default.
            most: Records at most.

        Raises:
            JournalDamaged: The journal is broken.
            ReplayDiverged: The run did something else: another build, other strategies or parameters.
            RingbookError: An input cannot be right, or a capacity was exceeded.
        """
        loop, taken = self._loop, self._pass
        end = taken.records + most
        while taken.records < end and (want := taken.run(until, end - taken.records)) != Want.NOTHING:
            if want == Want.START:
                loop.apply_start(taken.ts)
            elif want == Want.CONTROL:
                answered = loop.apply_command(np.frombuffer(taken.blob(), record_dtype)[0])
                if answered is not None:
                    loop.answer_again(*answered)
            elif want == Want.SIGNAL:
                loop.apply_signal(np.frombuffer(taken.blob(), record_dtype)[0])
            elif want == Want.STOP:
                self._stopped = True
                loop.apply_stop()
            else:
                loop.check()
            self.after_call()

    def after_call(self) -> None:
        """The interpreter has had a part in an input: strategies and parameters may be others."""

    @property
    def next_ts(self) -> int | None:
        """Engine time of the next record; None where the journal goes no further."""
        return self._pass.next_ts

    @property
    def records(self) -> int:
        """Records taken in."""
        return self._pass.records

    @property
    def market_records(self) -> int:
        """Rows of the market that were among them."""
        return self._pass.market

    @property
    def settled(self) -> int:
        """Order updates of which the journal will not say more."""
        return self._pass.settled

    @property
    def settled_seq(self) -> int:
        """Number of the last record before the last input: of what came of it the journal says no more."""
        return self._pass.settled_seq

    @property
    def ended(self) -> bool:
        """Whether the run ended in good order, and all of it has been taken in."""
        return self._pass.ended

    def show(self, feed_state: FeedState | None = None) -> None:
        """Publishes what it has come to, see :meth:`engine.runtime.replay.JournalPass.show`."""
        self._pass.show(feed_state)

    def reached(self) -> Replayed:
        """How far it came."""
        taken, loop = self._pass, self._loop
        return Replayed(
            records=taken.records,
            seq=taken.seq,
            ts=loop.now,
            compared=taken.compared,
            ended=taken.ended,
            stopped=self._stopped,
            state_hash=loop.kernel.state_hash(),
            outputs=loop.outputs,
            outputs_hash=loop.outputs_hash,
        )


def quiet_log() -> logging.Logger:
    """A log for replays: what was said in the run is not said again."""
    log = logging.getLogger("ringbook.replay")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    log.propagate = False
    return log


def private_loop(
    config: DaemonConfig,
    switches: Sequence[LatchInfo],
    log: logging.Logger,
    shared: Mapping[str, Ring] = MappingProxyType({}),
    bell: Bell | None = None,
) -> EngineLoop:
    """An engine loop to replay a run with, whose rings are nobody else's where none are given.

    Args:
        config: The run's.
        switches: What was thrown when it began.
        log: Where strategies' log lines go.
        shared: Rings that a bridge has the other end of.
        bell: What the bridge rings.
    """
    kernel = make_kernel(config)
    own = {name: Ring(RING_SLOTS[name], SLOT_BYTES) for name in RING_SLOTS if name not in shared}
    rings = own | dict(shared)
    out = Publisher(kernel, *(rings[n] for n in ("orders_out", "market_out", "telemetry_out", "control_out")))
    bell = Bell() if bell is None else bell
    loop = EngineLoop(config, kernel, out, rings["feed"], rings["orders_in"], rings["control_in"], bell, log)
    kernel.restore_latches(switches)
    loop.begin_repeating()
    return loop


def run_directory(config: DaemonConfig, run_id: bytes) -> Path:
    """Where the journal of a run is."""
    return Path(config.journal.dir).expanduser().absolute() / run_id.hex()


def newest_run(directory: str | Path) -> Path:
    """The newest journal below a directory, or the directory if it is a journal itself.

    Raises:
        JournalError: There is none.
    """
    path = Path(directory).expanduser()
    runs = sorted(segment.parent for segment in path.glob("*/journal-*.seg"))
    if any(path.glob("journal-*.seg")):
        return path
    if not runs:
        raise JournalError(f"{path}: no journal is there")
    return runs[-1]


def beginning(directory: str | Path) -> Beginning:
    """What a journal's run began with.

    Args:
        directory: The journal's.

    Raises:
        JournalError: There is no journal, or it does not begin with its configuration.
    """
    record = first_record(directory)
    if record is None or record.type != RecordType.META:
        raise JournalError(f"{directory}: does not begin with the configuration of its run")
    try:
        return msgspec.msgpack.decode(record.body, type=Beginning)
    except msgspec.MsgspecError as error:
        raise JournalError(f"{directory}: record {record.seq}: no configuration: {error}") from None
