import pytest

from engine.core.errors import ConfigError
from engine.runtime import config as daemon_config

SIMULATED = """
[engine]
name = "t1"

[[instruments]]
symbol = "BTCUSDT"
tick_size = 0.1
lot_size = 0.001

[[strategies]]
id = "mm"
class = "some.module:Maker"
symbols = ["BTCUSDT"]
"""


def load(tmp_path, text, environ=None):
    path = tmp_path / "daemon.toml"
    path.write_text(text)
    return daemon_config.load(path, {} if environ is None else environ)


def test_a_small_file_is_enough(tmp_path):
    config = load(tmp_path, SIMULATED, {"RINGBOOK_RUN_DIR": "/tmp/x"})
    assert (config.engine.name, config.engine.mode, config.feed.kind, config.feed.speed) == (
        "t1",
        "PAPER",
        "market",
        1.0,
    )
    assert str(config.run_dir({"RINGBOOK_RUN_DIR": "/tmp/x"}).path) == "/tmp/x/t1"
    assert config.endpoint({"RINGBOOK_RUN_DIR": "/tmp/x"}) == "ipc:///tmp/x/t1"


def test_the_environment_overrides_the_file(tmp_path):
    config = load(tmp_path, SIMULATED, {"RINGBOOK__FEED__SPEED": "8", "RINGBOOK__ENGINE__NAME": "other"})
    assert (config.feed.speed, config.engine.name) == (8.0, "other")


OWN_FEES = "symbol = 'A'\nfee_model = 'a:B'\ntick_size = 1\nlot_size = 1"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("[engine]", "[engine]\nnmae = 'x'"), r"unknown field `nmae` - at `\$.engine`"),
        (('name = "t1"', 'name = "../t1"'), r"\$.engine.name"),
        (('name = "t1"', 'mode = "LIVE"'), r"\$.engine.mode"),
        (("[engine]", "[feed]\nspeed = -1\n[engine]"), r"\$.feed.speed"),
        (("[engine]", "[bridge]\nendpoint = 'udp://x'\n[engine]"), r"\$.bridge.endpoint: udp://x"),
        (("tick_size = 0.1", "tick_size = 0"), r"\$.instruments\[0\].tick_size"),
        (("tick_size = 0.1", "tick_size = 0.1\ndata = ['x.npz']"), r"\$.instruments\[0\].data: a simulated"),
        (("[engine]", "[feed]\nkind = 'replay'\n[engine]"), r"\$.instruments\[0\].data: a replay needs"),
        (
            ("[engine]", f"[feed]\nkind = 'market'\n[[instruments]]\n{OWN_FEES}\n[engine]"),
            r"\$.instruments\[0\].fee_model: a market takes",
        ),
        (('symbols = ["BTCUSDT"]', 'symbols = ["ETHUSDT"]'), r"\$.strategies\[0\].symbols: 'ETHUSDT'"),
        (
            ("lot_size = 0.001", "lot_size = 0.001\nlatency_offset = 5"),
            r"\$.instruments\[0\].latency_offset: is for backtests only",
        ),
        (
            (
                "lot_size = 0.001",
                "lot_size = 0.001\nlatency_model = 'intp_order_latency'\norder_latency_data = ['x']",
            ),
            r"\$.instruments\[0\].latency_model: intp_order_latency is for backtests only",
        ),
    ],
)
def test_errors_name_the_file_and_the_key(tmp_path, edit, message):
    text = SIMULATED.replace(*edit)
    assert text != SIMULATED
    with pytest.raises(ConfigError, match=rf"daemon\.toml: .*{message}"):
        load(tmp_path, text)


def test_a_missing_recording_is_named(tmp_path):
    text = "[feed]\nkind = 'replay'\n" + SIMULATED.replace(
        "lot_size = 0.001", "lot_size = 0.001\ndata = ['/nowhere/day.npz']"
    )
    with pytest.raises(ConfigError, match=r"\$.instruments\[0\].data: /nowhere/day.npz: no such file"):
        load(tmp_path, text)


def test_more_strategies_than_there_is_room_for(tmp_path):
    more = "".join(f'[[strategies]]\nid = "s{i}"\nclass = "a:B"\n' for i in range(64))
    with pytest.raises(ConfigError, match=r"length <= 64 - at `\$.strategies`"):
        load(tmp_path, SIMULATED + more)


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [(None, 0, "No such file"), ("x", 0o644, "others may read it"), ("\n", 0o600, "is empty")],
)
def test_a_token_file_that_others_know_or_nobody_is_refused(tmp_path, text, mode, message):
    token = tmp_path / "token"
    if text is not None:
        token.write_text(text)
        token.chmod(mode)
    wanted = daemon_config.DaemonConfig(instruments=[])
    wanted.control.rearm_token_file = str(token)
    with pytest.raises(ConfigError, match=message) as caught:
        daemon_config.check(wanted, "d.toml")
    assert "d.toml: $.control.rearm_token_file" in str(caught.value)
