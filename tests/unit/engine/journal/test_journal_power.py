"""Losses of power: generated images recover or refuse, and the check that says so can fail."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from engine.core.errors import JournalDamaged
from tests.kit import journal_power


def test_every_image_recovers_or_refuses():
    seen: Counter[str] = Counter()
    for outcome in journal_power.images(11, 4000):
        seen["refused" if outcome.refused else "cut" if outcome.cut else "clean"] += 1
        seen["kept"] += outcome.kept
    assert min(seen[what] for what in ("refused", "cut", "clean", "kept")) > 50


def loses_a_record(found):
    return replace(found, seq=found.seq - 1)


def keeps_what_is_torn(found):
    return replace(found, seq=found.seq + 1) if found.torn else found


def takes_a_tear_for_damage(found):
    if found.torn:
        raise JournalDamaged("planted", segment="", offset=0)
    return found


@pytest.mark.parametrize("planted", [loses_a_record, keeps_what_is_torn, takes_a_tear_for_damage])
def test_a_planted_fault_of_recovery_is_found(monkeypatch, planted):
    real = journal_power.recover
    monkeypatch.setattr(journal_power, "recover", lambda *args, **kwargs: planted(real(*args, **kwargs)))
    with pytest.raises(AssertionError, match=r"repeat it with: python -m tests\.fuzz\.journal"):
        for _ in journal_power.images(3, 1000):
            pass
