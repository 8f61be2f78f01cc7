"""The code generator: table 3's sizes, its inputs, which parameters learn."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from genprior.errors import PlanError
from genprior.parts import Prior, Sizes
from genprior_std.games.hinge import Hinge
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.uniform import Uniform

from .by_hand import count


def make(code=64, asked=0, **settings):
    torch.manual_seed(0)
    return CodeGenerator.Config(**settings).make(Sizes(image=(1, 16, 16), code=code, known=0, asked=asked))


def affine_and_normalised(n, d):
    """Parameters of FC 2n, BN, FC d, BN, from the table."""
    return (n * 2 * n + 2 * n) + 2 * 2 * n + (2 * n * d + d) + 2 * d


def test_64_to_64_has_the_parameters_of_table_3():
    assert count(make()) == 16_960


@pytest.mark.parametrize(("code", "asked", "noise"), [(8, 0, None), (64, 10, 54), (64, 200, 100), (8, 3, 1)])
def test_the_hidden_layer_is_twice_the_input_with_what_is_asked(code, asked, noise):
    generator = make(code, asked, noise=noise)
    assert count(generator) == affine_and_normalised((noise or code) + asked, code)
    assert generator.sample(torch.rand(5, asked)).shape == (5, code)


def test_every_parameter_learns_from_the_codes():
    generator = make(8, 3)
    asked = torch.nn.functional.one_hot(torch.arange(16) % 3, 3).float()
    # A sum of normalised values is a constant of the weights, so the loss is not linear in the codes.
    generator.sample(asked).tanh().pow(3).sum().backward()
    for name, parameter in generator.named_parameters():
        assert parameter.grad is not None, name
        biased_before_norm = name in ("network.0.bias", "network.3.bias")
        # Batch normalisation removes any bias in front of it.
        assert (parameter.grad.abs().max() < 1e-4) == biased_before_norm, name


def test_codes_of_a_training_batch_have_zero_mean_and_unit_variance_at_first():
    z = make(8).double().sample(torch.zeros(256, 0, dtype=torch.float64))
    torch.testing.assert_close(z.mean(0), torch.zeros(8, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(z.var(0, correction=0), torch.ones(8, dtype=torch.float64), atol=1e-3, rtol=0)


def test_in_evaluation_a_code_depends_on_its_own_row_alone():
    generator = make(8, 3).eval()
    asked = torch.eye(3)
    torch.manual_seed(1)
    together = generator.sample(asked)
    torch.manual_seed(1)
    changed = generator.sample(torch.stack([asked[0], asked[0], asked[2]]))
    assert torch.equal(together[0], changed[0])
    assert torch.equal(together[2], changed[2])
    assert not torch.allclose(together[1], changed[1])


def test_noise_comes_from_the_noise_prior():
    generator = make(8, 3, noise=5, noise_prior=Uniform.Config(low=4, high=5))
    seen = []
    generator.network.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    asked = torch.eye(3)
    generator.sample(asked)
    assert torch.equal(seen[0][:, :3], asked)
    assert seen[0].shape == (3, 8)
    assert ((seen[0][:, 3:] >= 4) & (seen[0][:, 3:] <= 5)).all()


def test_a_learned_noise_prior_learns_too():
    generator = make(4, noise_prior=CodeGenerator.Config())
    generator.sample(torch.zeros(16, 0)).pow(3).sum().backward()
    assert generator.noise_prior.network[0].weight.grad.abs().max() > 0


class Lending(Prior):
    name = "lending"
    borrows = ("encoder",)

    def sample(self, asked):
        return asked


def test_a_noise_prior_that_borrows_is_refused():
    with pytest.raises(PlanError) as caught:
        make(noise_prior=Lending.Config())
    assert str(caught.value) == (
        "prior 'code_generator' has noise_prior 'lending', which borrows encoder of the model; noise cannot borrow "
        "modules. Use a simple prior such as 'gaussian' or 'uniform'"
    )


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValidationError, match="greater than 0"):
        CodeGenerator.Config(noise=0)
    with pytest.raises(ValidationError, match="a prior is needed here; 'hinge' is a game"):
        CodeGenerator.Config(noise_prior=Hinge.Config())
    assert CodeGenerator.Config().noise_prior == Gaussian.Config()
