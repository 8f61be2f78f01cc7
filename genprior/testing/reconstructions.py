"""The contract of a reconstruction error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genprior.parts import PartConfig, Reconstruction, Sizes
from genprior.randomness import seeded
from genprior.testing.fixture import Fixture, begin
from genprior.testing.report import Contract, dtype_name
from genprior.testing.settings import config_of
from genprior.testing.tensors import check_unchanged, one_hot

__all__ = ["check_reconstruction"]

IMAGES = 6
LEVELS = {"binary": 2, "levels": 256}
"""The number of values of a pixel, by `likelihood_of`."""
ERRORS = "one error for each image, not reduced over the batch"


def check_reconstruction(
    part: PartConfig | type[Reconstruction],
    *,
    image: tuple[int, int, int] = (1, 8, 8),
    known: int = 0,
    code: int = 2,
    batch_statistic: bool = False,
    lend: Mapping[str, nn.Module] | None = None,
) -> None:
    """Check that a reconstruction error keeps its contract; see `genprior.Reconstruction`.

    Errors have shape [n], the dtype and device of the images, and are finite; they are smallest for the image itself
    and larger for some other image; they are a sum over the whole image or an average, as `sums` returns; where
    `likelihood_of` states the values of a pixel and the likelihood is normalised, the probabilities of these values
    add up to 1; the errors have a gradient in the reconstruction; the error of an image depends only on that image and
    its reconstruction; borrowed modules are neither owned nor changed; a state_dict restores the part. Sums and
    probabilities are not checked for parts that borrow.

    Args:
        part: the settings or the class.
        image: (c, h, w).
        known: the width of `known`, whose rows are one-hot.
        code: d, for parts that borrow an encoder.
        batch_statistic: allow an error that depends on the other target images of the batch, never on the other
            reconstructions.
        lend: modules for the roles that it borrows; an `encoder` and an `image_critic` are provided.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = config_of(part, Reconstruction)
    sizes = Sizes(image, code, known, 0)
    contract, fixture = begin(config, sizes, lend)
    made = fixture.make()
    if made is not None:
        _check_values(contract, fixture)
        if not contract.failures:
            made = fixture.make().eval()
            _check_minimum(contract, made, sizes)
            _check_rows(contract, made, sizes, batch_statistic)
            _check_gradient(contract, made, sizes)
            _check_borrowed(contract, fixture)
            if not config.part.borrows_of(config):
                _check_sum(contract, made, Fixture(contract, config, _twice_as_high(sizes), lend).make())
                _check_likelihood(contract, config, Fixture(contract, config, sizes._replace(image=(1, 1, 1)), lend))
        fixture.check_ownership(made)
        x, x_rec, known_rows = _images(sizes)
        fixture.check_state(_called(sizes), lambda part: part(x, x_rec, known_rows))
        fixture.check_edges(
            _called(sizes), lambda part: part(*(t.to(fixture.dtype) for t in (x, x_rec, known_rows))), "errors"
        )
        fixture.check_device(_called(sizes), lambda part, d: part(x.to(d), x_rec.to(d), known_rows.to(d)))
    contract.finish()


def _called(sizes: Sizes, dtype: str = "float64") -> str:
    shape = [IMAGES, *sizes.image]
    return f"forward(x {shape}, x_rec {shape}, known [{IMAGES}, {sizes.known}]) in {dtype}"


