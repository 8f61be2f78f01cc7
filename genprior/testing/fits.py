"""The contract of a prior that is fitted to codes."""

from __future__ import annotations

import torch

from genprior.engine.fit import begin_fit
from genprior.parts import Codes, FittedPrior
from genprior.randomness import seeded
from genprior.testing.fixture import Fixture
from genprior.testing.model_training import check_training
from genprior.testing.report import Contract
from genprior.testing.tensors import one_hot

__all__ = ["check_fit", "some_codes"]

CODES = 400


def some_codes(width: int, asked: int, dtype: torch.dtype = torch.float64) -> Codes:
    """Codes of two clusters that differ in place and scale, with one-hot conditions: z [400, width]."""
    with seeded("testing", "codes"):
        z = torch.randn(CODES, width, dtype=torch.float64)
        z[::2] = 0.5 * z[::2] + 2
    return Codes(z.to(dtype), one_hot(CODES, asked, dtype))


def check_fit(contract: Contract, fixture: Fixture) -> None:
    """A fit trains exactly the modules that its phases name, can be repeated, and survives a state_dict."""
    width, asked = fixture.sizes.code, fixture.sizes.asked
    codes = some_codes(width, asked)
    prior = _begun(contract, fixture, codes)
    if not isinstance(prior, FittedPrior):
        return
    again = _begun(contract, fixture, codes)  # only where the first succeeds, or one error is told twice
    if not isinstance(again, FittedPrior):
        return
    _check_sizes(contract, fixture.make(), prior)
    contract.require(
        prior.closed_form == (not prior.phases()),
        f"closed_form = {prior.closed_form}, and phases() returns {len(prior.phases())} phases",
        "the two disagree",
        "a prior in closed form has no phases; any other prior has some",
        "state closed_form = True where begin_fit does all, and leave it out where phases train the prior",
    )
    contract.require(
        _equal(prior, again),
        "begin_fit of the same codes under the same seed, twice",
        "different parameters or buffers",
        "a fit depends on the codes and torch's random generators alone, so that a run can be repeated",
        "give other libraries a seed drawn with torch: int(torch.randint(2**31, ()))",
    )
    if not prior.phases():
        other = _begun(contract, fixture, Codes(0.5 * codes.z.flip(0) - 3, codes.asked))
        contract.require(
            not isinstance(other, FittedPrior) or not _equal(prior, other),
            "begin_fit of other codes",
            "the same parameters and buffers as those of the first codes",
            "a prior in closed form is fitted by begin_fit alone, so it depends on the codes",
            "set parameters or buffers from codes.z in begin_fit; a prior that needs no codes is no FittedPrior",
        )
    else:
        few = Codes(codes.z[:64], codes.asked[:64], torch.zeros((), dtype=torch.int64), torch.zeros(()))
        check_training(contract, prior, few, ())
    if contract.failures:
        return
    fresh = fixture.make(seed=1)
    called = "load_state_dict into a new prior that was not fitted"
    contract.call(
        called, lambda: fresh.load_state_dict(prior.state_dict()) or fresh, "a run is read from its checkpoint"
    )
    if contract.failures:
        return
    with torch.no_grad():
        draws = []
        for each in (prior.eval(), fresh.eval()):
            with seeded("testing", "restored"):
                draws.append(each.sample(one_hot(32, asked)))
    contract.require(
        torch.equal(*draws),
        f"{called}, then sample under the same seed",
        "other codes than those of the fitted prior",
        "all that a fit sets is in the state_dict",
        "register what begin_fit sets as a buffer; name buffers whose shape depends on the codes in sized_by_codes",
    )


def _begun(contract: Contract, fixture: Fixture, codes: Codes) -> object:
    prior = fixture.make()
    if not isinstance(prior, FittedPrior):
        return None
    called = f"begin_fit(z [{CODES}, {codes.z.shape[1]}], asked [{CODES}, {codes.asked.shape[1]}])"

    def begin() -> FittedPrior:
        begin_fit(prior, codes, 0)
        return prior

    contract.call(called, begin, "a prior can be fitted to a few hundred codes")
    return None if contract.failures else prior


def _equal(one: FittedPrior, two: FittedPrior) -> bool:
    """Whether two priors have the same parameters and buffers."""
    first, second = one.state_dict(), two.state_dict()
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def _check_sizes(contract: Contract, fresh: FittedPrior, prior: FittedPrior) -> None:
    """Buffers whose shape a fit changes are named in `sized_by_codes`, without which no checkpoint could be read."""
    before = {name: each.shape for name, each in fresh.named_buffers()}
    owners = dict(prior.named_modules())
    for path, buffer in prior.named_buffers():
        home, _, name = path.rpartition(".")
        owner = owners[home]
        known = isinstance(owner, FittedPrior) and name in owner.sized_by_codes
        if path in before and before[path] != buffer.shape and not known:
            contract.require(
                False,
                f"begin_fit(z [{CODES}, {fresh.sizes.code}])",
                f"buffer '{path}' of shape {[*before[path]]} has the shape {[*buffer.shape]} afterwards",
                "a buffer whose shape depends on the codes is named in sized_by_codes, by which checkpoints are read",
                f'write sized_by_codes = ("{name}",) in the class'
                + ("" if owner is prior else f", and register '{name}' as a buffer of the prior itself"),
            )
