"""Ring records as ``struct`` formats, made of their dtypes: for a record at a time, faster than NumPy.

A turn of the bridge mostly has one record, and a call of NumPy's costs more than reading all of that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import numpy as np


def _fields(dtype: np.dtype, at: int = 0, prefix: str = "") -> Iterator[tuple[int, str, np.dtype]]:
    """Place, dotted name and type of every plain field, in the order of the fields."""
    assert dtype.names is not None
    for name in dtype.names:
        inner, offset = dtype.fields[name][:2]  # type: ignore[index]
        if inner.names:
            yield from _fields(inner, at + offset, f"{prefix}{name}.")
        else:
            yield at + offset, prefix + name, inner


def _code(dtype: np.dtype) -> str:
    if dtype.subdtype is not None:
        return f"{dtype.itemsize}s"
    return {"f": "d", "i": "bhiq", "u": "BHIQ"}[dtype.kind][
        dtype.itemsize.bit_length() - 1 if dtype.kind != "f" else 0
    ]


def _format(fields: Sequence[tuple[int, np.dtype]], size: int) -> struct.Struct:
    text, at = "<", 0
    for offset, dtype in fields:
        text += f"{offset - at}x{_code(dtype)}"
        at = offset + dtype.itemsize
    return struct.Struct(f"{text}{size - at}x")


def reader(*dtypes: np.dtype) -> struct.Struct:
    """Reads all fields of dtypes that follow each other in memory, fields of fields in the place of theirs.

    Args:
        dtypes: Of numbers, or of records of numbers, whose fields are in the order of their places. An array
            in them is read as its bytes.
    """
    fields, at = [], 0
    for dtype in dtypes:
        fields += [(at + offset, inner) for offset, _, inner in _fields(dtype)]
        at += dtype.itemsize
    return _format(fields, at)
