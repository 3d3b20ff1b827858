"""``ringbook convert`` and ``ringbook validate``: exit codes, messages, files and the progress bar."""

import argparse
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest

from engine.backtest.data import load_events, save_events
from engine.cli.data import convert_arguments
from engine.cli.main import main
from engine.feeds import formats, tardis
from engine.feeds.capture import convert
from tests.kit.captures import depth, line, snapshot, trade, write

ROOT = Path(__file__).resolve().parents[4]

LINES = [
    line(0, snapshot(0, 5, [("10.0", "1")], [("10.1", "2")]), stream=None),
    *(line(i * 1000, depth(i, i + 5, i + 5, i + 4, [("10.0", str(i))])) for i in range(1, 20)),
    line(300_000, trade(200, "10.1", "0.5")),
]


@pytest.fixture
def capture(tmp_path):
    return write(tmp_path / "x.gz", LINES)


def run(capsys, *args) -> tuple[int, str, str]:
    code = main([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, out, err


def test_convert_writes_what_the_library_returns(capsys, capture, tmp_path):
    code, out, err = run(capsys, "convert", capture, tmp_path / "o.npz")
    assert (code, err) == (0, "")
    assert "24 rows of BTCUSDT" in out
    assert load_events(tmp_path / "o.npz").tobytes() == convert(capture).events.tobytes()


def test_convert_prints_json(capsys, capture, tmp_path):
    code, out, _ = run(capsys, "convert", capture, tmp_path / "o.npz", "--json", "--compress")
    summary = json.loads(out)
    assert code == 0
    assert summary["rows"] == len(np.load(tmp_path / "o.npz")["data"])
    assert summary["messages"] == {"trade": 1, "depthUpdate": 19, "snapshot": 1}
    assert summary["kinds"]["trade"] == 1
    assert summary["rows_per_second"] > 0
    assert summary["latency_offset"] == 200_000_000 - 300_000
    assert summary["first_exch_ts"] < summary["last_exch_ts"]


def test_convert_replaces_only_when_forced(capsys, capture, tmp_path):
    out = tmp_path / "o.npz"
    out.write_bytes(b"precious")
    code, _, err = run(capsys, "convert", capture, out)
    assert (code, err) == (2, f"ringbook: {out}: exists already; --force replaces it\n")
    assert out.read_bytes() == b"precious"
    assert run(capsys, "convert", capture, out, "--force")[0] == 0
    assert len(load_events(out)) == 24


def test_a_broken_capture_leaves_no_file_and_one_line(capsys, tmp_path):
    bad = write(tmp_path / "x", [*LINES, b"1723161255030314667 {\n"])
    code, out, err = run(capsys, "convert", bad, tmp_path / "o.npz")
    assert (code, out) == (2, "")
    assert err.startswith(f"ringbook: {bad}, line 22, byte ")
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x"]


def test_a_broken_capture_keeps_the_old_file_even_when_forced(capsys, tmp_path):
    out = tmp_path / "o.npz"
    out.write_bytes(b"precious")
    bad = tmp_path / "x.gz"
    bad.write_bytes(write(tmp_path / "y.gz", LINES).read_bytes()[:-9])
    code, _, err = run(capsys, "convert", bad, out, "--force")
    assert code == 2
    assert "truncated" in err
    assert out.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("output", "message"), [("o.npy", "something.npz"), ("absent/o.npz", "directory does not exist")]
)
def test_convert_refuses_an_output_before_it_reads(capsys, tmp_path, output, message):
    code, _, err = run(capsys, "convert", tmp_path / "absent.gz", tmp_path / output)
    assert code == 2
    assert message in err


def test_an_error_is_json_too(capsys, tmp_path):
    code, out, _ = run(capsys, "validate", tmp_path / "absent.npz", "--json")
    assert code == 2
    assert json.loads(out)["error"] == "DataError"


@pytest.mark.parametrize(
    "args", [["--opt", "x"], ["--base-latency", "1.5"], ["--base-latency", "9" * 15], []]
)
def test_wrong_arguments(capsys, args):
    with pytest.raises(SystemExit) as caught:
        main(["convert", "in", *(["out.npz", *args] if args else [])])
    assert caught.value.code == 2


def test_what_can_be_chosen_is_what_there_is():
    parser = argparse.ArgumentParser()
    convert_arguments(parser)
    choices = {action.dest: action.choices for action in parser._actions}
    assert choices["format"] == tuple(formats.FORMATS)
    assert choices["snapshots"] == tardis.SNAPSHOTS


@pytest.mark.parametrize("args", [["--max-silence", "0"], ["--max-silence", "nan"], ["--limit", "-1"]])
def test_wrong_limits(args):
    with pytest.raises(SystemExit) as caught:
        main(["validate", "in", *args])
    assert caught.value.code == 2


def test_validate_a_good_file(capsys, capture, tmp_path):
    code, out, err = run(capsys, "validate", capture)
    assert (code, err) == (0, "")
    assert out.endswith("nothing wrong\n")
    assert "capture of BTCUSDT, 21 lines, 24 rows" in out
    save_events(tmp_path / "o.npz", convert(capture).events)
    code, out, _ = run(capsys, "validate", tmp_path / "o.npz", "--json")
    assert code == 0
    assert json.loads(out)["clean"] is True


def test_validate_names_problems_with_their_rows(capsys, capture, tmp_path):
    events = convert(capture).events.copy()
    events["qty"][7] = -1.0
    events["px"][9] = np.nan
    np.save(tmp_path / "x.npy", events)
    code, out, _ = run(capsys, "validate", tmp_path / "x.npy")
    assert code == 1
    assert "PROBLEM not_finite (1): price or quantity is NaN or infinite\n          rows 9\n" in out
    assert "PROBLEM negative_qty (1)" in out
    assert out.endswith("2 kinds of problem found\n")


def test_validate_counts_all_and_shows_some(capsys, capture, tmp_path):
    events = convert(capture).events.copy()
    events["qty"] = -1.0
    save_events(tmp_path / "x.npz", events)
    assert "rows 0, 1, ..." in run(capsys, "validate", tmp_path / "x.npz", "--limit", 2)[1]


def command(*args) -> list[str]:
    return [sys.executable, "-m", "engine.cli.main", *map(str, args)]


def test_no_progress_bar_without_a_terminal(capture, tmp_path):
    done = subprocess.run(
        command("convert", capture, tmp_path / "o.npz"), cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


def test_a_progress_bar_on_a_terminal(capture, tmp_path):
    ours, theirs = pty.openpty()
    # A terminal of no width, as a new one is, has no room for a bar.
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    os.set_blocking(ours, False)
    try:
        subprocess.run(
            command("convert", capture, tmp_path / "o.npz", "--json"),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=theirs,
            check=True,
        )
        assert b"converting" in os.read(ours, 65536)
    finally:
        os.close(theirs)
        os.close(ours)
