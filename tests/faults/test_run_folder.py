"""Nothing is lost when writing to a run folder fails."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from filelock import FileLock

import genprior
from genprior.errors import CheckpointError, NotFinite, RunError
from genprior.parts import Objectives, Phase
from genprior.runs.trainer import Trainer
from genprior.storage import checkpoint, files

pytestmark = pytest.mark.usefixtures("no_curves")

STEPS = ("run.steps=6", "run.checkpoint_every=2")


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def newest(folder: Path) -> Path:
    return sorted((folder / "checkpoints").glob("*.safetensors"))[-1]


@pytest.fixture
def half(tiny_plan, tmp_path):
    """A plan, and a folder in which 4 of its 6 steps are trained."""
    plan, folder = tiny_plan("A+B+C", *STEPS), tmp_path / "run"
    Trainer(plan, 0, folder).run(until=4)
    return plan, folder


def test_a_truncated_checkpoint_is_refused_and_the_one_before_can_be_used(half, tmp_path):
    plan, folder = half
    path = newest(folder)
    path.write_bytes(path.read_bytes()[:-100])
    before = content(folder)
    with pytest.raises(CheckpointError, match="its checksum is wrong. The previous checkpoint, step-00000002"):
        Trainer(plan, 0, folder).run()
    assert {k: v for k, v in content(folder).items() if k != "metrics.jsonl"} == {
        k: v for k, v in before.items() if k != "metrics.jsonl"
    }
    path.unlink()
    path.with_suffix(".json").unlink()
    Trainer(plan, 0, folder).run()
    Trainer(plan, 0, tmp_path / "whole").run()
    assert newest(folder).read_bytes() == newest(tmp_path / "whole").read_bytes()


def test_one_flipped_bit_is_noticed(half):
    plan, folder = half
    data = bytearray(newest(folder).read_bytes())
    data[-1] ^= 1
    newest(folder).write_bytes(data)
    with pytest.raises(CheckpointError, match="checksum is wrong"):
        Trainer(plan, 0, folder).run()
    with pytest.raises(CheckpointError, match="checksum is wrong"):
        genprior.load_run(folder).sample(1)


def test_a_checkpoint_without_its_json_is_none(half):
    _, folder = half
    newest(folder).with_suffix(".json").unlink()
    assert checkpoint.latest(folder / "checkpoints").stem == "step-00000002"


def test_a_full_disk_keeps_the_last_checkpoint(half, monkeypatch):
    plan, folder = half
    before = {k: v for k, v in content(folder).items() if k.startswith("checkpoints")}

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "fsync", full)
        with pytest.raises((CheckpointError, OSError)):
            Trainer(plan, 0, folder).run()
    assert {k: v for k, v in content(folder).items() if k.startswith("checkpoints")} == before
    Trainer(plan, 0, folder).run()
    assert genprior.load_run(folder).finished


def test_a_full_disk_at_a_checkpoint_says_so_and_leaves_no_litter(half, monkeypatch):
    plan, folder = half
    before = sorted(p.name for p in (folder / "checkpoints").iterdir())

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(CheckpointError, match=r"cannot be written: .*No space left on device.*same command") as caught:
        Trainer(plan, 0, folder).run()
    assert caught.value.exit_code == 1
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == before


def test_a_folder_in_use_is_refused(half):
    plan, folder = half
    with FileLock(folder / ".lock"), pytest.raises(RunError, match="is in use by another process"):
        Trainer(plan, 0, folder).run()


def test_a_changed_recipe_is_refused_with_the_difference_and_nothing_is_touched(half, tiny_plan):
    _, folder = half
    before = content(folder)
    other = tiny_plan("A+B+C", *STEPS, "model.rec_weight=3.5", "run.batch=4")
    with pytest.raises(RunError) as caught:
        Trainer(other, 0, folder).run()
    assert "model.rec_weight: was 1.0, is 3.5" in str(caught.value)
    assert "run.batch: was 8, is 4" in str(caught.value)
    assert content(folder) == before


def test_what_does_not_change_training_may_change(half, tiny_plan):
    _, folder = half
    Trainer(tiny_plan("A+B+C", "run.steps=6", "run.checkpoint_every=3", "run.seeds=[0,1]"), 0, folder).run()
    assert genprior.load_run(folder).finished


def test_a_damaged_recipe_file_is_refused(half):
    plan, folder = half
    (folder / "recipe.toml").write_text("[run\n")
    with pytest.raises(RunError, match=r"recipe.toml is damaged"):
        Trainer(plan, 0, folder).run()


def test_a_loss_that_is_not_finite_stops_the_row_and_keeps_the_good_checkpoint(tiny_plan, tmp_path, monkeypatch):
    plan = tiny_plan("AAE", "run.steps=6", "run.checkpoint_every=2", "run.log_every=6")
    trainer = Trainer(plan, 0, tmp_path)
    prepare = trainer.prepare

    def sabotaged():
        prepare()
        phase = trainer.phases[0]

        def explode(batch):
            found = phase.objectives(batch)
            factor = float("nan") if trainer.step == 3 else 1.0
            return Objectives({name: loss * factor for name, loss in found.losses.items()})

        trainer.phases = (Phase(phase.name, explode),)

    monkeypatch.setattr(trainer, "prepare", sabotaged)
    with pytest.raises(NotFinite, match="row 'AAE', step 3, phase 'regularise': the .* is not finite") as caught:
        trainer.run()
    assert caught.value.exit_code == 1
    assert newest(tmp_path).stem == "step-00000002"
    weights = checkpoint.read(newest(tmp_path)).tensors
    assert all(torch.isfinite(t).all() for t in weights.values() if t.is_floating_point())


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_failed_write_leaves_the_old_file_whole(tmp_path, moment):
    path = tmp_path / "file.json"
    files.write_json(path, {"old": True})

    with pytest.raises(RuntimeError), files.whole_file(path) as partial:
        if moment == "after":
            partial.write_text("{")
        raise RuntimeError
    assert json.loads(path.read_text()) == {"old": True}
    assert [p.name for p in tmp_path.iterdir()] == ["file.json"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_files_that_belong_together_are_all_written_or_none(tmp_path, place):
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths:
        path.write_text("old")
    paths[place].unlink()
    paths[place].mkdir()

    contents = dict.fromkeys(paths, b"new")
    with pytest.raises(IsADirectoryError) as caught:
        files.write_files(contents)
    assert caught.value.__notes__ == [f"cannot write {paths[place]}"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]
    assert all(path.read_text() == "old" for path in paths if path.is_file())

    paths[place].rmdir()
    files.write_files(contents)
    assert {path.read_bytes() for path in paths} == {b"new"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


def test_a_folder_that_is_no_run_lists_the_runs_below_it(half, tmp_path):
    with pytest.raises(RunError) as caught:
        genprior.load_run(tmp_path)
    assert f"Runs below it: {half[1]}" in str(caught.value)


def test_sampling_needs_a_checkpoint_and_a_number(half, tiny_plan, tmp_path):
    with pytest.raises(RunError, match="n = 0 is too small; give a whole number of at least 1"):
        genprior.load_run(half[1]).sample(0)
    for path in (half[1] / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(RunError, match="has no checkpoint yet; train it further"):
        genprior.load_run(half[1]).sample(1)


def test_a_label_needs_a_model_that_is_asked_for_labels(half):
    from genprior.errors import PlanError

    with pytest.raises(PlanError, match="conditioner 'none' takes no label"):
        genprior.load_run(half[1]).sample(1, label=3)
    with pytest.raises(PlanError, match="there is no class 'seven' in this run's data"):
        genprior.load_run(half[1]).sample(1, label="seven")
