"""What feeds are made of: sources of recorded or simulated events, and connectors to live venues."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

import numpy as np


class EventSource(ABC):
    """The events of one instrument, in hftbacktest's row order, in chunks.

    Rows with the EXCH flag are sorted by ``exch_ts`` among themselves, rows with the LOCAL flag by
    ``local_ts``. The same source gives the same rows every time.

    Attributes:
        symbol: The instrument's symbol.
        name: What errors name as the origin: a file, or a description.
    """

    symbol: str
    name: str

    @property
    @abstractmethod
    def rows(self) -> int:
        """Rows in all; 0 when unbounded, or not known before they have been read."""

    @abstractmethod
    def chunks(self, start: int = 0) -> Iterator[np.ndarray]:
        """Begins a pass over the rows.

        Args:
            start: The first row wanted.

        Yields:
            ``event_dtype`` arrays of shape ``(n,)``; they are not written to, and stay valid as long as
            somebody holds them.

        Raises:
            DataError: A row or the file is wrong; raised when the pass gets there.
        """


def from_row(chunks: Iterator[np.ndarray], start: int) -> Iterator[np.ndarray]:
    """Leaves out the first rows of a pass, for sources that can only begin at the beginning.

    Args:
        chunks: A pass from row 0.
        start: The first row wanted.
    """
    for chunk in chunks:
        if start < len(chunk):
            yield chunk[start:]
        start = max(0, start - len(chunk))


class TradeEvent(TypedDict):
    """A trade as a connector reports it; ``side`` is the taker's."""

    type: Literal["trade"]
    timestamp: int
    price: float
    qty: float
    side: Literal["buy", "sell"]
    is_buyer_maker: bool
    id: int


class DepthEvent(TypedDict):
    """Changed levels as a connector reports them: pairs of price and quantity, 0 removes the level."""

    type: Literal["depth"]
    timestamp: int
    bids: Sequence[tuple[float, float]]
    asks: Sequence[tuple[float, float]]
    last_update_id: int


@dataclass(frozen=True, slots=True)
class HealthStatus:
    """How a connector is.

    Attributes:
        connected: Whether events can arrive.
        symbols: What it is subscribed to, sorted.
        events: Events delivered since it was made.
        last_event_ts: When the last one was received, nanoseconds since the epoch; 0 before the first.
        reconnects: Connections made anew after one was lost.
        message: What is wrong, or empty.
    """

    connected: bool
    symbols: tuple[str, ...] = ()
    events: int = 0
    last_event_ts: int = 0
    reconnects: int = 0
    message: str = ""


class ConnectorWrapper(ABC):
    """The interface of a live market-data connector: what the engine's feed process asks of a venue.

    This is the interface only; no venue is implemented here. Times are nanoseconds since the epoch. All
    methods are called from one thread.
    """

    @abstractmethod
    def connect(self) -> None:
        """Opens the connection; does nothing when it is open.

        Raises:
            ConnectionError: The venue cannot be reached, after the connector's own attempts.
        """

    @abstractmethod
    def disconnect(self) -> None:
        """Closes the connection and forgets all subscriptions; does nothing when it is closed."""

    @abstractmethod
    def subscribe_trades(self, symbol: str) -> None:
        """Asks for the trades of a symbol; they are kept through reconnects.

        Args:
            symbol: The venue's name of the instrument.
        """

    @abstractmethod
    def subscribe_depth(self, symbol: str) -> None:
        """Asks for the order book of a symbol, beginning with a snapshot after every (re)connect.

        Args:
            symbol: The venue's name of the instrument.
        """

    @abstractmethod
    def next_event(self, timeout: float | None = None) -> TradeEvent | DepthEvent | None:
        """Waits for the next event.

        Args:
            timeout: Seconds to wait at most; None for ever.

        Returns:
            The event, or None when time is up.

        Raises:
            ConnectionError: The connection is lost for good.
        """

    @abstractmethod
    def is_connected(self) -> bool:
        """Whether events can arrive."""

    @abstractmethod
    def get_health_status(self) -> HealthStatus:
        """How the connector is; cheap enough to be asked every second."""
