"""The house style as a test: sizes of files and functions, documented modules, nothing left lying about."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for package in ("engine", "bridge", "tui", "benchmarks", "examples")
    for path in sorted((ROOT / package).rglob("*"))
    if path.suffix in (".py", ".pyx", ".pxd", ".h")
]
PYTHON = [path for path in SOURCES if path.suffix == ".py"]
LIMITS = {".pyx": 600, ".py": 400, ".pxd": 600, ".h": 600}
FUNCTION_LINES = 70


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_file_is_one_idea(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LIMITS[path.suffix], f"{lines} lines: split it where its idea splits"


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_a_function_fits_on_a_screen(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    ]
    assert long == []


@pytest.mark.parametrize("path", [p for p in SOURCES if p.suffix != ".h"], ids=name)
def test_a_module_says_what_it_is(path):
    text = path.read_text(encoding="utf-8").lstrip()
    text = re.sub(r"\A(#.*\n|\s*\n)+", "", text)
    assert text.startswith(('"""', 'r"""')), "no module docstring"


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_public_names_are_documented(path):
    if name(path).startswith("benchmarks/"):
        pytest.skip("benchmarks are scripts")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and ast.get_docstring(node) is None
    ]
    assert bare == []


def test_nothing_unfinished_or_generated_is_in_the_tree():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    files = tracked.stdout.split()
    generated = [f for f in files if re.search(r"\.(so|o|pyc|npz|npy|gz|zst)$|^engine/.*\.c(pp)?$", f)]
    assert generated == []
    words = re.compile(
        r"\b(todo|fixme|xxx|hack|not implemented|for now|placeholder(?!\s*=))\b", re.IGNORECASE
    )
    marked = [
        f"{f}:{number}"
        for f in files
        if f.endswith((".py", ".pyx", ".pxd", ".h")) and f != "tests/tidy/test_style.py"
        for number, line in enumerate((ROOT / f).read_text(encoding="utf-8").splitlines(), 1)
        if words.search(line)
    ]
    assert marked == []


def unused_cimports(text: str) -> list[str]:
    """Names that a Cython file cimports, does not say to be re-exported, and never mentions again."""
    found = re.findall(r"^from \S+ cimport (\([^)]*\)|[^\n(]+)$", text, re.MULTILINE)
    found = [item for names in found if "# re-exported" not in names for item in re.split(r"[(),\n]", names)]
    names = [item.split(" as ")[-1].strip() for item in found if item.strip()]
    return [name for name in names if len(re.findall(rf"\b{re.escape(name)}\b", text)) == 1]


def test_what_is_cimported_is_used():
    planted = "from a cimport (\n    b,\n    c as d,\n)\nfrom e cimport f, g  # re-exported\nb(c)\n"
    assert unused_cimports(planted) == ["d"]
    sources = [path for path in SOURCES if path.suffix in (".pyx", ".pxd")]
    unused = {path.relative_to(ROOT).as_posix(): unused_cimports(path.read_text()) for path in sources}
    assert {path: names for path, names in unused.items() if names} == {}


def test_functions_without_the_gil_say_noexcept():
    # Without noexcept a void function re-takes the GIL after each call to look for an exception.
    bare = re.compile(r"^\s*c(?:p)?def\s+(?:inline\s+)?void\b[^#]*\)\s*nogil\s*(?:except)?[^#]*$")
    found = [
        f"{name(path)}:{number}"
        for path in SOURCES
        if path.suffix in (".pyx", ".pxd")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if bare.match(line) and "noexcept" not in line
    ]
    assert found == []
