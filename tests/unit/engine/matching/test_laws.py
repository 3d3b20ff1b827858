"""Market laws: there and back through TOML, the packaged one, and every kind of wrong key by name."""

import tomllib

import pytest

from engine.core.errors import ConfigError
from engine.matching.laws import law_of, law_text, load_law


def tables():
    return tomllib.loads(law_text(load_law()))


def test_the_packaged_law_is_whole_and_says_where_it_is_from():
    law = load_law()
    assert law.market.tick_size == 0.1
    assert law.provenance["market_orders"] > 1000
    assert "inferred" in law.provenance
    assert "assumed" in law.provenance


def test_text_and_law_are_the_same():
    law = load_law()
    text = law_text(law)
    assert law_of(tomllib.loads(text)) == law
    assert law_text(law_of(tomllib.loads(text))) == text


def test_text_in_a_law_is_escaped():
    data = tables()
    data["name"] = 'a "b" \\ c\nd'
    assert law_of(tomllib.loads(law_text(law_of(data)))).name == data["name"]


def change(section, key, value):
    def apply(data):
        data[section][key] = value

    return apply


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda d: d.update(format=2), "format must be 1, not 2"),
        (lambda d: d.update(colour="red"), "colour is no part"),
        (lambda d: d.update(name=7), "name must be text"),
        (lambda d: d.pop("crowd"), "crowd: the table is missing"),
        (lambda d: d["fair"].pop("follow"), "fair.follow is missing"),
        (lambda d: d.update(measured=3), "measured must be a table"),
        (change("fair", "colour", 1), "fair.colour is not known"),
        (change("fair", "follow", 1.5), "fair.follow must be 0 to 1, not 1.5"),
        (change("fair", "follow", "x"), "fair.follow must be a number"),
        (change("fair", "follow", True), "fair.follow must be a number"),
        (change("fair", "volatility", float("nan")), "fair.volatility must be 0 to"),
        (change("agents", "makers", 2.5), "agents.makers must be a whole number"),
        (change("takers", "lots", [1, 2]), "takers.lots must have 18 numbers, not 2"),
        (change("takers", "lots", 3), "takers.lots must be a list"),
        (change("takers", "lots", [5.0] + [4.0] * 17), r"takers.lots\[1\] must not be less"),
        (change("takers", "decay", [1.0, "x"]), r"takers.decay\[1\] must be a number"),
        (change("takers", "decay", [1.0, 2.0, 3.0, 4.0]), "takers.decay must have 1 to 3"),
        (change("takers", "decay", [1.0]), "takers.self_excite must have 1 numbers"),
        (change("takers", "self_excite", [0.9, 0.9]), "above 0.95"),
        (change("crowd", "edges", [0, 1.5, 2]), "whole numbers that rise"),
        (change("crowd", "edges", [0, 5000]), r"crowd.edges\[1\] must be a number from 0 to 4096"),
        (change("crowd", "edges", list(range(40))), "2 to 33 numbers"),
        (change("crowd", "placed", [1.0]), "crowd.placed must have 20 numbers"),
        (change("market", "start_price", 1.0), "start_price must be 8192 to"),
    ],
)
def test_what_is_wrong_is_named(spoil, words):
    data = tables()
    spoil(data)
    with pytest.raises(ConfigError, match="a.toml: .*" + words):
        law_of(data, "a.toml")


def test_nobody_at_the_best_is_refused():
    data = tables()
    data["crowd"]["placed"][0] = 0
    with pytest.raises(ConfigError, match="somebody has to quote"):
        law_of(data)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml: No such file"):
        load_law(tmp_path / "none.toml")
    (tmp_path / "x.toml").write_text("a = = 1")
    with pytest.raises(ConfigError, match=r"x\.toml: not TOML"):
        load_law(tmp_path / "x.toml")
