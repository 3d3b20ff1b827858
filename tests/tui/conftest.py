"""The bridge's fixtures, for the pilot tests that need a real one."""

from tests.kit.bridge_fixtures import bridge, endpoint, engine

__all__ = ["bridge", "endpoint", "engine"]
