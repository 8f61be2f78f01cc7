"""Losses and gradients that are not finite: found in their step, named, and kept away from the weights."""

from __future__ import annotations

import inspect
import json

import pytest
import torch
from safetensors.torch import load_file

from genprior.engine.divergence import LIMIT, Guard
from genprior.errors import GenpriorWarning, NotFinite
from genprior.parts import Objectives, Phase
from genprior.runs import row_training as trainer_module
from genprior.runs.trainer import Trainer

pytestmark = pytest.mark.usefixtures("no_curves")

STEPS = ("run.steps=8", "run.log_every=8", "run.checkpoint_every=8", "run.ema=0.9", "run.hooks.pictures.enabled=false")
SKIP = 'run.on_divergence="skip"'
OPTIMISERS = {
    "adam": (),
    "adam_norm_grad": (),
    "sgd": ("optimiser.default.momentum=0.9",),
    "rmsprop": ("optimiser.default.momentum=0.5",),
}


def spoiled(loss):
    return loss * torch.tensor(float("nan"))


def bent(loss):
    """A loss of the same finite value whose gradient is not finite."""
    return loss + (loss - loss).abs().sqrt()


class Sabotaged(Trainer):
    """A trainer whose last phase is spoiled at some steps, or is not run at all at some steps."""

    spoil, bad, without, deferred = staticmethod(spoiled), (), (), None

    def prepare(self):
        super().prepare()
        if self.deferred is not None:
            self.guard = Guard(torch.device("cpu"), skip=self.guard.skip, kept=self.guard.kept, deferred=self.deferred)
            self._state._guard = self.guard
        *self.others, last = self.phases
        self.names = [phase.name for phase in self.phases]

        def objectives(batch):
            found = last.objectives(batch)
            spoil = self.spoil if self.step in self.bad else lambda loss: loss
            return Objectives({name: spoil(loss) for name, loss in found.losses.items()}, found.note, found.updates)

        self.whole = (*self.others, Phase(last.name, objectives, last.every))
        self.phases = self.whole

    def one_step(self):
        self.phases = tuple(self.others) if self.step in self.without else self.whole
        super().one_step()


def made(plan, folder, **changes):
    trainer = Sabotaged(plan, 0, folder)
    for name, value in changes.items():
        setattr(trainer, name, value)
    return trainer


def weights(folder):
    return load_file(sorted((folder / "checkpoints").glob("*.safetensors"))[-1])


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def records(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


# ---------------------------------------------------------------------------------------------------------------------
# Stop
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (spoiled, r"the loss of '\w+' is not finite. First was the loss of \w+, computed from finite values. "),
        (bent, r"the gradient of '\w+' is not finite. First was the gradient of \w+\.[\w.]+, of a finite loss. "),
    ],
)
def test_it_stops_within_the_step_and_names_what_was_not_finite(spoil, what, tiny_plan, tmp_path):
    trainer = made(tiny_plan("A+B+C", *STEPS), tmp_path, bad=(3,), spoil=spoil)
    with pytest.raises(NotFinite, match=rf"row 'A\+B\+C', step 3, phase '\w+': {what}No weights were") as caught:
        trainer.run()
    assert trainer.step == 3
    assert "There is no checkpoint yet; the same command starts anew. " in str(caught.value)
    assert 'run.on_divergence="skip"' in str(caught.value)
    assert all(torch.isfinite(each).all() for each in trainer.model.state_dict().values())


@pytest.mark.parametrize(("role", "method"), [("prior", "sample"), ("decoder", "forward")])
def test_the_part_whose_output_was_not_finite_first_is_named(role, method, tiny_plan, tmp_path, monkeypatch):
    trainer = Trainer(tiny_plan("A+B+C", *STEPS, "run.checkpoint_every=2"), 0, tmp_path)
    trainer.run(until=2)
    kind = type(trainer.model.part_for(role))
    right = getattr(kind, method)

    def wrong(self, *arguments):
        return right(self, *arguments) / 0.0

    wrong.__code__ = wrong.__code__.replace(co_name=method)
    monkeypatch.setattr(kind, method, wrong)
    with pytest.raises(NotFinite) as caught:
        Trainer(trainer.plan, 0, tmp_path).run()
    line = inspect.getsourcelines(wrong)[1] + 1
    told = f"First was what {role} ({kind.__name__}) returned from {method}(), at {__file__}:{line} of plugin 'std' ("
    assert told in str(caught.value)
    assert f"Lower the learning rate of '{role}' (optimiser.{role}.lr)" in str(caught.value)
    assert "The last good checkpoint is kept; the same command resumes from its step 2. " in str(caught.value)


def test_a_run_that_stopped_resumes_with_skip(tiny_plan, tmp_path):
    settings = (*STEPS, "run.checkpoint_every=2")
    with pytest.raises(NotFinite):
        made(tiny_plan("AAE", *settings), tmp_path, bad=(3,)).run()
    with pytest.warns(GenpriorWarning, match="row 'AAE': updates were left out in 1 of 8 steps, the last in step 3"):
        made(tiny_plan("AAE", *settings, SKIP), tmp_path, bad=(3,)).run()
    assert json.loads((tmp_path / "run.json").read_text())["skipped_steps"] == 1


