"""The subscriber's half of a session: streams kept whole, books, and who consumes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from bridge import codec
from bridge import protocol as p
from bridge.books import Book
from bridge.streams import Stream
from bridge.transport import ConnectionState, Sink, Transport


class Connection(Protocol):
    """What subscriptions need of the session that they are a part of."""

    transport: Transport
    channels: tuple[str, ...]
    state: ConnectionState
    on_message: Callable[[str, Any], Any]

    def new_id(self) -> int:
        """A request id that was not used before."""

    def notify(self, callback: Callable[..., Any], *values: Any) -> None:
        """Calls a listener; what it raises is logged."""


class Subscriptions:
    """Streams by topic, books by symbol.

    Args:
        connection: Carries requests and answers.
    """

    def __init__(self, connection: Connection) -> None:
        self.streams: dict[str, Stream] = {}
        self.books: dict[str, Book] = {}
        self.mismatches = 0
        self._connection = connection
        self._requests: dict[int, Stream] = {}
        self._sinks: list[Sink] = []

    # --- from the session ------------------------------------------------------------------------

    def tick(self) -> None:
        """One heartbeat interval: repeats what was not answered."""
        for stream in self.streams.values():
            if stream.tick():
                self._ask(stream)

    def message(self, topic: str, message: Any) -> None:
        """Takes what was published: a message, or several."""
        stream = self.streams.get(topic)
        if stream is None:
            return
        if type(message) is not p.Messages:
            self._deliver(stream, stream.message(message))
        else:
            self._deliver(stream, stream.messages(message.messages))

    def answered(self, answer: p.Snapshot | p.Replay) -> None:
        """Takes the answer to a request for a stream."""
        stream = self._requests.pop(answer.request_id, None)
        if stream is not None:
            take = stream.snapshot if type(answer) is p.Snapshot else stream.replay
            self._deliver(stream, take(answer))

    def refused(self, request_id: int) -> bool:
        """Whether a request that was refused was one for a stream."""
        return self._requests.pop(request_id, None) is not None

    def welcomed(self, epoch: int) -> None:
        """A connection began: subscribes again and asks for what was missed."""
        self._requests.clear()
        for topic, stream in self.streams.items():
            self._connection.transport.subscribe(topic, True)
            stream.resume(epoch)
            self._ask(stream)

    def renewed(self, epoch: int) -> None:
        """What waited of the market was thrown away: subscribes to it again and asks for what was missed."""
        self._requests.clear()
        for topic, stream in self.streams.items():
            if topic.startswith("md."):
                self._connection.transport.subscribe(topic, True)
            stream.resume(epoch)
            self._ask(stream)
        self.lost()

    def lost(self) -> None:
        """What comes is not known any more to be all that there is."""
        for book in self.books.values():
            book.stale = True

    # --- from the user ---------------------------------------------------------------------------

    def subscribe(self, topics: Iterable[str]) -> None:
        """Starts streams: subscribed first, then a snapshot, then what follows it."""
        for topic in topics:
            if topic in self.streams:
                continue
            stream = self.streams[topic] = Stream(topic)
            if topic.startswith("md.") and topic.endswith(".depth"):
                symbol = topic[3:-6]
                self.books[symbol] = Book(symbol)
            if self._connection.state is ConnectionState.CONNECTED:
                self._connection.transport.subscribe(topic, True)
                self._ask(stream)

    def unsubscribe(self, topics: Iterable[str]) -> None:
        """Ends streams and forgets their books."""
        for topic in topics:
            if self.streams.pop(topic, None) is None:
                continue
            self.books.pop(topic[3:-6], None)
            if self._connection.state is ConnectionState.CONNECTED:
                self._connection.transport.subscribe(topic, False)

    def add_sink(self, sink: Sink) -> None:
        """Adds a consumer; every topic of it begins with a snapshot."""
        self._sinks.append(sink)
        self._restart(sink.topics)
        self.subscribe(sink.topics)

    def remove_sink(self, sink: Sink) -> None:
        """Takes a consumer away; its streams go on."""
        self._sinks.remove(sink)

    def stale(self, topic: str) -> bool:
        """Whether a stream may lack something: not connected, no snapshot yet, or a gap open."""
        stream = self.streams.get(topic)
        return self._connection.state is not ConnectionState.CONNECTED or stream is None or not stream.live

    # --- parts -----------------------------------------------------------------------------------

    def _deliver(self, stream: Stream, messages: Sequence[Any]) -> None:
        connection, topic = self._connection, stream.topic
        book = self.books.get(topic[3:-6]) if topic.endswith(".depth") else None
        for place, message in enumerate(messages):
            right = True
            if book is not None:
                if type(message) is p.Snapshot:
                    right = all(self._apply(book, depth) for depth in message.messages)
                else:
                    right = self._apply(book, message)
            connection.notify(connection.on_message, topic, message)
            if self._sinks:
                self._fill_sinks(topic, message)
            if not right:
                # Ours is wrong, whoever is to blame: nothing more comes before a whole one.
                stream.restart()
                stream.messages(messages[place + 1 :])
                break
        if book is not None:
            book.stale = not stream.live
        if stream.want is not None and not stream.request_id:
            self._ask(stream)

    def _apply(self, book: Book, depth: p.Depth) -> bool:
        """Applies a message; False if the book is not as the message says that it is now."""
        book.apply(depth)
        if depth.checksum and depth.checksum != book.checksum():
            self.mismatches += 1
            return False
        return True

    def _fill_sinks(self, topic: str, message: Any) -> None:
        for sink in self._sinks:
            if topic in sink.topics and not sink.put(message):
                # A consumer that cannot keep up starts again from what is, not from where it stopped.
                sink.clear()
                self._restart(sink.topics)

    def _restart(self, topics: Iterable[str]) -> None:
        for topic in topics:
            stream = self.streams.get(topic)
            if stream is not None:
                stream.restart()
                self._ask(stream)

    def _ask(self, stream: Stream) -> None:
        if stream.want is None or self._connection.state is not ConnectionState.CONNECTED:
            return
        for old in [i for i, asking in self._requests.items() if asking is stream]:
            del self._requests[old]
        request_id = self._connection.new_id()
        request = (
            p.SnapshotRequest(request_id, stream.topic)
            if stream.want.kind == "snapshot"
            else p.ReplayRequest(request_id, stream.topic, stream.want.from_seq)
        )
        self._requests[request_id] = stream
        stream.asked(request_id)
        self._connection.transport.send(self._connection.channels[0], codec.encode(request))
