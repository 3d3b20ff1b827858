"""Files of sessions: there and back, and what is no such file."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from engine.core.errors import DataError
from engine.reports.session import load
from tests.kit.sessions import made, market, resting, session


@pytest.fixture
def one():
    return made(resting(1, 10, 20), [(50, 1, 1, 200, 5, 0.25)])


def test_there_and_back(tmp_path):
    before = session(market(5.0))
    before.save(tmp_path / "a.npz")
    after = load(tmp_path / "a.npz")
    assert after.fills.tobytes() == before.fills.tobytes()
    assert after.orders.tobytes() == before.orders.tobytes()
    assert after.samples.tobytes() == before.samples.tobytes()
    arrays = dict.fromkeys(("fills", "orders", "samples", "mids", "ticks"), 0)
    assert replace(after, **arrays) == replace(before, **arrays)
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npz"]


def test_no_market_at_the_end_stays_so(one, tmp_path):
    replace(one, instruments=(replace(one.instruments[0], mid=math.nan),)).save(tmp_path / "a.npz")
    assert math.isnan(load(tmp_path / "a.npz").instruments[0].mid)


def test_a_write_that_fails_leaves_what_was_there(one, tmp_path):
    one.save(tmp_path / "a.npz")
    with pytest.raises(TypeError):
        replace(one, seed=object()).save(tmp_path / "a.npz")
    assert load(tmp_path / "a.npz").seed == one.seed
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("cut", [0, 10, 400, -30])
def test_a_damaged_file_is_named(one, tmp_path, cut):
    path = tmp_path / "a.npz"
    one.save(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"a\.npz"):
        load(path)


def test_other_files_are_refused(one, tmp_path):
    path = tmp_path / "b.npz"
    with pytest.raises(DataError, match="No such file"):
        load(path)
    np.savez(path, data=np.zeros(3))
    with pytest.raises(DataError, match="not the file of a session"):
        load(path)
    one.save(path)
    with np.load(path) as file:
        found = dict(file)

    def rewrite(**changes):
        np.savez(path, **(found | changes))

    meta = json.loads(found["meta"].tobytes())
    rewrite(meta=np.frombuffer(json.dumps(meta | {"format": 2}).encode(), np.uint8))
    with pytest.raises(DataError, match="format 2, and this build reads 1"):
        load(path)
    rewrite(meta=np.frombuffer(json.dumps(meta | {"instruments": [{}]}).encode(), np.uint8))
    with pytest.raises(DataError, match="damaged"):
        load(path)
    rewrite(fills=np.zeros(2))
    with pytest.raises(DataError, match="other columns"):
        load(path)
    strange = found["orders"].copy()
    strange["instrument"][1] = 7
    rewrite(orders=strange)
    with pytest.raises(DataError, match=r"row 1, field instrument: instrument 7 of orders is not among 1"):
        load(path)
