"""The contract of an adversarial game."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genprior.parts import Game, PartConfig, Sizes
from genprior.randomness import seeded
from genprior.testing.fixture import Fixture, begin
from genprior.testing.lent import LentCritic
from genprior.testing.report import Contract, describe, dtype_name
from genprior.testing.settings import config_of
from genprior.testing.tensors import one_hot

__all__ = ["check_game"]

N, D = 16, 3
IMAGE = (1, 8, 8)

Pair = tuple[Tensor, Tensor]


class _Critic:
    """A smooth critic that records its inputs: logits tanh(x w), near 0."""

    def __init__(self, dtype: torch.dtype, device: torch.device | None = None) -> None:
        self.weight = torch.full((D,), 0.1, dtype=dtype, device=device, requires_grad=True)
        self.seen: list[Pair] = []

    def __call__(self, x: Tensor, known: Tensor) -> Tensor:
        self.seen.append((x, known))
        return torch.tanh(x @ self.weight)


class _ImageCritic(LentCritic):
    """A smooth critic of images with features that records its inputs, for a game that borrows one."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes, (12, 6), nn.Tanh)
        self.seen: list[Pair] = []

    def features(self, x: Tensor, known: Tensor, layer: str) -> Tensor:
        self.seen.append((x, known))
        return super().features(x, known, layer)


