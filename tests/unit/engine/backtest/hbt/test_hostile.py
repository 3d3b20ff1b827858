"""Nothing that a strategy passes to the polled backtest ends the process; see tests/kit/hostile.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[5]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("mode", "rounds"), [("python", 60), ("assets", 400), ("compiled", 40)])
def test_every_refusal_is_an_exception(mode, rounds):
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.kit.hostile", mode, "1", str(rounds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
