"""PROTOCOL.md describes the protocol that bridge/protocol is: every struct, field, code, topic and number."""

import re
import typing
from pathlib import Path

import msgspec
import pytest

from bridge import codec
from bridge import protocol as p

TEXT = Path(codec.__file__).with_name("PROTOCOL.md").read_text(encoding="utf-8")
STRUCTS = [
    value
    for value in vars(p).values()
    if isinstance(value, type) and issubclass(value, msgspec.Struct) and value is not p.Message
]


def section(name: str) -> str:
    """The text below a struct's heading."""
    found = re.search(rf"^#### {name}\n(.*?)(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"PROTOCOL.md has no section on {name}"
    return found[1]


def rows(name: str) -> list[tuple[str, str]]:
    """Field and type of each row of a struct's table."""
    return re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", section(name), re.MULTILINE)


def wire_type(annotation: object) -> str:
    """What PROTOCOL.md calls a field's type."""
    if typing.get_origin(annotation) is typing.Annotated:
        annotation = typing.get_args(annotation)[0]
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is list:
        inner = arguments[0]
        if typing.get_origin(inner) is tuple:
            return "list of pairs"
        return "list of messages" if len(typing.get_args(inner)) > 2 else f"list of {wire_type(inner)}"
    if origin is dict:
        return "map"
    if arguments:
        kinds = [wire_type(a) for a in arguments if a is not type(None)]
        return f"{kinds[0]} or nil"
    names = {bytes: "bin", int: "int", float: "float", str: "str", bool: "bool", typing.Any: "any"}
    return names.get(annotation) or f"`{annotation.__name__}`"


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda s: s.__name__)
def test_every_field_is_there_in_order_and_with_its_type(struct):
    hints = typing.get_type_hints(struct, include_extras=True)
    assert rows(struct.__name__) == [(name, wire_type(hints[name])) for name in struct.__struct_fields__]


def test_no_section_is_about_a_struct_that_is_gone():
    assert set(re.findall(r"^#### (\w+)$", TEXT, re.MULTILINE)) == {s.__name__ for s in STRUCTS}


@pytest.mark.parametrize("code", p.ERROR_CODES)
def test_every_error_code_is_there(code):
    assert f"| `{code}` |" in TEXT


def test_no_error_code_is_there_that_is_none():
    table = TEXT[TEXT.index("### Error codes") :]
    table = table[: table.index("\n## ")]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(p.ERROR_CODES)


@pytest.mark.parametrize(
    "topic",
    [
        *p.TELEMETRY_TOPICS,
        p.depth_topic("<symbol>"),
        p.trade_topic("<symbol>"),
        p.feature_topic("<symbol>"),
        p.signal_topic("<symbol>"),
    ],
)
def test_every_topic_is_there(topic):
    assert f"`{topic}`" in TEXT


def test_numbers_are_the_modules():
    assert f"Version {p.VERSION}" in TEXT
    assert f"every {p.HEARTBEAT_NS // 1_000_000} ms" in TEXT
    assert f"{p.HEARTBEAT_MISSES} intervals" in TEXT
    assert f"{p.MAX_FRAME:,} bytes" in TEXT
    assert f"{p.MAX_SUBSCRIPTION:,} bytes" in TEXT
    assert f"{p.MAX_SERVER_FRAME:,} bytes" in TEXT


def test_the_examples_are_the_bytes():
    examples = re.findall(r"`(\w+\(.*?\))`\n\n```hex\n(.*?)```", TEXT, re.DOTALL)
    assert len(examples) >= 4
    for source, text in examples:
        message = eval(source, vars(p) | {"__builtins__": {}})
        data = bytes.fromhex("".join(line.split("  ")[0] for line in text.splitlines()))
        assert codec.encode(message) == data, source
