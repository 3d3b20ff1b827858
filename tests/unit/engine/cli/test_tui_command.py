import pytest

from engine.cli import tui as command
from engine.cli.main import main
from engine.core.errors import ConfigError, NotRunning
from engine.runtime.rundir import RunDir


@pytest.fixture
def base(tmp_path, monkeypatch):
    monkeypatch.setenv("RINGBOOK_RUN_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def claim(base):
    claimed = []

    def claim(name):
        run = RunDir(base / name)
        run.claim()
        claimed.append(run)

    yield claim
    for run in claimed:
        run.release()


def test_an_endpoint_by_hand_needs_no_daemon(base):
    assert command.find_endpoint("tcp://127.0.0.1:7400", "") == "tcp://127.0.0.1:7400"


def test_a_wrong_endpoint_is_refused(base):
    with pytest.raises(ConfigError, match="expected ipc://DIRECTORY, shm://DIRECTORY or tcp://HOST:PORT"):
        command.find_endpoint("http://x", "")


def test_the_only_daemon_is_found(base, claim):
    claim("paper")
    (base / "old").mkdir()
    assert command.find_endpoint("", "") == f"ipc://{base / 'paper'}"
    assert command.find_endpoint("", "paper") == f"ipc://{base / 'paper'}"


def test_of_several_daemons_one_must_be_named(base, claim):
    claim("a")
    claim("b")
    with pytest.raises(ConfigError, match=r"several daemons run \(a, b\)"):
        command.find_endpoint("", "")
    assert command.find_endpoint("", "b") == f"ipc://{base / 'b'}"


def test_no_daemon(base, claim):
    with pytest.raises(NotRunning, match="start one with 'ringbook run'"):
        command.find_endpoint("", "")
    claim("a")
    with pytest.raises(NotRunning, match="no daemon named b runs; running: a"):
        command.find_endpoint("", "b")


def test_the_command_says_it_in_one_line(base, capsys):
    assert main(["tui"]) == 2
    assert capsys.readouterr().err.startswith("ringbook: no daemon runs here")
    assert main(["tui", "--json"]) == 2
    assert '"ConfigError"' in capsys.readouterr().out


def test_it_needs_a_terminal(base, capsys):
    assert main(["tui", "--connect", f"ipc://{base}"]) == 2
    assert "needs a terminal" in capsys.readouterr().err
