import asyncio
import contextlib

import pytest

from bridge import protocol as p
from bridge.aioclient import ConnectionState
from bridge.errors import CommandRefused, ConnectionLost, NotDurable, RequestTimeout
from tests.kit.tui_app import until
from tests.kit.tui_feed import Clock, status, strategy, welcome
from tui import link as link_module
from tui.actions import cancel_orders, emergency_stop, pause, resume, update_param
from tui.link import Link
from tui.model import Connection, Outcome
from tui.store import Store


class FakeClient:
    """As much of the bridge's client as the link uses."""

    def __init__(self, endpoint, **options):
        self.endpoint, self.options = endpoint, options
        self.state = ConnectionState.CONNECTING
        self.welcome = None
        self.topics = set()
        self.subscriptions = []
        self.calls = []
        self.result = None
        self.closed = self.started = False
        self.on_state = self.on_message = None

    def start(self):
        self.loop = asyncio.get_running_loop()
        self.started = True

    async def close(self, reason=""):
        self.closed = True

    def subscribe_telemetry(self):
        self.subscribe(*p.TELEMETRY_TOPICS)

    def subscribe(self, *topics):
        self.topics |= set(topics)
        self.subscriptions += topics

    def unsubscribe(self, *topics):
        self.topics -= set(topics)

    def become(self, state, detail=""):
        """Changes state in the link's thread, as a client does, and waits for it."""

        async def change():
            self.state = state
            self.on_state(state, detail)

        self.run(change())

    def say(self, topic, *messages):
        """Delivers messages in the link's thread."""

        async def deliver():
            for message in messages:
                self.on_message(topic, message)

        self.run(deliver())

    def run(self, coroutine):
        asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(5)

    def connect(self, epoch=1):
        self.welcome = welcome(epoch=epoch)
        self.become(ConnectionState.CONNECTED, "demo")

    def __getattr__(self, name):
        async def method(**fields):
            self.calls.append((name, fields))
            if isinstance(self.result, Exception):
                raise self.result
            return self.result

        if name not in ("pause", "resume", "emergency_stop", "cancel_orders", "update_params"):
            raise AttributeError(name)
        return method


@pytest.fixture
async def linked():
    """A running link, its store and the clients it has made."""
    clients = []
    store = Store(clock=Clock())

    def make(endpoint, **options):
        clients.append(FakeClient(endpoint, **options))
        return clients[-1]

    link = Link(store, "ipc:///x", make)
    task = asyncio.create_task(link.run())
    await until(lambda: clients and clients[0].started)
    yield link, store, clients
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert clients[-1].closed, "a link that ends says goodbye"


def reply(success=True, message="paused", state="Paused", trading="ACTIVE"):
    return p.ControlReply(1, success, message, state, trading, {}, 4711)


async def test_it_connects_as_an_admin_and_feeds_the_store(linked):
    link, store, (client,) = linked
    assert client.endpoint == "ipc:///x"
    assert client.options["role"] == "admin"
    assert set(p.TELEMETRY_TOPICS) <= client.topics
    client.connect()
    link.drain()
    assert store.connection is Connection.CONNECTED
    client.say(p.STATUS_TOPIC, status(0))
    link.drain()
    assert store.status is not None
    message = p.Snapshot(1, p.STRATEGIES_TOPIC, 1, {p.STRATEGIES_TOPIC: 1}, [strategy("mm", "BTCUSDT", 1)])
    client.say(p.STRATEGIES_TOPIC, message)
    link.drain()
    assert list(store.strategies) == ["mm"]


async def test_states_reach_the_store(linked):
    link, store, (client,) = linked
    client.become(ConnectionState.CONNECTING, "no answer to hello")
    link.drain()
    assert store.connection is Connection.CONNECTING
    assert store.connection_detail == "no answer to hello"
    client.connect()
    client.become(ConnectionState.RECONNECTING, "no heartbeat")
    link.drain()
    assert store.connection is Connection.RECONNECTING
    client.connect(epoch=2)
    link.drain()
    assert store.connection is Connection.CONNECTED


def market(client):
    return {topic for topic in client.topics if topic.startswith("md.")}


async def test_one_symbol_is_watched_at_a_time(linked):
    link, _, (client,) = linked
    link.watch("A")
    link.watch("A")
    await until(lambda: market(client) == {"md.A.depth", "md.A.trade"})
    link.watch("B")
    await until(lambda: market(client) == {"md.B.depth", "md.B.trade"})
    link.watch("")
    await until(lambda: not market(client))


