"""The daemon's log: one line an event, readable on a terminal, JSON lines in the run directory's file.

All processes of a run append to the same file; a line is one write, so lines never mix.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import logging.handlers
import os
import queue
import select
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

LOGGER = "ringbook"
_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m", "DEBUG": "\x1b[2m"}
_PIECE = select.PIPE_BUF // 4
"""Characters, of at most four bytes each."""


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in record.__dict__.items() if name not in _PLAIN}


class JsonFormatter(logging.Formatter):
    """``{"ts", "level", "source", "pid", "text", ...}`` on one line; extra fields keep their names.

    Args:
        role: The source of all lines.
    """

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object without a newline."""
        moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line: dict[str, object] = {
            "ts": moment.isoformat(timespec="microseconds"),
            "level": record.levelname.lower(),
            "source": self._role,
            "pid": record.process,
            "text": record.getMessage(),
        }
        line.update(_fields(record))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class ConsoleFormatter(logging.Formatter):
    """``12:00:01.250 engine  text  key=value``, coloured where it is a terminal.

    Args:
        role: The source of all lines.
        colour: Whether to colour warnings and errors.
    """

    def __init__(self, role: str, *, colour: bool = False) -> None:
        super().__init__()
        self._role, self._colour = role, colour

    def format(self, record: logging.LogRecord) -> str:
        """One line, and a traceback below it where there is one."""
        moment = datetime.datetime.fromtimestamp(record.created)
        level = f"{record.levelname}: " if record.levelno >= logging.WARNING else ""
        text = f"{moment:%H:%M:%S}.{int(record.msecs):03d} {self._role:<8} {level}{record.getMessage()}"
        text += "".join(f"  {name}={value}" for name, value in _fields(record).items())
        if self._colour and (start := _COLOURS.get(record.levelname)):
            text = f"{start}{text}\x1b[0m"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class ConsoleHandler(logging.StreamHandler[TextIO]):
    """Writes lines where there is room for them and never waits: a terminal may be stopped, a pipe unread.

    Lines that find no room are counted, and the next one that finds some says how many there were; the
    run's log file has them all.

    Args:
        stream: Standard error, or what stands for it.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._unread = 0
        self._room: select.poll | None = None
        # What stands for standard error in a test or a notebook need not be a file.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            fd = stream.fileno()
            self._room = select.poll()
            self._room.register(fd, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line, or as much of it as there is room for."""
        try:
            text = self.format(record) + self.terminator
            if self._unread:
                text = f"... {self._unread} lines are not shown here: nobody read them{self.terminator}{text}"
            # Room is for a page of a pipe, so that a piece of less than that never waits.
            for start in range(0, len(text), _PIECE):
                if self._room is not None and not self._room.poll(0):
                    self._unread += 1
                    return
                self.stream.write(text[start : start + _PIECE])
                self.flush()
            self._unread = 0
        except Exception:
            self.handleError(record)


def configure(role: str, file: Path | None, *, console: bool = True) -> logging.Logger:
    """Sets the process's log up and returns it.

    Args:
        role: What lines name as their source: daemon, engine, feed or bridge.
        file: Where JSON lines are appended; None for none.
        console: Whether lines also go to standard error.
    """
    logger = logging.getLogger(LOGGER)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.propagate = False
    # Without any handler Python would print warnings on its own.
    logger.addHandler(logging.NullHandler())
    logger.setLevel(logging.INFO)
    if console:
        stream = ConsoleHandler(sys.stderr)
        colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        stream.setFormatter(ConsoleFormatter(role, colour=colour))
        logger.addHandler(stream)
    if file is not None:
        lines = logging.FileHandler(file, mode="a", encoding="utf-8")
        lines.setFormatter(JsonFormatter(role))
        logger.addHandler(lines)
    return logger


@contextlib.contextmanager
def in_background(logger: logging.Logger) -> Iterator[None]:
    """Writes lines in a thread of their own for as long as the block lasts; nobody waits for a disk.

    Args:
        logger: What :func:`configure` returned.
    """
    lines: queue.SimpleQueue[logging.LogRecord] = queue.SimpleQueue()
    handlers = list(logger.handlers)
    listener = logging.handlers.QueueListener(lines, *handlers, respect_handler_level=True)
    logger.handlers[:] = [logging.handlers.QueueHandler(lines)]
    listener.start()
    try:
        yield
    finally:
        logger.handlers[:] = handlers
        listener.stop()
