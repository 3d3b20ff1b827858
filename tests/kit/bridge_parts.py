"""A bridge's parts without sockets and rings, put together as the server does."""

import msgspec

from bridge import codec, records
from bridge import protocol as p
from bridge.control import Control
from bridge.intake import Intakes
from bridge.publisher import Publisher
from bridge.roles import OWN_PROCESS
from bridge.router import Router
from bridge.sessions import LOST, Sessions
from bridge.stamps import server_clock

INSTRUMENTS = [
    p.InstrumentInfo("BTCUSDT", 0.1, 0.001, 1.0, "linear"),
    p.InstrumentInfo("ETH", 0.01, 0.01, 1.0, "linear"),
]


class Link:
    """Rings that only remember."""

    def __init__(self):
        self.full = False
        self.orders, self.signals, self.commands = [], [], []

    def order(self, *values, **fields):
        if not self.full:
            self.orders.append((values, fields))
        return not self.full

    def signal(self, slot, message):
        self.signals.append((slot, message))
        return not self.full

    def control(self, message):
        if not self.full:
            self.commands.append(message)
        return not self.full


class Parts:
    """A server's parts, put together as the server does."""

    def __init__(self, misses=3, intakes=None):
        self.sent, self.published = [], []
        self.counter = 0
        self.link = Link()
        self.publisher = Publisher(5, "e", "PAPER", INSTRUMENTS, lambda t, f: self.published.append((t, f)))
        self.sessions = Sessions(self.publisher, self.welcome, self.send, misses)
        self.control = Control(self.link, self.sessions, 5000)
        self.intakes = intakes or Intakes()
        self.router = Router(self.link, self.sessions, self.control, 5, INSTRUMENTS, 10, self.intakes)
        self.sessions.on_trader = self.router.join
        self.sessions.on_message = {"orders": self.router.requests.message, "control": self.control.message}
        self.sessions.on_gone = lambda peer, why: self.router.gone(peer, why in LOST)
        self.restart()
        self.publisher.subscribed("md.", True)

    def welcome(self, peer):
        return p.Welcome(1, 5, peer.session, "m", "t", "PAPER", "e", INSTRUMENTS)

    def send(self, channel, identity, frame):
        self.sent.append((identity, codec.decode_server([frame])))

    def stamped(self, message, identity=b"a", channel="orders"):
        """A command with the next stamp of its session; any other message as it is."""
        peer = self.sessions.peers.get((channel, identity))
        if peer is None or getattr(message, "stamp", 0) is not None:
            return message
        self.counter += 1
        stamp = p.Stamp(peer.stamps.nonce, self.counter, server_clock() + 10**9)
        return msgspec.structs.replace(message, stamp=stamp)

    def tell(self, message, identity=b"a", channel="orders", grant=OWN_PROCESS):
        message = self.stamped(message, identity, channel)
        self.sessions.receive(channel, [identity, codec.encode(message)], grant)
        return self.sent[-1][1] if self.sent else None

    def reply(self, **fields):
        values = {"request_id": self.link.commands[-1]["request_id"], "success": True}
        self.control.reply(records.ReplyBlob(**values | fields), 7)
        return self.sent[-1][1] if self.sent else None

    def trader(self, identity=b"a", name="mm", slot=3, grant=OWN_PROCESS):
        self.tell(p.Hello(1, "c", "trader", name), identity, grant=grant)
        assert type(self.reply(slot=slot)) is p.Welcome

    def restart(self, *blobs):
        """The engine tells everything: these strategies by slot."""
        self.router.begin_resync()
        for slot, blob in enumerate(blobs):
            self.router.strategy(slot, blob)
        self.router.end_resync()

    def tick(self):
        while not self.sessions.tick():
            pass
        self.control.tick()
        self.router.tick()
