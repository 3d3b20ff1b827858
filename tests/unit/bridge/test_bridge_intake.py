"""The table of sessions: what it knows after a kill, what it forgets, and what it then refuses."""

import tempfile
from pathlib import Path

import pytest

from bridge import codec, intake
from bridge import protocol as p
from bridge.errors import BridgeError
from bridge.intake import AHEAD, Intakes, digest


def order(number, px=100.0):
    return p.Submit(number, "BTCUSDT", "buy", px, 0.001)


def test_what_was_written_is_there_without_a_word_of_goodbye(tmp_path):
    path = tmp_path / "table"
    table = Intakes(path)
    one = table.open("mm", "keep", "key")
    table.take(one, 7, digest(order(7)))
    table.told(one, 7, b"first")
    table.told(one, 7, b"second")
    table.take(one, 8, digest(order(8)))
    table.take(one, 9, digest(order(9)))
    table.untake(one, 9)
    table.received(one, 41)
    # Nothing is closed: a bridge that is killed does not either.
    again = Intakes(path).of("mm")
    assert (again.session, again.owner, again.on_loss, again.received) == (one.session, "key", "keep", 41)
    told = {number: (taken.first, taken.last) for number, taken in again.orders.items()}
    assert told == {7: (b"first", b"second"), 8: (b"", b"")}
    assert again.orders[7].digest == digest(order(7)) != digest(order(7, 100.1))


def test_a_new_session_knows_nothing_of_the_one_before(tmp_path):
    table = Intakes(tmp_path / "table")
    one = table.open("mm", "cancel")
    table.take(one, 7, digest(order(7)))
    two = table.open("mm", "cancel")
    assert two.session != one.session
    assert Intakes(tmp_path / "table").of("mm").orders == {}
    table.take(two, 7, digest(order(7)))
    assert set(Intakes(tmp_path / "table").of("mm").orders) == {7}


def test_the_oldest_orders_give_way_and_their_numbers_are_not_taken_again(tmp_path, monkeypatch):
    monkeypatch.setattr(intake, "ORDERS", 4)
    monkeypatch.setattr(intake, "SESSIONS", 2)
    path = tmp_path / "table"
    table = Intakes(path)
    one, two = table.open("one", "cancel"), table.open("two", "cancel")
    for number in (1, 2):
        table.take(one, number, digest(order(number)))
    for number in (10, 11, 12):
        table.take(two, number, digest(order(number)))
    for known in (table, Intakes(path)):
        assert (set(known.of("one").orders), known.of("one").floor) == ({2}, 1)
        assert (set(known.of("two").orders), known.of("two").floor) == ({10, 11, 12}, 0)
    table.open("three", "cancel")
    assert [i.strategy_id for i in Intakes(path)] == ["three", "two"]


def test_the_longest_execution_has_room():
    longest = p.Execution(
        *(2**63 - 1,) * 4,
        *("S" * p.MAX_NAME,) * 2,
        *(2**63 - 1,) * 2,
        *("sell", "market", "GTC", "PARTIALLY_FILLED", "PARTIALLY_FILLED"),
        *(0.1,) * 7,
        True,
        "repeat_execution_throttle",
        2**63 - 1,
        "RATE_MAX_ORDER_TO_TRADE_RATIO",
        *(0.1,) * 2,
        2**63 - 1,
    )
    assert len(codec.encode(longest)) <= intake.MAX_FRAME


def test_another_file_is_refused(tmp_path):
    (tmp_path / "table").write_bytes(b"something else")
    with pytest.raises(BridgeError, match="not a table of sessions"):
        Intakes(tmp_path / "table")
    with pytest.raises(BridgeError, match="No such file"):
        Intakes(tmp_path / "none" / "table")


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="its memory is a file's there")
def test_the_memory_of_the_next_orders_is_there_before_they_come():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        path = Path(directory) / "table"

        def held():
            return path.stat().st_blocks * 512 // 1024

        intakes = Intakes(path)
        assert AHEAD <= held() < AHEAD + 100
        mm = intakes.open("mm", "cancel")
        for number in range(AHEAD):
            intakes.take(mm, number + 1, bytes(16))
        intakes.tick()
        before = held()
        assert 2 * AHEAD <= before < 2 * AHEAD + 100
        for number in range(AHEAD, 2 * AHEAD):
            intakes.take(mm, number + 1, bytes(16))
        assert held() == before
        intakes.close()
