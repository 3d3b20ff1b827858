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


class OrderRejected(BridgeError):
    """The engine or the venue refused an order; ``reason`` says why."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class CommandRefused(BridgeError):
    """The engine refused a control command; the message says why."""
