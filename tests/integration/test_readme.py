"""Runs the README: every snippet, in order, in one directory, as a newcomer would type them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.kit import readme
from tests.kit.recordings import recording
from tests.kit.terminal import Terminal

BLOCKS = readme.blocks()
RUNNABLE = [block for block in BLOCKS if block.language in ("bash", "python")]


@pytest.fixture
def desk(tmp_path_factory):
    """A directory with the README's recording, the examples, and ``ringbook`` on the path."""
    capture = recording("usdm")
    # Socket names are short on Linux, so this lies right below the temporary directory.
    root = Path(tmp_path_factory.mktemp("rm", numbered=True))
    shutil.copy(capture, root / "btcusdt.gz")
    shutil.copytree(readme.ROOT / "examples", root / "examples")
    tools = root / "bin"
    tools.mkdir()
    for name, command in (("ringbook", "-m engine.cli.main"), ("python", "")):
        shim = tools / name
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        shim.chmod(0o755)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("RINGBOOK")},
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(readme.ROOT),
        "RINGBOOK_RUN_DIR": str(root / "run"),
        "NO_COLOR": "1",
    }
    yield root, environment
    subprocess.run(
        [sys.executable, "-m", "engine.cli.main", "stop"], env=environment, cwd=root, capture_output=True
    )


def run(command: list[str], block: readme.Block, cwd: Path, environment: dict[str, str]) -> None:
    """Runs one snippet with a limit; what it started in the background is killed with it on failure."""
    output = cwd / f"readme-{block.line}.log"
    with output.open("w") as log:
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(timeout=90)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = "a timeout"
    assert code == 0, f"README.md:{block.line} ended with {code}:\n{block.text}\n{output.read_text()[-4000:]}"


def check_output(block: readme.Block, log: Path) -> None:
    """Each line that the README shows was printed by the snippet before it, but for rates a second."""
    printed = [re.sub(r"[\d,]+/s", "N/s", line) for line in log.read_text().splitlines()]
    for line in block.text.splitlines():
        assert re.sub(r"[\d,]+/s", "N/s", line) in printed, f"README.md:{block.line} shows {line!r}"


@pytest.mark.recording
@pytest.mark.timeout(400)
def test_every_snippet_runs(desk):
    root, environment = desk
    ran = 0
    for number, block in enumerate(BLOCKS):
        if block.language == "text":
            check_output(block, root / f"readme-{BLOCKS[number - 1].line}.log")
        if block.file:
            target = root / block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(block.text)
        if block.runner == "ci" or block.language not in ("bash", "python"):
            continue
        if block.runner == "terminal":
            with Terminal(["bash", "-euc", block.text], environment, root) as terminal:
                terminal.expect("PAPER")
                terminal.type("q")
                assert terminal.ended() == 0
        elif block.language == "bash":
            run(["bash", "-euo", "pipefail", "-c", block.text], block, root, environment)
        elif not block.file:
            script = root / f"snippet_{number}.py"
            script.write_text(block.text)
            run([sys.executable, str(script)], block, root, environment)
        ran += 1
    assert ran >= 6, "the README has hardly any snippets left: is the reader of fences broken?"


def test_what_the_test_leaves_to_ci_is_run_by_ci():
    script = (readme.ROOT / ".ci/run").read_text()
    left = [block for block in RUNNABLE if block.runner == "ci"]
    assert left
    for block in left:
        for line in block.text.splitlines():
            command = line.split("#")[0].strip()
            if command.startswith("make "):
                assert f"readme_command {command.removeprefix('make ')}" in script, command
            else:
                assert command == "" or command.split()[0] in ("git", "cd"), command
