"""Commands to the engine and their replies; every command waits for its own reply, and not for ever."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Any

import msgspec

from bridge import protocol as p
from bridge.attempts import who
from bridge.external import Peer
from bridge.link import EngineLink
from bridge.records import ReplyBlob
from bridge.sessions import Sessions

COMMANDS: dict[type[p.Message], str] = {
    p.Pause: "pause",
    p.Resume: "resume",
    p.EmergencyStop: "emergency_stop",
    p.CancelOrders: "cancel_orders",
    p.UpdateParams: "update_params",
    p.UpdateRiskLimits: "update_risk_limits",
    p.QueryLimits: "query_limits",
    p.QueryStatus: "query_status",
    p.ReduceOnly: "reduce_only",
    p.Kill: "kill",
    p.Rearm: "rearm",
}
REPLY_TICKS = 50
"""Ticks that the engine has to answer a command, and the disk to have it."""
ENGINE_TIMEOUT = ("engine_timeout", "the engine did not answer in time")
NOT_DURABLE = ("not_durable", "the engine has answered, but the journal's record of it is not durable yet")
MAX_TEXTS = 16
"""Texts in one limit, such as hours."""
LIMITS = ("max_position", "max_order_qty", "max_notional", "max_open_orders")

Answer = Callable[[ReplyBlob | None, int], None]
"""Called with the reply and its engine step, or with None and 0 when none came in time; with None and the
step when one came, but its record of the journal was not durable in time."""
Hold = Callable[[int, Callable[[], None]], bool]
"""Does something once a record of the journal is durable; whether that was at once."""


@dataclass
class Waiting:
    """A command without its answer."""

    answer: Answer
    due: int
    acknowledges: bool
    step: int = 0
    """The answer's, once it is there but held back."""


def at_once(seq: int, call: Callable[[], None]) -> bool:
    """Holds nothing back."""
    call()
    return True


