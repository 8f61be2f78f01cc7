"""What models of one level of codes share: p(z), p(x | z) and q(z | x), and the densities that they give a draw."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from genprior import (
    Batch,
    Build,
    Condition,
    ConditionerSpec,
    DataInfo,
    DecoderSpec,
    DensityPosterior,
    DensityPrior,
    Draws,
    EncoderSpec,
    Inference,
    LikelihoodModel,
    Model,
    PartConfig,
    PlanError,
    Posterior,
    PriorSpec,
    ReconstructionSpec,
    Sizes,
)
from genprior_std.layers.posterior import GaussianPosterior, log_prob_of_each
from genprior_std.models.one_code import OneCode

__all__ = [
    "CodeInference",
    "LatentModel",
    "check_density",
    "check_likelihood",
    "dense",
    "draw_with_density",
    "repeated",
]


ROWS = 128
"""Images that a CPU decodes at a time where no gradient is wanted, so that they stay in its cache."""


class LatentModel(OneCode, LikelihoodModel):
    """A model of one level of codes: p(x, z) = p(z) p(x | z), with q(z | x) beside it."""

    # A VampPrior samples through the encoder, and a reconstruction should be made by networks of one average.
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")

    class Config(PartConfig):
        """The parts of a model of one level of codes."""

        code_size: int = Field(64, gt=0)
        """d, the width of a code."""
        prior: PriorSpec
        """p(z), a prior with a density."""
        encoder: EncoderSpec
        """q(z | x), an encoder with a density: posterior = "gaussian"."""
        decoder: DecoderSpec
        """dec(z), the mean of p(x | z)."""
        reconstruction: ReconstructionSpec
        """-log p(x | z) of each image, summed over its pixels."""
        conditioner: ConditionerSpec
        """What is told and asked."""

    def __init__(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts.

        Raises:
            PlanError: the prior has no density, the reconstruction is no likelihood of an image, or parts do not fit.
        """
        super().__init__(config)
        check_likelihood(self.name, config.reconstruction, info)
        self.make_parts(config, info, build)

    def make_parts(self, config: Any, info: DataInfo, build: Build) -> None:
        """Make the parts of one level; a model of several levels makes its own."""
        check_density(self.name, config.prior)
        known, asked = config.conditioner.part.widths(config.conditioner, info)
        sizes = Sizes(info.image, config.code_size, known, asked)
        self.encoder = build("encoder", config.encoder, sizes)
        self.decoder = build("decoder", config.decoder, sizes)
        self.prior = build("prior", config.prior, sizes)
        self.reconstruction = build("reconstruction", config.reconstruction, sizes)
        self.conditioner = build("conditioner", config.conditioner, sizes)

    @property
    def normalised(self) -> bool:
        """Whether the reconstruction is exactly -log p(x | z)."""
        exact: bool = self.reconstruction.normalised
        return exact

    def infer(self, batch: Batch) -> Inference:
        """q(z | x) of each image, with p(z) and p(x | z).

        Raises:
            PlanError: the encoder's posterior has no density.
        """
        return CodeInference(self, batch)

    @property
    def learned(self) -> tuple[str, ...]:
        """The names of the modules with parameters, which all ascend the bound."""
        return tuple(name for name, module in self.named_children() if any(True for _ in module.parameters()))

    def encode(self, batch: Batch) -> Tensor:
        """The posterior's mean [n, d]; of a model with several levels, all of them side by side."""
        return self.infer(batch).mean

    def decode(self, z: Tensor, condition: Condition) -> Tensor | None:
        """dec(z), told what is known; None where the decoder is told a code of another level besides."""
        if condition.known.shape[1] != self.decoder.sizes.known:
            return None
        images: Tensor = self.decoder(z, condition.known)
        return images


