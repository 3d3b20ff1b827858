"""spsc.h as plain C under ThreadSanitizer, and proof that the sanitizer would notice a fault."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "spsc_stress.c"
HEADERS = HERE.parents[3] / "engine" / "core"
TSAN_FOUND_A_RACE = 66


@pytest.fixture(scope="module")
def compiler():
    command = shlex.split(os.environ.get("CC", "gcc"))
    if shutil.which(command[0]) is None:
        pytest.skip(f"no C compiler: {command[0]} is not on the path")
    return command


def build(compiler, directory, *flags):
    program = directory / "stress"
    # GCC's sanitizer does not model fences, which here only order the sleeping flag, and says so.
    arguments = [
        "-std=gnu11",
        "-O2",
        "-g",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-Wno-tsan",
        "-Wno-unknown-warning-option",
    ]
    arguments += [*flags, f"-I{HEADERS}", str(SOURCE), "-o", str(program), "-pthread"]
    done = subprocess.run([*compiler, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return program


def run(program):
    environment = {**os.environ, "TSAN_OPTIONS": f"exitcode={TSAN_FOUND_A_RACE} halt_on_error=1"}
    return subprocess.run([str(program)], capture_output=True, text=True, timeout=100, env=environment)


@pytest.fixture(scope="module")
def tsan(compiler, tmp_path_factory):
    """Skips where the compiler or the machine cannot run sanitized programs at all."""
    directory = tmp_path_factory.mktemp("probe")
    (directory / "probe.c").write_text("int main(void) { return 0; }\n")
    probe = [*compiler, "-fsanitize=thread", str(directory / "probe.c"), "-o", str(directory / "probe")]
    done = subprocess.run(probe, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        pytest.skip(f"no ThreadSanitizer: {done.stderr.strip().splitlines()[-1:]}")
    done = run(directory / "probe")
    if done.returncode != 0:
        pytest.skip(f"ThreadSanitizer does not run here: {done.stderr.strip().splitlines()[:1]}")
    return compiler


def test_every_record_comes_once_and_no_wake_up_is_lost(compiler, tmp_path):
    done = run(build(compiler, tmp_path, "-DRECORDS=200000u"))
    assert done.returncode == 0, done.stderr


def test_thread_sanitizer_finds_no_race(tsan, tmp_path):
    done = run(build(tsan, tmp_path, "-fsanitize=thread"))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("order", ["SPSC_PUBLISH_ORDER", "SPSC_CONSUME_ORDER"])
def test_thread_sanitizer_finds_a_planted_race(tsan, tmp_path, order):
    done = run(build(tsan, tmp_path, "-fsanitize=thread", f"-D{order}=memory_order_relaxed"))
    assert done.returncode == TSAN_FOUND_A_RACE, done.stderr
    assert "data race" in done.stderr
