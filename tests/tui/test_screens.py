"""The main screen and the dialogs, driven by keys and mouse, without a bridge."""

import signal

import msgspec
import pytest

from bridge import protocol as p
from tests.kit.tui_app import app_without_bridge, drive, main_screen, screen_text, until
from tests.kit.tui_feed import Session, scripted_store, status, welcome
from tui.actions import (
    ACTIONS,
    TRADING,
    cancel_orders,
    emergency_stop,
    kill,
    pause,
    query_limits,
    query_switches,
    rearm,
    resume,
    update_limit,
    update_param,
)
from tui.format import date
from tui.model import Answer, Outcome
from tui.screens.emergency import EmergencyDialog
from tui.screens.help import HelpScreen
from tui.screens.kill import KillDialog, RearmDialog
from tui.screens.limits import LimitsDialog
from tui.screens.main import MainScreen
from tui.screens.params import ParamDialog
from tui.store import Store


@pytest.fixture
def session():
    store, clock = scripted_store(120)
    app, link = app_without_bridge(store)
    return app, link, store, clock


PANELS = ("positions", "ladder", "orders", "fills", "strategies", "log", "chart")


# --- commands ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("p", pause("mm_fast")),
        ("P", pause()),
        ("r", resume("mm_fast")),
        ("R", resume()),
        ("x", cancel_orders("mm_fast")),
        ("X", cancel_orders()),
    ],
)
async def test_a_key_sends_its_command_and_shows_the_answer(session, key, order):
    app, link, store, _ = session
    async with drive(app) as pilot:
        await pilot.press(key)
        await until(lambda: store.log[-1].source == "command" and "4711" in store.log[-1].text)
        assert link.orders == [order]
        await until(lambda: "paused (Paused, step 4711)" in screen_text(app))
        await pilot.press("6")
        assert f"{order.title}: paused (Paused, step 4711)" in screen_text(app)


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        (Answer(Outcome.REFUSED, "no strategy of that name (step 5)"), "error"),
        (Answer(Outcome.UNKNOWN, "outcome unknown: no answer in 2 s; look before you repeat it"), "warning"),
        (Answer(Outcome.NOT_SENT, "not sent: no connection to the engine"), "error"),
    ],
)
async def test_what_is_not_done_is_said_so(session, answer, level):
    app, link, store, _ = session
    link.answer = answer
    async with drive(app) as pilot:
        await pilot.press("p")
        await until(lambda: store.log[-1].text == f"Pause mm_fast: {answer.text}")
        assert store.log[-1].level == level
        await until(lambda: answer.text[:20] in screen_text(app))


async def test_commands_do_not_wait_for_each_other(session):
    app, link, _, _ = session
    link.gate.clear()
    async with drive(app) as pilot:
        await pilot.press("p", "x", "P")
        await until(lambda: len(link.orders) == 3)
        link.gate.set()


async def test_the_selected_strategy_is_meant(session):
    app, link, _, _ = session
    async with drive(app) as pilot:
        await pilot.pause()
        await pilot.press("5", "down", "p")
        await until(lambda: link.orders)
        assert link.orders == [pause("mm_slow")]
        await pilot.press("1", "up", "r")
        await until(lambda: len(link.orders) == 2)
        assert link.orders[1] == resume("mm_fast")


async def test_without_a_strategy_nothing_is_sent():
    app, link = app_without_bridge(Store())
    async with drive(app) as pilot:
        await pilot.press("p", "e")
        await until(lambda: "No strategy is known yet" in screen_text(app))
        assert link.orders == []


# --- emergency stop ------------------------------------------------------------------------------


async def test_no_single_key_stops_trading(session):
    app, link, _, _ = session
    strays = [action.key for action in ACTIONS if action.group == TRADING]
    async with drive(app) as pilot:
        for stray in (*strays, "enter", "space", "escape", "y", "Y", "h"):
            await pilot.press(stray)
            await pilot.pause()
            assert not [o for o in link.orders if o.kind in (p.EmergencyStop, p.Kill, p.Rearm)], stray
            if not isinstance(app.screen, MainScreen):
                await pilot.press("escape")


