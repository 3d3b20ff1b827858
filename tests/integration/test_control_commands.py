"""The operator's commands on a real daemon, the kill switch over a restart, and an edited file."""

import json

import pytest

from bridge.client import Client
from engine.cli.main import COMMANDS, main
from tests.kit.daemons import daemon, until

OPERATORS = [
    *("pause", "resume", "halt", "flatten", "cancel-all", "kill", "rearm"),
    *("strategies", "params", "limits", "logs", "status", "stop"),
]


class Operator:
    """Runs commands against one daemon, in this process."""

    def __init__(self, it, capsys):
        self.it, self.capsys = it, capsys

    def run(self, *words):
        """Exit code, standard output and standard error."""
        where = ["--name", self.it.name, "--run-dir", str(self.it.folder / "run")]
        code = main([words[0], *words[1:], *where])
        out, err = self.capsys.readouterr()
        return code, out, err

    def json(self, *words):
        code, out, _ = self.run(*words, "--json")
        return code, json.loads(out)


@pytest.fixture
def one(capsys):
    with daemon() as it:
        yield Operator(it, capsys)


def test_without_a_daemon_every_command_says_so(one):
    for name in OPERATORS:
        if name in ("params", "limits"):
            words = (name, "show")
        elif name == "rearm":
            words = (name, "--confirm", "x")
        else:
            words = (name,)
        code, out, err = one.run(*words, "--json")
        assert code == 1, name
        assert "message" in json.loads(out), name
        assert err.startswith("ringbook: no "), name
        assert len(err.splitlines()) == 1, name
    assert set(OPERATORS) < set(COMMANDS)


def test_a_bridge_that_does_not_answer_is_one_line(one, monkeypatch):
    connected = Client.connected
    monkeypatch.setattr(Client, "connected", lambda client: connected(client, 0.2))
    code, _, err = one.run("pause", "--endpoint", f"ipc://{one.it.folder}/nowhere")
    assert code == 2
    assert err.startswith("ringbook: ")
    assert len(err.splitlines()) == 1


def test_states_and_values_of_a_running_daemon(one):
    one.it.start()
    until(lambda: one.it.status().get("engine", {}).get("fills", 0), "a fill")
    code, listed = one.json("strategies")
    assert (code, listed["strategies"][0]["strategy_id"], listed["strategies"][0]["state"]) == (
        0,
        "mm",
        "Running",
    )
    assert one.json("pause", "mm")[1]["strategy_state"] == "Paused"
    code, _, err = one.run("pause", "nobody")
    assert (code, err) == (1, "ringbook: refused: unknown strategy 'nobody'; known are mm\n")
    assert one.json("resume", "mm")[1]["strategy_state"] == "Running"
    assert one.json("halt", "--reduce")[1]["trading_state"] == "REDUCING"
    assert one.json("halt")[1]["trading_state"] == "HALTED"
    assert one.json("resume")[1]["trading_state"] == "ACTIVE"
    assert "orders being cancelled" in one.run("cancel-all", "mm", "--symbol", "BTCUSDT")[1]

    code, out, _ = one.run("params", "set", "mm", "half_spread=2.5", "skew=0.1")
    assert (code, out.startswith("changed: half_spread, skew (version ")) == (0, True)
    assert one.json("params", "show", "mm")[1]["params"]["mm"]["half_spread"]["value"] == 2.5
    assert "half_spread = 2.5  (float" in one.run("params")[1]
    code, _, err = one.run("params", "set", "mm", "half_spread=soon")
    assert (code, "half_spread: expected float" in err) == (1, True)
    for words in (["set", "mm"], ["set", "skew=1"], ["set", "mm", "skew"], ["set", "mm", "a=1", "a=2"]):
        code, _, err = one.run("params", *words)
        assert (code, len(err.splitlines())) == (2, 1)
    assert one.run("params", "show", "nobody")[0] == 2

    assert one.run("limits", "set", "mm", "max_position=0.05", "max_open_orders=4")[0] == 0
    assert one.run("limits", "set", "mm", "max_position=none", "--symbol", "BTCUSDT")[0] == 0
    limits = one.json("limits", "show")[1]["limits"]
    assert limits == {"mm": {"BTCUSDT": {"max_open_orders": 4}}}
    assert one.run("limits", "show", "mm")[1] == "mm BTCUSDT: max_open_orders 4\n"
    assert one.run("limits", "show", "nobody")[0] == 1
    assert one.run("limits", "set", "max_gross_notional=1e6", "loss_action=none")[0] == 0
    assert one.run("limits", "set", "max_position=2.5", "--symbol", "BTCUSDT")[0] == 0
    assert one.run("limits", "set", "max_position=2.5")[0] == 1
    over_all = {"everything": {"max_gross_notional": 1e6}, "BTCUSDT": {"max_position": 2.5}}
    assert one.json("limits")[1]["over_all"] == over_all
    shown = one.run("limits", "show")[1].splitlines()
    assert shown[:2] == [
        "all strategies, everything: max_gross_notional 1e+06",
        "all strategies, BTCUSDT: max_position 2.5",
    ]
    assert "all strategies, BTCUSDT: max_position 2.5" in one.run("limits", "--symbol", "BTCUSDT")[1]
    assert one.run("limits", "--symbol", "XYZ")[0] == 1
    history = one.json("limits", "--history")[1]["changes"]
    assert history.pop()["values"] == {"BTCUSDT.max_position": [None, 2.5]}
    assert history.pop()["values"] == {"everything.max_gross_notional": [None, 1e6]}
    assert [change["values"]["BTCUSDT.max_position"] for change in history] == [[None, 0.05], [0.05, None]]
    assert {change["who"].split(":")[0] for change in history} == {"cli"}
    assert "half_spread 1 -> 2.5" in one.run("params", "--history")[1]

    assert one.json("flatten")[1]["trading_state"] == "HALTED"
    until(lambda: one.it.status()["positions"][0]["position"] == 0, "a flat position")
    # The engine's lines are written in the background.
    until(lambda: "emergency_stop" in one.run("logs", "--source", "engine", "-n", "1")[1], "its line")
    assert len(one.run("logs", "--source", "engine", "-n", "5")[1].splitlines()) == 5
    assert json.loads(one.run("logs", "-n", "1", "--json")[1])["level"]