class CodeInference(Inference):
    """What a model of one level of codes infers: the encoder runs once, the decoder and the prior at each draw."""

    def __init__(self, model: LatentModel, batch: Batch) -> None:
        """Encode the batch."""
        self._model = model
        self._x = batch.x
        self._known, self._asked = model.conditioner(batch)
        self._q = dense(model, model.encoder, batch.x, self._known)

    @property
    def mean(self) -> Tensor:
        """The mean of q(z | x), [n, d]."""
        return self._q.mean

    def draw(self, samples: int) -> Draws:
        """Draw `samples` codes for each image and give their densities; see `genprior.Inference`."""
        model = self._model
        z, log_posterior = draw_with_density(self._q, samples)
        log_likelihood = self._log_likelihood(z)
        log_prior = model.prior.log_prob(z, repeated(self._asked, samples))
        shape = (samples, len(self._x))
        return Draws(z.view(*shape, -1), log_likelihood.view(shape), log_prior.view(shape), log_posterior.view(shape))

    def _log_likelihood(self, z: Tensor) -> Tensor:
        """Log p(x | z) of codes z [s n, d], draw by draw: [s n].

        A CPU whose cache holds the decoded images is faster, so it decodes a few draws at a time where nothing is kept
        for a gradient. A training network may mix the images of its batch, and so sees them all at once.
        """
        model, n = self._model, len(self._x)
        whole = torch.is_grad_enabled() or model.training or z.device.type != "cpu"
        errors = []
        for codes in torch.split(z, len(z) if whole else n * max(1, ROWS // n)):
            draws = len(codes) // n
            known = repeated(self._known, draws)
            errors.append(model.reconstruction(repeated(self._x, draws), model.decoder(codes, known), known))
        return -torch.cat(errors)

    def log_posterior(self, z: Tensor) -> Tensor:
        """The natural logarithm of q(z_j | x_i), [m, n]."""
        return log_prob_of_each(self._q, z).to(z.dtype)


def dense(model: Model, encoder: Any, x: Tensor, known: Tensor) -> DensityPosterior:
    """What `encoder` says of images.

    Raises:
        PlanError: its posterior has no density.
    """
    q: Posterior = encoder(x, known)
    if not isinstance(q, DensityPosterior):
        raise PlanError(
            f"model '{model.name}' needs an encoder whose posterior has a density; encoder '{encoder.name}' "
            "gives each image a single code. "
            "Set posterior = \"gaussian\" in the encoder's table, or use model 'aae'"
        )
    return q


def repeated(x: Tensor, times: int) -> Tensor:
    """The rows of x [n, ...], all of them `times` times over: [times n, ...]."""
    return x if times == 1 else x.expand(times, *x.shape).flatten(0, 1)


def draw_with_density(q: DensityPosterior, samples: int) -> tuple[Tensor, Tensor]:
    """Draw `samples` codes for each of n images, with log q(z | x): [s n, d] and [s n], draw by draw."""
    if isinstance(q, GaussianPosterior):
        q = q if samples == 1 else GaussianPosterior(repeated(q.mean, samples), repeated(q.log_variance, samples))
        z = q.rsample()
        return z, q.log_prob(z)
    draws = [q.rsample() for _ in range(samples)]
    return torch.cat(draws), torch.cat([q.log_prob(z) for z in draws])


def check_density(model: str, prior: PartConfig) -> None:
    """Refuse a prior that can only be sampled.

    Raises:
        PlanError: it has no log_prob.
    """
    if not issubclass(prior.part, DensityPrior):
        raise PlanError(
            f"model '{model}' needs a prior with log_prob; '{prior.name}' can only be sampled (use model 'aae')"
        )


def check_likelihood(model: str, reconstruction: PartConfig, info: DataInfo) -> None:
    """Refuse what is known to be no -log p(x | z) of these images.

    Raises:
        PlanError: it compares features, averages over pixels, or is a Bernoulli likelihood of grey images.
    """
    remedy = 'Use reconstruction = { name = "pixel", metric = "gaussian", sigma = 0.1, reduction = "sum" }'
    if "image_critic" in reconstruction.part.borrows:
        raise PlanError(
            f"model '{model}' needs a reconstruction that is -log p(x | z); '{reconstruction.name}' compares features "
            f"of an image critic, which is no likelihood of images. {remedy}, or use model 'aae'"
        )
    if getattr(reconstruction, "reduction", None) == "mean":
        raise PlanError(
            f"model '{model}' needs -log p(x | z) of a whole image beside a KL of a whole code; reconstruction "
            f"'{reconstruction.name}' has reduction = \"mean\", an average over pixels. {remedy}"
        )
    if getattr(reconstruction, "metric", None) == "bernoulli" and not info.binary:
        raise PlanError(
            f"model '{model}' is asked for a Bernoulli likelihood, which is one of black and white pixels, and these "
            'training images have grey ones. Set binarise = "dynamic" or "static" in [data] (mnist, fashion_mnist '
            f"and digits know it). Or {remedy[0].lower()}{remedy[1:]}"
        )
