"""``ringbook runs``: the runs that are kept, one of them, or what differs between two."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.research.runs import Run, Runs

EXAMPLE = """examples:
  ringbook runs list
  ringbook runs show last
  ringbook runs diff 3f9a last
  ringbook runs push last --store clickhouse://localhost/ringbook

A run is named by the beginning of its name, or 'last'. 'ringbook backtest' keeps runs, and so does
BacktestRunner(runs=Runs()); the same configuration on the same recordings by the same code is the same run.
"""

DIFFERENT = 1
"""Exit code of ``diff`` when the results differ."""


def runs_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``ringbook runs``."""
    parser.epilog = EXAMPLE
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--runs", type=Path, metavar="DIR", help="where runs are kept (default: $RINGBOOK_RUNS)"
    )
    where.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", parents=[where], help="all of them, the newest last")
    listing.add_argument(
        "--limit", type=int, default=20, metavar="N", help="at most (default: %(default)s); 0: all"
    )
    show = actions.add_parser("show", parents=[where], help="one, whole")
    show.add_argument("run", metavar="RUN")
    diff = actions.add_parser(
        "diff", parents=[where], help="what differs between two; exit code 1 if results do"
    )
    diff.add_argument("first", metavar="RUN")
    diff.add_argument("second", metavar="RUN")
    push = actions.add_parser("push", parents=[where], help="put runs into a store, each once")
    push.add_argument("run", metavar="RUN", nargs="+")
    push.add_argument(
        "--store", default="", metavar="URL", help="default: $RINGBOOK_STORE, or the user's own"
    )
    push.add_argument("--name", default="", help="what the store's row calls it")


def runs(args: argparse.Namespace) -> int:
    """Lists, shows or compares runs."""
    from engine.research.runs import Runs

    kept = Runs(args.runs)
    return {"list": _list, "show": _show, "diff": _diff, "push": _push}[args.action](kept, args)


def summary(run: Run) -> dict[str, Any]:
    """A run in a line.

    Args:
        run: Any.
    """
    every = run.metrics()["all"]
    return {
        "id": run.id,
        "made": run.about["made"],
        "kind": run.about["kind"],
        "config_hash": run.about["config_hash"],
        "result_hash": run.about["result_hash"],
        "seed": run.about["seed"],
        "profit": every["pnl"]["profit"],
        "sr": every["returns"]["sr"],
        "max_drawdown": every["returns"]["max_drawdown"],
        "fills": every["execution"]["fills"],
    }


def _list(kept: Runs, args: argparse.Namespace) -> int:
    found = kept.all()
    found = found[-args.limit :] if args.limit > 0 else found
    rows = [summary(run) for run in found]
    if args.json:
        print(json.dumps({"directory": str(kept.directory), "runs": rows}))
        return 0
    if not rows:
        print(f"no runs in {kept.directory}")
        return 0
    heads = ("run", "made, UTC", "kind", "config", "result", "seed", "profit", "Sharpe", "drawdown", "fills")
    print(table(heads, [_cells(row) for row in rows]))
    return 0


def _cells(row: dict[str, Any]) -> list[str]:
    numbers = [shown(row[name]) for name in ("profit", "sr", "max_drawdown")]
    made = str(row["made"])[:19].replace("T", " ")
    hashes = (row["config_hash"][:8], row["result_hash"][:8])
    return [row["id"], made, row["kind"], *hashes, str(row["seed"]), *numbers, f"{row['fills']:,}"]


def shown(value: Any) -> str:
    """A value for people."""
    if isinstance(value, float):
        return f"{value:,.6g}"
    return "-" if value is None else str(value)


def table(heads: tuple[str, ...], rows: list[list[str]], right: str = "0123456789-+.,") -> str:
    """Columns of text; those of numbers are set to the right.

    Args:
        heads: Of the columns.
        rows: As many cells each.
        right: What a cell of a number is made of.
    """
    numeric = [
        all(set(row[i]) <= set(right + "einfk ") and row[i] for row in rows) for i in range(len(heads))
    ]
    widths = [max(len(heads[i]), *(len(row[i]) for row in rows)) for i in range(len(heads))]

    def line(cells: Any) -> str:
        placed = zip(cells, widths, numeric, strict=True)
        return "  ".join(c.rjust(w) if right else c.ljust(w) for c, w, right in placed).rstrip()

    return "\n".join([line(heads), *(line(row) for row in rows)])


def _show(kept: Runs, args: argparse.Namespace) -> int:
    run = kept.find(args.run)
    if args.json:
        print(
            json.dumps({**run.about, "path": str(run.path), "config": run.config(), "metrics": run.metrics()})
        )
        return 0
    from engine.cli.report import describe
    from engine.reports.report import Report

    print(f"run {run.id}, made {str(run.about['made']).replace('T', ' ')} UTC in {run.path}")
    for name, text in run.facts().items():
        if name != "run":
            print(f"  {name:<22}{text}")
    print()
    print(describe(Report(run.session())))
    return 0


def _diff(kept: Runs, args: argparse.Namespace) -> int:
    from engine.research.runs import difference

    first, second = kept.find(args.first), kept.find(args.second)
    found = difference(first, second)
    same = first.about["result_hash"] == second.about["result_hash"]
    if args.json:
        plain = {
            name: [{"path": path, "first": a, "second": b} for path, a, b in rows]
            for name, rows in found.items()
        }
        print(json.dumps({"first": first.id, "second": second.id, "same_result": same, **plain}))
    else:
        for name, rows in found.items():
            if rows:
                print(f"{name}:")
                print(table(("", first.id, second.id), [[f"  {p}", shown(a), shown(b)] for p, a, b in rows]))
        print("the results are the same" if same else "the results differ")
    return 0 if same else DIFFERENT


def _push(kept: Runs, args: argparse.Namespace) -> int:
    from engine.research.stored import put
    from engine.storage.store import open_store

    told = {}
    with open_store(args.store, hold=True) as store:
        for name in args.run:
            run = kept.find(name)
            told[run.id] = put(store, run, name=args.name)
        url = store.url
    if args.json:
        print(json.dumps({"store": url, "runs": told}))
        return 0
    for name, added in told.items():
        rows = ", ".join(f"{table} {n:,}" for table, n in added.items() if n)
        print(f"{name}: {rows or 'is there already'}")
    print(f"in {url}")
    return 0
