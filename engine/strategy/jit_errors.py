"""Numba's errors in one readable line, and exceptions of handlers with the handler in their traceback."""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.strategy.jit import Program

# Numba nests its messages, the innermost first; what it says of its own way there is left out.
_ON_THE_WAY = re.compile(
    r"^(Failed in |- Resolution failure|There (are|is) \d|- Of which|Overload in|Overload of|Intrinsic in|"
    r"With argument|Rejected as|raised from|During:|File |None$|No match|Known signatures|\* |>>>|"
    r"All templates rejected|<source elided>|\^|Use of unsupported|Cannot resolve setattr)"
)
_RAISED = re.compile(r"^(?:Typing|NumbaValue|NumbaType|Unsupported\w*|Lowering)Error: (?!Failed in )(.+)")
_CALL = re.compile(r">>> ?(?:_ctx_|_book_|_symbols_|_order_)?(\w+)\((.*)\)")
_LINE = re.compile(r'(?:at (\S+) \((\d+)\)|File "([^"]+)", line (\d+))')


def explain(error: Exception, program: Program, handler: str) -> str:
    """What cannot be compiled, where, and why, in one line.

    Args:
        error: What Numba raised.
        program: The strategy's class.
        handler: The handler that was being compiled.
    """
    text = str(error)
    reason = _reason(text)
    unknown = re.match(r"Unknown attribute '(\w+)' of type (\w+)", reason)
    if unknown:
        reason = _unknown(program, unknown[1], unknown[2])
    place = _place(text, program)
    where = f" ({place})" if place else ""
    return f"{program.name}.{handler} cannot be compiled: {reason}{where}"


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines()]
    for line in lines:
        if raised := _RAISED.match(line):
            return raised[1]
    plain = [line for line in lines if line and not _ON_THE_WAY.match(line)]
    first = plain[0] if plain else lines[0]
    call = _CALL.search(text)
    if first.startswith("No implementation of function") and call:
        return f"{call[1]} does not take ({call[2]})"
    if first.startswith("Untyped global name") and "'function'" in first:
        name = first.split("'")[1]
        return f"{name} is a Python function: decorate it with numba.njit, or make it a method"
    return first


def _unknown(program: Program, name: str, kind: str) -> str:
    if kind != program.name:
        return f"{kind} has no {name!r} in compiled handlers"
    if name in program.specs:
        return f"self.{name} is a str, which compiled handlers cannot read"
    return f"self.{name} is unknown: what a strategy keeps is declared in its class, as in `{name}: int = 0`"


def _functions(program: Program) -> Iterator[tuple[str, Callable[..., object]]]:
    yield from {**program.members.methods, **program.members.statics}.items()


def _place(text: str, program: Program) -> str:
    """The innermost line of the strategy's own that the message names, with its method and its source."""
    for found in _LINE.finditer(text):
        line = int(found[2] or found[4])
        path = found[1] or found[3]
        for name, function in _functions(program):
            code = function.__code__
            lines = [number for *_, number in code.co_lines() if number]
            if Path(code.co_filename).name == Path(path).name and min(lines) <= line <= max(lines):
                source = linecache.getline(code.co_filename, line).strip()
                return f"{name}, {Path(path).name} line {line}: {source}"
    return ""


def marker(function: Callable[..., object]) -> Callable[[BaseException], None]:
    """A function that raises what it is given as if from a handler, which its traceback then names.

    Args:
        function: The handler.
    """
    code = function.__code__
    # Blank lines put the raising line where the handler begins.
    source = "\n" * (code.co_firstlineno - 1) + f"def {code.co_name}(error): raise error"
    found: dict[str, Callable[[BaseException], None]] = {}
    exec(compile(source, code.co_filename, "exec"), found)
    return found[code.co_name]
