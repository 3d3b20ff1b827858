import json

from engine.runtime.logging import configure


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


def test_configuring_again_replaces_the_handlers(tmp_path):
    configure("daemon", tmp_path / "one.log", console=False)
    log = configure("daemon", tmp_path / "two.log", console=False)
    log.info("here")
    assert (tmp_path / "one.log").read_text() == ""
    assert len((tmp_path / "two.log").read_text().splitlines()) == 1
