"""``ringbook sweep``: many backtests, over parameters, symbols and days, and which were the best."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.core import settings
from engine.core.errors import ConfigError

if TYPE_CHECKING:
    from engine.research.plan import Plan

EXAMPLE = """examples:
  ringbook sweep --config mm.toml --param half_spread=1,2,5,10 --param skew=0,1,2 --out sweep
  ringbook sweep --config mm.toml --random half_spread=0.5..20 --random assets[0].queue_n=1..5 \\
      --samples 200 --out sweep --rank sr
  ringbook sweep --config mm.toml --symbol BTCUSDT --symbol ETHUSDT --day 20240808..20240814 --out s
  ringbook sweep --config mm.toml --param skew=0,1,2 --out sweep --scheduler tcp://10.0.0.5:8786

A key is a parameter of the strategies, or a path in the configuration. {symbol} and {day} in the
configuration, as in data = ["{symbol}_{day}.npz"], stand for what --symbol and --day say. After a stop the
same command with --resume goes on. results.csv in --out has every run; its numbers are the same wherever
it was run.
"""

FAILED = 1
"""Exit code when a run failed."""

SHOWN = ("profit", "sr", "max_drawdown", "fills", "fill_ratio", "markout_1s_bps")


def sweep_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``ringbook sweep``."""
    parser.epilog = EXAMPLE
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="as of 'ringbook backtest'"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where results go")
    parser.add_argument(
        "--param", action="append", default=[], metavar="KEY=V,V", help="values of the grid; repeat for more"
    )
    parser.add_argument(
        "--random", action="append", default=[], metavar="KEY=LOW..HIGH",
        help="draw from a range (KEY=log:LOW..HIGH: by magnitude); repeat for more",
    )  # fmt: skip
    parser.add_argument("--samples", type=int, default=0, metavar="N", help="points to draw, of --param too")
    parser.add_argument("--search-seed", type=int, default=0, metavar="N", help="of the drawing")
    parser.add_argument("--symbol", action="append", default=[], help="for {symbol}; repeat for more")
    parser.add_argument(
        "--day", action="append", default=[], metavar="DAY", help="for {day}; YYYYMMDD..YYYYMMDD: a range"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: one a core)")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="run on the Dask cluster there")
    parser.add_argument("--resume", action="store_true", help="go on with what is in --out")
    parser.add_argument("--keep", action="store_true", help="keep every run whole, in --out/runs")
    parser.add_argument(
        "--rank", default="profit", metavar="NUMBER", help="what to rank by (default: profit)"
    )
    parser.add_argument("--ascending", action="store_true", help="less is better")
    parser.add_argument(
        "--top", type=int, default=15, metavar="N", help="rows to print (default: %(default)s)"
    )


def sweep(args: argparse.Namespace) -> int:
    """Runs a sweep and prints its best."""
    from engine.research.sweep import Sweep, on_cores, on_dask, ranked

    if args.samples < 0 or (args.workers is not None and args.workers < 1):
        raise ConfigError("--samples and --workers count something")
    found = Sweep(_plan(args), args.out, resume=args.resume, keep=args.keep)
    execute = on_dask(args.scheduler) if args.scheduler else on_cores(args.workers)
    began, before = time.perf_counter(), len(found.results)
    bar = _bar(sys.stderr.isatty() and not args.json)
    try:
        rows = found.run(execute, bar)
    except KeyboardInterrupt:
        print(f"\nringbook: stopped after {len(found.results)} runs; --resume goes on", file=sys.stderr)
        raise
    seconds = time.perf_counter() - began
    best = ranked(rows, args.rank, ascending=args.ascending)
    write_csv(rows, args.out / "results.csv")
    failed = [row for row in rows if "error" in row]
    if args.json:
        told = {
            "runs": len(rows),
            "resumed": before,
            "failed": len(failed),
            "seconds": seconds,
            "ranked": best,
        }
        print(json.dumps(told))
    else:
        print(table_of(best[: args.top], args.rank))
        now = f"{len(rows) - before:,} of them now in {seconds:.1f} s"
        print(f"\n{len(rows):,} runs, {now}; all are in {args.out}")
    for row in failed[:5]:
        print(f"ringbook: {_choices(row['point'])}: {row['error']}", file=sys.stderr)
    return FAILED if failed else 0


def _plan(args: argparse.Namespace) -> Plan:
    from engine.research.plan import Plan, between_of, days_of, values_of

    base = settings.apply_environment(settings.read_file(args.config), os.environ)
    grid = _once([values_of(text) for text in args.param], "--param")
    draws = _once([between_of(text) for text in args.random], "--random")
    return Plan(base, grid, draws, args.samples, args.search_seed, tuple(args.symbol), days_of(args.day))


def _once(pairs: list[tuple[str, Any]], option: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ConfigError(f"{option} {name}: given twice")
        found[name] = value
    return found


def _bar(show: bool) -> Any:
    if not show:
        return None
    from tqdm import tqdm

    bar: list[Any] = []

    def progress(done: int, total: int) -> None:
        if not bar:
            bar.append(tqdm(total=total, initial=done, unit="run", file=sys.stderr))
        bar[0].update(done - bar[0].n)
        if done == total:
            bar[0].close()

    return progress


def _choices(point: dict[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in point.items()) or "the configuration as it is"


def table_of(rows: list[dict[str, Any]], by: str) -> str:
    """The best results as text.

    Args:
        rows: In their order.
        by: What they were ranked by.
    """
    from engine.cli.runs import shown, table

    keys = list(dict.fromkeys(key for row in rows for key in row["point"]))
    numbers = list(dict.fromkeys([by, *SHOWN]))
    heads = ("rank", *(key.rpartition(".")[2] for key in keys), *numbers)
    lines = []
    for place, row in enumerate(rows, 1):
        found = row.get("metrics", {})
        lines.append(
            [str(place), *(shown(row["point"].get(k)) for k in keys), *(shown(found.get(n)) for n in numbers)]
        )
    return table(heads, lines)


def write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    """Every result, in the plan's order.

    Args:
        rows: All.
        path: The file, which is replaced.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row["point"]))
    numbers = list(dict.fromkeys(name for row in rows for name in row.get("metrics", {})))
    part = path.with_name(f".{path.name}")
    with open(part, "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["number", *keys, *numbers, "config_hash", "result_hash", "error"])
        for row in rows:
            found = row.get("metrics", {})
            cells = [*(row["point"].get(key) for key in keys), *(found.get(name) for name in numbers)]
            ends = (row.get(name, "") for name in ("config_hash", "result_hash", "error"))
            out.writerow([row["number"], *("" if cell is None else cell for cell in cells), *ends])
    os.replace(part, path)
