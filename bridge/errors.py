"""What a client of the bridge may have to catch."""


class BridgeError(Exception):
    """Base of all errors of the bridge."""


class ProtocolError(BridgeError):
    """A message does not follow PROTOCOL.md; it was dropped and counted."""


class VersionMismatch(BridgeError):
    """Client and server speak different versions of the protocol."""


class ConnectionLost(BridgeError):
    """The server stopped answering heartbeats."""


class RequestTimeout(BridgeError):
    """No answer in time. What became of the request is unknown: query, never assume."""


class NotDurable(BridgeError):
    """What was asked about is not known to survive a loss of power; ``code`` says why.

    ``no_journal``, ``journal_halted``, or ``not_durable``: a command was answered, but its record was not on
    disk in time. It may have taken effect: query, never assume.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class ExecutionsDropped(BridgeError):
    """Nobody took the own executions for so long that the oldest were dropped; ``count`` says how many.

    It is raised once, not after the gap; what is still there can be taken by iterating again. What the client
    itself knows of its orders misses nothing.
    """

    def __init__(self, count: int, most: int) -> None:
        super().__init__(f"{count} executions were dropped: more than {most} waited to be taken")
        self.count = count


class OrderRejected(BridgeError):
    """The engine or the venue refused an order; ``reason`` says why."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class CommandRefused(BridgeError):
    """The engine refused a control command; the message says why."""


def refusal(code: str, message: str) -> BridgeError:
    """The exception for a request that was answered by an error."""
    if code in ("no_journal", "journal_halted", "not_durable"):
        return NotDurable(f"{code}: {message}", code)
    return CommandRefused(f"{code}: {message}")
