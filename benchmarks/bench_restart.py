"""A daemon of which everything has been killed: how long until it is where it was.

Run with ``python -m benchmarks.bench_restart`` from the project's root. A real daemon (a compiled market
maker on the simulated market, some 200,000 records a second) takes in a number of them; then all of it is
killed at once, memory and all, and ``ringbook run`` is timed: until the engine stands where it was, by its
own log, and until the daemon answers. Its feed makes the simulated market once more from the beginning
meanwhile, which is part of the second. Without a snapshot means that their files are removed first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.kit.daemons import SIMULATED, Daemon, daemon

SECONDS = 600.0
"""The longest that a run may take to become long enough."""
SECTION = '\n[journal]\ndir = "{folder}/journals"\nbuffer_mb = 64\nsnapshot_records = {every}\n'


def await_records(one: Daemon, records: int, snapshot: int) -> None:
    """Waits until a run is so long, and has a snapshot of some record at least."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        status = one.status()
        made = (status.get("snapshots") or {}).get("seq", 0)
        if status.get("engine", {}).get("journal", {}).get("durable_seq", 0) >= records and made >= snapshot:
            return
        time.sleep(0.05)
    raise SystemExit(f"the run did not have {records} records after {SECONDS:g} s")


def restart(one: Daemon) -> dict[str, Any]:
    """Kills all, starts once more, and says what that took."""
    one.crash(memory=False)
    began = time.time()
    said = one.start()
    answers = time.time() - began
    lines = [line for line in one.log() if line["source"] == "engine"]
    begun, done = (
        max(datetime.fromisoformat(line["ts"]).timestamp() for line in lines if line["text"].startswith(word))
        for word in ("resuming run", "resumed run")
    )
    return {"records": said["resumed"], "engine_s": done - begun, "answers_s": answers}


def measure(records: int, every: int, times: int) -> dict[str, dict[str, Any]]:
    """Both ways of one length of a run."""
    text = SIMULATED.replace("speed = 5.0", "speed = 100.0")
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="ringbook-restart-") as folder:
        with daemon(text + SECTION.format(folder=folder, every=every)) as one:
            run = Path(folder) / "journals" / one.start()["run_id"]
            await_records(one, records, records - 2 * every)
            found["with"] = _spread([restart(one) for _ in range(times)])
            without = []
            for _ in range(times):
                for file in run.glob("snapshot-*"):
                    file.unlink()
                without.append(restart(one))
            found["without"] = _spread(without)
            one.end()
    return found


def _spread(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    spread: dict[str, Any] = {"records": max(one["records"] for one in rounds), "rounds": len(rounds)}
    for name in ("engine_s", "answers_s"):
        values = [one[name] for one in rounds]
        spread[name] = round(statistics.median(values), 3)
        spread[f"{name}_range"] = [round(min(values), 3), round(max(values), 3)]
    return spread


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, nargs="*", default=[2_000_000, 10_000_000], help="' lengths")
    parser.add_argument("--every", type=int, default=500_000, help="records from one snapshot to the next")
    parser.add_argument("--rounds", type=int, default=5, help="restarts of each kind")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    found = {str(records): measure(records, args.every, args.rounds) for records in args.records}
    if args.json:
        print(json.dumps(found))
        return
    for kinds in found.values():
        for kind, one in kinds.items():
            low, high = one["engine_s_range"]
            print(
                f"{one['records']:>11,} records, {kind + ' a snapshot':<18} the engine stands after "
                f"{one['engine_s']:.2f} s ({low:.2f} to {high:.2f}), the daemon answers after "
                f"{one['answers_s']:.2f} s"
            )


if __name__ == "__main__":
    main()