class Control:
    """The control socket's messages, and the bridge's own commands.

    Args:
        link: Where commands go.
        sessions: Where replies go.
        epoch: Of this bridge; its requests are numbered from there, unlike those of the bridge before.
        rearm_token: What a re-arm must bring with it; None asks for nothing.
        hold: Holds answers to clients back until they are durable.
    """

    def __init__(
        self,
        link: EngineLink,
        sessions: Sessions,
        epoch: int,
        rearm_token: Callable[[], str] | None = None,
        hold: Hold = at_once,
    ) -> None:
        self._link, self._hold = link, hold
        self._rearm_token = rearm_token
        self._sessions = sessions
        self._waiting: dict[int, Waiting] = {}
        self._number = epoch // 1000
        self._ticks = 0

    def ask(
        self,
        command: str,
        fields: dict[str, Any],
        answer: Answer,
        who: str = "bridge",
        *,
        acknowledges: bool = False,
    ) -> bool:
        """Sends a command to the engine.

        Args:
            command: Its name, as runtime/commands.py lists them.
            fields: Its other fields.
            answer: Told the reply.
            who: Whose command it is.
            acknowledges: Whether the reply goes to a client, who may rely on it.

        Returns:
            False when the ring is full: nothing was sent, and ``answer`` is not called.

        Raises:
            ValueError: The command is too long for the ring.
        """
        number = self._number + 1
        message = {"request_id": number, "command": command, "who": who, "at": time.time_ns(), **fields}
        if not self._link.control(message):
            return False
        self._number = number
        self._waiting[number] = Waiting(answer, self._ticks + REPLY_TICKS, acknowledges)
        return True

    def message(self, peer: Peer, message: Any) -> None:
        """A command of an admin, or a trader's ``Kill`` of its own strategy."""
        wrong = self._stale(peer, message) or _wrong_fields(message) or self._forbidden(peer, message)
        if wrong is not None:
            self._sessions.send(peer, p.Error(wrong[0], wrong[1], message.request_id))
            if wrong[0] in ("stale_command", "forbidden"):
                self._sessions.on_refused(
                    peer.channel, peer.hello, peer.grant, type(message).__name__, wrong[1]
                )
            return
        request_id = message.request_id

        def answer(reply: ReplyBlob | None, step: int) -> None:
            if reply is None:
                code, text = NOT_DURABLE if step else ENGINE_TIMEOUT
                self._sessions.send(peer, p.Error(code, text, request_id))
                return
            self._sessions.send(
                peer,
                p.ControlReply(
                    request_id,
                    reply.success,
                    reply.message,
                    reply.strategy_state,
                    reply.trading_state,
                    reply.current_params,
                    step,
                    reply.details,
                    reply.journal_seq,
                ),
            )

        # Token and stamp are for us alone: what goes on is kept in journals.
        fields = {
            name: value
            for name, value in msgspec.structs.asdict(message).items()
            if name not in ("request_id", "token", "stamp")
        }
        name = who(peer.grant.name, peer.hello)
        if not self.ask(COMMANDS[type(message)], fields, answer, name, acknowledges=True):
            self._sessions.send(peer, p.Error("busy", "the engine's control ring is full", request_id))

    def _stale(self, peer: Peer, message: Any) -> tuple[str, str] | None:
        wrong = peer.stamps.wrong(message.stamp)
        return ("stale_command", wrong) if wrong else None

    def _forbidden(self, peer: Peer, message: Any) -> tuple[str, str] | None:
        """The error code and text of a command that this peer may not send, or None."""
        if type(message) is p.Kill and peer.channel == "orders":
            own = peer.hello.strategy_id
            if not own or message.strategy_id != own or message.symbol:
                return "forbidden", f"on the order socket a trader kills its own strategy ({own!r}) only"
        if type(message) is p.Rearm and self._rearm_token is not None:
            try:
                expected = self._rearm_token()
            except OSError as error:
                return "forbidden", f"control.rearm_token_file cannot be read: {error.strerror}"
            if not expected or not hmac.compare_digest(expected.encode(), message.token.encode()):
                return "forbidden", "re-arming needs the token of control.rearm_token_file"
        return None

    def reply(self, reply: ReplyBlob, step: int) -> None:
        """A reply of the engine; one that nobody waits for any more is dropped."""
        waiting = self._waiting.get(reply.request_id)
        if waiting is None:
            return
        answer = partial(self._answer, reply, step)
        if not waiting.acknowledges:
            answer()
        elif not self._hold(reply.journal_seq, answer):
            waiting.step = step

    def _answer(self, reply: ReplyBlob, step: int) -> None:
        waiting = self._waiting.pop(reply.request_id, None)
        if waiting is not None:
            waiting.answer(reply, step)

    def tick(self) -> None:
        """One heartbeat interval: commands without a reply run out of time."""
        self._ticks += 1
        self._late([number for number, waiting in self._waiting.items() if waiting.due <= self._ticks])

    def give_up(self) -> None:
        """What is held back will never be durable, as far as this bridge knows."""
        self._late([number for number, waiting in self._waiting.items() if waiting.step])

    def _late(self, numbers: list[int]) -> None:
        for number in numbers:
            waiting = self._waiting.pop(number)
            waiting.answer(None, waiting.step)


def _wrong_fields(message: Any) -> tuple[str, str] | None:
    """The error code and text of a command that typed decoding let pass, or None."""
    if type(message) is p.UpdateParams:
        if not message.params:
            return "invalid_params", "no parameter is named"
        wrong = p.wrong_params(message.params)
        return ("invalid_params", wrong) if wrong else None
    if type(message) is p.UpdateRiskLimits:
        for name in LIMITS:
            value = getattr(message, name)
            if value is not None and not (isfinite(value) and value >= 0):
                return "invalid_params", f"{name} {value!r} must be finite and not below 0"
        for name, value in message.limits.items():
            if not 0 < len(name) <= p.MAX_NAME or not _is_limit(value):
                return "invalid_params", f"{name[: p.MAX_NAME]} {value!r:.100} is no limit"
    for name in ("strategy_id", "symbol"):
        if len(getattr(message, name, "")) > p.MAX_NAME:
            return "bad_message", f"{name} is longer than {p.MAX_NAME}"
    return None


def _is_limit(value: Any) -> bool:
    """Whether a value may be a limit: a number not below 0, a truth value, a text or a list of some."""
    if isinstance(value, list | tuple):
        return len(value) <= MAX_TEXTS and all(isinstance(text, str) and _is_limit(text) for text in value)
    if isinstance(value, str):
        return len(value) <= p.MAX_NAME
    return isinstance(value, int | float) and value >= 0
