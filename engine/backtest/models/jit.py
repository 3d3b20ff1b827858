"""Compiles the methods of a model with Numba: ``self`` becomes a record of its numbers, an order the venue's.

A model's numbers are those of its class: parameters, what starts with an underscore, constants, and
``Array``. They are copied into the record after ``start`` and live there from then on.
"""

from __future__ import annotations

import inspect
import typing
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import cfunc
from numba.core import cgutils, types
from numba.core import ir as numba_ir
from numba.core.datamodel.models import RecordModel
from numba.core.errors import TypingError
from numba.extending import intrinsic, overload_attribute, overload_method, register_model

from engine.backtest.models.base import Model
from engine.backtest.models.seat import CALLS, order_dtype, raised_address
from engine.core.errors import ModelError
from engine.core.types import Status
from engine.strategy.jit_errors import explain
from engine.strategy.jit_program import SCALARS, Array, Members

OPTIONS = {"error_model": "python", "boundscheck": True}
I64, F64, PTR, VOID = types.int64, types.float64, types.voidptr, types.void

SIGNATURES = {
    "entry": I64(PTR, I64, PTR),
    "response": I64(PTR, I64, PTR),
    "rest": VOID(PTR, PTR, F64),
    "trade": VOID(PTR, PTR, F64),
    "depth": VOID(PTR, PTR, F64, F64),
    "filled": F64(PTR, PTR),
    "fee": F64(PTR, PTR, F64),
}
"""The C functions of the venue (custom.pxd)."""

NONE, NEW, PARTIALLY_FILLED = int(Status.NONE), int(Status.NEW), int(Status.PARTIALLY_FILLED)
_PLACE = ("queue_ahead", "queue_traded")
_BYTES = ir.IntType(8).as_pointer()

llvmlite.binding.add_symbol("ringbook_model_raised", raised_address())


class Named(types.Record):
    """A record with a name for messages; a subclass is one model's, so that its methods can be told by it."""

    def __init__(self, name: str, record: types.Record) -> None:
        fields = [(key, field._asdict()) for key, field in record.fields.items()]
        super().__init__(fields, record.size, record.aligned)
        self.name = name

    def typeof(self, key: str) -> types.Type:
        """The type of a field; an unknown one is an error of whoever wrote the model."""
        if key not in self.fields:
            raise TypingError(f"Unknown attribute '{key}' of type {self.name}")
        return super().typeof(key)


def _named(name: str, dtype: np.dtype) -> Named:
    kind = type(f"{name}Record", (Named,), {})
    register_model(kind)(RecordModel)
    return kind(name, numba.from_dtype(dtype))


ORDER = _named("Order", order_dtype)


@overload_attribute(type(ORDER), "price")
def _price(order):
    return lambda order: order.price_tick * order.tick_size


@overload_attribute(type(ORDER), "exec_price")
def _exec_price(order):
    return lambda order: order.exec_price_tick * order.tick_size


@overload_attribute(type(ORDER), "cancellable")
def _cancellable(order):
    return lambda order: (order.status == NEW or order.status == PARTIALLY_FILLED) and order.req == NONE


class Compiled(NamedTuple):
    """A class's methods as C functions, and the record that they take for ``self``."""

    dtype: np.dtype
    entries: dict[str, Any]


class Code(NamedTuple):
    """A model's own record, its address, and its class's functions."""

    record: np.ndarray
    address: int
    entries: dict[str, Any]


_known: weakref.WeakKeyDictionary[type, Compiled] = weakref.WeakKeyDictionary()


def compile_model(model: Model, seat: int) -> Code:
    """The compiled methods of a model; its class is compiled once.

    Args:
        model: The model, started.
        seat: Address of what methods that raise tell it to.

    Raises:
        ModelError: A method cannot be compiled; the message names it, the line and what is wrong.
    """
    cls = type(model)
    if cls not in _known:
        _known[cls] = _compile(cls)
    compiled = _known[cls]
    record = np.zeros(1, compiled.dtype)
    names = compiled.dtype.names or ()
    record[names[0]] = seat
    for name in names[1:]:
        try:
            record[name] = getattr(model, name)
        except (TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"{cls.__qualname__}.{name} cannot be compiled: {error}") from None
    return Code(record, record.ctypes.data, compiled.entries)


def _numbers(cls: type[Model]) -> dict[str, Any]:
    """The fields of a class's record by name: their dtypes."""
    hints = typing.get_type_hints(cls)
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        for name, item in vars(base).items():
            if name.startswith("__") or name == "jit":
                continue
            if isinstance(item, Array):
                found[name] = np.dtype((item.dtype, item.shape))
            elif type(item) in SCALARS:
                kind = hints.get(name, type(item))
                found[name] = np.dtype(SCALARS.get(kind, SCALARS[type(item)]))
    return found


def _functions(cls: type[Model]) -> dict[str, Callable[..., Any]]:
    """All methods that compiled code can reach."""
    found: dict[str, Callable[..., Any]] = {}
    for base in reversed(cls.__mro__):
        for name, item in vars(base).items():
            if inspect.isfunction(item) and not name.startswith("__") and name != "start":
                found[name] = item
    return found


