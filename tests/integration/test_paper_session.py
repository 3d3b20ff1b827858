"""A paper session on a recording, as docs/compare.md has it: repeated, held against a backtest, watched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from bridge import protocol as p
from bridge.client import connect
from bridge.errors import BridgeError
from engine.backtest.data import save_events
from engine.cli.main import main
from engine.journal.reader import JournalReader
from engine.journal.wal import RecordType
from engine.reports.session import load
from engine.runtime.playback import OBSERVERS
from engine.runtime.recovery import newest_run
from tests.kit import readme
from tests.kit.patience import PATIENT
from tests.kit.recordings import events
from tests.kit.terminal import Terminal

pytestmark = [pytest.mark.recording, pytest.mark.timeout(180)]
GUIDE = readme.blocks(readme.ROOT / "docs" / "compare.md")
WATCHING = [
    block for block in readme.blocks(readme.ROOT / "docs" / "journal.md") if block.runner == "terminal"
]


@pytest.fixture(scope="module")
def desk():
    """A directory in which every snippet of the guide has run, and the environment for more."""
    recorded = events("usdm")
    # Socket names are short on Linux, so this lies right below the temporary directory.
    root = Path(tempfile.mkdtemp(prefix="rb-"))
    try:
        save_events(root / "btcusdt.npz", recorded)
        environment = readme.environment(root)
        for block in GUIDE:
            readme.run(block, root, environment)
        yield root, environment
    finally:
        shutil.rmtree(root)


@pytest.fixture
def printed(desk, monkeypatch, capsys):
    """Runs a command in that directory; its exit code and what it prints."""
    monkeypatch.chdir(desk[0])

    def run(*arguments):
        capsys.readouterr()
        code = main(list(arguments))
        return code, capsys.readouterr().out

    return run


def test_the_guide_has_a_command_for_each_step():
    commands = [block.text.strip() for block in GUIDE if block.language == "bash"]
    assert [command.split()[1] for command in commands] == ["run", "replay", "backtest", "compare"]
    assert all(command.count("\n") == 0 for command in commands)
    assert len(WATCHING) == 1


def test_the_replay_comes_to_the_hashes_of_the_session(desk, printed):
    directory = newest_run(desk[0] / "journals")
    last, _ = JournalReader(directory).last()
    noted = [r for r in JournalReader(directory, after=last - 10) if r.type == RecordType.STATE_HASH]
    code, said = printed("replay", "--journal", "journals", "--json")
    report = json.loads(said)
    assert code == 0
    assert report["ended"]
    assert report["complete"]
    assert report["compared"] > 2
    assert report["outputs"] > 1000
    assert noted[-1].body[:8] == int(report["state_hash"], 16).to_bytes(8, "little")


def test_paper_and_backtest_with_the_same_models_agree(desk, printed):
    code, said = printed("compare", "paper.npz", "backtest.npz", "--within", "0.01", "--json")
    found = json.loads(said)
    assert code == 0
    assert found["traded_value"] > 10_000
    # Not only within 1 %: the same orders, the same fills, the same money.
    assert found["difference"] == 0.0
    assert found["orders"]["in_both"] == found["orders"]["at_the_same_instant"] > 500
    assert found["orders"]["only_live"] == found["orders"]["only_backtest"] == 0


def test_other_fees_are_beyond_it(desk, printed):
    config = (desk[0] / "backtest.toml").read_text().replace("taker_fee", "buyer_fee = 0.05\ntaker_fee")
    (desk[0] / "fees.toml").write_text(config)
    assert printed("backtest", "--config", "fees.toml", "--out", "fees.npz")[0] == 0
    code, said = printed("compare", "paper.npz", "fees.npz", "--within", "0.01")
    assert code == 1
    assert "beyond 1 % of the traded value" in said


# --- watching it again ---------------------------------------------------------------------------


class Served:
    """A replay that is served by a process of its own.

    Args:
        desk: Where the journal is, and the environment.
        arguments: Of the command.
    """

    def __init__(self, desk, *arguments):
        root, self.environment = desk
        self.replays = root / "run" / "replays"
        command = [sys.executable, "-m", "engine.cli.main", "replay", "--journal", "journals", *arguments]
        self.process = subprocess.Popen(
            command, cwd=root, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        line = self.process.stdout.readline()
        assert line, self.process.communicate()
        self.endpoint = json.loads(line)["endpoint"]

    def end(self, number):
        """Ends it by a signal; its exit code and its report."""
        self.process.send_signal(number)
        out, errors = self.process.communicate(timeout=20)
        assert errors == ""
        return self.process.returncode, json.loads(out)


def arriving(client, *topics):
    """Messages of topics, those of snapshots too, until there has been none for 20 s."""
    client.subscribe(*topics)
    for message in client.messages(*topics, timeout=20):
        yield from message.messages if type(message) is p.Snapshot else (message,)


def stands(client, how):
    """Waits for a status that says so, and gives it."""
    return next(
        m for m in arriving(client, p.STATUS_TOPIC) if type(m) is p.EngineStatus and m.feed_state == how
    )


def test_a_served_replay_shows_what_was_and_lets_nobody_change_it(desk):
    fills = load(desk[0] / "paper.npz").fills
    # In the middle of the longest time without a fill.
    gap = int(np.argmax(np.diff(fills["local_ts"])))
    until = int(fills["local_ts"][gap : gap + 2].mean())
    served = Served(desk, "--speed", "0", "--until", str(until), "--json")
    try:
        with connect(served.endpoint, role="admin", **PATIENT) as client:
            assert client.welcome.mode == "REPLAY"
            assert client.welcome.engine == "main"
            status = stands(client, "paused")
            before = fills[fills["local_ts"] <= until]
            position = next(arriving(client, p.POSITIONS_TOPIC))
            assert position.num_trades == len(before) > 10
            assert position.position == pytest.approx((before["side"] * before["qty"]).sum() * 0.001)
            assert position.fee == pytest.approx(before["fee"].sum())
            assert (status.mode, status.dropped) == ("REPLAY", 0)
            assert 0 <= until - status.market_ts < 1_000_000_000
            assert status.fills == len(before)
            assert next(arriving(client, p.STRATEGIES_TOPIC)).state == "Running"
            depth = next(arriving(client, p.depth_topic("BTCUSDT")))
            assert len(depth.bids) > 10
            for refused in (
                client.pause("mm"),
                client.kill(),
                client.update_params("mm", {"half_spread": 2.0}),
                client.cancel_orders(),
            ):
                assert (refused.success, refused.message) == (False, OBSERVERS)
            assert client.query_status("mm").strategy_state == "Running"
            trader = {"role": "trader", "strategy_id": "new", "symbols": ["BTCUSDT"]}
            with (
                pytest.raises(BridgeError, match="this is a replay"),
                connect(served.endpoint, **trader, **PATIENT),
            ):
                pass
            # On to the end: what all of them have asked for has changed nothing.
            assert client.resume().success
            stands(client, "ended")
        code, report = served.end(signal.SIGTERM)
        assert code == 0
        assert report["ended"]
        assert report["diverged"] == ""
        assert os.listdir(served.replays) == []
    finally:
        served.process.kill()
        served.process.communicate()


def test_the_terminal_ui_opens_on_it_and_ends_with_it(desk):
    root, environment = desk
    with Terminal(["bash", "-euc", WATCHING[0].text], environment, root) as terminal:
        terminal.expect("REPLAY: NOTHING IS TRADED")
        terminal.expect("FILLED")
        terminal.type("q")
        assert terminal.ended() == 0
    assert "the journal goes on from there" in terminal.drawn()
    assert os.listdir(root / "run" / "replays") == []
