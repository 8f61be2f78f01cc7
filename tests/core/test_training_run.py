"""A trainer is what hooks are promised, `genprior.TrainingRun`: mypy says so of the types, and this of the objects."""

from __future__ import annotations

import inspect

import genprior
from genprior.runs.trainer import Trainer


def test_a_trainer_has_all_that_a_hook_may_see(tiny_plan, tmp_path):
    promised = genprior.TrainingRun
    attributes = set(inspect.get_annotations(promised))
    methods = {name for name, each in vars(promised).items() if inspect.isfunction(each) and not name.startswith("_")}
    assert attributes == {"plan", "seed", "folder", "step", "metrics", "model"}
    assert methods == {"images", "sample", "trained"}
    trainer = Trainer(tiny_plan("AAE"), 0, tmp_path)
    trainer.prepare()
    assert [name for name in sorted(attributes) if not hasattr(trainer, name)] == []
    for name in methods:
        mine, theirs = inspect.signature(getattr(Trainer, name)), inspect.signature(getattr(promised, name))
        assert mine.parameters.keys() == theirs.parameters.keys()
        assert [each.kind for each in mine.parameters.values()] == [each.kind for each in theirs.parameters.values()]
        assert [each.default for each in mine.parameters.values()] == [
            each.default for each in theirs.parameters.values()
        ]


def test_hooks_hear_of_the_trainer_as_a_training_run():
    for hook in ("genprior_run_started", "genprior_step_done", "genprior_run_finished"):
        specification = inspect.signature(getattr(genprior.hookspecs, hook))
        assert specification.parameters["trainer"].annotation == "TrainingRun"
