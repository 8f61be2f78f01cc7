"""A report of a check names a line of the part's own package, and not of genprior or a library."""

from __future__ import annotations

import inspect

import pytest
import torch

from genprior import DataInfo, Model, Objectives, Phase, Prior, Sizes
from genprior.testing import ContractError, check_model, check_prior

from .right_parts import Shifted


class Library(Prior):
    """A prior that gives a library what it refuses."""

    name = "library"

    def sample(self, asked):
        return torch.nn.functional.one_hot(torch.tensor([-1]), 2)


def test_the_line_that_called_a_library_is_named():
    with pytest.raises(ContractError) as caught:
        check_prior(Library)
    lines, first = inspect.getsourcelines(Library.sample)
    assert f"look at {__file__}:{first + 1}, in sample: {lines[1].strip()}" in str(caught.value)


class Unmoved(Model):
    """A model whose loss does not depend on the module that it moves."""

    name = "unmoved"

    def __init__(self, config, info, build):
        super().__init__(config)
        self.prior = build("prior", Shifted.Config(), Sizes(info.image, 2, 0, 0))

    def phases(self):
        return (Phase("only", self.only),)

    def only(self, batch):
        return Objectives({"prior": batch.x.square().mean()})

    def generate(self, condition):
        return torch.zeros(len(condition.asked), 1, 8, 8)


def test_what_genprior_refuses_names_the_class_of_the_part():
    with pytest.raises(ContractError) as caught:
        check_model(Unmoved.Config(), DataInfo((1, 8, 8), ("a", "b")))
    text = str(caught.value)
    assert "phase 'only' moves 'prior', but its loss does not depend on its parameters" in text
    assert f"look at what the methods of Unmoved return, at {__file__}:{inspect.getsourcelines(Unmoved)[1]}" in text
    assert "genprior/engine/step.py" not in text
