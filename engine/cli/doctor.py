"""``ringbook doctor``: looks at a set-up and explains, one line a finding, what is wrong and what to do."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from engine.cli.daemon import find, where_arguments

if TYPE_CHECKING:
    from engine.runtime.rundir import RunDir

Level = Literal["ok", "warning", "problem"]

PACKAGES = ("numpy", "hftbacktest", "textual", "pyzmq", "msgspec", "clickhouse-driver", "tqdm")
EXTENSIONS = ("engine.core.types", "engine.core.ring", "engine.book.l2", "engine.kernel")
RECORDER_BEHIND_S = 60.0
PAGE_WAIT_S = 0.5
"""In which an engine that lives writes its status page."""
SHARED_MEMORY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Finding:
    """What one check found: its level, what is so, and what to do about it."""

    check: str
    level: Level
    message: str
    remedy: str = ""


def doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``ringbook doctor``."""
    parser.add_argument("--config", type=Path, help="also check this daemon configuration")
    where_arguments(parser)
    parser.epilog = "example:\n  ringbook doctor --config paper.toml"


def doctor(args: argparse.Namespace) -> int:
    """Runs every check; exit code 1 when one found a problem."""
    findings = list(examine(args.config, find(args)[0]))
    problems = sum(finding.level == "problem" for finding in findings)
    if args.json:
        print(json.dumps({"problems": problems, "findings": [asdict(finding) for finding in findings]}))
        return 1 if problems else 0
    marks = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}
    for finding in findings:
        print(f"{marks[finding.level]}  {finding.check}: {finding.message}")
        if finding.remedy:
            print(f"         -> {finding.remedy}")
    print(f"{problems} problem{'' if problems == 1 else 's'} found" if problems else "all is well")
    return 1 if problems else 0


def examine(config: Path | None = None, run: RunDir | None = None) -> Iterator[Finding]:
    """Yields what each check finds; a check that itself breaks is a finding, not a traceback.

    Args:
        config: A daemon configuration to check as well.
        run: The run directory of a daemon to look at as well.
    """
    checks: list[Callable[[], Iterator[Finding]]] = [
        check_python,
        check_core,
        check_packages,
        check_shared_memory,
        check_run_directory,
        check_terminal,
        check_clock,
    ]
    named = {check.__name__.removeprefix("check_").replace("_", " "): check for check in checks}
    if run is not None:
        named["daemon"] = lambda: check_daemon(run)
    for name, check in named.items():
        try:
            yield from check()
        except Exception as error:
            yield Finding(name, "problem", f"the check failed: {type(error).__name__}: {error}")
    if config is not None:
        yield from check_config(config)


def check_python() -> Iterator[Finding]:
    """The interpreter's version and platform."""
    version = platform.python_version()
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Finding("python", "problem", f"{version} is not supported", "use CPython 3.11, 3.12 or 3.13")
    else:
        yield Finding("python", "ok", f"{version} on {platform.system()} {platform.machine()}")
    if platform.system() != "Linux":
        remedy = "expect rough edges in the daemon; backtests are fine"
        yield Finding("system", "warning", f"{platform.system()} is second to Linux", remedy)


def check_core() -> Iterator[Finding]:
    """The compiled core can be imported, and its records are as long as they must be."""
    for name in EXTENSIONS:
        try:
            importlib.import_module(name)
        except ImportError as error:
            yield Finding("core", "problem", f"{name} cannot be imported: {error}", "build it: make build")
            return
    from engine.core.types import event_dtype

    if event_dtype.itemsize != 64:
        message = f"an event has {event_dtype.itemsize} bytes instead of 64"
        yield Finding("core", "problem", message, "rebuild: make clean build")
        return
    yield Finding("core", "ok", f"{len(EXTENSIONS)} compiled modules load")


def check_packages() -> Iterator[Finding]:
    """The packages that the core needs are there."""
    missing = []
    for name in PACKAGES:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        remedy = f"pip install {' '.join(missing)}"
        yield Finding("packages", "problem", f"not installed: {', '.join(missing)}", remedy)
    else:
        yield Finding("packages", "ok", f"{len(PACKAGES)} packages installed")


def check_shared_memory() -> Iterator[Finding]:
    """There is room for the daemon's rings."""
    path = Path("/dev/shm")
    if not path.is_dir():
        yield Finding("shared memory", "warning", "/dev/shm does not exist", "rings fall back to files")
        return
    free = shutil.disk_usage(path).free
    if not os.access(path, os.W_OK):
        yield Finding("shared memory", "problem", "/dev/shm is not writable", "mount it read-write")
    elif free < SHARED_MEMORY_BYTES:
        message = f"{free >> 20} MiB free, a daemon wants {SHARED_MEMORY_BYTES >> 20}"
        yield Finding("shared memory", "problem", message, "in a container: raise --shm-size")
    else:
        yield Finding("shared memory", "ok", f"{free >> 20} MiB free")


def check_run_directory() -> Iterator[Finding]:
    """The daemon's directory can be made, and its sockets' names are short enough for the system."""
    from engine.runtime import rundir

    root = rundir.default_base()
    parent = root
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK):
        remedy = "set RINGBOOK_RUN_DIR to a directory of yours"
        yield Finding("run directory", "problem", f"{root} cannot be written", remedy)
        return
    longest = len(str(root)) + len("/0123456789abcdef/telemetry.sock")
    # sun_path of a Unix socket holds 108 bytes with the final zero.
    if longest > 107:
        message = f"{root} makes socket names of {longest} bytes, the system takes 107"
        yield Finding("run directory", "problem", message, "set RINGBOOK_RUN_DIR to a shorter one")
        return
    yield Finding("run directory", "ok", str(root))


