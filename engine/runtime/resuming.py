"""The engine's way into a run whose daemon is gone as a whole: from the journal on disk.

Another build, or other code of a strategy, is refused. The journal is repeated with nobody listening, and
the engine goes on behind it: in the same journal, with new rings, whose cursors tell the feed and the engines
after it where the run has come to.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from engine.core.errors import CannotResume, JournalDamaged, JournalError, RecordsRemoved, ReplayDiverged
from engine.core.settings import config_hash
from engine.journal.files import Files, segment_names
from engine.journal.reader import JournalReader
from engine.journal.recovery import recover
from engine.journal.wal import Journal
from engine.runtime.build import build_hash, strategies_code
from engine.runtime.config import DaemonConfig
from engine.runtime.engine import EngineLoop
from engine.runtime.images import repeat
from engine.runtime.records import Kind, blob_records
from engine.runtime.recovery import Beginning, Replay, beginning, run_directory
from engine.runtime.rundir import RunDir
from engine.runtime.switches import SwitchesUnreadable, read_switches, unreadable
from engine.runtime.unfinished import NEW, with_state_of
from engine.strategy.status import LatchInfo

RECORDS_A_LOOK = 1 << 20
SAY_S = 5.0
"""How often a long repetition says how far it is."""


def config_of_run(config: DaemonConfig, run: RunDir) -> DaemonConfig:
    """The configuration that an engine of a run begins with: edits since are inputs, which it repeats.

    Args:
        config: The one in force.
        run: The run's directory.
    """
    directory = journal_of(config, run)
    return config if directory is None else with_state_of(beginning(directory).config, config)


def journal_of(config: DaemonConfig, run: RunDir) -> Path | None:
    """Where the journal of a daemon's run is on disk; None as long as nothing of it is."""
    state = run.read_state()
    if not config.journal.dir or state is None or not state.run_id:
        return None
    directory = run_directory(config, bytes.fromhex(state.run_id))
    try:
        if not segment_names(Files(), str(directory)) or next(iter(JournalReader(directory)), None) is None:
            return None
    except JournalDamaged:
        raise
    except JournalError:
        return None
    return directory


def resume(
    make: Callable[[], EngineLoop],
    directory: Path,
    config: DaemonConfig,
    run: RunDir,
    log: logging.Logger,
) -> EngineLoop:
    """Has a loop repeat a run from disk and go on with it, before anybody else has the rings.

    Args:
        make: Makes a loop at the beginning of the run; a new one each time.
        directory: Of the run's journal, settled.
        config: The daemon's.
        run: Its directory.
        log: Says how far it is.

    Raises:
        CannotResume: Build or strategies are others, it was being stopped, or comes to something else.
        RingbookError: As :meth:`engine.runtime.recovery.Replay.run`.
    """
    begun = beginning(directory)
    first = [make()]
    code = strategies_code(config.strategies)
    build = build_hash(code)
    found = recover(directory, since=2**63, repair=False)
    if found.segment.build != build and not _may_differ(run):
        raise CannotResume(f"{directory}: {_other_build(begun, code)}; {NEW}")
    log.info("resuming run %s: %d records", begun.run_id, found.seq)
    try:
        start = repeat(
            lambda: first.pop() if first else make(),
            directory,
            begun,
            lambda start: _repeat(start.replay, found.seq, log),
            log,
        )
    except ReplayDiverged as error:
        raise CannotResume(f"{directory}: it does not come to the same again: {error}; {NEW}") from None
    except RecordsRemoved as error:
        raise CannotResume(f"{error}; {NEW}") from None
    loop, reader, replay = start.loop, start.reader, start.replay
    if replay.stopped:
        raise CannotResume(
            f"{directory}: run {begun.run_id} was being stopped when it ended, nothing of it goes on; {NEW}"
        )
    missing = _missing_switches(loop, run)
    loop.forget_askers()
    loop.end_repeating(keep=not missing)
    loop.out.number_on()
    loop.feed.cursor = loop.now if config.feed.kind == "market" else replay.market_records
    for switch in missing:
        _throw(loop, switch, log)
    capacity = config.journal.buffer_mb << 20
    journal = Journal.create(
        run.journal_buffer,
        run_id=bytes.fromhex(begun.run_id),
        build=build,
        config=config_hash(config),
        first_seq=reader.seq + 1,
        first_crc=reader.crc,
        capacity=capacity,
        max_payload=min(found.segment.max_payload, capacity // 8),
    )
    loop.keep_in(journal)
    loop.inputs.set_taken(0, 0, 0)
    loop.skip_taken()
    loop.inputs.note_resumed(loop.now)
    loop.flush()
    log.info("resumed run %s after record %d, at engine time %d", begun.run_id, reader.seq, loop.now)
    return loop


def _repeat(replay: Replay, last: int, log: logging.Logger) -> None:
    before, said = -1, time.monotonic()
    while replay.records != before:
        before = replay.records
        replay.run(most=RECORDS_A_LOOK)
        if time.monotonic() - said > SAY_S:
            said = time.monotonic()
            log.info("resuming: %d of %d records", replay.records, last)


def _may_differ(run: RunDir) -> bool:
    state = run.read_state()
    return state is not None and state.other_build


def _other_build(begun: Beginning, code: dict[str, str]) -> str:
    others = [name for name in code if begun.code.get(name, code[name]) != code[name]]
    what = f"the code of {', '.join(others)}" if others else "Ringbook"
    return (
        f"{what} is another than that of the unfinished run {begun.run_id}: start with the same to go on "
        "with it, or with --other-build if it is known to come to the same"
    )


def _missing_switches(loop: EngineLoop, run: RunDir) -> list[LatchInfo]:
    """Switches that are known to have been thrown, but not to the journal: the power went in between."""
    try:
        kept = read_switches(run.switches_file)
    except SwitchesUnreadable as error:
        kept = [unreadable(error, time.time_ns())]
    thrown = loop.kernel.latches()
    return [info for info in kept if info not in thrown]


def _throw(loop: EngineLoop, info: LatchInfo, log: logging.Logger) -> None:
    """Has a kill switch thrown by the first input after the run's."""
    message = {
        "request_id": 0,
        "command": "kill",
        "strategy_id": info.name if info.scope == "strategy" else "",
        "symbol": info.name if info.scope == "instrument" else "",
        "reason": f"kept from before the restart: {info.line()}",
        "who": info.who or "ringbook",
        "at": time.time_ns(),
    }
    records = blob_records(Kind.CONTROL, message)
    loop.control_in.push_many(records.view("u1").reshape(len(records), -1))
    log.warning("thrown again, the journal does not have it: %s", info.line())
