"""The contracts of encoders, decoders and critics."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from genprior.parts import (
    AutoregressiveDecoder,
    Critic,
    Decoder,
    DensityPosterior,
    Encoder,
    FeatureCritic,
    PartConfig,
    Posterior,
    Sizes,
)
from genprior.randomness import seeded
from genprior.testing.capabilities import check_posterior_of, check_told
from genprior.testing.densities import check_density
from genprior.testing.making import Workshop, check_config, config_of, one_hot, setting_of
from genprior.testing.report import Contract, describe

__all__ = ["check_critic", "check_decoder", "check_encoder"]

N = 6
Inputs = Callable[[int, torch.dtype], tuple[Tensor, Tensor]]


def check_encoder(
    part: PartConfig | type[Encoder],
    *,
    image: tuple[int, int, int] = (1, 16, 16),
    code: int = 2,
    known: int = 0,
    lend: Mapping[str, nn.Module] | None = None,
) -> None:
    """Check that an encoder keeps its contract; see `genprior.Encoder` and `genprior.Posterior`.

    `mean` and `rsample()` are codes [n, d], finite, in the dtype and on the device of the images; each parameter is
    reached by `rsample` or by the density; in evaluation mode an image's code depends on that image alone; a posterior
    with a density integrates to 1 and fits its samples (for codes up to 4 wide); what is known changes the code if
    `sees_known` says so, and else does not; the posterior is what `posterior_of` says; a state_dict restores the
    encoder.

    Args:
        part: the settings or the class.
        image: (c, h, w).
        code: d.
        known: width of what is told; rows are one-hot.
        lend: modules for the roles that it borrows.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config, sizes = config_of(part, Encoder), Sizes(image, code, known, 0)
    contract, workshop, inputs = _begin(config, sizes, lend, _images(sizes))
    shape = f"forward(x [{N}, {', '.join(map(str, image))}], known [{N}, {known}])"
    for dtype in (torch.float64, torch.float32):
        encoder = workshop.make(dtype=dtype)
        for n, training in ((N, True), (N, False), (1, False)):
            if encoder is None or contract.failures:
                break
            x, told = inputs(n, dtype)
            called = f"{shape} in {_word(dtype)}, n = {n}, {'training' if training else 'evaluation'} mode"
            encoder.train(training)
            q = contract.call(called, lambda e=encoder, x=x, k=told: e(x, k))  # type: ignore[misc]
            if q is not None and contract.require(
                isinstance(q, Posterior),
                called,
                describe(q),
                "a genprior.Posterior, with mean and rsample()",
                "return genprior.PointPosterior(z) where the code is deterministic",
            ):
                with seeded("testing", "posterior"):
                    z = contract.call(f"{called}.rsample()", q.rsample)
                contract.tensor(f"{called}.mean", q.mean, (n, code), dtype, "one code for each image")
                contract.tensor(f"{called}.rsample()", z, (n, code), dtype, "one code for each image")
    if not contract.failures:
        encoder = workshop.make()
        x, told = inputs(N, torch.float64)
        q = encoder(x, told)
        with seeded("testing", "reached"):
            z = q.rsample()
        outputs = [z, q.log_prob(z.detach() + 0.1)] if isinstance(q, DensityPosterior) else [z]
        workshop.check_reached(f"{shape}.rsample()", encoder, outputs)
        _check_rows(contract, f"{shape}.mean", encoder.eval(), inputs, lambda e, *given: e(*given).mean)
        check_posterior_of(contract, config, q)
        check_told(contract, f"{shape}.mean", encoder, inputs(N, torch.float64), lambda e, *given: e(*given).mean)
        if isinstance(q, DensityPosterior) and code <= 4:
            _check_posterior(contract, f"{shape}.log_prob(z)", encoder, inputs)
    _end(contract, workshop, shape, inputs, lambda e, *given: e(*given).mean)


