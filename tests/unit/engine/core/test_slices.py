"""Short time slices: what the kernel says that a thread has got."""

import ctypes
import os
import platform
import struct
import subprocess
import sys

import pytest

from engine.core.slices import SLICE_NS

SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}.get(platform.machine())
CHILD = """
import sys, threading
sys.path.insert(0, ".")
from engine.core.slices import ask_for_short_slices
from tests.unit.engine.core.test_slices import slice_of_this_thread
before = slice_of_this_thread()
assert ask_for_short_slices()
threads = []
thread = threading.Thread(target=lambda: threads.append(slice_of_this_thread()))
thread.start()
thread.join()
print(before, slice_of_this_thread(), threads[0])
"""


def slice_of_this_thread():
    out = ctypes.create_string_buffer(48)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(SCHED_GETATTR, 0, out, 48, 0) == 0
    return struct.unpack("<IIQiIQQQ", out.raw)[5]


@pytest.mark.skipif(
    sys.platform != "linux" or SCHED_GETATTR is None, reason="asks Linux, by the number of a call"
)
def test_a_thread_and_those_it_starts_get_them():
    kernel = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2])
    if kernel < (6, 12):
        pytest.skip("before Linux 6.12 a thread has no slice of its own")
    out = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=True).stdout
    before, own, others = map(int, out.split())
    assert own == others == SLICE_NS
    assert before != SLICE_NS
