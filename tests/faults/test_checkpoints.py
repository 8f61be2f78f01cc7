"""Damaged checkpoints are set aside on request, and which checkpoints stay."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import genprior
from genprior.errors import CheckpointError, GenpriorWarning
from genprior.launch import processes
from genprior.launch.sent import sent
from genprior.runs.jobs import Job
from genprior.runs.trainer import Trainer
from genprior.storage import checkpoint

pytestmark = pytest.mark.usefixtures("no_curves")

STEPS = ("run.steps=6", "run.checkpoint_every=2", "run.log_every=2", "run.hooks.pictures.enabled=false")


def steps(folder: Path) -> list[int]:
    return sorted(checkpoint.step_of(path) for path in (folder / "checkpoints").glob("*.safetensors"))


def damage(path: Path) -> bytes:
    path.write_bytes(path.read_bytes()[:-10])
    return path.read_bytes()


@pytest.fixture
def half(tiny_plan, tmp_path):
    """A plan, and a folder with the checkpoints of steps 2 and 4 of 6."""
    plan, folder = tiny_plan("AAE", *STEPS), tmp_path / "AAE" / "seed-0"
    Trainer(plan, 0, folder).run(until=4)
    return plan, folder


@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_the_error_names_the_previous_checkpoint_and_last_good_resumes_from_it(suffix, half, tmp_path):
    plan, folder = half
    path = folder / "checkpoints" / f"step-00000004.{suffix}"
    content = damage(path)
    with pytest.raises(CheckpointError) as caught:
        Trainer(plan, 0, folder).run()
    assert (
        "The previous checkpoint, step-00000002.safetensors, is undamaged: genprior train ... --resume last-good moves "
        "the damaged one aside and resumes from step 2."
    ) in str(caught.value)
    assert path.read_bytes() == content
    with pytest.warns(GenpriorWarning, match="the damaged checkpoint step-00000004 was moved to .*damaged"):
        Trainer(plan, 0, folder, last_good=True).run()
    aside = folder / "checkpoints" / "damaged"
    assert {each.name for each in aside.iterdir()} == {"step-00000004.safetensors", "step-00000004.json"}
    assert (aside / path.name).read_bytes() == content
    Trainer(plan, 0, tmp_path / "whole").run()
    whole = (tmp_path / "whole" / "checkpoints" / "step-00000006.safetensors").read_bytes()
    assert (folder / "checkpoints" / "step-00000006.safetensors").read_bytes() == whole


@pytest.mark.parametrize("suffix", ["safetensors", "json"])
def test_an_error_of_the_system_names_the_file_that_cannot_be_read(suffix, half):
    plan, folder = half
    path = folder / "checkpoints" / f"step-00000004.{suffix}"
    path.unlink()
    path.mkdir()
    for options in ({}, {"last_good": True}):
        with pytest.raises(IsADirectoryError) as caught:
            Trainer(plan, 0, folder, **options).run()
        assert caught.value.__notes__ == [f"cannot read {path}"]


def test_without_an_undamaged_checkpoint_nothing_is_moved(half):
    plan, folder = half
    for step in (2, 4):
        damage(folder / "checkpoints" / f"step-0000000{step}.safetensors")
    with pytest.raises(CheckpointError, match="There is no undamaged checkpoint before it: give another --out"):
        Trainer(plan, 0, folder).run()
    with pytest.raises(CheckpointError, match=r"no checkpoint in .* is undamaged \(2 were tried\).*Nothing was moved"):
        Trainer(plan, 0, folder, last_good=True).run()
    assert steps(folder) == [2, 4]


def test_last_good_without_damage_or_without_a_run_changes_nothing(half, tmp_path):
    plan, folder = half
    Trainer(plan, 0, folder, last_good=True).run()
    assert not (folder / "checkpoints" / "damaged").exists()
    Trainer(plan, 0, tmp_path / "new", last_good=True).run()
    assert genprior.load_run(tmp_path / "new").finished


def test_the_command_takes_last_good(half, tiny, tmp_path, call):
    _, folder = half
    damage(folder / "checkpoints" / "step-00000004.safetensors")
    command = ["train", tiny, "--rows", "AAE", "--out", tmp_path, "--jobs", 1]
    command += [part for each in STEPS for part in ("--set", each)]
    failed = call(*command)
    assert failed.exit_code == 1
    assert "--resume last-good" in failed.output
    done = call(*command, "--resume", "last-good")
    assert done.exit_code == 0
    assert "warning: the damaged checkpoint step-00000004 was moved to" in done.output
    assert (folder / "checkpoints" / "damaged" / "step-00000004.safetensors").exists()
    assert steps(folder) == [4, 6]


def test_a_worker_takes_last_good(half):
    plan, folder = half
    damage(folder / "checkpoints" / "step-00000004.safetensors")
    ours, theirs = multiprocessing.Pipe()
    job = sent(Job(plan, 0, folder))
    failed = processes._trained(job, "cpu", theirs, threading.Event(), False)
    assert failed[0] == "failed" and "--resume last-good" in str(failed[1])
    with pytest.warns(GenpriorWarning, match="step-00000004 was moved"):
        assert processes._trained(job, "cpu", theirs, threading.Event(), True)[0] == "finished"
    ours.close()


@pytest.mark.parametrize(
    ("keep", "stay"), [("{}", [5, 6]), ("{last=1}", [6]), ("{last=1,every=2}", [2, 4, 6]), ("{every=3}", [3, 5, 6])]
)
def test_which_checkpoints_stay(keep, stay, tiny_plan, tmp_path):
    Trainer(tiny_plan("AAE", *STEPS, "run.checkpoint_every=1", f"run.keep={keep}"), 0, tmp_path).run()
    assert steps(tmp_path) == stay
    assert len(list((tmp_path / "checkpoints").glob("*.json"))) == len(stay)


def test_keep_and_on_divergence_may_change_in_a_run(half, tiny_plan):
    _, folder = half
    changed = tiny_plan("AAE", *STEPS, "run.keep={last=1,every=4}", 'run.on_divergence="skip"')
    Trainer(changed, 0, folder).run()
    assert steps(folder) == [4, 6]


@pytest.mark.parametrize(
    ("setting", "wrong"), [("run.keep.last=0", "run.keep.last"), ("run.keep.often=3", "run.keep.often")]
)
def test_wrong_settings_are_refused(setting, wrong, tiny):
    with pytest.raises(genprior.errors.RecipeError, match=wrong):
        genprior.load_recipe(tiny, settings=[setting])


def without_checksum_of_facts(path: Path, change: dict[str, object], *removed: str) -> None:
    """Write a checkpoint again as an older version would have, with other facts."""
    save_file(load_file(path), path)
    facts = json.loads(path.with_suffix(".json").read_text()) | change
    facts["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps({k: v for k, v in facts.items() if k not in removed}))


def test_an_older_checkpoint_without_sums_resumes(half):
    """It holds neither a format, nor sums of records, nor counts of steps that were left out."""
    plan, folder = half
    path = folder / "checkpoints" / "step-00000004.safetensors"
    without_checksum_of_facts(path, {}, "format", "recorder", "skipped")
    Trainer(plan, 0, folder).run()
    assert genprior.load_run(folder).finished


@pytest.mark.parametrize("change", [{"recorder": 5}, {"recorder": {"p": 1}}, {"skipped": 3}, {"skipped": [1, 2, 3, 4]}])
def test_counts_of_another_type_are_refused(change, half):
    plan, folder = half
    without_checksum_of_facts(folder / "checkpoints" / "step-00000004.safetensors", change)
    with pytest.raises(CheckpointError, match="step-00000004.safetensors does not fit the model of this recipe"):
        Trainer(plan, 0, folder).run()


@pytest.mark.parametrize("key", ["step", "data"])
def test_facts_that_were_altered_are_refused_and_the_previous_checkpoint_is_offered(half, key):
    plan, folder = half
    path = folder / "checkpoints" / "step-00000004.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps(facts | {key: facts["step"] + 1 if key == "step" else {}}))
    with pytest.raises(CheckpointError, match=r"was altered: its \.json is not .*step-00000002.*--resume last-good"):
        Trainer(plan, 0, folder).run()
    with pytest.warns(GenpriorWarning, match="moved"):
        Trainer(plan, 0, folder, last_good=True).run()
    assert genprior.load_run(folder).finished


def test_files_of_equal_runs_are_equal(half, tmp_path):
    """The checksum of the facts in the tensors' file does not depend on the time that training took."""
    plan, folder = half
    other = tmp_path / "again"
    Trainer(plan, 0, other).run(until=4)
    name = "checkpoints/step-00000004.safetensors"
    assert (folder / name).read_bytes() == (other / name).read_bytes()


