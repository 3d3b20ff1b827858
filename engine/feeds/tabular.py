"""Recordings as Parquet and Arrow files: the eight columns of an event, for other programs and from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine.core.errors import ConfigError, DataError
from engine.core.types import event_dtype
from engine.feeds.base import EventSource, from_row

MAGIC = {b"PAR1": "parquet", b"ARROW1": "arrow"}
SUFFIXES = {".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow"}
CHUNK_ROWS = 1 << 18


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError:
        raise ConfigError("Parquet and Arrow files need pyarrow: pip install pyarrow") from None
    return pyarrow


def kind_of(path: str | Path) -> str:
    """What a file is, by its first bytes; empty if neither.

    Args:
        path: The file.
    """
    with open(path, "rb") as file:
        start = file.read(6)
    return next((kind for magic, kind in MAGIC.items() if start.startswith(magic)), "")


class TableSource(EventSource):
    """A Parquet or Arrow file with an event's columns, in any order; memory is that of a chunk.

    Args:
        symbol: The instrument's.
        path: The file.

    Raises:
        DataError: It is neither, or lacks a column.
    """

    def __init__(self, symbol: str, path: str | Path) -> None:
        self.symbol, self.name = symbol, str(path)
        pyarrow = _pyarrow()
        try:
            if kind_of(path) == "parquet":
                self._file = pyarrow.parquet.ParquetFile(path)
                schema, self._rows = self._file.schema_arrow, self._file.metadata.num_rows
            else:
                with pyarrow.ipc.open_file(path) as file:
                    schema = file.schema
                    self._rows = sum(file.get_batch(n).num_rows for n in range(file.num_record_batches))
                self._file = None
        except (OSError, pyarrow.ArrowInvalid) as error:
            raise DataError(" ".join(str(error).split()), file=self.name) from None
        for field in event_dtype.names:
            if field not in schema.names:
                raise DataError("is not there", file=self.name, field=field)

    @property
    def rows(self) -> int:
        """Rows in all."""
        return self._rows

    def chunks(self, start: int = 0) -> Iterator[np.ndarray]:
        """Begins a pass.

        Args:
            start: The first row wanted.

        Raises:
            DataError: The file is corrupt, or a value does not fit.
        """
        return from_row(self._chunks(), start)

    def _chunks(self) -> Iterator[np.ndarray]:
        pyarrow = _pyarrow()
        at = 0
        try:
            for batch in self._batches(pyarrow):
                rows = np.empty(batch.num_rows, event_dtype)
                for field in event_dtype.names:
                    column = batch.column(field)
                    if column.null_count:
                        raise DataError("a value is missing", file=self.name, row=at, field=field)
                    rows[field] = column.cast(pyarrow.from_numpy_dtype(event_dtype[field])).to_numpy(False)
                at += len(rows)
                yield rows
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(" ".join(str(error).split()), file=self.name, row=at) from None

    def _batches(self, pyarrow: Any) -> Iterator[Any]:
        if self._file is not None:
            yield from self._file.iter_batches(CHUNK_ROWS, columns=list(event_dtype.names))
            return
        with pyarrow.memory_map(self.name) as memory, pyarrow.ipc.open_file(memory) as file:
            for number in range(file.num_record_batches):
                batch = file.get_batch(number)
                for first in range(0, batch.num_rows, CHUNK_ROWS):
                    yield batch.slice(first, CHUNK_ROWS)


def write_table(path: Path, chunks: Iterable[np.ndarray]) -> int:
    """Writes a recording as Parquet or Arrow, by the name's ending: whole or not at all.

    Args:
        path: The file.
        chunks: ``event_dtype`` arrays.

    Returns:
        Rows written.
    """
    pyarrow = _pyarrow()
    types = {name: pyarrow.from_numpy_dtype(event_dtype[name]) for name in event_dtype.names}
    schema = pyarrow.schema([pyarrow.field(name, kind, False) for name, kind in types.items()])
    draft = path.with_name(path.name + ".new")
    rows = 0
    try:
        if SUFFIXES[path.suffix] == "parquet":
            writer = pyarrow.parquet.ParquetWriter(draft, schema, compression="zstd")
        else:
            writer = pyarrow.ipc.new_file(str(draft), schema)
        with writer:
            for chunk in chunks:
                columns = [pyarrow.array(np.ascontiguousarray(chunk[name])) for name in event_dtype.names]
                writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
                rows += len(chunk)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return rows
