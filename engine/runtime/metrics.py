"""The status page: what the engine writes about itself into shared memory, and how others read it.

The engine rewrites the page about ten times a second without asking anybody, so ``ringbook status``
works while the bridge is down. A counter that is odd during a write tells readers to look again.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from engine.core.errors import RingCorrupt
from engine.core.histogram import HISTOGRAM_BYTES, below, percentile
from engine.core.times import shown
from engine.core.types import StrategyState, TradingState
from engine.runtime import config as daemon_config
from engine.runtime import lag
from engine.runtime.publish import page_head_dtype, page_position_dtype
from engine.runtime.records import SLOT_BYTES, FeedState, JournalState
from engine.runtime.rundir import RunDir
from engine.runtime.switches import SwitchesUnreadable, as_plain, read_switches, unreadable

PAGE_POSITIONS = 4095
"""Positions that the page has room for."""
READ_TRIES = 1000
STEPS_AT = (PAGE_POSITIONS + 1) * SLOT_BYTES
"""Where the histogram of the times of steps lies in the page."""
PAGE_BYTES = STEPS_AT + HISTOGRAM_BYTES
STEP_PERCENTILES = (50, 99, 99.9)
STEP_BOUNDS = tuple(1 << bit for bit in range(9, 31))
"""Nanoseconds up to which steps are counted for monitors: half a microsecond to a second."""


def create_page(run: RunDir) -> mmap.mmap:
    """Makes the page of a run, or takes over that of a killed engine, and maps it."""
    fd = os.open(run.page_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, PAGE_BYTES)
        page = mmap.mmap(fd, PAGE_BYTES)
    finally:
        os.close(fd)
    lock = int.from_bytes(page[:8], "little")
    if lock % 2:
        # Killed while it wrote: the next writing goes on from there, with an even number afterwards.
        page[:8] = (lock + 1).to_bytes(8, "little")
    return page


def read_page(run: RunDir) -> tuple[np.void, np.ndarray] | None:
    """The page's head and positions as they were at one moment; None before the engine's first.

    Raises:
        RingCorrupt: The page does not come to rest: its writer died in the middle.
    """
    with _mapped(run) as page:
        return None if page is None else _consistent(page)


def read_steps(run: RunDir) -> np.ndarray | None:
    """The histogram of the times of the engine's busy steps, ns, since the run began; None before that.

    Returns:
        As :meth:`engine.core.histogram.Histogram.read`; what two looks differ by was between them.
    """
    with _mapped(run) as page:
        return None if page is None else np.frombuffer(page[STEPS_AT:], np.uint64)


@contextlib.contextmanager
def _mapped(run: RunDir) -> Iterator[mmap.mmap | None]:
    try:
        fd = os.open(run.page_file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        if os.fstat(fd).st_size < PAGE_BYTES:
            yield None
            return
        with mmap.mmap(fd, PAGE_BYTES, prot=mmap.PROT_READ) as page:
            yield page
    finally:
        os.close(fd)


def _consistent(page: mmap.mmap) -> tuple[np.void, np.ndarray] | None:
    for _ in range(READ_TRIES):
        before = int.from_bytes(page[:8], "little")
        head = np.frombuffer(page[: page_head_dtype.itemsize], page_head_dtype)[0]
        n = min(int(head["n_positions"]), PAGE_POSITIONS)
        positions = np.frombuffer(page[SLOT_BYTES : (n + 1) * SLOT_BYTES], page_position_dtype)
        if before == int.from_bytes(page[:8], "little") and before % 2 == 0:
            return (head, positions) if before else None
        time.sleep(0.0001)
    raise RingCorrupt("the engine's status page is being written for ever")


def read(run: RunDir) -> dict[str, Any]:
    """Everything that ``ringbook status`` tells about a running daemon."""
    state = run.read_state()
    report: dict[str, Any] = {"state": "starting", "run_dir": str(run.path), "processes": {}}
    if state is None:
        return report
    report |= {
        "state": state.state,
        "name": state.name,
        "mode": state.mode,
        "pid": state.pid,
        "endpoint": state.endpoint,
        "config": state.config,
        "config_hash": state.config_hash,
        "uptime_s": round(max(0.0, (time.time_ns() - state.started) / 1e9), 3),
        "log": str(run.log_file),
        "processes": {
            role: {"pid": state.pids.get(role), "restarts": count} for role, count in state.restarts.items()
        },
    }
    if standby := state.pids.get("standby"):
        report["processes"]["standby"] = {"pid": standby, "restarts": 0}
    report["config_edit"] = run.read_watch()
    if (made := run.read_snapshots()) is not None and made["run_id"] == state.run_id:
        report["snapshots"] = made
    report["switches"] = thrown(run)
    page = read_page(run)
    if page is not None:
        report["engine"] = _engine(page[0]) | {"step_ns": _steps(run)}
        report["positions"] = _positions(run, page[1])
        accepted = report["engine"]["journal"]["accepted_seq"]
        report["recorder"] = lag.read(run.recorder_file, state.run_id, accepted, time.time_ns())
    return report


def thrown(run: RunDir) -> list[dict[str, Any]]:
    """The thrown switches that are kept in a run directory, whether or not a daemon runs."""
    try:
        return as_plain(read_switches(run.switches_file))
    except SwitchesUnreadable as error:
        return as_plain([unreadable(error, 0)])


def _engine(head: np.void) -> dict[str, Any]:
    status = head["status"]
    fed = int(status["feed_wall_ts"])
    return {
        "step": int(head["step"]),
        "trading_state": TradingState(int(status["trading_state"])).name,
        "feed_state": FeedState(int(status["feed_state"])).name.lower(),
        "feed_age_s": round(max(0.0, (time.time_ns() - fed) / 1e9), 3) if fed else None,
        "market_ts": int(status["market_ts"]),
        **{
            name: int(status[name])
            for name in ("events", "orders", "fills", "denied", "conflated", "dropped")
        },
        "events_per_second": round(float(status["events_per_second"]), 1),
        "loop_ns": round(float(status["loop_ns"]), 1),
        "journal": {
            "state": JournalState(int(status["journal_state"])).name.lower(),
            "accepted_seq": int(status["accepted_seq"]),
            "durable_seq": int(status["durable_seq"]),
        },
    }


def _steps(run: RunDir) -> dict[str, Any]:
    counts = read_steps(run)
    assert counts is not None
    spread = {f"p{q:g}": round(percentile(counts, q), 1) for q in STEP_PERCENTILES}
    total = {"count": int(counts[:-1].sum()), "sum": int(counts[-1])}
    return {**total, **spread, "below": below(counts, STEP_BOUNDS)}


def describe_snapshots(made: dict[str, Any]) -> Iterator[str]:
    """What a restart would begin with, and since when the journal is kept.

    Args:
        made: The report of :func:`read`.
    """
    if made["refused"]:
        before = f"after that of record {made['seq']}" if made["seq"] else "of this run"
        yield f"no snapshots {before}, a restart repeats what came since: {made['refused']}"
    elif made["seq"]:
        yield f"snapshot of record {made['seq']}"
    if made["first_seq"] > 1:
        yield f"journal kept from record {made['first_seq']} on, engine time {shown(made['first_ts'])}"
    if made["not_removed"]:
        yield f"old segments of the journal stay: {made['not_removed']}"


def describe_journal(journal: dict[str, Any]) -> str:
    """The journal's state for people."""
    trouble = {
        "full": "DISK FULL: new orders are denied",
        "halted": "HALTED: nothing becomes durable any more",
    }
    state = trouble.get(journal["state"], journal["state"])
    return f"journal {state}; accepted {journal['accepted_seq']}, durable {journal['durable_seq']}"


