"""A whole daemon with keys: its user's commands, a trader with a key, a revoked one, what is on record."""

import json

import pytest

from bridge.client import connect
from bridge.errors import CommandRefused
from bridge.keyring import KeyDir
from tests.kit.daemons import SIMULATED, daemon, until
from tests.kit.fake_engine import free_port_base
from tests.kit.patience import PATIENT

CONFIG = """
[bridge]
endpoint = "tcp://127.0.0.1:{port}"
keys = "{keys}"

[journal]
dir = "{journals}"
buffer_mb = 16
standby = false
"""


def test_a_daemon_with_keys(tmp_path):
    keys, journals = KeyDir(tmp_path / "keys"), tmp_path / "journals"
    keys.make("ext", "trader")
    keys.make("desk", "risk")
    text = CONFIG.format(port=free_port_base(), keys=keys.path, journals=journals)
    with daemon(SIMULATED + text) as it:
        where = ("--name", it.name)
        endpoint = it.start()["endpoint"]
        # The daemon's own user needs no more than to be him.
        paused = it.ringbook("pause", "mm", *where)
        assert (paused.returncode, paused.stderr) == (0, "")
        desk = ("--key-file", str(keys.key_file("desk")))
        refused = it.ringbook("resume", "mm", *where, *desk)
        assert refused.returncode == 2
        assert "role risk may not send Resume" in refused.stderr
        assert it.ringbook("kill", "mm", *where, *desk).returncode == 0
        with connect(
            endpoint, role="trader", strategy_id="ext", key_file=keys.key_file("ext"), **PATIENT
        ) as trader:
            number = trader.submit("BTCUSDT", "buy", 1000.0, 0.001)
            assert trader.wait_order(number, timeout=20).status == "NEW"
            gone = it.ringbook("keys", "revoke", "ext", "--keys", str(keys.path))
            assert gone.returncode == 0
            until(lambda: trader.state != "connected", "the end of the revoked session")
            assert "revoked" in trader.detail
        with (
            pytest.raises(CommandRefused, match="not for role trader"),
            connect(endpoint, role="trader", strategy_id="x", key_file=keys.key_file("desk"), **PATIENT),
        ):
            pass
        changes = it.run_path / "changes.jsonl"
        until(lambda: "is a risk's" in changes.read_text(), "the record of what was refused")
        until(lambda: it.status()["engine"]["orders"] > 0, "orders")
        assert it.end()[0] == 0
        told = [json.loads(line) for line in changes.read_text().splitlines() if line]
        assert [change["version"] for change in told] == list(range(1, len(told) + 1))
        user = next(change["who"] for change in told if change["kind"] == "pause")
        assert user.startswith("key:local/cli:")
        attempts = [(change["who"], change["message"]) for change in told if change["kind"] == "attempt"]
        assert attempts[0][0].startswith("key:desk/cli:")
        assert attempts[0][1] == "Resume on the control socket refused: role risk may not send Resume"
        assert any("is a risk's, not for role trader" in text for _, text in attempts)
        # The same from the journal: what was refused is an input like what was done.
        (kept,) = (path for path in journals.iterdir() if path.is_dir())
        dump = it.ringbook("journal", "dump", str(kept), "--type", "CONTROL", "--json")
        assert '"attempt"' in dump.stdout
        replay = it.ringbook("replay", "--journal", str(kept))
        assert replay.returncode == 0, replay.stdout + replay.stderr