async def test_a_screen_that_does_not_keep_up_begins_again_with_snapshots(linked, monkeypatch):
    monkeypatch.setattr(link_module, "INBOX", 100)
    link, store, (client,) = linked
    link.watch("A")
    client.connect()
    await until(lambda: market(client))
    client.subscriptions.clear()
    client.say(p.STATUS_TOPIC, *(status(step) for step in range(101)))
    await until(lambda: client.subscriptions)
    assert set(client.subscriptions) == {*p.TELEMETRY_TOPICS, "md.A.depth", "md.A.trade"}
    link.drain()
    assert store.connection is Connection.CONNECTED, "what happened to the connection is never forgotten"
    assert store.status is None
    client.say(p.STATUS_TOPIC, status(200))
    link.drain()
    assert store.status is not None


async def test_a_fault_of_the_thread_is_raised_in_the_screen():
    def broken(endpoint, **options):
        raise RuntimeError("broken")

    link = Link(Store(), "ipc:///x", broken)
    task = asyncio.create_task(link.run())
    await until(lambda: link._inbox)
    with pytest.raises(RuntimeError, match="broken"):
        link.drain()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_final_refusal_is_tried_again_with_a_new_client(linked, monkeypatch):
    monkeypatch.setattr(link_module, "AGAIN_S", 0.0)
    link, store, clients = linked
    link.watch("A")
    clients[0].become(ConnectionState.CLOSED, "client speaks version 1, server 2")
    await until(lambda: len(clients) == 2)
    await until(lambda: clients[1].started)
    assert clients[0].closed
    link.drain()
    assert "server 2" in store.connection_detail
    assert "md.A.depth" in clients[1].topics
    clients[1].connect()
    link.drain()
    assert store.connection is Connection.CONNECTED


@pytest.mark.parametrize(
    ("order", "method", "fields"),
    [
        (pause("mm"), "pause", {"strategy_id": "mm"}),
        (resume(), "resume", {"strategy_id": ""}),
        (cancel_orders("mm"), "cancel_orders", {"strategy_id": "mm"}),
        (emergency_stop(True, False), "emergency_stop", {"cancel_orders": True, "close_position": False}),
        (update_param("mm", "levels", 3), "update_params", {"strategy_id": "mm", "params": {"levels": 3}}),
    ],
)
async def test_orders_become_calls(linked, order, method, fields):
    link, _, (client,) = linked
    client.connect()
    client.result = reply()
    answer = await link.execute(order)
    assert client.calls == [(method, {**fields, "timeout": link_module.ANSWER_S})]
    assert answer.outcome is Outcome.DONE
    assert answer.text == "paused (Paused, trading ACTIVE, step 4711)"


@pytest.mark.parametrize(
    ("result", "outcome", "text"),
    [
        (reply(False, "no such strategy", ""), Outcome.REFUSED, "no such strategy (ACTIVE, step 4711)"),
        (reply(True, "", ""), Outcome.DONE, "done (ACTIVE, step 4711)"),
        (reply(False, "", ""), Outcome.REFUSED, "refused (ACTIVE, step 4711)"),
        (RequestTimeout("no answer in 2 s"), Outcome.UNKNOWN, "outcome unknown: no answer in 2 s"),
        (ConnectionLost("no heartbeat"), Outcome.UNKNOWN, "outcome unknown: no heartbeat"),
        (CommandRefused("engine_timeout: no reply"), Outcome.UNKNOWN, "outcome unknown: engine_timeout"),
        (NotDurable("not_durable: x", "not_durable"), Outcome.UNKNOWN, "outcome unknown: not_durable"),
        (CommandRefused("busy: the ring is full"), Outcome.REFUSED, "busy: the ring is full"),
    ],
)
async def test_what_became_of_a_command_is_never_guessed(linked, result, outcome, text):
    link, _, (client,) = linked
    client.connect()
    client.result = result
    answer = await link.execute(pause("mm"))
    assert answer.outcome is outcome
    assert answer.text.startswith(text)


async def test_nothing_is_sent_without_a_connection(linked):
    link, _, (client,) = linked
    answer = await link.execute(pause())
    assert answer.outcome is Outcome.NOT_SENT
    assert client.calls == []
    idle = Link(Store(), "ipc:///x", FakeClient)
    assert (await idle.execute(pause())).outcome is Outcome.NOT_SENT
