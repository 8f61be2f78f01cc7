"""The categorical game."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable

import torch
from pydantic import Field
from torch import Tensor, nn

from genprior import Borrowed, FeatureCritic, Game, PartConfig, PlanError, Sizes

__all__ = ["CategoricalGame"]


class CategoricalGame(Game):
    """The critic sorts real images into K categories, confidently and evenly, and is uncertain about fakes.

        L_D = -H[E p(y | x)] + E H[p(y | x)] - E H[p(y | G)]
        L_G = -H[E p(y | G)] + E H[p(y | G)]

    in nats; H is entropy, and the expectations inside and outside are means over a batch. p(y | x) is the softmax of a
    linear head on the trunk of the image critic. The game owns the head, which minimises L_D with the critic. The
    critic's own logit is not used in this game: its last layer is not called and keeps its initial weights. With
    several kinds of fake, L_D averages over them and L_G is summed.

    Recorded: `entropy_of_mean` and `entropy` of real images and `entropy_on_fakes`, the three terms of L_D.

    Raises:
        PlanError: the image critic has no trunk to share.

    Source: Springenberg, "Unsupervised and semi-supervised learning with categorical generative adversarial networks",
    equation 7, without labels.
    """

    name = "catgan"
    borrows = ("image_critic",)

    class Config(PartConfig):
        """Settings of the categorical game."""

        categories: int = Field(default=10, ge=2)
        """K."""

    def __init__(self, config: PartConfig, sizes: Sizes, image_critic: Borrowed) -> None:
        """Borrow the image critic and make the head."""
        super().__init__(config, sizes)
        if not image_critic.is_a(FeatureCritic):
            raise PlanError(
                f"game '{self.name}' puts its head on the trunk of the image critic; critic '{image_critic.name}' has "
                "none. Use an image critic with features, or another game"
            )
        self.image_critic = image_critic
        self.head = nn.Linear(image_critic.trunk_width, self.config.categories)
        # Weak references, so that no graph outlives its phase.
        self._judged: tuple[weakref.ref[Tensor], ...] = ()
        self._seen: dict[str, Tensor] = {}

    def critic_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_D, a scalar in nats, which the critic's trunk and the head minimise."""
        of_mean, mean = self._entropies(*real)
        on_fakes = torch.stack([self._entropies(*fake)[1] for fake in fakes]).mean()
        loss = mean - of_mean - on_fakes
        self._seen = {
            "entropy_of_mean": of_mean.detach(),
            "entropy": mean.detach(),
            "entropy_on_fakes": on_fakes.detach(),
        }
        self._judged = tuple(weakref.ref(tensor) for tensor in (loss, real[0], *[x for x, _ in fakes]))
        return loss

    def generator_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_G, a scalar in nats, summed over the kinds of fake."""
        both = [self._entropies(*fake) for fake in fakes]
        return torch.stack([mean - of_mean for of_mean, mean in both]).sum()

    def own_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_D: the tensor that `critic_loss` gave for these images, if it still exists, to share its backward pass."""
        loss, *seen = [reference() for reference in self._judged] or [None]
        images = [real[0], *[x for x, _ in fakes]]
        if loss is not None and len(seen) == len(images) and all(a is b for a, b in zip(seen, images, strict=True)):
            return loss
        return self.critic_loss(critic, real, *fakes)

    def notes(self) -> dict[str, Tensor]:
        """The three entropies of the critic's last loss, in nats."""
        return dict(self._seen)

    def log_probabilities(self, x: Tensor, known: Tensor) -> Tensor:
        """The logarithm of p(y | x) [n, K] in nats, of images x [n, c, h, w]."""
        logits: Tensor = self.head(self.image_critic.trunk(x, known))
        return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(1)

    def _entropies(self, x: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        """H[E p(y | x)] and E H[p(y | x)], scalars in nats."""
        log_p = self.log_probabilities(x, known)
        log_mean = log_p.logsumexp(0) - math.log(len(log_p))
        return -(log_mean.exp() * log_mean).sum(), -(log_p.exp() * log_p).sum(1).mean()
