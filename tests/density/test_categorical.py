"""The categorical prior, and encoders whose code is a soft category."""

import pytest
import torch
from scipy import stats

from genprior.errors import PlanError
from genprior.parts import Sizes
from genprior.testing import check_encoder, check_prior
from genprior_std.networks.gated_mlp_encoder import GatedMlpEncoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.categorical import Categorical


def prior(code=5, asked=0):
    return Categorical.Config().make(Sizes((1, 4, 4), code, 0, asked, one_hot=asked > 0))


def test_it_keeps_the_contract_of_a_prior():
    check_prior(Categorical, code=6)


def test_codes_are_one_hots_of_uniform_categories():
    torch.manual_seed(0)
    z = prior().sample(torch.zeros(5000, 0))
    assert torch.equal(z.sum(1), torch.ones(5000)) and set(z.unique().tolist()) == {0.0, 1.0}
    # A right prior fails with probability 1e-3 over seeds; this seed is fixed.
    assert stats.chisquare(z.sum(0).numpy()).pvalue > 1e-3


def test_what_is_asked_is_the_code():
    asked = torch.eye(5)[[3, 0]]
    assert torch.equal(prior(asked=5).sample(asked), asked)


def test_a_walk_shows_each_category():
    walk = prior().walk(3, torch.zeros(1, dtype=torch.float64))
    assert walk.shape == (5, 3, 5) and walk.dtype == torch.float64
    assert torch.equal(walk[:, 1], torch.eye(5, dtype=torch.float64))


def test_a_category_of_one_and_a_condition_of_another_width_are_refused():
    with pytest.raises(PlanError, match="draws one of code_size categories, and code_size = 1; set 2 or more"):
        prior(code=1)
    with pytest.raises(PlanError, match=r"has code_size = 5 .*width 3. Set code_size = 3, or ask for nothing"):
        prior(asked=3)
    with pytest.raises(PlanError, match=r"'categorical' needs a one-hot as the condition, or none; the condition here"):
        Categorical.Config().make(Sizes((1, 4, 4), 5, 0, 5))


@pytest.mark.parametrize("kind", [MlpEncoder, GatedMlpEncoder])
def test_an_encoder_gives_a_soft_category(kind):
    config = kind.Config(hidden=(6,), posterior="softmax")
    check_encoder(config)
    torch.manual_seed(0)
    part = config.make(Sizes((1, 4, 4), 5, 0, 0))
    x = torch.randn(7, 1, 4, 4)
    q = part(x, x.new_zeros(7, 0))
    assert (q.mean > 0).all() and torch.equal(q.mean, q.rsample())
    torch.testing.assert_close(q.mean.sum(1), torch.ones(7))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert part(x, x.new_zeros(7, 0)).mean.dtype == torch.float32