def test_the_kill_switch_over_a_restart(one):
    one.it.start()
    code, reply = one.json("kill", "--reason", "wrong prices")
    assert (code, reply["trading_state"]) == (0, "HALTED")
    assert one.run("resume")[0] == 1
    one.it.end()
    said = one.it.start()
    assert said["name"] == "t"
    until(lambda: one.it.status().get("engine", {}).get("trading_state") == "HALTED", "a halted engine")
    assert "SWITCH" in one.run("status")[1]
    code, _, err = one.run("resume")
    assert (code, "latched" in err) == (1, True)
    code, listed = one.json("rearm")
    ((switch,), found) = listed["switches"], listed["switches"][0]
    assert (code, found["reason"], found["scope"]) == (1, "wrong prices", "global")
    assert one.run("rearm", "--confirm", "00000000")[0] == 1
    assert one.run("rearm", "--confirm", switch["id"])[0] == 0
    assert one.run("rearm")[:2] == (0, "no switch is thrown\n")
    assert one.json("resume")[1]["trading_state"] == "ACTIVE"
    until(lambda: one.it.status()["engine"]["orders"], "orders")


def test_an_edited_file_changes_a_running_daemon(one):
    one.it.start()
    text = one.it.config.read_text()
    one.it.config.write_text(
        text.replace("half_spread = 1.0", "half_spread = 3.0").replace("speed = 5.0", "speed = 6.0")
    )
    edit = until(lambda: one.it.status().get("config_edit"), "the edit")
    assert edit["applied"] == ["strategies.mm.params.half_spread"]
    assert edit["needs_restart"] == ["feed.speed"]
    assert one.json("params")[1]["params"]["mm"]["half_spread"]["value"] == 3.0
    (change,) = one.json("params", "--history")[1]["changes"]
    assert change["who"] == f"file:{one.it.config}"
    one.it.config.write_text(text.replace("half_spread = 1.0", "half_spread = -3.0"))
    until(lambda: one.it.status()["config_edit"]["state"] == "refused", "a refusal")
    assert "half_spread" in one.run("status")[1]
