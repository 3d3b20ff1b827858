"""The short forms of the campaigns against the bridge, and what they do not send: messages without end."""

import time

import pytest
import zmq

from bridge import codec
from bridge import protocol as p
from bridge.client import connect
from bridge.process import resident
from tests.fuzz import frames, keys
from tests.kit.patience import PATIENT


def test_malformed_frames_on_every_socket(tmp_path):
    results = frames.campaign(tmp_path, 3000, 5, frames.Timing(1, 0.1))
    assert [result.name for result in results if not result.well] == []
    assert len(results) == len(p.SOCKETS)
    assert all(result.engine.steps > 0 for result in results)


def test_keys_of_strangers(tmp_path):
    assert keys.campaign(tmp_path, 120, 5)


def test_a_message_of_many_parts_is_not_put_together(engine, bridge):
    """Its parts leave the socket one by one: what is kept of it does not grow with it."""
    context = zmq.Context()
    try:
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 20_000)
        socket.connect(p.socket_endpoint(bridge, "orders"))
        for _ in range(3000):
            socket.send(b"x" * 1000, zmq.SNDMORE)
        socket.send(b"")
        answer = codec.decode_server([socket.recv()])
        assert answer.code == "bad_message"
        assert "not 7" in answer.message
    finally:
        context.destroy(0)


def test_unfinished_messages_disturb_nobody(engine, bridge):
    context = zmq.Context()
    before = resident()
    try:
        sockets = [context.socket(zmq.DEALER) for _ in range(5)]
        for socket in sockets:
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(p.socket_endpoint(bridge, "orders"))
            for _ in range(100):
                socket.send(b"x" * 10_000, zmq.SNDMORE)
        with connect(bridge, role="trader", strategy_id="ext", **PATIENT) as client:
            number = client.submit("BTCUSDT", "buy", 100.0, 0.001)
            assert client.wait_order(number, timeout=10).status == "NEW"
    finally:
        context.destroy(0)
    with connect(bridge, **PATIENT) as client:
        assert client.welcome is not None
    time.sleep(0.1)
    assert resident() - before < 64 << 20


@pytest.mark.parametrize("name", ["market", "telemetry"])
def test_a_subscriber_that_sends_a_longer_frame_than_any_topic_is_disconnected(engine, bridge, name):
    context = zmq.Context()
    try:
        socket = context.socket(zmq.XSUB)
        socket.setsockopt(zmq.LINGER, 0)
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        socket.connect(p.socket_endpoint(bridge, name))
        socket.send(b"\x02" + b"x" * (p.MAX_SUBSCRIPTION - 1))
        assert not monitor.poll(200)
        socket.send(b"\x02" + b"x" * p.MAX_SUBSCRIPTION)
        assert monitor.poll(20_000)
        socket.disable_monitor()
    finally:
        context.destroy(0)
