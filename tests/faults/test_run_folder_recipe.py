"""Whose run a folder holds: recipes of older versions, with settings that have gone since, are still the same run."""

from __future__ import annotations

import json

import pytest
from rich.console import Console
from safetensors.torch import load_file
from typer.testing import CliRunner

import genprior
from genprior.cli.app import app
from genprior.cli.progress import Watcher
from genprior.errors import CheckpointError, RunError
from genprior.runs.changed_runs import refuse_changed
from genprior.runs.folder import RunFolder
from genprior.runs.jobs import Job
from genprior.runs.trainer import Trainer
from genprior_std.priors.gaussian import Gaussian


@pytest.fixture
def plan(tiny_plan, monkeypatch):
    """A plan of a version in which the Gaussian has lost its setting `spread`, which is 2 for good."""
    monkeypatch.setattr(Gaussian.Config, "retired", {"spread": 2.0})
    return tiny_plan("AAE", "run.checkpoint_every=3")


def as_of_before(folder, spread):
    """Write into a run's recipe that `spread` was set, as every recipe of the older version says it."""
    path = folder / "recipe.toml"
    text = path.read_text()
    assert text.count("[model.prior]\n") == 1
    path.write_text(text.replace("[model.prior]\n", f"[model.prior]\nspread = {spread}\n"))
    return folder


def newest(folder):
    return load_file(RunFolder(folder).newest_checkpoint)


def test_an_unfinished_run_with_a_retired_setting_resumes_to_the_same_weights(plan, tmp_path):
    Trainer(plan, 0, tmp_path / "whole").run()
    Trainer(plan, 0, tmp_path / "old").run(until=3)
    as_of_before(tmp_path / "old", 2.0)
    assert RunFolder(tmp_path / "old").checkpoint_step == 3
    trainer = Trainer(plan, 0, tmp_path / "old")
    trainer.run()
    whole, old = newest(tmp_path / "whole"), newest(tmp_path / "old")
    assert whole.keys() == old.keys() and all((whole[name] == old[name]).all() for name in whole)
    assert "spread" not in (tmp_path / "old" / "recipe.toml").read_text()


def test_a_finished_run_with_a_retired_setting_is_finished_loaded_and_not_trained_again(plan, tmp_path, monkeypatch):
    folder = tmp_path / "AAE" / "seed-0"
    Trainer(plan, 0, folder).run()
    as_of_before(folder, 2.0)
    files = RunFolder(folder)
    assert files.differences(plan) == [] and files.finished(plan)
    assert files.plan().as_table() == plan.as_table()
    assert genprior.load_run(folder).sample(3).shape == (3, 1, 8, 8)
    monkeypatch.setattr(Trainer, "one_step", lambda self: pytest.fail("trained again"))
    assert Trainer(plan, 0, folder).run() == {}
    seen = Watcher(Console(quiet=True))
    seen.planned([Job(plan, 0, folder)])
    assert seen.steps == {str(folder): 6} and seen.seconds_left() is None


def test_a_run_whose_retired_setting_had_another_value_is_refused_with_the_line(plan, tmp_path):
    folder = tmp_path / "AAE" / "seed-0"
    Trainer(plan, 0, folder).run(until=3)
    as_of_before(folder, 3.0)
    line = "model.prior.spread: was 3.0, is 'absent'"
    assert RunFolder(folder).differences(plan) == [line]
    with pytest.raises(RunError, match=f"holds a run of another recipe:\n  {line}\nNothing was changed"):
        Trainer(plan, 0, folder).run()
    with pytest.raises(RunError, match=rf"holds runs of another recipe:\n  {line} \[row AAE\]\nNothing was changed"):
        refuse_changed([Job(plan, 0, folder)], tmp_path)
    said = r"does not fit the installed parts: model.prior.spread: 'spread' = 3.0, but this setting was removed"
    with pytest.raises(RunError, match=said):
        genprior.load_run(folder)


EVERY_SETTING = """\
[optimiser.default]
name = "adam"
lr = 0.001
betas = [0.5, 0.999]
eps = 1e-08
momentum = {momentum}
weight_decay = 0.0

[optimiser.default.schedule]
name = "constant"
warmup = 0
final = 0.0
factor = {factor}
every = 10000
at = []
factors = []

"""


@pytest.mark.parametrize(("momentum", "factor"), [(0.0, 0.1), (0.9, 0.5)])
def test_a_run_of_before_methods_had_their_own_settings_is_the_same_run(
    tiny_plan, tmp_path, momentum, factor, monkeypatch
):
    """Recipes of run folders held the settings of all optimisers and schedules; those of others had no effect."""
    plan = tiny_plan("AAE", "run.checkpoint_every=3")
    Trainer(plan, 0, tmp_path / "whole").run()
    Trainer(plan, 0, tmp_path / "old").run(until=3)
    path = tmp_path / "old" / "recipe.toml"
    text = path.read_text()
    start, end = text.index("[optimiser.default]"), text.index("[model]")
    assert "momentum" not in text and "factor" not in text
    path.write_text(text[:start] + EVERY_SETTING.format(momentum=momentum, factor=factor) + text[end:])
    files = RunFolder(tmp_path / "old")
    assert files.differences(plan) == [] and files.plan() == plan
    Trainer(plan, 0, tmp_path / "old").run()
    whole, old = newest(tmp_path / "whole"), newest(tmp_path / "old")
    assert whole.keys() == old.keys() and all((whole[name] == old[name]).all() for name in whole)
    path.write_text(text[:start] + EVERY_SETTING.format(momentum=momentum, factor=factor) + text[end:])
    assert files.finished(plan) and genprior.load_run(tmp_path / "old").finished
    monkeypatch.setattr(Trainer, "one_step", lambda self: pytest.fail("trained again"))
    Trainer(plan, 0, tmp_path / "old").run()
    path.write_text(path.read_text().replace('name = "gaussian"', 'name = "gone"'))
    assert files.differences(plan) == ["model.prior.name: was 'gone', is 'gaussian'"]


