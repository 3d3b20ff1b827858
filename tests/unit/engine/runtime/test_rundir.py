import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.core.errors import AlreadyRunning, ConfigError
from engine.runtime.rundir import RINGS, RunDir, RunState, default_base, default_endpoint


@pytest.fixture
def run(tmp_path):
    run = RunDir(tmp_path / "main")
    yield run
    run.release()


def state(run, **changes):
    values = {
        "name": "main",
        "mode": "PAPER",
        "state": "running",
        "pid": os.getpid(),
        "endpoint": "tcp://127.0.0.1:7400",
        "started": 1,
        "config": "x.toml",
        "config_hash": "0",
    }
    return RunState(**(values | changes))


def test_where_runs_are():
    assert default_base({"RINGBOOK_RUN_DIR": "/a", "XDG_RUNTIME_DIR": "/b"}) == Path("/a")
    assert default_base({"XDG_RUNTIME_DIR": "/b"}) == Path("/b/ringbook")
    assert default_base({}) == Path(f"/tmp/ringbook-{os.getuid()}")


def test_a_claimed_directory_is_refused_to_others_and_named(run):
    run.claim()
    assert run.owner() == os.getpid()
    with pytest.raises(AlreadyRunning, match=f"pid {os.getpid()}"):
        RunDir(run.path).claim()
    run.release()
    assert run.owner() is None
    other = RunDir(run.path)
    other.claim()
    other.release()


def test_what_a_dead_daemon_left_is_cleaned(run):
    code = (
        "import os, sys; from engine.runtime.rundir import RunDir; r = RunDir(sys.argv[1]); r.claim();"
        "open(r.ring_path('feed'), 'w').close(); (r.path / 'orders.sock').touch();"
        "r.state_file.write_text('{}'); os._exit(9)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(run.path)], check=False)
    assert result.returncode == 9
    assert Path(run.ring_path("feed")).exists()
    assert run.owner() is None
    run.claim()
    assert not Path(run.ring_path("feed")).exists()
    assert not list(run.path.glob("*.sock"))
    assert run.read_state() is None


def test_release_unlinks_the_rings_and_keeps_the_state(run):
    run.claim()
    for ring in RINGS:
        Path(run.ring_path(ring)).touch()
    run.write_state(state(run))
    run.release()
    assert not run.ring_dir.exists()
    assert run.read_state() == state(run)


def test_runs_of_the_same_name_elsewhere_have_other_rings(tmp_path):
    assert RunDir(tmp_path / "a/main").ring_path("feed") != RunDir(tmp_path / "b/main").ring_path("feed")


def test_a_directory_of_others_is_refused(tmp_path):
    open_to_all = tmp_path / "main"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    with pytest.raises(ConfigError, match="others may enter it"):
        RunDir(open_to_all).claim()
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="not a directory of this user"):
        RunDir(link).claim()


def test_a_path_too_long_for_sockets_is_refused_before_anything_is_made(tmp_path):
    deep = tmp_path / ("x" * 100)
    with pytest.raises(ConfigError, match="too long for a Unix socket"):
        RunDir(deep).claim()
    assert not deep.exists()


def test_the_default_endpoint_is_what_the_running_daemon_wrote(tmp_path):
    environ = {"RINGBOOK_RUN_DIR": str(tmp_path)}
    run = RunDir(tmp_path / "main")
    assert default_endpoint("main", environ) == f"ipc://{run.path}"
    run.claim()
    run.write_state(state(run))
    assert default_endpoint("main", environ) == "tcp://127.0.0.1:7400"
    run.release()
    assert default_endpoint("main", environ) == f"ipc://{run.path}"


@pytest.mark.parametrize("file", ["daemon.pid", ".config.json.PID"])
def test_files_that_cannot_be_written_are_said_plainly(run, file):
    run.make()
    (run.path / file.replace("PID", str(os.getpid()))).mkdir()
    act = run.claim if file == "daemon.pid" else lambda: run.write_config({})
    with pytest.raises(ConfigError, match=f"run directory {run.path}: Is a directory"):
        act()


def test_a_full_disk_gives_the_directory_up_again(run, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ConfigError, match="No space left"):
        run.claim()
    monkeypatch.undo()
    run.claim()
