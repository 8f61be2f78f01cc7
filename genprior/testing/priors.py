"""The contract of a prior."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genprior.errors import PlanError
from genprior.parts import Borrowed, DensityPrior, EnergyPrior, FittedPrior, LeaveOneOutPrior, PartConfig, Prior, Sizes
from genprior.randomness import seeded
from genprior.testing.densities import check_cumulative, check_density, check_gradient, check_ratio
from genprior.testing.fits import check_fit
from genprior.testing.fixture import Fixture, begin
from genprior.testing.prior_capabilities import check_energy, check_leaving_out, fitted_alone, preparation
from genprior.testing.report import Contract, describe, dtype_name
from genprior.testing.settings import config_of
from genprior.testing.spheres import check_sphere, on_sphere
from genprior.testing.tensors import check_unchanged, one_hot

__all__ = ["check_prior"]

ROWS = 32
WIDEST = 4
"""The widest code in which a density is integrated; that of wider codes is compared with another density."""
CODES = "one code for each row of asked"


def check_prior(
    part: PartConfig | type[Prior],
    *,
    code: int = 2,
    asked: int = 0,
    known: int | None = None,
    image: tuple[int, int, int] = (1, 8, 8),
    uses_asked: bool = False,
    lend: Mapping[str, nn.Module] | None = None,
) -> None:
    """Check that a prior keeps its contract; see `genprior.Prior` and `genprior.DensityPrior`.

    Every prior: codes have shape [n, d], the dtype and device of `asked`, and are finite, also where `torch.rand` draws
    0 or the largest number below 1; no tensor stays on the CPU if the prior and its inputs are elsewhere; codes of a
    batch differ, two draws differ, and the same seed of torch gives the same draw; one row works in evaluation mode;
    `sample` or `log_prob` has a gradient in every parameter; a state_dict restores the prior; it owns no borrowed
    module; the settings survive a file.

    A `FittedPrior` also: it is fitted to 400 codes of two clusters; the same codes under the same seed give the same
    prior, and one in closed form another for other codes; each phase changes exactly the child modules that it names; a
    state_dict restores what was fitted, and `sized_by_codes` names buffers whose shape a fit changes. One that
    can only be fitted is checked after `begin_fit`, all others after `begin` with random images.

    An `EnergyPrior` also: energies have shape [n], each row's depends only on that row, and the gradient agrees with
    finite differences. A `LeaveOneOutPrior` also: leaving out what is no training image leaves the density as it is.
    A class that states `reparameterised = False` may have samples without a gradient.

    A `DensityPrior` also: densities have shape [n], each row's density depends only on that row, its gradient agrees
    with finite differences, it integrates to 1, and the samples are distributed by it, for codes of 1, 2 and 3 numbers
    and of `code`, where the prior can be made so (else it raises a `PlanError`); codes of more than 4 numbers are
    compared with a density fitted to the samples. A density per surface of the sphere is integrated over the sphere,
    and its samples have length 1. A right density fails with probability below 1e-4. For codes of 1 number,
    distribution functions that differ by 0.0086 are told apart: a Gaussian from a logistic density of the same
    variance, a shift by 0.03 and a scale of 1.05 from none. For more numbers the resolution is coarser: shares of
    regions that differ by about 0.05. A class that defines `log_prob` derives from `DensityPrior`.

    Args:
        part: the settings, `MyPrior.Config(...)`, or the class, for its default settings.
        code: d, the width of a code.
        asked: the width of `asked`, whose rows are one-hot.
        known: the width of `known`; that of `asked` if not given.
        image: (c, h, w), for priors that borrow an encoder.
        uses_asked: require that different conditions give different draws.
        lend: modules for the roles that the prior borrows; an `encoder` and an `image_critic` are provided.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = config_of(part, Prior)
    sizes = Sizes(image, code, asked if known is None else known, asked, one_hot=asked > 0)
    contract, fixture = begin(config, sizes, lend)
    if issubclass(config.part, FittedPrior):
        check_fit(contract, fixture)
        if contract.failures:
            return contract.finish()
    fixture.prepare = preparation(config, sizes)
    prior = fixture.make()
    if prior is not None:
        if not _check_samples(contract, fixture, prior):
            return contract.finish()
        fixture.check_edges(
            f"sample({_rows(4 * ROWS, asked, '')})",
            lambda p: p.sample(one_hot(4 * ROWS, asked, fixture.dtype)),
            "codes",
        )
        _check_randomness(contract, fixture, prior, uses_asked)
        if not fitted_alone(config):
            _check_parameters(contract, fixture)
        fixture.check_ownership(prior)
        fixture.check_state(f"sample({_rows(ROWS, asked)})", lambda p: p.sample(one_hot(ROWS, asked)))
        fixture.check_device(
            f"sample({_rows(ROWS, asked)})", lambda p, device: p.sample(one_hot(ROWS, asked).to(device))
        )
        if isinstance(prior, DensityPrior) and not contract.failures:
            _check_densities(contract, config, sizes, lend, fixture.prepare)
        if isinstance(prior, EnergyPrior) and not contract.failures:
            check_energy(contract, fixture)
        if isinstance(prior, LeaveOneOutPrior) and not contract.failures:
            check_leaving_out(contract, fixture)
    contract.finish()


