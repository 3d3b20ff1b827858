"""Processes as the supervisor knows them."""

from engine.runtime.children import describe_exit


def test_exits_are_described_for_people():
    assert describe_exit(3) == "exit code 3"
    assert describe_exit(-9) == "killed by SIGKILL"
    assert describe_exit(-200) == "killed by signal 200"
