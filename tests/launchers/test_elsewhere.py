"""Rows on other machines: the same runs as here, and what is lost, refused or stopped fails its row alone."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import tomllib
from pathlib import Path

import pytest
from safetensors.torch import load_file

import genprior
from genprior.errors import GenpriorWarning, Interrupted, LaunchError, PartFailed, RecipeError
from genprior.launch import elsewhere, sent, tasks
from genprior.launch import train as launch_train
from genprior.launch.reporter import Reporter

from ..conftest import TINY
from .launcher import Threads

pytestmark = [
    pytest.mark.usefixtures("no_curves"),
    pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="signals of POSIX"),
]


class Heard(Reporter):
    def __init__(self):
        self.events = []

    def progress(self, job, step, rate):
        self.events.append(("progress", job.name))

    def finished(self, job, scores):
        self.events.append(("finished", job.name))

    def failed(self, job, error):
        self.events.append(("failed", job.name, type(error)))

    def stopping(self):
        self.events.append(("stopping",))

    def ends(self):
        return [each for each in self.events if each[0] != "progress"]


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    """No waiting for a network file system, and progress at every step."""
    monkeypatch.setattr(elsewhere, "GRACE", 0.3)
    monkeypatch.setattr(elsewhere, "EVERY", 0.02)
    monkeypatch.setattr(tasks, "EVERY", 0.0)


def weights(folder: Path):
    return load_file(sorted(folder.glob("checkpoints/*.safetensors"))[-1])


def test_rows_elsewhere_are_the_rows_here(tiny, tmp_path):
    recipe = genprior.load_recipe(tiny, seeds=[0, 1])
    heard, launcher = Heard(), Threads()
    table = genprior.train(recipe, out=tmp_path / "there", on=launcher, jobs=1, device="cpu", reporter=heard)
    genprior.train(recipe, out=tmp_path / "here")
    names = ["AAE seed 0", "A+B+C seed 0", "AAE seed 1", "A+B+C seed 1"]
    assert launcher.calls == ["open cpu", *(f"start {name}" for name in names), "close"]
    assert heard.ends() == [("finished", name) for name in names]
    assert {name for kind, name in heard.events if kind == "progress"} == set(names)
    assert [(row.label, row.seeds) for row in table.rows] == [("AAE", (0, 1)), ("A+B+C", (0, 1))]
    for label in ("AAE", "A+B+C"):
        for seed in (0, 1):
            there, here = (weights(tmp_path / each / label / f"seed-{seed}") for each in ("there", "here"))
            assert all((there[key] == here[key]).all() for key in here)
    assert not (tmp_path / "there" / elsewhere.TASKS).exists()


@pytest.mark.parametrize(("jobs", "limit"), [("auto", None), (None, None), (3, 3)])
def test_the_scheduler_decides_how_many_rows_train_at_a_time_unless_a_number_is_given(
    tiny, tmp_path, monkeypatch, jobs, limit
):
    limits = []
    monkeypatch.setattr(launch_train, "elsewhere", lambda jobs, limit, *rest, **more: limits.append(limit) or [])
    genprior.train(genprior.load_recipe(tiny), out=tmp_path / "runs", on=Threads(), jobs=jobs, device="cpu")
    assert limits == [limit]


def test_first_stages_come_before_the_rows_that_build_on_them(fitted_recipe, tmp_path):
    launcher = Threads()
    genprior.train(fitted_recipe, out=tmp_path / "runs", on=launcher, reporter=Heard())
    first, *others = (each for each in launcher.calls if each.startswith("start"))
    assert first == "start first stage" and sorted(others) == ["start one", "start two"]
    assert [run.finished for run in map(genprior.load_run, sorted((tmp_path / "runs").glob("*/seed-0")))] == [True] * 2


@pytest.fixture
def fitted_recipe():
    """Two rows whose priors are fitted to the codes of one first stage."""
    head = TINY.partition("[change.A.model]")[0]
    row = (
        '[change.{0}]\nmodel.fitted_prior = {{ name = "gaussian_mixture", components = {1} }}\n'
        '[[row]]\nlabel = "{0}"\nchanges = ["{0}"]\n'
    )
    return genprior.make_recipe(tomllib.loads(head + row.format("one", 1) + row.format("two", 2)), name="fitted")


def test_a_lost_task_fails_its_row_alone_and_keeps_its_files(tiny, tmp_path):
    heard, launcher = Heard(), Threads(lost=["AAE"])
    with pytest.raises(LaunchError) as caught:
        genprior.train(genprior.load_recipe(tiny), out=tmp_path / "runs", on=launcher, jobs=1, reporter=heard)
    assert heard.ends() == [("failed", "AAE", LaunchError), ("finished", "A+B+C")]
    text, folder = str(caught.value).rsplit(" ", 1)
    assert text == (
        "row 'AAE': its task was killed (out of memory); give the same command again to resume it. Its files are in"
    )
    assert caught.value.exit_code == 1
    assert json.loads(Path(folder, "task.json").read_text())["folder"].endswith("AAE/seed-0")
    read = json.loads((tmp_path / "runs" / "table.json").read_text())
    assert [row["label"] for row in read["rows"]] == ["A+B+C"]


def test_a_task_that_begins_again_says_so(tiny, tmp_path):
    launcher, heard = Threads(repeated=["AAE"]), Heard()
    with pytest.warns(GenpriorWarning, match="row 'AAE': its task was lost, and resumes on another$"):
        genprior.train(genprior.load_recipe(tiny), rows=["AAE"], out=tmp_path / "runs", on=launcher, reporter=heard)
    assert heard.ends() == [("finished", "AAE")]


def test_errors_keep_their_class_and_name_their_row(tiny, tmp_path, monkeypatch):
    run = sent.trainer_of

    def sabotaged(job, **options):
        if job.plan.label == "AAE":
            raise ZeroDivisionError("a plugin's bug")
        return run(job, **options)

    monkeypatch.setattr(sent, "trainer_of", sabotaged)
    heard = Heard()
    with pytest.raises(genprior.GenpriorError, match="^ZeroDivisionError: a plugin's bug$") as caught:
        genprior.train(genprior.load_recipe(tiny), out=tmp_path / "runs", on=Threads(), jobs=1, reporter=heard)
    assert caught.value.exit_code == 1 and "in sabotaged" in str(caught.value.__cause__)
    assert [each[:2] for each in heard.ends()] == [("failed", "AAE"), ("finished", "A+B+C")]


def test_ctrl_c_stops_what_runs_and_cancels_what_waits(tiny, tmp_path):
    recipe = genprior.load_recipe(tiny, settings=["run.steps=100_000", "run.checkpoint_every=100_000"])
    launcher = Threads(queued=["A+B+C"])

    class Stopping(Heard):
        def progress(self, job, step, rate):
            if not self.events:
                os.kill(os.getpid(), signal.SIGINT)
            super().progress(job, step, rate)

    heard = Stopping()
    with pytest.raises(Interrupted, match="row 'AAE' stopped after [0-9]+ of 100000 steps"):
        genprior.train(recipe, out=tmp_path / "runs", on=launcher, reporter=heard)
    assert heard.ends() == [("stopping",)]
    assert launcher.tasks["A+B+C"].cancelled and not launcher.tasks["AAE"].cancelled
    assert genprior.load_run(tmp_path / "runs" / "AAE" / "seed-0").step > 0
    assert not (tmp_path / "runs" / "A+B+C").exists() and not (tmp_path / "runs" / elsewhere.TASKS).exists()


def test_a_scheduler_that_does_not_answer_leaves_nothing(tiny, tmp_path):
    launcher = Threads(Threads.Settings(address="10.0.0.1:6379"))
    with pytest.raises(LaunchError, match="10.0.0.1:6379 does not answer"):
        genprior.train(genprior.load_recipe(tiny), out=tmp_path / "runs", on=launcher, reporter=Heard())
    assert not (tmp_path / "runs").exists()


def test_a_first_task_that_is_refused_leaves_nothing_and_a_later_one_fails_alone(tiny, tmp_path):
    recipe = genprior.load_recipe(tiny)
    launcher = Threads(refused=["AAE", "A+B+C"])
    with pytest.raises(LaunchError, match="no such partition"):
        genprior.train(recipe, out=tmp_path / "runs", on=launcher, reporter=Heard())
    assert not (tmp_path / "runs").exists() and launcher.calls == ["open auto", "close"]
    heard = Heard()
    with pytest.raises(LaunchError, match="no such partition"):
        genprior.train(recipe, out=tmp_path / "runs", on=Threads(refused=["A+B+C"]), reporter=heard)
    assert heard.ends() == [("failed", "A+B+C", LaunchError), ("finished", "AAE")]


def test_what_a_launcher_raises_names_it(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(Threads, "start", lambda *_: {}["partition"])
    with pytest.raises(PartFailed, match="launcher 'threads' raised KeyError: 'partition'"):
        genprior.train(genprior.load_recipe(tiny), out=tmp_path / "runs", on=Threads(), reporter=Heard())


@pytest.mark.usefixtures("clean_session")
def test_parts_of_this_process_are_refused(tiny, tmp_path):
    class Local(genprior.Prior):
        name = "local_prior"

        def sample(self, asked):
            raise NotImplementedError

    genprior.register(Local)
    plan = genprior.load_recipe(tiny, settings=['model.prior={name="local_prior"}'], rows=["AAE"])
    text = (
        "rows cannot be trained in processes of launcher 'threads', because only this one has prior 'local_prior'; "
        "train them here, without `on`"
    )
    with pytest.raises(RecipeError, match=text):
        genprior.train(plan, out=tmp_path / "runs", on=Threads(), reporter=Heard())


# ---------------------------------------------------------------------------------------------------------------------
# A task
# ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def task(tiny_plan, tmp_path):
    """The folder of a task that has not been run."""
    from genprior.runs.jobs import Job

    files = tasks.TaskFolder(tmp_path / "task")
    job = Job(tiny_plan("AAE"), 0, tmp_path / "run")
    files.create(job, device="cpu", threads=1, last_good=False)
    return files


def test_a_machine_without_the_folder_says_that_it_must_be_shared(tmp_path):
    with pytest.raises(LaunchError, match="must be on a file system that all machines share, under the same path"):
        genprior.run_task(tmp_path / "none")


def test_a_task_that_a_queue_stops_tells_nothing_and_resumes(task, tmp_path):
    steps = iter([False, False, True])
    genprior.run_task(task.path, stop=lambda: next(steps))
    begun, *others = (message["kind"] for message in task.messages())
    assert begun == "begun" and set(others) == {"progress"}
    assert 0 < genprior.load_run(tmp_path / "run").step < 6
    genprior.run_task(task.path)
    *_, last = task.messages()
    assert last == {"kind": "finished", "scores": {}}


def test_a_task_whose_folder_was_removed_stops(task, tmp_path):
    import shutil

    def remove():
        time.sleep(0.05)
        shutil.rmtree(task.path)

    remover = threading.Thread(target=remove)
    told = task.task()
    (task.path / "task.json").write_text(
        json.dumps({**told, "plan": told["plan"].replace("steps = 6", "steps = 100000", 1)})
    )
    remover.start()
    with pytest.raises(FileNotFoundError):
        genprior.run_task(task.path)
    remover.join()
