"""A daemon that removes its journal's old segments: killed as a whole it goes on, and the rest works too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.journal.reader import JournalReader, market_chunks
from engine.storage.store import open_store
from tests.kit.daemons import SIMULATED, daemon, until

TEXT = SIMULATED.replace("speed = 5.0", "speed = 10.0")


def kept(one):
    """The first record that the journal still has, as the status says it."""
    return (one.status().get("snapshots") or {}).get("first_seq", 1)


def link(run: Path, into: Path) -> None:
    """Keeps what is removed, under names of our own."""
    into.mkdir(exist_ok=True)
    for segment in run.glob("journal-0*.seg"):
        if not (name := into / segment.name).exists():
            name.hardlink_to(segment)


@pytest.mark.timeout(300)
def test_old_segments_go_and_a_killed_daemon_and_all_that_reads_the_journal_go_on(tmp_path):
    url = f"parquet://{tmp_path / 'store'}"
    text = (
        f'{TEXT}\n[journal]\ndir = "{tmp_path}/j"\nbuffer_mb = 4\nsegment_mb = 1\nkeep_mb = 2\n'
        f'snapshot_records = 10000\n[recorder]\nenabled = true\nstore = "{url}"\nflush_ms = 50\n'
    )
    with daemon(text) as one:
        said = one.start()
        run, links = tmp_path / "j" / said["run_id"], tmp_path / "links"
        begun = 0
        for memory in (True, False):
            before = kept(one)
            until(lambda least=before: link(run, links) or kept(one) > least, "a removal", 60.0)
            one.crash(memory=memory)
            link(run, links)
            said = one.start()
            assert said["run_id"] == run.name
            assert said["resumed"] > 0
            log = [line["text"] for line in one.log() if "begins with the snapshot" in line["text"]]
            assert len(log) > begun
            begun = len(log)
        first = kept(one)
        assert JournalReader(run).first_seq >= first > 1
        assert "journal kept from record" in one.ringbook("status", "--name", "t").stdout
        assert "journal kept from record" in one.ringbook("doctor", "--name", "t").stdout
        until(lambda: link(run, links) or kept(one) > first, "another removal", 60.0)
        link(run, links)
        assert one.end()[0] == 0
        link(run, links)
        _read(one, run)
        whole = _whole(one, run, links)
        _recorded(one, url, run, whole)


def _read(one, run):
    """What everybody says who reads the journal."""
    first = JournalReader(run).first_seq
    verified = json.loads(one.ringbook("journal", "verify", str(run), "--json").stdout)
    assert verified["first_seq"] == first
    assert verified["ended"]
    said = one.ringbook("journal", "verify", str(run)).stdout
    assert f"what was before record {first}, of engine time" in said
    replayed = one.ringbook("replay", "--journal", str(run), "--json")
    assert replayed.returncode == 0, replayed.stderr
    replayed = json.loads(replayed.stdout)
    assert replayed["ended"]
    assert replayed["after"] >= first - 1
    assert "snapshot of record" in one.ringbook("replay", "--journal", str(run)).stdout
    [dumped] = one.ringbook("journal", "dump", str(run), "--limit", "1").stdout.splitlines()
    assert json.loads(dumped)["seq"] == first
    exported = one.ringbook("journal", "export", str(run), str(one.folder / "x.npz"), "--symbol", "BTCUSDT")
    assert exported.returncode == 0, exported.stderr
    for refused in (
        ("journal", "dump", str(run), "--after", "1"),
        ("replay", "--journal", str(run), "--out", str(one.folder / "s.npz")),
        ("report", str(run)),
    ):
        found = one.ringbook(*refused)
        assert found.returncode == 2, (refused, found.stdout)
        [line] = found.stderr.strip().splitlines()
        assert f"begins with record {first}, what was before it has been removed" in line


def _whole(one, run, links):
    """The run's journal with all that was removed; it comes to the same."""
    whole = one.folder / run.name
    links.rename(whole)
    ends = [
        json.loads(one.ringbook("replay", "--journal", str(path), "--json").stdout) for path in (run, whole)
    ]
    assert ends[1]["after"] == 0
    for name in ("engine_ts", "outputs", "outputs_hash", "state_hash", "ended"):
        assert ends[0][name] == ends[1][name], name
    return whole


def _recorded(one, url, run, whole):
    """The store has each record of the market, and each row of what it led to, once."""
    one.start()
    wanted = [seq for chunk in market_chunks(JournalReader(whole)) for seq in chunk["seq"].tolist()]
    with open_store(url) as store:

        def stored(table):
            found = store.query(f"SELECT id FROM {table} WHERE run_id = '{run.name}' ORDER BY id")
            return found["id"].tolist()

        until(lambda: stored("market_data")[-1:] == wanted[-1:], "the end of the run", 30.0)
        assert stored("market_data") == wanted
        for table in ("orders", "fills"):
            ids = stored(table)
            assert len(ids) > 10
            assert ids == list(range(1, len(ids) + 1))
    assert one.end()[0] == 0