def check_terminal() -> Iterator[Finding]:
    """The terminal can show the UI."""
    if not sys.stdout.isatty():
        yield Finding("terminal", "ok", "none (output is not a terminal)")
        return
    size = shutil.get_terminal_size()
    if size.columns < 80 or size.lines < 24:
        message = f"{size.columns}x{size.lines} is smaller than 80x24"
        yield Finding("terminal", "warning", message, "enlarge the window before ringbook tui")
        return
    colours = os.environ.get("COLORTERM", "") or os.environ.get("TERM", "unknown")
    yield Finding("terminal", "ok", f"{size.columns}x{size.lines}, {colours}")


def check_clock() -> Iterator[Finding]:
    """The wall clock is plausible; recordings compare it with the exchange's."""
    if time.time() < 1_704_067_200:
        yield Finding("clock", "problem", "the wall clock is before 2024", "set it: timedatectl set-ntp true")
    else:
        yield Finding("clock", "ok", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()))


def check_daemon(run: RunDir) -> Iterator[Finding]:
    """A daemon's run: it is alive, trades, has no thrown switch, and runs what its file says."""
    from engine.runtime.config import of_run
    from engine.runtime.metrics import describe_recorder, read, thrown

    for switch in thrown(run):
        place = " ".join(filter(None, (switch["scope"], switch["name"])))
        said = f": {switch['reason']}" if switch["reason"] else ""
        message = f"{place} is {switch['state']} by {switch['cause']}{said}"
        yield Finding("daemon", "warning", message, f"ringbook rearm --confirm {switch['id']}")
    state, pid = run.read_state(), run.owner()
    if pid is None:
        why = f"; the last one ended because {state.message}" if state is not None and state.message else ""
        yield Finding("daemon", "warning" if why else "ok", f"none runs in {run.path}{why}")
        return
    report = read(run)
    wait = PAGE_WAIT_S
    if run.config_file.exists():
        # Which may be written less often than that.
        wait = max(wait, 2e-3 * of_run(run).engine.status_interval_ms)
    before, _ = run.page_beat(), time.sleep(wait)
    if report["state"] == "running" and run.page_beat() == before:
        message = f"the engine of pid {pid} has said nothing for {wait:g} s"
        yield Finding("daemon", "problem", message, "ringbook logs; if it hangs, kill the daemon")
    trading = report.get("engine", {}).get("trading_state", "unknown")
    if trading in ("HALTED", "REDUCING"):
        yield Finding("daemon", "warning", f"trading is {trading}", "ringbook resume")
    edit = report.get("config_edit") or {}
    if edit.get("state") == "refused":
        yield Finding("daemon", "warning", f"the last edit was refused: {edit['message']}", "edit it again")
    if edit.get("needs_restart"):
        waiting = ", ".join(edit["needs_restart"])
        yield Finding("daemon", "warning", f"edited, not in force: {waiting}", "ringbook stop, ringbook run")
    if recorder := report.get("recorder"):
        lost = recorder["error"] or recorder["left_out"] or recorder["behind_s"] > RECORDER_BEHIND_S
        remedy = "look at the store; what is recorded waits in the spool" if lost else ""
        said = describe_recorder(recorder).removeprefix("recorder ")
        yield Finding("recorder", "warning" if lost else "ok", said, remedy)
    yield from _snapshots(report.get("snapshots"))
    yield Finding("daemon", "ok", f"pid {pid}, {report['state']}, trading {trading}")


def _snapshots(made: dict[str, Any] | None) -> Iterator[Finding]:
    """What a restart would begin with."""
    from engine.runtime.metrics import describe_snapshots

    if made is None:
        return
    message = "; ".join(describe_snapshots(made))
    if made["refused"]:
        yield Finding("snapshots", "warning", message, "docs/operations.md, Snapshots, says what they need")
    elif made["not_removed"]:
        yield Finding("snapshots", "warning", message, "the disk, or the journal's directory, refuses")
    elif message:
        yield Finding("snapshots", "ok", f"{message} ({made['size']} bytes)")


def check_config(path: Path) -> Iterator[Finding]:
    """A daemon configuration: it is valid, its strategies load, and its port is free."""
    from engine.core.errors import RingbookError
    from engine.runtime import config as daemon_config
    from engine.strategy import loader

    try:
        config = daemon_config.load(path)
    except RingbookError as error:
        yield Finding("config", "problem", str(error))
        return
    found = False
    for strategy in config.strategies:
        try:
            loader.load(strategy.cls)
        except RingbookError as error:
            found = True
            yield Finding("config", "problem", f"{path}: strategy {strategy.id}: {error}")
    endpoint = config.endpoint()
    if endpoint.startswith("tcp://"):
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        with socket.socket() as probe:
            probe.settimeout(0.5)
            if port.isdigit() and probe.connect_ex((host or "127.0.0.1", int(port))) == 0:
                found = True
                remedy = "stop what listens there, or choose another port"
                yield Finding("config", "problem", f"{path}: something listens on {endpoint}", remedy)
    if not found:
        yield Finding("config", "ok", f"{path}: {config.engine.name}, {config.engine.mode}")
