"""Writes a journal's segments: batches made durable one at a time, a spare segment always ready.

The spare is what makes a full disk bearable: it was zeroed and made durable beforehand, so going over to it
takes no room. When no new spare can be made the disk is full, which is known a whole segment early.
"""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass

from engine.core.errors import JournalError
from engine.journal.disk import BATCH_HEADER_BYTES, BLOCKS, SEAL, Segment, batch_header, segment_header
from engine.journal.files import SPARE, TEMPORARY, Buffer, Files, again, segment_name, write_all
from engine.journal.recovery import Recovered
from engine.journal.wal import HEADER_BYTES, walk

ZEROS = bytes(1 << 20)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Identity:
    """Whose records they are.

    Attributes:
        run_id: 16 bytes.
        build: Hash of the build, hex.
        config: Hash of the configuration, hex.
        max_payload: No record has more.
    """

    run_id: bytes
    build: str = ""
    config: str = ""
    max_payload: int = 1 << 18


@dataclass
class _Spare:
    """The spare while it is being made."""

    fd: int = -1
    written: int = 0


@dataclass(frozen=True)
class Sizes:
    """How a journal lies on disk.

    Attributes:
        segment: Bytes of a segment.
        block: Batches begin at multiples of it: what the disk writes at once.
        batch: No batch has more bytes of records.
    """

    segment: int = 1 << 26
    block: int = 4096
    batch: int = 1 << 22


