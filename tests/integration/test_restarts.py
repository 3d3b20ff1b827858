"""A daemon whose processes are all killed at once, or whose machine is, goes on with its run.

The long form is ``python -m tests.fuzz.kills --role daemon``.
"""

from __future__ import annotations

from engine.runtime.rundir import RunDir
from tests.fuzz.kills import ALL, Times, session
from tests.kit.daemons import SIMULATED, daemon, until


def test_whoever_was_told_something_finds_it_so_after_a_restart_of_everything():
    """Without what was in memory; the engine alone is killed afterwards."""
    counts = session([ALL, "engine"], 4, Times(), gap=(0.0, 0.5))
    # However little a busy machine has let it do, before the first kill there were twenty.
    assert counts["executions"] > 20
    assert counts["fills"] > 0


def test_another_configuration_is_refused_and_new_begins_another_run(tmp_path):
    text = f'{SIMULATED}\n[journal]\ndir = "{tmp_path}/journals"\nbuffer_mb = 4\nsegment_mb = 4\n'
    with daemon(text) as one:
        first = one.start()["run_id"]
        until(lambda: one.status()["positions"], "a position")
        one.crash()
        edited = one.config.read_text().replace("tick_size = 0.1", "tick_size = 0.5")
        one.config.write_text(edited)
        refused = one.ringbook("run", "--config", str(one.config))
        assert refused.returncode == 2
        line = refused.stderr.strip().splitlines()[-1]
        assert line.startswith(
            f"ringbook: the unfinished run {first} in {tmp_path}/journals has another conf"
        )
        assert "(instruments.BTCUSDT.tick_size)" in line
        assert "`ringbook run --new` begins another run" in line
        said = one.start("--new")
        assert said["run_id"] != first
        assert said["resumed"] == 0
        assert RunDir(one.run_path).read_state().run_id == said["run_id"]
        assert one.end()[0] == 0
