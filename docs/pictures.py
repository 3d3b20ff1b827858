"""Makes the README's picture: the terminal UI after a minute of a real paper session.

    python docs/pictures.py btcusdt.npz docs/pictures/tui.svg

Starts the daemon on the recording with the compiled market maker, lets the external example trade on it
too, opens the UI without a terminal, and saves what it shows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tui.app import RingbookApp

ROOT = Path(__file__).resolve().parents[1]
CONFIG = """
[engine]
name = "btcusdt"
[feed]
kind = "replay"
speed = 5.0
loop = 0
[[instruments]]
symbol = "BTCUSDT"
tick_size = 0.1
lot_size = 0.001
data = ["{data}"]
maker_fee = -0.00005
taker_fee = 0.0007
queue_model = "power_prob_queue_model3"
[[strategies]]
id = "maker"
class = "engine.strategy.native:MarketMaker"
params = {{ half_spread = 1.0, skew = 0.3, order_qty = 0.01, max_position = 0.1, grid_num = 3 }}
"""


def ringbook(*arguments: str) -> str:
    """Runs a command and returns what it printed."""
    command = [sys.executable, "-m", "engine.cli.main", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


async def picture(endpoint: str, target: Path, seconds: float) -> None:
    """Watches the daemon for a while and saves the screen as SVG."""
    app = RingbookApp(endpoint)
    async with app.run_test(size=(130, 40)) as pilot:
        await asyncio.sleep(seconds)
        await pilot.pause()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(app.export_screenshot(title="ringbook tui"), encoding="utf-8")


def main() -> None:
    """Runs the session and takes the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="the recording: npz, npy or a raw capture")
    parser.add_argument("target", type=Path, help="the SVG to write")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to trade (default: 60)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rb-") as folder:
        os.environ["RINGBOOK_RUN_DIR"] = f"{folder}/run"
        os.environ["PYTHONPATH"] = str(ROOT)
        config = Path(folder) / "picture.toml"
        config.write_text(CONFIG.format(data=args.data.absolute()))
        endpoint = json.loads(ringbook("run", "--config", str(config), "--detach", "--json"))["endpoint"]
        example = [sys.executable, str(ROOT / "examples/external/market_maker.py"), "--connect", endpoint]
        trader = subprocess.Popen(example, stdout=subprocess.DEVNULL)
        try:
            asyncio.run(picture(endpoint, args.target, args.seconds))
        finally:
            trader.terminate()
            trader.wait()
            ringbook("stop", "--name", "btcusdt")
    print(f"wrote {args.target}")


if __name__ == "__main__":
    main()
