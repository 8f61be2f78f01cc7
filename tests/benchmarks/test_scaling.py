"""The benchmark of batches, codes, rows and ranks measures what it says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import genprior

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import scaling

    return scaling


def test_rows_differ_in_their_labels_alone(scaling: Any, tmp_path: Path) -> None:
    recipe = genprior.load_recipe(scaling.recipe_of_equal_rows(tmp_path, 3, 7, "fp32"))
    rows = [recipe.row(label) for label in ["AAE 0", "AAE 1", "AAE 2"]]
    first, *others = (row.as_toml().splitlines() for row in rows)
    for other in others:
        assert {line.split(" ")[0] for line in set(first) ^ set(other)} == {"label"}
    original = genprior.load_recipe("table3_ablation", changes=["quick"]).row("AAE")
    assert rows[0].model == original.model and rows[0].run.steps == 7


def test_steps_of_a_row_are_measured(scaling: Any) -> None:
    order = {"row": "AAE", "device": "cpu", "precision": "fp32", "batch": 3, "code": 5, "steps": 1}
    found = scaling.measured(order)
    assert found.keys() == {"images_per_second", "processor_ms", "peak_mb"}
    assert 0 < found["images_per_second"] < 1e6 and 50 < found["peak_mb"] < 100_000
    assert 0 < found["processor_ms"]


@pytest.mark.parametrize("wrong", [["--sizes", "3"], ["--only", "batch", "--sizes", "0"], ["--steps", "0"]])
def test_wrong_sizes_are_refused(scaling: Any, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        scaling.main(wrong)
    assert ended.value.code == 2
