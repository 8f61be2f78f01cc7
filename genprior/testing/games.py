"""The contract of an adversarial game."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from genprior.parts import FeatureCritic, Game, PartConfig, Sizes
from genprior.randomness import seeded
from genprior.testing.making import Workshop, check_config, config_of, one_hot, setting_of
from genprior.testing.report import Contract, describe

__all__ = ["check_game"]

N, D = 16, 3
IMAGE = (1, 8, 8)

Pair = tuple[Tensor, Tensor]


class _Critic:
    """A smooth critic that remembers what it was shown: logits tanh(x w) + b, about 0 before anything is learned."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.weight = torch.full((D,), 0.1, dtype=dtype, requires_grad=True)
        self.seen: list[Pair] = []

    def __call__(self, x: Tensor, known: Tensor) -> Tensor:
        self.seen.append((x, known))
        return torch.tanh(x @ self.weight)


class _ImageCritic(FeatureCritic):
    """A smooth critic of images with features, for a game that borrows one; it remembers what it was shown."""

    name = "lent_critic"

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(type(self).Config(), sizes)
        c, h, w = sizes.image
        self.layers = nn.ModuleDict({"conv1": nn.Linear(c * h * w, 12), "conv2": nn.Linear(12, 6)})
        self.head = nn.Linear(6, 1)
        self.seen: list[Pair] = []

    @property
    def feature_layers(self) -> tuple[str, ...]:
        return tuple(self.layers)

    @property
    def trunk_width(self) -> int:
        return 6

    def features(self, x: Tensor, known: Tensor, layer: str) -> Tensor:
        self.seen.append((x, known))
        x = x.flatten(1)
        for name, module in self.layers.items():
            x = torch.tanh(module(x))
            if name == layer:
                break
        return x

    def trunk(self, x: Tensor, known: Tensor) -> Tensor:
        return self.features(x, known, "conv2")

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        logits: Tensor = self.head(self.trunk(x, known))
        return logits.squeeze(1)


def check_game(part: PartConfig | type[Game], *, known: int = 2) -> None:
    """Check that a game keeps its contract; see `genprior.Game`.

    Both losses are finite scalars in the dtype of the logits. A step down `critic_loss` raises the critic's score of
    the real samples above that of the fakes; a step down `generator_loss` raises the score of each kind of fake. The
    critic is shown each pair (x, known) as it came. Tried with one kind of fake and with two, near indifference.

    Of a game that borrows the image critic, whose features say more than its score, only this is asked: its losses
    reach the critic and each kind of fake, and each pair is shown to the critic itself or to its features.

    Parameters of the game's own are reached by `own_loss`, which is None where there are none. State of its own moves
    in `advance` alone, and a game into which it is loaded gives the same losses. Notes are finite scalars without a
    gradient.

    Args:
        part: the settings or the class.
        known: width of what is told.

    Raises:
        ContractError: lists every promise that is broken.
    """
    config = config_of(part, Game)
    sizes = Sizes(IMAGE, D, known, 0)
    contract = Contract(config.part, setting_of(config, sizes))
    check_config(contract, config)
    with seeded("testing", "lent"):
        lent = {"image_critic": _ImageCritic(sizes)} if "image_critic" in config.part.borrows else {}
    workshop = Workshop(contract, config, sizes, lent)
    for dtype in (torch.float64, torch.float32):
        for kinds in (1, 2):
            game = workshop.make(dtype=dtype)
            if game is None or contract.failures:
                continue
            samples = _samples(kinds, dtype, known, IMAGE if lent else (D,))
            _check_losses(contract, game, samples, dtype, lent.get("image_critic"))
            _check_own(contract, workshop, game, samples, dtype, lent.get("image_critic"))
    if not contract.failures:
        _check_state(contract, workshop, _samples(1, torch.float64, known, IMAGE if lent else (D,)), lent)
    contract.finish()


def _samples(kinds: int, dtype: torch.dtype, known: int, shape: tuple[int, ...]) -> list[Pair]:
    """Real samples about 1, then each kind of fake about -1."""
    told = one_hot(N, known, dtype)
    with seeded("testing", "game"):
        real = 1 + 0.3 * torch.randn(N, *shape, dtype=dtype), told.clone()
        fakes = [(-1 + 0.3 * torch.randn(N, *shape, dtype=dtype), told.clone()) for _ in range(kinds)]
    for x, _ in fakes:
        x.requires_grad_()
    return [real, *fakes]


def _called(method: str, samples: list[Pair], dtype: torch.dtype, *, real: bool) -> str:
    shape = list(samples[0][0].shape)
    pairs = [f"(real {shape}, known)"] * real + [f"(fake {shape}, known)"] * (len(samples) - 1)
    return f"{method}(critic, {', '.join(pairs)}) in {str(dtype).removeprefix('torch.')}"