def _rows(n: int, width: int, dtype: str = "float64") -> str:
    return f"asked [{n}, {width}] {dtype}".strip()


def _check_samples(contract: Contract, fixture: Fixture, prior: Any) -> bool:
    """Shapes, dtypes and finite numbers of samples; False where `sample` returns no tensor at all."""
    d, width = fixture.sizes.code, fixture.sizes.asked
    for dtype in (torch.float64, torch.float32):
        made = prior if dtype is torch.float64 else fixture.make(dtype=dtype)
        for mode, n in (("training", ROWS), ("evaluation", ROWS), ("evaluation", 1)):
            rows = one_hot(n, width, dtype)
            before = rows.clone()
            made.train(mode == "training")
            called = f"sample({_rows(n, width, dtype_name(dtype))}) in {mode} mode"
            with seeded("testing", "samples"):
                z = contract.call(called, lambda made=made, rows=rows: made.sample(rows), f"sample returns {CODES}")  # type: ignore[misc]
            contract.tensor(called, z, (n, d), dtype, CODES)
            if not isinstance(z, Tensor):
                return False
            check_unchanged(contract, called, "asked", rows, before)
        if contract.failures:
            break
    fixture.make()  # brings lent modules back to float64
    with contextlib.suppress(Exception):
        none = prior.eval().sample(one_hot(0, width) if width else torch.zeros(0, 0, dtype=torch.float64))
        contract.tensor(f"sample({_rows(0, width)})", none, (0, d), torch.float64, CODES)
    return True


def _check_randomness(contract: Contract, fixture: Fixture, prior: Any, uses_asked: bool) -> None:
    """Draws differ, and are a function of torch's seed and of `asked`."""
    if contract.failures:
        return
    width = fixture.sizes.asked
    rows = one_hot(1, width).expand(ROWS, -1)
    called = f"sample({_rows(ROWS, width)})"

    def draw(asked: Tensor, *, seed: int | None = None) -> Tensor:
        with torch.no_grad(), seeded("testing", seed) if seed is not None else contextlib.nullcontext():
            z: Tensor = prior.eval().sample(asked)
            return z

    with seeded("testing", "draws"):
        first, second = draw(rows), draw(rows)
    contract.require(
        not torch.equal(first, second),
        f"{called}, twice",
        "the same codes both times",
        "each call is a new draw",
        "draw inside sample, not in __init__, and do not seed inside the part",
    )
    contract.require(
        not torch.equal(first, first[:1].expand_as(first)),
        called,
        "the same code in each row",
        "each row is a draw of its own",
        "draw n times: torch.randn(len(asked), d, ...)",
    )
    contract.require(
        torch.equal(draw(rows, seed=7), draw(rows, seed=7)),
        f"{called}, twice under the same torch.manual_seed",
        "different codes",
        "a draw depends on torch's random generators alone, so that a run can be repeated",
        "draw with torch, not with numpy, random or a generator of your own",
    )
    if uses_asked:
        other = one_hot(2, width)[1:].expand(ROWS, -1) if width > 1 else rows
        contract.require(
            not torch.equal(draw(rows, seed=7), draw(other, seed=7)),
            f"{called} for two different conditions under the same seed",
            "the same codes",
            "this prior depends on `asked` (uses_asked=True)",
            "let sample use `asked`, or leave uses_asked out",
        )


def _check_parameters(contract: Contract, fixture: Fixture) -> None:
    """Each parameter has a gradient, from samples or from the density."""
    prior = fixture.make()
    width = fixture.sizes.asked
    if prior is None or contract.failures:
        return
    asked = one_hot(ROWS, width)
    with seeded("testing", "parameters"):
        z = prior.sample(asked)
        outputs, called = [z], f"sample({_rows(ROWS, width)})"
        if isinstance(prior, DensityPrior):
            called += f" and log_prob(z [{ROWS}, {z.shape[1]}], asked)"
            log_p = contract.call(called, lambda: prior.log_prob(z.detach(), asked))
            outputs += [log_p] if isinstance(log_p, Tensor) else []
        if isinstance(prior, EnergyPrior):
            called += f" and log_prob_surrogate(z [{ROWS}, {z.shape[1]}], asked)"
            log_p = contract.call(called, lambda: prior.log_prob_surrogate(z.detach(), asked))
            outputs += [log_p] if isinstance(log_p, Tensor) else []
    fixture.check_reached(called, prior, outputs)
    if prior.reparameterised and any(p.requires_grad for p in prior.parameters()):
        contract.require(
            z.requires_grad,
            f"sample({_rows(ROWS, width)})",
            f"{describe(z)}, detached from the prior's parameters",
            "sample is differentiable in the prior's parameters: a learned prior descends a loss of its samples",
            "take out detach(), no_grad() and .data, and draw with a reparameterisation (rsample); or set "
            "reparameterised = False in the class body, for a prior that learns from its density alone",
        )


