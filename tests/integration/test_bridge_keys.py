"""A bridge with keys: strangers get nothing, roles hold on the wire, a revoked key is out at once."""

import random
import time

import pytest
import zmq

from bridge import codec
from bridge import protocol as p
from bridge.auth import read_key
from bridge.client import connect
from bridge.errors import BridgeError, CommandRefused, ConnectionLost
from bridge.keyring import KeyDir
from bridge.sockets import Doors
from bridge.zap import Zap
from tests.kit.fake_engine import bridge_thread, free_port_base, wait_until
from tests.kit.patience import PATIENT
from tests.kit.strangers import Knock, knock


@pytest.fixture
def keys(tmp_path):
    keys = KeyDir(tmp_path / "keys")
    for name, role in (("adm", "admin"), ("mm", "trader"), ("b", "trader"), ("desk", "risk")):
        keys.make(name, role)
    keys.make("eye", "observer")
    keys.make("old", "admin", out=tmp_path / "old.key")
    keys.revoke("old")
    return keys


@pytest.fixture(params=["ipc", "tcp"])
def guarded(request, engine, tmp_path, keys):
    """A bridge with keys over ipc or tcp; its endpoint."""
    endpoint = f"tcp://127.0.0.1:{free_port_base()}" if request.param == "tcp" else f"ipc://{tmp_path}/s"
    with bridge_thread(engine.config(endpoint, keys=str(keys.path), grace_s=60.0, **PATIENT)):
        wait_until(lambda: engine.commands and not any(len(ring) for ring in engine.rings.values()))
        yield endpoint


def client(guarded, keys, name, role, **options):
    return connect(guarded, role=role, key_file=keys.key_file(name), **PATIENT | options)


def test_strangers_get_not_one_byte(engine, guarded, keys, tmp_path):
    heard = []
    with client(guarded, keys, "adm", "admin") as admin:
        admin.on_message = lambda topic, message: heard.append(topic)
        admin.subscribe(p.STATUS_TOPIC)
        known, revoked = read_key(keys.key_file("adm")), [read_key(tmp_path / "old.key")]
        done = knock(guarded, random.Random(5), 200, known, revoked, between=engine.status)
        assert done.refused.total() == 200
        wait_until(lambda: len(heard) > 3)
        assert admin.pause().success


def test_who_gets_in_is_noticed(engine, guarded, keys):
    context = zmq.Context()
    try:
        good = Knock(context, guarded, "orders", "unknown", read_key(keys.key_file("eye")))
        with pytest.raises(BridgeError, match="let somebody in"):
            wait_until(lambda: good.look())
    finally:
        context.destroy(0)


def test_roles_hold_on_the_wire(engine, guarded, keys):
    with (
        client(guarded, keys, "mm", "trader", strategy_id="mm") as mm,
        client(guarded, keys, "b", "trader", strategy_id="b") as other,
        client(guarded, keys, "desk", "risk") as desk,
        client(guarded, keys, "eye", "observer") as eye,
    ):
        seen = {name: [] for name in ("other", "eye")}
        for name, one in (("other", other), ("eye", eye)):
            one.on_message = lambda topic, message, name=name: seen[name].append(topic)
            one.subscribe(p.ORDERS_TOPIC, p.STATUS_TOPIC, p.depth_topic("BTCUSDT"))
        wait_until(lambda: len(set(seen["eye"])) == 3)
        number = mm.submit("BTCUSDT", "buy", 100.0, 0.001)
        assert mm.wait_order(number, timeout=10).status == "NEW"
        engine.status()
        engine.status()
        wait_until(lambda: seen["eye"].count(p.ORDERS_TOPIC) > 1 and seen["other"].count(p.STATUS_TOPIC) > 2)
        assert p.ORDERS_TOPIC not in seen["other"]
        other.cancel_all()
        errors = []
        other.on_error = errors.append
        other.cancel(number)
        wait_until(lambda: any(error.code == "unknown_order" for error in errors))
        assert len(engine.orders) == 1
        assert desk.kill("mm").success
        with pytest.raises(CommandRefused, match="role risk may not send Rearm"):
            desk.rearm("1f3a9c07")
        with pytest.raises(CommandRefused, match="observer has no control socket"):
            eye.pause()
    for name, role, strategy in (("mm", "admin", ""), ("b", "trader", "mm"), ("desk", "admin", "")):
        with (
            pytest.raises(CommandRefused, match="forbidden"),
            client(guarded, keys, name, role, strategy_id=strategy),
        ):
            pass


