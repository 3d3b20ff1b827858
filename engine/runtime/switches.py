"""Thrown switches over a restart: their file in the run directory, and how one is named to be re-armed.

A switch is a latch of the kernel: the kill switch, or a breaker of the risk checks that stays set. The file
is replaced whole and synced, so that a restart finds either all that was kept or all that was kept before.
A file that cannot be read is taken for a kill switch thrown for everything.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from engine.core.errors import ConfigError
from engine.strategy.status import LatchInfo

if TYPE_CHECKING:
    from engine.kernel import Kernel
    from engine.runtime.rundir import RunDir

LAYOUT = 1
"""Version of the switches' file."""
ID_DIGITS = 8


def switch_id(info: LatchInfo) -> str:
    """What a thrown switch is named by: another one, even at the same place, has another name."""
    text = "\0".join((info.scope, info.name, info.cause, str(info.ts), info.who, info.reason))
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:ID_DIGITS]


def find(switches: Sequence[LatchInfo], name: str) -> LatchInfo:
    """The thrown switch of a name.

    Raises:
        ConfigError: There is none; the message lists those that there are.
    """
    for info in switches:
        if switch_id(info) == name:
            return info
    thrown = "; ".join(f"{switch_id(info)} is {info.line()}" for info in switches)
    raise ConfigError(f"no thrown switch has the id {name!r}; {thrown or 'none is thrown'}")


def as_plain(switches: Sequence[LatchInfo]) -> list[dict[str, Any]]:
    """Thrown switches for replies and reports: their fields and their ``id``."""
    return [{"id": switch_id(info), **msgspec.to_builtins(info)} for info in switches]


def unreadable(error: Exception, now: int) -> LatchInfo:
    """What stands for a file that cannot be read: everything is killed until somebody has looked.

    Args:
        error: What is wrong with it.
        now: Wall clock, nanoseconds: each such start needs its own re-arm.
    """
    return LatchInfo("global", "", "kill_switch", "HALTED", now, reason=str(error), who="ringbook")


class Switches(msgspec.Struct, kw_only=True):
    """The switches' file.

    Attributes:
        layout: Of the file.
        switches: What the kernel restores them from.
    """

    layout: int = LAYOUT
    switches: list[LatchInfo] = []


class SwitchesUnreadable(Exception):
    """The switches' file is there but says nothing that could be trusted."""


def read_switches(path: Path) -> list[LatchInfo]:
    """The switches that were kept; none where there is no file.

    Raises:
        SwitchesUnreadable: The file cannot be read, or is none of ours.
    """
    try:
        kept = msgspec.json.decode(path.read_bytes(), type=Switches)
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError) as error:
        raise SwitchesUnreadable(f"{path}: {error}") from None
    if kept.layout != LAYOUT:
        raise SwitchesUnreadable(f"{path}: layout {kept.layout} instead of {LAYOUT}")
    return kept.switches


def write_switches(path: Path, switches: Sequence[LatchInfo]) -> None:
    """Replaces the switches' file, and returns once that would survive a loss of power.

    Raises:
        OSError: It could not be written; the former file is as it was.
    """
    data = msgspec.json.format(msgspec.json.encode(Switches(switches=list(switches))), indent=2) + b"\n"
    temporary = path.with_suffix(".new")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        if os.write(fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def restore_switches(kernel: Kernel, run: RunDir, log: logging.Logger) -> None:
    """Throws the switches that were kept: nothing trades after a restart that did not before.

    Args:
        kernel: Not started yet.
        run: The run directory.
        log: Where to say what is thrown.
    """
    try:
        kernel.restore_latches(read_switches(run.switches_file))
    except (SwitchesUnreadable, ConfigError) as error:
        kernel.restore_latches([unreadable(error, time.time_ns())])
    for info in kernel.latches():
        log.warning("not re-armed since an earlier run: %s", info.line())
