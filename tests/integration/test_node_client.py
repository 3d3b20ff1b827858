"""The client in Node, written from PROTOCOL.md alone, trades on a real daemon."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.kit.daemons import ROOT, daemon, until

EXAMPLE = ROOT / "examples" / "node"


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """The example with its packages, elsewhere."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        text = f"{' and '.join(missing)} not found"
        if os.environ.get("RINGBOOK_NEEDS_NODE"):
            pytest.fail(text)
        pytest.skip(text)
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "client.mjs", "trade.mjs"):
        shutil.copy(EXAMPLE / name, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=170, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_lock_file_names_no_registry():
    lock = json.loads((EXAMPLE / "package-lock.json").read_text())
    assert set(lock["packages"]) > {"node_modules/zeromq", "node_modules/@msgpack/msgpack"}
    assert "://" not in json.dumps(lock)


@pytest.mark.timeout(240)
def test_it_trades_resumes_checks_its_book_and_is_missed(installed):
    with daemon() as it:
        it.start()
        command = ["node", "trade.mjs", f"ipc://{it.run_path}", "BTCUSDT", "--stay"]
        child = subprocess.Popen(command, cwd=installed, stdout=subprocess.PIPE, text=True)
        try:
            seen = json.loads(child.stdout.readline())
            assert child.stdout.readline() == "resting\n"
        finally:
            child.kill()
            child.wait()
            child.stdout.close()

        def mine():
            return next(row for row in it.status()["positions"] if row["strategy"] == "node")

        until(lambda: mine()["open_orders"] == 0, "the cancel of what a killed client had resting")
        assert (mine()["num_trades"], mine()["position"]) == (1, 0.001)
    assert seen.pop("checked") >= 2
    assert seen == {
        "fill": "FILLED",
        "repeated": {"known": True, "live": True, "first": "NONE"},
        "resumed": True,
        "report": {"known": True, "live": True},
        "end": "CANCELED",
        "sent": 4,
        "mismatches": 0,
        "errors": [],
    }
