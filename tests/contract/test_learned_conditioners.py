"""What `check_conditioner` says of parameters: a learned condition, one that is cut off, and one that is not used."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from genprior import Condition, Conditioner, Widths
from genprior.testing import ContractError, check_conditioner


def learned(embed, **more):
    """A conditioner with a learned vector for each class; `embed` computes the condition from its table and labels."""

    def build(self, config, sizes):
        Conditioner.__init__(self, config, sizes)
        self.vectors = nn.Embedding(3, 2)

    def forward(self, batch):
        known = embed(self.vectors, batch.y).to(batch.x.dtype)
        return Condition(known=known, asked=known)

    def draw(self, like):
        known = self.vectors(torch.randint(3, (len(like),), device=like.device)).to(like.dtype)
        return Condition(known=known, asked=known)

    body = {
        "name": "learned_vectors",
        "widths": classmethod(lambda cls, config, info: Widths(known=2, asked=2)),
        "__init__": build,
        "forward": forward,
        "draw": draw,
    }
    return type("LearnedVectors", (Conditioner,), {**body, **more})


def failures(part):
    with pytest.raises(ContractError) as caught:
        check_conditioner(part)
    return caught.value.failures


def test_a_learned_condition_needs_no_consistency():
    check_conditioner(learned(lambda vectors, y: vectors(y)))


@pytest.mark.parametrize(
    "embed",
    [
        lambda vectors, y: vectors(y).detach(),
        lambda vectors, y: 2.0 * one_hot(y, 3)[:, :2] - 1 + 0 * vectors.weight.detach().sum(),
    ],
    ids=["detached", "not used"],
)
def test_a_condition_without_gradient_is_told_of_where_it_is_made(embed):
    (failure,) = failures(learned(embed))
    assert failure.called == "forward(batch)"
    assert failure.came == "no gradient reaches vectors.weight"
    assert "overrides no consistency" in failure.says
    assert "override consistency; or freeze them" in failure.do


def test_a_consistency_of_its_own_is_still_descended_by_the_images():
    def consistency(self, x, asked):
        return (self.vectors.weight.sum() * x.detach().mean()).square()

    (failure,) = failures(learned(lambda vectors, y: vectors(y), consistency=consistency))
    assert failure.came == "nothing reaches the images"


def test_parameters_that_neither_reaches_are_refused_beside_a_consistency_too():
    def consistency(self, x, asked):
        return x.square().mean()

    (failure,) = failures(learned(lambda vectors, y: vectors(y).detach(), consistency=consistency))
    assert failure.came == "no gradient reaches vectors.weight"
