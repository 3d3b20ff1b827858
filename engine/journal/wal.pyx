"""The journal's buffer in shared memory: the engine's appends, the journaller's drain, CRC-32C."""

import os
import time
from enum import IntEnum, IntFlag

cimport cython
from cpython.buffer cimport PyBUF_READ
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.string cimport memset
from posix.mman cimport MAP_ANON, MAP_FAILED, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_NONE, PROT_READ, \
    PROT_WRITE, mmap, munmap

from engine.core.clock cimport CLOCK_STEADY, ClockState, clock_now
from engine.core.codes cimport ERR_BAD_SIZE, ERR_CORRUPT, ERR_FULL, OK

from engine.core.errors import CapacityError, JournalError, RingCorrupt
from engine.core.shm import new_file


cdef extern from "crc32c.h" nogil:
    uint32_t crc32c_by_table(uint32_t crc, const void* data, size_t size) noexcept
    uint32_t crc32c_by_cpu(uint32_t crc, const void* data, size_t size) noexcept
    bint crc32c_cpu_has_it() noexcept
    void crc32c_make_tables() noexcept


cdef extern from "journal_shared.h":
    int RINGBOOK_PREFAULT
    uint64_t journal_shared_load(const JournalShared* s, int which) noexcept nogil
    void journal_shared_format(
        void* memory, uint64_t capacity, uint64_t reserve, uint32_t max_payload, uint64_t first_seq,
        uint32_t first_crc, const char* run_id, const char* build, const char* config,
    ) noexcept
    bint journal_shared_ok(const void* memory, uint64_t size) noexcept
    const char* journal_shared_id(const JournalShared* s, int which) noexcept
    void journal_shared_commit(JournalShared* s, uint64_t tail, uint64_t seq, uint64_t ns) noexcept
    void journal_shared_flag(JournalShared* s, uint32_t set, uint32_t clear) noexcept
    void journal_shared_close(JournalShared* s) noexcept
    void journal_writer_init(JournalWriter* w, void* memory, JournalCrc crc32c) noexcept
    void journal_writer_resume(JournalWriter* w, uint64_t head, uint64_t seq, uint32_t crc) noexcept
    const unsigned char* journal_data(const JournalWriter* w, uint64_t at) noexcept


if (JOURNAL_OK, JOURNAL_FULL, JOURNAL_CORRUPT, JOURNAL_BAD_SIZE) != (OK, ERR_FULL, ERR_CORRUPT, ERR_BAD_SIZE):
    raise ImportError("journal.h and codes.pxd disagree about result codes")

cdef ClockState _steady
_steady.kind = CLOCK_STEADY
_steady.now = 0

crc32c_make_tables()
cdef JournalCrc _crc = crc32c_by_cpu if crc32c_cpu_has_it() else crc32c_by_table

HEADER_BYTES = int(JOURNAL_HEADER_SIZE)
"""Bytes of a record before its payload."""
MAX_PAYLOAD = int(JOURNAL_MAX_PAYLOAD)
"""The most that ``max_payload`` may be."""
RECORD_VERSION = int(JOURNAL_RECORD_VERSION)
MIN_CAPACITY = 1 << 16


class RecordType(IntEnum):
    """What a journal record is; the first eight are the ring's kinds."""

    MARKET = JOURNAL_MARKET
    FEED_STATUS = JOURNAL_FEED_STATUS
    ORDER_REQUEST = JOURNAL_ORDER_REQUEST
    SIGNAL = JOURNAL_SIGNAL
    CONTROL = JOURNAL_CONTROL
    REPLY = JOURNAL_REPLY
    ORDER = JOURNAL_ORDER
    FILL = JOURNAL_FILL
    REPORT = JOURNAL_REPORT
    TIMER = JOURNAL_TIMER
    META = JOURNAL_META
    STATE_HASH = JOURNAL_STATE_HASH
    OUTPUT = JOURNAL_OUTPUT
    SNAPSHOT = JOURNAL_SNAPSHOT
    END = JOURNAL_END
    START = JOURNAL_START
    STOP = JOURNAL_STOP
    RESUMED = JOURNAL_RESUMED
    SILENCE = JOURNAL_SILENCE
    SENT = JOURNAL_SENT