def test_such_runs_are_shown_and_compared(tiny, tmp_path, monkeypatch):
    def call(*arguments):
        return CliRunner().invoke(app, [str(each) for each in arguments], env={"COLUMNS": "200"})

    monkeypatch.setattr(Gaussian.Config, "retired", {"spread": 2.0})
    scored = ["data.validation=100", 'scores=[{name="parzen",samples=50}]']
    out = tmp_path / "out"
    genprior.train(genprior.load_recipe(tiny, rows=["AAE"], settings=scored), out=out)
    folder = as_of_before(out / "AAE" / "seed-0", 2.0)
    shown = call("show", folder)
    assert shown.exit_code == 0 and "finished" in shown.stdout
    given = [each for setting in scored for each in ("--set", setting)]
    for paths in ([out], [tiny, "--runs", out, *given]):
        result = call("bench", *paths)
        assert result.exit_code == 0, result.output
        assert "AAE" in result.stdout and "cannot be read" not in result.output
    again = call("train", tiny, "--rows", "AAE", *given, "--out", out, "--jobs", 1)
    assert again.exit_code == 0 and "was finished before" in again.output


def test_a_run_of_a_part_that_is_gone_says_which(plan, tmp_path):
    Trainer(plan, 0, tmp_path).run(until=1)
    path = tmp_path / "recipe.toml"
    path.write_text(path.read_text().replace('name = "gaussian"', 'name = "gausian"'))
    with pytest.raises(RunError, match=r"model.prior: there is no prior named 'gausian'; did you mean 'gaussian'\?"):
        RunFolder(tmp_path).plan()
    assert RunFolder(tmp_path).differences(plan) == ["model.prior.name: was 'gausian', is 'gaussian'"]


@pytest.mark.parametrize("size", [10**8, 10**12])
def test_a_recipe_that_was_altered_to_sizes_of_terabytes_is_refused_at_once(plan, tmp_path, size):
    folder = tmp_path / "AAE" / "seed-0"
    Trainer(plan, 0, folder).run(until=3)
    path = folder / "recipe.toml"
    text = path.read_text()
    (line,) = (each for each in text.splitlines() if each.startswith("code_size = "))
    path.write_text(text.replace(line, f"code_size = {size}"))
    match = (
        rf"step-00000003\.safetensors does not fit recipe\.toml, whose model has a tensor of \[.*{size}.*\]: the whole"
    )
    with pytest.raises(CheckpointError, match=match):
        genprior.load_run(folder).sample(2)


def test_a_run_with_other_scores_is_the_same_run_and_not_finished(tiny_plan, plan, tmp_path):
    Trainer(plan, 0, tmp_path).run()
    other = tiny_plan("AAE", 'scores=[{name="parzen"}]', "run.seeds=[0,1]", "run.log_every=1")
    files = RunFolder(tmp_path)
    assert files.differences(other) == [] and not files.finished(other) and files.finished(plan)


def test_a_folder_that_is_empty_or_damaged(plan, tmp_path):
    files = RunFolder(tmp_path / "none")
    assert not files.exists and files.facts() is None and files.recipe() is None and not files.finished(plan)
    assert (files.scores(), files.metrics(), files.cut_metrics(3), files.checkpoint_step) == ({}, [], [], 0)
    assert files.differences(plan) == [] and files.newest_checkpoint is None and files.read_checkpoint() is None
    files.claim(plan)
    with pytest.raises(RunError, match="none is not a run folder: it holds no recipe.toml"):
        files.plan()
    with pytest.raises(RunError, match="is not a run folder .* There are no runs below it"):
        genprior.load_run(tmp_path / "none")
    Trainer(plan, 0, tmp_path / "run").run()
    damaged = RunFolder(tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run.json is damaged \(Expecting property name"):
        damaged.facts()
    assert damaged.exists and not damaged.finished(plan)
    facts = {"label": "AAE", "seed": 0, "finished": True, "step": 2, "seconds": 1.0}
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts))
    (tmp_path / "run" / "recipe.toml").write_text("[run\n")
    assert not damaged.finished(plan)
    with pytest.raises(RunError, match="recipe.toml is damaged"):
        damaged.claim(plan)


def test_trainers_of_one_data_set_share_what_they_read(tiny_plan, tmp_path):
    splits = {}
    first, second = (Trainer(tiny_plan(label), 0, tmp_path / label, splits=splits) for label in ("AAE", "A+B+C"))
    assert first.images("train") is second.images("train") is splits["train"]
    alone = Trainer(tiny_plan("AAE"), 0, tmp_path / "alone")
    assert alone.images("train") is not splits["train"]