class DiskJournal:
    """The end of a journal on disk, where batches are appended. Who makes it holds the directory's lock.

    Args:
        found: Where the journal ends.
        identity: Of the run; another run, or another build, than the last segment's begins a new segment.
        sizes: How new segments are to be.
        files: The system.

    Raises:
        JournalError: The sizes do not fit each other.
        OSError: The system refuses.
    """

    def __init__(self, found: Recovered, identity: Identity, sizes: Sizes, files: Files) -> None:
        room = sizes.segment - sizes.block
        record = HEADER_BYTES + identity.max_payload + 8
        if sizes.block not in BLOCKS or sizes.segment % sizes.block:
            raise JournalError(f"segments of {sizes.segment} bytes in blocks of {sizes.block} cannot be")
        if room < BATCH_HEADER_BYTES + record or sizes.batch < record:
            raise JournalError(
                f"segments of {sizes.segment} bytes and batches of {sizes.batch} bytes are too small for "
                f"payloads of {identity.max_payload}"
            )
        self._files, self._sizes, self._identity = files, sizes, identity
        self.directory = found.directory
        self.seq, self.crc = found.seq, found.crc
        self._batch, self._end = found.batch, found.end
        self._size = 0
        self._fd = -1
        self._spare = _Spare()
        self._has_spare = False
        self.segment = found.segment
        if (
            found.segment is not None
            and found.segment.run_id == identity.run_id
            and found.segment.build == identity.build.ljust(len(found.segment.build), "0")
        ):
            path = self._path(segment_name(found.segment.index))
            self._fd = again(files.open, path)
            self._size = again(files.size, path)
            self._look_for_spare()
        else:
            self._next_segment()

    # --- batches ----------------------------------------------------------------------------------

    def append(self, records: Buffer, *, seal: bool = False) -> int | None:
        """Writes a batch and makes it durable: as many of the records as are whole and fit.

        Args:
            records: Records that follow the last one, one behind the other.
            seal: Whether the journal ends with this batch, if all of them fit.

        Returns:
            Bytes of the records that are durable now, None when the disk has no room.

        Raises:
            JournalError: The first record is broken or does not follow the last one.
            OSError: The system refuses; nothing may be said to be durable any more.
        """
        view = memoryview(records)[: self._sizes.batch]
        whole = self._walk(view)
        if len(view) and whole[0] == 0:
            raise JournalError(f"record {self.seq + 1} in the buffer is broken or does not follow {self.seq}")
        if self._room < whole[0]:
            whole = self._walk(view[: max(0, self._room)])
        if (whole[0] == 0 and len(view)) or self._room < 0:
            # Not even one of them fits.
            if not self._roll():
                return None
            whole = self._walk(view[: self._room])
        size, seq, crc, count = whole
        flags = SEAL if seal and size == len(records) else 0
        head = batch_header(self.segment, self._batch + 1, self.seq + 1, count, size, self.crc, crc, flags)
        padding = -(BATCH_HEADER_BYTES + size) % self.segment.block
        try:
            write_all(self._files, self._fd, [head, view[:size], ZEROS[:padding]], self._end)
        except OSError as error:
            # Some file systems need room even for what was zeroed before: nothing is lost, try again later.
            if error.errno in NO_ROOM:
                return None
            raise
        again(self._files.fdatasync, self._fd)
        self._end += BATCH_HEADER_BYTES + size + padding
        self._batch += 1
        self.seq, self.crc = seq, crc
        return size

    def _walk(self, view: memoryview) -> tuple[int, int, int, int]:
        return walk(view, self.seq, self.crc, self._identity.max_payload)

    @property
    def _room(self) -> int:
        """Bytes of records that the segment still takes; negative when it has none for a batch."""
        return self._size - self._end - BATCH_HEADER_BYTES

    # --- segments ---------------------------------------------------------------------------------

    @property
    def spare_ready(self) -> bool:
        """Whether a spare segment is there: without one the disk is as good as full."""
        return self._spare.fd == -1 and self._has_spare

    def prepare_spare(self, most: int = 1 << 20) -> bool:
        """Goes on making the spare, by at most so many bytes.

        Args:
            most: Bytes to zero in this call.

        Returns:
            Whether it is ready.

        Raises:
            OSError: The system refuses; where there is no room (``NO_ROOM``) a later call tries again.
        """
        if self.spare_ready:
            return True
        spare = self._spare
        path = self._path(SPARE + TEMPORARY)
        try:
            if spare.fd < 0:
                spare.fd, spare.written = again(self._files.create, path), 0
            size = min(most, self._sizes.segment - spare.written)
            while size > 0:
                piece = min(size, len(ZEROS))
                write_all(self._files, spare.fd, [memoryview(ZEROS)[:piece]], spare.written)
                spare.written += piece
                size -= piece
            if spare.written < self._sizes.segment:
                # A little at a time, so that no commit ever waits for a whole segment of zeros.
                again(self._files.fdatasync, spare.fd)
                return False
            again(self._files.fsync, spare.fd)
        except OSError:
            self._drop_spare(path)
            raise
        self._files.close(spare.fd)
        spare.fd = -1
        again(self._files.rename, path, self._path(SPARE))
        again(self._files.sync_directory, self.directory)
        self._has_spare = True
        return True

    def _drop_spare(self, path: str) -> None:
        """Gives back the room that half a spare takes."""
        if self._spare.fd >= 0:
            self._files.close(self._spare.fd)
            self._spare.fd = -1
            again(self._files.unlink, path)

    def _roll(self) -> bool:
        """Goes over to a new segment; False when the disk has no room for one."""
        try:
            self._next_segment()
        except OSError as error:
            if error.errno in NO_ROOM:
                return False
            raise
        return True

    def _look_for_spare(self) -> None:
        names = again(self._files.listdir, self.directory)
        path = self._path(SPARE)
        self._has_spare = SPARE in names and again(self._files.size, path) == self._sizes.segment

    def _next_segment(self) -> None:
        path = self._path(SPARE)
        self._look_for_spare()
        while not self.prepare_spare():
            pass
        segment = Segment(
            index=1 if self.segment is None else self.segment.index + 1,
            size=self._sizes.segment,
            block=self._sizes.block,
            first_seq=self.seq + 1,
            first_crc=self.crc,
            first_batch=self._batch + 1,
            max_payload=self._identity.max_payload,
            created=time.time_ns(),
            run_id=self._identity.run_id,
            build=self._identity.build,
            config=self._identity.config,
        )
        fd = again(self._files.open, path)
        try:
            write_all(self._files, fd, [segment_header(segment)], 0)
            again(self._files.fdatasync, fd)
            again(self._files.rename, path, self._path(segment_name(segment.index)))
            self._has_spare = False
            again(self._files.sync_directory, self.directory)
        except BaseException:
            self._files.close(fd)
            raise
        self.close()
        self._fd, self.segment, self._end, self._size = fd, segment, segment.block, segment.size

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def close(self) -> None:
        """Closes the segment."""
        if self._fd >= 0:
            self._files.close(self._fd)
            self._fd = -1
