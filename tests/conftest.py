"""How Hypothesis searches: the same examples at every run by default, new ones with ``RINGBOOK_EXPLORE=1``.

Either way a failure prints the example and a line of code that repeats it (``@reproduce_failure``); in
an exploring run ``pytest --hypothesis-seed=N`` repeats the whole search.
"""

from __future__ import annotations

import os
import tempfile

from hypothesis import settings

settings.register_profile("fixed", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True, max_examples=500)
settings.load_profile("explore" if os.environ.get("RINGBOOK_EXPLORE") else "fixed")

# Runs that commands keep are nobody's: each process has a place of its own for them, gone when it ends.
# So are rows: a store of files is the quickest to open.
_RUNS = tempfile.TemporaryDirectory(prefix="ringbook-runs-")
os.environ["RINGBOOK_RUNS"] = _RUNS.name
os.environ["RINGBOOK_STORE"] = f"parquet://{_RUNS.name}/store"
