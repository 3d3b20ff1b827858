"""Runs the README: every snippet, in order, in one directory, as a newcomer would type them."""

from __future__ import annotations

import re
import shutil
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
    environment = readme.environment(root)
    yield root, environment
    subprocess.run(
        [sys.executable, "-m", "engine.cli.main", "stop"], env=environment, cwd=root, capture_output=True
    )


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
            check_output(block, readme.log(BLOCKS[number - 1], root))
        if block.runner == "terminal":
            with Terminal(["bash", "-euc", block.text], environment, root) as terminal:
                terminal.expect("PAPER")
                terminal.type("q")
                assert terminal.ended() == 0
        elif block.runner == "test":
            readme.run(block, root, environment)
        ran += block.runner != "ci" and block.language in ("bash", "python")
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
