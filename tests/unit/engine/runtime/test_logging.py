import json
import logging
import os
import sys

import pytest

from engine.runtime.logging import LOGGER, configure, in_background


def test_lines_are_readable_on_standard_error_and_json_in_the_file(tmp_path, capsys):
    file = tmp_path / "daemon.log"
    log = configure("engine", file)
    log.info("trading in %s", "PAPER", extra={"symbols": 2})
    log.warning("slow")
    try:
        raise ValueError("bad")
    except ValueError:
        log.exception("a strategy raised")
    first, second, third = [json.loads(line) for line in file.read_text().splitlines()]
    assert (first["level"], first["source"], first["text"], first["symbols"]) == (
        "info",
        "engine",
        "trading in PAPER",
        2,
    )
    assert first["ts"].endswith("+00:00")
    assert second["level"] == "warning"
    assert "ValueError: bad" in third["traceback"]
    shown = capsys.readouterr().err.splitlines()
    assert shown[0].endswith(" engine   trading in PAPER  symbols=2")
    assert " engine   WARNING: slow" in shown[1]
    assert "\x1b" not in "".join(shown)


def test_every_logger_below_ours_speaks_for_the_process(tmp_path):
    file = tmp_path / "daemon.log"
    configure("bridge", file, console=False)
    logging.getLogger(f"{LOGGER}.bridge").info("joined")
    assert json.loads(file.read_text())["source"] == "bridge"


def test_lines_written_in_the_background_are_all_there_afterwards(tmp_path):
    file = tmp_path / "daemon.log"
    log = configure("engine", file, console=False)
    with in_background(log):
        for number in range(100):
            log.info("line %d", number, extra={"step": number})
    log.info("last")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["text"] for line in lines] == [*(f"line {n}" for n in range(100)), "last"]
    assert lines[7]["step"] == 7


def test_configuring_again_replaces_the_handlers(tmp_path):
    configure("daemon", tmp_path / "one.log", console=False)
    log = configure("daemon", tmp_path / "two.log", console=False)
    log.info("here")
    assert (tmp_path / "one.log").read_text() == ""
    assert len((tmp_path / "two.log").read_text().splitlines()) == 1


@pytest.mark.parametrize("text", ["a line", "a long line " * 2000], ids=["short", "longer than a page"])
def test_a_standard_error_that_nobody_reads_stops_nobody(tmp_path, monkeypatch, text):
    reading, writing = os.pipe()
    with open(reading, encoding="utf-8") as reader, open(writing, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        file = tmp_path / "daemon.log"
        log = configure("daemon", file)
        for number in range(3000):
            log.info("%d %s", number, text)
        assert len(file.read_text().splitlines()) == 3000
        os.set_blocking(reading, False)
        first = os.read(reading, 1 << 20).decode()
        shown = first.count("daemon   ")
        assert first.splitlines()[0].endswith(f"0 {text}")
        log.info("heard")
        said = reader.read()
        assert said.count("\n") == 2
        assert said.splitlines()[1].endswith("daemon   heard")
        # A line of which only the beginning had room counts as one that nobody read.
        missing = int(said.split()[1])
        assert 3000 - shown <= missing <= 3001 - shown
        log.info("and again")
        assert reader.read().count("\n") == 1
        configure("daemon", None, console=False)