def test_checkpoints_that_a_killed_process_did_not_remove_are_removed_when_it_resumes(half, monkeypatch):
    plan, folder = half
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "prune", lambda *args, **kwargs: None)
        Trainer(plan, 0, folder).run(until=6)
    assert steps(folder) == [2, 4, 6]
    (folder / "scores.json").unlink(missing_ok=True)
    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(facts | {"finished": False}))
    Trainer(plan, 0, folder).run()
    assert steps(folder) == [4, 6]


def test_tensors_of_an_older_checkpoint_that_could_be_removed_only_in_part_are_removed_when_it_resumes(half):
    plan, folder = half
    Trainer(plan, 0, folder).run(until=4)
    newest = folder / "checkpoints" / "step-00000004.safetensors"
    for name in ("step-00000001.safetensors", "step-00000009.safetensors"):  # the later one may yet get its facts
        shutil.copy(newest, newest.with_name(name))
    Trainer(plan, 0, folder).run()
    found = {path.name for path in newest.parent.glob("*.safetensors")}
    assert found == {f"step-{step:08}.safetensors" for step in (4, 6, 9)}


def forge(path: Path, changed=lambda tensors: tensors, **facts: object) -> None:
    """Write a checkpoint anew, with right checksums and a wrong content."""
    known = json.loads(path.with_suffix(".json").read_text())
    kept = {key: value for key, value in known.items() if key not in ("format", "step", "sha256")}
    checkpoint.save(path, known["step"], changed(load_file(path)), {**kept, **facts})


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"step": 6}, "was altered: its .json is of step 6"),
        ({"step": -1}, "was altered: its .json is of step -1"),
        ({"step": "4"}, "was altered: its .json is of step 4"),
        ({"recorder": {"reconstruct": {"count": "x", "keys": []}}}, "does not fit the model of this recipe: "),
        ({"recorder": {"reconstruct": {"count": 1, "keys": [1]}}}, "does not fit the model of this recipe: "),
        ({"recorder": [1]}, "does not fit the model of this recipe: "),
        ({"skipped": ["x", "y"]}, "does not fit the model of this recipe: "),
        ({"optimisers": {"encoder": [1]}}, "does not fit the model of this recipe: "),
    ],
)
def test_facts_of_another_form_with_right_checksums_are_refused(half, facts, said):
    plan, folder = half
    forge(folder / "checkpoints" / "step-00000004.safetensors", **facts)
    with pytest.raises(CheckpointError) as caught:
        Trainer(plan, 0, folder).run()
    assert said in str(caught.value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [torch.int8, torch.complex64, torch.float64])
def test_weights_of_another_dtype_with_right_checksums_are_refused(half, dtype):
    plan, folder = half

    def changed(tensors):
        return {name: each.to(dtype) if name.startswith("model/encoder") else each for name, each in tensors.items()}

    forge(folder / "checkpoints" / "step-00000004.safetensors", changed)
    with pytest.raises(CheckpointError, match="does not fit the model of this recipe: encoder.* the model has float32"):
        Trainer(plan, 0, folder).run()


@pytest.mark.parametrize("change", [lambda each: each.reshape(-1)[:1], lambda each: each.to(torch.complex64)])
def test_moments_of_another_form_with_right_checksums_are_refused(half, change):
    """A fused step would read and write beyond a tensor that is too small."""
    plan, folder = half

    def changed(tensors):
        return {name: change(each) if name.endswith("exp_avg") else each for name, each in tensors.items()}

    forge(folder / "checkpoints" / "step-00000004.safetensors", changed)
    with pytest.raises(CheckpointError, match="does not fit the model of this recipe: the moments .*exp_avg are "):
        Trainer(plan, 0, folder).run()