async def test_no_repeated_or_stray_key_gets_through_the_dialog(session):
    app, link, _, _ = session
    async with drive(app) as pilot:
        for key in ("E", "enter", "escape", "n", "y", "space", "p", "X"):
            await pilot.press("E", key)
            await pilot.pause()
            assert link.orders == [], key
            if not isinstance(app.screen, MainScreen):
                await pilot.press("escape")


@pytest.mark.parametrize(
    ("keys", "cancel", "close"),
    [([], True, False), (["c"], True, True), (["o"], False, False), (["o", "c"], False, True)],
)
async def test_two_deliberate_keys_stop_trading(session, keys, cancel, close):
    app, link, _, _ = session
    link.answer = Answer(Outcome.DONE, "halted (HALTED, step 9)")
    async with drive(app) as pilot:
        await pilot.press("E")
        assert isinstance(app.screen, EmergencyDialog)
        await pilot.press(*keys, "Y")
        await until(lambda: link.orders)
        assert link.orders == [emergency_stop(cancel, close)]
        await until(lambda: "halted (HALTED, step 9)" in screen_text(app))


async def test_the_stop_button_works_with_the_mouse(session):
    app, link, _, _ = session
    async with drive(app, (80, 24)) as pilot:
        await pilot.press("E")
        await pilot.click("#close")
        await pilot.click("#halt")
        await until(lambda: link.orders)
        assert link.orders == [emergency_stop(True, True)]


async def test_the_dialog_says_what_is_at_stake():
    store, _ = scripted_store(120, mode="LIVE")
    app, _ = app_without_bridge(store)
    async with drive(app) as pilot:
        await pilot.press("E")
        await pilot.pause()
        assert f"LIVE: {len(store.live_orders)} live orders" in screen_text(app)


# --- kill switch ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("keys", "strategy"), [([], ""), (["o"], "mm_fast"), (["o", "o"], "")])
async def test_two_deliberate_keys_throw_the_kill_switch(session, keys, strategy):
    app, link, _, _ = session
    link.answer = Answer(Outcome.DONE, "global killed (HALTED, step 9)")
    async with drive(app) as pilot:
        await pilot.press("K")
        assert isinstance(app.screen, KillDialog)
        assert "holds over restarts" in screen_text(app)
        await pilot.press(*keys, "Y")
        await until(lambda: link.orders)
        assert link.orders == [kill(strategy)]
        await until(lambda: "global killed (HALTED, step 9)" in screen_text(app))


async def test_no_stray_key_throws_it(session):
    app, link, _, _ = session
    async with drive(app) as pilot:
        for key in ("enter", "y", "K"):
            await pilot.press("K", key)
            await pilot.pause()
            assert link.orders == [], key
            if not isinstance(app.screen, MainScreen):
                await pilot.press("escape")


async def test_without_a_strategy_everything_is_killed():
    app, link = app_without_bridge(Store())
    async with drive(app) as pilot:
        await pilot.press("K", "o", "Y")
        await until(lambda: link.orders)
        assert link.orders == [kill()]


SWITCHES = [
    {"id": "1f3a9c07", "scope": "global", "name": "", "state": "HALTED", "cause": "kill_switch",
     "who": "ann"},
    {"id": "22222222", "scope": "strategy", "name": "mm_fast", "state": "REDUCING", "cause": "max_drawdown",
     "who": "risk", "reason": "lost"},
]  # fmt: skip


