"""The benchmark of compiled networks trains both ways and prints a line for each."""

from __future__ import annotations

from pathlib import Path

import pytest

from genprior.runs.trainer import Trainer


def test_a_row_is_trained_both_ways(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(Trainer, "compiler", "eager")
    import compiled

    assert compiled.main(["--rows", "AAE", "--precisions", "fp32", "--rounds", "1", "--steps", "1"]) == 0
    header, _, line = capsys.readouterr().out.strip().splitlines()
    assert line.startswith("| AAE, fp32 | ") and line.endswith(" | 0 |")
    assert line.count("|") == header.count("|")
