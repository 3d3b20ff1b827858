import json

import pytest

from engine.runtime import config as daemon_config
from engine.runtime import watch as module
from engine.runtime.logging import configure
from engine.runtime.metrics import describe, read
from engine.runtime.rundir import RunDir, RunState
from engine.runtime.watch import Watch, difference

TEXT = """
[engine]
name = "t"
run_dir = "{folder}"
max_orders = 100
log_level = "info"

[external]
enabled = true
limits = {{ max_order_qty = 1.0 }}

[[instruments]]
symbol = "BTC"
tick_size = 0.1
lot_size = 0.001

[[strategies]]
id = "mm"
class = "engine.strategy.native:MarketMaker"
params = {{ half_spread = 1.0, skew = 0.3 }}
limits = {{ max_position = 0.5 }}
"""


def running(file):
    """The state of a daemon that was started with a file."""
    return RunState(
        name="t",
        mode="PAPER",
        state="running",
        pid=1,
        endpoint="ipc://x",
        started=1,
        config=str(file),
        config_hash="",
    )


class Reply:
    def __init__(self, success, message=""):
        self.success, self.message = success, message


class Edited:
    """A watched file, whose edits come to rest at once, and an engine that answers what it is told to."""

    def __init__(self, folder):
        self.folder, self.file = folder, folder / "t.toml"
        self.file.write_text(TEXT.format(folder=folder))
        config = daemon_config.load(self.file, {})
        self.run = config.run_dir()
        self.run.make()
        self.asked, self.levels, self.room = [], [], True
        self.reply = Reply(True, "in force")
        log = configure("bridge", self.run.log_file, console=False)
        self.watch = Watch(self.file, config, self.run, self.ask, log, self.levels.append, {})
        self.look()

    def ask(self, command, fields, answer, who):
        if not self.room:
            return False
        self.asked.append((command, fields, who))
        self.answer = answer
        if self.reply is not ...:
            answer(self.reply, 7)
        return True

    def look(self):
        for _ in range(3 * module.LOOK_TICKS):
            self.watch.tick()

    def edit(self, *changes):
        text = self.file.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.replace(self.file)
        self.look()

    def report(self):
        return self.run.read_watch()

    def log(self):
        return [json.loads(line)["text"] for line in self.run.log_file.read_text().splitlines()]


@pytest.fixture
def edited(tmp_path):
    return Edited(tmp_path)


def test_a_file_that_nobody_edits_says_nothing(edited):
    assert (edited.asked, edited.report()) == ([], None)


def test_what_may_change_live_does_in_one_command(edited):
    edited.edit(
        ("half_spread = 1.0, skew = 0.3", "half_spread = 2.0, order_qty = 0.01"),
        ("max_position = 0.5", "max_notional = 100.0"),
        ("max_order_qty = 1.0", "max_order_qty = 2.0"),
        ("enabled = true", "enabled = false"),
        ('log_level = "info"', 'log_level = "debug"'),
    )
    ((command, fields, who),) = edited.asked
    assert (command, who) == ("reconfigure", f"file:{edited.file}")
    assert fields == {
        "params": {"mm": {"half_spread": 2.0, "skew": None, "order_qty": 0.01}},
        "limits": {"mm": {"max_position": None, "max_notional": 100.0}},
        "external_limits": {"max_order_qty": 2.0},
        "external_enabled": False,
        "log_level": "debug",
    }
    assert edited.levels == ["debug"]
    report = edited.report()
    assert (report["state"], report["needs_restart"]) == ("applied", [])
    assert "strategies.mm.params.half_spread" in report["applied"]
    edited.look()
    assert len(edited.asked) == 1
    assert daemon_config.of_run(edited.run) == daemon_config.load(edited.file, {})


def test_limits_over_all_strategies_change_live_and_only_those_that_were_edited(edited):
    risk = "[risk.limits]\nmax_open_orders = 9\nmax_drawdown = 5.0\nloss_action = 'reduce'\n"
    edited.edit(("[[instruments]]", risk + "[risk.instruments.BTC]\nmax_position = 2.0\n[[instruments]]"))
    assert edited.asked[-1][1] == {
        "risk": {
            "": {"max_open_orders": 9, "max_drawdown": 5.0, "loss_action": "reduce"},
            "BTC": {"max_position": 2.0},
        }
    }
    report = edited.report()
    assert (report["state"], report["needs_restart"]) == ("applied", [])
    assert set(report["applied"]) > {"risk.limits.max_open_orders", "risk.instruments.BTC.max_position"}
    assert daemon_config.of_run(edited.run) == daemon_config.load(edited.file, {})
    edited.edit(("max_open_orders = 9\n", ""), ("[risk.instruments.BTC]\nmax_position = 2.0\n", ""))
    assert edited.asked[-1][1] == {"risk": {"": {"max_open_orders": None}, "BTC": {"max_position": None}}}
    assert edited.report()["state"] == "applied"
    assert daemon_config.of_run(edited.run).risk.limits.max_open_orders is None
    # What says how others work has no value that says nothing.
    edited.edit(("loss_action = 'reduce'\n", ""))
    assert edited.report()["needs_restart"] == ["risk.limits.loss_action"]
    assert len(edited.asked) == 2