def describe_recorder(recorder: dict[str, Any]) -> str:
    """How far the recorder is, for people."""
    text = (
        f"recorder {recorder['behind_s']:.1f} s behind; {recorder['rows']} rows stored, "
        f"batches that wait: {recorder['batches']} ({recorder['bytes'] / 1e6:.1f} MB)"
    )
    if recorder["left_out"]:
        text += f"; NO ROOM: {recorder['left_out']} market rows left out"
    return text + (f"; THE STORE REFUSES: {recorder['error']}" if recorder["error"] else "")


def _positions(run: RunDir, entries: np.ndarray) -> list[dict[str, Any]]:
    symbols = [asset.symbol for asset in daemon_config.of_run(run).instruments]
    found = []
    for entry in entries:
        values = entry["position"]
        found.append(
            {
                "strategy": bytes(entry["name"]).rstrip(b"\0").decode(errors="replace"),
                "state": StrategyState(int(entry["state"])).name.capitalize(),
                "symbol": symbols[int(entry["instrument"])],
                **{name: _plain(values[name]) for name in values.dtype.names if not name.startswith("_")},
            }
        )
    return found


def _plain(value: np.generic) -> float | int | None:
    plain = value.item()
    return None if plain != plain else plain  # NaN is no JSON


def describe(report: dict[str, Any]) -> str:
    """A report of :func:`read` for people."""
    lines = [f"{report.get('name', '?')}: {report['state']} ({report['run_dir']})"]
    if "pid" in report:
        lines[0] = (
            f"{report['name']}: {report['state']}, {report['mode']}, pid {report['pid']}, "
            f"up {report['uptime_s']:.0f} s, {report['endpoint']}"
        )
    for role, process in report["processes"].items():
        pid = f"pid {process['pid']}" if process["pid"] else "not running"
        restarts = f", restarted {process['restarts']} times" if process["restarts"] else ""
        lines.append(f"  {role:<7} {pid}{restarts}")
    if engine := report.get("engine"):
        age = "never fed" if engine["feed_age_s"] is None else f"{engine['feed_age_s']:.1f} s old"
        lines.append(
            f"  trading {engine['trading_state']}; feed {engine['feed_state']}, {age}; step {engine['step']}"
        )
        lines.append(
            f"  {engine['events']} events, {engine['orders']} order requests, {engine['fills']} fills, "
            f"{engine['denied']} denied"
        )
        steps = engine["step_ns"]
        if steps["count"]:
            spread = ", ".join(f"p{q:g} {steps[f'p{q:g}'] / 1e3:.1f}" for q in STEP_PERCENTILES)
            lines.append(f"  steps, us: {spread}")
        if engine["journal"]["state"] != "off":
            lines.append(f"  {describe_journal(engine['journal'])}")
    if recorder := report.get("recorder"):
        lines.append(f"  {describe_recorder(recorder)}")
    if made := report.get("snapshots"):
        lines += [f"  {said}" for said in describe_snapshots(made)]
    for switch in report.get("switches", ()):
        place = " ".join(filter(None, (switch["scope"], switch["name"])))
        said = f": {switch['reason']}" if switch["reason"] else ""
        lines.append(
            f"  SWITCH {switch['id']} thrown: {place} {switch['state']} by {switch['cause']}, "
            f"{switch['who'] or 'nobody named'}{said}"
        )
    if edit := report.get("config_edit"):
        if edit["state"] == "refused":
            lines.append(f"  the last edit of the configuration was refused: {edit['message']}")
        if edit["needs_restart"]:
            lines.append(f"  edited, but not in force until a restart: {', '.join(edit['needs_restart'])}")
    for position in report.get("positions", []):
        pnl = (position["realized_pnl"] or 0.0) + (position["unrealized_pnl"] or 0.0) - position["fee"]
        lines.append(
            f"  {position['strategy']} {position['symbol']} ({position['state']}): "
            f"position {position['position']:g}, pnl {pnl:.2f}, {position['num_trades']} trades, "
            f"{position['open_orders']} open orders"
        )
    return "\n".join(lines)