def test_a_revoked_key_is_out_at_once_and_nobody_else(engine, guarded, keys):
    heard, lost = [], []
    with (
        client(guarded, keys, "mm", "trader", strategy_id="mm") as mm,
        client(guarded, keys, "b", "trader", strategy_id="b") as other,
        client(guarded, keys, "eye", "observer") as eye,
    ):
        number = mm.submit("BTCUSDT", "buy", 100.0, 0.001)
        assert mm.wait_order(number, timeout=10).status == "NEW"
        for one, into in ((mm, lost), (eye, heard)):
            one.on_message = lambda topic, message, into=into: into.append(message)
            one.subscribe(p.STATUS_TOPIC)
        wait_until(lambda: heard and lost)
        engine.status()
        wait_until(lambda: len(heard) == 2 and len(lost) == 2)
        # It is made new at the same moment, and is not to be taken for it.
        file = keys.key_file("mm").read_text()
        keys.revoke("mm")
        wait_until(lambda: mm.state != "connected")
        assert "revoked" in mm.detail
        wait_until(lambda: not engine.orders)
        wait_until(lambda: engine.strategies["mm"].state == "Stopped")
        for _ in range(3):
            engine.status()
        wait_until(lambda: len(heard) >= 5)
        assert len(lost) == 2
        assert [message.seq for message in heard[1:]] == list(
            range(heard[1].seq, heard[1].seq + len(heard) - 1)
        )
        assert other.state == "connected"
        assert other.wait_order(other.submit("BTCUSDT", "buy", 99.0, 0.001), timeout=10).status == "NEW"
        old = keys.path / "kept.key"
        old.write_text(file)
        old.chmod(0o600)
        keys.make("mm", "trader")
        late = connect(guarded, key_file=old, **PATIENT)
        late.start()
        with pytest.raises(ConnectionLost):
            late.connected(timeout=0.5)
        late.close()
        with client(guarded, keys, "mm", "trader", strategy_id="mm") as again:
            assert again.state == "connected"


def test_an_open_connection_of_a_revoked_key_says_nothing_any_more(engine, guarded, keys):
    """The socket itself stays connected; what it sends is dropped without an answer."""
    context = zmq.Context()
    try:
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        read_key(keys.key_file("eye")).use(socket)
        socket.connect(p.socket_endpoint(guarded, "orders"))
        socket.send(codec.encode(p.Hello(1, "raw", "observer")))
        assert type(codec.decode_server([socket.recv()])) is p.Welcome
        keys.revoke("eye")
        assert codec.decode_server([socket.recv()]) == p.Goodbye("the key is revoked")
        for message in (p.Heartbeat(1), p.Hello(1, "raw", "observer"), p.SnapshotRequest(1, "md.")):
            socket.send(codec.encode(message))
        socket.send(b"\xc1")
        with client(guarded, keys, "adm", "admin") as admin:
            assert admin.query_status().success
        assert not socket.poll(100)
    finally:
        context.destroy(0)


def break_guard(monkeypatch):
    monkeypatch.setattr("bridge.zap.guard", lambda socket, keyring: None)


def break_judge(monkeypatch):
    monkeypatch.setattr(Zap, "_judge", lambda self, frames: [b"200", b"OK", b"x", b""])


def break_one_socket(monkeypatch):
    make = Doors._make

    def without(self, kind, name):
        keyring = self.keyring
        self.keyring = None if name == "telemetry" else keyring
        try:
            return make(self, kind, name)
        finally:
            self.keyring = keyring

    monkeypatch.setattr(Doors, "_make", without)


