"""Files in chunks: what they hold in any portions, faults where they are, and nothing kept."""

from __future__ import annotations

import threading
import weakref
import zipfile

import numpy as np
import pytest

from engine.backtest import runner
from engine.backtest.config import AssetConfig, BacktestConfig, StrategyConfig
from engine.backtest.data import Recording, save_events
from engine.backtest.files import ArrayFile
from engine.backtest.runner import BacktestRunner
from engine.core.errors import DataError
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market

KINDS = ["npy", "stored", "deflated", "odd"]
ASSET = AssetConfig(symbol="A", tick_size=TICK_SIZE, lot_size=LOT_SIZE)
MAKER = StrategyConfig(id="mm", cls="engine.strategy.native:MarketMaker")
CONFIG = BacktestConfig(assets=[ASSET], strategies=[MAKER])


def write(path, kind, events):
    """``odd`` is an npz whose rows begin at no multiple of eight."""
    if kind == "npy":
        with open(path, "wb") as file:
            np.save(file, events)
    elif kind == "odd":
        np.save(path.with_suffix(".npy"), events)
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x", b"1234")
            archive.write(path.with_suffix(".npy"), "data.npy")
        assert ArrayFile(path)._begin % 8
    else:
        save_events(path, events, compress=kind == "deflated")
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 7, 100, 499, 500, 501, 1 << 16])
def test_chunks_are_the_array(tmp_path, kind, rows):
    events = random_market(1, 500)[:500]
    file = ArrayFile(write(tmp_path / "x", kind, events))
    assert (file.rows, file.dtype) == (500, events.dtype)
    for _ in range(2):
        chunks = list(file.chunks(rows))
        assert [len(chunk) for chunk in chunks[:-1]] == [rows] * (len(chunks) - 1)
        assert np.concatenate(chunks).tobytes() == events.tobytes()
    assert file.read().tobytes() == events.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_rows_has_no_chunks(tmp_path, kind):
    file = ArrayFile(write(tmp_path / "x", kind, random_market(1, 10)[:0]))
    assert list(file.chunks()) == []
    assert len(file.read()) == 0


@pytest.mark.parametrize("kind", ["npy", "stored"])
def test_a_file_that_shrinks_after_it_was_looked_at_is_refused(tmp_path, kind):
    path = write(tmp_path / "x", kind, random_market(1, 500)[:500])
    file = ArrayFile(path)
    with open(path, "r+b") as open_file:
        open_file.truncate(20_000)
    with pytest.raises(DataError, match="truncated") as caught:
        list(file.chunks(10))
    assert 290 < caught.value.row < 320


def test_a_damaged_place_is_found_when_it_is_reached(tmp_path):
    path = write(tmp_path / "x", "deflated", random_market(1, 5000)[:5000])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    chunks = ArrayFile(path).chunks(100)
    assert len(next(chunks)) == 100
    with pytest.raises(DataError, match="x: truncated or corrupt"):
        list(chunks)
    with pytest.raises(DataError, match=r"A\[0\]"):
        BacktestRunner(chunk_rows=100).run(CONFIG, {"A": path})


def test_the_second_file_is_looked_at_before_the_first_is_run(tmp_path):
    with pytest.raises(DataError, match=r"A\[1\]: No such file"):
        BacktestRunner().run(CONFIG, {"A": [random_market(1, 500), tmp_path / "absent.npy"]})


def test_values_that_do_not_fit_are_named_by_their_row_in_the_file(tmp_path):
    events = random_market(1, 500)[:500]
    other = np.zeros(500, [(n, "i8" if n == "ev" else events.dtype[n]) for n in events.dtype.names])
    for name in events.dtype.names:
        other[name] = events[name]
    np.save(tmp_path / "x.npy", other)
    chunks = [chunk for chunk, _, _ in Recording(tmp_path / "x.npy").chunks(64)]
    assert np.concatenate(chunks).tobytes() == events.tobytes()
    other["ev"][333] = -5
    np.save(tmp_path / "x.npy", other)
    with pytest.raises(DataError, match="row 333, field ev: -5 is out of range"):
        list(Recording(tmp_path / "x.npy").chunks(64))


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_holds_few_chunks_at_a_time(tmp_path, monkeypatch, kind):
    path = write(tmp_path / "x", kind, random_market(1, 5000)[:5000])
    alive: set[int] = set()
    most = made = 0
    chunks = runner.asset_chunks

    def watched(*arguments):
        nonlocal most, made
        for events, name, first in chunks(*arguments):
            made += 1
            alive.add(made)
            weakref.finalize(events, alive.discard, made)
            most = max(most, len(alive))
            yield events, name, first

    monkeypatch.setattr(runner, "asset_chunks", watched)
    BacktestRunner(chunk_rows=50).run(CONFIG, {"A": path})
    assert made == 100
    assert most <= 4
    assert not alive


def test_no_thread_outlives_a_run_that_failed(tmp_path):
    events = random_market(1, 5000)[:5000]
    events["qty"][300] = np.nan
    path = write(tmp_path / "x", "deflated", events)
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(DataError, match="row 300, field qty"):
            BacktestRunner(chunk_rows=50).run(CONFIG, {"A": path})
    assert threading.active_count() == before
