"""Proves a draft of a snapshot: ``python -m engine.runtime.proving PARENT DRAFT``.

A process of its own reads it back, as a restart would, with nothing of the process that wrote it in its memory. What
it stands for has to have the state hash that it says, to be written down to the same bytes again, and to lead to the
outputs that the run itself noted after it. Only then the file gets its name, and the oldest of three goes.

Exit codes: 0 done (a line of JSON says what); 1 the system refused, and another may succeed; 2 the run is none of
which there can be snapshots.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from engine.core.errors import RingbookError
from engine.journal.reader import JournalReader
from engine.journal.snapshots import Snapshot, adopt_snapshot
from engine.runtime.images import own_build, stand, written_of
from engine.runtime.recovery import Replay, RunImage, beginning, private_loop, quiet_log

NICE = 10


def prove(directory: Path, snapshot: Snapshot) -> None:
    """Holds a snapshot against the journal that it is of.

    Args:
        directory: The journal's.
        snapshot: As it was read.

    Raises:
        RingbookError: It is not where the run was.
    """
    begun = beginning(directory)
    loop = private_loop(begun.config, begun.switches, quiet_log())
    reader = JournalReader(directory, after=snapshot.seq)
    replay = Replay(loop, reader)
    stand(loop, replay, snapshot, begun, own_build(begun))
    same_again(written_of(snapshot, begun, own_build(begun)).image, replay.written())
    replay.run()


def same_again(was: RunImage, found: RunImage) -> None:
    """Refuses a state that is written down otherwise once it has been read back.

    Args:
        was: As it was first.
        found: Afterwards. Pickles are left out: equal objects may be pickled in other bytes.

    Raises:
        RingbookError: They are not the same.
    """
    held = {"held": b""}
    for name in RunImage.__struct_fields__:
        one, other = getattr(was, name), getattr(found, name)
        if name == "kernel":
            one, other = (msgspec.structs.replace(kernel, **held) for kernel in (one, other))
        if msgspec.msgpack.encode(one) != msgspec.msgpack.encode(other):
            raise RingbookError(f"the state that was read back is another: {name}")


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
    except OSError as error:
        print(error.strerror or error)
        return 1
    except RingbookError as error:
        Path(draft).unlink(missing_ok=True)
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
