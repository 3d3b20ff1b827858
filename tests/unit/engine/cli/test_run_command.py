"""``ringbook run``: what it refuses before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cli.main import main
from tests.kit.daemons import SIMULATED, replay


@pytest.mark.parametrize(
    ("text", "key"),
    [(SIMULATED, "$.feed.seconds"), (replay(Path(__file__), loop=0), "$.feed.loop")],
)
def test_a_feed_that_never_ends_is_not_waited_for(text, key, tmp_path, capsys):
    config = tmp_path / "t.toml"
    config.write_text(text.format(name="t"))
    assert main(["run", "--config", str(config), "--until-end"]) == 2
    assert f"{key}: with 0 the feed never ends" in capsys.readouterr().err
