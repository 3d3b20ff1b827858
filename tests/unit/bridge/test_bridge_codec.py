"""Frames: every message survives the round trip, and anything else is one ProtocolError."""

import contextlib
import math
import typing

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import codec
from bridge import protocol as p
from bridge.errors import ProtocolError

names = st.from_regex(r"[A-Za-z0-9_.:/-]{1,64}", fullmatch=True)
ids = st.integers(1, 2**63 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False)
values = st.one_of(st.booleans(), int64, floats, st.text(max_size=20))
params = st.dictionaries(st.text(min_size=1, max_size=8), values, max_size=5)
roles = st.sampled_from(typing.get_args(p.Role))
sides = st.sampled_from(typing.get_args(p.Side))

CLIENT = st.one_of(
    st.builds(p.Hello, st.integers(0, 99), names, roles, names, st.lists(names), params),
    st.builds(p.Heartbeat, int64),
    st.builds(p.Goodbye, st.text(max_size=50)),
    st.builds(p.Submit, ids, names, sides, floats, floats),
    st.builds(p.Modify, ids, floats, floats),
    st.builds(p.Cancel, ids),
    st.builds(p.CancelAll, names),
    st.builds(p.Signal, names, floats, names),
    st.builds(p.SnapshotRequest, ids, st.text(max_size=50)),
    st.builds(p.ReplayRequest, ids, st.text(max_size=50), st.integers(0, 2**63 - 1)),
)  # fmt: skip
CONTROL = st.one_of(
    st.builds(p.Pause, ids, names),
    st.builds(p.EmergencyStop, ids, st.booleans(), st.booleans()),
    st.builds(p.UpdateParams, ids, names, params),
    st.builds(p.UpdateRiskLimits, ids, names, names, st.none() | floats, max_open_orders=st.none() | int64),
    st.builds(p.QueryStatus, ids, names),
)


@given(CLIENT)
def test_client_messages_survive(message):
    assert codec.decode_client([codec.encode(message)]) == message


@given(CONTROL)
def test_control_messages_survive(message):
    assert codec.decode_control([codec.encode(message)]) == message


def test_messages_are_tagged_arrays():
    frame = codec.encode(p.Submit(7, "BTCUSDT", "buy", 100.5, 0.25))
    assert msgspec.msgpack.decode(frame) == ["Submit", 7, "BTCUSDT", "buy", 100.5, 0.25, "limit", "GTC", 0]


def test_fields_may_be_appended_and_left_out():
    short = msgspec.msgpack.encode(["Submit", 7, "BTCUSDT", "buy", 100.5, 0.25])
    assert codec.decode_client([short]).time_in_force == "GTC"
    longer = msgspec.msgpack.encode(["Cancel", 7, 3, "a field of a later revision"])
    assert codec.decode_client([longer]) == p.Cancel(7, 3)


@given(st.binary(max_size=300))
def test_noise_is_a_protocol_error(frame):
    for decode in (codec.decode_client, codec.decode_control, codec.decode_server):
        try:
            message = decode([frame])
        except ProtocolError:
            continue
        assert isinstance(message, p.Message)


@given(CLIENT | CONTROL, st.data())
def test_damaged_messages_are_a_protocol_error_or_a_message(message, data):
    frame = bytearray(codec.encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(frame[: data.draw(st.integers(0, len(frame)))])
    for decode in (codec.decode_client, codec.decode_control):
        with contextlib.suppress(ProtocolError):
            assert isinstance(decode([cut]), p.Message)


@pytest.mark.parametrize("depth", [10, 1000, 60_000])
def test_nesting_is_no_way_in(depth):
    # The nested value is where anything may stand: in a parameter.
    head = msgspec.msgpack.encode(["UpdateParams", 1, "mm"])[: -0 or None]
    frame = b"\x94" + head[1:] + b"\x81\xa1a" + b"\x91" * depth + b"\xc0"
    try:
        message = codec.decode_control([frame])
    except ProtocolError:
        return
    assert p.wrong_params(message.params)


def test_limits_and_shapes():
    with pytest.raises(ProtocolError, match="above the limit of 65536"):
        codec.decode_client([b"x" * (p.MAX_FRAME + 1)])
    for frames in ([], [b"a", b"b"]):
        with pytest.raises(ProtocolError, match="1 frame"):
            codec.decode_client(frames)
        with pytest.raises(ProtocolError, match="2 frames"):
            codec.decode_stream(frames[:1])
    with pytest.raises(ProtocolError, match="ASCII"):
        codec.decode_stream([b"\xff", b""])
    with pytest.raises(ProtocolError):
        codec.decode_control([codec.encode(p.Cancel(1))])
    with pytest.raises(ProtocolError):
        codec.decode_client([codec.encode(p.Pause(1))])


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"a": 1, "b": 2.5, "c": True, "d": "text"}, ""),
        ({"a": math.nan}, "a nan must be finite"),
        ({"a": -math.inf}, "a -inf must be finite"),
        ({"a": 2**63}, "does not fit 64 bits"),
        ({"a": None}, "a must be a number"),
        ({"a": [1]}, "a must be a number"),
        ({"a": "x" * 4097}, "a must be a number"),
        ({"": 1}, "1 to 64 characters"),
        ({str(i): i for i in range(257)}, "257 parameters are more than 256"),
    ],
)
def test_parameters(params, wrong):
    assert wrong in p.wrong_params(params)
    assert bool(wrong) == bool(p.wrong_params(params))


def test_endpoints():
    assert p.socket_endpoint("ipc:///run/x/", "orders") == "ipc:///run/x/orders.sock"
    assert p.socket_endpoint("tcp://127.0.0.1:7400", "telemetry") == "tcp://127.0.0.1:7403"
    for base in ("", "http://x", "tcp://1.2.3.4", "tcp://:5", "tcp://h:99999"):
        with pytest.raises(ValueError, match="expected"):
            p.socket_endpoint(base, "orders")
