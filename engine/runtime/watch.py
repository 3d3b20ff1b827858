"""Watches the configuration file of a running daemon: what may change live does, as soon as it is edited.

An edit is taken once the file has come to rest. It is read and checked whole, as at a start; what is wrong
changes nothing. What may change live goes to the engine as one command, all or nothing; for the rest it is
said that it needs a restart. Who edits a value that an operator has set by hand meanwhile, wins; values that
the edit leaves alone stay as the operator set them.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from engine.core.errors import RingbookError
from engine.runtime import config as daemon_config
from engine.runtime.changes import moment
from engine.runtime.config import DaemonConfig
from engine.runtime.rundir import RunDir

LOOK_TICKS = 3
"""Ticks of the bridge between two looks at the file."""
KEYED = {"strategies": "id", "instruments": "symbol"}
"""Lists whose entries have names."""

Path_ = tuple[str, ...]


class Reply(Protocol):
    """What the engine answers."""

    success: bool
    message: str


class Ask(Protocol):
    """How the engine is told: as the bridge's ``Control.ask``."""

    def __call__(
        self, command: str, fields: dict[str, Any], answer: Callable[[Any, int], None], who: str
    ) -> bool:
        """Sends a command; false when there is no room for it."""


class WatchReport(msgspec.Struct, kw_only=True):
    """What became of the last edit, in ``watch.json``.

    Attributes:
        ts: When, wall clock in ISO 8601.
        state: ``applied``, or ``refused``: then nothing of it has changed anything.
        message: Why it was refused, or what the engine said.
        applied: Keys that changed live.
        needs_restart: Keys whose values in the file are not those in force.
    """

    ts: str
    state: str
    message: str = ""
    applied: list[str] = []
    needs_restart: list[str] = []


class Difference(msgspec.Struct):
    """What an edit changes.

    Attributes:
        command: Fields of the command ``reconfigure``.
        live: Paths of keys that it changes.
        restart: Paths of keys that only a restart changes.
    """

    command: dict[str, Any]
    live: list[Path_]
    restart: list[Path_]


def difference(running: dict[str, Any], edited: dict[str, Any]) -> Difference:
    """Compares two configurations as plain values.

    Args:
        running: The one in force.
        edited: What the file says.
    """
    made = Difference({}, [], [])
    before, after = _flat(running), _flat(edited)
    for path in [*before, *(path for path in after if path not in before)]:
        if path in before and path in after and before[path] == after[path]:
            continue
        value = after.get(path)
        match path:
            case (*_, "loss_action") if value is None:
                # It says how other limits work, and has no value that says nothing.
                made.restart.append(path)
                continue
            case ("risk", "limits", key):
                made.command.setdefault("risk", {}).setdefault("", {})[key] = value
            case ("risk", "instruments", symbol, key):
                made.command.setdefault("risk", {}).setdefault(symbol, {})[key] = value
            case ("strategies", name, ("params" | "limits") as part, key) if ("strategies", name) in after:
                if ("strategies", name) not in before:
                    continue
                made.command.setdefault(part, {}).setdefault(name, {})[key] = value
            case ("external", "limits", _):
                made.command["external_limits"] = edited["external"]["limits"]
            case ("external", "enabled"):
                made.command["external_enabled"] = value
            case ("engine", "log_level"):
                made.command["log_level"] = value
            case _:
                made.restart.append(path)
                continue
        made.live.append(path)
    # Of a strategy or an instrument that comes or goes, its name says it all.
    whole = {path for path in made.restart if len(path) == 2 and path[0] in KEYED}
    made.restart = [path for path in made.restart if path in whole or path[:2] not in whole]
    for name in KEYED:
        old, new = ([path for path in flat if len(path) == 2 and path[0] == name] for flat in (before, after))
        if old != new and sorted(old) == sorted(new):
            made.restart.append((name,))
    return made


def _flat(values: dict[str, Any]) -> dict[Path_, Any]:
    """Plain values by their paths; named entries of lists by their names."""
    found: dict[Path_, Any] = {}

    def walk(path: Path_, value: Any) -> None:
        if len(path) == 1 and path[0] in KEYED:
            for entry in value:
                name = entry[KEYED[path[0]]]
                found[(*path, name)] = True
                walk((*path, name), entry)
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk((*path, key), inner)
        else:
            found[path] = value

    walk((), values)
    return found


def merged(running: dict[str, Any], edited: dict[str, Any], live: list[Path_]) -> dict[str, Any]:
    """The configuration in force once the live keys of an edit are."""
    made = copy.deepcopy(running)
    for path in live:
        target, source = made, edited
        for key in path[:-1]:
            target, source = _descend(target, key, path), _descend(source, key, path)
        if path[-1] in source:
            target[path[-1]] = source[path[-1]]
        else:
            del target[path[-1]]
    return made


