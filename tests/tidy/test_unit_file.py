"""The unit file of the documentation fits what the daemon does under systemd."""

import configparser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "examples/systemd/ringbook@.service"


def test_the_unit_is_what_the_daemon_speaks_and_the_guide_explains_it():
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str
    unit.read_string(UNIT.read_text(encoding="utf-8"))
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["KillMode"] == "mixed"
    assert " run --config " in service["ExecStart"]
    assert int(service["WatchdogSec"]) >= 3
    assert service["Environment"] == f"RINGBOOK_RUN_DIR=/var/lib/{service['StateDirectory']}"
    guide = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    for key in ("Type", "WatchdogSec", "KillMode", "TimeoutStopSec", "Restart"):
        assert f"`{key}={service[key]}`" in guide
