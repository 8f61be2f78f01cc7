"""The benchmark of large numbers fits growth as other libraries do, and makes the recipes that it says."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from genprior import load_recipe

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import large

    yield large


@pytest.fixture
def cases(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import large_cases

    yield large_cases


def test_the_slope_and_its_error_are_those_of_numpy(large: Any) -> None:
    draw = np.random.RandomState(0)
    x = draw.uniform(0, 20, 30)
    y = 3 - 0.7 * x + draw.normal(size=30)
    line, covariance = np.polyfit(x, y, 1, cov=True)
    assert large.slope(list(x), list(y)) == pytest.approx((line[0], math.sqrt(covariance[0, 0])))


@pytest.mark.parametrize("power", [0.0, 1.0, 1.5, 2.0])
def test_the_exponent_is_that_of_a_power(power: float, large: Any) -> None:
    assert large.exponent((50, 100, 200), [3 * n**power for n in (50, 100, 200)]) == pytest.approx(power)


def test_the_exponent_of_nothing_is_unknown(large: Any) -> None:
    assert math.isnan(large.exponent((1, 2), [0.0, 1.0]))


def test_growth_over_steps_is_found(large: Any) -> None:
    # 2 MB and a file each 1,000 steps; a step of 3 ms, and of 4 ms in the second half.
    seconds = [0.003 * n + 0.001 * max(0, n - 10_000) for n in range(20_001)]
    samples = [(n, 500 + 0.002 * n, 5 + n // 1000, seconds[n]) for n in range(0, 20_001, 50)]
    found = large._of_steps({"samples": samples, "peak_mb": 540.0, "wall_s": 1.0}, 20_000)
    assert found["MB per 1,000 steps"] == pytest.approx(2, rel=0.01)
    assert found["files per 1,000 steps"] == pytest.approx(1)
    assert found["files at most"] == 25
    assert (found["ms at begin"], found["ms at end"]) == pytest.approx((3, 4))


def test_every_row_of_the_recipe_is_another(cases: Any, tmp_path: Path) -> None:
    plans = load_recipe(cases.recipe_of_rows(5, tmp_path / "rows.toml")).plans
    assert len({plan.model.rec_weight for plan in plans}) == 5
    assert {plan.run.steps for plan in plans} == {2}


def test_every_variant_of_the_long_training_is_what_its_name_says(cases: Any, tmp_path: Path) -> None:
    (tmp_path / "steps.toml").write_text(cases.RECIPE)
    plans = {name: load_recipe(tmp_path / "steps.toml", changes=c).plans[0] for name, c in cases.VARIANTS.items()}
    assert [(plan.model.name, plan.model.prior.name) for plan in plans.values()] == [
        ("aae", "gaussian"), ("aae", "gaussian"), ("aae", "code_generator"), ("vae", "vampprior"),
    ]  # fmt: skip
    assert plans["AAE, a record each 1,000 steps"].run.log_every == 1000 > plans["AAE"].run.log_every
    learned = plans["infogan, code generator, skip"]
    assert (learned.model.conditioner.name, learned.run.on_divergence) == ("infogan", "skip")


def test_an_unknown_case_is_refused_with_what_is_possible(large: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit) as end:
        large.main(["--only", "all"])
    assert end.value.code == 2
    assert "there is no 'all'; possible: steps, sweep, check, folder, runs" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_line_writes_tables_and_json(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "large.py"), "--quick", "--out", str(tmp_path / "l.json")]
    done = subprocess.run([*command, "--only", "steps", "folder", "runs"], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "l.json").read_text())
    assert list(result["folder"]) == ["20", "40", "60"]
    assert result["folder"]["20"]["hash, s"] >= 0
    assert list(result["steps"]) == ["AAE"]
    assert "| bench, s | " in done.stdout
