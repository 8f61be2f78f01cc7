"""The benchmark of determinism tries every model, and sees every bit that differs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from genprior.registry import installed
from genprior.runs.trainer import Trainer
from genprior.storage import checkpoint
from genprior.storage.checkpoint import _checksum

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def determinism(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(BENCHMARKS)
    import determinism

    yield determinism


def test_every_model_is_tried(determinism: Any) -> None:
    rows = determinism.chosen_rows(["model"])
    tried = sorted(part for parts in rows.values() for part in parts)
    assert tried == sorted(f"model {name}" for name in installed().names("model"))
    for choice in rows:
        (plan,) = determinism._recipe(choice).plans
        assert plan.data.name in determinism.EMBEDDED
        assert plan.label == choice[1]


def test_a_fingerprint_has_every_bit_of_a_run_but_its_times(
    determinism: Any, tiny_plan: Any, tmp_path: Path, no_curves: None
) -> None:
    plan = tiny_plan("A+B+C", "run.steps=2", "run.log_every=1", "scores=[]")
    Trainer(plan, 0, tmp_path).run()
    before = determinism.fingerprint(tmp_path)
    assert before.keys() == {"weights", "records", "images"}
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line | {"seconds": 9.0}) + "\n" for line in records))
    assert determinism.fingerprint(tmp_path) == before
    key = next(key for key in records[1] if key not in ("step", "seconds"))
    records[1][key] += 1e-12 + 1e-12 * abs(records[1][key])
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in records))
    assert {k for k, v in determinism.fingerprint(tmp_path).items() if v != before[k]} == {"records"}
    path = tmp_path / "checkpoints" / "step-00000002.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.startswith("optimiser/") and tensors[name].numel() > 1)
    # The next number after one of them.
    flat = tensors[name].flatten()
    flat[0] = torch.nextafter(flat[0], torch.tensor(9.0))
    save_file(tensors | {name: flat.view(tensors[name].shape)}, path)
    facts = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(facts | {"sha256": _checksum(path)}))
    assert {k for k, v in determinism.fingerprint(tmp_path).items() if v != before[k]} == {"records", "weights"}


def test_the_difference_is_relative_to_the_largest_weight_of_a_tensor(determinism: Any) -> None:
    first = {"a": torch.tensor([4.0, -8.0]), "b": torch.zeros(3), "count": torch.tensor(3)}
    assert determinism.difference(first, first) == 0
    second = first | {"a": torch.tensor([4.0, -7.5]), "count": torch.tensor(4)}
    assert determinism.difference(first, second) == pytest.approx(0.5 / 8)


def test_an_unknown_condition_is_refused_with_what_is_possible(determinism: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit) as end:
        determinism.main(["--conditions", "thrice"])
    assert end.value.code == 2
    assert "there is no condition 'thrice'; possible: again, stopped at 3, cut off at 5," in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_line_writes_a_table_and_json(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "determinism.py"), "--quick", "--out", str(tmp_path / "d.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "d.json").read_text())["rows"]
    assert row["parts"] == ["model labels_alone"]
    assert row["conditions"] == {"cut off at 5": {"differs": []}, "records": {"differs": []}}
    assert "| model labels_alone | = | = |" in done.stdout


@pytest.mark.usefixtures("no_curves")
def test_a_row_with_a_fitted_prior_is_stopped_in_its_fit_after_its_first_stage(
    determinism: Any, tmp_path: Path
) -> None:
    choice = ("priors.toml", "fitted flow")
    determinism._stop(choice, tmp_path)
    (folder,) = (path.parent for path in tmp_path.glob("*/seed-0/run.json"))
    assert checkpoint.step_of(checkpoint.latest(folder / "checkpoints")) == determinism.CHECKPOINT
    determinism._train(choice, tmp_path)
    assert checkpoint.step_of(checkpoint.latest(folder / "checkpoints")) == determinism.STEPS
