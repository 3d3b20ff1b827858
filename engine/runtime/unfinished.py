"""The run that a daemon left unfinished: all its processes were killed, or the power went.

A run is unfinished until its journal says that it ended in good order. The supervisor looks for the newest
run of its daemon before it starts anything; a configuration that is not the run's is refused.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engine.core.errors import CannotResume, JournalDamaged, JournalError, RingbookError
from engine.journal.journaller import settle
from engine.journal.reader import JournalReader
from engine.journal.recovery import Recovered, recover
from engine.journal.segments import Sizes
from engine.journal.wal import Journal
from engine.runtime import config as daemon_config
from engine.runtime.config import DaemonConfig
from engine.runtime.leaving import described, read_left
from engine.runtime.recovery import Beginning, beginning, run_directory
from engine.runtime.rundir import RunDir, RunState
from engine.runtime.watch import difference

RUN = re.compile(r"[0-9a-f]{32}")
STATE_PARTS = ("feed", "external", "risk", "instruments", "strategies")
STATE_KEYS = (("engine", "mode"), ("engine", "max_orders"))
"""What of a configuration a run's state depends on."""
FREE_KEYS = (("feed", "speed"), ("feed", "wait_for_client"))
NEW = "`ringbook run --new` begins another run"


@dataclass(frozen=True)
class LastRun:
    """The newest run of a daemon.

    Attributes:
        directory: Of its journal.
        begun: What it began with.
        found: Where its journal ends.
    """

    directory: Path
    begun: Beginning
    found: Recovered

    @property
    def ended(self) -> bool:
        """Whether it ended in good order."""
        return self.found.sealed


def config_in_force(
    config: DaemonConfig, run: RunDir, before: RunState | None, last: LastRun
) -> DaemonConfig:
    """The configuration that an unfinished run goes on with.

    Args:
        config: What the file says now.
        run: The daemon's directory, which may still have the configuration with all edits.
        before: What the supervisor said last in it.
        last: The run.

    Raises:
        CannotResume: As :func:`config_to_resume`.
    """
    kept = None
    if before is not None and before.run_id == last.begun.run_id:
        try:
            kept = daemon_config.of_run(run)
        except (RingbookError, msgspec.MsgspecError, OSError):
            kept = None
    return config_to_resume(last, kept, config)


def last_run(config: DaemonConfig, run: RunDir, log: logging.Logger, *, new: bool) -> LastRun | None:
    """What is to go on; what the last daemon left in shared memory is brought to disk first.

    Args:
        config: The daemon's.
        run: Its directory, claimed.
        log: Says what was found.
        new: Whether nothing is to go on.

    Raises:
        CannotResume: It cannot be said, or not all of it comes to disk.
    """
    try:
        settle_left(config, run, log)
        found = find_last(config, run)
        left = read_left(found.directory, found.found.seq) if found is not None and found.ended else []
    except (JournalError, OSError) as error:
        if not new:
            raise error if isinstance(error, CannotResume) else CannotResume(f"{error}; {NEW}") from None
        log.warning("the journal of the run before is left as it is: %s", error)
        Path(run.journal_buffer).unlink(missing_ok=True)
        return None
    if left:
        log.warning(
            "the run before ended in good order with open positions, which this one does not have: %s",
            described(left),
        )
    if found is None or found.ended:
        return None
    if new:
        log.warning("run %s is unfinished, and stays so: a new one begins", found.begun.run_id)
        return None
    return found


def settle_left(config: DaemonConfig, run: RunDir, log: logging.Logger) -> None:
    """Brings to disk what a daemon that is gone has left of its journal in shared memory.

    Args:
        config: Says where journals are.
        run: The daemon's directory.
        log: Says what was found.

    Raises:
        JournalError: There is something, but it does not come to disk.
    """
    try:
        with Journal.attach(run.journal_buffer) as left:
            run_id, directory = left.run_id, run_directory(config, left.run_id)
            sizes = Sizes(segment=config.journal.segment_mb << 20)
    except FileNotFoundError:
        return
    found = settle(directory, run.journal_buffer, sizes=sizes, since=2**63)
    log.info("brought the journal of run %s to disk: %d records", run_id.hex(), found.seq)


