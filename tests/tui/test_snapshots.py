"""The screens of a scripted session, compared with SVG files.

``RINGBOOK_UPDATE_SNAPSHOTS=1`` writes them anew. With another version of Textual or Rich than the file's
only the characters are compared, not the styles.
"""

import os
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest
from msgspec import structs

from bridge.protocol import SwitchInfo
from tests.kit.tui_app import app_without_bridge, main_screen, svg, svg_lines
from tests.kit.tui_feed import scripted_store, status

SNAPSHOTS = Path(__file__).parent / "snapshots"
VERSIONS = f"<!-- textual {version('textual')}, rich {version('rich')} -->"
CASES = {
    "main-80x24": {},
    "main-120x36": {},
    "main-200x60": {},
    "light-120x36": {"theme": "ringbook-light", "keys": ["4"]},
    "live-80x24": {"mode": "LIVE"},
    "live-120x36": {"mode": "LIVE"},
    "no-colour-80x24": {"mode": "LIVE", "silent": 3.2, "colour": False},
    "stale-80x24": {"silent": 3.2},
    "lost-120x36": {"silent": 12.5, "lost": True},
    "feed-stale-120x36": {"feed_silent": 2.5},
    "halted-120x36": {"halted": True},
    "emergency-80x24": {"keys": ["E"]},
    "params-80x24": {"keys": ["e"]},
    "help-120x36": {"keys": ["question_mark"]},
    "strategies-80x24": {"keys": ["5"]},
    "held-80x24": {"held": True, "keys": ["5"]},
    "held-120x36": {"held": True, "keys": ["5"]},
    "zoom-80x24": {"keys": ["4", "z"]},
}


async def render(
    name,
    *,
    theme="ringbook-dark",
    keys=(),
    mode="PAPER",
    silent=0.0,
    lost=False,
    feed_silent=0.0,
    halted=False,
    held=False,
):
    width, height = map(int, name.rsplit("-", 1)[1].split("x"))
    store, clock = scripted_store(600, mode=mode)
    if lost:
        store.disconnected("no answer to hello")
    if feed_silent or halted:
        now = store.status.wall_ts
        changed = {"trading_state": "HALTED"} if halted else {}
        store.apply(status(600, wall_ts=now, feed_wall_ts=now - int(feed_silent * 1e9), **changed))
    if held:
        kill = SwitchInfo("strategy", "mm_fast", "HALTED", "kill_switch", "cli:ann", "odd fills")
        loss = SwitchInfo("instrument", "ETHUSDT", "REDUCING", "max_daily_loss", "risk")
        last = max(one.seq for one in store.strategies.values())
        for seq, (name, switch) in enumerate((("mm_fast", kill), ("mm_slow", loss)), last + 1):
            store.apply(structs.replace(store.strategies[name], seq=seq, switches=[switch]))
    app, _ = app_without_bridge(store, theme)
    async with app.run_test(size=(width, height)) as pilot:
        await pilot.pause()
        await pilot.press(*keys)
        clock.advance(silent)
        main_screen(app).refresh_panels()
        await pilot.pause()
        # The cursor of a field blinks; a picture of it must not depend on when it was taken.
        for field in app.screen.query("Input"):
            field.cursor_blink = False
        await pilot.pause()
        return svg(app)


@pytest.mark.parametrize("name", CASES)
async def test_the_screen_looks_as_it_did(name, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    case = dict(CASES[name])
    if not case.pop("colour", True):
        monkeypatch.setenv("NO_COLOR", "1")
    found = f"{await render(name, **case)}\n"
    path = SNAPSHOTS / f"{name}.svg"
    if os.environ.get("RINGBOOK_UPDATE_SNAPSHOTS") == "1":
        path.write_text(f"{VERSIONS}\n{found}", encoding="utf-8")
    expected_versions, expected = path.read_text(encoding="utf-8").split("\n", 1)
    same = found == expected if expected_versions == VERSIONS else svg_lines(found) == svg_lines(expected)
    if not same:
        new = Path(tempfile.mkdtemp(prefix="ringbook-snapshot-")) / path.name
        new.write_text(f"{VERSIONS}\n{found}", encoding="utf-8")
        pytest.fail(f"{name} looks different: compare {path} with {new}", pytrace=False)


@pytest.mark.parametrize("name", sorted(path.stem for path in SNAPSHOTS.glob("*.svg")))
def test_no_snapshot_is_left_over(name):
    assert name in CASES
