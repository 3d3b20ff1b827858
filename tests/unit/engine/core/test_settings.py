"""Configuration files: what is wrong is named with file and path, and the environment overrides."""

from __future__ import annotations

import msgspec
import pytest

from engine.core import settings
from engine.core.errors import ConfigError


class Inner(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    size: int = 1
    ratio: float = 0.5


class Outer(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: str
    inner: Inner = msgspec.field(default_factory=Inner)
    items: list[Inner] = []


def write(tmp_path, text, name="c.toml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_file_becomes_a_struct(tmp_path):
    path = write(tmp_path, 'name = "x"\n[inner]\nsize = 3\n[[items]]\nratio = 2.0\n')
    config = settings.load(path, Outer, {})
    assert (config.name, config.inner.size, config.items[0].ratio) == ("x", 3, 2.0)


def test_json_and_yaml_mean_the_same(tmp_path):
    pytest.importorskip("yaml")
    toml = settings.load(write(tmp_path, 'name = "x"\n[inner]\nsize = 3\n'), Outer, {})
    json = settings.load(write(tmp_path, '{"name": "x", "inner": {"size": 3}}', "c.json"), Outer, {})
    yaml = settings.load(write(tmp_path, "name: x\ninner:\n  size: 3\n", "c.yaml"), Outer, {})
    assert toml == json == yaml
    assert settings.config_hash(toml) == settings.config_hash(json)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name = 1\n", "$.name"),
        ('name = "x"\n[inner]\nsizes = 3\n', "sizes"),
        ('name = "x"\n[inner]\nsize = "three"\n', "$.inner.size"),
        ('name = "x"\n[[items]]\nsize = 1\n[[items]]\nsize = 1.5\n', "$.items[1].size"),
        ("[inner]\nsize = 3\n", "name"),
        ("name = \n", "line 1"),
        ("", "name"),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path, text, expected):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        settings.load(path, Outer, {})
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        settings.load(tmp_path / "none.toml", Outer, {})
    path = tmp_path / "b.toml"
    path.write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match="not UTF-8 at byte 8"):
        settings.load(path, Outer, {})


def test_the_environment_overrides(tmp_path):
    path = write(tmp_path, 'name = "x"\n[[items]]\nsize = 1\n')
    environ = {
        "RINGBOOK__NAME": "plain text",
        "RINGBOOK__INNER__SIZE": "7",
        "RINGBOOK__ITEMS__0__RATIO": "0.25",
        "RINGBOOK_RUN_DIR": "/not/a/key",
    }
    config = settings.load(path, Outer, environ)
    assert config.name == "plain text"
    assert config.inner.size == 7
    assert config.items[0].ratio == 0.25


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RINGBOOK__ITEMS__3__SIZE", "no element 3 in a list of 1"),
        ("RINGBOOK__NAME__SIZE", "below a plain value"),
        ("RINGBOOK__INNER__SIZES", "sizes"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path, name, expected):
    path = write(tmp_path, 'name = "x"\n[[items]]\nsize = 1\n')
    with pytest.raises(ConfigError, match=expected):
        settings.load(path, Outer, {name: "1"})


def test_the_hash_depends_on_values_only(tmp_path):
    one = settings.load(write(tmp_path, 'name = "x"\n[inner]\nsize = 1\n'), Outer, {})
    two = settings.load(write(tmp_path, 'name = "x"\n', "d.toml"), Outer, {})
    three = settings.load(write(tmp_path, 'name = "y"\n', "e.toml"), Outer, {})
    assert settings.config_hash(one) == settings.config_hash(two) != settings.config_hash(three)


def test_an_index_that_only_looks_like_a_digit_is_refused():
    with pytest.raises(ConfigError, match="no element ²"):
        settings.apply_environment({"a": [1]}, {"RINGBOOK__A__²": "1"})


@pytest.mark.parametrize(("name", "start"), [("x.json", ""), ("x.toml", "a = ")])
def test_a_bottomless_file_is_refused(tmp_path, name, start):
    path = tmp_path / name
    path.write_text(start + "[" * 100_000)
    with pytest.raises(ConfigError, match=f"{name}: nested too deeply"):
        settings.read_file(path)


def test_a_value_is_one_value_or_text():
    assert settings.toml_value("3") == 3
    assert settings.toml_value("abc") == "abc"
    assert settings.toml_value("1\nx = 2") == "1\nx = 2"
