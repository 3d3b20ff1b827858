"""Ring, pool and id map against their slow twins, by random sequences of operations."""

import os
import tempfile

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.core.errors import CapacityError, InvariantError
from engine.core.idmap import IdMap
from engine.core.pool import Pool
from engine.core.ring import Ring
from tests.kit.core_oracles import NaivePool, NaiveRing

SLOT = 16
RECORDS = st.binary(max_size=SLOT)


class RingMachine(RuleBasedStateMachine):
    """Producer and consumer have a handle each, and either may be killed and come back."""

    @initialize(bits=st.integers(0, 4))
    def start(self, bits):
        handle, self.path = tempfile.mkstemp(prefix="ringbook-test-ring-")
        os.close(handle)
        self.producer = Ring.create(self.path, 1 << bits, SLOT)
        self.consumer = Ring.attach(self.path)
        self.model = NaiveRing(1 << bits, SLOT)

    @rule(record=RECORDS)
    def push(self, record):
        assert self.producer.push(record) == self.model.push(record)

    @rule(records=st.lists(RECORDS, max_size=20), cursor=st.none() | st.integers(0, 2**63))
    def push_many(self, records, cursor):
        padded = b"".join(record.ljust(SLOT, b"\0") for record in records)
        array = np.frombuffer(padded, np.uint8).reshape(len(records), SLOT)
        assert self.producer.push_many(array, cursor=cursor) == self.model.push_many(records, cursor)

    @rule(n=st.none() | st.integers(0, 20))
    def pop_many(self, n):
        assert [row.tobytes() for row in self.consumer.pop_many(n)] == self.model.pop_many(n)

    @rule()
    def pop(self):
        expected = self.model.pop_many(1)
        assert self.consumer.pop() == (expected[0] if expected else None)

    @rule()
    def restart_producer(self):
        self.producer.close()
        self.producer = Ring.attach(self.path)

    @rule()
    def restart_consumer(self):
        self.consumer.close()
        self.consumer = Ring.attach(self.path)

    @invariant()
    def agrees(self):
        for ring in (self.producer, self.consumer):
            ring.check_invariants()
            assert len(ring) == len(self.model)
            assert ring.cursor == self.model.cursor

    def teardown(self):
        if hasattr(self, "path"):
            os.unlink(self.path)


class PoolMachine(RuleBasedStateMachine):
    """Also frees what is not live: that must be refused and change nothing."""

    @initialize(capacity=st.integers(1, 8))
    def start(self, capacity):
        self.pool = Pool(capacity, 8)
        self.model = NaivePool(capacity, 8)

    @rule()
    def alloc(self):
        expected = self.model.alloc()
        if expected is None:
            with pytest.raises(CapacityError):
                self.pool.alloc()
        else:
            assert self.pool.alloc() == expected

    @rule(handle=st.integers(0, 9))
    def free(self, handle):
        if self.model.free(handle):
            self.pool.free(handle)
        else:
            with pytest.raises(InvariantError):
                self.pool.free(handle)

    @rule(handle=st.integers(0, 9), data=st.binary(max_size=8))
    def write(self, handle, data):
        if handle in self.model.live:
            self.model.write(handle, data)
            self.pool.write(handle, data)
        else:
            with pytest.raises(InvariantError):
                self.pool.write(handle, data)

    @invariant()
    def agrees(self):
        self.pool.check_invariants()
        assert len(self.pool) == len(self.model.live)
        assert {h: self.pool.read(h) for h in range(10) if self.pool.is_live(h)} == self.model.live


class IdMapMachine(RuleBasedStateMachine):
    """Few distinct keys in a table of eight slots, so that clusters form, wrap and are cut in the middle."""

    keys = st.integers(0, 12) | st.integers(0, 12).map(lambda n: n << 60) | st.integers(2**64 - 3, 2**64 - 1)

    @initialize(items=st.sampled_from([1, 7, 8, 14]))
    def start(self, items):
        self.ids = IdMap(items)
        self.model = {}

    @rule(key=keys, value=st.integers(1, 2**32 - 1))
    def insert(self, key, value):
        if key in self.model:
            assert not self.ids.insert(key, value)
        elif len(self.model) == self.ids.capacity:
            with pytest.raises(CapacityError):
                self.ids.insert(key, value)
        else:
            assert self.ids.insert(key, value)
            self.model[key] = value

    @rule(key=keys)
    def remove(self, key):
        assert self.ids.remove(key) == self.model.pop(key, 0)

    @rule(key=keys)
    def find(self, key):
        assert self.ids.find(key) == self.model.get(key, 0)
        assert (key in self.ids) == (key in self.model)

    @rule()
    def clear(self):
        self.ids.clear()
        self.model.clear()

    @invariant()
    def agrees(self):
        self.ids.check_invariants()
        assert len(self.ids) == len(self.model)
        assert sorted(self.ids.items()) == sorted(self.model.items())


def _case(machine):
    case = machine.TestCase
    case.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
    return case


TestRing = _case(RingMachine)
TestPool = _case(PoolMachine)
TestIdMap = _case(IdMapMachine)