class JournalFlag(IntFlag):
    """What the journaller tells the engine."""

    DISK_FULL = JOURNAL_DISK_FULL
    HALTED = JOURNAL_HALTED


cdef JournalCrc journal_crc() noexcept nogil:
    return _crc


def crc32c(const unsigned char[::1] data, uint32_t crc=0, *, bint by_table=False) -> int:
    """The chained CRC-32C that records carry: not inverted, so that it goes on from one piece to the next.

    Args:
        data: Bytes.
        crc: What the bytes before came to.
        by_table: Without the processor's instruction.
    """
    cdef const unsigned char* first = &data[0] if data.shape[0] > 0 else NULL
    return (crc32c_by_table if by_table else _crc)(crc, first, data.shape[0])


def crc32c_hardware() -> bool:
    """Whether this processor has an instruction for it."""
    return crc32c_cpu_has_it()


def walk(const unsigned char[::1] data, uint64_t seq, uint32_t crc, uint32_t max_payload=MAX_PAYLOAD):
    """Checks records that lie one behind the other.

    Args:
        data: Records, from the first one's beginning on, aligned to 8.
        seq: Number of the record before.
        crc: CRC of the record before.
        max_payload: What no payload is longer than.

    Returns:
        Bytes of whole and valid records, number and CRC of the last one, and how many they are.
    """
    cdef uint64_t count = 0, size = 0
    if data.shape[0] > 0:
        size = journal_walk(_crc, &data[0], data.shape[0], max_payload, &seq, &crc, &count)
    return size, seq, crc, count


