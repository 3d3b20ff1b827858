"""Who imports whom: reads imports and cimports as text and holds them against the design's table."""

from __future__ import annotations

import ast
import graphlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KERNEL_MAY = {"core", "book", "factors", "risk", "strategy"}
ENGINE_MAY: dict[str, set[str]] = {
    "core": set(),
    "book": {"core"},
    "risk": {"core"},
    "storage": {"core"},
    "reports": {"core"},
    "matching": {"core", "book"},
    "factors": {"core", "book"},
    "strategy": {"core", "book", "factors", "risk"},
    "journal": {"core"},
    "kernel": KERNEL_MAY,
    "backtest": KERNEL_MAY | {"matching", "kernel", "journal"},
    "feeds": {"core", "book", "backtest", "matching", "journal", "storage"},
    "gateways": {"core", "book", "backtest", "matching", "kernel", "journal", "storage"},
    "runtime": {
        *KERNEL_MAY, "kernel", "matching", "journal", "backtest", "feeds", "gateways", "storage", "reports",
    },
    "research": {*KERNEL_MAY, "kernel", "matching", "journal", "backtest", "feeds", "storage", "reports"},
}  # fmt: skip
"""What each part of ``engine`` may import of ``engine``; itself always. ``cli`` may import everything."""

BRIDGE_SERVER_SIDE = {
    "server",
    "config",
    "publisher",
    "router",
    "control",
    "records",
    "sessions",
    "link",
    "durable",
    "endpoints",
    "encoder",
    "layouts",
    "market",
    "sockets",
    "zap",
    "orderentry",
    "ordernews",
    "outlets",
    "packing",
    "keyring",
    "trial",
    "process",
    "attempts",
    "external",
    "inflow",
    "intake",
    "leash",
    "requests",
    "topics",
    "lanes",
    "unix",
}
"""Modules of ``bridge`` that only the daemon runs; all others belong to clients and know no engine."""
BRIDGE_BOTH_SIDES = {"runner"}
"""Modules of ``bridge`` above the client and the engine's kernel: a strategy in a process of its own."""
SHARES_MEMORY = {"lane", "hold"}
"""The client's modules that may import the engine's core, whose memory they share; only when used."""
TUI_MAY = {"bridge.protocol", "bridge.aioclient", "bridge.errors"}
OURS = ("engine", "bridge", "tui")


@dataclass(frozen=True)
class Import:
    """One import or cimport: the importing file and line, and the module that it names."""

    file: str
    line: int
    target: str


def imports(root: Path) -> Iterator[Import]:
    """All imports and cimports of our own packages below ``root``.

    Args:
        root: The folder that holds ``engine``, ``bridge`` and ``tui``.
    """
    for package in OURS:
        for path in sorted((root / package).rglob("*")):
            if path.suffix == ".py":
                found = _python_imports(path.read_text(encoding="utf-8"))
            elif path.suffix in (".pyx", ".pxd", ".pxi"):
                found = _cython_imports(path.read_text(encoding="utf-8"))
            else:
                continue
            for line, target in found:
                if target.split(".")[0] in OURS:
                    yield Import(path.relative_to(root).as_posix(), line, target)


def _python_imports(text: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield node.lineno, "engine.relative-import"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


_FROM = re.compile(r"^\s*from\s+([\w.]+)\s+c?import\s+(.+?)\s*(?:#.*)?$")
_PLAIN = re.compile(r"^\s*c?import\s+([\w.]+)")


def _cython_imports(text: str) -> Iterator[tuple[int, str]]:
    # Parenthesised lists name their module on the first line, which is all that a layer depends on;
    # the names matter only for `from engine cimport kernel`.
    for number, line in enumerate(text.splitlines(), 1):
        if match := _FROM.match(line):
            names = [name.strip(" ()").split(" as ")[0] for name in match[2].split(",")]
            for name in names or [""]:
                yield number, f"{match[1]}.{name}".rstrip(".")
        elif match := _PLAIN.match(line):
            yield number, match[1]


def _engine_part(dotted: str) -> str:
    """The part of engine that a dotted name lies in; the version module counts as core."""
    parts = dotted.split(".")
    name = parts[1] if len(parts) > 1 else ""
    return "core" if name in ("", "_version", "__version__") else name


def violation(item: Import) -> str | None:
    """Why an import is forbidden, or None.

    Args:
        item: An import found by :func:`imports`.
    """
    source = item.file.rsplit(".", 1)[0].split("/")
    target = item.target.split(".")
    where = f"{item.file}:{item.line} imports {item.target}"
    if item.target == "engine.relative-import":
        return f"{item.file}:{item.line} uses a relative import: name the whole path"
    if source[:2] == ["engine", "cli"]:
        return None
    if source[0] == "engine":
        if target[0] == "tui":
            return f"{where}: only cli may import tui"
        if target[0] == "bridge":
            if source[1] == "runtime":
                return None
            return f"{where}: of the engine only runtime and cli may start the bridge"
        part, other = source[1], _engine_part(item.target)
        if part in ("__init__", "_version"):
            part = "core"
        if other == part or other in ENGINE_MAY.get(part, set()):
            return None
        return f"{where}: {part} may import only {sorted(ENGINE_MAY.get(part, set())) or 'itself'}"
    if source[0] == "bridge":
        if target[0] == "tui":
            return f"{where}: bridge may not import tui"
        if source[1] in BRIDGE_SERVER_SIDE:
            return None
        if source[1] in BRIDGE_BOTH_SIDES and target[0] == "engine":
            may = ENGINE_MAY["kernel"] | {"kernel"}
            if _engine_part(item.target) in may:
                return None
            return f"{where}: a strategy's process may import only {sorted(may)}"
        if len(target) > 1 and target[0] == "bridge" and target[1] in BRIDGE_BOTH_SIDES:
            return f"{where}: clients know nothing of what stands above them"
        if target[:2] == ["engine", "core"] and source[1] in SHARES_MEMORY:
            return None
        if target[0] == "engine":
            return f"{where}: the client side of the bridge knows no engine"
        if len(target) > 1 and target[1] in BRIDGE_SERVER_SIDE:
            return f"{where}: the client side may not import the server's"
        return None
    if target[0] == "tui" or ".".join(target[:2]) in TUI_MAY:
        return None
    return f"{where}: tui may import only {sorted(TUI_MAY)}"


def violations(root: Path) -> list[str]:
    """Every forbidden import below ``root``, one line each."""
    return [text for item in imports(root) if (text := violation(item))]


def circle(root: Path) -> list[str]:
    """Python modules below ``root`` that import each other in a circle, each the next; empty if none do.

    Imports for types only and those inside functions count: a reader follows them, too. Those of compiled
    modules do not, which know each other's declarations as C files know headers.
    """
    graph: dict[str, set[str]] = {}
    for package in OURS:
        for path in (*(root / package).rglob("*.py"), *(root / package).rglob("*.pyx")):
            parts = path.relative_to(root).with_suffix("").parts
            graph[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = set()
    for item in imports(root):
        if not item.file.endswith(".py"):
            continue
        source = item.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        target = item.target if item.target in graph else item.target.rpartition(".")[0]
        if target in graph and source != target:
            graph[source].add(target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        # It names each before those that import it.
        return list(reversed(error.args[1]))
    return []
