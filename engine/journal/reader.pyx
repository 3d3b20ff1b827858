"""Reads a whole journal: the records of all its segments in order, from any record on."""

import os

import numpy as np

cimport cython
from libc.stdint cimport UINT64_MAX, int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from engine.core.types cimport Event
from engine.journal.disk cimport record_of
from engine.journal.wal cimport JOURNAL_HEADER_SIZE, JOURNAL_MARKET

from engine.core.errors import JournalDamaged, JournalError, RecordsRemoved
from engine.journal.disk import read_segment
from engine.journal.files import Files, read_segments, segment_names


@cython.final
cdef class JournalReader:
    """Gives the records of a journal on disk; iterating yields :class:`~engine.journal.disk.Record`.

    A torn batch at the end, or one that is just being written, ends it (``torn``). To follow a journal that
    grows, keep :attr:`limit` at or below what is durable: reading goes on when it goes up.

    Args:
        directory: The journal's.
        after: Number of the record after which to begin; by default the first that is still there.
        files: The system's files by default.

    Raises:
        JournalError: There is no journal.
        RecordsRemoved: It does not reach back so far.
        JournalDamaged: Something in it is broken.
    """

    def __init__(self, directory, *, after=None, files=None):
        self.files = Files() if files is None else files
        self.limit = UINT64_MAX
        self.directory = os.fspath(directory)
        found = read_segments(self.files, self.directory, lambda name, data: (name, read_segment(data, name)))
        if not found:
            raise JournalError(f"{self.directory}: no journal is there")
        self.names = [name for name, _ in found]
        headers = [header for _, header in found]
        self.first_seq = headers[0].first_seq
        if after is None:
            after = headers[0].first_seq - 1
        self.after = self.seq = after
        if headers[0].first_seq > after + 1:
            raise RecordsRemoved(
                f"{self.directory}: begins with record {self.first_seq}, what was before it has been removed"
            )
        first = max(i for i, header in enumerate(headers) if header.first_seq <= after + 1)
        self.names = self.names[:first - 1 if first else None:-1]

    def _header(self, name):
        return read_segment(self.files.read(os.path.join(self.directory, name)), name)

    @property
    def segment(self):
        """The :class:`~engine.journal.disk.Segment` of the last record given, or None before the first."""
        return None if self.current is None else self.current.segment

    @property
    def torn(self) -> bool:
        """Whether something that is no whole batch lies behind what was read last."""
        return self.current is not None and self.current.torn

    @property
    def sealed(self) -> bool:
        """Whether what was read last says that the journal ended in good order."""
        return self.current is not None and self.current.sealed

    @property
    def crc(self) -> int:
        """Of the last record of the batch that was read last; the next record's is seeded with it."""
        return 0 if self.current is None else self.current.crc

    cdef int _next_segment(self) except -1:
        if not self.names and self.opened is not None:
            # One more may have been begun since.
            later = [name for name in segment_names(self.files, self.directory) if name > self.opened]
            self.names = later[::-1]
        if not self.names:
            return 0
        name = self.opened = self.names.pop()
        try:
            data = self.files.read(os.path.join(self.directory, name))
        except FileNotFoundError:
            raise RecordsRemoved(f"{self.directory}: {name} has been removed while it was read") from None
        segment = SegmentReader(data, name)
        if self.current is not None and (
            segment.checked_seq != self.current.checked_seq or segment.crc != self.current.crc
            or segment.batch != self.current.batch
        ):
            raise JournalDamaged("does not go on where the segment before it ended", segment=name, offset=0)
        self.current = segment
        return 1

    cdef int next_record(self, const JournalRecord** record) except -1:
        while self.seq < self.limit:
            if self.current is None or self.current.next_record(record) == 0:
                if self._next_segment() == 0:
                    return 0
            elif record[0].seq > self.after:
                self.seq = record[0].seq
                return 1
        return 0

    def last(self) -> tuple:
        """Number and engine time of the last record: what its last segments are read for.

        Raises:
            JournalDamaged: Something in it is broken.
        """
        cdef JournalReader end
        cdef const JournalRecord* record = NULL
        cdef const JournalRecord* found = NULL
        for name in segment_names(self.files, self.directory)[::-1]:
            end = JournalReader(self.directory, after=self._header(name).first_seq - 1, files=self.files)
            while end.next_record(&record):
                found = record
            if found != NULL:
                return found.seq, (<const int64_t*>(found + 1))[0]
        return 0, 0

    def __iter__(self):
        return self

    def __next__(self):
        cdef const JournalRecord* record = NULL
        if self.next_record(&record) == 0:
            raise StopIteration
        return record_of(record)


cdef struct MarketRow:
    uint64_t seq
    int64_t ts
    uint8_t flags
    uint8_t _pad
    uint16_t instrument
    uint32_t _pad2
    Event event

cdef MarketRow _row
market_dtype = np.asarray(<MarketRow[:1]>&_row).dtype


def market_chunks(JournalReader reader not None, Py_ssize_t rows=1 << 16):
    """The market records of a journal, many at a time.

    Args:
        reader: Where they come from; it is read to its end.
        rows: The most that a chunk has.

    Yields:
        Arrays of ``market_dtype``: number, engine time, ring flags, instrument, event.
    """
    cdef const JournalRecord* record = NULL
    cdef MarketRow[::1] out
    cdef Py_ssize_t n = 0
    chunk = np.empty(rows, market_dtype)
    out = chunk
    while reader.next_record(&record) != 0:
        if record.type != JOURNAL_MARKET or record.len != JOURNAL_HEADER_SIZE + 8 + sizeof(Event):
            continue
        out[n].seq, out[n].flags, out[n].instrument = record.seq, record.flags, record.instrument
        out[n]._pad = out[n]._pad2 = 0
        memcpy(&out[n].ts, record + 1, 8)
        memcpy(&out[n].event, <const char*>(record + 1) + 8, sizeof(Event))
        n += 1
        if n == rows:
            yield chunk
            chunk = np.empty(rows, market_dtype)
            out = chunk
            n = 0
    if n > 0:
        yield chunk[:n]
