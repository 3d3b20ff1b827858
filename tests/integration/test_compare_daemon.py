"""A paper session of the daemon on a recording, held against the backtest of the same file."""

from __future__ import annotations

import json

import pytest

from tests.kit.daemons import daemon, until
from tests.kit.recordings import recording

INSTRUMENT = """
symbol = "BTCUSDT"
tick_size = 0.1
lot_size = 0.001
data = ["{data}"]
maker_fee = -0.00005
taker_fee = 0.0007
queue_model = "power_prob_queue_model3"
"""

STRATEGY = """
[[strategies]]
id = "mm"
class = "engine.strategy.native:MarketMaker"
params = {{ half_spread = 1.0, skew = 0.3, order_qty = 0.01, max_position = 0.1 }}
"""

PAPER = """
[engine]
name = "{{name}}"
result = "{result}"

[feed]
kind = "replay"
speed = 0

[[instruments]]
"""


@pytest.mark.recording
@pytest.mark.timeout(120)
def test_paper_and_backtest_with_the_same_models_agree(tmp_path):
    data, paper = recording("usdm"), tmp_path / "paper.npz"
    # The daemon's text is formatted once more, with its name.
    text = PAPER + INSTRUMENT + STRATEGY.replace("{{", "{{{{").replace("}}", "}}}}")
    with daemon(text.format(result=paper, data=data)) as it:
        it.start()
        until(lambda: it.status()["engine"]["feed_state"] == "ended", "the end of the recording", 60)
        assert it.end()[0] == 0
        config = tmp_path / "backtest.toml"

        def files(fees=""):
            out = tmp_path / f"backtest{len(fees)}.npz"
            config.write_text(("[[assets]]" + INSTRUMENT + fees + STRATEGY).format(data=data))
            ran = it.ringbook("backtest", "--config", str(config), "--out", str(out), "--json")
            assert ran.returncode == 0, ran.stderr
            return str(paper), str(out)

        compared = it.ringbook("compare", *files(), "--within", "0.01", "--json")
        assert compared.returncode == 0, compared.stderr
        found = json.loads(compared.stdout)
        assert found["traded_value"] > 10_000
        # Not only within 1 %: the same orders, the same fills, the same money.
        assert found["difference"] == 0.0
        assert found["orders"]["in_both"] == found["orders"]["at_the_same_instant"] > 500
        assert found["orders"]["only_live"] == found["orders"]["only_backtest"] == 0

        compared = it.ringbook("compare", *files("buyer_fee = 0.05\n"), "--within", "0.01")
        assert compared.returncode == 1, compared.stderr
        assert "beyond 1 % of the traded value" in compared.stdout
