"""Frames to messages and back: typed decoding only, every malformed frame ends in one ProtocolError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from bridge import protocol as p
from bridge.errors import ProtocolError

_TOGETHER = b"\x92\xa8Messages"
_encoder = msgspec.msgpack.Encoder()
_client_decoder = msgspec.msgpack.Decoder(p.ClientMessage)
_control_decoder = msgspec.msgpack.Decoder(p.ControlMessage)
_server_decoder = msgspec.msgpack.Decoder(p.ServerMessage)
_stream_decoder = msgspec.msgpack.Decoder(p.Published)

encode = _encoder.encode
"""Encodes a message as one msgpack frame."""


def together(frames: Sequence[bytes]) -> bytes:
    """The :class:`bridge.protocol.Messages` of messages that are encoded already.

    Args:
        frames: At most 65,535 messages of streams.
    """
    n = len(frames)
    return b"".join((_TOGETHER, bytes((0x90 | n,)) if n < 16 else b"\xdc" + n.to_bytes(2, "big"), *frames))


def _decode(decoder: msgspec.msgpack.Decoder[Any], frame: bytes, limit: int) -> Any:
    if len(frame) > limit:
        raise ProtocolError(f"a frame of {len(frame)} bytes is above the limit of {limit}")
    try:
        return decoder.decode(frame)
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise ProtocolError(str(error)) from None
    except RecursionError:
        raise ProtocolError("the message is nested too deeply") from None


def encode_for(channel: str, message: Any) -> bytes:
    """Encodes a message to the server, or says here what the server would only answer ``bad_message`` to.

    Args:
        channel: The socket that it is for: ``orders`` or ``control``.
        message: The message.

    Raises:
        ProtocolError: A field has a wrong type or value, or the message is too long.
    """
    try:
        frame = encode(message)
    except (TypeError, ValueError, OverflowError) as error:
        raise ProtocolError(str(error)) from None
    _decode(_client_decoder if channel == "orders" else _control_decoder, frame, p.MAX_FRAME)
    return frame


def decode_order(frame: bytes) -> Any:
    """As :func:`decode_client`, of a message that is one frame."""
    return _decode(_client_decoder, frame, p.MAX_FRAME)


def decode_client(frames: Sequence[bytes]) -> Any:
    """The message in what a client sent on the order socket (without the identity frame).

    Args:
        frames: The message's frames; there must be exactly one.

    Raises:
        ProtocolError: Wrong number of frames, too long, not msgpack, or not a message of this socket.
    """
    return _decode(_client_decoder, _single(frames), p.MAX_FRAME)


def decode_control(frames: Sequence[bytes]) -> Any:
    """As :func:`decode_client`, for the control socket."""
    return _decode(_control_decoder, _single(frames), p.MAX_FRAME)


def decode_server(frames: Sequence[bytes]) -> Any:
    """As :func:`decode_client`, for what a server sent on the order or the control socket."""
    return _decode(_server_decoder, _single(frames), p.MAX_SERVER_FRAME)


def decode_stream(frames: Sequence[bytes]) -> tuple[str, Any]:
    """Topic and message of what was published: two frames.

    Args:
        frames: The topic's frame and the message's.

    Raises:
        ProtocolError: As :func:`decode_client`, or the topic is not ASCII.
    """
    if len(frames) != 2:
        raise ProtocolError(f"a published message has 2 frames, not {len(frames)}")
    try:
        topic = frames[0].decode("ascii")
    except UnicodeDecodeError:
        raise ProtocolError("the topic is not ASCII") from None
    return topic, _decode(_stream_decoder, frames[1], p.MAX_SERVER_FRAME)


def _single(frames: Sequence[bytes]) -> bytes:
    if len(frames) != 1:
        raise ProtocolError(f"a message has 1 frame, not {len(frames)}")
    return frames[0]
