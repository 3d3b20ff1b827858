"""What an engine that repeats a killed one's run does otherwise: keeps quiet, and tells what was not told."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from engine.risk.limits import RiskLimits
from engine.runtime.applying import Applying
from engine.runtime.changes import Change
from engine.runtime.commands import IN_ORDER, MAX_MESSAGE
from engine.runtime.ledger import Ledger, Ticket
from engine.runtime.records import Kind


class Standing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Python holds of a loop that repeats a run, between two inputs.

    Attributes:
        version: Of the last change.
        external: Whether external traders may register.
        limits: Those that each of them gets.
        log_level: As ``logging`` has it.
        changes: The last ones, oldest first.
        replies: The last answers to operators, oldest first.
        command: What there is of a command of which more is to come.
        signal: The same of a signal.
    """

    version: int
    external: bool
    limits: RiskLimits | None
    log_level: int
    changes: list[Change]
    replies: list[dict[str, Any]]
    command: bytes
    signal: bytes


LAST_REPLIES = 16
LAST_CHANGES = 64
"""Of a repeated run: how many may have been on their way to asker or disk when the engine was killed."""


class Repeating(Applying):
    """A loop that can repeat a run.

    Orders, fills and the replies among them are numbered, so each is published once. Operators' replies are
    given again for the last few commands, which nobody but who still waits for one takes up; so are changes,
    which have their versions.
    """

    _ledger: Ledger | None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._replaying = self._is_rest = False
        self._unanswered: list[tuple[Ticket, dict[str, Any]]] = []
        self._last_replies: deque[dict[str, Any]] = deque(maxlen=LAST_REPLIES)
        self._last_changes: deque[Change] = deque(maxlen=LAST_CHANGES)

    def begin_repeating(self) -> None:
        """What follows has happened before: nothing of it is published, kept or answered."""
        self._replaying, self._is_rest = True, False
        self.mute(True)

    def publish_rest(self) -> None:
        """The engine before us is dead: what it did not publish is published as it is repeated."""
        self._is_rest = True
        self.out.repeat(False)

    def end_repeating(self, ledger: Ledger | None = None, *, keep: bool = True) -> None:
        """What follows is new; changes and switches that the dead engine may not have kept are kept.

        Args:
            ledger: Where; by default the one that the loop was made with.
            keep: Whether the switches are; what is on disk already may be more.
        """
        self._replaying = False
        self.mute(False)
        self.out.take_logs()
        self.out.all_changed()
        self._ledger = self._ledger if ledger is None else ledger
        self._kept = self.kernel.latches()
        ticket = Ticket()
        ticket.done = True
        if self._ledger is not None:
            ticket = self._ledger.keep(self._kept) if keep else ticket
            for change in self._last_changes:
                if change.version > self._ledger.version:
                    self._ledger.note(change)
        self._unanswered = [(ticket, reply) for reply in self._last_replies]

    def forget_askers(self) -> None:
        """Nobody is left who asked in the repeated run."""
        self._last_replies.clear()

    @property
    def last_changes(self) -> Sequence[Change]:
        """The last changes of the repeated run, oldest first."""
        return self._last_changes

    @property
    def standing(self) -> Standing:
        """What Python holds of this loop that the run goes on from."""
        return Standing(
            self._commands.version,
            *self._commands.external,
            self._log.level,
            list(self._last_changes),
            list(self._last_replies),
            self._control_blobs.begun,
            self._signal_blobs.begun,
        )

    @standing.setter
    def standing(self, was: Standing) -> None:
        self._commands.version, self._commands.external = was.version, (was.external, was.limits)
        self._log.setLevel(was.log_level)
        self._last_changes.extend(was.changes)
        self._last_replies.extend(was.replies)
        self._control_blobs.begun, self._signal_blobs.begun = was.command, was.signal
        for slot, name in enumerate(self.kernel.strategy_names):
            self.out.set_name(slot, name)

    def answer_again(self, message: Any, reply: dict[str, Any]) -> None:
        """Answers a command of the repeated run, where its answer may not have been given.

        Args:
            message: The command.
            reply: The answer to it.
        """
        reply["journal_seq"] = self.out.accepted_seq
        if is_in_order(message):
            self.out.reply(reply, self._is_news())
        else:
            self._last_replies.append(reply)

    def _is_news(self) -> bool:
        """Whether the next reply among the orders is not known yet to who has asked."""
        return not self._replaying or (self._is_rest and not self.out.next_is_known)

    def _changed(self, change: Change) -> None:
        if self._replaying:
            self._last_changes.append(change)
        elif self._ledger is not None:
            self._ledger.note(change)

    def _answer_kept(self) -> None:
        """Answers those whose switches are kept by now, or never will be."""
        while self._unanswered and self._unanswered[0][0].done:
            ticket, reply = self._unanswered.pop(0)
            if ticket.error:
                text = f"{reply['message']}; NOT kept for a restart: {ticket.error}"
                reply = reply | {"message": text[:MAX_MESSAGE]}
            self.out.blob(Kind.REPLY, reply, ring="control_out")


def is_in_order(message: Any) -> bool:
    """Whether a command's reply has its place among the orders."""
    return isinstance(message, dict) and str(message.get("command")) in IN_ORDER