async def test_a_thrown_switch_is_seen_and_taken_back(session):
    app, link, _, _ = session
    link.answer = Answer(Outcome.DONE, "ok", {"switches": SWITCHES})
    async with drive(app) as pilot:
        await pilot.press("A")
        await until(lambda: "strategy mm_fast" in screen_text(app))
        assert isinstance(app.screen, RearmDialog)
        assert "REDUCING by max_drawdown, risk: lost" in screen_text(app)
        await pilot.press("down")
        await until(lambda: "shift+Y re-arms 22222222" in screen_text(app))
        await pilot.press("Y")
        await until(lambda: len(link.orders) == 2)
        assert link.orders == [query_switches(), rearm("22222222")]


async def test_a_token_goes_with_it_and_is_not_shown(session):
    app, link, _, _ = session
    link.answer = Answer(Outcome.DONE, "ok", {"switches": SWITCHES[:1]})
    async with drive(app) as pilot:
        await pilot.press("A")
        await until(lambda: "re-arms 1f3a9c07" in screen_text(app))
        await pilot.press("tab", *"secret")
        assert "secret" not in screen_text(app)
        await pilot.press("enter")
        await until(lambda: len(link.orders) == 2)
        assert link.orders[1] == rearm("1f3a9c07", "secret")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer(Outcome.DONE, "ok", {"switches": []}), "No switch is thrown."),
        (Answer(Outcome.NOT_SENT, "not sent: no connection to the engine"), "no connection to the engine"),
    ],
)
async def test_nothing_thrown_or_nobody_to_ask(session, answer, text):
    app, link, _, _ = session
    link.answer = answer
    async with drive(app) as pilot:
        await pilot.press("A")
        await until(lambda: text in screen_text(app))
        await pilot.press("Y")
        await pilot.press("escape")
        assert isinstance(app.screen, MainScreen)
        assert link.orders == [query_switches()]


# --- limits --------------------------------------------------------------------------------------


async def test_limits_are_seen_and_changed(session):
    app, link, _, _ = session
    limits = {"BTCUSDT": {"max_position": 0.5}}
    link.answer = Answer(Outcome.DONE, "limits changed in BTCUSDT", {"limits": limits})
    async with drive(app) as pilot:
        await pilot.press("l")
        await until(lambda: "BTCUSDT: max_position 0.5" in screen_text(app))
        assert isinstance(app.screen, LimitsDialog)
        limits["BTCUSDT"]["max_open_orders"] = 3
        await pilot.press(*"max_open_orders=3", "enter")
        await until(lambda: "max_open_orders 3" in screen_text(app))
        assert link.orders[:2] == [query_limits("mm_fast"), update_limit("mm_fast", "", "max_open_orders", 3)]
        await pilot.press(*"max_position=none", "enter")
        await until(lambda: len(link.orders) == 5)
        assert link.orders[3] == update_limit("mm_fast", "", "max_position", float("inf"))
        await pilot.press("escape")
        assert isinstance(app.screen, MainScreen)


async def test_limits_over_all_strategies_are_seen_and_changed(session):
    app, link, _, _ = session
    limits = {"": {"max_open_orders": 9}, "BTCUSDT": {"max_position": 2.0}}
    link.answer = Answer(Outcome.DONE, "limits changed in BTCUSDT", {"limits": limits})
    async with drive(app) as pilot:
        await pilot.press("L")
        await until(lambda: "everything: max_open_orders 9" in screen_text(app))
        app.screen.query_one("#value").value = "BTCUSDT max_position = 3"
        await pilot.press("enter")
        await until(lambda: len(link.orders) == 3)
        assert link.orders[:2] == [query_limits(""), update_limit("", "BTCUSDT", "max_position", 3)]


async def test_a_limit_that_is_none_is_not_sent(session):
    app, link, _, _ = session
    async with drive(app) as pilot:
        await pilot.press("l")
        for typed in ("max_position", "=3", "max_position=much", "max_position=-1", "x=nan"):
            app.screen.query_one("#value").value = typed
            await pilot.press("enter")
            await until(lambda: "Not sent" in screen_text(app))
        assert link.orders == [query_limits("mm_fast")]


