"""Result codes: every one that the core declares becomes its own named exception."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.core import errors

ROOT = Path(__file__).resolve().parents[4]
CODES = {
    name: int(value)
    for name, value in re.findall(
        r"^    (\w+) = (\d+)", (ROOT / "engine/core/codes.pxd").read_text(), re.MULTILINE
    )
}


def test_ok_and_end_of_data_raise_nothing():
    assert errors.raise_for_code(CODES["OK"]) is None
    assert errors.raise_for_code(CODES["END_OF_DATA"]) is None


@pytest.mark.parametrize("name", [name for name in CODES if name.startswith("ERR_")])
def test_every_code_has_an_exception(name):
    with pytest.raises(errors.RingbookError) as caught:
        errors.raise_for_code(CODES[name], "order 7")
    assert str(caught.value).endswith(": order 7")
    assert "result code" not in str(caught.value), "the code has no entry of its own"


def test_an_unknown_code_is_still_an_error():
    with pytest.raises(errors.RingbookError, match="result code 9999"):
        errors.raise_for_code(9999)


def test_data_errors_say_where():
    error = errors.DataError("is not finite", file="a.npz", row=3, field="px")
    assert str(error) == "a.npz, row 3, field px: is not finite"
    assert (error.file, error.row, error.byte, error.field) == ("a.npz", 3, None, "px")
    assert str(errors.DataError("empty")) == "empty"
