"""Build of the compiled core.

Every ``.pyx`` below ``engine/`` and ``bridge/`` becomes one extension, and Cython's own code for memory views
one more that they share: compiled into each of them it took half of the build. Generated C goes to
``build/``, never into the tree. Three environment switches change the build:

* ``RINGBOOK_DEBUG=1``: no optimisation, assertions and ``check_invariants()`` after every step.
* ``RINGBOOK_SKIP_CORE=1``: no extensions at all; ``make`` installs so, then builds the core in place once.
* ``RINGBOOK_SANITIZE=address,undefined``: those sanitizers (run Python with the runtime preloaded).
"""

import os
import shutil
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent
PACKAGES = ("engine", "bridge")
DEBUG = os.environ.get("RINGBOOK_DEBUG", "") not in ("", "0")
SKIP_CORE = os.environ.get("RINGBOOK_SKIP_CORE", "") not in ("", "0")
SANITIZE = os.environ.get("RINGBOOK_SANITIZE", "")

SHARED = "engine.core._cyutility"

FLAVOUR = f"{'debug' if DEBUG else 'release'} {SANITIZE}".strip()

compile_args = ["-std=gnu11", "-fno-strict-aliasing", "-Wno-unused-function", "-Wno-unreachable-code"]
link_args: list[str] = []
macros = [("CYTHON_USE_MODULE_STATE", "0")]
if DEBUG:
    compile_args += ["-O0", "-g", "-UNDEBUG"]
    macros.append(("RINGBOOK_DEBUG", "1"))
else:
    # -ffp-contract=off keeps results the same on machines with fused multiply-add (arm64).
    compile_args += ["-O3", "-ffp-contract=off", "-g0"]
if SANITIZE:
    # Python's own flags make signed overflow wrap, and then UBSan does not look for it.
    compile_args += [f"-fsanitize={SANITIZE}", "-fno-wrapv", "-fno-omit-frame-pointer", "-g"]
    link_args += [f"-fsanitize={SANITIZE}"]


def forget_other_flavour() -> None:
    """Removes what another kind of build left: by its times alone it would pass as up to date."""
    note = ROOT / "build" / "flavour"
    before = note.read_text() if note.exists() else "release"
    if before != FLAVOUR:
        for old in [*note.parent.glob("lib.*"), *note.parent.glob("temp.*")]:
            shutil.rmtree(old)
        for package in PACKAGES:
            for library in (ROOT / package).rglob("*.so"):
                library.unlink()
    note.parent.mkdir(exist_ok=True)
    note.write_text(FLAVOUR)


def extensions() -> list[Extension]:
    """One extension for each ``.pyx``, named by its path, and that of what they share."""
    shared = [f"{SHARED.replace('.', '/')}.c"]
    found = [Extension(SHARED, shared, extra_compile_args=compile_args, extra_link_args=link_args)]
    for path in sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.pyx")):
        relative = path.relative_to(ROOT)
        found.append(
            Extension(
                ".".join(relative.with_suffix("").parts),
                [str(relative)],
                include_dirs=["engine/core", "engine/journal"],
                extra_compile_args=compile_args,
                extra_link_args=link_args,
                define_macros=macros,
            )
        )
    return found


if not SKIP_CORE:
    forget_other_flavour()
setup(
    ext_modules=cythonize(
        [] if SKIP_CORE else extensions(),
        build_dir="build/cython-debug" if DEBUG else "build/cython",
        shared_utility_qualified_name=SHARED,
        nthreads=0 if sys.platform == "darwin" else os.cpu_count() or 1,
        compiler_directives={
            "language_level": "3",
            "boundscheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
            "legacy_implicit_noexcept": False,
        },
    ),
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
)
