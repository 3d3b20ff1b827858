"""What inputs do that need the interpreter, for the running engine and for a replay of its journal alike."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from engine.core.errors import RingCorrupt, raise_for_code
from engine.gateways.venue import Venue
from engine.runtime.commands import Commands
from engine.runtime.keeper import Keeper
from engine.runtime.loop import LoopCore
from engine.runtime.records import BlobJoiner, Kind

QUESTIONS = frozenset({"query_status", "query_limits", "resync"})
"""Commands that change nothing."""


class Applying(LoopCore):
    """A loop that knows what to do with commands, signals, start and stop; it takes none off a ring."""

    _commands: Commands
    _control_blobs: BlobJoiner
    _signal_blobs: BlobJoiner
    _keeper: Keeper | None
    _log: logging.Logger
    _venue: Venue

    def apply_start(self, ts: int) -> None:
        """The market begins: starts the strategies.

        Args:
            ts: The time of the first record.
        """
        if self._keeper is not None:
            self._keeper.first_ts = ts
        self.advance()
        self.kernel.start(ts)
        self.set_started()
        self.drain()
        self.check()

    def apply_command(self, record: np.void) -> tuple[Any, dict[str, Any]] | None:
        """Applies a command when its last piece comes.

        Args:
            record: A piece of one.

        Returns:
            The command and the answer to it; None if there is more to come, or it is no command.
        """
        if record["kind"] != Kind.CONTROL:
            return None
        try:
            message = self._control_blobs.add(record)
        except RingCorrupt as error:
            # The half of a command whose sender was killed in the middle of it.
            self._log.warning("dropped a command: %s", error)
            return None
        if message is None:
            return None
        self.advance()
        reply = self._answer(message)
        self.drain()
        self.check()
        return message, reply

    def _answer(self, message: Any) -> dict[str, Any]:
        try:
            return self._commands.handle(message)
        except Exception as error:
            # Whatever a client sends, and whatever fault of ours it finds, must not end the engine.
            self._log.exception("a command failed: %s", error)
            return self._commands.failed(message, error)

    def observe(self, message: Any, why: str) -> dict[str, Any]:
        """The answer to somebody who may look, but change nothing.

        Args:
            message: The command.
            why: What is said to a command that is no question.
        """
        if isinstance(message, dict) and message.get("command") in QUESTIONS:
            return self._answer(message)
        return self.refer(message, False, why)

    def refer(self, message: Any, success: bool, text: str) -> dict[str, Any]:
        """The answer to a command that the engine itself has nothing to do with."""
        return self._commands.answer(message, success, text)

    def apply_signal(self, record: np.void) -> None:
        """Gives a signal to the strategies when its last piece comes.

        Args:
            record: A piece of one.
        """
        try:
            message = self._signal_blobs.add(record)
            if message is not None:
                self.advance()
                value = float(message["value"])
                self.kernel.send_signal(str(message["name"]), str(message.get("symbol", "")), value)
        except (RingCorrupt, KeyError, TypeError, ValueError) as error:
            self._log.warning("dropped a signal: %s", error)
        self.drain()
        self.check()

    def apply_stop(self) -> None:
        """``on_stop`` of all strategies, and cancels for all orders."""
        self.advance()
        self.kernel.stop()
        self.kernel.cancel_orders()
        self.drain()
        self.check()

    def check(self) -> None:
        """Raises what the loop's last code, or a model of the venue, says is wrong."""
        self._venue.check_models()
        raise_for_code(self.code, f"at engine time {self.now}")
