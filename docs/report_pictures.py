"""Makes the pictures of a report in README and docs/reports.md: a backtest on a recording, as page and PDF.

    python docs/report_pictures.py btcusdt_20240808.gz docs/pictures

Needs chromium and pdftoppm (Debian: chromium, poppler-utils) and the extra ``reports``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 1240
BACKTEST = [
    "--symbol", "BTCUSDT", "--tick-size", "0.1", "--lot-size", "0.001", "--maker-fee", "-0.00005",
    "--taker-fee", "0.0007", "--queue-model", "power_prob_queue_model3",
    "--strategy", "engine.strategy.native:MarketMaker", "--param", "order_qty=0.01",
    "--param", "max_position=0.1", "--param", "grid_num=3", "--param", "grid_interval=10",
    "--param", "half_spread=5.0", "--param", "skew=2.0",
]  # fmt: skip


def ringbook(*arguments: str) -> None:
    """Runs a command."""
    command = [sys.executable, "-m", "engine.cli.main", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def shot(page: Path, target: Path, theme: str, height: int) -> None:
    """A picture of the upper part of a page."""
    subprocess.run(
        ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--window-size={WIDTH},{height}", f"--screenshot={target}", f"file://{page}?theme={theme}"],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    small(target, WIDTH)


def small(target: Path, width: int) -> None:
    """Fewer colours and pixels: a page is mostly of one colour."""
    with Image.open(target) as picture:
        height = round(picture.height * width / picture.width)
        picture.convert("RGB").resize((width, height)).quantize(160).save(target, optimize=True)


def main() -> None:
    """Runs the backtest and takes the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="the recording: npz, npy or a raw capture")
    parser.add_argument("folder", type=Path, help="where the PNGs go")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rb-") as scratch:
        os.environ |= {"RINGBOOK_RUNS": f"{scratch}/runs", "PYTHONPATH": str(ROOT)}
        ringbook("backtest", "--data", str(args.data.absolute()), *BACKTEST)
        page, paper = Path(scratch) / "report.html", Path(scratch) / "report.pdf"
        title = "Market maker on BTCUSDT"
        ringbook("report", "last", "--html", str(page), "--pdf", str(paper), "--title", title)
        shot(page, args.folder / "report.png", "light", 1760)
        shot(page, args.folder / "report-dark.png", "dark", 1000)
        one = ["pdftoppm", "-r", "90", "-f", "1", "-l", "1", "-singlefile", "-png"]
        subprocess.run([*one, str(paper), str(args.folder / "report-pdf")], check=True)
        small(args.folder / "report-pdf.png", 620)
    print(f"wrote {args.folder}/report.png, report-dark.png, report-pdf.png")


if __name__ == "__main__":
    main()
