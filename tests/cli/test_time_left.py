"""The estimate of the time left counts only what is still to be done."""

from __future__ import annotations

import io
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from genprior.cli import progress
from genprior.cli.progress import Bars, Watcher
from genprior.runs.jobs import Job

from .conftest import TINY

STEPS = 4


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = types.SimpleNamespace(time=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.time)
    return now


@pytest.fixture
def jobs(tmp_path):
    from genprior.recipe.load import load_recipe

    (tmp_path / "tiny.toml").write_text(TINY, encoding="utf-8")
    plan = load_recipe(tmp_path / "tiny.toml").plans[0]
    return [Job(plan, seed, tmp_path / f"seed-{seed}") for seed in range(3)]


def test_failed_runs_take_no_more_time(clock, jobs):
    """One step of the first run in 2 s, so 3 steps of it and 4 of the second one are left: 14 s."""
    seen = Watcher(Console(quiet=True))
    seen.planned(jobs)
    seen.progress(jobs[0], 0, 0.0)
    seen.failed(jobs[2], ValueError("no"))
    clock.time += 2
    seen.progress(jobs[0], 1, 4.0)
    assert seen.seconds_left() == 14
    seen.failed(jobs[1], ValueError("no"))
    assert seen.seconds_left() == 6
    seen.failed(jobs[0], ValueError("no"))
    assert seen.seconds_left() == 0


def test_bars_write_the_table_when_all_runs_have_ended(clock, jobs):
    bars = Bars(Console(file=io.StringIO(), force_terminal=True, width=120))
    bars.planned(jobs)
    for job in jobs:
        bars.progress(job, 0, 0.0)
        clock.time += 2
        bars.progress(job, 1, 4.0)
        bars.failed(job, ValueError("no"))
    (task,) = bars._bars.tasks
    assert (task.completed, task.total) == (3, 3)
    assert bars._bars.columns[-1].render(task).plain == "writing the table"
    bars.close()


@given(
    st.lists(st.tuples(st.integers(0, STEPS), st.sampled_from(["runs", "failed", "finished"])), min_size=3, max_size=3)
)
def test_the_time_left_is_that_of_the_steps_of_running_jobs(outcomes):
    plan = types.SimpleNamespace(own_run=types.SimpleNamespace(steps=STEPS))
    seen = Watcher(Console(quiet=True))
    seen.jobs = [types.SimpleNamespace(folder=str(place), plan=plan) for place in range(3)]
    seen._start -= 10.0
    left = done = 0
    for job, (step, outcome) in zip(seen.jobs, outcomes, strict=True):
        seen.steps[job.folder] = STEPS if outcome == "finished" else step
        seen.failures += [(job, ValueError("no"))] if outcome == "failed" else []
        left += STEPS - step if outcome == "runs" else 0
        done += seen.steps[job.folder]
    shown = seen.seconds_left()
    assert shown is None if not done else shown == pytest.approx(left * 10 / done, rel=0.05)


def test_all_runs_take_no_less_than_one_of_them(clock, jobs):
    """Of the last run 3 steps are left; at 1 image/s they take longer than its share of all steps so far."""
    seen = Watcher(Console(quiet=True))
    seen.planned(jobs)
    seen.progress(jobs[0], 0, 0.0)
    clock.time += 2
    for job in jobs[:2]:
        seen.progress(job, STEPS, 100.0)
        seen.finished(job, {})
    seen.progress(jobs[2], 1, 1.0)
    run = jobs[2].plan.own_run
    assert seen.seconds_left() == (run.steps - 1) * run.batch
    seen.failed(jobs[2], ValueError("no"))
    assert seen.seconds_left() == 0
