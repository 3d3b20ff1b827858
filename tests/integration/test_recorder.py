"""A daemon's recorder, killed again and again: the store has what the journal has, once."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

from engine.journal.reader import JournalReader, market_chunks
from engine.runtime.lag import recorded_seq
from engine.runtime.recovery import newest_run
from engine.storage.store import open_store
from tests.kit.daemons import SIMULATED, daemon, until


def test_a_killed_recorder_loses_and_doubles_nothing_and_the_trading_goes_on(tmp_path):
    url = f"parquet://{tmp_path / 'store'}"
    more = f'[journal]\ndir = "{tmp_path}/j"\n[recorder]\nenabled = true\nstore = "{url}"\nflush_ms = 50\n'
    # Files are quick to open; engines of SQL are for the fault campaign.
    with daemon(f"{SIMULATED}\n{more}") as it:
        it.start()
        engine = it.pid("engine")
        for seconds in (0.4, 1.5):
            pid = until(lambda: it.pid("recorder"), "a recorder")
            time.sleep(seconds)
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: it.pid("recorder") not in (None, pid), "another recorder")
        assert it.pid("engine") == engine
        lag = until(lambda: (it.status()["recorder"] or {}).get("seq"), "what the recorder says")
        assert lag > 10
        assert "recorder" in it.ringbook("status", "--name", "t").stdout
        assert it.end()[0] == 0
        # What the end left no time for is stored by the recorder of the next run.
        it.start()
        until(
            lambda: not list((tmp_path / "j" / "recorder-t").glob("batch-00000000000?.rows")),
            "an empty spool",
        )
        runs = sorted((tmp_path / "j").glob("*/journal-00000001.seg"))
        first = newest_run(runs[0].parent)
        journal = np.concatenate(list(market_chunks(JournalReader(first))))["seq"].tolist()
        wanted = f"run_id = '{first.name}'"
        with open_store(url) as store:

            def stored(table):
                return store.query(f"SELECT id FROM {table} WHERE {wanted} ORDER BY id")["id"].tolist()

            until(lambda: stored("market_data")[-1:] == journal[-1:], "the end of the first run", 30.0)
            until(lambda: stored("positions"), "positions")
            assert stored("market_data") == journal
            until(lambda: recorded_seq(first) >= journal[-1], "what is recorded, in the journal's directory")
            for table in ("orders", "fills"):
                ids = stored(table)
                assert len(ids) > 10
                assert ids == list(range(1, len(ids) + 1))
            ends = store.query(f"SELECT status FROM orders WHERE {wanted} AND status = 'canceled'")
            assert len(ends)
        assert it.end()[0] == 0
