"""Numba's errors in one readable line, and exceptions of handlers with the handler in their traceback."""

from __future__ import annotations

import dis
import linecache
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType

from engine.core.errors import InvalidOrder, RingbookError, raise_for_code
from engine.strategy.base import Strategy
from engine.strategy.jit_core import REFUSALS
from engine.strategy.jit_program import Place, Program

# Numba nests its messages, the innermost first; what it says of its own way there is left out.
_ON_THE_WAY = re.compile(
    r"^(Failed in |- Resolution failure|There (are|is) \d|- Of which|Overload in|Overload of|Intrinsic in|"
    r"With argument|Rejected as|raised from|During:|File |None$|No match|Known signatures|\* |>>>|"
    r"All templates rejected|<source elided>|\^|Use of unsupported)"
)
_RAISED = re.compile(r"^(?:Typing|NumbaValue|NumbaType|Unsupported\w*|Lowering)Error: (?!Failed in )(.+)")
_CALL = re.compile(r">>> ?(?:_ctx_|_book_|_symbols_|_order_)?(\w+)\((.*)\)")
_LINE = re.compile(r'(?:(?:at|from) (\S+) \((\d+)\)|File "([^"]+)", line (\d+))')


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
    elif missing := re.match(r"Cannot resolve setattr: \((\w+)\)\.(\w+) = ", reason):
        reason = _unknown(program, missing[2], missing[1])
    elif fixed := re.match(r"No definition for lowering (\w+)\.(\w+) = ", reason):
        reason = f"a {fixed[1]} has no {fixed[2]!r} to set"
    elif cast := re.match(r"(Cannot cast .+? to .+?): ", reason):
        reason = cast[1]
    elif reason.startswith("compiler re-entrant"):
        reason = "a method cannot call itself"
    elif builtin := re.match(r"Untyped global name '(\w+)'", reason):
        reason = f"compiled handlers know no {builtin[1]}"
    place = _place(text, program) or _place_of_word(program, reason)
    where = f" ({place})" if place else ""
    reason = re.sub(r"\.*\s*Raised from .*$", "", reason).replace("NameError: ", "")
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
    if name in vars(Strategy):
        return f"self.{name} is for Python: compiled handlers cannot use it"
    if name in program.specs:
        return f"self.{name} is a str, which compiled handlers cannot read"
    return f"self.{name} is unknown: what a strategy keeps is declared in its class, as in `{name}: int = 0`"


def _functions(program: Program) -> Iterator[tuple[str, Callable[..., object]]]:
    yield from {**program.members.methods, **program.members.statics}.items()


def _place(text: str, program: Program) -> str:
    """The innermost line of the strategy's own that the message names."""
    for found in _LINE.finditer(text):
        if place := source_line(program, found[1] or found[3], int(found[2] or found[4])):
            return place
    return ""


def _place_of_word(program: Program, reason: str) -> str:
    """The first line with the name that a reason without a line quotes last, or with a ``with``."""
    words = re.findall(r"'(\w+)'", reason)
    for _, function in _functions(program):
        for step in dis.get_instructions(function):
            found = step.argval == words[-1] if words else step.opname.startswith("BEFORE_WITH")
            if found and step.positions and step.positions.lineno:
                return source_line(program, function.__code__.co_filename, step.positions.lineno)
    return ""


def source_line(program: Program, path: str, line: int) -> str:
    """A line of the strategy's own, with its method and its source; empty for another line.

    Args:
        program: The strategy's class.
        path: Of the file, in whatever form Numba names it.
        line: The number.
    """
    for name, function in _functions(program):
        code = function.__code__
        lines = [number for *_, number in code.co_lines() if number]
        if Path(code.co_filename).name == Path(path).name and min(lines) <= line <= max(lines):
            source = linecache.getline(code.co_filename, line).strip()
            return f"{name}, {Path(path).name} line {line}: {source}"
    return ""


class Refused(Exception):
    """What compiled handlers raise for a request that cannot be: its code, and the order id or the order.

    Strings are left to Python, since Numba takes seconds to compile what makes them.
    """


def _refusal(code: int, *of: float) -> BaseException:
    """The exception that ``Context`` raises."""
    if code > 0:
        try:
            raise_for_code(code, f"order {of[0]}")
        except RingbookError as error:
            return error
    side, px, qty, order_type, time_in_force = of
    texts = {
        "side": f"side {side} is neither buy nor sell",
        "order_type": f"unknown order type {order_type}",
        "time_in_force": f"unknown time in force {time_in_force}",
        "px": f"price {px} is not a number that a price can be",
        "qty": f"quantity {qty} is not a positive number of lots",
    }
    return InvalidOrder(texts[REFUSALS[code]])


def located(error: BaseException, handler: CodeType, place: Place | None) -> BaseException:
    """Gives an exception of a handler the traceback that it would have in Python, as far as that is known.

    Args:
        error: What was raised.
        handler: The code of the handler.
        place: The line that raised it; None leaves the handler's first.
    """
    first = Place(handler.co_name, handler.co_filename, handler.co_firstlineno)
    steps = [first] if place is None else [place]
    if steps[0].method != first.method:
        steps.append(first)
    error = _refusal(*error.args) if isinstance(error, Refused) else error
    error = error.with_traceback(None)
    for step in steps:
        try:
            _raise_at(step, error)
        except BaseException as raised:
            # Without this function and the next.
            error = raised.with_traceback(raised.__traceback__.tb_next.tb_next)
    # It would be the one that stood for it.
    error.__context__ = None
    return error


def _raise_at(place: Place, error: BaseException) -> None:
    # Blank lines put the raising line where the strategy's is; one as wide as any is shown without carets.
    source = "\n" * (place.line - 1) + "raise" + " " * 200 + "error"
    code = compile(source, place.path, "exec").replace(co_name=place.method, co_qualname=place.method)
    exec(code, {"error": error})
