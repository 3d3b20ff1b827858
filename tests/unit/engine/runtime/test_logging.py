import json
import logging

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
