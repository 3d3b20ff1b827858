"""The layers of the design hold, for imports and cimports, and the check can fail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit import layering

ROOT = Path(__file__).resolve().parents[2]


def test_the_tree_keeps_to_its_layers():
    found = list(layering.imports(ROOT))
    assert len(found) > 50, "the reader of imports finds hardly any: it is broken"
    assert {item.file.rsplit(".", 1)[1] for item in found} >= {"py", "pyx", "pxd"}
    assert layering.violations(ROOT) == []


def test_no_modules_import_each_other_in_a_circle():
    assert layering.circle(ROOT) == []


def test_every_part_of_the_engine_has_a_rule():
    parts = {path.stem for path in (ROOT / "engine").iterdir() if path.is_dir() or path.suffix == ".pyx"}
    parts -= {"cli", "__pycache__"}
    assert parts <= set(layering.ENGINE_MAY), "a new part of engine needs a rule in tests/kit/layering.py"


PLANTED = [
    ("engine/core/bad.py", "from engine.book import l2\n"),
    ("engine/core/bad.pxd", "from engine.book.l2 cimport L2Book\n"),
    ("engine/book/bad.pyx", "cimport engine.kernel\n"),
    ("engine/book/bad.pyx", "from engine cimport kernel\n"),
    ("engine/risk/bad.py", "def f():\n    import engine.backtest.runner\n"),
    ("engine/strategy/bad.pyx", "from engine.kernel cimport (\n    Kernel,\n)\n"),
    ("engine/backtest/bad.py", "from engine.runtime import config\n"),
    ("engine/feeds/bad.py", "from engine.runtime.records import record_dtype\n"),
    ("engine/kernel.py", "import bridge.protocol\n"),
    ("engine/runtime/bad.py", "from tui.app import App\n"),
    ("engine/book/bad.py", "from . import l2\n"),
    ("bridge/client.py", "from engine.core import types\n"),
    ("bridge/runner.py", "from engine.backtest import runner\n"),
    ("bridge/runner.py", "from bridge.server import serve\n"),
    ("bridge/client.py", "from bridge.runner import StrategyRunner\n"),
    ("bridge/aioclient.py", "from bridge.server import serve\n"),
    ("bridge/server.py", "import tui.store\n"),
    ("tui/bad.py", "from engine.core import errors\n"),
    ("tui/widgets/bad.py", "from bridge.server import serve\n"),
    ("tui/widgets/bad.py", "from bridge import server\n"),
]


@pytest.mark.parametrize(("file", "text"), PLANTED)
def test_a_planted_import_is_found(tmp_path, file, text):
    for package in layering.OURS:
        (tmp_path / package).mkdir()
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    found = layering.violations(tmp_path)
    assert len(found) == 1
    assert found[0].startswith(f"{file}:")


ALLOWED = [
    ("engine/core/good.py", "import numpy\nfrom engine.core import errors\nfrom engine import __version__\n"),
    ("engine/kernel.pxd", "from engine.book.l2 cimport L2Book\nfrom engine.core.types cimport Order\n"),
    ("engine/cli/good.py", "from tui.app import App\nfrom engine.runtime import config\n"),
    ("bridge/server.py", "from engine.core.ring import Ring\n"),
    ("tui/link.py", "from bridge.aioclient import Client\nfrom bridge import protocol\n"),
]


@pytest.mark.parametrize(("file", "text"), ALLOWED)
def test_an_allowed_import_is_let_through(tmp_path, file, text):
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert layering.violations(tmp_path) == []


LAZY = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bridge.c import C\n"
CIRCLES = [
    ({"bridge/a.py": "import bridge.b\n", "bridge/b.py": "from bridge import a\n"}, ["a", "b"]),
    (
        {"bridge/a.py": "from bridge.c import C\n", "bridge/c.py": "def f():\n    import bridge.a\n"},
        ["a", "c"],
    ),
    (
        {
            "bridge/a.py": "from bridge.b import B\n",
            "bridge/b.py": LAZY,
            "bridge/c.py": "from bridge.a import A\n",
        },
        ["a", "b", "c"],
    ),
]


@pytest.mark.parametrize(("files", "names"), CIRCLES)
def test_a_planted_circle_is_found(tmp_path, files, names):
    (tmp_path / "bridge").mkdir()
    for file, text in files.items():
        assert layering.circle(tmp_path) == []
        (tmp_path / file).write_text(text)
    found = layering.circle(tmp_path)
    assert found[0] == found[-1]
    assert sorted(found[1:]) == [f"bridge.{name}" for name in names]
    at = found.index("bridge.a")
    assert [*found[at:-1], *found[:at]] == [f"bridge.{name}" for name in names]