# ---------------------------------------------------------------------------------------------------------------------
# Skip
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("optimiser", "deferred"), [*((name, True) for name in OPTIMISERS), ("adam", False)])
def test_a_skipped_phase_is_a_phase_that_was_not_run(optimiser, deferred, tiny_plan, tmp_path):
    """The last phase is spoiled at the first step, and at others; weights, moments, statistics and averages agree."""
    settings = (*STEPS, f'optimiser.default.name="{optimiser}"', *OPTIMISERS[optimiser])
    with pytest.warns(GenpriorWarning, match="updates were left out in 3 of 8 steps"):
        made(tiny_plan("A+B+C", *settings, SKIP), tmp_path / "bad", bad=(0, 3, 4), deferred=deferred).run()
    made(tiny_plan("A+B+C", *settings), tmp_path / "none", without=(0, 3, 4)).run()
    bad, none = weights(tmp_path / "bad"), weights(tmp_path / "none")
    # RMSprop counts its steps and does not use the number.
    unused = {name for name in none if optimiser == "rmsprop" and name.endswith("/step")}
    assert_same(*({name: each[name] for name in each if name not in unused} for each in (bad, none)))
    (line,), (reference,) = records(tmp_path / "bad"), records(tmp_path / "none")
    assert line == {**reference, "skipped_steps": 3}


@pytest.mark.parametrize("deferred", [False, True])
def test_skipped_steps_resume_bit_for_bit(deferred, tiny_plan, tmp_path):
    plan = tiny_plan("A+B+C", *STEPS, SKIP)
    bad = {"bad": (2, 3, 4, 6), "deferred": deferred}
    made(plan, tmp_path / "twice", **bad).run(until=4)
    with pytest.warns(GenpriorWarning, match="updates were left out in 4 of 8 steps, the last in step 6"):
        made(plan, tmp_path / "twice", **bad).run()
    with pytest.warns(GenpriorWarning, match="updates were left out in 4 of 8 steps, the last in step 6"):
        made(plan, tmp_path / "once", **bad).run()
    assert_same(weights(tmp_path / "once"), weights(tmp_path / "twice"))
    assert records(tmp_path / "once") == records(tmp_path / "twice")


@pytest.mark.parametrize("deferred", [False, True])
def test_more_than_ten_in_a_row_stop(deferred, tiny_plan, tmp_path):
    many = ("run.steps=30", "run.log_every=30", "run.checkpoint_every=30", SKIP)
    bad = tuple(range(2, 3 + LIMIT))
    with pytest.raises(NotFinite, match="Steps 2 to 12 were left out, more than 10 in a row. ") as caught:
        made(tiny_plan("AAE", *many), tmp_path / "eleven", bad=bad, deferred=deferred).run()
    assert "step 12, phase" in str(caught.value)
    with pytest.warns(GenpriorWarning, match="updates were left out in 11 of 30 steps"):
        made(tiny_plan("AAE", *many), tmp_path / "ten", bad=(*bad[:-1], 14), deferred=deferred).run()


def test_several_phases_of_a_step_count_once():
    guard, nan = Guard(torch.device("cpu"), skip=True), torch.tensor([1.0, float("nan")])
    for step, values in ((4, nan), (4, torch.ones(2)), (4, nan), (5, nan), (7, nan), (7, nan)):
        guard.step = step
        assert guard.verdict(values) is bool(values.isnan().any())
    assert guard.skipped == (3, 1, 7)


# ---------------------------------------------------------------------------------------------------------------------
# Without divergence, and deferred
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_finite_runs_are_the_same_bit_for_bit_with_and_without_the_guard(optimiser, tiny_plan, tmp_path, monkeypatch):
    settings = (*STEPS, f'optimiser.default.name="{optimiser}"', *OPTIMISERS[optimiser])
    plan = tiny_plan("A+B+C", *settings)
    made(plan, tmp_path / "host").run()
    made(plan, tmp_path / "device", deferred=True).run()
    run_phase = trainer_module.run_phase
    monkeypatch.setattr(trainer_module, "run_phase", lambda *arguments: run_phase(*arguments[:-1]))
    made(plan, tmp_path / "without").run()
    for name in ("host", "device"):
        assert_same(weights(tmp_path / name), weights(tmp_path / "without"))
        assert records(tmp_path / name) == records(tmp_path / "without")


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_verdict_on_the_device_freezes_the_weights_until_it_is_read(optimiser, tiny_plan, tmp_path):
    settings = (*STEPS, f'optimiser.default.name="{optimiser}"', *OPTIMISERS[optimiser])
    trainer = made(tiny_plan("A+B+C", *settings), tmp_path, bad=(3,), deferred=True)
    trainer.prepare()
    for _ in range(3):
        trainer.one_step()
    trainer.others.clear()  # of step 3, the last phase alone
    trainer.whole = trainer.whole[-1:]
    before = {name: each.clone() for name, each in trainer.model.state_dict().items()}
    for _ in range(3):
        trainer.one_step()
    assert_same(before, trainer.model.state_dict())
    trainer.step = 3  # where the sabotage looks
    with pytest.raises(NotFinite, match=r"step 3, phase '\w+': the loss of '\w+' is not finite. First was the loss of"):
        trainer.check()


@pytest.mark.parametrize("deferred", [False, True])
def test_a_closed_form_update_is_left_out_too(deferred):
    guard = Guard(torch.device("cpu"), skip=True, deferred=deferred)
    tensor = torch.ones(3)
    for value, expected in ((float("nan"), 1.0), (1.0, 2.0)):
        left_out = guard.verdict(torch.tensor([value]))
        guard.update(lambda: tensor.fill_(2.0), left_out, {"tensor": tensor})
        assert torch.equal(tensor, torch.full((3,), expected))
