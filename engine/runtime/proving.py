"""Proves a draft of a snapshot: ``python -m engine.runtime.proving PARENT DRAFT``.

A process of its own reads it back, as a restart would, with nothing of the process that wrote it in its
memory. What it stands for has to have the state hash that it says, to be written down to the same bytes
again, and to lead to the outputs that the run itself noted after it; the snapshot before it has to lead
to it, record by record. Only then the file gets its name, and the oldest of three goes. So a strategy that
keeps part of its state where no snapshot has it is found out at the next one, and loses them all.

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
from engine.journal.snapshots import Snapshot, adopt_snapshot, list_snapshots, read_snapshot
from engine.runtime.images import own_build, stand, written_of
from engine.runtime.recovery import (
    Beginning,
    Replay,
    RunImage,
    beginning,
    private_loop,
    quiet_log,
)

NICE = 10


def prove(directory: Path, snapshot: Snapshot) -> None:
    """Holds a snapshot against the journal that it is of, and the one before it against this one.

    Args:
        directory: The journal's.
        snapshot: As it was read.

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
        return


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
        argv: The pid of who wrote it, and its file.

    Returns:
        The exit code.
    """
    from engine.runtime.processes import die_with_parent

    parent, draft = argv
    die_with_parent(int(parent))
    os.nice(NICE)
    directory = Path(draft).parent
    try:
        snapshot = adopt_snapshot(draft, lambda found: prove(directory, found), forget_segments=False)
    except (OSError, JournalDamaged) as error:
        Path(draft).unlink(missing_ok=True)
        print(getattr(error, "strerror", None) or error)
        return 1
    except RingbookError as error:
        # What is wrong with one is wrong with all: none is left for a restart to begin with.
        for path in (draft, *(one.path for one in list_snapshots(Files(), str(directory)))):
            Path(path).unlink(missing_ok=True)
        print(error)
        return 2
    size = Path(snapshot.path).stat().st_size
    print(msgspec.json.encode({"seq": snapshot.seq, "ts": snapshot.ts, "size": size}).decode())
    return 0


if __name__ == "__main__":
    # Strategies given as package.module:Class may lie in the directory the daemon was started from.
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)
    sys.exit(main(sys.argv[1:]))
