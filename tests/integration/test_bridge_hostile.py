"""Hostile clients on raw sockets: whatever they send, the bridge answers, drops and counts, and goes on."""

import random

import msgspec
import pytest
import zmq

from bridge import codec
from bridge import protocol as p
from bridge.client import connect
from bridge.config import BridgeConfig
from bridge.endpoints import check_endpoint
from bridge.errors import BridgeError
from bridge.stamps import Stamper
from tests.kit.patience import PATIENT

NESTED = b"\x91" * 20_000 + b"\xc0"


@pytest.fixture
def raw(bridge):
    """Makes raw sockets of one of the bridge's endpoints."""
    context = zmq.Context()

    def make(channel="orders", kind=zmq.DEALER):
        socket = context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVTIMEO, 5000)
        socket.connect(p.socket_endpoint(bridge, channel))
        return socket

    yield make
    context.destroy(0)


def ask(socket, message):
    socket.send(message if isinstance(message, bytes) else codec.encode(message))
    return codec.decode_server([socket.recv()])


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\xc1",
        b"hello",
        NESTED,
        msgspec.msgpack.encode(["Hello", 1]),
        msgspec.msgpack.encode(["Submit", "one", "BTCUSDT", "buy", 1.0, 1.0]),
        msgspec.msgpack.encode(["Submit", 2**64 - 1, "BTCUSDT", "buy", 1.0, 1.0]),
        msgspec.msgpack.encode(["Submit", 1, "BTC USDT\n", "buy", 1.0, 1.0]),
        msgspec.msgpack.encode(["Submit", 1, "BTCUSDT", "both", 1.0, 1.0]),
        msgspec.msgpack.encode(["Welcome", 1, 1, "", "", "", "PAPER", "", []]),
        msgspec.msgpack.encode(["Pause", 1, "x"]),
        msgspec.msgpack.encode({"type": "Hello"}),
        msgspec.msgpack.encode(["Hello", 1, "x" * 65, "observer"]),
        msgspec.msgpack.encode(["Hello", 1, "x", "root"]),
        msgspec.msgpack.encode(["Cancel", msgspec.msgpack.Ext(5, b"x" * 100)]),
    ],
    ids=range(15),
)
def test_bad_frames_are_answered(raw, frame):
    socket = raw()
    answer = ask(socket, frame)
    assert (type(answer), answer.code) == (p.Error, "bad_message")
    welcome = ask(socket, p.Hello(1, "raw", "observer"))
    assert type(welcome) is p.Welcome


def test_hello_comes_first_and_once(raw):
    socket = raw()
    answer = ask(socket, p.SnapshotRequest(5, "md."))
    assert (answer.code, answer.request_id) == ("hello_first", 5)
    answer = ask(socket, p.Cancel(6))
    assert (answer.code, answer.client_order_id) == ("hello_first", 6)
    assert type(ask(socket, p.Hello(1, "raw", "observer"))) is p.Welcome
    assert ask(socket, p.Hello(1, "raw", "observer")).code == "bad_hello"
    assert ask(socket, p.Hello(2, "raw", "observer")).code == "version_mismatch"
    assert ask(socket, p.Heartbeat(77)) == p.Heartbeat(77)
    assert ask(raw("control"), p.Hello(1, "raw", "trader", "x")).code == "forbidden"
    assert ask(raw("control"), p.Hello(1, "raw", "observer")).code == "forbidden"
    assert ask(raw("control"), p.Pause(9)).code == "hello_first"


def test_parameters_are_plain_and_finite(raw):
    for params in ({"a": [1]}, {"a": float("nan")}, {"": 1}, {"a": 2**63}, {str(i): i for i in range(300)}):
        assert ask(raw(), p.Hello(1, "raw", "trader", "x", [], params)).code == "bad_hello"
    control, stamper = raw("control"), Stamper()
    stamper.welcome(ask(control, p.Hello(1, "raw", "admin")))
    for params in ({}, {"a": None}, {"a": {"b": 1}}, {"a": float("inf")}, {"a": "x" * 5000}):
        answer = ask(control, stamper.stamp(p.UpdateParams(3, "mm", params)))
        assert (answer.code, answer.request_id) == ("invalid_params", 3)


