"""An embedded store's directory is one process's at a time, and whoever holds on lets others in."""

from __future__ import annotations

import subprocess
import sys

import pytest

from engine.storage.store import open_store
from tests.kit.stores import market_rows

pytest.importorskip("chdb", reason="the extra 'embedded' is not installed")

COUNT = """
import sys
from engine.storage.store import open_store
with open_store(sys.argv[1], create=False) as store:
    print(store.query("SELECT count() FROM market_data").scalar())
"""


def test_a_holder_lets_another_process_in_between_two_statements(tmp_path):
    url = f"chdb://{tmp_path / 'store'}"
    with open_store(url, hold=True) as store:
        store.insert("market_data", market_rows(5))
        asking = subprocess.Popen([sys.executable, "-c", COUNT, url], stdout=subprocess.PIPE, text=True)
        while asking.poll() is None:
            store.idle()
        assert asking.communicate()[0] == "5\n"
        assert store.insert("market_data", market_rows(1, 6)) == 1
        assert store.query("SELECT count() FROM market_data").scalar() == 6


def test_two_stores_of_one_process_work_side_by_side(tmp_path):
    with (
        open_store(f"chdb://{tmp_path / 'a'}", hold=True) as one,
        open_store(f"chdb://{tmp_path / 'b'}", hold=True) as other,
    ):
        for n in range(1, 4):
            one.insert("market_data", market_rows(1, n))
            other.insert("market_data", market_rows(2, 2 * n))
        assert one.query("SELECT count() FROM market_data").scalar() == 3
        assert other.query("SELECT count() FROM market_data").scalar() == 6
