"""A store as a source of market data, named like a file: ``chdb:///data/store?run=NAME&symbol=BTCUSDT``.

``run``, ``symbol``, ``from`` and ``until`` say which rows (times in ISO 8601, UTC, or nanoseconds), all else
is the store's; ``store:?run=NAME`` means the default one. It goes wherever a recording's path goes.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import numpy as np

from engine.backtest.data import as_events
from engine.core.errors import DataError, StoreError
from engine.feeds.base import EventSource
from engine.storage.reader import LAST_TS, MarketReader
from engine.storage.store import default_url, open_store

SCHEMES = ("store:", "chdb://", "clickhouse://", "parquet://")
DEFAULT = "store"


def is_stored(name: str) -> bool:
    """Whether a recording's name is one in a store, and no file's.

    Args:
        name: As a configuration or the command line has it.
    """
    return str(name).startswith(SCHEMES)


class StoredSource(EventSource):
    """A recording in a store; memory is that of a chunk.

    Args:
        symbol: The instrument's.
        url: See the module.
        **more: What the URL may say of the rows too.

    Raises:
        DataError: There is no such recording, or the store cannot be had.
    """

    def __init__(self, symbol: str, url: str, **more: str) -> None:
        self.symbol = symbol
        self.name = url
        split = urlsplit(url)
        options = dict(parse_qsl(split.query)) | more
        begin, end = _time(url, options.pop("from", ""), 0), _time(url, options.pop("until", ""), LAST_TS)
        run, wanted = options.pop("run", ""), options.pop("symbol", symbol)
        if split.scheme == DEFAULT:
            place = default_url()
        else:
            place = urlunsplit(split._replace(query=urlencode(options)))
        try:
            # Held during a pass: to open an embedded store for each chunk would take longer than to read it.
            self._store = open_store(place, create=False, hold=True)
            try:
                self._reader = MarketReader(self._store, wanted, run, begin=begin, end=end)
            finally:
                self._store.close()
        except StoreError as error:
            raise DataError(str(error).removeprefix(f"{url}: "), file=url) from None

    @property
    def rows(self) -> int:
        """Rows in all."""
        return self._reader.rows

    def chunks(self, start: int = 0) -> Iterator[np.ndarray]:
        """Begins a pass.

        Args:
            start: The first row wanted.

        Raises:
            DataError: The store does not go on.
        """
        try:
            for chunk in self._reader.chunks(start):
                yield as_events(chunk, self.name, start)
                start += len(chunk)
        except StoreError as error:
            raise DataError(str(error), file=self.name, row=start) from None
        finally:
            self._store.close()


def _time(url: str, text: str, default: int) -> int:
    if not text:
        return default
    if text.isdecimal():
        return int(text)
    try:
        return int(np.datetime64(text.removesuffix("Z"), "ns").astype(np.int64))
    except ValueError:
        raise DataError(f"{text!r} is no time: ISO 8601 or nanoseconds", file=url) from None