def check_game(part: PartConfig | type[Game], *, known: int = 2) -> None:
    """Check that a game keeps its contract; see `genprior.Game`.

    Both losses are finite scalars in the dtype of the logits. A step down `critic_loss` raises the critic's score of
    the real samples above that of the fakes; a step down `generator_loss` raises the score of each kind of fake. The
    critic is called with the tensors of each pair (x, known) themselves; `generator_loss` may leave out the real
    samples. This is tried with one kind of fake and with two, with logits near 0.

    For a game that borrows the image critic, and may use its features in place of its score, the checks are weaker: its
    losses have gradients in the critic and in each kind of fake, and the critic or its features are called with each
    pair.

    `own_loss` has gradients in all parameters of the game, and is None for a game without parameters. State of the game
    changes only in `advance`, and a game that loads its state_dict has the same losses. Notes are finite scalars
    without a gradient.

    Args:
        part: the settings or the class.
        known: the width of `known`.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = config_of(part, Game)
    sizes = Sizes(IMAGE, D, known, 0)
    with seeded("testing", "lent"):
        lent = {"image_critic": _ImageCritic(sizes)} if "image_critic" in config.part.borrows_of(config) else {}
    contract, fixture = begin(config, sizes, lent)
    for dtype in (torch.float64, torch.float32):
        for kinds in (1, 2):
            game = fixture.make(dtype=dtype)
            if game is None or contract.failures:
                continue
            samples = _samples(kinds, dtype, known, IMAGE if lent else (D,))
            _check_losses(contract, game, samples, dtype, lent.get("image_critic"))
            _check_own(contract, fixture, game, samples, dtype, lent.get("image_critic"))
    if not contract.failures:
        _check_state(contract, fixture, _samples(1, torch.float64, known, IMAGE if lent else (D,)), lent)
    if not contract.failures:
        _check_draws(fixture, known, IMAGE if lent else (D,), lent.get("image_critic"))
    contract.finish()


def _check_draws(fixture: Fixture, known: int, shape: tuple[int, ...], lent: _ImageCritic | None) -> None:
    """The losses at the edges of what `torch.rand` draws, and on another device."""

    def use(game: Any, device: torch.device | None = None) -> list[Tensor]:
        critic: Any = lent or _Critic(fixture.dtype, device)
        real, *fakes = [
            (x.detach().to(device), rows.to(device)) for x, rows in _samples(2, fixture.dtype, known, shape)
        ]
        for x, _ in fakes:
            x.requires_grad_()
        own = game.own_loss(critic, real, *fakes)
        losses = [game.critic_loss(critic, real, *fakes), game.generator_loss(critic, *fakes)]
        return losses if own is None else [*losses, own]

    called = f"critic_loss and generator_loss of samples {[N, *shape]}"
    fixture.check_edges(called, use, "losses")
    fixture.check_device(called, use)


def _samples(kinds: int, dtype: torch.dtype, known: int, shape: tuple[int, ...]) -> list[Pair]:
    """Real samples near 1, then each kind of fake near -1."""
    rows = one_hot(N, known, dtype)
    with seeded("testing", "game"):
        real = 1 + 0.3 * torch.randn(N, *shape, dtype=dtype), rows.clone()
        fakes = [(-1 + 0.3 * torch.randn(N, *shape, dtype=dtype), rows.clone()) for _ in range(kinds)]
    for x, _ in fakes:
        x.requires_grad_()
    return [real, *fakes]


def _called(method: str, samples: list[Pair], dtype: torch.dtype) -> str:
    shape = list(samples[0][0].shape)
    pairs = [f"(real {shape}, known)"] + [f"(fake {shape}, known)"] * (len(samples) - 1)
    return f"{method}(critic, {', '.join(pairs)}) in {dtype_name(dtype)}"


def _check_losses(
    contract: Contract, game: Any, samples: list[Pair], dtype: torch.dtype, lent: _ImageCritic | None
) -> None:
    real, *fakes = samples
    critic = _without_record(lent) or _Critic(dtype)
    called = _called("critic_loss", samples, dtype)
    with seeded("testing", "loss"):
        loss = contract.call(called, lambda: game.critic_loss(critic, real, *fakes), "critic_loss returns one number")
    if contract.tensor(called, loss, (), dtype, "a scalar, reduced over the batch"):
        _check_pairs(contract, called, critic, samples)
        weights = list(critic.parameters()) if isinstance(critic, nn.Module) else [critic.weight]
        gradients = torch.autograd.grad(loss, weights, allow_unused=True) if loss.requires_grad else (None,)
        reached = [gradient for gradient in gradients if gradient is not None and bool((gradient != 0).any())]
        # The critic's score rises with its weights where a sample is positive, as the real ones are.
        right = bool(reached) and (lent is not None or all(bool((gradient < 0).all()) for gradient in reached))
        contract.require(
            right,
            f"a step of the critic down {called}",
            "it brings real and fake scores together" if reached else "the critic's parameters do not move",
            "the critic learns to give high scores to real samples and low ones to fakes",
            "check the signs: real logits go up, the fakes' go down",
        )
    critic = _without_record(lent) or _Critic(dtype)
    called = _called("generator_loss", samples, dtype)
    with seeded("testing", "loss"):
        loss = contract.call(
            called, lambda: game.generator_loss(critic, real, *fakes), "generator_loss returns one number"
        )
    if not contract.tensor(called, loss, (), dtype, "a scalar, reduced over the batch"):
        return
    # A relativistic game scores the real samples too.
    sees_real = any(x.shape == real[0].shape and torch.equal(x, real[0]) for x, _ in critic.seen)
    _check_pairs(contract, called, critic, samples, first=0 if sees_real else 1)
    for kind, (x, _) in enumerate(fakes):
        slope = torch.autograd.grad(loss, x, retain_graph=True, allow_unused=True)[0] if loss.requires_grad else None
        # The critic's weights are positive, so its score rises with each coordinate of a sample.
        right = slope is not None and bool((slope < 0).all() if lent is None else (slope != 0).any())
        contract.require(
            right,
            f"a step of fake {kind} down {called}",
            "it does not move" if slope is None or lent is not None else "its score does not rise",
            "the module that makes the fakes learns to raise the critic's score of each kind of fake",
            "check the sign, use every fake, and take out detach() and no_grad()",
        )


def _without_record(lent: _ImageCritic | None) -> Any:
    if lent is not None:
        lent.seen.clear()
    return lent


def _check_pairs(contract: Contract, called: str, critic: Any, pairs: list[Pair], first: int = 0) -> None:
    for number, (x, known) in enumerate(pairs[first:], first):
        conditions = [condition for seen, condition in critic.seen if seen is x]
        copied = any(seen.shape == x.shape and torch.equal(seen, x) for seen, _ in critic.seen)
        problem = "called with a copy of" if copied else "never called with"
        problem = "called with another `known` for" if conditions else problem
        contract.require(
            bool(conditions) and all(condition is known for condition in conditions),
            called,
            f"the critic was {problem} the samples of pair {number}",
            "the critic is called as critic(x, known) with the very tensors of each pair",
            "call critic(*pair): both losses share one forward pass, which is looked up by these tensors",
        )


def _check_own(
    contract: Contract,
    fixture: Fixture,
    game: Any,
    samples: list[Pair],
    dtype: torch.dtype,
    lent: _ImageCritic | None,
) -> None:
    """`own_loss` reaches the game's own parameters, and `notes` are finite scalars."""
    real, *fakes = samples
    critic = _without_record(lent) or _Critic(dtype)
    called = _called("own_loss", samples, dtype)
    with seeded("testing", "own"):
        own = contract.call(called, lambda: game.own_loss(critic, real, *fakes), optional=True)
    learns = any(p.requires_grad for p in game.parameters())
    contract.require(
        (own is not None) == learns,
        called,
        "None" if own is None else describe(own),
        "own_loss is a scalar for a game with parameters of its own, and None for one without",
        "return the loss that the game's own parameters descend, or None without parameters",
    )
    if own is not None and contract.tensor(called, own, (), dtype, "a scalar, reduced over the batch"):
        fixture.check_reached(called, game, [own])
    notes = contract.call("notes()", game.notes, "notes() returns scalars by name")
    if notes is None or not contract.require(
        isinstance(notes, Mapping), "notes()", describe(notes), "a dict of scalars by name", "return {name: scalar}"
    ):
        return
    for name, value in notes.items():
        right = isinstance(value, Tensor) and value.shape == () and not value.requires_grad and "/" not in name
        contract.require(
            right and bool(torch.isfinite(value)),
            f"notes()['{name}']",
            describe(value),
            "a finite scalar without a gradient, under a name without '/'",
            "detach the value, and reduce it to a scalar",
        )


