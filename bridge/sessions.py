"""Who is connected: hello, roles, heartbeats and goodbyes on the order and the control socket."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from bridge import codec
from bridge import protocol as p
from bridge.errors import ProtocolError
from bridge.external import Peer
from bridge.publisher import Publisher
from bridge.roles import OWN_PROCESS, Grant, may

MAX_PEERS = 1024
"""Sessions that the bridge keeps at once; more are told to come back."""
MAX_PEERS_A_KEY = 64
"""Sessions of one key, so that none takes all places."""
WATCHER_PATIENCE = 10
"""How many times longer a session that owns no strategy may be silent: no order hangs on its end."""
SILENT, DEAD = "missed heartbeats", "its process has ended"
LOST = frozenset({SILENT, DEAD})
"""Ends of which the session's own policy says what they mean for its orders."""
TICKS_PER_BEAT = 4
"""How finely silence is counted: a client that stops is found out within a quarter of an interval."""
_OURS = frozenset({p.Heartbeat, p.Goodbye, p.SnapshotRequest, p.ReplayRequest, p.WaitDurable})
_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")


class Sessions:
    """The sessions of both sockets, and the questions that both may ask.

    Args:
        publisher: Answers snapshot and replay requests.
        welcome: Makes the welcome of a session.
        send: Sends (channel, identity, frame) without waiting.
        heartbeat_misses: Silent ticks after which a client counts as gone.
    """

    def __init__(
        self,
        publisher: Publisher,
        welcome: Callable[[Peer], p.Welcome],
        send: Callable[[str, bytes, bytes], None],
        heartbeat_misses: int,
    ) -> None:
        self.peers: dict[tuple[str, bytes], Peer] = {}
        self.counts: Counter[str] = Counter()
        self.heartbeat_misses = heartbeat_misses
        # Set by the server: what hello on the order socket and every other message lead to.
        self.on_trader: Callable[[Peer], None] = lambda peer: None
        self.on_message: dict[str, Callable[[Peer, Any], None]] = {}
        self.on_gone: Callable[[Peer, str], None] = lambda peer, why: None
        self.on_wait: Callable[[Peer, p.WaitDurable], None] = lambda peer, message: None
        self.on_refused: Callable[[str, p.Hello, Grant, str, str], None] = lambda *_: None
        self.longest: Callable[[bytes], int] = lambda identity: p.MAX_SERVER_FRAME
        self.publisher = publisher
        self._welcome = welcome
        self._send = send
        self._number = self._ticks = 0

    def send(self, peer: Peer, message: Any) -> None:
        """Sends a message to a client."""
        self._send(peer.channel, peer.identity, codec.encode(message))

    def send_frame(self, peer: Peer, frame: bytes) -> None:
        """Sends a message that is encoded already."""
        self._send(peer.channel, peer.identity, frame)

    def welcome(self, peer: Peer) -> None:
        """Makes a session live and says so, unless it has ended meanwhile."""
        if self.peers.get((peer.channel, peer.identity)) is not peer:
            return
        peer.live = True
        peer.misses = 0
        self.send(peer, self._welcome(peer))
        self._count()

    def rejoin(self, peer: Peer) -> None:
        """Takes up a trader's hello that had to wait, if its client still does."""
        if self.peers.get((peer.channel, peer.identity)) is peer:
            self.on_trader(peer)

    def leave(self, peer: Peer) -> None:
        """Ends a connection whose session goes on over another one."""
        self.peers.pop((peer.channel, peer.identity), None)
        peer.live = False
        peer.external = None

    def held(self, session: str) -> bool:
        """Whether a leash may hold a session now."""
        return self._trader(session) is not None

    def lost(self, session: str) -> None:
        """The process that held a session's leash is dead."""
        peer = self._trader(session)
        if peer is not None:
            self._gone(peer, DEAD)

    def _trader(self, session: str) -> Peer | None:
        return next((i for i in self.peers.values() if i.live and i.external and i.session == session), None)

    def refuse(self, peer: Peer, code: str, message: str) -> None:
        """Ends a session that hello did not make live."""
        self.send(peer, p.Error(code, message))
        self.peers.pop((peer.channel, peer.identity), None)

    def receive(self, channel: str, frames: Sequence[bytes], grant: Grant = OWN_PROCESS) -> None:
        """Takes one message of a ROUTER socket; whatever is in it, this does not raise.

        Args:
            channel: The socket.
            frames: The sender's identity, and what it has sent.
            grant: Whose connection it came over.
        """
        if len(frames) < 2:
            self.counts["bad_message"] += 1
            return
        try:
            decode = codec.decode_client if channel == "orders" else codec.decode_control
            message = decode(frames[1:])
        except ProtocolError as error:
            self._malformed(channel, frames[0], error)
            return
        self._take(channel, frames[0], message, grant)

    def receive_order(self, identity: bytes, frame: bytes) -> None:
        """Takes a message of a lane, as :meth:`receive` takes one of the order socket."""
        try:
            message = codec.decode_order(frame)
        except ProtocolError as error:
            self._malformed("orders", identity, error)
            return
        self._take("orders", identity, message, OWN_PROCESS)

    def _malformed(self, channel: str, identity: bytes, error: ProtocolError) -> None:
        self.counts["bad_message"] += 1
        self._error(channel, identity, "bad_message", str(error)[:1000])

    def _take(self, channel: str, identity: bytes, message: Any, grant: Grant) -> None:
        peer = self.peers.get((channel, identity))
        if peer is not None and peer.grant.key != grant.key:
            # The identity of a connection that has ended, taken by who holds another key.
            self.counts["forbidden"] += 1
            self._error(channel, identity, "forbidden", "the session is another key's", message)
        elif type(message) is p.Hello:
            self._on_hello(channel, identity, message, peer, grant)
        elif peer is None or not peer.live:
            self.counts["hello_first"] += 1
            if peer is None:
                self._error(channel, identity, "hello_first", "say hello first", message)
        else:
            peer.misses = 0
            self._dispatch(peer, message)

    def _dispatch(self, peer: Peer, message: Any) -> None:
        kind = type(message)
        if not may(peer.hello.role, peer.channel, kind):
            self.forbid(peer, message, f"role {peer.hello.role} may not send {kind.__name__}")
        elif kind not in _OURS:
            self.on_message[peer.channel](peer, message)
        elif kind is p.Heartbeat:
            self._beat(peer, message)
        elif kind is p.Goodbye:
            self._gone(peer, "goodbye")
        elif kind in (p.SnapshotRequest, p.ReplayRequest) and not peer.grant.sees(message.topic):
            self.forbid(
                peer, message, f"a {peer.grant.role}'s key does not see {message.topic[: p.MAX_NAME]!r}"
            )
        elif kind is p.SnapshotRequest:
            self._answer(peer, message, self.publisher.snapshot(message))
        elif kind is p.ReplayRequest:
            self._answer(peer, message, self.publisher.replay(message))
        else:
            self.on_wait(peer, message)

    def forbid(self, peer: Peer, message: Any, why: str) -> None:
        """Refuses a message that its sender may not send."""
        self.counts["forbidden"] += 1
        self._error(peer.channel, peer.identity, "forbidden", why, message)
        self.on_refused(peer.channel, peer.hello, peer.grant, type(message).__name__, why)

    def _beat(self, peer: Peer, beat: p.Heartbeat) -> None:
        external = peer.external
        if external is not None and external.intake is not None:
            beat = p.Heartbeat(beat.ts, external.exec_seq, external.intake.received)
        self.send(peer, beat)

    def _answer(self, peer: Peer, request: p.SnapshotRequest | p.ReplayRequest, answer: Any) -> None:
        frame = codec.encode(answer)
        longest = self.longest(peer.identity)
        if len(frame) > longest:
            text = f"{len(frame)} bytes are above {longest}: ask for single topics"
            frame = codec.encode(p.Error("unknown_topic", text, request.request_id))
        self._send(peer.channel, peer.identity, frame)

    def _on_hello(
        self, channel: str, identity: bytes, hello: p.Hello, peer: Peer | None, grant: Grant
    ) -> None:
        refusal = self._check_hello(channel, hello, peer, grant)
        if refusal is not None:
            self.counts[refusal[0]] += 1
            self._error(channel, identity, *refusal)
            if refusal[0] == "forbidden":
                self.on_refused(channel, hello, grant, "Hello", refusal[1])
            return
        self._number += 1
        peer = Peer(channel, identity, hello, f"{self.publisher.epoch:x}-{self._number}", grant)
        self.peers[channel, identity] = peer
        if channel == "orders" and hello.strategy_id:
            self.on_trader(peer)
        else:
            self.welcome(peer)

    def _check_hello(
        self, channel: str, hello: p.Hello, peer: Peer | None, grant: Grant
    ) -> tuple[str, str] | None:
        if hello.version != p.VERSION:
            return "version_mismatch", f"client speaks version {hello.version}, server {p.VERSION}"
        if peer is not None:
            return "bad_hello", "this connection has said hello already"
        if not may(hello.role, channel, p.Hello):
            return "forbidden", f"the {channel} socket is not for role {hello.role}"
        if beyond := grant.refuses(hello):
            return "forbidden", beyond
        if hello.role == "trader" and not hello.strategy_id:
            return "bad_hello", "a trader needs a strategy_id"
        if hello.strategy_id and (channel == "control" or not may(hello.role, channel, p.Submit)):
            return "bad_hello", f"a strategy_id has no use for a {hello.role} on the {channel} socket"
        if hello.strategy_id and not _NAME.fullmatch(hello.strategy_id):
            return "bad_hello", "strategy_id must be 1 to 64 of A-Z a-z 0-9 _ . : / -"
        if len(hello.resume) > p.MAX_NAME:
            return "bad_hello", f"resume is longer than {p.MAX_NAME}"
        wrong = p.wrong_params(hello.params)
        if wrong:
            return "bad_hello", wrong
        if len(self.peers) >= MAX_PEERS:
            return "busy", f"{MAX_PEERS} sessions are open"
        if grant.key and sum(one.grant.key == grant.key for one in self.peers.values()) >= MAX_PEERS_A_KEY:
            return "busy", f"{MAX_PEERS_A_KEY} sessions of key {grant.name!r} are open"
        return None

    def tick(self) -> bool:
        """A part of a heartbeat interval: clients that were silent too long are gone.

        Returns:
            Whether a whole interval has passed.
        """
        for peer in list(self.peers.values()):
            peer.misses += 1
            patience = 1 if peer.hello.strategy_id else WATCHER_PATIENCE
            if peer.live and peer.misses > patience * self.heartbeat_misses * TICKS_PER_BEAT:
                self._gone(peer, SILENT)
        self._ticks += 1
        return self._ticks % TICKS_PER_BEAT == 0

    def end(self, ended: Callable[[Grant], bool], why: str) -> None:
        """Ends the sessions whose key has lost its grant; their strategies lose their clients.

        Args:
            ended: Whether a grant is void.
            why: What those who had it are told.
        """
        for peer in [peer for peer in self.peers.values() if ended(peer.grant)]:
            self.send(peer, p.Goodbye(why))
            self._gone(peer, why)

    def close(self, reason: str) -> None:
        """Says goodbye to everybody."""
        for peer in self.peers.values():
            self.send(peer, p.Goodbye(reason))
        self.peers.clear()

    def _gone(self, peer: Peer, why: str) -> None:
        self.peers.pop((peer.channel, peer.identity), None)
        peer.live = False
        self._count()
        self.on_gone(peer, why)

    def _count(self) -> None:
        self.publisher.sessions = sum(peer.live for peer in self.peers.values())

    def _error(self, channel: str, identity: bytes, code: str, text: str, message: Any = None) -> None:
        error = p.Error(code, text, getattr(message, "request_id", 0), getattr(message, "client_order_id", 0))
        self._send(channel, identity, codec.encode(error))
