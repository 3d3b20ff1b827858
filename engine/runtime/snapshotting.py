"""The standby's snapshots: so many records after the last one it writes down where the run stands.

The standby repeats the run anyway, so the engine's thread never waits for a snapshot, and what is written
down is what the journal led to. The file is a draft until another process, which knows the journal and
nothing else, has read it back, written it down again to the same bytes, and repeated what came after it
to the run's own outputs (:mod:`engine.runtime.proving`). A run whose state cannot be written down has none,
and is repeated from its beginning.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from typing import Any

import msgspec

from engine.core.errors import NotKept
from engine.runtime.config import DaemonConfig
from engine.runtime.images import write_draft
from engine.runtime.proving import kept_since
from engine.runtime.recovery import Replay, beginning, run_directory
from engine.runtime.rundir import RunDir


class SnapshotReport(msgspec.Struct, frozen=True):
    """What became of a run's snapshots.

    Attributes:
        run_id: The run's, hex.
        seq: The last record that the newest includes; 0 without one.
        ts: Engine time of it.
        size: Bytes.
        seconds: From the first byte until it was proven.
        refused: Why there will be no more of this run; empty as long as there will.
        first_seq: The first record that the journal still has.
        first_ts: Engine time of it.
        not_removed: What kept old segments from being removed, where something did.
    """

    run_id: str
    seq: int = 0
    ts: int = 0
    size: int = 0
    seconds: float = 0.0
    refused: str = ""
    first_seq: int = 1
    first_ts: int = 0
    not_removed: str = ""


class Snapshots:
    """Takes snapshots of the run that a standby follows.

    Args:
        config: The daemon's.
        run: Its run directory.
        run_id: The run's.
        log: Says what becomes of them.
    """

    def __init__(self, config: DaemonConfig, run: RunDir, run_id: bytes, log: logging.Logger) -> None:
        self._every = config.journal.snapshot_records
        self._directory = run_directory(config, run_id)
        self._run, self._log = run, log
        self._limits = (str(config.journal.keep_mb), str(int(config.recorder.enabled)))
        self._report = SnapshotReport(run_id.hex())
        if (before := run.read_snapshots()) is not None and before["run_id"] == run_id.hex():
            # Of a standby before us; whether there can be any is found out anew.
            self._report = SnapshotReport(**before | {"refused": ""})
        self._report = msgspec.structs.replace(self._report, **kept_since(self._directory))
        self._prover: subprocess.Popen[bytes] | None = None
        self._from: int | None = None
        self._began = 0.0
        run.write_snapshots(self._report)

    def look(self, replay: Replay) -> None:
        """Takes one if it is time, and takes note of what became of the last.

        Args:
            replay: Between two records.
        """
        if self._prover is not None:
            self._hear(self._prover)
            return
        if self._from is None:
            # What lies before it may have begun with a snapshot, and is repeated once more at worst.
            self._from = replay.records
        if not self._every or self._report.refused or replay.stopped:
            return
        if replay.records - self._from < self._every:
            return
        self._from, self._began = replay.records, time.monotonic()
        try:
            draft = write_draft(self._directory, replay, beginning(self._directory))
        except NotKept as error:
            self._refuse(str(error))
            return
        except OSError as error:
            self._log.warning("no snapshot: %s", error.strerror or error)
            return
        self._prover = subprocess.Popen(
            [sys.executable, "-m", "engine.runtime.proving", str(os.getpid()), draft, *self._limits],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def _hear(self, prover: subprocess.Popen[bytes]) -> None:
        code = prover.poll()
        if code is None:
            return
        self._prover = None
        assert prover.stdout is not None
        with prover.stdout:
            said = prover.stdout.read()
        if code != 0:
            text = said.decode(errors="replace").strip() or f"its proof ended with code {code}"
            # A disk may have room again, and a killed proof be made; a state that is another stays so.
            if code == 2:
                self._refuse(text)
            else:
                self._log.warning("no snapshot: %s", text)
            return
        seconds = time.monotonic() - self._began
        found: dict[str, Any] = {"not_removed": ""} | msgspec.json.decode(said)
        before = self._report.first_seq
        self._report = msgspec.structs.replace(self._report, seconds=seconds, **found)
        self._run.write_snapshots(self._report)
        self._log.info("snapshot of record %(seq)d, %(size)d bytes", found)
        if self._report.not_removed:
            self._log.warning("old segments of the journal stay: %(not_removed)s", found)
        if self._report.first_seq != before:
            self._log.info("the journal is kept from record %(first_seq)d on", found)

    def _refuse(self, why: str) -> None:
        self._report = msgspec.structs.replace(self._report, refused=why)
        self._run.write_snapshots(self._report)
        self._log.warning("no more snapshots of this run, a restart takes longer: %s", why)