def _check_densities(
    contract: Contract,
    config: PartConfig,
    sizes: Sizes,
    lend: Mapping[str, nn.Module] | None,
    prepare: Callable[[Any, torch.dtype], None] | None,
) -> None:
    """The density for codes of 1, 2 and 3 numbers and of the requested width, where the prior can be made so."""
    borrowing = bool(config.part.borrows_of(config))
    widths = dict.fromkeys([sizes.code] if borrowing else [sizes.code, 2, 1, 3])
    for d in widths:
        fixture = Fixture(contract, config, sizes._replace(code=d), lend)
        fixture.prepare = prepare
        if _takes_width(contract, fixture, config, d):
            # Two conditions of the first width alone, so that the error rate stays as stated.
            _check_density(contract, fixture, conditions=2 if d == sizes.code else 1)
        if contract.failures:
            return


def _takes_width(contract: Contract, fixture: Fixture, config: PartConfig, d: int) -> bool:
    """Whether the prior can be made for codes of d numbers; where it cannot, it must refuse with a PlanError."""
    came = ""
    try:
        for module in fixture.lent.values():
            module.to(torch.float64)
        with seeded("testing", "width"), torch.no_grad():
            prior = config.make(fixture.sizes, **{role: Borrowed(module) for role, module in fixture.lent.items()})
            if fixture.prepare is not None:
                fixture.prepare(prior.to(torch.float64), torch.float64)
            z = prior.to(torch.float64).eval().sample(one_hot(ROWS, fixture.sizes.asked))
        if tuple(z.shape) == (ROWS, d):
            return True
        came = f"codes {describe(z)}"
    except PlanError:
        return False
    except Exception as error:
        came = f"{type(error).__name__}: {error}"
    return contract.require(
        False,
        f"made for codes of {d} numbers (sizes.code = {d})",
        came,
        "codes are as wide as sizes.code; a width that the prior cannot have is refused with a genprior.PlanError",
        "use self.sizes.code in place of a number, or raise genprior.PlanError in __init__ where sizes.code does not "
        "suit, and say which code_size does",
    )


def _check_density(contract: Contract, fixture: Fixture, conditions: int) -> None:
    """The density's shape, gradient, integral and fit."""
    width, d = fixture.sizes.asked, fixture.sizes.code
    prior = fixture.make()
    if prior is None:
        return
    prior.eval()
    with seeded("testing", "own"), torch.no_grad():
        asked = one_hot(ROWS, width)
        z = prior.sample(asked)
    called = f"log_prob(z [{ROWS}, {d}], {_rows(ROWS, width)})"
    with torch.no_grad():
        log_p = contract.call(called, lambda: prior.log_prob(z, asked), "log_prob returns one number for each code")
    if not contract.tensor(called, log_p, (ROWS,), torch.float64, "one log-density for each code", finite=False):
        return
    with torch.no_grad():
        alone = torch.cat([prior.log_prob(z[i : i + 1], asked[i : i + 1]) for i in range(4)])
    contract.require(
        torch.allclose(alone, log_p[:4], rtol=1e-8, atol=1e-8),
        f"log_prob of a code alone, and of the same code among {ROWS}",
        "different densities",
        "in evaluation mode each row's density depends on that row alone",
        "take no statistics over the batch, and check the axis of each sum",
    )
    check_gradient(contract, called, lambda codes: prior.log_prob(codes, asked[:4]), z[:4])
    for k in sorted({0, max(width - 1, 0)})[:conditions]:
        row = one_hot(width, width)[k : k + 1] if width else one_hot(1, 0)
        checks = [check_density if d <= WIDEST else check_ratio, *([check_cumulative] if d == 1 else [])]
        if on_sphere(prior, z):
            checks = [check_sphere]
        for check in checks:
            check(
                contract,
                "log_prob(z, asked)",
                lambda codes, row=row: prior.log_prob(codes, row.expand(len(codes), -1)),  # type: ignore[misc]
                lambda n, row=row: prior.sample(row.expand(n, -1)),  # type: ignore[misc]
                f", d = {d}" + (f", for the one-hot condition {k}" if width else ""),
            )
            if contract.failures:
                return
