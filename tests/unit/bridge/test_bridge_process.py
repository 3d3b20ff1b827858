"""The bridge's process: what it takes from the configuration of its daemon."""

from bridge.process import config_of_run
from engine.runtime.config import BridgeSection, DaemonConfig
from engine.runtime.rundir import RunDir
from tests.kit.loops import asset


def test_its_patience_is_the_daemons(tmp_path):
    run = RunDir(tmp_path / "run")
    plain = config_of_run(DaemonConfig(instruments=[asset()]), run)
    assert (plain.heartbeat_misses, plain.grace_s) == (3, 1.0)
    section = BridgeSection(heartbeat_misses=7, grace_s=2.5)
    patient = config_of_run(DaemonConfig(instruments=[asset()], bridge=section), run)
    assert (patient.heartbeat_misses, patient.grace_s) == (7, 2.5)
