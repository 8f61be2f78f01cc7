"""`genprior.fit_prior`: a prior by its settings or its table, and what is refused in words."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import genprior
from genprior import Codes, PartConfig, PlanError
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.kde import KernelDensity
from tests.small_fitted import Affine

Z = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
CODES = Codes(Z, Z[:, :0])


def test_a_table_is_the_prior_with_these_settings() -> None:
    table = {"name": "kde", "bandwidth": "scott"}
    one, two = (
        genprior.fit_prior(each, CODES).state_dict() for each in (table, KernelDensity.Config(bandwidth="scott"))
    )
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert isinstance(genprior.fit_prior(Affine.Config(), CODES, steps=2, batch=8), Affine)


REFUSED: dict[str, tuple[Any, Any, dict[str, Any], str]] = {
    "a name": (
        "kde", CODES, {},
        "fit_prior was given 'kde' (a str) as the prior to fit. Give its table, such as {\"name\": \"kde\"}, or its "
        "settings, such as MyPrior.Config()",
    ),
    "a class": (KernelDensity, CODES, {}, "fit_prior was given the class KernelDensity as the prior to fit. Give "),
    "settings of nothing": (PartConfig(), CODES, {}, "as the prior to fit. Give its table, such as "),
    "an encoder": (MlpEncoder.Config(), CODES, {}, "as the prior to fit. Give its table, such as "),
    "a typing error": (
        {"name": "kd"}, CODES, {},
        "the table of the prior is wrong:\n  fitted_prior: there is no prior named 'kd'; did you mean 'kde'?",
    ),
    "a wrong setting": (
        {"name": "kde", "bandwith": 1.0}, CODES, {},
        "fitted_prior.bandwith: unknown key 'bandwith'; did you mean 'bandwidth'?",
    ),
    "a fixed prior": ({"name": "gaussian"}, CODES, {}, "fitted_prior = 'gaussian' cannot be fitted to codes after"),
    "a tensor": (
        {"name": "kde"}, Z, {},
        "fit_prior was given a tensor [40, 2] of float32 as codes. Give genprior.Codes(z, asked) with z [n, d] and "
        "asked [n, k]; without a condition asked is z[:, :0]",
    ),
    "a table of codes": ({"name": "kde"}, {"z": Z}, {}, "(a dict) as codes. Give genprior.Codes(z, asked)"),
    "no condition": ({"name": "kde"}, Codes(Z, None), {}, "have None (a NoneType) as asked. Give genprior.Codes"),
    "one number each": ({"name": "kde"}, Codes(Z[:, 0], Z[:, :0]), {}, "have a tensor [40] of float32 as z. Give "),
    "whole numbers": ({"name": "kde"}, Codes(Z.long(), Z[:, :0]), {}, "have a tensor [40, 2] of int64 as z. Give "),
    "other rows": (
        {"name": "kde"}, Codes(Z, Z[:3, :0]), {},
        "are z [40, 2] and asked [3, 0], which must have the same number of rows, and z at least one",
    ),
    "nothing": ({"name": "kde"}, Codes(Z[:0], Z[:0, :0]), {}, "are z [0, 2] and asked [0, 0], which must have"),
    "NaN": ({"name": "kde"}, Codes(Z * float("nan"), Z[:, :0]), {}, "are not all finite numbers"),
    "steps": (Affine.Config(), CODES, {"steps": 1.5}, "steps"),
    "batch": (Affine.Config(), CODES, {"batch": 0}, "batch"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_fitted_is_told_in_words(case: str) -> None:
    config, codes, options, text = REFUSED[case]
    with pytest.raises(PlanError) as caught:
        genprior.fit_prior(config, codes, **options)
    assert text in str(caught.value)
