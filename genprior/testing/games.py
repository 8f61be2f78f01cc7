"""The contract of an adversarial game."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genprior.parts import Game, PartConfig, Sizes
from genprior.randomness import seeded
from genprior.testing.making import Workshop, check_config, config_of, one_hot, setting_of
from genprior.testing.report import Contract

__all__ = ["check_game"]

N, D = 16, 3


class _Critic:
    """A smooth critic that remembers what it was shown: logits tanh(x w) + b, about 0 before anything is learned."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.weight = torch.full((D,), 0.1, dtype=dtype, requires_grad=True)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, x: Tensor, known: Tensor) -> Tensor:
        self.seen.append((x, known))
        return torch.tanh(x @ self.weight)


def check_game(part: PartConfig | type[Game], *, known: int = 2) -> None:
    """Check that a game keeps its contract; see `genprior.Game`.

    Both losses are finite scalars in the dtype of the logits. A step down `critic_loss` raises the critic's score of
    the real samples above that of the fakes; a step down `generator_loss` raises the score of each kind of fake. The
    critic is shown each pair (x, known) as it came. Tried with one kind of fake and with two, near indifference.

    Args:
        part: the settings or the class.
        known: width of what is told.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = config_of(part, Game)
    sizes = Sizes((1, 8, 8), D, known, 0)
    contract = Contract(config.part, setting_of(config, sizes))
    check_config(contract, config)
    workshop = Workshop(contract, config, sizes, None)
    for dtype in (torch.float64, torch.float32):
        for kinds in (1, 2):
            game = workshop.make(dtype=dtype)
            if game is not None and not contract.failures:
                _check_losses(contract, game, kinds, dtype, known)
    contract.finish()


def _check_losses(contract: Contract, game: Any, kinds: int, dtype: torch.dtype, known: int) -> None:
    told = one_hot(N, known, dtype)
    with seeded("testing", "game"):
        real = 1 + 0.3 * torch.randn(N, D, dtype=dtype), told.clone()
        fakes = [(-1 + 0.3 * torch.randn(N, D, dtype=dtype), told.clone()) for _ in range(kinds)]
    for x, _ in fakes:
        x.requires_grad_()
    shapes = ", ".join(["(fake [16, 3], known)"] * kinds)
    critic = _Critic(dtype)
    called = f"critic_loss(critic, (real [16, 3], known), {shapes}) in {str(dtype).removeprefix('torch.')}"
    with seeded("testing", "loss"):
        loss = contract.call(called, lambda: game.critic_loss(critic, real, *fakes), "critic_loss gives one number")
    if contract.tensor(called, loss, (), dtype, "a scalar, reduced over the batch"):
        _check_pairs(contract, called, critic, [real, *fakes])
        gradient = torch.autograd.grad(loss, critic.weight, allow_unused=True)[0] if loss.requires_grad else None
        contract.require(
            gradient is not None and bool((gradient < 0).all()),
            f"a step of the critic down {called}",
            "the critic's parameters do not move" if gradient is None else "it brings real and fake scores together",
            "the critic learns to give high scores to real samples and low ones to fakes",
            "check the signs: real logits go up, the fakes' go down",
        )
    critic = _Critic(dtype)
    called = f"generator_loss(critic, {shapes}) in {str(dtype).removeprefix('torch.')}"
    with seeded("testing", "loss"):
        loss = contract.call(called, lambda: game.generator_loss(critic, *fakes), "generator_loss gives one number")
    if not contract.tensor(called, loss, (), dtype, "a scalar, reduced over the batch"):
        return
    _check_pairs(contract, called, critic, fakes)
    for kind, (x, _) in enumerate(fakes):
        slope = torch.autograd.grad(loss, x, retain_graph=True, allow_unused=True)[0] if loss.requires_grad else None
        # The critic's weights are positive, so its score rises with each coordinate of a sample.
        contract.require(
            slope is not None and bool((slope < 0).all()),
            f"a step of fake {kind} down {called}",
            "it does not move" if slope is None else "its score does not rise",
            "whoever made the fakes learns to raise the critic's score of each kind of fake",
            "check the sign, use every fake, and take out detach() and no_grad()",
        )


def _check_pairs(contract: Contract, called: str, critic: _Critic, pairs: list[tuple[Tensor, Tensor]]) -> None:
    for number, (x, known) in enumerate(pairs):
        shown = [told for seen, told in critic.seen if seen is x]
        contract.require(
            bool(shown) and all(told is known for told in shown),
            called,
            f"the critic was {'told something else about' if shown else 'never shown'} samples of pair {number}",
            "the critic is called as critic(x, known) with the very tensors of each pair",
            "call critic(*pair): a model lets both losses share one forward pass, which it finds by these tensors",
        )
