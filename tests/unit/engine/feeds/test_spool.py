"""Rows of a conversion: in memory, in the temporary file, and what both give back."""

import tempfile

import numpy as np
import pytest

from engine.backtest.data import load_events, save_events
from engine.core.errors import DataError
from engine.core.types import event_dtype
from engine.feeds.spool import Spool


def part(first: int, n: int) -> np.ndarray:
    events = np.zeros(n, event_dtype)
    events["ev"] = 1 << 31 | 1
    events["exch_ts"] = np.arange(first, first + n) + 10**18
    return events


@pytest.mark.parametrize("memory", [0, 640, 1 << 20])
def test_what_went_in_comes_out_wherever_it_was(tmp_path, memory):
    spool = Spool(memory)
    parts = [part(0, 5), part(5, 0), part(5, 20), part(25, 1)]
    for events in parts:
        spool.add(events)
    assert spool.rows == 26
    found = spool.events()
    assert isinstance(found, np.ndarray)
    assert found.tobytes() == np.concatenate(parts).tobytes()
    found["qty"] = 1.0
    save_events(tmp_path / "x.npz", found)
    assert load_events(tmp_path / "x.npz").tobytes() == found.tobytes()


def test_nothing_is_an_empty_array():
    assert Spool().events().dtype == event_dtype
    spool = Spool(0)
    spool.add(part(0, 0))
    assert len(spool.events()) == 0


def test_a_directory_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "absent"))
    spool = Spool(0)
    with pytest.raises(DataError, match=r"absent: cannot write the rows: No such file"):
        spool.add(part(0, 1))
