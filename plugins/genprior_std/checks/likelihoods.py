"""Checks of the parts of models trained by likelihood: priors, posteriors and reconstructions need densities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from genprior import (
    AutoregressiveDecoder,
    DataInfo,
    DensityPosterior,
    DensityPrior,
    EnergyPrior,
    PartConfig,
    PlanError,
    Posterior,
)
from genprior_std.layers.posterior import GaussianPosterior
from genprior_std.priors.nested_crp import NestedCrp

__all__ = [
    "check_autoregressive",
    "check_density",
    "check_density_or_energy",
    "check_density_posterior",
    "check_gaussian_posterior",
    "check_likelihood",
    "check_sum",
    "check_support",
    "check_told",
    "check_tree",
    "no_density",
    "no_gaussian",
    "other_support",
]


def check_density(model: str, prior: PartConfig) -> None:
    """Refuse a prior that can only be sampled, or whose density is known only up to a constant.

    Raises:
        PlanError: it has no log_prob.
    """
    if issubclass(prior.part, EnergyPrior):
        raise PlanError(
            f"model '{model}' needs a prior with log_prob; '{prior.name}' has an energy, which is -log p(z) only up to "
            "a constant. Use model 'vae', which needs no more than its gradients, or a prior with a density "
            "('gaussian', 'resampled', 'vampprior')"
        )
    if not issubclass(prior.part, DensityPrior):
        raise PlanError(
            f"model '{model}' needs a prior with log_prob; '{prior.name}' can only be sampled (use model 'aae')"
        )


def check_density_or_energy(model: str, prior: PartConfig) -> None:
    """Refuse a prior that can only be sampled, where a density or the gradients of one will do.

    Raises:
        PlanError: it has neither log_prob nor energy.
    """
    if not issubclass(prior.part, EnergyPrior):
        check_density(model, prior)


def check_tree(model: str, prior: PartConfig) -> None:
    """Refuse a prior that is not a tree of codes.

    Raises:
        PlanError: it is not `nested_crp`.
    """
    if not issubclass(prior.part, NestedCrp):
        raise PlanError(
            f"model '{model}' infers a tree of codes and needs prior 'nested_crp'; '{prior.name}' has "
            "no tree. Use prior = { name = \"nested_crp\" }, or model 'vae', which takes any prior with a density"
        )


def check_likelihood(model: str, reconstruction: Any, info: DataInfo) -> None:
    """Refuse a reconstruction that is known not to be -log p(x | z) of these images.

    Raises:
        PlanError: it compares features, averages over pixels, or is a Bernoulli likelihood of grey images.
    """
    part = reconstruction.part
    remedy = 'Use reconstruction = { name = "pixel", metric = "gaussian", sigma = 0.1, reduction = "sum" }'
    if "image_critic" in part.borrows_of(reconstruction):
        raise PlanError(
            f"model '{model}' needs a reconstruction that is -log p(x | z); '{reconstruction.name}' compares features "
            f"of an image critic, which is no likelihood of images. {remedy}, or use model 'aae'"
        )
    if not part.sums(reconstruction):
        raise PlanError(
            f"model '{model}' needs -log p(x | z) of a whole image beside a KL of a whole code; reconstruction "
            f"'{reconstruction.name}' has reduction = \"mean\", an average over pixels. {remedy}"
        )
    _check_pixels(model, part.likelihood_of(reconstruction), info, f"{remedy[0].lower()}{remedy[1:]}")


def _check_pixels(model: str, likelihood: str | None, info: DataInfo, otherwise: str) -> None:
    """Refuse a likelihood of black and white pixels for grey images, whose pixels it would round."""
    if likelihood == "binary" and not info.binary:
        raise PlanError(
            f"model '{model}' has a Bernoulli likelihood, which is for black and white pixels, and these "
            'training images have grey ones. Set binarise = "dynamic" or "static" in [data] (mnist, fashion_mnist '
            f"and digits have it). Or {otherwise}"
        )


def check_sum(model: str, reconstruction: Any) -> None:
    """Refuse a reconstruction error that is an average, since it is added to a KL that is a sum.

    Raises:
        PlanError: it is not a sum over a whole image.
    """
    if not reconstruction.part.sums(reconstruction):
        raise PlanError(
            f"model '{model}' needs an error summed over a whole image beside a KL of a whole code; "
            f"reconstruction '{reconstruction.name}' has reduction = \"mean\", an average. "
            f'Set reduction = "sum" in the reconstruction\'s table; to give it less weight, raise beta and lower gamma'
        )


def check_density_posterior(model: str, encoder: Any) -> None:
    """Refuse an encoder whose posterior is known to have no density.

    Raises:
        PlanError: the encoder declares such a posterior.
    """
    kind = encoder.part.posterior_of(encoder)
    if kind is not Posterior and not issubclass(kind, DensityPosterior):
        raise no_density(model, encoder.name)


def no_density(model: str, encoder: str) -> PlanError:
    """The error for an encoder whose posterior has no density."""
    return PlanError(
        f"model '{model}' needs an encoder whose posterior has a density; encoder '{encoder}' "
        "gives each image a single code. "
        "Set posterior = \"gaussian\" in the encoder's table, or use model 'aae'"
    )


def check_support(model: str, prior: Any, encoder: Any) -> None:
    """Refuse a prior and a posterior whose densities are known to be on different spaces.

    Raises:
        PlanError: one lies on the unit sphere and the other in all of R^d, or the prior has a bounded support.
    """
    kind = encoder.part.posterior_of(encoder)
    # The posterior of an encoder that leaves its kind open is checked at the first batch.
    if kind not in (Posterior, DensityPosterior) and kind.support not in prior.part.supports:
        raise other_support(model, prior.name, encoder.name, kind.support, prior.part.supports)


def other_support(
    model: str, prior: str, encoder: str, support: str, supports: Sequence[str], *, fitted: bool = False
) -> PlanError:
    """The error for a posterior that lies where the prior has no density.

    Args:
        model: the model's name.
        prior: the prior's name.
        encoder: the encoder's name.
        support: where the encoder's posterior lies.
        supports: where codes of the prior may lie.
        fitted: whether the prior is the model's `fitted_prior`.
    """
    if support == "space" and "bounded" in supports:
        return PlanError(
            f"model '{model}' needs the density of the prior at codes of the posterior: that of encoder '{encoder}' "
            f"reaches all of space, and prior '{prior}' has a density of 0 outside of a bounded part, so the KL is "
            "infinite. Use a prior with a density everywhere, such as 'gaussian', or model 'aae', which only draws "
            "from its prior"
        )
    places = ("the unit sphere, with a density per surface", "all of space, with a density per volume")
    there, here = places if support == "unit_sphere" else places[::-1]
    remedy = (
        "Use prior 'sphere', or set posterior = \"gaussian\" in the encoder's table"
        if support == "unit_sphere"
        else "Set posterior = \"von_mises_fisher\" in the encoder's table, or use prior 'gaussian'"
    )
    role = "fitted_prior" if fitted else "prior"
    if fitted:
        remedy = f'Leave fitted_prior out, or choose one whose `supports` have "{support}"'
    return PlanError(
        f"model '{model}' compares the densities of a code under prior and posterior, which must lie on one space: the "
        f"posterior of encoder '{encoder}' lies on {there}, and {role} '{prior}' on {here}. {remedy}"
    )


def check_gaussian_posterior(model: str, encoder: Any) -> None:
    """Refuse an encoder whose posterior is known not to be a Gaussian.

    Raises:
        PlanError: the encoder declares such a posterior.
    """
    check_density_posterior(model, encoder)
    kind = encoder.part.posterior_of(encoder)
    if kind not in (Posterior, DensityPosterior) and not issubclass(kind, GaussianPosterior):
        raise no_gaussian(model, encoder.name, kind)


def no_gaussian(model: str, encoder: str, kind: type[Posterior]) -> PlanError:
    """The error for an encoder whose posterior is not a Gaussian, which the tree's updates need."""
    return PlanError(
        f"model '{model}' needs an encoder whose posterior is a Gaussian, because the tree's updates need "
        f"its mean and variance; that of encoder '{encoder}' is a {kind.__name__}. "
        "Use an encoder with posterior = \"gaussian\", or model 'vae'"
    )


def check_told(model: str, role: str, network: Any) -> None:
    """Refuse an encoder or a decoder that does not see the code of the level above.

    Raises:
        PlanError: it does not use `known`.
    """
    if not network.part.sees_known(network):
        raise PlanError(
            f"model '{model}' gives its {role} the upper code, and {role} '{network.name}' "
            f"has conditional = false, so it would ignore that. Set conditional = true in the {role}'s table"
        )


def check_autoregressive(model: str, decoder: PartConfig, info: DataInfo) -> None:
    """Refuse a decoder that has no likelihood of these images.

    Raises:
        PlanError: it is not an `AutoregressiveDecoder`, or has a Bernoulli likelihood of grey images.
    """
    part = decoder.part
    if not issubclass(part, AutoregressiveDecoder):
        raise PlanError(
            f"model '{model}' needs a decoder with log_prob, an AutoregressiveDecoder; decoder '{decoder.name}' makes "
            "images and gives no likelihood of them. Use decoder = { name = \"pixelcnn\" }, or model 'aae'"
        )
    otherwise = 'set distribution = "discretised_logistic" in the decoder\'s table, which is for 256 levels'
    _check_pixels(model, part.likelihood_of(decoder), info, otherwise)
