"""Compiled handlers: ``@compiled`` makes of a ``Strategy`` the same strategy, run by Numba without Python.

The class stays as it is. Parameters become a record that handlers read, annotated private attributes and
``Array`` become a record that they read and write, and the handlers become C functions that the kernel
calls without the GIL. docs/strategies-compiled.md says what handlers may do. Numba itself is imported when
the first such strategy is made, not before.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from engine.core.errors import StrategyError
from engine.strategy.base import Range, Strategy
from engine.strategy.jit_core import JitStrategy
from engine.strategy.jit_program import Array, Program

if TYPE_CHECKING:
    from engine.strategy.jit_compile import Code

__all__ = ["Array", "JitStrategy", "Range", "compiled"]


def _compile(program: Program) -> Code:
    """Compiles, and imports Numba for it."""
    from engine.strategy.jit_compile import compile_program

    return compile_program(program)


def compiled(cls: type[Strategy]) -> type[JitStrategy]:
    """Makes of a ``Strategy`` the same strategy with compiled handlers; use it as a decorator.

    With ``NUMBA_DISABLE_JIT=1`` in the environment the class comes back as it is, for a debugger.

    Args:
        cls: The class; ``plain`` of the result has it.

    Returns:
        A class to use in its place: the same name, parameters and orders.

    Raises:
        ConfigError: A parameter is declared wrongly.
        StrategyError: The class is no strategy or has what cannot be compiled. What is inside the
            handlers is compiled when the first strategy is made, and raises there.
    """
    if not isinstance(cls, type) or not issubclass(cls, Strategy):
        raise StrategyError(f"@compiled is for subclasses of Strategy, and {cls!r} is none")
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in ("", "0"):
        return cls  # type: ignore[return-value]
    program = Program(cls, _compile)
    body = {"__doc__": cls.__doc__, "__module__": cls.__module__, "program": program, "plain": cls}
    return type(JitStrategy)(cls.__name__, (JitStrategy,), {**body, "__qualname__": cls.__qualname__})