async def test_a_limit_that_is_refused_stays_to_be_mended(session):
    app, link, _, _ = session
    link.answer = Answer(Outcome.REFUSED, "unknown field `x`")
    async with drive(app) as pilot:
        await pilot.press("l", *"x=1", "enter")
        await until(lambda: len(link.orders) == 3)
        assert isinstance(app.screen, LimitsDialog)
        assert app.screen.query_one("#value").value == "x=1"


# --- parameters ----------------------------------------------------------------------------------


async def test_a_parameter_is_changed(session):
    app, link, _, _ = session
    link.answer = Answer(Outcome.DONE, "half_spread = 4.5 (Running, step 12)")
    async with drive(app, (80, 24)) as pilot:
        await pilot.press("e")
        await pilot.pause()
        text = screen_text(app)
        assert "Parameters of mm_fast" in text
        assert "float, 0 to 100" in text
        assert "now 2.5" in text
        await pilot.press("enter", *"4.5", "enter")
        await until(lambda: link.orders)
        assert link.orders == [update_param("mm_fast", "half_spread", 4.5)]
        await until(lambda: isinstance(app.screen, MainScreen))
        await until(lambda: "half_spread = 4.5 (Running, step 12)" in screen_text(app))


@pytest.mark.parametrize(
    ("down", "typed", "why"),
    [
        (0, "fast", "is not a number"),
        (0, "101", "above the most allowed"),
        (1, "2.5", "not a whole number"),
        (2, "maybe", "not true or"),
    ],
)
async def test_bad_input_is_refused_before_it_is_sent(session, down, typed, why):
    app, link, _, _ = session
    async with drive(app) as pilot:
        await pilot.press("e", *["down"] * down, "enter", *typed)
        await pilot.pause()
        assert why in screen_text(app)
        await pilot.press("enter")
        await pilot.pause()
        assert "Not sent" in screen_text(app)
        assert link.orders == []
        await pilot.press("escape")
        assert isinstance(app.screen, MainScreen)


async def test_a_refusal_keeps_the_dialog_open_and_shows_why(session):
    app, link, _, _ = session
    link.answer = Answer(Outcome.REFUSED, "levels must be odd (Running, step 3)")
    async with drive(app) as pilot:
        await pilot.press("e", "down", "enter", "4", "enter")
        await until(lambda: "levels must be odd" in screen_text(app))
        assert isinstance(app.screen, ParamDialog)
        assert link.orders == [update_param("mm_fast", "levels", 4)]


async def test_a_click_on_send_sends(session):
    app, link, _, _ = session
    async with drive(app, (80, 24)) as pilot:
        await pilot.press("e")
        await pilot.click("#send")
        await until(lambda: link.orders)
        assert link.orders == [update_param("mm_fast", "half_spread", 2.5)]


async def test_enter_is_sent_once_while_the_answer_is_out(session):
    app, link, _, _ = session
    link.gate.clear()
    async with drive(app) as pilot:
        await pilot.press("e", "enter", "7", "enter", "enter", "enter")
        await until(lambda: link.orders)
        await pilot.pause()
        assert len(link.orders) == 1
        assert "waiting for the engine" in screen_text(app)
        link.gate.set()
        await until(lambda: isinstance(app.screen, MainScreen))


async def test_leaving_while_the_answer_is_out_still_tells_it(session):
    app, link, store, _ = session
    link.gate.clear()
    async with drive(app) as pilot:
        await pilot.press("e", "enter", "7", "enter", "escape")
        assert isinstance(app.screen, MainScreen)
        link.gate.set()
        await until(lambda: "4711" in store.log[-1].text)


async def test_a_strategy_without_parameters(session):
    app, _, store, _ = session
    store.apply(p.StrategyStatus(1, 99, 0, "mm_fast", "external", "Running", "", ["BTCUSDT"], []))
    async with drive(app) as pilot:
        await pilot.press("e")
        await until(lambda: "mm_fast has no parameters" in screen_text(app))
        assert isinstance(app.screen, MainScreen)