def test_shapes_of_multipart_messages(raw, bridge):
    socket = raw()
    socket.send_multipart([b"", codec.encode(p.Hello(1, "raw", "observer"))])
    assert codec.decode_server([socket.recv()]).code == "bad_message"
    socket.send_multipart([b"x"] * 500)
    assert codec.decode_server([socket.recv()]).code == "bad_message"
    request = raw(kind=zmq.REQ)
    request.send(codec.encode(p.Hello(1, "raw", "observer")))
    with connect(bridge, **PATIENT) as client:
        assert client.welcome is not None


def test_frames_beyond_the_limit_end_their_connection(raw, bridge):
    socket = raw()
    monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    socket.send(b"x" * (p.MAX_FRAME + 1))
    assert monitor.poll(5000)
    socket.disable_monitor()
    monitor.close(0)
    with connect(bridge, **PATIENT) as client:
        assert client.welcome is not None


def test_a_storm_of_noise_leaves_a_trader_alone(raw, engine, bridge):
    rng = random.Random(11)
    with connect(bridge, role="trader", strategy_id="ext", **PATIENT) as client:
        sockets = [raw(channel) for channel in ("orders", "control") for _ in range(3)]
        for _ in range(1500):
            rng.choice(sockets).send(rng.randbytes(rng.randrange(1, 200)))
        number = client.submit("BTCUSDT", "buy", 100.0, 0.001)
        assert client.wait_order(number, timeout=10).status == "NEW"
        assert len(engine.orders) == 1


def test_a_client_drops_what_a_hostile_server_sends(tmp_path):
    base = f"ipc://{tmp_path}"
    with zmq.Context() as context:
        router = context.socket(zmq.ROUTER)
        router.setsockopt(zmq.LINGER, 0)
        router.setsockopt(zmq.RCVTIMEO, 5000)
        router.bind(p.socket_endpoint(base, "orders"))
        from bridge.client import Client

        client = Client(base, **PATIENT)
        client.start()
        identity, _hello = router.recv_multipart()
        noise = [b"", NESTED, b"\xc1", msgspec.msgpack.encode(["Submit", 1, "X", "buy", 1.0, 1.0])]
        for frame in noise:
            router.send_multipart([identity, frame])
        welcome = p.Welcome(1, 5, "s", f"{base}/m", f"{base}/t", "PAPER", "e", [])
        router.send_multipart([identity, codec.encode(welcome)])
        assert client.connected() == welcome
        assert client._session.bad_messages == len(noise)
        client.close()
        router.close(0)


@pytest.mark.parametrize("host", ["192.168.1.5", "10.0.0.1", "example.com", "8.8.8.8", "[2001:db8::1]"])
def test_only_loopback_without_keys(host):
    with pytest.raises(BridgeError, match=r"bridge\.keys"):
        check_endpoint(f"tcp://{host}:7400")
    check_endpoint(f"tcp://{host}:7400", keyed=True)


@pytest.mark.parametrize("endpoint", ["tcp://*:7400", "tcp://0.0.0.0:7400", "tcp://[::]:7400"])
def test_wildcards_are_never_taken(endpoint):
    with pytest.raises(BridgeError, match="name one address"):
        check_endpoint(endpoint, keyed=True)


@pytest.mark.parametrize(
    "endpoint", ["", "udp://x", "tcp://127.0.0.1", "tcp://:1", "tcp://127.0.0.1:65535", "/tmp"]
)
def test_other_endpoints_are_refused(endpoint):
    with pytest.raises(BridgeError, match="expected"):
        check_endpoint(endpoint)


def test_an_open_directory_is_refused(engine, tmp_path):
    from bridge.server import run_bridge

    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    config: BridgeConfig = engine.config(f"ipc://{folder}")
    with pytest.raises(BridgeError, match="chmod 700"):
        run_bridge(config, stop=lambda: True)
    folder.chmod(0o700)
    run_bridge(config, stop=lambda: True)


def test_a_taken_port_is_refused(engine, bridge, tmp_path):
    from bridge.server import run_bridge
    from tests.kit.fake_engine import free_port_base

    base = free_port_base()
    with zmq.Context() as context, context.socket(zmq.ROUTER) as other:
        other.setsockopt(zmq.LINGER, 0)
        other.bind(f"tcp://127.0.0.1:{base + 2}")
        with pytest.raises(BridgeError, match="in use"):
            run_bridge(engine.config(f"tcp://127.0.0.1:{base}"), stop=lambda: True)
