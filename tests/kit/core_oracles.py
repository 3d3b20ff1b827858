"""Slow, obvious twins of the core's structures: a deque, a list of free handles, a dict."""

from __future__ import annotations

from collections import deque


class NaiveRing:
    """A bounded queue; records are padded to the slot as the real ring's are.

    Args:
        capacity: The most records it holds.
        slot_size: Bytes a record.
    """

    def __init__(self, capacity: int, slot_size: int) -> None:
        self.capacity, self.slot_size = capacity, slot_size
        self.cursor = 0
        self._queue: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def push(self, record: bytes) -> bool:
        """Appends unless full."""
        if len(self._queue) == self.capacity:
            return False
        self._queue.append(record.ljust(self.slot_size, b"\0"))
        return True

    def push_many(self, records: list[bytes], cursor: int | None) -> int:
        """Appends what fits; the cursor is that many further."""
        done = sum(self.push(record) for record in records)
        if cursor is not None and done:
            self.cursor = cursor + done
        return done

    def pop_many(self, max: int | None = None) -> list[bytes]:
        """Takes the oldest records."""
        n = len(self._queue) if max is None else min(max, len(self._queue))
        return [self._queue.popleft() for _ in range(n)]


class NaivePool:
    """Records by handle: a dict, and a stack of what is free.

    Args:
        capacity: Records.
        record_size: Bytes a record.
    """

    def __init__(self, capacity: int, record_size: int) -> None:
        self.record_size = record_size
        self.live: dict[int, bytes] = {}
        self.free_list = list(range(capacity, 0, -1))

    def alloc(self) -> int | None:
        """The last freed handle, zeroed; None when full."""
        if not self.free_list:
            return None
        handle = self.free_list.pop()
        self.live[handle] = bytes(self.record_size)
        return handle

    def free(self, handle: int) -> bool:
        """False when the handle is not live."""
        if handle not in self.live:
            return False
        del self.live[handle]
        self.free_list.append(handle)
        return True

    def write(self, handle: int, data: bytes) -> None:
        """Overwrites the front of a live record."""
        self.live[handle] = data + self.live[handle][len(data) :]
