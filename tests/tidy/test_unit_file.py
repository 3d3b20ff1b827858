"""The unit files of the documentation fit what daemon and clients do under systemd."""

import configparser
from pathlib import Path

from bridge.auth import KEY_VARIABLE
from bridge.discovery import default_endpoint

ROOT = Path(__file__).resolve().parents[2]
SYSTEMD = ROOT / "examples/systemd"


def test_the_unit_is_what_the_daemon_speaks_and_the_guide_explains_it():
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str
    unit.read_string((SYSTEMD / "ringbook@.service").read_text(encoding="utf-8"))
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert service["KillMode"] == "mixed"
    assert " run --config " in service["ExecStart"]
    assert int(service["WatchdogSec"]) >= 3
    assert service["Environment"] == f"RINGBOOK_RUN_DIR=/var/lib/{service['StateDirectory']}"
    guide = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    for key in ("Type", "WatchdogSec", "KillMode", "TimeoutStopSec", "Restart"):
        assert f"`{key}={service[key]}`" in guide


def test_the_unit_of_a_strategy_names_what_clients_look_for():
    text = (SYSTEMD / "ringbook-strategy@.service").read_text(encoding="utf-8")
    names = {line.split("=")[1] for line in text.splitlines() if line.startswith("Environment=")}
    assert KEY_VARIABLE in names
    (endpoint,) = names - {KEY_VARIABLE}
    assert default_endpoint(environ={endpoint: "tcp://1.2.3.4:5"}) == "tcp://1.2.3.4:5"
    assert "KillSignal=SIGINT" in text
    assert "examples/systemd/ringbook-strategy@.service" in (ROOT / "docs/bridge.md").read_text(
        encoding="utf-8"
    )
