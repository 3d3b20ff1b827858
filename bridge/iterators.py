"""Iterators of the two clients: streams begin with a snapshot of each topic, executions with the next one."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from bridge.errors import ExecutionsDropped
from bridge.subscriptions import Subscriptions
from bridge.transport import Sink

QUEUE = 100_000
"""Messages that an iterator holds for a slow consumer before it starts again from a snapshot, and executions
that wait to be taken before the oldest are dropped."""
END = object()
"""What a blocking iterator's queue holds last."""


class Messages:
    """An iterator over the messages of some topics; see :meth:`Client.messages`.

    Args:
        subscriptions: What feeds it.
        topics: Its topics.
        timeout: Seconds of silence that end the iteration; None for none.
        call: Runs a function while nobody else is at the subscriptions.
        opened: The queues of the client's iterators; this one's is there until it is closed.
    """

    def __init__(
        self,
        subscriptions: Subscriptions,
        topics: Iterable[str],
        timeout: float | None,
        call: Callable[[Callable[[], None]], None],
        opened: list[queue.SimpleQueue[Any]],
    ) -> None:
        self._subscriptions = subscriptions
        self._timeout, self._call, self._opened = timeout, call, opened
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._sink = Sink(frozenset(topics), self._put, self._clear)
        call(lambda: subscriptions.add_sink(self._sink))
        opened.append(self._queue)

    def _put(self, message: Any) -> bool:
        self._queue.put(message)
        return self._queue.qsize() <= QUEUE

    def _clear(self) -> None:
        while not self._queue.empty():
            self._queue.get()

    def close(self) -> None:
        """Ends the iteration; the client's streams go on."""
        if self._queue in self._opened:
            self._opened.remove(self._queue)
            self._call(lambda: self._subscriptions.remove_sink(self._sink))
        self._queue.put(END)

    def __iter__(self) -> Messages:
        return self

    def __next__(self) -> Any:
        try:
            message = self._queue.get(timeout=self._timeout)
        except queue.Empty:
            raise StopIteration from None
        if message is END:
            self._queue.put(END)
            raise StopIteration
        return message


class AsyncMessages:
    """An asynchronous iterator over the messages of some topics; see :meth:`AsyncClient.messages`.

    Args:
        subscriptions: What feeds it.
        topics: Its topics.
        opened: The client's iterators, of which it is one until it is closed.
    """

    def __init__(
        self, subscriptions: Subscriptions, topics: Iterable[str], opened: list[AsyncMessages]
    ) -> None:
        self._subscriptions, self._opened = subscriptions, opened
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        self._sink = Sink(frozenset(topics), self._put, self._clear)
        subscriptions.add_sink(self._sink)
        opened.append(self)

    def _put(self, message: Any) -> bool:
        self._queue.put_nowait(message)
        return self._queue.qsize() <= QUEUE

    def _clear(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()

    def close(self) -> None:
        """Ends the iteration; the client's streams go on."""
        if self in self._opened:
            self._opened.remove(self)
            self._subscriptions.remove_sink(self._sink)
        self._queue.put_nowait(END)

    def __aiter__(self) -> AsyncMessages:
        return self

    async def __anext__(self) -> Any:
        message = await self._queue.get()
        if message is END:
            self._queue.put_nowait(END)
            raise StopAsyncIteration
        return message


class Backlog:
    """The own executions that nobody has taken, the last ones of very many.

    Attributes:
        dropped: How many were dropped.

    Args:
        most: How many wait at most.
    """

    def __init__(self, most: int = QUEUE) -> None:
        self.dropped = 0
        self._most, self._told = most, 0
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._held: deque[Any] = deque()

    def put(self, execution: Any) -> None:
        """Adds one; the oldest goes if there is no room."""
        if self._queue.qsize() >= self._most and execution is not END:
            # Counted first: who takes what came after the gap already sees it.
            self.dropped += 1
            with contextlib.suppress(queue.Empty):
                self._queue.get_nowait()
        self._queue.put(execution)

    def take(self, timeout: float | None) -> Any:
        """Takes the oldest.

        Args:
            timeout: Seconds; None waits for ever, 0 not at all.

        Raises:
            queue.Empty: There is none in time.
            ExecutionsDropped: Some are missing since the last one.
        """
        if self._held:
            return self._held.popleft()
        execution = self._queue.get(timeout != 0, timeout)
        if missing := self.dropped - self._told:
            self._told += missing
            self._held.append(execution)
            raise ExecutionsDropped(missing, self._most)
        return execution


class AsyncExecutions:
    """An asynchronous iterator over own executions; see :meth:`AsyncClient.executions`.

    Attributes:
        dropped: How many were dropped because too many waited.

    Args:
        opened: The client's readers of executions, of which it is one until it is closed.
        most: How many wait at most.
    """

    def __init__(self, opened: list[AsyncExecutions], most: int = QUEUE) -> None:
        self.dropped = 0
        self._opened, self._most, self._told = opened, most, 0
        self._queue: asyncio.Queue[Any] = asyncio.Queue()
        opened.append(self)

    def put(self, execution: Any) -> None:
        """Adds one; the oldest goes if there is no room."""
        if self._queue.qsize() >= self._most and execution is not END:
            self.dropped += 1
            self._queue.get_nowait()
        self._queue.put_nowait(execution)

    def close(self) -> None:
        """Ends the iteration."""
        if self in self._opened:
            self._opened.remove(self)
        self.put(END)

    def __aiter__(self) -> AsyncExecutions:
        return self

    async def __anext__(self) -> Any:
        if missing := self.dropped - self._told:
            self._told += missing
            raise ExecutionsDropped(missing, self._most)
        execution = await self._queue.get()
        if execution is END:
            self.put(END)
            raise StopAsyncIteration
        return execution