def _check_losses(
    contract: Contract, game: Any, samples: list[Pair], dtype: torch.dtype, lent: _ImageCritic | None
) -> None:
    real, *fakes = samples
    critic = _shown_nothing(lent) or _Critic(dtype)
    called = _called("critic_loss", samples, dtype, real=True)
    with seeded("testing", "loss"):
        loss = contract.call(called, lambda: game.critic_loss(critic, real, *fakes), "critic_loss gives one number")
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
    critic = _shown_nothing(lent) or _Critic(dtype)
    called = _called("generator_loss", samples, dtype, real=False)
    with seeded("testing", "loss"):
        loss = contract.call(called, lambda: game.generator_loss(critic, *fakes), "generator_loss gives one number")
    if not contract.tensor(called, loss, (), dtype, "a scalar, reduced over the batch"):
        return
    _check_pairs(contract, called, critic, fakes)
    for kind, (x, _) in enumerate(fakes):
        slope = torch.autograd.grad(loss, x, retain_graph=True, allow_unused=True)[0] if loss.requires_grad else None
        # The critic's weights are positive, so its score rises with each coordinate of a sample.
        right = slope is not None and bool((slope < 0).all() if lent is None else (slope != 0).any())
        contract.require(
            right,
            f"a step of fake {kind} down {called}",
            "it does not move" if slope is None or lent is not None else "its score does not rise",
            "whoever made the fakes learns to raise the critic's score of each kind of fake",
            "check the sign, use every fake, and take out detach() and no_grad()",
        )


def _shown_nothing(lent: _ImageCritic | None) -> Any:
    if lent is not None:
        lent.seen.clear()
    return lent


def _check_pairs(contract: Contract, called: str, critic: Any, pairs: list[Pair]) -> None:
    for number, (x, known) in enumerate(pairs):
        shown = [told for seen, told in critic.seen if seen is x]
        contract.require(
            bool(shown) and all(told is known for told in shown),
            called,
            f"the critic was {'told something else about' if shown else 'never shown'} samples of pair {number}",
            "the critic is called as critic(x, known) with the very tensors of each pair",
            "call critic(*pair): a model lets both losses share one forward pass, which it finds by these tensors",
        )


def _check_own(
    contract: Contract,
    workshop: Workshop,
    game: Any,
    samples: list[Pair],
    dtype: torch.dtype,
    lent: _ImageCritic | None,
) -> None:
    """What the game itself learns, and what it says of its losses."""
    real, *fakes = samples
    critic = _shown_nothing(lent) or _Critic(dtype)
    called = _called("own_loss", samples, dtype, real=True)
    with seeded("testing", "own"):
        own = contract.call(called, lambda: game.own_loss(critic, real, *fakes), optional=True)
    learns = any(p.requires_grad for p in game.parameters())
    contract.require(
        (own is not None) == learns,
        called,
        "None" if own is None else describe(own),
        "own_loss is a scalar for a game with parameters of its own, and None for one without",
        "return what the game's own parameters descend, or None where there are none",
    )
    if own is not None and contract.tensor(called, own, (), dtype, "a scalar, reduced over the batch"):
        workshop.check_reached(called, game, [own])
    notes = contract.call("notes()", game.notes, "notes() gives scalars by name")
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
            "detach what the losses saw, and reduce it",
        )


def _check_state(contract: Contract, workshop: Workshop, samples: list[Pair], lent: Mapping[str, _ImageCritic]) -> None:
    """The state of a game moves in `advance` alone, and goes on in a game that it is loaded into."""
    real, *fakes = samples
    first, second = workshop.make(0), workshop.make(1)
    if first is None or second is None:
        return
    workshop.check_ownership(first)

    def losses(game: Any, seed: int) -> list[Tensor]:
        critic = lent.get("image_critic") or _Critic(torch.float64)
        with seeded("testing", "state", seed):
            own = game.own_loss(critic, real, *fakes)
            both = [game.critic_loss(critic, real, *fakes), game.generator_loss(critic, *fakes)]
        return [loss.detach() for loss in (both if own is None else [*both, own])]

    before = {key: value.clone() for key, value in first.state_dict().items()}
    losses(first, 0)
    changed = [key for key, value in first.state_dict().items() if not torch.equal(value, before[key])]
    contract.require(
        not changed,
        "critic_loss, generator_loss and own_loss",
        f"they changed {', '.join(changed)}",
        "a loss changes no state; what brings the game's state on is what advance() returns",
        "move it into a function, and return that from advance()",
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
        "the losses of a game that another one's state_dict was loaded into",
        "other numbers under the same seed",
        "all that a game has learned or counted is in its state_dict, so that a checkpoint holds it",
        "make it an nn.Parameter, or register_buffer(...) what does not learn",
    )
