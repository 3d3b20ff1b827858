import pytest

from engine.core.errors import CapacityError, InvariantError
from engine.core.pool import Pool


def test_handles_start_at_one_and_the_null_handle_is_never_live():
    pool = Pool(3, 20)
    assert [pool.alloc() for _ in range(3)] == [1, 2, 3]
    assert not pool.is_live(0)
    assert not pool.is_live(4)
    assert not pool.is_live(2**32 - 1)
    assert (pool.capacity, pool.record_size, len(pool)) == (3, 24, 3)
    with pytest.raises(CapacityError, match="3 records"):
        pool.alloc()
    pool.check_invariants()


def test_the_last_freed_is_used_first_and_comes_back_zeroed():
    pool = Pool(4, 8)
    a, b = pool.alloc(), pool.alloc()
    pool.write(a, b"\xff" * 8)
    pool.free(b)
    pool.free(a)
    assert pool.alloc() == a
    assert pool.read(a) == bytes(8)


def test_records_do_not_overlap():
    pool = Pool(5, 24)
    handles = [pool.alloc() for _ in range(5)]
    for handle in handles:
        pool.write(handle, bytes([handle]) * 24)
    assert [pool.read(handle) for handle in handles] == [bytes([handle]) * 24 for handle in handles]
    with pytest.raises(ValueError, match="25 bytes"):
        pool.write(handles[0], bytes(25))


@pytest.mark.parametrize("handle", [0, 1, 2, 5, 2**32 - 1])
def test_freeing_what_is_not_live_is_refused(handle):
    pool = Pool(4, 8)
    pool.alloc()
    pool.free(1)
    for use in (pool.free, pool.read, lambda h: pool.write(h, b"")):
        with pytest.raises(InvariantError, match=f"handle {handle} is not live"):
            use(handle)
    pool.check_invariants()
    assert len(pool) == 0


@pytest.mark.parametrize(("capacity", "size"), [(0, 8), (2**31, 8), (4, 0), (4, 2**20 + 1)])
def test_bad_sizes_are_refused(capacity, size):
    with pytest.raises(CapacityError, match="a pool of"):
        Pool(capacity, size)
