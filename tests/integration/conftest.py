"""Fixtures that integration tests share."""

from tests.kit.bridge_fixtures import any_endpoint, bridge, endpoint, engine

__all__ = ["any_endpoint", "bridge", "endpoint", "engine"]
