"""Modules whose tensors are looked up once: the same tensors, in every step, without a further walk."""

from __future__ import annotations

from unittest import mock

import torch
from torch import nn

from genprior.engine.known_modules import KnownModules, known
from genprior.runs.trainer import Trainer

WALKS = ("named_modules", "_named_members")


def block():
    normalised = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2))
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), normalised)


def test_parameters_and_statistics_are_those_of_the_module():
    module = block()
    modules = KnownModules({"encoder": module})
    assert list(map(id, modules.parameters_of("encoder"))) == list(map(id, module.parameters()))
    norm, spectral = module[1], module[2].parametrizations.weight
    expected = [norm.running_mean, norm.running_var, norm.num_batches_tracked, *spectral.buffers()]
    assert list(map(id, modules.statistics_of("encoder"))) == list(map(id, expected))


def test_a_parameter_that_is_frozen_later_is_left_out_and_comes_back():
    module = block()
    modules = KnownModules({"encoder": module})
    all_of_them = len(modules.parameters_of("encoder"))
    module[0].weight.requires_grad_(False)
    assert len(modules.parameters_of("encoder")) == all_of_them - 1
    module[0].weight.requires_grad_(True)
    assert len(modules.parameters_of("encoder")) == all_of_them


def test_known_keeps_what_is_known():
    modules = KnownModules({"encoder": block()})
    assert known(modules) is modules
    assert known(dict(modules)) is not modules
    assert known(dict(modules)) == modules


def test_later_steps_of_a_training_walk_through_no_module(tiny_plan, tmp_path):
    trainer = Trainer(tiny_plan("AAE"), 0, tmp_path / "run", device="cpu")
    trainer.prepare()
    trainer.model.train()
    trainer.one_step()
    before = {name: each.clone() for name, each in trainer.model.named_parameters()}
    walks = (
        mock.patch.object(nn.Module, name, side_effect=AssertionError) for name in ("named_modules", "_named_members")
    )
    with next(walks), next(walks):
        trainer.one_step()
    assert any(not torch.equal(before[name], each) for name, each in trainer.model.named_parameters())
