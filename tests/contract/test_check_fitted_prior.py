"""The contract of priors that are fitted to codes: right ones pass, and each broken promise is found."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import genprior
import genprior_std.priors.gaussian
from genprior import Codes, Objectives, Phase
from genprior.testing import ContractError, check_prior
from tests.small_fitted import Affine, Bag


@pytest.mark.parametrize("part", [Affine, Bag])
def test_right_ones_pass(part: Any) -> None:
    check_prior(part, code=2)


def test_a_fit_recovers_a_gaussian() -> None:
    torch.manual_seed(0)
    z = 3 + 0.5 * torch.randn(4000, 2)
    prior = genprior.fit_prior(
        Affine.Config(), Codes(z, z[:, :0]), steps=1000, batch=500, optimiser=lambda p: torch.optim.Adam(p, lr=0.02)
    )
    assert torch.allclose(prior.network["m"], z.mean(0), atol=0.03)  # standard error of the mean .008
    assert torch.allclose(prior.network["s"].exp(), z.std(0), atol=0.03)


def _broken(**changes: Any) -> Any:
    return type("Broken", (Affine,), {"name": "broken", **changes})


def test_a_phase_that_moves_another_module_than_it_names_is_found() -> None:
    class Two(Affine):
        name = "two"

        def __init__(self, config: Any, sizes: Any) -> None:
            super().__init__(config, sizes)
            self.other = torch.nn.ParameterDict({"m": torch.zeros(sizes.code)})

        def fit(self, codes: Codes) -> Objectives:
            with torch.no_grad():
                self.other["m"] += 1
            return super().fit(codes)

    with pytest.raises(ContractError, match="other"):
        check_prior(Two)


def test_closed_form_must_agree_with_phases() -> None:
    with pytest.raises(ContractError, match="closed_form = True, and phases\\(\\) returns 1"):
        check_prior(_broken(closed_form=True))
    with pytest.raises(ContractError, match="closed_form = False, and phases\\(\\) returns 0"):
        check_prior(_broken(phases=lambda self: ()))


def test_a_fit_that_is_not_in_the_state_is_found() -> None:
    def begin_fit(self: Any, codes: Codes) -> None:
        self.moved = codes.z.mean(0)

    def sample(self: Any, asked: torch.Tensor) -> torch.Tensor:
        return Affine.sample(self, asked) + getattr(self, "moved", 0)

    with pytest.raises(ContractError, match="other codes than those of the fitted prior"):
        check_prior(_broken(begin_fit=begin_fit, sample=sample))


def test_an_error_of_begin_fit_is_told_once() -> None:
    def begin_fit(self: Any, codes: Codes) -> None:
        raise ValueError("singular")

    with pytest.raises(ContractError) as caught:
        check_prior(_broken(begin_fit=begin_fit))
    assert str(caught.value).count("ValueError: singular") == 1


def test_a_resized_buffer_is_told_by_name() -> None:
    forgets = type("Forgets", (Bag,), {"name": "forgets", "sized_by_codes": ()})
    with pytest.raises(ContractError) as caught:
        check_prior(forgets)
    text = str(caught.value)
    assert "buffer 'codes' of shape [1, 2] has the shape [400, 2] afterwards" in text
    assert 'write sized_by_codes = ("codes",) in the class' in text
    assert "size mismatch" not in text  # what torch says of the state that does not fit


def test_a_resized_buffer_of_a_child_belongs_into_the_prior() -> None:
    def init(self: Any, config: Any, sizes: Any) -> None:
        Affine.__init__(self, config, sizes)
        self.child = torch.nn.BatchNorm1d(sizes.code, affine=False)

    def begin_fit(self: Any, codes: Codes) -> None:
        self.child.running_mean = codes.z.new_zeros(7)

    with pytest.raises(ContractError) as caught:
        check_prior(_broken(__init__=init, begin_fit=begin_fit))
    assert "buffer 'child.running_mean' of shape [2] has the shape [7] afterwards" in str(caught.value)
    assert "register 'running_mean' as a buffer of the prior itself" in str(caught.value)


def test_a_closed_form_that_does_not_look_at_the_codes_is_found() -> None:
    idle = {"name": "idle", "closed_form": True, "phases": lambda self: ()}
    with pytest.raises(ContractError, match="the same parameters and buffers as those of the first codes"):
        check_prior(type("Idle", (Affine,), idle))


def test_a_parameter_of_the_prior_itself_is_refused() -> None:
    def init(self: Any, config: Any, sizes: Any) -> None:
        Affine.__init__(self, config, sizes)
        self.own = torch.nn.Parameter(torch.zeros(1))

    with pytest.raises(ContractError, match="parameter 'own' of prior 'broken' belongs to the prior itself"):
        check_prior(_broken(__init__=init))


def test_a_phase_of_an_unknown_module_is_refused() -> None:
    def phases(self: Any) -> tuple[Phase, ...]:
        return (Phase("fit", lambda codes: Objectives({"net": -self.log_prob(codes.z, codes.asked).mean()})),)

    with pytest.raises(ContractError, match="moves 'net', which is not a module of the model"):
        check_prior(_broken(phases=phases))


def test_a_prior_that_cannot_be_fitted_is_refused() -> None:
    gaussian = genprior_std.priors.gaussian.Gaussian.Config()
    three = Codes(torch.zeros(3, 2), torch.zeros(3, 0))
    with pytest.raises(genprior.PlanError, match="fitted_prior = 'gaussian' cannot be fitted to codes after training"):
        genprior.fit_prior(gaussian, three)
    with pytest.raises(genprior.PlanError, match="prior 'bag' needs 5 codes, and there are 3"):
        genprior.fit_prior(Bag.Config(least=5), three)
