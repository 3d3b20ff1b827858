"""Runs the guides of docs/: every snippet, in order, in one directory."""

from __future__ import annotations

import pytest

from tests.kit import readme


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "guide", ["strategies.md", "strategies-compiled.md", "models.md", "coming-from-hftbacktest.md"]
)
def test_every_snippet_of_a_guide_runs(guide, tmp_path):
    blocks = readme.blocks(readme.ROOT / "docs" / guide)
    environment = readme.environment(tmp_path)
    for block in blocks:
        readme.run(block, tmp_path, environment)
    assert sum(block.language in ("bash", "python") for block in blocks) >= 6
