"""Messages through a ring against a queue that counts slots."""

import struct
from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.core.frames import Frames
from engine.core.ring import Ring

HEADER = struct.calcsize("<IHH")


class FramesMachine(RuleBasedStateMachine):
    """Against a queue that counts slots."""

    @initialize(bits=st.integers(2, 6), slot=st.sampled_from([8, 16, 64]))
    def start(self, bits, slot):
        self.ring = Ring(1 << bits, slot)
        self.producer, self.consumer = Frames(self.ring), Frames(self.ring)
        self.model, self.used = deque(), 0

    def slots(self, length):
        return -(-(HEADER + length) // self.ring.slot_size)

    @rule(tag=st.integers(0, 65_535), head=st.binary(max_size=40), body=st.binary(max_size=200))
    def send(self, tag, head, body):
        length = len(head) + len(body)
        if length > self.producer.longest:
            with pytest.raises(ValueError, match="at most"):
                self.producer.send(tag, body, head)
            return
        fits = self.used + self.slots(length) <= self.ring.capacity
        assert self.producer.send(tag, body, head) == fits
        if fits:
            self.model.append((tag, head, body))
            self.used += self.slots(length)

    @rule(most=st.integers(0, 10))
    def take(self, most):
        expected = [self.model.popleft() for _ in range(min(most, len(self.model)))]
        assert self.consumer.take(most) == expected
        self.used -= sum(self.slots(len(head) + len(body)) for _, head, body in expected)

    @invariant()
    def as_many_slots_are_used(self):
        if hasattr(self, "ring"):
            self.ring.check_invariants()
            assert len(self.ring) == self.used


TestFramesMachine = FramesMachine.TestCase
TestFramesMachine.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
