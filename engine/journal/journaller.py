"""The process that copies the engine's buffer to disk: ``python -m engine.journal.journaller BUFFER DIR``.

It commits whatever has gathered since the last commit: one write, one fdatasync, then ``durable_seq``.
Killed, it is started again and goes on exactly where the disk ends. The first failed write or fdatasync
ends it: nothing is called durable any more, the engine sees the flag ``HALTED``, and the exit code is not 0.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

from engine.core.errors import JournalError, RingbookError
from engine.journal.files import Files, lock_directory
from engine.journal.recovery import Recovered, recover
from engine.journal.segments import NO_ROOM, DiskJournal, Identity, Sizes
from engine.journal.wal import Journal, JournalFlag

INTERVAL_S = 0.005
"""How long it waits for more when there was nothing to copy."""
FULL_RETRY_S = 1.0
"""How often it looks whether a full disk has room again."""

_log = logging.getLogger("ringbook.journal")


class Journaller:
    """Copies a buffer to a journal's directory.

    Args:
        buffer: The engine's.
        directory: The journal's; made where it is missing.
        sizes: How new segments are to be.
        files: The system's files by default.
        clock: Seconds that only go up, for tests.

    Raises:
        JournalLocked: Another process writes there.
        JournalDamaged: The journal is damaged, or ends before what the buffer knows to be durable.
        JournalError: The buffer is not the continuation of the journal.
        OSError: The system refuses.
    """

    def __init__(
        self,
        buffer: Journal,
        directory: str | os.PathLike[str],
        *,
        sizes: Sizes | None = None,
        files: Files | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = Files() if files is None else files
        self._buffer, self._clock = buffer, clock
        self._sizes = Sizes() if sizes is None else sizes
        self._next_try = 0.0
        path = os.fspath(directory)
        try:
            self._lock = lock_directory(self._files, path)
        except OSError:
            buffer.set_flag(JournalFlag.HALTED)
            raise
        try:
            self._begin(path)
        except BaseException as error:
            self._files.close(self._lock)
            if isinstance(error, Exception):
                buffer.set_flag(JournalFlag.HALTED)
            raise

    def _begin(self, path: str) -> None:
        """Finds the place where disk and buffer meet."""
        buffer = self._buffer
        self.found = recover(path, durable_seq=buffer.durable_seq, since=2**63, files=self._files)
        self._position = _position(buffer, self.found)
        identity = Identity(buffer.run_id, buffer.build, buffer.config, buffer.max_payload)
        self._disk = DiskJournal(self.found, identity, self._sizes, self._files)
        last = self.found.segment
        self._sealed = self.found.sealed and last is not None and last.run_id == buffer.run_id
        buffer.set_flag(JournalFlag.HALTED, False)
        buffer.commit(self._position, self.found.seq)

    @property
    def seq(self) -> int:
        """The last durable record."""
        return self._disk.seq

    def step(self) -> int:
        """Commits what the buffer holds, up to one batch, and goes on with the spare segment.

        Returns:
            Bytes of records that have become durable.

        Raises:
            JournalError: A write or fdatasync failed, or the buffer is broken: nothing more becomes durable.
        """
        try:
            done = self._commit()
            self._prepare()
        except (OSError, RingbookError) as error:
            self._buffer.set_flag(JournalFlag.HALTED)
            raise JournalError(
                f"the journal has stopped, nothing after record {self._disk.seq} is durable: {error}"
            ) from error
        return done

    def _commit(self) -> int:
        buffer = self._buffer
        # Read before the head: once it is set, no record follows the head that is read then.
        ended = buffer.ended
        view = buffer.pending(self._position, self._sizes.batch)
        if len(view) == 0 and (self._sealed or not ended):
            return 0
        ending = ended and self._position + len(view) == buffer.head
        start = time.perf_counter_ns()
        done = self._disk.append(view, seal=ending)
        if done is None:
            self._is_full(True)
            return 0
        self._position += done
        self._sealed = ending and done == len(view)
        buffer.commit(self._position, self._disk.seq, time.perf_counter_ns() - start)
        return done

    def _prepare(self) -> None:
        """Goes on making the spare segment; a disk without room for it is called full."""
        if self._disk.spare_ready or self._sealed:
            return
        if self._buffer.flags & JournalFlag.DISK_FULL and self._clock() < self._next_try:
            return
        try:
            if self._disk.prepare_spare():
                self._is_full(False)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._is_full(True)

    def _is_full(self, full: bool) -> None:
        if full:
            self._next_try = self._clock() + FULL_RETRY_S
        if full != bool(self._buffer.flags & JournalFlag.DISK_FULL):
            self._buffer.set_flag(JournalFlag.DISK_FULL, full)
            _log.warning("the disk of the journal %s", "is full" if full else "has room again")

    def drain(self) -> None:
        """Commits everything that the buffer holds now.

        Raises:
            JournalError: As :meth:`step`, or the disk is full.
        """
        head = self._buffer.head
        while self._position < head:
            if self._commit_or_halt() == 0:
                raise JournalError(f"no room on the disk for the records after {self._disk.seq}")

    def _commit_or_halt(self) -> int:
        try:
            return self._commit()
        except (OSError, RingbookError) as error:
            self._buffer.set_flag(JournalFlag.HALTED)
            raise JournalError(f"nothing after record {self._disk.seq} is durable: {error}") from error

    def run(self, stopped: Callable[[], bool], *, interval: float = INTERVAL_S) -> None:
        """Commits until the engine has said its last record, or until it is stopped and all is durable.

        Args:
            stopped: Asked between commits.
            interval: Seconds to wait for more when there was nothing.

        Raises:
            JournalError: As :meth:`step`.
        """
        while not self._sealed:
            if stopped():
                self.drain()
                return
            if self.step() == 0 and not self._sealed:
                time.sleep(interval)

    def close(self) -> None:
        """Closes the files and gives the lock back."""
        self._disk.close()
        self._files.close(self._lock)

    def __enter__(self) -> Journaller:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _position(buffer: Journal, found: Recovered) -> int:
    """Where in the buffer the journal on disk ends."""
    place = buffer.locate(found.seq)
    if place is None:
        raise JournalError(
            f"{found.directory}: ends with record {found.seq}, "
            f"which the buffer {buffer.path} does not go on from"
        )
    position, crc = place
    if crc is None and found.seq == buffer.first_seq - 1:
        crc = buffer.first_crc
    if crc is not None and crc != found.crc:
        raise JournalError(
            f"{found.directory}: record {found.seq} is not the one that the buffer {buffer.path} has"
        )
    return position


def settle(
    directory: str | os.PathLike[str],
    buffer_path: str | os.PathLike[str],
    *,
    sizes: Sizes | None = None,
    files: Files | None = None,
    since: int = 0,
) -> Recovered:
    """What a start begins with: drains the buffer that a killed engine left, and finds the journal's end.

    No journaller may be running. Afterwards the buffer's file is gone, and :meth:`Journal.create` with
    ``first_seq=found.seq + 1, first_crc=found.crc`` makes the next one.

    Args:
        directory: The journal's.
        buffer_path: The buffer's file; a missing one is fine.
        sizes: How new segments are to be.
        files: The system's files by default.
        since: See ``recover``.

    Raises:
        JournalLocked: Another process writes there.
        JournalDamaged: The journal is damaged.
        JournalError: The buffer cannot be drained.
        RingCorrupt: The buffer is broken.
    """
    files = Files() if files is None else files
    path = os.fspath(buffer_path)
    if os.path.exists(path):
        with Journal.attach(path) as buffer:
            with Journaller(buffer, directory, sizes=sizes, files=files) as journaller:
                journaller.drain()
        os.unlink(path)
    lock = lock_directory(files, os.fspath(directory))
    try:
        return recover(directory, since=since, files=files)
    finally:
        files.close(lock)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m engine.journal.journaller", description=__doc__)
    parser.add_argument("buffer", metavar="BUFFER", help="the engine's buffer in shared memory")
    parser.add_argument("directory", metavar="DIRECTORY", help="where the journal is written")
    parser.add_argument("--segment-bytes", type=int, default=Sizes.segment, help="of new segments")
    parser.add_argument("--block-bytes", type=int, default=Sizes.block, help="what the disk writes at once")
    parser.add_argument("--interval-ms", type=float, default=INTERVAL_S * 1e3, help="between two commits")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a journaller until its engine ends or SIGTERM; prints ``ok`` once it is ready.

    Args:
        argv: The arguments without the program's name; ``sys.argv[1:]`` by default.

    Returns:
        0 when everything is durable, 2 otherwise.
    """
    args = _arguments(sys.argv[1:] if argv is None else argv)
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: asked.append(got))
    sizes = Sizes(args.segment_bytes, args.block_bytes, min(Sizes.batch, args.segment_bytes // 2))
    try:
        with (
            Journal.attach(args.buffer) as buffer,
            Journaller(buffer, args.directory, sizes=sizes) as journaller,
        ):
            print("ok", flush=True)
            journaller.run(lambda: bool(asked), interval=args.interval_ms / 1e3)
    except (OSError, RingbookError) as error:
        print(f"journaller: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