def _descend(node: Any, key: str, path: Path_) -> Any:
    if isinstance(node, list):
        return next(entry for entry in node if entry[KEYED[path[0]]] == key)
    # A table may be there on one side only: limits of an instrument that had none, or has none any more.
    return node.setdefault(key, {})


class Watch:
    """Looks at the file now and then; everything it does is quick, and nothing of it raises.

    Args:
        source: The file.
        config: The configuration in force.
        run: The run directory.
        ask: Tells the engine.
        log: Where to say what became of an edit.
        on_level: Told the log level of an edit that is in force.
        environ: The environment with its overrides; ``os.environ`` by default.
    """

    def __init__(
        self,
        source: Path,
        config: DaemonConfig,
        run: RunDir,
        ask: Ask,
        log: Any,
        on_level: Callable[[str], None] = lambda level: None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._source, self._run, self._ask, self._log = source, run, ask, log
        self._on_level, self._environ = on_level, environ
        self._running: dict[str, Any] = msgspec.to_builtins(config)
        self._ticks = 0
        self._asking = False
        self._seen: object = ()
        self._candidate: object = ()

    def tick(self) -> None:
        """One heartbeat interval of the bridge."""
        self._ticks += 1
        if self._ticks % LOOK_TICKS or self._asking:
            return
        signature = self._signature()
        if signature == self._seen:
            return
        if signature != self._candidate:
            # It may still be being written.
            self._candidate = signature
            return
        first, self._seen = self._seen == (), signature
        try:
            self._look(first)
        except Exception as error:
            self._log.exception("the configuration could not be looked at: %s", error)

    def _signature(self) -> object:
        try:
            info = self._source.stat()
        except OSError:
            return None
        return info.st_mtime_ns, info.st_size, info.st_ino

    def _look(self, first: bool) -> None:
        try:
            edited = msgspec.to_builtins(daemon_config.load(self._source, self._environ))
        except RingbookError as error:
            self._refused(str(error))
            return
        found = difference(self._running, edited)
        if not found.command:
            # The file of a fresh start says what is in force: that is no edit.
            if not first or found.restart:
                self._report("applied", "nothing in it changes live", [], found.restart)
            return

        def answer(reply: Reply | None, step: int) -> None:
            self._asking = False
            if reply is None:
                self._seen = self._candidate = ()
                self._log.warning("the engine did not answer to an edit of %s; asking again", self._source)
            elif not reply.success:
                self._refused(reply.message)
            else:
                self._applied(edited, found, reply.message)

        self._asking = True
        if not self._ask("reconfigure", found.command, answer, f"file:{self._source}"):
            self._asking = False
            self._seen = self._candidate = ()

    def _applied(self, edited: dict[str, Any], found: Difference, message: str) -> None:
        self._running = merged(self._running, edited, found.live)
        if level := found.command.get("log_level"):
            self._on_level(level)
        self._run.write_config(msgspec.convert(self._running, DaemonConfig))
        self._report("applied", message, found.live, found.restart)

    def _refused(self, why: str) -> None:
        waiting = (self._run.read_watch() or {}).get("needs_restart", [])
        now = moment(time.time_ns())
        self._write(WatchReport(ts=now, state="refused", message=why, needs_restart=waiting))
        self._log.error("the edit of %s changes nothing: %s", self._source, why)

    def _report(self, state: str, message: str, live: list[Path_], restart: list[Path_]) -> None:
        report = WatchReport(
            ts=moment(time.time_ns()),
            state=state,
            message=message,
            applied=[".".join(path) for path in live],
            needs_restart=[".".join(path) for path in restart],
        )
        self._write(report)
        if report.applied:
            self._log.info("%s: %s: %s", self._source, message, ", ".join(report.applied))
        if report.needs_restart:
            waiting = ", ".join(report.needs_restart)
            self._log.warning("%s: not in force until a restart: %s", self._source, waiting)

    def _write(self, report: WatchReport) -> None:
        try:
            self._run.write_watch(report)
        except OSError as error:
            self._log.warning("%s was not written: %s", self._run.watch_file, error.strerror)


def of_run(
    config: DaemonConfig, run: RunDir, ask: Ask, log: logging.Logger | Any
) -> Callable[[], None] | None:
    """What a bridge calls each tick; None where there is no file to watch.

    Args:
        config: The configuration in force.
        run: The run directory.
        ask: Tells the engine.
        log: Where to say what became of an edit; its level changes with the file's.
    """
    state = run.read_state()
    if state is None or not config.control.watch or not Path(state.config).is_file():
        return None
    return Watch(Path(state.config), config, run, ask, log, lambda level: log.setLevel(level.upper())).tick
