"""``ringbook run``, ``status`` and ``stop``: the daemon's life from the command line."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.core.errors import ConfigError, RingbookError, RingCorrupt
from engine.runtime.rundir import DEFAULT_NAME, RunDir, RunState, default_base

if TYPE_CHECKING:
    from engine.runtime.config import DaemonConfig

STOP_WAIT_S = 10.0
LOOK_S = 0.05


# --- run ----------------------------------------------------------------------------------------


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ringbook run``."""
    parser.add_argument("--config", required=True, metavar="FILE", help="the daemon's TOML file")
    parser.add_argument("--detach", action="store_true", help="return as soon as the daemon answers")
    parser.add_argument(
        "--until-end", action="store_true", help="stop in good order once the feed has ended, and all is done"
    )
    parser.add_argument(
        "--new", action="store_true", help="begin a new run; without it one that is unfinished goes on"
    )
    parser.add_argument(
        "--other-build",
        action="store_true",
        help="have an unfinished run go on although Ringbook or the code of a strategy has changed since",
    )
    parser.epilog = "example: ringbook run --config examples/configs/paper_simulated.toml --detach"


def run(args: argparse.Namespace) -> int:
    """Starts the daemon; in the foreground it stays until SIGTERM or SIGINT."""
    from engine.runtime import config as daemon_config

    config = daemon_config.load(args.config)
    source = os.path.abspath(args.config)
    until_end = _until_end(config, args.config) if args.until_end else lambda state: None

    def supervise(ready: Callable[[RunState], None]) -> int:
        from engine.runtime.http import Monitor
        from engine.runtime.supervisor import Supervisor

        one = Supervisor(config, source, new=args.new, other_build=args.other_build)
        # A second daemon is told that it is one, and not that its port is taken.
        if config.run_dir().owner() is not None:
            return one.run(lambda state: None)
        with Monitor(config.metrics.listen, config.run_dir()):
            return one.run(lambda state: (ready(state), until_end(state)))

    if args.detach:
        return _detach(supervise, config.run_dir(), args.json)
    return supervise(_announce if args.json else lambda state: None)


def _announce(state: RunState) -> None:
    print(json.dumps(_answer(state)), flush=True)


def _answer(state: RunState) -> dict[str, Any]:
    """What is said of a daemon that has started."""
    return {
        "pid": state.pid,
        "name": state.name,
        "endpoint": state.endpoint,
        "run_id": state.run_id,
        "resumed": state.resumed,
    }


def _until_end(config: DaemonConfig, source: str) -> Callable[[RunState], None]:
    """What has a daemon that runs stop itself once its feed has ended.

    Raises:
        ConfigError: Its feed never ends.
    """
    feed = config.feed
    if not (feed.loop if feed.kind == "replay" else feed.seconds):
        key = "loop" if feed.kind == "replay" else "seconds"
        raise ConfigError(
            f"{source}: $.feed.{key}: with 0 the feed never ends, and --until-end waits for that"
        )

    def wait() -> None:
        while not _has_ended(config.run_dir()):
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    return lambda state: threading.Thread(target=wait, name="until-end", daemon=True).start()


def _has_ended(run_dir: RunDir) -> bool:
    """Whether the engine has taken in the end of its feed."""
    from engine.runtime.metrics import read_page
    from engine.runtime.records import FeedState

    try:
        page = read_page(run_dir)
    except RingCorrupt:
        return False  # of an engine that was killed while it wrote
    return page is not None and page[0]["status"]["feed_state"] == FeedState.ENDED


def _detach(supervise: Callable[[Callable[[RunState], None]], int], run_dir: RunDir, as_json: bool) -> int:
    """Forks twice; the parent waits until the daemon answers or says why it does not."""
    sys.stdout.flush()
    sys.stderr.flush()
    read_fd, write_fd = os.pipe()
    if (child := os.fork()) != 0:
        os.close(write_fd)
        os.waitpid(child, 0)
        with os.fdopen(read_fd, "rb") as pipe:
            return _report_start(pipe.read(), run_dir, as_json)
    os.close(read_fd)
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    code = 2
    try:
        _leave_terminal(run_dir)

        def ready(state: RunState) -> None:
            os.write(write_fd, json.dumps(_answer(state)).encode())
            os.close(write_fd)

        code = supervise(ready)
    except RingbookError as error:
        _tell(write_fd, {"error": type(error).__name__, "message": str(error)})
    except BaseException as error:
        _tell(write_fd, {"error": type(error).__name__, "message": f"{type(error).__name__}: {error}"})
        raise
    finally:
        os._exit(code)


