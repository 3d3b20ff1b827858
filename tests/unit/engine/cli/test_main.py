"""The command itself: quick, helpful, and one line for every mistake."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from engine.cli import main as cli

HEAVY = {
    "numpy",
    "hftbacktest",
    "numba",
    "textual",
    "zmq",
    "clickhouse_driver",
    "pandas",
    "polars",
    "asyncio",
}


def ringbook(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine.cli.main", *arguments], capture_output=True, text=True, **options
    )


def test_help_lists_every_command_and_loads_nothing_heavy():
    code = (
        "import sys, engine.cli.main as m\n"
        "try:\n    m.main(['--help'])\nexcept SystemExit as e:\n    assert e.code == 0\n"
        "print('LOADED', *sorted(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    for name in cli.COMMANDS:
        assert f"  {name}" in done.stdout
    loaded = set(done.stderr.split("LOADED", 1)[1].split())
    assert loaded & HEAVY == set()


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help_with_an_example_and_json(name):
    done = ringbook(name, "--help")
    assert done.returncode == 0, done.stderr
    assert "example" in done.stdout.lower()
    assert f"ringbook {name}" in done.stdout
    assert "--json" in done.stdout


@pytest.mark.parametrize(
    "arguments", [["no-such-command"], [], ["backtest", "--no-such-flag"], ["demo", "--seconds", "soon"]]
)
def test_a_wrong_command_line_is_one_readable_error(arguments):
    done = ringbook(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "error:" in done.stderr


def test_an_error_is_one_line_and_json_where_asked(tmp_path):
    missing = tmp_path / "none.toml"
    done = ringbook("backtest", "--config", str(missing))
    assert done.returncode == 2
    assert done.stderr == f"ringbook: {missing}: No such file or directory\n"
    done = ringbook("backtest", "--config", str(missing), "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout) == {
        "error": "ConfigError",
        "message": f"{missing}: No such file or directory",
    }


def test_version():
    from engine import __version__

    assert ringbook("--version").stdout == f"ringbook {__version__}\n"


def test_no_command_is_told_how_to_find_one():
    done = ringbook()
    assert "which command?" in done.stderr
    assert "rest" not in done.stderr


def test_output_that_cannot_be_written_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "engine.cli.main", "doctor", "--json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr == "ringbook: No space left on device\n"


def test_a_closed_standard_output_is_no_crash():
    command = f"{sys.executable} -m engine.cli.main validate nowhere.npz >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == 2
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m engine.cli.main doctor >&-"], capture_output=True
    )
    assert b"Traceback" not in done.stderr


def test_a_name_that_the_terminal_cannot_show_is_escaped(tmp_path):
    import numpy as np

    from tests.kit.markets import random_market

    path = tmp_path / "märkt.npz"
    np.savez(path, data=random_market(3, 60))
    done = ringbook("validate", str(path), env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert "Traceback" not in done.stderr
    assert "m\\xe4rkt.npz" in done.stdout


def test_an_interrupt_while_a_command_still_loads_is_one_line(monkeypatch, capsys):
    def stopped(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.importlib, "import_module", stopped)
    assert cli.main(["doctor"]) == 130
    assert capsys.readouterr().err == "ringbook: interrupted\n"
