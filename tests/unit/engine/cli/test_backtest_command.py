"""``ringbook backtest``: text, JSON, flags and one-line errors."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from engine.backtest.latency import latency_dtype
from engine.cli.main import main
from tests.kit.markets import LOT_SIZE, TICK_SIZE, random_market

MAKER = "engine.strategy.native:MarketMaker"


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "market.npz"
    np.savez(path, data=random_market(3, 600))
    return path


@pytest.fixture
def flags(recording):
    return [
        *("backtest", "--data", str(recording), "--symbol", "X", "--strategy", MAKER),
        *("--tick-size", str(TICK_SIZE), "--lot-size", str(LOT_SIZE), "--entry-latency-ns", "1000"),
        *("--response-latency-ns", "1000", "--param", "interval_ns=5000", "--param", "half_spread=0.5"),
        *("--param", "order_qty=0.02", "--param", "max_position=0.1", "--maker-fee", "-0.0001"),
        *("--fee-model", "flat_per_trade_fee_model", "--seller-fee", "0.0005"),
    ]


def test_the_text_says_what_came_of_it(flags, capsys):
    assert main(flags) == 0
    out, err = capsys.readouterr()
    assert "MarketMaker on X" in out
    assert "equity" in out
    assert "fills by reason" in out
    assert err == ""


@pytest.fixture
def failing(flags, tmp_path):
    source = tmp_path / "failing.py"
    source.write_text(
        "from examples.strategies.market_maker import MarketMaker\n\n\n"
        "class Failing(MarketMaker):\n"
        "    def on_timer(self, ctx, now):\n"
        "        super().on_timer(ctx, now)\n"
        "        if ctx.position():\n"
        "            raise ValueError('a\\nposition')\n"
    )
    return [f"{source}:Failing" if flag == MAKER else flag for flag in flags]


def test_a_strategy_that_raises_is_one_line_beside_the_results(failing, capsys):
    assert main(failing) == 3
    out, err = capsys.readouterr()
    assert "Failing on X, stopped by ValueError: a position" in out
    assert "fills by reason" in out
    assert re.fullmatch(
        r"ringbook: strategy Failing raised ValueError: a position in on_timer "
        r"at 2023-11-14T22:13:20\.\d{9}Z \(.*failing\.py:8\)\n",
        err,
    )


def test_a_strategy_that_raises_is_in_the_json(failing, capsys):
    assert main([*failing, "--json", "--traceback"]) == 3
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert result["fills"]
    (failure,) = result["failures"]
    assert (failure["strategy"], failure["callback"]) == ("Failing", "on_timer")
    assert failure["where"].endswith("failing.py:8")
    assert err.endswith(failure["traceback"])


def test_a_model_that_raises_is_one_line(recording, tmp_path, capsys):
    model = tmp_path / "fees.py"
    model.write_text(
        "from engine.backtest.models import FeeModel\n"
        "class Odd(FeeModel):\n"
        "    def fee(self, order, amount):\n"
        "        return 1 / 0\n"
    )
    file = tmp_path / "run.toml"
    file.write_text(
        f"""
        [[assets]]
        symbol = "X"
        tick_size = {TICK_SIZE}
        lot_size = {LOT_SIZE}
        data = ["{recording}"]
        entry_latency_ns = 1000
        response_latency_ns = 1000
        fee_model = "{model}:Odd"
        [[strategies]]
        id = "maker"
        class = "{MAKER}"
        params = {{interval_ns = 5000, half_spread = 0.5, order_qty = 0.02, max_position = 0.1}}
        """
    )
    assert main(["backtest", "--config", str(file)]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", "ringbook: ZeroDivisionError: division by zero (raised by Odd.fee)\n")
    assert main(["backtest", "--config", str(file), "--traceback"]) == 2
    assert "return 1 / 0" in capsys.readouterr().err


def test_config_and_flags_give_the_same(flags, recording, tmp_path, capsys):
    file = tmp_path / "run.toml"
    file.write_text(
        f"""
        [[assets]]
        symbol = "X"
        tick_size = {TICK_SIZE}
        lot_size = {LOT_SIZE}
        data = ["{recording}"]
        entry_latency_ns = 1000
        response_latency_ns = 1000
        maker_fee = -0.0001
        fee_model = "flat_per_trade_fee_model"
        seller_fee = 0.0005
        [[strategies]]
        id = "MarketMaker"
        class = "{MAKER}"
        params = {{interval_ns = 5000, half_spread = 0.5, order_qty = 0.02, max_position = 0.1}}
        """
    )
    assert main([*flags, "--json"]) == 0
    by_flags = json.loads(capsys.readouterr().out)
    assert main(["backtest", "--config", str(file), "--json"]) == 0
    by_file = json.loads(capsys.readouterr().out)
    for result in (by_flags, by_file):
        del result["events_per_second"]
    assert by_flags == by_file
    assert len(by_flags["fills"]) > 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--data, --strategy, --tick-size, --lot-size must be given"),
        (["--config", "nowhere.toml"], "nowhere.toml: No such file"),
        (["--config", "x.toml", "--tick-size", "1"], "--tick-size does not go with --config"),
    ],
)
def test_what_is_missing(arguments, message, capsys):
    assert main(["backtest", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--param", "spread"], "expected NAME=VALUE"),
        (["--param", "spread=1"], "unknown parameter spread"),
        (["--queue-model", "fifo"], "queue_model"),
        (["--tick-size", "0"], "tick_size"),
        (["--asset", "quanto"], "asset"),
        (["--data", "nowhere.npz"], "nowhere.npz: No such file"),
    ],
)
def test_bad_flags_are_one_line(flags, extra, message, capsys):
    assert main([*flags, *extra]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_help_has_an_example(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["backtest", "--help"])
    assert caught.value.code == 0
    assert "ringbook backtest --config" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--seed", "-1"], "seed"),
        (["--seed", str(2**64)], "seed"),
        (["--param", "grid_num=2", "--param", "grid_num=3"], "--param grid_num: given twice"),
        (["--param", "grid_num=1\nx=2"], "MarketMaker.grid_num: expected int, got str"),
        (
            ["--param", "interval_ns=99999999999999999999"],
            "MarketMaker.interval_ns: 99999999999999999999 is above",
        ),
        (["--tick-size", str(TICK_SIZE * 3)], "field px: "),
        (["--lot-size", "1e-300"], "field qty: "),
    ],
)
def test_a_value_that_cannot_be_is_one_line(flags, recording, more, message, capsys):
    flags = [flag for flag in flags if not flag.startswith("interval_ns") or "interval_ns" not in str(more)]
    if len(flags) % 2 == 0:
        del flags[flags.index("--param")]
    assert main([*flags, *more]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err
    if "field" in message:
        assert str(recording) in err
        assert "row " in err


@pytest.mark.parametrize("flag", [["--tick-size", "0"], ["--symbol", ""], ["--queue-n", "0"]])
def test_a_flag_of_nothing_does_not_go_with_a_config_either(flag, capsys):
    assert main(["backtest", "--config", "x.toml", *flag]) == 2
    assert f"{flag[0]} does not go with --config" in capsys.readouterr().err


def test_a_message_of_many_lines_is_shown_in_one(capsys):
    assert main(["backtest", "--config", "no\nfile.toml"]) == 2
    assert capsys.readouterr().err.startswith("ringbook: no file.toml: No such file")


def test_latencies_and_partial_fills_are_flags(flags, tmp_path, capsys):
    def result(*more):
        assert main([*flags, *more, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    plain = result()["fills"]
    times = np.arange(1_700_000_000_000_000_000, 1_700_000_000_002_000_000, 5_000)
    rows = np.zeros(len(times), latency_dtype)
    rows["req_ts"], rows["exch_ts"], rows["resp_ts"] = times, times + 1_000, times + 2_000
    np.savez(tmp_path / "latencies.npz", data=rows)
    recorded = [
        "--latency-model",
        "intp_order_latency",
        "--order-latency-data",
        str(tmp_path / "latencies.npz"),
    ]
    assert result(*recorded)["fills"] == plain
    assert result(*recorded, "--order-latency-offset", "4000")["fills"] != plain
    assert result("--cancel-latency-ns", "9000", "--modify-latency-ns", "2000")["fills"] != plain
    assert result("--latency-offset", "9000")["fills"] != plain
    assert result("--exchange", "partial_fill_exchange")["fills"] != plain
    assert main([*flags, "--order-latency-data", "x.npz"]) == 2
    assert "order_latency_data: is for intp_order_latency" in capsys.readouterr().err
    assert main([*flags, "--latency-model", "intp_order_latency", "--order-latency-data", "absent.npz"]) == 2
    assert "absent.npz: No such file" in capsys.readouterr().err