def break_domain(monkeypatch):
    def without(socket, keyring):
        socket.curve_server = True
        socket.curve_secretkey = keyring.secret.encode()

    monkeypatch.setattr("bridge.zap.guard", without)
    monkeypatch.setattr("bridge.zap.ADDRESS", "inproc://elsewhere")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (break_guard, "let somebody in"),
        (break_judge, "let somebody in"),
        (break_one_socket, "telemetry.sock: let somebody in"),
        (break_domain, "let somebody in"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_a_bridge_whose_lock_does_not_work_does_not_run(engine, endpoint, keys, monkeypatch, fault, said):
    from bridge.server import run_bridge

    fault(monkeypatch)
    ready = []
    with pytest.raises(BridgeError, match=said):
        run_bridge(
            engine.config(endpoint, keys=str(keys.path)), stop=lambda: True, ready=lambda: ready.append(1)
        )
    assert not ready


def test_keys_that_cannot_be_used_keep_the_bridge_from_running(engine, endpoint, keys):
    from bridge.server import run_bridge

    keys.server_file.chmod(0o644)
    with pytest.raises(BridgeError, match="chmod 600"):
        run_bridge(engine.config(endpoint, keys=str(keys.path)), stop=lambda: True)


def test_subscriptions_without_end_cost_a_reconnect_and_no_memory(engine, bridge):
    rng = random.Random(3)
    context = zmq.Context()
    heard = []
    try:
        with connect(bridge, **PATIENT) as client:
            client.on_message = lambda topic, message: heard.append(message)
            client.subscribe(p.STATUS_TOPIC, p.trade_topic("BTCUSDT"))
            wait_until(lambda: len(heard) == 2)
            for name in ("telemetry", "market"):
                flood = context.socket(zmq.XSUB)
                flood.setsockopt(zmq.LINGER, 0)
                flood.setsockopt(zmq.RECONNECT_IVL, -1)
                monitor = flood.get_monitor_socket(zmq.EVENT_DISCONNECTED)
                flood.connect(p.socket_endpoint(bridge, name))
                deadline = time.monotonic() + 30
                while not monitor.poll(0):
                    assert time.monotonic() < deadline
                    for _ in range(50):
                        flood.send(b"\x01" + rng.randbytes(200))
                flood.disable_monitor()
                monitor.close(0)
                flood.close(0)
            before = len(heard)
            engine.trade("BTCUSDT", "buy", 100.0, 0.001)
            engine.status()
            wait_until(lambda: len(heard) == before + 2)
    finally:
        context.destroy(0)


def test_who_floods_with_a_key_stays_outside(engine, guarded, keys):
    context = zmq.Context()
    heard = []
    try:
        with client(guarded, keys, "adm", "admin") as admin:
            admin.on_message = lambda topic, message: heard.append(message)
            admin.subscribe(p.STATUS_TOPIC)
            wait_until(lambda: heard)
            flood = context.socket(zmq.XSUB)
            flood.setsockopt(zmq.LINGER, 0)
            read_key(keys.key_file("eye")).use(flood)
            events = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_DISCONNECTED
            monitor = flood.get_monitor_socket(events)
            flood.connect(p.socket_endpoint(guarded, "telemetry"))
            for number in range(2000):
                flood.send(b"\x01" + number.to_bytes(4, "big") * 60)
            # It comes back by itself, with all that it had subscribed to, and does not get in.
            seen = 0
            while seen != zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                assert monitor.poll(20_000)
                seen = int.from_bytes(monitor.recv_multipart()[0][:2], "little")
            before = len(heard)
            engine.status()
            wait_until(lambda: len(heard) > before)
            flood.disable_monitor()
            monitor.close(0)
    finally:
        context.destroy(0)


def test_a_port_that_is_not_loopback_needs_keys(engine, keys):
    from bridge.endpoints import check_endpoint

    endpoint = f"tcp://192.0.2.1:{free_port_base()}"
    with pytest.raises(BridgeError, match="ringbook keys make"):
        check_endpoint(endpoint)
    check_endpoint(endpoint, keyed=True)
