"""Early stopping: when it stops, what is best, and that training does not change, whenever it is resumed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from genprior import GenpriorWarning
from genprior.errors import Interrupted, NotFinite
from genprior.registry import installed
from genprior.runs import early_stopping
from genprior.runs.early_stopping import EarlyStopping, is_measurement
from genprior.runs.files import RunFiles
from genprior.runs.folder import RunFolder
from genprior.runs.run import load_run
from genprior.runs.trainer import Trainer

from ..small_stopping import ELBO, facts, outcome, records, scripted, small_trainer, steps_kept


@pytest.fixture(autouse=True)
def _without_syncing(monkeypatch):
    monkeypatch.setattr("os.fsync", lambda file: None)  # most of the time of so many small runs


def assert_same(one: Path, other: Path) -> None:
    """The same checkpoints, records, scores and outcome."""
    assert steps_kept(one) == steps_kept(other)
    for step in steps_kept(one):
        first, second = (load_file(each / "checkpoints" / f"step-{step:08d}.safetensors") for each in (one, other))
        assert first.keys() == second.keys()
        assert [key for key in first if not torch.equal(first[key], second[key])] == []
    assert records(one) == records(other)
    assert RunFolder(one).scores() == RunFolder(other).scores()
    assert outcome(one) == outcome(other)


# ---------------------------------------------------------------------------------------------------------------------
# When it stops, and what is best
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "stopped", "best", "value"),
    [
        (scripted(1, 2, 3, 2, 2, 9), 10, 6, 3.0),  # two measurements without improvement
        (scripted(1, 2, 3, 2, 4, 3, 3, 9), 14, 10, 4.0),  # an improvement begins a new count
        (scripted(3, 2, 1, 1, 2, 2, column="loss"), 10, 6, 1.0),  # lower is better
        (scripted(1, 1, 1, 9), 6, 2, 1.0),  # an equal one is no improvement, and the first one stays the best
        (scripted(1, 1.4, 1.8, 9, min_delta=1), 6, 6, 1.8),  # small ones are the best, and patience runs out
        (scripted(1, 1.6, 2.2, 2, 2, min_delta=1), 10, 6, 2.2),  # together they are more than min_delta
        (scripted(5, 4.4, 3.8, 4, 4, 9, min_delta=1, column="loss"), 10, 6, 3.8),
        (scripted("nan", 1, "nan", "nan", 9), 8, 4, 1.0),  # what is not finite is no improvement
        (scripted(1, "inf", "-inf", 9), 6, 2, 1.0),
        (scripted(5, 1, 1, 1, 1, 1, 1, 1, patience=7), None, 2, 5.0),  # it runs out at the last step: not early
        (scripted(1, 2, 3, 4, 5, 6, 7, 8), None, 16, 8.0),
        (scripted(2, 1, patience=1), 4, 2, 2.0),
    ],
)
def test_it_stops_when_patience_runs_out(given, stopped, best, value, plan, tmp_path):
    small_trainer(plan(*given, "scores=[]"), 0, tmp_path / "run").run()
    assert outcome(tmp_path / "run") == (stopped, best, value, stopped or 16, True)
    last = stopped or 16
    name = "validation/loss" if 'run.stop.column="loss"' in given else "validation/gain"
    measured = [line for line in records(tmp_path / "run") if is_measurement({**line, "seconds": 0})]
    assert [line["step"] for line in measured] == list(range(2, last + 1, 2))
    assert all(list(line) == ["step", name] for line in measured)
    assert {best, last} <= set(steps_kept(tmp_path / "run"))
    run = load_run(tmp_path / "run")
    assert run.finished
    assert run.checkpoint.name == f"step-{best:08d}.safetensors"
    assert int(run.model.steps_seen) == best
    assert run.step == last


def test_without_a_finite_measurement_the_last_weights_are_kept_and_said(plan, tmp_path):
    with pytest.warns(GenpriorWarning, match=r"no measurement of run\.stop\.score was finite, so the last weights"):
        small_trainer(plan(*scripted("nan", "nan", "nan")), 0, tmp_path / "run").run()
    assert outcome(tmp_path / "run") == (4, None, None, 4, True)
    assert records(tmp_path / "run")[0] == {"step": 2, "validation/gain": None}
    assert int(load_run(tmp_path / "run").model.steps_seen) == 4


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.25, 2.0, 3.0, math.nan]), min_size=1, max_size=12),
    st.integers(1, 4),
    st.sampled_from([0.0, 0.25, 1.0]),
    st.booleans(),
)
def test_random_measurements_against_the_definition(values, patience, delta, higher):
    """Stops at the first place where the last `patience` ones hold no improvement; the best is the best up to there."""
    score = {"name": "scripted", "values": [], "every": 1}
    table = {"score": score, "column": "gain" if higher else "loss", "every": 1, "patience": patience}
    registry = installed()
    config = early_stopping.StopConfig.model_validate({**table, "min_delta": delta}, context={"registry": registry})
    sign = 1 if higher else -1
    improvements, reference = [], None
    for place, value in enumerate(values):
        if not math.isnan(value) and (reference is None or sign * value > sign * reference + delta):
            improvements.append(place)
            reference = value
    ends = [n for n in range(len(values)) if n - max([p for p in improvements if p <= n], default=-1) >= patience]
    seen = values[: ends[0] + 1] if ends else values
    finite = [sign * value for value in seen if not math.isnan(value)]
    best = next((p for p, v in enumerate(seen) if finite and sign * v == max(finite)), None)

    stopping, step = EarlyStopping(config, 0), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(early_stopping, "_measured", lambda *given: values[step])
        while step < len(values) and not stopping.over:
            again = EarlyStopping(config, 0)  # resumes from the facts, through JSON
            if step:
                again.restore(json.loads(json.dumps(stopping.facts())))
            stopping = again
            stopping.measure(type("Run", (), {"step": step, "images": None})())
            step += 1
    assert (step, stopping.over) == (len(seen), bool(ends))
    assert stopping.best_step == best


# ---------------------------------------------------------------------------------------------------------------------
# Training does not change
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        (),
        ("run.ema=0.8",),
        ('optimiser.default={name="free_sgd",lr=0.01}',),
        ('run.on_divergence="skip"', "run.shift=1"),
        ("run.keep.last=1", 'run.stop.score={name="nll",importance_samples=3}'),
    ],
)
def test_a_run_that_never_stops_is_the_run_without(given, plan, tmp_path):
    plain = [each for each in given if "run.stop" not in each]
    small_trainer(plan(*plain), 0, tmp_path / "without").run()
    small_trainer(plan(*ELBO, *given, "run.stop.patience=100"), 0, tmp_path / "with").run()
    one, other = (load_file(RunFolder(tmp_path / each).newest_checkpoint) for each in ("without", "with"))
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []
    lines = [line for line in records(tmp_path / "with") if not is_measurement({**line, "seconds": 0})]
    assert lines == records(tmp_path / "without")
    assert "stopped_step" not in facts(tmp_path / "without")


@pytest.mark.parametrize(
    "given", [(*ELBO, "run.ema=0.8", "run.steps=9"), scripted(1, 3, 2, 4, 3, 3, 9)], ids=["whole", "stops"]
)
def test_it_resumes_at_every_step(given, plan, tmp_path):
    row = plan(*given)
    small_trainer(row, 1, tmp_path / "once").run()
    for done in range(1, 1 + facts(tmp_path / "once")["step"]):
        folder = tmp_path / str(done)
        small_trainer(row, 1, folder).run(until=done)
        small_trainer(row, 1, folder).run()
        kept = set(steps_kept(folder)) | set(steps_kept(tmp_path / "once"))  # other checkpoints were written
        for each in (folder, tmp_path / "once"):
            assert {outcome(each)[1], outcome(each)[3]} <= set(steps_kept(each)) <= kept
        assert records(folder) == records(tmp_path / "once")
        assert RunFolder(folder).scores() == RunFolder(tmp_path / "once").scores()
        assert outcome(folder) == outcome(tmp_path / "once")
        newest = [load_file(RunFolder(each).newest_checkpoint) for each in (folder, tmp_path / "once")]
        assert [key for key in newest[0] if not torch.equal(newest[0][key], newest[1][key])] == []


class Killed(KeyboardInterrupt):
    """A process that ends."""


@pytest.mark.parametrize("place", ["write_checkpoint", "append_metrics", "write_scores", "write_facts"])
@pytest.mark.parametrize("after", [False, True])
def test_it_resumes_when_killed_before_and_after_any_write(place, after, plan, tmp_path, monkeypatch):
    row = plan(*scripted(1, 3, 2, 2), "run.keep.last=1")
    small_trainer(row, 0, tmp_path / "once").run()
    whole, count = getattr(RunFiles, place), 0
    number = 0
    while True:
        folder, count = tmp_path / f"{place} {number}", 0

        def write(self, *given, _number=number):
            nonlocal count
            count += 1
            if count == _number + 1 and not after:
                raise Killed
            result = whole(self, *given)
            if count == _number + 1:
                raise Killed
            return result

        monkeypatch.setattr(RunFiles, place, write)
        try:
            small_trainer(row, 0, folder).run()
            break
        except Killed:
            pass
        monkeypatch.setattr(RunFiles, place, whole)
        small_trainer(row, 0, folder).run()
        assert_same(folder, tmp_path / "once")
        number += 1
    assert number >= (1 if place == "write_scores" else 2)


def test_it_stops_with_ctrl_c_and_resumes(plan, tmp_path):
    row = plan(*scripted(1, 2, 3, 2, 2, 9))
    with pytest.raises(Interrupted, match="stopped after 1 of 16 steps"):
        small_trainer(row, 0, tmp_path / "run", stop=lambda: True).run()
    # Asked to stop in the very step after which training ends early: it is over, and nothing is interrupted.
    trainer = small_trainer(row, 0, tmp_path / "run", stop=lambda: trainer.step == 10)
    trainer.run()
    assert outcome(tmp_path / "run") == (10, 6, 3.0, 10, True)


class Spoiled(Trainer):
    """A trainer whose weights are not finite before one step."""

    at = 7

    def one_step(self):
        if self.step == self.at:
            with torch.no_grad():
                next(self.modules["decoder"].parameters()).fill_(math.nan)
        super().one_step()


@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_training_that_diverges(policy, plan, tmp_path):
    """With "stop" it is an error as ever, and the best so far stays; with "skip" it goes on, and patience runs out."""
    row = plan(*ELBO, "run.stop.patience=2", f'run.on_divergence="{policy}"', "run.keep.last=1")
    if policy == "stop":
        with pytest.raises(NotFinite, match="step 7"):
            Spoiled(row, 0, tmp_path / "run").run()
        assert load_run(tmp_path / "run").checkpoint.name == "step-00000006.safetensors"
        return
    with pytest.warns(GenpriorWarning, match="of 10 steps"):
        Spoiled(row, 0, tmp_path / "run").run()
    assert outcome(tmp_path / "run")[:2] == (10, 6)
    assert [
        line["validation/elbo"] for line in records(tmp_path / "run") if line["step"] in (8, 10) and len(line) == 2
    ] == [
        None,
        None,
    ]
    assert math.isfinite(RunFolder(tmp_path / "run").scores()["elbo"])
    assert facts(tmp_path / "run")["skipped_steps"] == 3
