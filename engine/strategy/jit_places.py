"""Where a handler is: before each step that may raise, compiled methods note their line in the frame.

Numba keeps no line numbers at run time but those of ``raise`` itself, and a refused order is raised in a
function of ours. A note costs one store of a constant.
"""

from __future__ import annotations

import operator
from typing import Any

from numba.core import compiler, ir, lowering, types
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import BaseNativeLowering, NativeLowering

from engine.strategy.jit_program import Place
from engine.strategy.jit_types import I64, LAYOUT, SelfType

_STEPS = frozenset({"call", "getitem", "static_getitem", "exhaust_iter", "typed_getitem"})
_DIVISIONS = frozenset(
    {operator.truediv, operator.floordiv, operator.mod, operator.pow}
    | {operator.itruediv, operator.ifloordiv, operator.imod, operator.ipow}
)
_RAISES = (ir.StaticRaise, ir.DynamicRaise, ir.StaticTryRaise, ir.DynamicTryRaise)
_STATEMENTS = (ir.SetItem, ir.StaticSetItem, ir.SetAttr, *_RAISES)


class _Lower(lowering.Lower):
    """Numba's translation to machine code, and the notes."""

    def lower_inst(self, inst: Any) -> None:
        """Translates a step."""
        this = self.fndesc.argtypes[0] if self.fndesc.argtypes else None
        if isinstance(this, SelfType) and self._may_raise(inst):
            place = Place(self.func_ir.func_id.func_name, self.loc.filename, self.loc.line)
            at = self.builder.gep(self.fnargs[0], [I64(LAYOUT["frame.place"])])
            number = I64(this.places.setdefault(place, len(this.places)))
            self.builder.store(number, self.builder.bitcast(at, I64.as_pointer()))
        super().lower_inst(inst)

    def _may_raise(self, inst: Any) -> bool:
        if not isinstance(inst, ir.Assign) or not isinstance(inst.value, ir.Expr):
            return isinstance(inst, _STATEMENTS)
        step = inst.value
        if step.op in _STEPS or (step.op in ("binop", "inplace_binop") and step.fn in _DIVISIONS):
            return True
        return any(isinstance(self.typeof(var.name), types.Optional) for var in step.list_vars())


@register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(BaseNativeLowering):
    _name = "ringbook_native_lowering"

    @property
    def lowering_class(self) -> type[lowering.Lower]:
        return _Lower


class Located(compiler.CompilerBase):
    """Numba's compiler with notes of places."""

    def define_pipelines(self) -> list[Any]:
        """Numba's own steps but the last but one."""
        made = compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        made.passes = [(_Lowering if step is NativeLowering else step, text) for step, text in made.passes]
        made.finalize()
        return [made]