def _check_state(contract: Contract, fixture: Fixture, samples: list[Pair], lent: Mapping[str, _ImageCritic]) -> None:
    """The state of a game changes only in `advance`, and a game that loads it has the same losses."""
    real, *fakes = samples
    first, second = fixture.make(0), fixture.make(1)
    if first is None or second is None:
        return
    fixture.check_ownership(first)

    def losses(game: Any, seed: int) -> list[Tensor]:
        critic = lent.get("image_critic") or _Critic(torch.float64)
        with seeded("testing", "state", seed):
            own = game.own_loss(critic, real, *fakes)
            both = [game.critic_loss(critic, real, *fakes), game.generator_loss(critic, real, *fakes)]
        return [loss.detach() for loss in (both if own is None else [*both, own])]

    before = {key: value.clone() for key, value in first.state_dict().items()}
    losses(first, 0)
    changed = [key for key, value in first.state_dict().items() if not torch.equal(value, before[key])]
    contract.require(
        not changed,
        "critic_loss, generator_loss and own_loss",
        f"they changed {', '.join(changed)}",
        "a loss changes no state; the function that advance() returns updates the game's state",
        "move the update into a function, and return that from advance()",
    )
    advance: Callable[[], None] | None = contract.call("advance()", first.advance, optional=True)
    if advance is not None:
        for _ in range(3):
            losses(first, 0)
            with torch.no_grad():
                contract.call("advance()()", advance, optional=True)
    if contract.call("load_state_dict(state_dict())", lambda: second.load_state_dict(first.state_dict())) is None:
        return
    same = all(torch.equal(a, b) for a, b in zip(losses(first, 1), losses(second, 1), strict=True))
    contract.require(
        same,
        "the losses of a game after another instance's state_dict was loaded into it",
        "other numbers under the same seed",
        "all that a game has learned or counted is in its state_dict, so that a checkpoint holds it",
        "make it an nn.Parameter, or a buffer with register_buffer(...) if it is not trained",
    )