# --- view ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60)])
async def test_number_keys_go_to_panels(session, size):
    app, _, _, _ = session
    async with drive(app, size) as pilot:
        for key, name in enumerate(PANELS, 1):
            await pilot.press(str(key))
            await pilot.pause()
            panel = main_screen(app).query_one(f"#{name}")
            assert panel.has_focus
            assert panel.display
            assert panel.size.height > 0


async def test_tabs_are_clicked(session):
    app, _, _, _ = session
    async with drive(app) as pilot:
        await pilot.pause()
        for name, title in (("fills", "Fills"), ("log", "Log"), ("orders", "Orders")):
            lines = screen_text(app).splitlines()
            line = next(line for line in lines if "3 Orders" in line and "6 Log" in line)
            await pilot.click("#tabs", offset=(line.index(title), 0))
            await pilot.pause()
            assert main_screen(app).query_one(f"#{name}").has_focus


async def test_symbols_change_with_keys_and_with_the_position(session):
    app, link, _, _ = session
    async with drive(app) as pilot:
        await pilot.pause()
        screen = main_screen(app)
        assert screen.symbol == "BTCUSDT"
        await pilot.press("s")
        assert "2 Ladder ETHUSDT" in screen_text(app)
        await pilot.press("S")
        assert screen.symbol == "BTCUSDT"
        await pilot.press("2", "right")
        assert screen.symbol == "ETHUSDT"
        await pilot.press("left")
        assert screen.symbol == "BTCUSDT"
        await pilot.press("1", "down")
        await until(lambda: (screen.strategy, screen.symbol) == ("mm_slow", "ETHUSDT"))
        await until(lambda: link.watched[-1] == "ETHUSDT")


async def test_the_chart_goes_through_its_series(session):
    app, _, _, _ = session
    async with drive(app) as pilot:
        await pilot.pause()
        for name in ("mm_fast BTCUSDT", "mm_slow ETHUSDT", "total"):
            await pilot.press("c")
            assert f"Net PnL {name} " in screen_text(app)


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_zoom_and_back(session, size):
    app, _, _, _ = session
    async with drive(app, size) as pilot:
        await pilot.pause()
        screen = main_screen(app)
        for key, name in ((2, "ladder"), (3, "orders"), (7, "chart")):
            await pilot.press(str(key))
            await pilot.pause()
            panel = screen.query_one(f"#{name}")
            before = panel.region
            await pilot.press("z")
            await pilot.pause()
            assert panel.region.width >= size[0] - 1
            assert panel.region.height >= size[1] - 4
            lines = screen_text(app).splitlines()
            assert "PAPER" in lines[0], "the mode is never hidden"
            assert "Pause" in lines[-1]
            await pilot.press("escape" if key % 2 else "z")
            await pilot.pause()
            assert panel.region == before
        await pilot.press("z", "3")
        await pilot.pause()
        assert not screen.zoomed
        assert screen.query_one("#orders").has_focus


async def test_rows_are_picked_with_the_mouse(session):
    app, _, _, _ = session
    async with drive(app) as pilot:
        await pilot.pause()
        await pilot.click("#positions", offset=(5, 3))
        await pilot.pause()
        assert main_screen(app).strategy == "mm_slow"
        await pilot.press("5")
        await pilot.pause()
        await pilot.click("#strategies", offset=(5, 1))
        await pilot.pause()
        assert main_screen(app).strategy == "mm_fast"
        await pilot.click("#strategies", offset=(5, 2), times=2)
        await pilot.pause()
        assert isinstance(app.screen, ParamDialog)
        assert "Parameters of mm_slow" in screen_text(app)