def test_what_may_not_is_said_until_it_is_taken_back(edited):
    edited.edit(("max_orders = 100", "max_orders = 200"), ("skew = 0.3", "skew = 0.4"))
    assert edited.asked[0][1] == {"params": {"mm": {"skew": 0.4}}}
    assert edited.report()["needs_restart"] == ["engine.max_orders"]
    assert "not in force until a restart: engine.max_orders" in edited.log()[-1]
    assert daemon_config.of_run(edited.run).engine.max_orders == 100
    edited.edit(("max_orders = 200", "max_orders = 100"))
    assert (len(edited.asked), edited.report()["needs_restart"]) == (1, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("max_orders = 100", "max_orders = -1"), "$.engine.max_orders"),
        (("max_orders = 100", "max_order = 100"), "unknown field `max_order`"),
        (("[engine]", "[engine"), "line 2"),
        (("tick_size = 0.1", "tick_size = 0.0"), "tick_size"),
    ],
)
def test_an_edit_that_is_wrong_changes_nothing_and_says_why(edited, change, message):
    edited.edit(("skew = 0.3", "skew = 0.4"), change)
    assert edited.asked == []
    report = edited.report()
    assert (report["state"], message in report["message"]) == ("refused", True), report
    assert "changes nothing" in edited.log()[-1]
    edited.edit((change[1], change[0]))
    assert len(edited.asked) == 1
    assert edited.report()["state"] == "applied"


def test_what_the_engine_refuses_is_said_and_the_next_edit_is_compared_with_what_is_in_force(edited):
    edited.reply = Reply(False, "mm.skew: 99.0 is above 1")
    edited.edit(("skew = 0.3", "skew = 99.0"))
    assert edited.report()["message"] == "mm.skew: 99.0 is above 1"
    edited.reply = Reply(True)
    edited.edit(("skew = 99.0", "skew = 0.5"))
    assert edited.asked[-1][1] == {"params": {"mm": {"skew": 0.5}}}
    edited.edit(("skew = 0.5", "skew = 0.3"))
    assert edited.asked[-1][1] == {"params": {"mm": {"skew": 0.3}}}


def test_a_ring_without_room_and_an_engine_that_does_not_answer_are_asked_again(edited):
    edited.room = False
    edited.edit(("skew = 0.3", "skew = 0.4"))
    assert edited.asked == []
    edited.room, edited.reply = True, ...
    edited.look()
    assert len(edited.asked) == 1
    edited.look()
    assert len(edited.asked) == 1
    edited.answer(None, 0)
    edited.reply = Reply(True)
    edited.look()
    assert len(edited.asked) == 2
    assert edited.report()["state"] == "applied"


def test_a_file_that_is_gone_is_said_so(edited):
    edited.file.rename(edited.file.with_suffix(".away"))
    edited.look()
    assert "No such file" in edited.report()["message"]
    edited.file.with_suffix(".away").rename(edited.file)
    edited.look()
    assert edited.asked == []


def test_a_file_that_is_being_written_is_left_alone(edited):
    for skew in (0.4, 0.5, 0.6):
        edited.file.write_text(edited.file.read_text().replace("skew = ", f"skew = {skew} #"))
        for _ in range(module.LOOK_TICKS):
            edited.watch.tick()
    assert edited.asked == []


def test_a_new_bridge_goes_on_from_what_is_in_force(edited):
    edited.edit(("skew = 0.3", "skew = 0.4"), ("max_orders = 100", "max_orders = 200"))
    again = Watch(
        edited.file,
        daemon_config.of_run(edited.run),
        edited.run,
        edited.ask,
        configure("bridge", None, console=False),
        environ={},
    )
    for _ in range(3 * module.LOOK_TICKS):
        again.tick()
    assert len(edited.asked) == 1
    assert edited.report()["needs_restart"] == ["engine.max_orders"]


def test_a_fault_of_ours_does_not_end_the_bridge(edited, monkeypatch):
    monkeypatch.setattr(module, "difference", lambda running, edited: 1 / 0)
    edited.edit(("skew = 0.3", "skew = 0.4"))
    assert "could not be looked at" in edited.log()[-1]


def test_strategies_and_instruments_that_come_go_or_change_places_need_a_restart():
    def config(strategies, instruments=("A", "B")):
        return {
            "strategies": [{"id": name, "params": {"x": 1}, "limits": {}} for name in strategies],
            "instruments": [{"symbol": name, "tick_size": 1.0} for name in instruments],
        }

    def restart(before, after):
        found = difference(before, after)
        assert found.command == {}
        return found.restart

    assert restart(config("ab"), config("abc")) == [("strategies", "c")]
    assert restart(config("ab"), config("b")) == [("strategies", "a")]
    assert restart(config("ab"), config("ba")) == [("strategies",)]
    assert restart(config("a"), config("a", ("A",))) == [("instruments", "B")]
    changed = config("a")
    changed["instruments"][1]["tick_size"] = 2.0
    assert restart(config("a"), changed) == [("instruments", "B", "tick_size")]


def test_the_status_tells_of_edits_and_switches(tmp_path):
    one = Edited(tmp_path)
    one.run.write_state(running(one.file))
    one.edit(("max_orders = 100", "max_orders = 200"))
    one.edit(("max_orders = 200", "max_orders = x"))
    report = read(one.run)
    assert report["config_edit"]["state"] == "refused"
    text = describe(report)
    assert "the last edit of the configuration was refused" in text
    assert "edited, but not in force until a restart: engine.max_orders" in text
    assert report["switches"] == []
    one.run.switches_file.write_text("{")
    assert "SWITCH" in describe(read(one.run))


def test_a_run_without_its_file_or_with_watch_off_is_not_watched(tmp_path):
    run = RunDir(tmp_path / "r")
    run.make()
    config = daemon_config.DaemonConfig(instruments=[])
    log = configure("bridge", None, console=False)
    assert module.of_run(config, run, None, log) is None
    file = tmp_path / "x.toml"
    run.write_state(running(file))
    assert module.of_run(config, run, None, log) is None
    file.write_text("")
    assert module.of_run(config, run, None, log) is not None
    config.control.watch = False
    assert module.of_run(config, run, None, log) is None
