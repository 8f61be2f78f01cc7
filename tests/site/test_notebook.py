"""The tutorial runs from its first cell to its last; its outputs are not stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .pages import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


def test_outputs_are_cleared_and_code_is_formatted_text() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 7 and len(cells) - len(code) >= 6
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    for cell in code:
        compile("".join(cell["source"]), "tutorial.ipynb", "exec")


@pytest.mark.slow
def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed; the extra `docs` has it")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed; the extra `docs` has it")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed; the extra `docs` has it")
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    monkeypatch.delenv("GENPRIOR_REPORT", raising=False)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 3
    assert not [output for output in shown if "Warning" in output.get("text", "")]
    last = "".join(output["text"] for output in notebook.cells[-2]["outputs"])
    assert [line.split()[0] for line in last.splitlines()] == ["Gaussian", "learned", "Laplace"]
    assert (tmp_path / "runs" / "tutorial" / "report.html").exists()
