"""What the journal has on disk, and what the bridge holds back until it is there.

The engine's journal is looked at through its buffer in shared memory, mapped for reading only. Where
``journal.acknowledge`` is ``durable``, executions and answers to commands wait here, each for the record that
it follows from, in the order in which the engine gave them. Nothing else waits: market data and telemetry,
public order updates too, pass by. What is held is bounded: beyond it the bridge leaves the engine's order
ring alone, whose own limits then apply, and an answer to a command is dropped, as if it had come too late.
"""

from __future__ import annotations

import contextlib
import heapq
import os
from collections import deque
from collections.abc import Callable

from bridge import protocol as p
from bridge.external import Peer
from bridge.sessions import Sessions
from engine.core.errors import RingCorrupt
from engine.journal.wal import Journal, JournalFlag

MAX_HELD = 1 << 15
"""Records of the order ring that are held back at once."""
MAX_REPLIES = 4096
"""Answers to commands that are held back at once."""
MAX_WAITS = 64
"""Waits for a record that one session may have at once."""
LOOK_S = 0.001
"""How soon the journal is looked at again while somebody waits for it."""

Call = Callable[[], None]


class Durability:
    """Tells when records are durable.

    Args:
        path: File of the journal's buffer; empty where there is no journal.
        hold: Whether executions and answers wait for their records.
        sessions: Where who waits for a record is answered.

    Raises:
        FileNotFoundError: There is no such file.
        RingCorrupt: It is no journal's buffer.

    Attributes:
        holds: Whether executions and answers wait for their records.
    """

    def __init__(self, path: str | os.PathLike[str], hold: bool, sessions: Sessions) -> None:
        self.holds = hold and bool(path)
        self._path = os.fspath(path)
        self._sessions = sessions
        self._journal: Journal | None = None
        self._inode = 0
        self._durable = 0
        self._orders: deque[tuple[int, Call]] = deque()
        self._replies: deque[tuple[int, Call]] = deque()
        self._waits: list[tuple[int, int, Peer, int]] = []
        self._count = 0
        if self._path:
            self._attach()

    # --- the journal ---------------------------------------------------------------------------

    def tick(self) -> None:
        """One heartbeat interval: an engine that came back has a new buffer; who has left waits no more."""
        if self._path:
            # The buffer of an engine that is gone is what is known until there is another.
            with contextlib.suppress(OSError, RingCorrupt):
                self._attach()
        gone = [wait for wait in self._waits if not wait[2].live]
        if gone:
            self._waits = [wait for wait in self._waits if wait[2].live]
            heapq.heapify(self._waits)

    def _attach(self) -> None:
        inode = os.stat(self._path).st_ino
        if inode == self._inode:
            return
        journal = Journal.attach(self._path, read_only=True)
        if self._journal is not None:
            self._journal.close()
        self._journal, self._inode = journal, inode

    @property
    def trouble(self) -> tuple[str, str] | None:
        """Error code and text of why nothing can become durable, or None."""
        if self._journal is None:
            return "no_journal", "this daemon keeps no journal: nothing survives a loss of power"
        if self._journal.flags & JournalFlag.HALTED:
            last = self._journal.durable_seq
            return "journal_halted", f"the journal has halted: nothing after record {last} is durable"
        return None

    # --- what is held back ---------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether anything waits for the journal."""
        return bool(self._orders or self._replies or self._waits)

    @property
    def holding(self) -> bool:
        """Whether records of the order ring wait."""
        return bool(self._orders)

    @property
    def full(self) -> bool:
        """Whether no more records of the order ring can be held."""
        return len(self._orders) >= MAX_HELD

    def order(self, seq: int, call: Call) -> None:
        """Does something once a record is durable, and all of the order ring that came before it is done.

        Args:
            seq: The record's number; 0 waits for what came before only.
            call: What to do.
        """
        if not self.holds or (not self._orders and seq <= self._durable):
            call()
        else:
            self._orders.append((seq, call))

    def reply(self, seq: int, call: Call) -> bool:
        """Does something once a record is durable; whether that was at once."""
        if not self.holds or (not self._replies and seq <= self._durable):
            call()
            return True
        if len(self._replies) < MAX_REPLIES:
            self._replies.append((seq, call))
        return False

    def wait(self, peer: Peer, message: p.WaitDurable) -> None:
        """A client waits for a record."""
        seq, request_id = message.journal_seq, message.request_id
        wrong = self.trouble
        if wrong is None and self._journal is not None and seq > self._journal.accepted_seq:
            last = self._journal.accepted_seq
            wrong = "invalid_params", f"journal_seq {seq} is beyond the journal's last record, {last}"
        if wrong is None and sum(wait[2] is peer for wait in self._waits) >= MAX_WAITS:
            wrong = "busy", f"{MAX_WAITS} waits for records are open already"
        if wrong is not None:
            self._sessions.send(peer, p.Error(*wrong, request_id))
            return
        self._count += 1
        heapq.heappush(self._waits, (seq, self._count, peer, request_id))
        self.release()

    def release(self) -> None:
        """Does what waited for records that are durable by now."""
        if self._journal is None:
            return
        durable = self._durable = self._journal.durable_seq
        for held in (self._replies, self._orders):
            while held and held[0][0] <= durable:
                held.popleft()[1]()
        while self._waits and self._waits[0][0] <= durable:
            _, _, peer, request_id = heapq.heappop(self._waits)
            if peer.live:
                self._sessions.send(peer, p.Durable(request_id, durable))
        if self._waits and (trouble := self.trouble) is not None:
            self._refuse(trouble)

    def _refuse(self, why: tuple[str, str]) -> None:
        waits, self._waits = self._waits, []
        for _, _, peer, request_id in waits:
            if peer.live:
                self._sessions.send(peer, p.Error(*why, request_id))

    def give_up(self) -> int:
        """The bridge ends: nothing that is still held will be told.

        Returns:
            How many executions and answers that were.
        """
        why = "not_durable", "the bridge ends, and the record is not known to be durable"
        self._refuse(self.trouble or why)
        lost = len(self._orders) + len(self._replies)
        self._orders.clear()
        self._replies.clear()
        return lost

    def close(self) -> None:
        """Gives the journal's memory back."""
        if self._journal is not None:
            self._journal.close()
