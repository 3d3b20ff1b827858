"""The matcher under AddressSanitizer and UBSan: the differential run on such a build, then planted faults.

    python -m tests.fuzz.matching_sanitized --commands 50_000

builds the matcher in ``build/sanitized`` with both sanitizers, assertions and its invariants checked after
every command, and holds it against the oracle there. Then it plants one fault after the other in that
copy's source; each must be caught. Ends with 0 when the true matcher is clean and all faults were caught.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
COPY = ROOT / "build" / "sanitized"
CAUGHT = 86
PACKAGES = {
    "engine": ["__init__.py", "_version.py"],
    "engine/core": ["__init__.py", "errors.py", "*.pxd", "types.pyx", "image.pyx"],
    "engine/matching": ["*.py", "*.pxd", "*.pyx"],
    "tests/fuzz": ["matching*.py"],
    "tests/kit": ["matching*.py"],
}


class Fault(NamedTuple):
    """A fault to plant: a text of a source, what takes its place, and what the sanitizer says then."""

    path: str
    text: str
    instead: str
    says: str


FAULTS = {
    "a table one order too small": Fault(
        "engine/matching/orders.pyx",
        "match_memory(room * sizeof(MatchOrder))",
        "match_memory((room - 1) * sizeof(MatchOrder))",
        "heap-buffer-overflow",
    ),
    "a pro-rata share in signed numbers": Fault(
        "engine/matching/allocation.pyx",
        "share = rest * share // total",
        "share = <uint64_t>(<long long>rest * <long long>share) // total",
        "signed integer overflow",
    ),
}


def copy_sources() -> None:
    """Brings the copy up to date; unchanged files keep their time, so that only changes are built."""
    COPY.mkdir(parents=True, exist_ok=True)
    wanted = [(ROOT / "setup.py", COPY / "setup.py")]
    for folder, patterns in PACKAGES.items():
        (COPY / folder).mkdir(parents=True, exist_ok=True)
        wanted += [
            (path, COPY / folder / path.name)
            for pattern in patterns
            for path in (ROOT / folder).glob(pattern)
        ]
    for source, target in wanted:
        if not target.exists() or target.read_bytes() != source.read_bytes():
            shutil.copyfile(source, target)


def build() -> None:
    """Builds the copy with both sanitizers and assertions."""
    environment = {**os.environ, "RINGBOOK_DEBUG": "1", "RINGBOOK_SANITIZE": "address,undefined"}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    done = subprocess.run(command, cwd=COPY, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the sanitized build failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def runtime() -> str:
    """The compiler's AddressSanitizer library, which Python has to load first."""
    compiler = [word for word in shlex.split(os.environ.get("CC", "gcc")) if word != "ccache"]
    asked = [*compiler, "-print-file-name=libasan.so"]
    path = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    if not Path(path).is_absolute():
        raise SystemExit(f"no AddressSanitizer: {compiler[0]} does not know libasan.so")
    return path


def run(commands: int, seed: int) -> subprocess.CompletedProcess:
    """The differential run in the copy."""
    environment = {
        **os.environ,
        "LD_PRELOAD": runtime(),
        # Python itself never frees some of its memory.
        "ASAN_OPTIONS": f"detect_leaks=0:exitcode={CAUGHT}",
        "UBSAN_OPTIONS": f"halt_on_error=1:print_stacktrace=1:exitcode={CAUGHT}",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(COPY),
    }
    command = [sys.executable, "-m", "tests.fuzz.matching", f"--commands={commands}", f"--seed={seed}"]
    return subprocess.run(command, cwd=COPY, env=environment, capture_output=True, text=True)


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.matching_sanitized", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--commands", type=int, default=50_000, help="how many in each run (default 50_000)")
    # The first chunk of this seed shares the largest quantities pro rata, which the second fault needs.
    parser.add_argument("--seed", type=int, default=6)
    arguments = parser.parse_args(argv)
    copy_sources()
    build()
    done = run(arguments.commands, arguments.seed)
    print(f"the matcher: {(done.stdout.splitlines() or ['nothing said'])[-1]}", flush=True)
    if done.returncode:
        print(done.stderr[-4000:])
        return 1
    missed = 0
    for name, fault in FAULTS.items():
        path = COPY / fault.path
        right = path.read_text()
        if right.count(fault.text) != 1:
            raise SystemExit(f"{fault.path} has no single {fault.text!r} to plant a fault in")
        path.write_text(right.replace(fault.text, fault.instead))
        try:
            build()
            done = run(arguments.commands, arguments.seed)
        finally:
            path.write_text(right)
        caught = done.returncode == CAUGHT and fault.says in done.stderr
        missed += not caught
        print(f"{name}: {'caught, ' + fault.says if caught else 'MISSED'}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
