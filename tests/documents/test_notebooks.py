"""The notebook templates run from the first cell to the last, in a real kernel, with nothing filled in."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))


def test_they_are_templates():
    assert [path.stem for path in NOTEBOOKS] == ["factor_study", "run_comparison", "slippage_study"]
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        for cell in notebook.cells:
            assert not cell.get("outputs"), "what a template has come to is nobody's business"


def test_every_cell_runs(monkeypatch):
    """One kernel for all, emptied in between: starting it takes longer than running them."""
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    whole = nbformat.v4.new_notebook()
    for path in NOTEBOOKS:
        whole.cells += nbformat.read(path, as_version=4).cells
        whole.cells.append(nbformat.v4.new_code_cell("%reset -sf"))
    for place, cell in enumerate(whole.cells):
        cell["id"] = f"c{place}"
    done = NotebookClient(whole, timeout=100, resources={"metadata": {"path": str(ROOT)}}).execute()
    said = "".join(
        output.get("text", "")
        for cell in done.cells
        for output in cell.get("outputs", ())
        if "text" in output
    )
    for words in ("microprice - mid, bps", "slippage", "strategies[0].params.half_spread", "queue depletion"):
        assert words in said
