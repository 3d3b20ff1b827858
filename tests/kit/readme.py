"""Reads and runs the fenced blocks of the README and of guides, so that tests can hold what they promise."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the page and the line that it starts on."""

    language: str
    text: str
    source: str
    line: int
    file: str | None
    """The file that the block is to be written to (``<!-- file: NAME -->`` on the line before)."""
    runner: str
    """Who runs it: ``test``, ``terminal`` (the same test, in a pseudo-terminal) or ``ci`` (``.ci/run``);
    marked as ``<!-- runner: NAME -->`` on the line before."""


_FENCE = re.compile(r"^```(\w*)\s*$")
_MARK = re.compile(r"<!--\s*(file|runner):\s*(\S+)\s*-->")


def blocks(path: Path = ROOT / "README.md") -> list[Block]:
    """A page's fenced blocks in order.

    Args:
        path: The Markdown file.
    """
    found: list[Block] = []
    lines = path.read_text(encoding="utf-8").splitlines()
    marks: dict[str, str] = {}
    start: int | None = None
    language = ""
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if start is None:
            if fence:
                start, language = number, fence[1]
            elif mark := _MARK.search(line):
                marks[mark[1]] = mark[2]
            elif line.strip():
                marks = {}
        elif line.rstrip() == "```":
            text = "\n".join(lines[start : number - 1]) + "\n"
            file, runner = marks.get("file"), marks.get("runner", "test")
            found.append(Block(language, text, path.name, start, file, runner))
            start, marks = None, {}
    return found


def environment(root: Path) -> dict[str, str]:
    """What snippets find: ``ringbook`` and ``python`` on the path, and a directory of their own to run in.

    Args:
        root: The directory that the snippets run in.
    """
    tools = root / "bin"
    tools.mkdir()
    for name, command in (("ringbook", "-m engine.cli.main"), ("python", "")):
        shim = tools / name
        shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n')
        shim.chmod(0o755)
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("RINGBOOK")},
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RINGBOOK_RUN_DIR": str(root / "run"),
        "NO_COLOR": "1",
    }


def log(block: Block, root: Path) -> Path:
    """Where a block's output is kept."""
    return root / f"{Path(block.source).stem}-{block.line}.log"


def run(block: Block, root: Path, environment: dict[str, str]) -> None:
    """Writes a block to its file, or runs it; what it started in the background is killed with it on failure.

    Args:
        block: Bash, Python, or what is for a file only.
        root: The directory to run in.
        environment: What :func:`environment` gave.
    """
    if block.file:
        target = root / block.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text)
        return
    if block.language == "bash":
        command = ["bash", "-euo", "pipefail", "-c", block.text]
    elif block.language == "python":
        script = root / f"{Path(block.source).stem}_{block.line}.py"
        script.write_text(block.text)
        command = [sys.executable, str(script)]
    else:
        return
    with log(block, root).open("w") as output:
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(timeout=90)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = "a timeout"
    printed = log(block, root).read_text()[-4000:]
    assert code == 0, f"{block.source}:{block.line} ended with {code}:\n{block.text}\n{printed}"
