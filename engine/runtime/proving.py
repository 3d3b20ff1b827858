"""Proves a draft of a snapshot: ``python -m engine.runtime.proving PARENT DRAFT KEEP_MB RECORDED``.

A process of its own reads it back, as a restart would, with nothing of the process that wrote it in its
memory. What it stands for has to have the state hash that it says, to be written down to the same bytes
again, and to lead to the outputs that the run itself noted after it; the snapshot before it has to lead
to it, record by record. Only then the file gets its name, and the oldest of three goes. So a strategy that
keeps part of its state where no snapshot has it is found out at the next one, and loses them all, but where
the journal does not reach back to the run's beginning any more: then what there was proven stays.

Where the journal is to be no larger than something, its old segments go then: those that lie wholly before
the older of the two snapshots, which has just led to the newer one, and before what a recorder would begin
with.

Exit codes: 0 done (a line of JSON says what); 1 the file was refused or broken, and another may succeed; 2
the run is none of which there can be snapshots.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from engine.core.errors import ImageError, JournalDamaged, JournalError, RingbookError
from engine.journal.files import Files
from engine.journal.reader import JournalReader
from engine.journal.retention import remove_segments
from engine.journal.snapshots import (
    KEEP,
    RECORDER,
    Snapshot,
    adopt_snapshot,
    list_snapshots,
    read_snapshot,
)
from engine.runtime.images import own_build, stand, written_of
from engine.runtime.parent import die_with_parent
from engine.runtime.recovery import (
    Beginning,
    Replay,
    RunImage,
    beginning,
    private_loop,
    quiet_log,
)

NICE = 10


def prove(directory: Path, snapshot: Snapshot) -> int:
    """Holds a snapshot against the journal that it is of, and the one before it against this one.

    Args:
        directory: The journal's.
        snapshot: As it was read.

    Returns:
        The record of the one before it; 0 if there is none.

    Raises:
        RingbookError: It is not where the run was, or the one before does not lead there.
    """
    begun = beginning(directory)
    replay = _standing(directory, snapshot, begun)
    image = written_of(snapshot, begun, own_build(begun)).image
    same_again(image, replay.written(), "it is another once it is read back")
    replay.run()
    for older in reversed(list_snapshots(Files(), str(directory))):
        try:
            before = _standing(directory, read_snapshot(older.path), begun, snapshot.seq)
        except (ImageError, JournalError):
            # A restart would pass it over too.
            continue
        before.run()
        same_again(image, before.written(), f"the snapshot of record {older.seq} leads to another state")
        return older.seq
    return 0


def remove_old(directory: Path, before: int, keep_bytes: int, recorded: bool) -> int:
    """Removes segments that nobody needs since the newest snapshot is there.

    Args:
        directory: The journal's.
        before: The record of the snapshot that the newest has been proven by; 0 if there was none.
        keep_bytes: How large the journal may be; 0 for as large as it is.
        recorded: Whether a recorder needs what it has not recorded.

    Returns:
        How many went.

    Raises:
        JournalError: The journal is damaged.
        OSError: The system refuses.
    """
    kept = list_snapshots(Files(), str(directory))
    if not keep_bytes or len(kept) < KEEP or kept[-KEEP].seq != before:
        return 0
    needed = before
    if recorded:
        images = list_snapshots(Files(), str(directory), RECORDER)
        needed = min(needed, images[-KEEP].seq) if len(images) >= KEEP else 0
    return remove_segments(directory, needed, keep_bytes)


def _standing(directory: Path, snapshot: Snapshot, begun: Beginning, limit: int | None = None) -> Replay:
    """A replay that stands where a snapshot was taken."""
    reader = JournalReader(directory, after=snapshot.seq)
    if limit is not None:
        reader.limit = limit
    loop = private_loop(begun.config, begun.switches, quiet_log())
    replay = Replay(loop, reader)
    stand(loop, replay, snapshot, begun, own_build(begun))
    return replay


def same_again(was: RunImage, found: RunImage, what: str) -> None:
    """Refuses a state that is another than the one which was written down.

    Args:
        was: As it was written down.
        found: As it came about once more.
        what: What is wrong if they differ.

    Raises:
        RingbookError: They do.
    """
    for name in RunImage.__struct_fields__:
        if msgspec.msgpack.encode(getattr(comparable(was), name)) != msgspec.msgpack.encode(
            getattr(comparable(found), name)
        ):
            raise RingbookError(f"{what}: {name}")


def comparable(image: RunImage) -> RunImage:
    """An image without what may differ although the state does not.

    That is pickles, as equal objects may become other bytes, and the wall clock of changes.
    """
    changes = [msgspec.structs.replace(change, ts="") for change in image.standing.changes]
    return msgspec.structs.replace(
        image,
        kernel=msgspec.structs.replace(image.kernel, held=b""),
        standing=msgspec.structs.replace(image.standing, changes=changes),
    )


def main(argv: list[str]) -> int:
    """Proves one draft.

    Args:
        argv: The pid of who wrote it, its file, how large the journal may be in MB (0 for any size), and 1
            where a recorder follows it.

    Returns:
        The exit code.
    """
    parent, draft, keep_mb, recorded = argv
    die_with_parent(int(parent))
    os.nice(NICE)
    directory = Path(draft).parent
    before: list[int] = []
    try:
        snapshot = adopt_snapshot(draft, lambda found: before.append(prove(directory, found)))
    except (OSError, JournalDamaged) as error:
        Path(draft).unlink(missing_ok=True)
        print(getattr(error, "strerror", None) or error)
        return 1
    except RingbookError as error:
        Path(draft).unlink(missing_ok=True)
        if JournalReader(directory).first_seq == 1:
            # What is wrong with one is wrong with all: none is left for a restart to begin with.
            for one in list_snapshots(Files(), str(directory)):
                Path(one.path).unlink(missing_ok=True)
        print(error)
        return 2
    found = {"seq": snapshot.seq, "ts": snapshot.ts, "size": Path(snapshot.path).stat().st_size}
    try:
        remove_old(directory, before[0], int(keep_mb) << 20, recorded == "1")
    except (OSError, RingbookError) as error:
        found["not_removed"] = str(error)
    print(msgspec.json.encode(found | kept_since(directory)).decode())
    return 0


def kept_since(directory: Path) -> dict[str, int]:
    """Number and engine time of the first record that a journal still has.

    Args:
        directory: The journal's.

    Raises:
        JournalError: There is no journal, or it is broken.
    """
    first = next(JournalReader(directory), None)
    seq, ts = (1, 0) if first is None else (first.seq, first.ts)
    return {"first_seq": seq, "first_ts": ts}


if __name__ == "__main__":
    # Strategies given as package.module:Class may lie in the directory the daemon was started from.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    sys.exit(main(sys.argv[1:]))