def find_last(config: DaemonConfig, run: RunDir) -> LastRun | None:
    """The newest run of a daemon, whether or not it has ended.

    Args:
        config: Says where journals are, and the daemon's name.
        run: The daemon's directory: runs of one name in different ones are different daemons'.

    Raises:
        CannotResume: Whether there is one cannot be said, or it has another run directory.
    """
    base = Path(config.journal.dir).expanduser().absolute()
    names = sorted((path for path in base.glob("*") if RUN.fullmatch(path.name)), reverse=True)
    elsewhere: tuple[Path, Beginning] | None = None
    for directory in names:
        begun = _begun(directory)
        if begun is None or begun.config.engine.name != config.engine.name:
            continue
        if begun.run_dir in ("", str(run.path)):
            return _looked_at(directory, begun)
        elsewhere = elsewhere or (directory, begun)
    if elsewhere is None or RunDir(elsewhere[1].run_dir).owner() is not None:
        return None
    if not _looked_at(*elsewhere).ended:
        raise CannotResume(
            f"{elsewhere[0]}: an unfinished run of a daemon of this name, whose run directory was "
            f"{elsewhere[1].run_dir} and is {run.path} now: start with that one to go on with it; {NEW}"
        )
    return None


def _begun(directory: Path) -> Beginning | None:
    """What a journal began with; None of one that has no record, or of another build's that has ended."""
    try:
        if next(iter(JournalReader(directory)), None) is None:
            return None
    except JournalDamaged as error:
        raise CannotResume(f"{directory}: {error}; {NEW}") from None
    except JournalError:
        return None
    try:
        return beginning(directory)
    except JournalError as error:
        if recover(directory, since=2**63, repair=False).sealed:
            return None
        raise CannotResume(f"{error}: an unfinished run that this build cannot read; {NEW}") from None


def _looked_at(directory: Path, begun: Beginning) -> LastRun:
    try:
        return LastRun(directory, begun, recover(directory, since=2**63, repair=False))
    except JournalError as error:
        raise CannotResume(f"{directory}: {error}; {NEW}") from None


def config_to_resume(unfinished: LastRun, kept: DaemonConfig | None, config: DaemonConfig) -> DaemonConfig:
    """A configuration that may go on with a run.

    Args:
        unfinished: The run.
        kept: What was in force last, edits included, where that is known.
        config: What the file says now. It decides on all that the run's state does not depend on.

    Raises:
        CannotResume: It differs in what only a new run takes from it; the message names the keys.
    """
    base = unfinished.begun.config if kept is None else kept
    found = difference(msgspec.to_builtins(base), msgspec.to_builtins(config))
    other = [path for path in found.restart if _is_state(path)]
    if not config.control.watch:
        # Nobody will have the engine change them.
        other += [path for path in found.live if _is_state(path)]
    if other:
        names = ", ".join(".".join(path) for path in other)
        raise CannotResume(
            f"the unfinished run {unfinished.begun.run_id} in {unfinished.directory.parent} has another "
            f"configuration ({names}): start with the same to go on with it; {NEW}"
        )
    return with_state_of(base, config)


def _is_state(path: Sequence[str]) -> bool:
    return (path[0] in STATE_PARTS or tuple(path[:2]) in STATE_KEYS) and tuple(path[:2]) not in FREE_KEYS


def with_state_of(base: DaemonConfig, config: DaemonConfig) -> DaemonConfig:
    """A configuration with another's values wherever the state of a run depends on them.

    Args:
        base: The other.
        config: Has the rest.
    """
    made: dict[str, Any] = msgspec.to_builtins(config)
    old: dict[str, Any] = msgspec.to_builtins(base)
    free = {(part, key): made[part][key] for part, key in FREE_KEYS}
    for part in STATE_PARTS:
        made[part] = old[part]
    for part, key in STATE_KEYS:
        made[part][key] = old[part][key]
    for (part, key), value in free.items():
        made[part][key] = value
    return msgspec.convert(made, DaemonConfig)
