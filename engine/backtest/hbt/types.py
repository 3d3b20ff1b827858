"""Numba's types for a polled backtest and what it gives: each is one address, and costs nothing to make."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import (
    NativeValue,
    intrinsic,
    make_attribute_wrapper,
    models,
    register_model,
    typeof_impl,
    unbox,
)

from engine.backtest.hbt import exports, face, views

for _name, _address in exports.addresses().items():
    llvmlite.binding.add_symbol(_name, _address)

OFFSETS = exports.offsets()

_SOURCES = [
    Path(__file__).with_name(f"{name}.py")
    for name in ("types", "register", "binding", "binding_depth", "binding_orders")
]
LAYOUT = sha256(
    b"".join([repr(sorted(OFFSETS.items())).encode(), *(path.read_bytes() for path in _SOURCES)])
).hexdigest()
"""What compiled code has of us in it: a function in Numba's cache is of use only with the same."""


class Address(types.Type):
    """Something of ours at an address; the name tells what."""

    def __init__(self, name: str) -> None:
        self.layout = LAYOUT
        super().__init__(name)

    @property
    def key(self) -> tuple[str, str]:
        """What makes two types one: Numba's cache finds functions by it."""
        return self.name, self.layout


class BacktestType(Address):
    """A :class:`~engine.backtest.hbt.face.Backtest`.

    Args:
        roi: Whether its depth has ranges of quantities.
    """

    def __init__(self, roi: bool) -> None:
        self.roi = roi
        super().__init__("ROIVectorMarketDepthBacktest" if roi else "HashMapMarketDepthBacktest")


class DepthType(Address):
    """A depth.

    Args:
        roi: Whether it has ranges of quantities.
    """

    def __init__(self, roi: bool) -> None:
        self.roi = roi
        super().__init__("ROIVectorMarketDepth" if roi else "HashMapMarketDepth")


class OrderType(Address):
    """An order."""

    def __init__(self) -> None:
        super().__init__("Order")


class OrderDictType(Address):
    """The orders of an asset."""

    def __init__(self) -> None:
        super().__init__("OrderDict")


class StateValuesType(Address):
    """The state values of an asset."""

    def __init__(self) -> None:
        super().__init__("StateValues")


class ValuesType(types.Type):
    """A walk through orders: the address of its market, and its number."""

    def __init__(self) -> None:
        super().__init__("Values")


VALUES = ValuesType()


@register_model(ValuesType)
class _ValuesModel(models.StructModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, [("market", types.int64), ("number", types.int64)])


make_attribute_wrapper(ValuesType, "market", "_market")
make_attribute_wrapper(ValuesType, "number", "_number")

BACKTESTS = {roi: BacktestType(roi) for roi in (False, True)}
DEPTHS = {roi: DepthType(roi) for roi in (False, True)}
ORDER = OrderType()
ORDERS = OrderDictType()
STATE = StateValuesType()


@register_model(BacktestType)
@register_model(DepthType)
@register_model(OrderType)
@register_model(OrderDictType)
@register_model(StateValuesType)
class _AddressModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, ir.IntType(64))


# --- into compiled code ------------------------------------------------------------------------------


@typeof_impl.register(face.Backtest)
def _typeof_backtest(value, _context):
    return BACKTESTS[value.roi]


@typeof_impl.register(views.MarketDepth)
def _typeof_depth(value, _context):
    return DEPTHS[isinstance(value, views.ROIVectorMarketDepth)]


@typeof_impl.register(views.Order)
def _typeof_order(_value, _context):
    return ORDER


@typeof_impl.register(views.OrderDict)
def _typeof_orders(_value, _context):
    return ORDERS


@typeof_impl.register(views.StateValues)
def _typeof_state(_value, _context):
    return STATE


@unbox(BacktestType)
@unbox(DepthType)
@unbox(OrderType)
@unbox(OrderDictType)
@unbox(StateValuesType)
def _unbox_address(_kind, value, context):
    builder = context.builder
    address = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(64), 0))
    failed = cgutils.alloca_once_value(builder, cgutils.true_bit)
    number = context.pyapi.object_getattr_string(value, "address")
    with builder.if_then(cgutils.is_not_null(builder, number)):
        builder.store(context.pyapi.long_as_longlong(number), address)
        context.pyapi.decref(number)
        builder.store(cgutils.is_not_null(builder, context.pyapi.err_occurred()), failed)
    return NativeValue(builder.load(address), is_error=builder.load(failed))


# --- within compiled code ----------------------------------------------------------------------------


@intrinsic
def address_of(typingctx, value):
    """The address of one of ours, as an int64."""
    if not isinstance(value, Address):
        return None
    return types.int64(value), lambda context, builder, signature, args: args[0]


@intrinsic
def pointer_to(typingctx, address):
    """An address as a pointer to anything, for ``carray``."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@intrinsic
def values_of(typingctx, market, number):
    """A walk by its market's address and its number."""

    def codegen(context, builder, signature, args):
        values = cgutils.create_struct_proxy(VALUES)(context, builder)
        values.market, values.number = args
        return values._getvalue()

    return VALUES(types.int64, types.int64), codegen


def view_at(kind: Address):
    """An intrinsic that takes an address as one of a kind."""

    @intrinsic
    def view(typingctx, address):
        return kind(types.int64), lambda context, builder, signature, args: args[0]

    return view


def field_of(kind: types.Type, offset: int):
    """An intrinsic that reads a field of a kind at an offset from an address."""

    @intrinsic
    def read(typingctx, address):
        def codegen(context, builder, signature, args):
            pointer = builder.inttoptr(
                builder.add(args[0], ir.Constant(ir.IntType(64), offset)),
                context.get_data_type(kind).as_pointer(),
            )
            return context.unpack_value(builder, kind, pointer)

        return kind(types.int64), codegen

    return read


@intrinsic
def checked(typingctx, result):
    """A result as it is; -1 says that a Python exception has been set, and is raised."""

    def codegen(context, builder, signature, args):
        failed = builder.icmp_signed("==", args[0], ir.Constant(ir.IntType(64), -1))
        with builder.if_then(failed, likely=False):
            context.call_conv.return_exc(builder)
        return args[0]

    return types.int64(types.int64), codegen


@intrinsic
def kept(typingctx, array, market):
    """An array on a market's memory as one that keeps it."""

    def codegen(context, builder, signature, args):
        view = context.make_array(signature.return_type)(context, builder, value=args[0])
        memory = builder.add(args[1], ir.Constant(ir.IntType(64), OFFSETS["memory"]))
        memory = builder.load(builder.inttoptr(memory, ir.IntType(64).as_pointer()))
        view.meminfo = builder.inttoptr(memory, cgutils.voidptr_t)
        context.nrt.incref(builder, signature.return_type, view._getvalue())
        return view._getvalue()

    return array(array, market), codegen


def external(name: str, result: types.Type, *args: types.Type) -> types.ExternalFunction:
    """One of ``exports.addresses()``, to be called from compiled code."""
    return types.ExternalFunction(name, result(*args))
