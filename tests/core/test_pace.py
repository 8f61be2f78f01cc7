"""Training says before it starts about how long it is going to take: from timed steps, the jobs and the workers."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import types

import pytest
import torch

import genprior
from genprior.cli.expected_time import duration, expected
from genprior.launch import pace
from genprior.launch import train as launch_train
from genprior.launch.pace import Estimate, Pace, Timer, estimate
from genprior.launch.preflight import preflight
from genprior.launch.reporter import Reporter
from genprior.launch.train import train
from genprior.runs.jobs import jobs_of
from genprior.runs.trainer import Trainer

CPU = torch.device("cpu")


class Clock:
    """Time that passes only in steps: as many seconds a step as a trainer's batch has images, over 1,000."""

    def __init__(self, monkeypatch, factor=1e-3):
        self.time, self.steps = 0.0, []
        real = Trainer.one_step

        def one_step(trainer):
            real(trainer)
            self.time += factor * trainer.plan.run.batch
            self.steps.append((trainer.plan.label, trainer.plan.run.batch, trainer.step))

        monkeypatch.setattr(Timer, "now", lambda timer: self.time)
        monkeypatch.setattr(Trainer, "one_step", one_step)


def test_a_light_row_is_timed_with_its_whole_batch_after_a_first_step(tiny, monkeypatch):
    clock = Clock(monkeypatch)
    paces = preflight(genprior.load_recipe(tiny, settings=["run.batch=50"]), "cpu", timed=True)
    assert [each.plan.label for each in paces] == ["AAE", "A+B+C"]
    assert [each.seconds for each in paces] == pytest.approx([0.05, 0.05])
    assert [step for label, batch, step in clock.steps if label == "AAE" and batch == 50] == [1, 2, 3]


def test_a_heavy_row_is_not_timed_again_but_scaled_to_its_batch(tiny, monkeypatch):
    clock = Clock(monkeypatch, factor=0.1)
    paces = preflight(genprior.load_recipe(tiny, rows=["AAE"], settings=["run.batch=60"]), "cpu", timed=True)
    assert paces[0].seconds == pytest.approx(6.0)
    assert [batch for _, batch, _ in clock.steps] == [12]


def test_a_row_whose_steps_cost_the_same_whatever_their_images_is_not_scaled(tiny, monkeypatch):
    """At 40 ms for 12 images, 200 would take 0.67 s in proportion; a whole batch takes 80 ms."""
    clock = Clock(monkeypatch)
    real = Trainer.one_step

    def one_step(trainer):
        before = clock.time
        real(trainer)
        clock.time = before + (0.04 if trainer.plan.run.batch == 12 else 0.08)

    monkeypatch.setattr(Trainer, "one_step", one_step)
    paces = preflight(genprior.load_recipe(tiny, rows=["AAE"], settings=["run.batch=200"]), "cpu", timed=True)
    assert paces[0].seconds == pytest.approx(0.08)


def test_on_a_gpu_a_whole_batch_is_timed_after_a_first_step_that_took_seconds(tiny, monkeypatch):
    """There a step costs its launches, and the first one the start of CUDA: neither is proportional to the images."""
    clock = Clock(monkeypatch)
    real, seconds = Trainer.one_step, iter([3.0])

    def one_step(trainer):
        before = clock.time
        real(trainer)
        clock.time = before + next(seconds, 0.02)

    monkeypatch.setattr(Trainer, "one_step", one_step)
    on_gpu = types.SimpleNamespace(device=torch.device("cuda"), now=lambda: clock.time)
    monkeypatch.setattr(pace, "Timer", lambda device: on_gpu)
    paces = preflight(genprior.load_recipe(tiny, rows=["AAE"], settings=["run.batch=60"]), "cpu", timed=True)
    assert paces[0].seconds == pytest.approx(0.02)
    assert [batch for _, batch, _ in clock.steps][:2] == [12, 60]


def test_phases_that_are_due_at_some_steps_are_timed_over_their_period(tiny, monkeypatch):
    """With phases that are due at every third step, three steps are timed after the first one."""
    clock = Clock(monkeypatch)
    real = pace.math.lcm
    monkeypatch.setattr(pace.math, "lcm", lambda *every: real(3, *every))
    monkeypatch.setattr(pace, "BUDGET", 0.0)
    preflight(genprior.load_recipe(tiny, rows=["AAE"], settings=["run.batch=30"]), "cpu", timed=True)
    assert [step for _, batch, step in clock.steps if batch == 30] == [1, 2, 3, 4]


@pytest.mark.parametrize(("graphs", "expected"), [(None, 0.1), (types.SimpleNamespace(eager_steps=3), 1e-3)])
def test_steps_before_and_at_the_capture_of_a_graph_are_not_timed(graphs, expected, monkeypatch):
    """Of two kinds of steps, due in turn, each is slow until its fourth step, at which it is captured."""
    clock = types.SimpleNamespace(time=0.0, step=0)

    def one_step():
        clock.step += 1
        clock.time += 0.1 if clock.step <= 2 * 4 else 1e-3

    phases = [types.SimpleNamespace(every=every) for every in (1, 2)]
    monkeypatch.setattr(Timer, "now", lambda timer: clock.time)
    trainer = types.SimpleNamespace(one_step=one_step, phases=phases, graphs=graphs)
    assert pace._mean_step(trainer, Timer(CPU)) == pytest.approx(expected)