class _Program(NamedTuple):
    """What errors are explained with."""

    name: str
    members: Members
    specs: dict[str, Any]


def _compile(cls: type[Model]) -> Compiled:
    dtype = np.dtype([("_seat", np.dtype("u8")), *_numbers(cls).items()], align=True)
    this = _named(cls.__qualname__, dtype)
    functions = _functions(cls)
    program = _Program(cls.__qualname__, Members(functions, functions, {}, {}), cls.specs())
    for name in set(functions) - set(cls.calls):
        _offer(this, name, functions[name])
    entries = {}
    for name in cls.calls:
        signature = SIGNATURES[name]
        arguments = (this, *(ORDER if kind is PTR else kind for kind in signature.args[1:]))
        given = len(inspect.signature(functions[name]).parameters)
        if given != len(arguments):
            raise ModelError(f"{program.name}.{name} takes {len(arguments)} arguments with self, not {given}")
        method = numba.njit(**OPTIONS)(functions[name])
        try:
            method.compile(arguments)
        except Exception as error:
            raise ModelError(explain(error, program, name)) from error
        result = method.overloads[arguments]
        _check_assignments(program, name, this, result.type_annotation)
        returned = result.signature.return_type
        if signature.return_type is I64 and not isinstance(returned, types.Integer):
            raise ModelError(f"{program.name}.{name} returns {returned}, not a whole number of nanoseconds")
        if signature.return_type is F64 and not isinstance(returned, types.Float | types.Integer):
            raise ModelError(f"{program.name}.{name} returns {returned}, not a number")
        entries[name] = cfunc(signature)(_entry(name, result, signature))
    return Compiled(dtype, entries)


def _offer(this: Named, name: str, function: Callable[..., Any]) -> None:
    """Lets compiled methods call another method of the class."""

    # Numba wants one with the method's own parameters.
    names = ", ".join(inspect.signature(function).parameters)
    chosen = eval(f"lambda {names}: function", {"function": function})
    chosen.__defaults__ = function.__defaults__
    overload_method(type(this), name, jit_options=OPTIONS)(chosen)


def _check_assignments(program: _Program, name: str, this: Named, annotation: Any) -> None:
    """Refuses what Numba would do silently: cut off a fraction, or write into the venue's order."""
    for block in annotation.blocks.values():
        for statement in block.find_insts(numba_ir.SetAttr):
            target, given = (annotation.typemap[item.name] for item in (statement.target, statement.value))
            if target == ORDER and not (
                statement.attr in _PLACE and name not in ("entry", "response", "fee")
            ):
                raise ModelError(f"{program.name}.{name} sets order.{statement.attr}, which is to be read")
            if target != this or statement.attr not in this.fields:
                continue
            field = this.typeof(statement.attr)
            if isinstance(field, types.Integer | types.Boolean) and isinstance(given, types.Float):
                place = f"self.{statement.attr}, which is declared as {field}"
                raise ModelError(f"{program.name}.{name} gives {given} to {place}")


def _entry(name: str, result: Any, signature: Any) -> Callable[..., Any]:
    """The function that the venue calls: makes the arguments, and deals with an exception."""
    place = CALLS.index(name)

    @intrinsic
    def run(typing_context, arguments):
        def code(context: Any, builder: ir.IRBuilder, sig: Any, given: Any) -> ir.Value:
            values = []
            raw = cgutils.unpack_tuple(builder, given[0])
            for kind, value in zip(result.signature.args, raw, strict=True):
                record = isinstance(kind, types.Record)
                values.append(builder.bitcast(value, context.get_value_type(kind)) if record else value)
            status, returned = context.call_internal_no_propagate(
                builder, result.fndesc, result.signature, values
            )
            context.add_linking_libs([result.library])
            wanted = signature.return_type
            slot = None if wanted is VOID else cgutils.alloca_once_value(
                builder, context.get_constant(wanted, 0)
            )  # fmt: skip
            with cgutils.if_unlikely(builder, status.is_error):
                _raise(context, builder, status, raw[0], place)
            if slot is None:
                return context.get_dummy_value()
            with cgutils.if_likely(builder, status.is_ok):
                cast = context.cast(builder, returned, result.signature.return_type, wanted)
                builder.store(cast, slot)
            return builder.load(slot)

        return (types.none if signature.return_type is VOID else signature.return_type)(arguments), code

    if len(signature.args) == 2:
        return lambda state, order: run((state, order))
    if len(signature.args) == 4:
        return lambda state, order, first, second: run((state, order, first, second))
    return lambda state, first, second: run((state, first, second))


def _raise(context: Any, builder: ir.IRBuilder, status: Any, record: ir.Value, place: int) -> None:
    """Sets the method's exception as Python's and hands it to the seat, which ends the run."""
    api = context.get_python_api(builder)
    gil = api.gil_ensure()
    context.call_conv.raise_error(builder, api, status)
    kind = ir.FunctionType(ir.VoidType(), [_BYTES, ir.IntType(64)])
    function = cgutils.get_or_insert_function(builder.module, kind, "ringbook_model_raised")
    builder.call(function, [builder.bitcast(record, _BYTES), ir.IntType(64)(place)])
    api.gil_release(gil)