def _tell(write_fd: int, answer: dict[str, str]) -> None:
    try:
        os.write(write_fd, json.dumps(answer).encode())
    except OSError as error:
        # The starter has its answer already and is gone: the console file is all that is left.
        print(f"{answer['message']} ({error.strerror})", file=sys.stderr, flush=True)


def _leave_terminal(run_dir: RunDir) -> None:
    run_dir.make()
    null = os.open(os.devnull, os.O_RDWR)
    try:
        console = os.open(run_dir.console_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise ConfigError(f"run directory {run_dir.path}: {error.strerror}") from None
    for target, source in ((0, null), (1, console), (2, console)):
        os.dup2(source, target)
    os.close(null)
    os.close(console)


def _report_start(data: bytes, run_dir: RunDir, as_json: bool) -> int:
    answer = json.loads(data) if data else {"error": "StartFailed", "message": "the daemon ended at once"}
    if as_json:
        print(json.dumps(answer))
    if "error" in answer:
        print(f"ringbook: {answer['message']}", file=sys.stderr)
        return 2
    if not as_json:
        print(f"daemon {answer['name']} runs (pid {answer['pid']}) on {answer['endpoint']}")
        if answer["resumed"]:
            print(f"run {answer['run_id']} goes on after record {answer['resumed']}")
        print(f"log: {run_dir.log_file}")
    return 0


# --- status and stop ----------------------------------------------------------------------------


def where_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of every command that needs to know which daemon."""
    parser.add_argument("--name", default=DEFAULT_NAME, help="the daemon's name (default: %(default)s)")
    parser.add_argument("--run-dir", metavar="DIR", help="where runs are kept, if not in the usual place")


def find(args: argparse.Namespace) -> tuple[RunDir, int | None]:
    """The run directory that a command's arguments name, and the pid of the daemon that runs there."""
    base = Path(args.run_dir) if args.run_dir else default_base()
    run_dir = RunDir(base / args.name)
    return run_dir, run_dir.owner()


def none_runs(run_dir: RunDir, as_json: bool) -> int:
    """Says that no daemon runs, and why the last one ended; the exit code."""
    message = f"no daemon runs in {run_dir.path}"
    state = run_dir.read_state()
    if state is not None and state.message:
        message += f"; the last one ended because {state.message}"
    elif state is not None and state.state != "stopped":
        message += "; the last one was killed"
    if as_json:
        print(json.dumps({"state": "stopped", "message": message}))
    print(f"ringbook: {message}", file=sys.stderr)
    return 1


def status_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ringbook status``."""
    where_arguments(parser)
    parser.epilog = "example: ringbook status --json"


def status(args: argparse.Namespace) -> int:
    """Prints how the daemon is; 1 when none runs."""
    from engine.runtime.metrics import describe, read

    run_dir, pid = find(args)
    if pid is None:
        return none_runs(run_dir, args.json)
    report = read(run_dir)
    print(json.dumps(report) if args.json else describe(report))
    return 0


def stop_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``ringbook stop``."""
    where_arguments(parser)
    parser.epilog = "example: ringbook stop --name main"


def stop(args: argparse.Namespace) -> int:
    """Stops the daemon in good order and waits for its end; 1 when none runs."""
    run_dir, pid = find(args)
    if not pid:
        return none_runs(run_dir, args.json)
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return none_runs(run_dir, args.json)
    deadline = time.monotonic() + STOP_WAIT_S
    while run_dir.owner() is not None:
        if time.monotonic() > deadline:
            print(f"ringbook: the daemon (pid {pid}) still runs after {STOP_WAIT_S:g} s", file=sys.stderr)
            return 1
        time.sleep(0.02)
    print(json.dumps({"stopped": pid}) if args.json else f"daemon {args.name} (pid {pid}) has stopped")
    return 0
