"""The daemon's log: one line an event, readable on a terminal, JSON lines in the run directory's file.

All processes of a run append to the same file; a line is one write, so lines never mix.
"""

from __future__ import annotations

import datetime
import json
import logging
import logging.handlers
import os
import queue
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOGGER = "ringbook"
_PLAIN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[31m", "DEBUG": "\x1b[2m"}


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
        stream = logging.StreamHandler(sys.stderr)
        colour = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        stream.setFormatter(ConsoleFormatter(role, colour=colour))
        logger.addHandler(stream)
    if file is not None:
        lines = logging.FileHandler(file, mode="a", encoding="utf-8")
        lines.setFormatter(JsonFormatter(role))
        logger.addHandler(lines)
    return logger


@contextmanager
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
