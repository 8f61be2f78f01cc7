"""The contracts of encoders, decoders and critics."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
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
from genprior.testing.capabilities import check_posterior_of, check_sees_known
from genprior.testing.densities import check_density
from genprior.testing.fixture import Fixture, begin
from genprior.testing.report import Contract, describe, dtype_name
from genprior.testing.settings import config_of
from genprior.testing.spheres import check_sphere
from genprior.testing.tensors import check_pixels, check_reaches_input, one_hot

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

    `mean` and `rsample()` are codes [n, d], finite, in the dtype and on the device of the images; `rsample` or the
    density has a gradient in each parameter; in evaluation mode an image's code depends only on that image; a
    posterior's density integrates to 1 and fits its samples (for codes up to 4 wide); `known` changes the code exactly
    where `sees_known` returns True; the posterior has the class that `posterior_of` returns; a state_dict restores the
    encoder.

    Args:
        part: the settings or the class.
        image: (c, h, w).
        code: d.
        known: the width of `known`, whose rows are one-hot.
        lend: modules for the roles that it borrows.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config, sizes = config_of(part, Encoder), Sizes(image, code, known, 0)
    (contract, fixture), inputs = begin(config, sizes, lend), _images(sizes)
    shape = f"forward(x [{N}, {', '.join(map(str, image))}], known [{N}, {known}])"
    for encoder, x, rows, dtype, called in _trials(contract, fixture, inputs, shape):
        q = contract.call(called, lambda e=encoder, x=x, k=rows: e(x, k))  # type: ignore[misc]
        if q is not None and contract.require(
            isinstance(q, Posterior),
            called,
            describe(q),
            "a genprior.Posterior, with mean and rsample()",
            "return genprior.PointPosterior(z) where the code is deterministic",
        ):
            with seeded("testing", "posterior"):
                z = contract.call(f"{called}.rsample()", q.rsample)
            contract.tensor(f"{called}.mean", q.mean, (len(x), code), dtype, "one code for each image")
            contract.tensor(f"{called}.rsample()", z, (len(x), code), dtype, "one code for each image")
    if not contract.failures:
        encoder = fixture.make()
        x, rows = inputs(N, torch.float64)
        q = encoder(x, rows)
        edge = inputs(4 * N, torch.float32)
        fixture.check_edges(f"{shape}.rsample()", lambda e: e(*(t.to(fixture.dtype) for t in edge)).rsample(), "codes")
        with seeded("testing", "reached"):
            z = q.rsample()
        outputs = [z, q.log_prob(z.detach() + 0.1)] if isinstance(q, DensityPosterior) else [z]
        fixture.check_reached(f"{shape}.rsample()", encoder, outputs)
        _check_rows(contract, f"{shape}.mean", encoder.eval(), inputs, lambda e, *given: e(*given).mean)
        check_posterior_of(contract, config, q)
        check_sees_known(contract, f"{shape}.mean", encoder, inputs(N, torch.float64), lambda e, *given: e(*given).mean)
        if isinstance(q, DensityPosterior) and code <= 4:
            _check_posterior(contract, f"{shape}.log_prob(z)", encoder, inputs)

    def use(encoder: Any, x: Tensor, rows: Tensor) -> Tensor:
        q = encoder(x, rows)
        return torch.cat([q.mean, q.rsample()])

    _end(contract, fixture, f"{shape}.mean and .rsample()", inputs, use)


def _check_posterior(contract: Contract, called: str, encoder: Any, inputs: Inputs) -> None:
    x, rows = (tensor[:1] for tensor in inputs(N, torch.float64))

    @functools.cache
    def posterior(n: int) -> Any:
        return encoder(x.expand(n, -1, -1, -1), rows.expand(n, -1))

    with torch.no_grad(), seeded("testing", "shape"):
        q = posterior(N)
        z = q.rsample()
        log_q = contract.call(called, lambda: q.log_prob(z))
        if contract.tensor(called, log_q, (N,), torch.float64, "one log-density for each code", finite=False):
            piece_length = 512  # the encoder runs once for all pieces of this length
            check = check_sphere if q.support == "unit_sphere" else check_density
            check(
                contract,
                called,
                lambda z: torch.cat([posterior(len(piece)).log_prob(piece) for piece in torch.split(z, piece_length)]),
                lambda n: torch.cat([posterior(piece_length).rsample() for _ in range(n // piece_length)]),
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

    Images are [n, c, h, w] in [-1, 1], also for large codes, finite, in the dtype and on the device of the codes; the
    images (or the likelihood of an autoregressive decoder) have a gradient in each parameter and in the code; in
    evaluation mode an image depends only on its own code; `known` changes the image (or its likelihood) exactly where
    `sees_known` returns True; a state_dict restores the decoder.

    Args:
        part: the settings or the class.
        image: (c, h, w).
        code: d.
        known: the width of `known`, whose rows are one-hot.
        lend: modules for the roles that it borrows.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config, sizes = config_of(part, Decoder), Sizes(image, code, known, 0)
    (contract, fixture), inputs = begin(config, sizes, lend), _codes(sizes)
    shape = f"forward(z [{N}, {code}], known [{N}, {known}])"

    def use(decoder: Any, z: Tensor, rows: Tensor) -> Any:
        with seeded("testing", "decoded"):
            return decoder(z, rows)

    for decoder, z, rows, dtype, called in _trials(contract, fixture, inputs, shape):
        for scale in (1.0, 30.0) if not contract.failures else ():
            scaled = f"{called}, codes times {scale}"
            x = contract.call(scaled, lambda d=decoder, z=scale * z, k=rows: use(d, z, k))  # type: ignore[misc]
            if contract.tensor(scaled, x, (len(z), *image), dtype, "one image for each code"):
                check_pixels(contract, scaled, x, 1e-6)
    if not contract.failures:
        decoder = fixture.make()
        z, rows = inputs(N, torch.float64)
        z.requires_grad_()
        x = use(decoder, z, rows)
        outputs, called = [x], shape
        if isinstance(decoder, AutoregressiveDecoder):
            called = f"log_prob(x [{N}, {', '.join(map(str, image))}], z [{N}, {code}], known [{N}, {known}])"
            likelihood = contract.call(called, lambda: decoder.log_prob(x.detach(), z, rows))
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
        edge = inputs(N, torch.float32)
        fixture.check_edges(shape, lambda d: d(*(t.to(fixture.dtype) for t in edge)), "pixels")
        if outputs:
            fixture.check_reached(called, decoder, outputs)
            use_known = (lambda d, *given: d.log_prob(x.detach(), *given)) if called != shape else use
            check_sees_known(contract, called, decoder.eval(), inputs(N, torch.float64), use_known)
    _end(contract, fixture, shape, inputs, use)


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

    Logits are [n], finite, in the dtype and on the device of the samples; they have a gradient in each parameter and in
    the samples; in evaluation mode a logit depends only on its own sample; `known` changes the logits exactly where
    `sees_known` returns True; a state_dict restores the critic. With features: each of `feature_layers` gives [n, f]
    with a gradient in the images, and the trunk is [n, t].

    Args:
        part: the settings or the class.
        of: whether it scores codes [n, d] or images [n, c, h, w].
        image: (c, h, w).
        code: d.
        known: the width of `known`, whose rows are one-hot.
        lend: modules for the roles that it borrows.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config, sizes = config_of(part, Critic), Sizes(image, code, known, 0)
    contract, fixture = begin(config, sizes, lend)
    inputs = _codes(sizes) if of == "codes" else _images(sizes)
    shape = f"forward(x {[N, code] if of == 'codes' else [N, *image]}, known [{N}, {known}])"
    for critic, x, rows, dtype, called in _trials(contract, fixture, inputs, shape):
        logits = contract.call(called, lambda c=critic, x=x, k=rows: c(x, k))  # type: ignore[misc]
        contract.tensor(called, logits, (len(x),), dtype, "one logit for each sample")
    if not contract.failures:
        critic = fixture.make()
        x, rows = inputs(N, torch.float64)
        x.requires_grad_()
        logits = critic(x, rows)
        fixture.check_reached(shape, critic, [logits])
        _check_differentiable(contract, shape, logits, x)
        _check_rows(contract, shape, critic.eval(), inputs, lambda c, *given: c(*given))
        check_sees_known(contract, shape, critic, inputs(N, torch.float64), lambda c, *given: c(*given))
        if isinstance(critic, FeatureCritic):
            _check_features(contract, critic, x, rows)
    _end(contract, fixture, shape, inputs, lambda c, *given: c(*given))


def _check_features(contract: Contract, critic: Any, x: Tensor, rows: Tensor) -> None:
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
        f = contract.call(called, lambda layer=layer: critic.features(x, rows, layer))  # type: ignore[misc]
        width = f.shape[-1] if isinstance(f, Tensor) and f.dim() == 2 else 0
        if contract.tensor(called, f, (N, width), torch.float64, "the flattened features of each image, [n, f]"):
            _check_differentiable(contract, called, f, x)
    called, width = f"trunk(x [{N}, ...], known)", critic.trunk_width
    trunk = contract.call(called, lambda: critic.trunk(x, rows))
    if contract.tensor(called, trunk, (N, width), torch.float64, f"as wide as trunk_width, {width}"):
        _check_differentiable(contract, called, trunk, x)


def _check_differentiable(contract: Contract, called: str, out: Tensor, x: Tensor) -> None:
    reason = "the module that makes the samples learns from the critic, so it is differentiable in x"
    check_reaches_input(contract, called, out, x, "samples", reason)


# ---------------------------------------------------------------------------------------------------------------------
# Shared by the three
# ---------------------------------------------------------------------------------------------------------------------


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


def _trials(
    contract: Contract, fixture: Fixture, inputs: Inputs, shape: str
) -> Iterator[tuple[Any, Tensor, Tensor, torch.dtype, str]]:
    """The part in each dtype, mode and batch size, with its two inputs, the dtype and a name of the call.

    Ends at the first failure.
    """
    for dtype in (torch.float64, torch.float32):
        part = fixture.make(dtype=dtype)
        for n, training in ((N, True), (N, False), (1, False)):
            if part is None or contract.failures:
                return
            part.train(training)
            mode = "training" if training else "evaluation"
            yield part, *inputs(n, dtype), dtype, f"{shape} in {dtype_name(dtype)}, n = {n}, {mode} mode"


def _check_rows(contract: Contract, called: str, part: Any, inputs: Inputs, use: Callable[..., Any]) -> None:
    x, rows = inputs(N, torch.float64)
    with torch.no_grad():
        together, alone = use(part, x, rows)[:1], use(part, x[:1], rows[:1])
    contract.require(
        torch.allclose(together, alone, rtol=1e-6, atol=1e-8),
        f"{called} in evaluation mode, for the first row alone and among {N}",
        "different results",
        "in evaluation mode each row depends on that row alone",
        "take no statistics over the batch in evaluation mode, and check the axes of each reduction and reshape",
    )


def _end(contract: Contract, fixture: Fixture, called: str, inputs: Inputs, use: Callable[..., Any]) -> None:
    """Check ownership, state and device of the part, and raise the report."""
    part = None if contract.failures else fixture.make()
    if part is not None:
        x, rows = inputs(N, torch.float64)
        fixture.check_ownership(part)
        fixture.check_state(called, lambda part: use(part, x, rows))
        fixture.check_device(called, lambda part, device: use(part, x.to(device), rows.to(device)))
    contract.finish()
