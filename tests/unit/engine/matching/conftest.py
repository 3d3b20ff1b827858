"""Every scenario of the rules runs against every implementation of a matcher."""

import pytest

from tests.kit.matching import IMPLEMENTATIONS, Desk


@pytest.fixture(params=sorted(IMPLEMENTATIONS))
def make_desk(request):
    """Makes a desk at a matcher with the settings given."""
    return lambda **settings: Desk(IMPLEMENTATIONS[request.param](**settings))


@pytest.fixture
def desk(make_desk):
    """A desk at a FIFO matcher without LEVEL events, which most scenarios do not look at."""
    return make_desk(levels=False)