async def test_tables_scroll(session):
    app, _, store, _ = session
    async with drive(app) as pilot:
        await pilot.pause()
        await pilot.press("4")
        await pilot.pause()
        fills = main_screen(app).query_one("#fills")
        await pilot.press("end")
        await pilot.pause()
        assert fills.scroll_offset.y == len(store.fills) + 1 - fills.size.height
        await pilot.press("home", "down", "down", "up")
        await pilot.pause()
        assert fills.scroll_offset.y == 1
        await pilot.press("pagedown")
        await pilot.pause()
        assert fills.scroll_offset.y > 5


async def test_help_shows_every_key_and_closes(session):
    app, _, _, _ = session
    async with drive(app, (120, 60)) as pilot:
        for close in ("escape", "q", "question_mark"):
            await pilot.press("question_mark")
            await pilot.pause()
            assert isinstance(app.screen, HelpScreen)
            text = screen_text(app)
            assert all(action.title in text for action in ACTIONS)
            await pilot.press(close)
            await pilot.pause()
            assert isinstance(app.screen, MainScreen)


async def test_the_palette_finds_and_runs_actions(session):
    app, link, _, _ = session
    async with drive(app) as pilot:
        await pilot.press("ctrl+p")
        await pilot.pause()
        await pilot.press(*"pause all")
        await until(lambda: "no new orders of anyone" in screen_text(app))
        await pilot.press("down", "enter")
        await until(lambda: link.orders)
        assert link.orders == [pause()]


async def test_light_and_dark(session):
    app, _, _, _ = session
    async with drive(app) as pilot:
        await pilot.press("t")
        assert app.theme == "ringbook-light"
        await pilot.press("t")
        assert app.theme == "ringbook-dark"


@pytest.mark.parametrize("theme", ["textual-light", "nord", "dracula"])
async def test_other_themes_have_our_colours_too(session, theme):
    app, _, _, _ = session
    async with drive(app) as pilot:
        app.theme = theme
        await pilot.pause()
        assert "TOTAL" in screen_text(app)


async def test_quit_from_the_main_screen_and_from_a_dialog(session):
    app, _, _, _ = session
    async with drive(app) as pilot:
        await pilot.press("E", "ctrl+q")
        await until(lambda: not app.is_running)
    app, _ = app_without_bridge(scripted_store(5)[0])
    async with drive(app) as pilot:
        await pilot.press("q")
        await until(lambda: not app.is_running)


async def test_keys_that_trade_do_nothing_below_a_dialog(session):
    app, link, _, _ = session
    async with drive(app) as pilot:
        await pilot.press("question_mark", "p", "X")
        await pilot.pause()
        assert link.orders == []


# --- what is shown -------------------------------------------------------------------------------


async def test_paper_and_live_do_not_look_alike():
    looks = {}
    for mode in ("PAPER", "LIVE", "REPLAY"):
        app, _ = app_without_bridge(scripted_store(20, mode=mode)[0])
        async with drive(app) as pilot:
            await pilot.pause()
            header = main_screen(app).query_one("#header")
            first = screen_text(app).splitlines()[0]
            assert mode in first
            assert ("REAL MONEY" in first) == (mode == "LIVE")
            assert ("NOTHING IS TRADED" in first) == (mode == "REPLAY")
            assert (date(app.store.status.market_ts) in first) == (mode == "REPLAY")
            looks[mode] = header.styles.background
    assert len(set(looks.values())) == 3


