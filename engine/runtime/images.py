"""Snapshots of a run: its state in a file of the journal's directory, and a repetition that begins with one.

What is in one is :class:`engine.runtime.recovery.RunImage`, compressed, with what it may be read by: the
same build, and the run that it is of. A snapshot that cannot be used costs time and nothing else: the older
one, then the run's beginning, are where the repetition begins instead.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from engine.core.errors import ImageError, JournalError, NotKept, RecordsRemoved, RingbookError
from engine.journal.files import Files
from engine.journal.reader import JournalReader
from engine.journal.snapshots import (
    RECORDER,
    RUN,
    Snapshot,
    draft_snapshot,
    list_snapshots,
    read_snapshot,
)
from engine.runtime.build import build_hash, strategies_code
from engine.runtime.engine import EngineLoop
from engine.runtime.recovery import Beginning, Replay, RunImage

FORMAT = 1
LEVEL = 1
"""Of the compression: most of a state are zeros and repetitions."""


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state of a snapshot.

    Attributes:
        format: ``FORMAT``.
        build: Of Ringbook and the strategies' code, see :mod:`engine.runtime.build`.
        begun: What the run began with.
        image: Where it stands.
        more: What whoever wrote it goes on from besides.
    """

    format: int
    build: str
    begun: Beginning
    image: RunImage
    more: bytes = b""


@dataclass(frozen=True)
class Start:
    """Where the repetition of a run begins.

    Attributes:
        loop: What repeats it.
        reader: The journal, behind what the loop stands for.
        replay: The repetition.
        seq: The snapshot's record; 0 is the run's beginning.
    """

    loop: EngineLoop
    reader: JournalReader
    replay: Replay
    seq: int


def own_build(begun: Beginning) -> str:
    """What a snapshot of a run has to be written by, to be read here; its strategies must be loaded."""
    return build_hash(strategies_code(begun.config.strategies))


def write_draft(
    directory: Path, replay: Replay, begun: Beginning, *, kind: str = RUN, more: bytes = b""
) -> str:
    """Writes where a replay stands down, as a draft that is no snapshot yet.

    Args:
        directory: The journal's.
        replay: Between two records; of a recorder, with all that it has put out taken.
        begun: What its run began with.
        kind: A recorder's, or the run's.
        more: What a recorder goes on from besides.

    Returns:
        The draft's file.

    Raises:
        NotKept: Something of the state cannot be written down.
        OSError: The system refuses.
    """
    reached = replay.reached()
    try:
        image = replay.written(taken=kind == RECORDER)
        data = msgspec.msgpack.encode(Written(FORMAT, own_build(begun), begun, image, more))
    except (TypeError, ValueError, OverflowError) as error:
        raise NotKept(f"a value that cannot be written down: {error}") from None
    return draft_snapshot(
        directory,
        seq=reached.seq,
        ts=reached.ts,
        state_hash=reached.state_hash,
        state=zlib.compress(data, LEVEL),
        run_id=bytes.fromhex(begun.run_id),
        kind=kind,
    )


def written_of(snapshot: Snapshot, begun: Beginning, build: str) -> Written:
    """What a snapshot says.

    Args:
        snapshot: As it was read.
        begun: What the run began with.
        build: Ours.

    Raises:
        ImageError: It is not of this run or build, or cannot be read.
    """
    name = Path(snapshot.path).name
    try:
        written = msgspec.msgpack.decode(zlib.decompress(snapshot.state), type=Written)
    except (zlib.error, msgspec.MsgspecError) as error:
        raise ImageError(f"{name}: {error}") from None
    if written.format != FORMAT or written.build != build:
        raise ImageError(f"{name}: written by another build, or for other code of a strategy")
    if snapshot.run_id.hex() != begun.run_id or written.begun != begun:
        raise ImageError(f"{name}: of another run")
    return written


def stand(loop: EngineLoop, replay: Replay, snapshot: Snapshot, begun: Beginning, build: str) -> Written:
    """Puts a loop where a snapshot was taken.

    Args:
        loop: It has not begun.
        replay: Its, of a journal behind the snapshot's record.
        snapshot: As it was read.
        begun: What the run began with.
        build: Ours.

    Returns:
        What the snapshot says.

    Raises:
        ImageError: It is not for here, or leads to another state than the one that was written down.
    """
    written = written_of(snapshot, begun, build)
    replay.read_back(written.image)
    found = loop.kernel.state_hash()
    if found != snapshot.state_hash:
        name = Path(snapshot.path).name
        raise ImageError(f"{name}: the state hash is {found:016x}, not {snapshot.state_hash:016x}")
    return written