def test_a_check_whose_paces_nobody_asks_for_takes_one_step(tiny, monkeypatch):
    clock = Clock(monkeypatch)
    assert preflight(genprior.load_recipe(tiny, settings=["run.batch=50"]), "cpu") == []
    assert {batch for _, batch, _ in clock.steps} == {12}


def test_a_training_on_other_machines_is_not_timed_here(tiny, tmp_path, monkeypatch):
    asked = []

    def checked(recipe, device, *, timed):
        asked.append(timed)
        raise genprior.RecipeError("enough")

    class Launcher:
        name = "far"

    monkeypatch.setattr(launch_train, "preflight", checked)
    monkeypatch.setattr(launch_train, "opened", lambda on, device: contextlib.nullcontext())
    for on in (None, Launcher()):
        with pytest.raises(genprior.RecipeError, match="enough"):
            train(genprior.load_recipe(tiny), out=tmp_path / "out", device="cpu", on=on)
    assert asked == [True, False]


def test_a_row_whose_later_steps_fail_is_not_timed_and_passes(tiny, monkeypatch):
    real = Trainer.one_step

    def one_step(trainer):
        if trainer.step:
            raise RuntimeError("no second step")
        real(trainer)

    monkeypatch.setattr(Trainer, "one_step", one_step)
    paces = preflight(genprior.load_recipe(tiny, rows=["AAE"]), "cpu", timed=True)
    assert [each.seconds for each in paces] == [None]


@pytest.fixture
def recipe(tiny):
    """Two rows under three seeds."""
    return genprior.load_recipe(tiny, seeds=[0, 1, 2])


def paces_of(recipe, *seconds):
    return [Pace(plan, s, CPU, "float32", 0.5) for plan, s in zip(recipe.plans, seconds, strict=True)]


@pytest.mark.parametrize(("workers", "whole"), [(1, 6 * 3 * (1 + 2)), (2, 6 * 5), (6, 6 * 2)])
def test_the_time_is_that_of_rows_times_seeds_times_steps_over_the_workers(recipe, tmp_path, workers, whole):
    """Six jobs of six steps of 1 s and 2 s, in the order of the recipe; each goes to the worker that is free first."""
    took = estimate(jobs_of(recipe, tmp_path), paces_of(recipe, 1.0, 2.0), workers)
    assert took.seconds == whole
    assert took.side_by_side == workers


def test_steps_that_are_done_do_not_count(recipe, tmp_path):
    jobs = jobs_of(recipe, tmp_path)
    Trainer(jobs[0].plan, jobs[0].seed, jobs[0].folder, device="cpu").run(until=3)
    assert estimate(jobs, paces_of(recipe, 1.0, 2.0), 1).seconds == 6 * 3 * 3 - 3


def test_rows_that_could_not_be_timed_are_named(recipe, tmp_path):
    took = estimate(jobs_of(recipe, tmp_path), paces_of(recipe, None, 2.0), 1)
    assert (took.seconds, took.untimed) == (36, ("AAE",))
    assert "without row AAE, not timed" in expected(took)
    assert estimate(jobs_of(recipe, tmp_path), paces_of(recipe, None, None), 1) is None
    assert estimate(jobs_of(recipe, tmp_path), (), 1) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (89, "89 s"),
        (91, "2 min"),
        (3_590, "60 min"),
        (7_300, "2 h"),
        (12_000, "3 h 20 min"),
        (4e5, "5 days"),
    ],
)
def test_a_duration_is_as_rough_as_the_estimate(seconds, text):
    assert duration(seconds) == text


def test_the_line_names_the_machine_the_rows_side_by_side_and_the_precision():
    took = Estimate(372.0, (), 2, "AMD EPYC", (("bfloat16", 1.234),))
    assert expected(took) == (
        "training takes about 6 min here, as timed on AMD EPYC, 2 runs side by side; scoring is not included. "
        "Precision: bf16 (bf16 was measured 1.23 times as fast as fp32)"
    )
    stated = dataclasses.replace(took, side_by_side=1, precisions=(("float32", None),))
    assert expected(stated).endswith("as timed on AMD EPYC; scoring is not included. Precision: fp32")


def test_train_reports_the_time_before_the_first_step(tiny, tmp_path, no_curves):
    told = []

    class Told(Reporter):
        def planned(self, jobs):
            told.append("planned")

        def estimated(self, estimate):
            told.append(estimate)

        def progress(self, job, step, rate):
            told.append("step")

    recipe = genprior.load_recipe(tiny, rows=["AAE"])
    train(recipe, out=tmp_path / "out", device="cpu", reporter=Told())
    assert told[0] == "planned"
    assert isinstance(told[1], Estimate)
    assert told[2] == "step"
    told.clear()
    train(recipe, out=tmp_path / "out", device="cpu", reporter=Told())
    assert told[1] is None, "nothing is left to train"


@pytest.mark.parametrize("command", ["train", "check"])
def test_the_commands_print_it(command, tiny, tmp_path, call, no_curves, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call(command, tiny, "--rows", "AAE", *(["--jobs", "1"] if command == "train" else []))
    assert done.exit_code == 0, done.output
    assert re.search(
        r"training takes about \d+ s here, as timed on .+; scoring is not included\. Precision: ", done.output
    )


def test_check_takes_the_seeds_of_the_training(tiny, call, monkeypatch):
    seeds = []
    monkeypatch.setattr("genprior.launch.pace.estimate", lambda jobs, *_: seeds.extend(job.seed for job in jobs))
    assert call("check", tiny, "--rows", "AAE", "--seeds", "3,5").exit_code == 0
    assert seeds == [3, 5]
