"""Files of shared memory: there whole, or as they were before."""

import os

import pytest

from engine.core.errors import CapacityError
from engine.core.shm import new_file


def test_a_file_has_its_name_once_it_is_filled(tmp_path):
    path = str(tmp_path / "ring")
    with new_file(path, 4096, "ring") as fd:
        os.pwrite(fd, b"full", 0)
        assert not os.path.exists(path)
    assert os.path.getsize(path) == 4096
    assert (tmp_path / "ring").read_bytes().startswith(b"full")


def test_what_fails_leaves_the_former_file_and_no_draft(tmp_path):
    (tmp_path / "ring").write_bytes(b"former")
    with pytest.raises(KeyError), new_file(str(tmp_path / "ring"), 4096, "ring"):
        raise KeyError
    assert (tmp_path / "ring").read_bytes() == b"former"
    assert os.listdir(tmp_path) == ["ring"]


def test_no_room_is_said_before_anything_is_mapped(tmp_path):
    with (
        pytest.raises(CapacityError, match="no room for a ring of"),
        new_file(str(tmp_path / "ring"), 1 << 60, "ring"),
    ):
        pytest.fail("a file of an exabyte")
    assert os.listdir(tmp_path) == []