def _check_posterior(contract: Contract, called: str, encoder: Any, inputs: Inputs) -> None:
    x, told = (each[:1] for each in inputs(N, torch.float64))

    @functools.cache
    def posterior(n: int) -> Any:
        return encoder(x.expand(n, -1, -1, -1), told.expand(n, -1))

    with torch.no_grad(), seeded("testing", "shape"):
        q = posterior(N)
        z = q.rsample()
        log_q = contract.call(called, lambda: q.log_prob(z))
        if contract.tensor(called, log_q, (N,), torch.float64, "one log-density for each code", finite=False):
            rows = 512  # one pass of the encoder serves all pieces of this length
            check_density(
                contract,
                called,
                lambda z: torch.cat([posterior(len(piece)).log_prob(piece) for piece in torch.split(z, rows)]),
                lambda n: torch.cat([posterior(rows).rsample() for _ in range(n // rows)]),
            )


def check_decoder(
    part: PartConfig | type[Decoder],
    *,
    image: tuple[int, int, int] = (1, 16, 16),
    code: int = 2,
    known: int = 0,
    lend: Mapping[str, nn.Module] | None = None,
) -> None:
    """Check that a decoder keeps its contract; see `genprior.Decoder`.

    Images [n, c, h, w] in [-1, 1], for large codes too, finite, in the dtype and on the device of the codes; each
    parameter is reached by the images (or by the likelihood of an autoregressive decoder), and so is the code; in
    evaluation mode an image depends on its own code alone; what is known changes the image (or its likelihood) if
    `sees_known` says so, and else does not; a state_dict restores the decoder.

    Args:
        part: the settings or the class.
        image: (c, h, w).
        code: d.
        known: width of what is told; rows are one-hot.
        lend: modules for the roles that it borrows.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config, sizes = config_of(part, Decoder), Sizes(image, code, known, 0)
    contract, workshop, inputs = _begin(config, sizes, lend, _codes(sizes))
    shape = f"forward(z [{N}, {code}], known [{N}, {known}])"

    def use(decoder: Any, z: Tensor, told: Tensor) -> Any:
        with seeded("testing", "decoded"):
            return decoder(z, told)

    for dtype in (torch.float64, torch.float32):
        decoder = workshop.make(dtype=dtype)
        for n, training, size in ((N, True, 1.0), (N, False, 1.0), (1, False, 1.0), (N, False, 30.0)):
            if decoder is None or contract.failures:
                break
            z, told = inputs(n, dtype)
            mode = "training" if training else "evaluation"
            called = f"{shape} in {_word(dtype)}, n = {n}, {mode} mode, codes of size {size}"
            decoder.train(training)
            x = contract.call(called, lambda e=decoder, z=size * z, k=told: use(e, z, k))  # type: ignore[misc]
            if contract.tensor(called, x, (n, *image), dtype, "one image for each code"):
                contract.require(
                    bool((x.detach().abs() <= 1 + 1e-6).all()),
                    called,
                    f"pixels from {float(x.detach().min()):.3g} to {float(x.detach().max()):.3g}",
                    "pixels lie in [-1, 1], as those of the data do",
                    "end with a tanh, or clamp",
                )
    if not contract.failures:
        decoder = workshop.make()
        z, told = inputs(N, torch.float64)
        z.requires_grad_()
        x = use(decoder, z, told)
        outputs, called = [x], shape
        if isinstance(decoder, AutoregressiveDecoder):
            called = f"log_prob(x [{N}, {', '.join(map(str, image))}], z [{N}, {code}], known [{N}, {known}])"
            likelihood = contract.call(called, lambda: decoder.log_prob(x.detach(), z, told))
            contract.tensor(called, likelihood, (N,), torch.float64, "one log-likelihood for each image")
            outputs = [likelihood] if isinstance(likelihood, Tensor) else []
        elif contract.require(
            x.requires_grad and torch.autograd.grad(x.sum(), z, retain_graph=True, allow_unused=True)[0] is not None,
            f"the gradient of {shape} in z",
            "nothing reaches the codes",
            "an encoder learns through the decoder, so images are differentiable in z",
            "take out detach() and no_grad(), and let z enter the image",
        ):
            _check_rows(contract, shape, decoder.eval(), inputs, use)
        if outputs:
            workshop.check_reached(called, decoder, outputs)
            seen = (lambda d, *given: d.log_prob(x.detach(), *given)) if called != shape else use
            check_told(contract, called, decoder.eval(), inputs(N, torch.float64), seen)
    _end(contract, workshop, shape, inputs, use)


def check_critic(
    part: PartConfig | type[Critic],
    *,
    of: Literal["codes", "images"],
    image: tuple[int, int, int] = (1, 16, 16),
    code: int = 2,
    known: int = 0,
    lend: Mapping[str, nn.Module] | None = None,
) -> None:
    """Check that a critic keeps its contract; see `genprior.Critic` and `genprior.FeatureCritic`.

    Logits [n], finite, in the dtype and on the device of the samples; each parameter is reached by the logits, and so
    are the samples; in evaluation mode a logit depends on its own sample alone; a state_dict restores the critic. With
    features: each of `feature_layers` gives [n, f] through which the images are reached, and the trunk is [n, t].

    Args:
        part: the settings or the class.
        of: whether it judges codes [n, d] or images [n, c, h, w].
        image: (c, h, w).
        code: d.
        known: width of what is told; rows are one-hot.
        lend: modules for the roles that it borrows.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config, sizes = config_of(part, Critic), Sizes(image, code, known, 0)
    contract, workshop, inputs = _begin(config, sizes, lend, _codes(sizes) if of == "codes" else _images(sizes))
    shape = f"forward(x {[N, code] if of == 'codes' else [N, *image]}, known [{N}, {known}])"
    for dtype in (torch.float64, torch.float32):
        critic = workshop.make(dtype=dtype)
        for n, training in ((N, True), (N, False), (1, False)):
            if critic is None or contract.failures:
                break
            x, told = inputs(n, dtype)
            called = f"{shape} in {_word(dtype)}, n = {n}, {'training' if training else 'evaluation'} mode"
            critic.train(training)
            logits = contract.call(called, lambda c=critic, x=x, k=told: c(x, k))  # type: ignore[misc]
            contract.tensor(called, logits, (n,), dtype, "one logit for each sample")
    if not contract.failures:
        critic = workshop.make()
        x, told = inputs(N, torch.float64)
        x.requires_grad_()
        logits = critic(x, told)
        workshop.check_reached(shape, critic, [logits])
        _check_seen(contract, shape, logits, x)
        _check_rows(contract, shape, critic.eval(), inputs, lambda c, *given: c(*given))
        if isinstance(critic, FeatureCritic):
            _check_features(contract, critic, x, told)
    _end(contract, workshop, shape, inputs, lambda c, *given: c(*given))


def _check_features(contract: Contract, critic: Any, x: Tensor, told: Tensor) -> None:
    layers = critic.feature_layers
    contract.require(
        isinstance(layers, tuple) and bool(layers) and all(isinstance(layer, str) for layer in layers),
        "feature_layers",
        repr(layers),
        "a tuple of layer names, from the image to the logit",
        "name at least one layer, or derive from genprior.Critic",
    )
    for layer in layers:
        called = f"features(x [{N}, ...], known, '{layer}')"
        f = contract.call(called, lambda layer=layer: critic.features(x, told, layer))  # type: ignore[misc]
        width = f.shape[-1] if isinstance(f, Tensor) and f.dim() == 2 else 0
        if contract.tensor(called, f, (N, width), torch.float64, "the flattened features of each image, [n, f]"):
            _check_seen(contract, called, f, x)
    called, width = f"trunk(x [{N}, ...], known)", critic.trunk_width
    trunk = contract.call(called, lambda: critic.trunk(x, told))
    if contract.tensor(called, trunk, (N, width), torch.float64, f"as wide as trunk_width, {width}"):
        _check_seen(contract, called, trunk, x)


def _check_seen(contract: Contract, called: str, out: Tensor, x: Tensor) -> None:
    gradient = torch.autograd.grad(out.sum(), x, retain_graph=True, allow_unused=True)[0] if out.requires_grad else None
    contract.require(
        gradient is not None and bool((gradient != 0).any()),
        f"the gradient of {called} in x",
        "nothing reaches the samples",
        "whoever makes the samples learns from the critic, so it is differentiable in x",
        "take out detach() and no_grad() on the way from x to the result",
    )


# ---------------------------------------------------------------------------------------------------------------------
# What the three share
# ---------------------------------------------------------------------------------------------------------------------


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _images(sizes: Sizes) -> Inputs:
    def inputs(n: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        with seeded("testing", "images"):
            return 2 * torch.rand(n, *sizes.image, dtype=dtype) - 1, one_hot(n, sizes.known, dtype)

    return inputs


def _codes(sizes: Sizes) -> Inputs:
    def inputs(n: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        with seeded("testing", "codes"):
            return torch.randn(n, sizes.code, dtype=dtype), one_hot(n, sizes.known, dtype)

    return inputs


def _begin(
    config: PartConfig, sizes: Sizes, lend: Mapping[str, nn.Module] | None, inputs: Inputs
) -> tuple[Contract, Workshop, Inputs]:
    contract = Contract(config.part, setting_of(config, sizes))
    check_config(contract, config)
    return contract, Workshop(contract, config, sizes, lend), inputs


def _check_rows(contract: Contract, called: str, part: Any, inputs: Inputs, use: Callable[..., Any]) -> None:
    x, told = inputs(N, torch.float64)
    with torch.no_grad():
        together, alone = use(part, x, told)[:1], use(part, x[:1], told[:1])
    contract.require(
        torch.allclose(together, alone, rtol=1e-6, atol=1e-8),
        f"{called} in evaluation mode, for the first row alone and among {N}",
        "different results",
        "in evaluation mode each row depends on that row alone",
        "take no statistics over the batch in evaluation mode, and check the axes of each reduction and reshape",
    )


def _end(contract: Contract, workshop: Workshop, called: str, inputs: Inputs, use: Callable[..., Any]) -> None:
    """What holds for every part that is a module; then the report."""
    part = None if contract.failures else workshop.make()
    if part is not None:
        x, told = inputs(N, torch.float64)
        workshop.check_ownership(part)
        workshop.check_state(called, lambda part: use(part, x, told))
        workshop.check_device(called, lambda part, device: use(part, x.to(device), told.to(device)))
    contract.finish()
