"""Reads the README's fenced blocks, so that a test can run every one of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the README that it starts on."""

    language: str
    text: str
    line: int
    file: str | None
    """The file that the block is to be written to (``<!-- file: NAME -->`` on the line before)."""
    runner: str
    """Who runs it: ``test``, ``terminal`` (the same test, in a pseudo-terminal) or ``ci`` (``.ci/run``);
    marked as ``<!-- runner: NAME -->`` on the line before."""


_FENCE = re.compile(r"^```(\w*)\s*$")
_MARK = re.compile(r"<!--\s*(file|runner):\s*(\S+)\s*-->")


def blocks(path: Path = ROOT / "README.md") -> list[Block]:
    """The README's fenced blocks in order.

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
            found.append(Block(language, text, start, marks.get("file"), marks.get("runner", "test")))
            start, marks = None, {}
    return found