async def test_live_is_told_without_colours(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    app, _ = app_without_bridge(scripted_store(20, mode="LIVE")[0])
    async with drive(app, (80, 24)) as pilot:
        await pilot.pause()
        assert app.no_color
        assert screen_text(app).splitlines()[0].count("LIVE") == 2
        assert main_screen(app).query_one("#header").styles.text_style.reverse


async def test_in_a_replay_the_keys_of_a_strategy_pause_and_resume_the_replay():
    app, link = app_without_bridge(scripted_store(20, mode="REPLAY")[0])
    async with drive(app) as pilot:
        await pilot.press("p", "r")
        await until(lambda: len(link.orders) == 2)
        assert [(order.title, order.fields) for order in link.orders] == [
            ("Pause the replay", {"strategy_id": ""}),
            ("Resume the replay", {"strategy_id": ""}),
        ]


async def test_sigterm_leaves_the_terminal_as_it_was(session):
    app, _, _, _ = session
    async with drive(app) as pilot:
        await pilot.pause()
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        signal.raise_signal(signal.SIGTERM)
        await until(lambda: not app.is_running)


async def test_staleness_is_seen_and_goes_away(session):
    app, _, store, clock = session
    async with drive(app) as pilot:
        screen = main_screen(app)
        await pilot.pause()
        assert not screen.query(".-stale")
        clock.advance(3.25)
        main_screen(app).refresh_panels()
        await pilot.pause()
        text = screen_text(app)
        assert "ALL STALE 3.2s: engine silent" in text
        assert text.count("STALE 3.2s") >= 5
        assert "mm_fast" in text, "the last values stay"
        assert screen.query_one("#positions").has_class("-stale")
        store.apply(status(500))
        main_screen(app).refresh_panels()
        await pilot.pause()
        assert "STALE" not in screen_text(app)
        assert not screen.query(".-stale")


async def test_a_stale_feed_dims_only_the_market(session):
    app, _, store, _ = session
    now = store.status.wall_ts
    store.apply(status(500, wall_ts=now, feed_wall_ts=now - 2_500_000_000))
    async with drive(app) as pilot:
        await pilot.pause()
        assert "FEED STALE 2.5s" in screen_text(app)
        screen = main_screen(app)
        stale = {panel.id for panel in screen.query(".-stale")}
        assert stale == {"positions", "chart", "ladder", "trades"}


async def test_a_journal_in_trouble_is_said_plainly(session):
    app, _, store, _ = session
    async with drive(app) as pilot:
        states = (("full", "DISK FULL"), ("halted", "JOURNAL HALTED"), ("ok", ""))
        for step, (state, said) in enumerate(states, 500):
            store.apply(status(step, wall_ts=store.status.wall_ts, journal=state))
            main_screen(app).refresh_panels()
            await pilot.pause()
            shown = [text for text in ("DISK FULL", "JOURNAL HALTED") if text in screen_text(app)]
            assert shown == ([said] if said else [])


async def test_a_lost_bridge_and_its_return(session):
    app, _, store, clock = session
    async with drive(app) as pilot:
        store.disconnected("no heartbeat on the control socket")
        clock.advance(2.1)
        main_screen(app).refresh_panels()
        await pilot.pause()
        text = screen_text(app)
        assert "◌ reconnecting 2.1s" in text
        assert "ALL STALE 2.1s: bridge silent" in text
        assert "ACTIVE?" in text, "nobody confirms the trading state any more"
        clock.advance(9)
        main_screen(app).refresh_panels()
        await pilot.pause()
        assert "✖ lost 11.1s" in screen_text(app)
        store.connected(welcome(epoch=2))
        for message in Session(epoch=2).messages(3):
            store.apply(message)
        main_screen(app).refresh_panels()
        await pilot.pause()
        text = screen_text(app)
        assert "● connected" in text
        assert "STALE" not in text


async def test_what_matters_most_stays_on_a_narrow_header():
    store, clock = scripted_store(20, mode="LIVE")
    store.apply(status(20, mode="LIVE", engine="an-engine-with-a-very-long-name-x", trading_state="HALTED"))
    store.disconnected("no heartbeat")
    clock.advance(5)
    app, _ = app_without_bridge(store)
    async with drive(app, (80, 24)) as pilot:
        await pilot.pause()
        first = screen_text(app).splitlines()[0]
        for piece in ("LIVE", "HALTED", "reconnecting 5.0s"):
            assert piece in first


async def test_before_anything_is_known():
    app, _ = app_without_bridge(Store())
    async with drive(app, (80, 24)) as pilot:
        await pilot.pause()
        text = screen_text(app)
        assert "no engine" in text
        assert "connecting" in text
        assert "no position reported yet" in text
        assert "no PnL reported yet" in text


async def test_trading_state_and_drops_are_told(session):
    app, _, store, _ = session
    store.apply(status(120, trading_state="HALTED", dropped=17, denied=3))
    store.apply(
        p.StrategyStatus(1, 3, 0, "mm_fast", "python", "Error", "ZeroDivisionError:\n in on_book", [], [])
    )
    async with drive(app) as pilot:
        await pilot.press("5")
        await pilot.pause()
        text = screen_text(app)
        assert "HALTED" in text
        assert "drops 17" in text
        assert "denied 3" in text
        assert "Error" in text
        assert "ZeroDivisionError: in on_book" in text


@pytest.mark.parametrize("size", [(80, 24), (240, 50)])
async def test_a_strategy_that_a_switch_holds_is_not_shown_as_if_it_ran(session, size):
    app, _, store, _ = session
    store.apply(status(120))
    running = store.strategies["mm_fast"]
    own = p.SwitchInfo("strategy", "mm_fast", "HALTED", "kill_switch", "cli:ann", "[odd] fills")
    async with drive(app, size) as pilot:
        await pilot.pause()
        assert "KILLED" not in screen_text(app)
        store.apply(msgspec.structs.replace(running, seq=99, switches=[own]))
        await pilot.pause(0.3)
        text = screen_text(app)
        assert "ACTIVE  KILLED mm_fast " in text.splitlines()[0]
        assert "1 held" in text
        await pilot.press("5")
        await pilot.pause()
        lines = screen_text(app).splitlines()[5:]
        row = next(line for line in lines if "mm_fast" in line and "KILLED" in line)
        if size[0] > 100:
            assert "Running, but HALTED by kill_switch, set by cli:ann: [odd] fills" in row
        breaker = p.SwitchInfo("instrument", "BTCUSDT", "REDUCING", "max_daily_loss", "risk")
        store.apply(msgspec.structs.replace(running, seq=100, switches=[breaker]))
        await pilot.pause(0.3)
        assert "REDUCING mm_fast" in screen_text(app).splitlines()[0]
        store.apply(msgspec.structs.replace(running, seq=101))
        await pilot.pause(0.3)
        assert "mm_fast" not in screen_text(app).splitlines()[0]
        assert "held" not in screen_text(app)


@pytest.mark.parametrize("size", [(20, 6), (40, 10), (60, 15), (300, 90)])
async def test_any_terminal_size_is_survived(session, size):
    app, _, _, _ = session
    async with drive(app, size) as pilot:
        await pilot.pause()
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        assert "TOTAL" in screen_text(app)


async def test_own_orders_are_marked_in_the_ladder(session):
    app, _, store, _ = session
    async with drive(app) as pilot:
        await pilot.pause()
        rows = [line for line in screen_text(app).splitlines() if "►0.020" in line]
        assert len(rows) == len(store.live_in("BTCUSDT")) > 0


async def test_text_from_the_engine_is_never_markup(session):
    app, link, store, _ = session
    link.answer = Answer(Outcome.DONE, "[bold]x[/bold] [/] [$nope]")
    store.apply(p.Log(1, 9999, 1, "error", "[red]", "[/bold] oops [link='x']"))
    store.apply(
        p.StrategyStatus(
            1, 99, 0, "a[b]", "python", "[/x]", "[", ["[s]"], [p.ParamInfo("p[0]", "str", "[/]", doc="[b")]
        )
    )
    async with drive(app, (200, 60)) as pilot:
        await pilot.press("p")
        await pilot.press("5", "home", "e")
        await pilot.pause()
        text = screen_text(app)
        assert "Parameters of a[b]" in text
        assert "p[0] = [/]" in text
        await pilot.press("escape")
        await pilot.pause()
        text = screen_text(app)
        assert "[/bold] oops [link='x']" in text
        assert "[bold]x[/bold]" in text
