"""Finding strategies by name, and saying why one is not found."""

from __future__ import annotations

import pytest

from engine.core.errors import ConfigError
from engine.strategy.loader import load
from engine.strategy.native import MarketMaker

SOURCE = """
from __future__ import annotations
from typing import Annotated
from engine.strategy.base import Range, Strategy

class Mine(Strategy):
    edge: Annotated[float, Range(ge=0)] = 1.0

NUMBER = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


def test_a_class_of_a_module():
    assert load("engine.strategy.native:MarketMaker") is MarketMaker


def test_a_class_of_a_file(file, monkeypatch):
    found = load(f"{file}:Mine")
    assert found(edge=2).params() == {"edge": 2.0}
    assert load(f"{file}:Mine") is found
    monkeypatch.chdir(file.parent)
    assert load("mine.py:Mine") is found


def test_two_files_of_one_name_are_two_modules(file, tmp_path):
    other = tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    other.write_text(SOURCE.replace("1.0", "5.0"))
    assert load(f"{file}:Mine")().edge == 1.0
    assert load(f"{other}:Mine")().edge == 5.0


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("engine.strategy.native", "expected package.module:Class"),
        (":MarketMaker", "expected package.module:Class"),
        ("engine.strategy.native:", "expected package.module:Class"),
        ("engine.nowhere:X", "module engine.nowhere not found"),
        ("nowhere_at_all:X", "module nowhere_at_all not found"),
        ("nowhere.py:X", "no file .*nowhere.py"),
        ("engine.strategy.native:Maker", "has no Maker; strategies there: MarketMaker"),
        ("engine.strategy.native:ParamSpec", "ParamSpec is no strategy"),
    ],
)
def test_a_wrong_name_says_what_is_wrong(name, text):
    with pytest.raises(ConfigError, match=text):
        load(name)


def test_what_a_file_holds_is_listed(file):
    with pytest.raises(ConfigError, match="NUMBER is no strategy; strategies there: Mine"):
        load(f"{file}:NUMBER")


@pytest.mark.parametrize(
    ("source", "text"),
    [("def (", "SyntaxError"), ("import nowhere_at_all", "ModuleNotFoundError"), ("1 / 0", "ZeroDivision")],
)
def test_a_file_that_fails_to_load_says_why(tmp_path, source, text):
    path = tmp_path / "broken.py"
    path.write_text(source)
    with pytest.raises(ConfigError, match=rf"broken\.py fails to load: {text}"):
        load(f"{path}:X")