def repeat(
    make: Callable[[], EngineLoop],
    directory: Path,
    begun: Beginning,
    go: Callable[[Start], None],
    log: logging.Logger,
) -> Start:
    """Has a loop repeat a run from its newest snapshot on that leads to what the run did.

    Args:
        make: Makes a loop that has not begun; a new one each time.
        directory: The journal's.
        begun: What the run began with.
        go: Repeats it, and raises where it comes to something else.
        log: Says which snapshots are of no use, and why.

    Raises:
        JournalError: The journal cannot be read.
        RecordsRemoved: No snapshot can be used, and the journal does not reach back to the run's beginning.
        RingbookError: What ``go`` raises of the run repeated from its beginning, or from the last snapshot
            where that is all there is.
    """
    fault: RingbookError | None = None
    try:
        for start in _starts(make, directory, begun, log):
            try:
                go(start)
                return start
            except RingbookError as error:
                if not start.seq:
                    raise
                log.warning("the snapshot of record %d led to something else: %s", start.seq, error)
                start.loop.discard()
                fault = error
    except RecordsRemoved as error:
        raise fault or error from None
    raise JournalError(f"{directory}: there is nothing to begin with")


def earliest(make: Callable[[], EngineLoop], directory: Path, begun: Beginning) -> Start:
    """A repetition of all of a run that its journal still has: from its beginning, or the oldest snapshot.

    Args:
        make: Makes a loop that has not begun; a new one each time.
        directory: The journal's.
        begun: What the run began with.

    Raises:
        JournalError: The journal cannot be read.
        RecordsRemoved: Its beginning has been removed, and no snapshot can be used.
    """
    try:
        reader = JournalReader(directory, after=0)
    except RecordsRemoved as removed:
        why: Exception | str = "there is none"
        for candidate in list_snapshots(Files(), str(directory)):
            try:
                return _begun_with(make, directory, begun, candidate)
            except (ImageError, JournalError, OSError) as error:
                why = error
        raise RecordsRemoved(f"{removed}, and it can be repeated from no snapshot: {why}") from None
    loop = _at_beginning(make, begun)
    return Start(loop, reader, Replay(loop, reader), 0)


def _starts(
    make: Callable[[], EngineLoop], directory: Path, begun: Beginning, log: logging.Logger
) -> Iterator[Start]:
    """Where the repetition may begin: at the newest snapshot, the older one, the run's beginning.

    The next is asked for only where one before came to nothing.
    """
    why: Exception | str = "there is none"
    for candidate in reversed(list_snapshots(Files(), str(directory))):
        try:
            start = _begun_with(make, directory, begun, candidate)
        except (ImageError, JournalError, OSError) as error:
            log.warning("a snapshot is of no use: %s", error)
            why = error
            continue
        log.info("begins with the snapshot of record %d", start.seq)
        yield start
    try:
        reader = JournalReader(directory, after=0)
    except RecordsRemoved as removed:
        raise RecordsRemoved(f"{removed}, and it can be gone on with from no snapshot: {why}") from None
    loop = _at_beginning(make, begun)
    yield Start(loop, reader, Replay(loop, reader), 0)


def _begun_with(
    make: Callable[[], EngineLoop], directory: Path, begun: Beginning, candidate: Snapshot
) -> Start:
    """A repetition that stands where a snapshot was taken."""
    snapshot = read_snapshot(candidate.path)
    reader = JournalReader(directory, after=snapshot.seq)
    loop = _at_beginning(make, begun)
    replay = Replay(loop, reader)
    try:
        stand(loop, replay, snapshot, begun, own_build(begun))
    except ImageError:
        loop.discard()
        raise
    return Start(loop, reader, replay, snapshot.seq)


def _at_beginning(make: Callable[[], EngineLoop], begun: Beginning) -> EngineLoop:
    loop = make()
    loop.kernel.restore_latches(begun.switches)
    loop.version = begun.version
    loop.begin_repeating()
    return loop
