"""The first strategy of docs/bridge.md is twenty lines that trade."""

import re
import subprocess
import sys

from tests.kit.daemons import ROOT, SIMULATED, Daemon, daemon_folder, until

TEXT = (ROOT / "docs" / "bridge.md").read_text(encoding="utf-8")


def test_the_first_strategy_is_twenty_lines_and_trades():
    (source,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len([line for line in source.splitlines() if line.strip()]) <= 20
    with daemon_folder() as folder:
        (folder / "follow.py").write_text(source)
        one = Daemon(folder, SIMULATED, "main")
        try:
            one.start()
            command = [sys.executable, "follow.py", "60"]
            child = subprocess.Popen(command, cwd=folder, env=one.environment)

            def traded():
                mine = [row for row in one.status()["positions"] if row["strategy"] == "Follow"]
                return mine and mine[0]["num_trades"]

            try:
                until(traded, "a trade", 40)
            finally:
                child.kill()
                child.wait()
        finally:
            one.kill()