def _images(sizes: Sizes, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Images, other images, and `known`."""
    with seeded("testing", "images"):
        x = 1.8 * torch.rand(IMAGES, *sizes.image, dtype=dtype) - 0.9
        x_rec = 1.8 * torch.rand(IMAGES, *sizes.image, dtype=dtype) - 0.9
    return x, x_rec, one_hot(IMAGES, sizes.known, dtype)


def _check_values(contract: Contract, fixture: Fixture) -> None:
    for dtype in (torch.float64, torch.float32):
        made = fixture.make(dtype=dtype)
        x, x_rec, known = _images(fixture.sizes, dtype)
        before = x.clone(), x_rec.clone()
        for training in (True, False):
            made.train(training)
            mode = "training" if training else "evaluation"
            called = f"{_called(fixture.sizes, dtype_name(dtype))}, {mode} mode"
            error = contract.call(called, lambda made=made, a=x, b=x_rec, k=known: made(a, b, k))  # type: ignore[misc]
            contract.tensor(called, error, (IMAGES,), dtype, ERRORS)
            check_unchanged(contract, called, "x", x, before[0])
            check_unchanged(contract, called, "x_rec", x_rec, before[1])
        if contract.failures:
            break


def _check_minimum(contract: Contract, made: Any, sizes: Sizes) -> None:
    x, other, known = _images(sizes)
    with torch.no_grad(), seeded("testing", "perturbed"):
        least = made(x, x, known)
        slack = 1e-6 * (1 + least.abs())
        for size in (0.01, 0.1, 1.0):
            x_rec = (x + size * torch.randn_like(x)).clamp(-1, 1)
            lower = int((made(x, x_rec, known) < least - slack).sum())
            contract.require(
                lower == 0,
                f"forward(x, x + noise of size {size}, known), against forward(x, x, known)",
                f"{lower} of {IMAGES} errors are smaller than that of the image itself",
                "no reconstruction is better than the image itself",
                "check the sign: a reconstruction is an error to minimise, not a likelihood",
            )
        contract.require(
            bool((made(x, other, known) > least + slack).any()),
            "forward(x, other images, known), against forward(x, x, known)",
            "no error is larger than that of the image itself",
            "some other image has a larger error than the image itself",
            "let the error depend on x_rec",
        )


def _twice_as_high(sizes: Sizes) -> Sizes:
    c, h, w = sizes.image
    return sizes._replace(image=(c, 2 * h, w))


def _check_sum(contract: Contract, made: Any, higher: Any) -> None:
    """A sum over the image doubles for two copies of it, one above the other; an average stays the same."""
    if higher is None:
        return
    x, other, known = _images(made.sizes)
    with torch.no_grad():
        once = made(x, other, known) - made(x, x, known)
        x, other = torch.cat([x, x], 2), torch.cat([other, other], 2)
        ratio = float((higher.eval()(x, other, known) - higher(x, x, known)).mean() / once.mean())
    stated = type(made).sums(made.config)
    contract.require(
        not (stated and ratio < 1.05) and not (not stated and ratio > 1.95),
        f"sums(config), which is {stated}",
        f"the error of two copies of each image, one above the other, is {ratio:.3g} times that of one copy",
        "an error that sums over the whole image grows with it, an average does not, and `sums` says which it is",
        f"return {not stated} from the class method sums(cls, config), or change forward",
    )
    contract.require(
        stated or not made.normalised,
        "normalised, which is True, and sums(config), which is False",
        "an average over pixels",
        "-log p of a whole image is the sum over its pixels",
        "let normalised be False where the error is an average",
    )


def _check_likelihood(contract: Contract, config: PartConfig, fixture: Fixture) -> None:
    """The probabilities of all values of one pixel add up to 1, where an error is an exact likelihood of values."""
    values = LEVELS.get(config.part.likelihood_of(config) or "", 0)  # type: ignore[attr-defined]
    made = fixture.make() if values else None
    if made is None or not made.normalised:
        return
    x = torch.linspace(-1, 1, values, dtype=torch.float64).view(-1, 1, 1, 1)
    with torch.no_grad():
        total = float((-made.eval()(x, torch.full_like(x, 0.3), one_hot(values, fixture.sizes.known))).exp().sum())
    contract.require(
        abs(total - 1) < 1e-6,
        f"forward of one pixel with each of its {values} values, for the same reconstruction",
        f"the probabilities exp(-error) add up to {total:.6g}",
        "a likelihood of pixel values that is normalised gives probabilities that add up to 1",
        "let normalised be False, likelihood_of say which values pixels have, or correct the constant",
    )


def _check_rows(contract: Contract, made: Any, sizes: Sizes, batch_statistic: bool) -> None:
    x, x_rec, known = _images(sizes)
    with torch.no_grad():
        base = made(x, x_rec, known)
        changed_rec = torch.cat([x_rec[:1], -x_rec[1:]])
        changed = torch.cat([x[:1], -x[1:]])
        recs = made(x, changed_rec, known)[0]
        targets = made(changed, changed_rec, known)[0]
    contract.require(
        torch.allclose(recs, base[0], rtol=1e-9, atol=1e-12),
        "forward with the other reconstructions of the batch changed",
        f"the error of image 0 went from {float(base[0]):.6g} to {float(recs):.6g}",
        "the error of an image does not depend on the reconstructions of others (in evaluation mode)",
        "reduce over the axes 1 and up, and take no statistics over x_rec",
    )
    contract.require(
        batch_statistic or torch.allclose(targets, base[0], rtol=1e-9, atol=1e-12),
        "forward with the other images of the batch changed",
        f"the error of image 0 went from {float(base[0]):.6g} to {float(targets):.6g}",
        "the error of an image depends only on that image and its reconstruction (in evaluation mode)",
        "reduce over the axes 1 and up; if a statistic of the batch is meant, pass batch_statistic=True and say so in "
        "the class's docstring",
    )


def _check_gradient(contract: Contract, made: Any, sizes: Sizes) -> None:
    x, x_rec, known = _images(sizes)
    x_rec = x_rec.requires_grad_()
    error = made(x, x_rec, known)
    gradient = torch.autograd.grad(error.sum(), x_rec, allow_unused=True)[0] if error.requires_grad else None
    for i in range(IMAGES):
        if not contract.require(
            gradient is not None and bool(torch.isfinite(gradient[i]).all()) and bool((gradient[i] != 0).any()),
            f"the gradient of {_called(sizes)} in x_rec",
            f"nothing (or nothing finite) reaches x_rec[{i}]",
            "each reconstruction gets a gradient from its error",
            "take out detach(), no_grad() and .data on the way from x_rec to the error",
        ):
            return


def _check_borrowed(contract: Contract, fixture: Fixture) -> None:
    """The forward pass and its gradient change no parameter or buffer of lent modules in evaluation mode."""
    made = fixture.make()
    for module in fixture.lent.values():
        module.eval()
    before = {
        role: {key: value.clone() for key, value in module.state_dict().items()}
        for role, module in fixture.lent.items()
    }
    x, x_rec, known = _images(fixture.sizes)
    error = made.eval()(x, x_rec.requires_grad_(), known)
    if error.requires_grad:
        torch.autograd.grad(error.sum(), x_rec, allow_unused=True)
    for role, module in fixture.lent.items():
        now = module.state_dict()
        moved = [key for key, value in before[role].items() if not torch.equal(value, now[key])]
        frozen = [name for name, p in module.named_parameters() if not p.requires_grad]
        contract.require(
            not moved and not frozen,
            f"{_called(fixture.sizes)} with the borrowed module '{role}'",
            f"it changed {', '.join(moved or frozen)} of it",
            "a part leaves borrowed modules unchanged, requires_grad included",
            "freeze nothing and write nothing: the engine takes gradients only for the modules that a phase names",
        )
        module.requires_grad_(True)