@cython.final
cdef class Journal:
    """A buffer of records that outlives the process which appends to it.

    :meth:`create` is the engine's, :meth:`attach` the journaller's and everybody's who looks.

    Attributes:
        path: Its file.
        run_id: 16 bytes that name the run.
        build: Hash of the build, hex.
        config: Hash of the configuration, hex.
    """

    @staticmethod
    def create(
        path,
        *,
        run_id,
        build="",
        config="",
        first_seq=1,
        first_crc=0,
        capacity=1 << 26,
        reserve=None,
        max_payload=None,
    ) -> Journal:
        """Makes an empty buffer; an older file at ``path`` is replaced, who has it mapped keeps it.

        Args:
            path: The file, best on a memory file system.
            run_id: 16 bytes that name the run.
            build: Hash of the build, up to 64 hex digits.
            config: Hash of the configuration, up to 64 hex digits.
            first_seq: Number of the first record: one more than the journal's last.
            first_crc: CRC of the journal's last record.
            capacity: Bytes, a power of two from 64 KiB.
            reserve: Bytes that only cancels may use; a sixteenth by default.
            max_payload: Longest payload; by default, and at most, 256 KiB and an eighth of the capacity.

        Raises:
            CapacityError: A size out of bounds, or no room on the file system.
        """
        cdef Journal journal = Journal.__new__(Journal)
        cdef bytes identity = bytes(run_id)
        cdef bytes of_build = bytes.fromhex(build).ljust(32, b"\0")
        cdef bytes of_config = bytes.fromhex(config).ljust(32, b"\0")
        path = os.fspath(path)
        reserve = capacity // 16 if reserve is None else reserve
        longest = min(MAX_PAYLOAD, capacity // 8)
        max_payload = longest if max_payload is None else max_payload
        if capacity < MIN_CAPACITY or capacity & (capacity - 1) or capacity > 1 << 40:
            raise CapacityError(f"a journal buffer of {capacity} bytes: not a power of two from {MIN_CAPACITY}")
        if not 0 <= reserve <= capacity // 2:
            raise CapacityError(f"a reserve of {reserve} bytes: at most half of {capacity}")
        if not 0 < max_payload <= longest:
            raise CapacityError(f"payloads of {max_payload} bytes: at most {longest}")
        if len(identity) != 16 or len(of_build) != 32 or len(of_config) != 32 or first_seq < 1:
            raise ValueError("run_id has 16 bytes, hashes up to 32, numbers begin with 1")
        with new_file(path, capacity + JOURNAL_DATA_OFFSET, "journal buffer") as fd:
            journal._map(fd, capacity, True, PROT_READ | PROT_WRITE)
            journal_shared_format(
                journal.memory, capacity, reserve, max_payload, first_seq, first_crc, identity, of_build, of_config
            )
        journal._bind(path, True)
        return journal

    @staticmethod
    def attach(path, *, bint read_only=False, bint prefault=False) -> Journal:
        """Maps a buffer that another process made, to drain it, to look at it or to take it over.

        Args:
            path: Its file.
            read_only: To look at it only: nothing that we do can change what is in it.
            prefault: Whether its pages are all to be there at once, for who will append.

        Raises:
            FileNotFoundError: There is no such file.
            RingCorrupt: The file is no buffer of this version, or its indices cannot be right.
        """
        cdef Journal journal = Journal.__new__(Journal)
        path = os.fspath(path)
        fd = os.open(path, (os.O_RDONLY if read_only else os.O_RDWR) | os.O_CLOEXEC)
        try:
            size = os.fstat(fd).st_size
            if size < <int64_t>JOURNAL_DATA_OFFSET + MIN_CAPACITY:
                raise RingCorrupt(f"{path}: {size} bytes are too few for a journal buffer")
            journal.is_watcher = read_only
            journal._map(
                fd, size - JOURNAL_DATA_OFFSET, prefault, PROT_READ if read_only else PROT_READ | PROT_WRITE
            )
        finally:
            os.close(fd)
        if not journal_shared_ok(journal.memory, size):
            raise RingCorrupt(f"{path}: header or indices are corrupt")
        journal._bind(path, False)
        return journal

    cdef int _map(self, int fd, uint64_t capacity, bint prefault, int protection) except -1:
        # Header, data, and the data once more: what wraps around still lies in one piece.
        cdef uint64_t size = JOURNAL_DATA_OFFSET + 2 * capacity
        cdef int flags = MAP_SHARED | MAP_FIXED | (RINGBOOK_PREFAULT if prefault else 0)
        cdef unsigned char* again
        cdef void* memory = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANON, -1, 0)
        if memory == MAP_FAILED:
            raise CapacityError(f"cannot map {size} bytes for a journal buffer")
        self.memory, self.memory_size, self.capacity = memory, size, capacity
        again = <unsigned char*>memory + JOURNAL_DATA_OFFSET + capacity
        if mmap(memory, JOURNAL_DATA_OFFSET + capacity, protection, flags, fd, 0) == MAP_FAILED \
                or mmap(again, capacity, protection, flags, fd, JOURNAL_DATA_OFFSET) == MAP_FAILED:
            self._release()
            raise CapacityError(f"cannot map {size} bytes for a journal buffer")
        return 0

    cdef int _bind(self, path, bint is_writer) except -1:
        journal_writer_init(&self.writer, self.memory, _crc)
        self.path, self.is_writer = path, is_writer
        self.run_id = journal_shared_id(self.writer.shared, 0)[:16]
        self.build = journal_shared_id(self.writer.shared, 1)[:32].hex()
        self.config = journal_shared_id(self.writer.shared, 2)[:32].hex()
        return 0

    cdef int _open(self) except -1:
        if self.memory == NULL:
            raise ValueError("the journal buffer is closed")
        return 0

    cdef int _writable(self) except -1:
        self._open()
        if self.is_watcher:
            raise ValueError("the journal buffer was attached for reading only")
        return 0

    # --- the engine's side ------------------------------------------------------------------------

    def append(
        self,
        uint16_t type,
        const unsigned char[::1] payload,
        *,
        t_mono=None,
        uint8_t flags=0,
        uint16_t instrument=0,
        uint16_t strategy=0,
        bint reserved=False,
    ) -> bool:
        """Appends a record: accepted when it returns, it survives the death of this process.

        Args:
            type: A ``RecordType``.
            payload: Engine time (int64) and what belongs to the type.
            t_mono: Steady clock; now by default.
            flags: The ring record's.
            instrument: The ring record's.
            strategy: The ring record's.
            reserved: Whether it may use the reserve, as cancels may.

        Returns:
            False when the buffer is full.

        Raises:
            CapacityError: The payload is longer than ``max_payload``.
            RingCorrupt: The journaller's index cannot be right.
            ValueError: The buffer was neither created nor taken over: its engine is another process.
        """
        cdef int code
        cdef int64_t now = clock_now(&_steady) if t_mono is None else t_mono
        cdef const unsigned char* data = &payload[0] if payload.shape[0] > 0 else NULL
        cdef uint64_t size = payload.shape[0]
        self._open()
        if not self.is_writer:
            raise ValueError("only who created or took over the buffer appends to it")
        if size > self.writer.max_payload:
            raise CapacityError(f"a journal record of {size} bytes: at most {self.writer.max_payload}")
        append = journal_append_reserved if reserved else journal_append_tagged
        code = append(&self.writer, type, flags, instrument, strategy, data, <uint32_t>size, now)
        if code == ERR_CORRUPT:
            raise RingCorrupt(f"{self.path}: the journaller's index cannot be right")
        return code == OK

    def append_rows(self, uint16_t type, const unsigned char[:, ::1] payloads, *, uint8_t flags=0) -> int:
        """Appends a record for each row, without the interpreter in between; all have one ``t_mono``, now.

        Args:
            type: A ``RecordType``.
            payloads: Shape ``(n, length)``, uint8, C-contiguous.
            flags: The ring record's, the same for all.

        Returns:
            How many were appended, from the front.

        Raises:
            CapacityError: The rows are longer than ``max_payload``.
            ValueError: The buffer was neither created nor taken over: its engine is another process.
        """
        cdef Py_ssize_t done = 0, n = payloads.shape[0]
        cdef uint32_t size = <uint32_t>payloads.shape[1]
        cdef int64_t now = clock_now(&_steady)
        self._open()
        if not self.is_writer:
            raise ValueError("only who created or took over the buffer appends to it")
        if payloads.shape[1] > self.writer.max_payload:
            raise CapacityError(f"a journal record of {payloads.shape[1]} bytes: at most {self.writer.max_payload}")
        with nogil:
            while done < n and journal_append_tagged(
                &self.writer, type, flags, 0, 0, &payloads[done, 0], size, now
            ) == OK:
                done += 1
        return done

    def append_time(self, uint16_t type, int64_t ts, bytes body=b"", *, bint reserved=False) -> bool:
        """Appends a record made of an engine time and some bytes, as :meth:`append` does.

        Args:
            type: A ``RecordType``.
            ts: Engine time.
            body: What follows it.
            reserved: Whether it may use the reserve.
        """
        return self.append(type, ts.to_bytes(8, "little", signed=True) + body, reserved=reserved)

    def take_over(self, uint64_t seq, uint32_t crc) -> None:
        """Goes on where a dead engine stopped, once everything that it had appended is durable.

        Args:
            seq: Of its last record.
            crc: Of that record.

        Raises:
            JournalError: Something is not durable, or the run has ended.
        """
        cdef uint64_t head
        self._open()
        head = journal_shared_load(self.writer.shared, 0)
        if head != journal_shared_load(self.writer.shared, 1) or seq != self.durable_seq:
            raise JournalError(f"{self.path}: has more than the {seq} records that are known")
        if self.ended:
            raise JournalError(f"{self.path}: its run has ended")
        journal_writer_resume(&self.writer, head, seq, crc)
        self.is_writer = True

    def end(self) -> None:
        """Says that no record will follow: the journaller copies what there is and leaves."""
        self._writable()
        journal_shared_close(self.writer.shared)

    def wait_durable(self, uint64_t seq, double seconds) -> bool:
        """Waits until a record survives a loss of power; never on the engine's thread.

        Args:
            seq: The record's number.
            seconds: How long to wait.

        Returns:
            Whether it is durable; False too when the journaller has halted.
        """
        deadline = time.monotonic() + seconds
        while self.durable_seq < seq:
            if self.flags & JOURNAL_HALTED or time.monotonic() >= deadline:
                return False
            time.sleep(0.0005)
        return True

    # --- the journaller's side --------------------------------------------------------------------

    def pending(self, uint64_t position, uint64_t most) -> memoryview:
        """The bytes from a position to the head, in place; valid until :meth:`close`.

        Args:
            position: Between tail and head.
            most: At most so many bytes.

        Raises:
            RingCorrupt: The indices cannot be right.
        """
        self._open()
        cdef uint64_t head = journal_shared_load(self.writer.shared, 0)
        if head - position > self.capacity or head % 8 or position % 8:
            raise RingCorrupt(f"{self.path}: position {position} and head {head} cannot be right")
        cdef uint64_t size = min(head - position, most)
        return PyMemoryView_FromMemory(<char*>journal_data(&self.writer, position), size, PyBUF_READ)

    def commit(self, uint64_t position, uint64_t seq, uint64_t sync_ns=0) -> None:
        """Publishes that everything up to a position is on disk, and gives its room back.

        Args:
            position: Behind the last durable byte.
            seq: Of the last durable record.
            sync_ns: What making it durable took.
        """
        self._writable()
        journal_shared_commit(self.writer.shared, position, seq, sync_ns)

    def locate(self, uint64_t seq):
        """Finds where a record ends that is not yet known to be durable.

        Args:
            seq: Its number.

        Returns:
            The position behind it and its CRC; the tail and None when it is the record before the tail;
            None when the buffer does not have it any more, or not yet.
        """
        self._open()
        cdef uint64_t tail = journal_shared_load(self.writer.shared, 1)
        cdef uint64_t head = journal_shared_load(self.writer.shared, 0), at = tail
        cdef const JournalRecord* record
        while head - at <= self.capacity and head - at >= JOURNAL_HEADER_SIZE:
            record = <const JournalRecord*>journal_data(&self.writer, at)
            if at == tail and record.seq == seq + 1:
                return tail, None
            if record.seq > seq or record.len < JOURNAL_HEADER_SIZE \
                    or record.len - JOURNAL_HEADER_SIZE > self.writer.max_payload:
                return None
            at += journal_size(record.len - JOURNAL_HEADER_SIZE)
            if record.seq == seq:
                return at, record.crc
        return (tail, None) if tail == head and seq == journal_shared_load(self.writer.shared, 3) else None

    def set_flag(self, uint32_t flag, bint on=True) -> None:
        """Raises or lowers a ``JournalFlag``.

        Args:
            flag: The flag.
            on: Whether it is raised.
        """
        self._writable()
        journal_shared_flag(self.writer.shared, flag if on else 0, 0 if on else flag)

    # --- for everybody ----------------------------------------------------------------------------

    @property
    def head(self) -> int:
        """Bytes appended since the run began."""
        self._open()
        return journal_shared_load(self.writer.shared, 0)

    @property
    def tail(self) -> int:
        """Bytes that are durable."""
        self._open()
        return journal_shared_load(self.writer.shared, 1)

    @property
    def accepted_seq(self) -> int:
        """The last record that survives a killed engine."""
        self._open()
        return journal_shared_load(self.writer.shared, 2)

    @property
    def durable_seq(self) -> int:
        """The last record that survives a loss of power."""
        self._open()
        return journal_shared_load(self.writer.shared, 3)

    @property
    def commits(self) -> int:
        """Commits that the journaller has made."""
        self._open()
        return journal_shared_load(self.writer.shared, 4)

    @property
    def sync_ns(self) -> int:
        """What the last fdatasync took."""
        self._open()
        return journal_shared_load(self.writer.shared, 5)

    @property
    def flags(self) -> JournalFlag:
        """What the journaller tells the engine."""
        self._open()
        return JournalFlag(journal_shared_load(self.writer.shared, 6))

    @property
    def ended(self) -> bool:
        """Whether the engine has said its last record."""
        self._open()
        return journal_shared_load(self.writer.shared, 7) != 0

    @property
    def first_seq(self) -> int:
        """Number of the first record that this buffer took."""
        self._open()
        return self.writer.shared.first_seq

    @property
    def first_crc(self) -> int:
        """CRC of the record before that."""
        self._open()
        return self.writer.shared.first_crc

    @property
    def max_payload(self) -> int:
        """Longest payload."""
        self._open()
        return self.writer.max_payload

    @property
    def size(self) -> int:
        """Bytes of the buffer."""
        self._open()
        return self.capacity

    cdef void _release(self) noexcept:
        if self.memory != NULL:
            munmap(self.memory, self.memory_size)
        self.memory = NULL
        memset(&self.writer, 0, sizeof(self.writer))

    def close(self) -> None:
        """Gives the memory back; the file stays. No thread may be using the buffer."""
        self._release()

    def unlink(self) -> None:
        """Removes the file; who has it mapped keeps it. A missing file is fine."""
        if os.path.exists(self.path):
            os.unlink(self.path)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def __dealloc__(self):
        self._release()
