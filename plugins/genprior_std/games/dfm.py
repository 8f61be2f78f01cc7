"""The game of denoising feature matching."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import softplus

from genprior import Borrowed, FeatureCritic, Game, PartConfig, PlanError, Sizes, did_you_mean
from genprior_std.games.penalties import LogitGameConfig, zero_centred

__all__ = ["DenoisingFeatureMatching"]


class DenoisingFeatureMatching(Game):
    """The non-saturating game with a denoiser of the critic's features, which guides the generator to the data.

        L_D = -E log D(real) - w sum_fakes E log(1 - D(fake)),    D = sigmoid(critic)
        L_r = E |phi(x) - r(phi(x) + sigma e)|^2 / n_h,    e ~ N(0, I)
        L_G = sum_fakes (-lambda_adv E log D(fake) + lambda_dn E |phi(fake) - r(phi(fake))|^2 / n_h)

    phi is a layer of n_h features of the image critic, or its trunk. The denoiser r is a multilayer perceptron that the
    game owns. Its target phi(x) is clean, and no gradient goes from L_r to the critic. For the generator, r(phi(fake))
    is a constant target, so that the difference to it estimates the gradient of the log-density of features of data.
    sigma falls linearly to 0 in `anneal` critic steps.

    Recorded: `denoising`, L_r; `sigma`.

    Raises:
        PlanError: the image critic has no features, or not this layer.

    Source: Warde-Farley and Bengio, "Improving generative adversarial networks with denoising feature matching",
    section 3 (lambda_dn = 0.03 / n_h, lambda_adv = 1). That r(phi(fake)) is a constant is this project's reading, and
    so are the sizes of r.
    """

    name = "dfm"
    borrows = ("image_critic",)
    steps_seen: Tensor

    class Config(LogitGameConfig):
        """Settings of denoising feature matching."""

        layer: str | None = None
        """The layer of the image critic whose features phi are; its trunk if not given."""
        hidden: tuple[PositiveInt, ...] = Field(default=(1024, 1024), min_length=1)
        """Widths of the hidden layers of r, each followed by a ReLU."""
        denoising_weight: float = Field(default=0.03, ge=0, allow_inf_nan=False)
        """lambda_dn n_h, the weight of the squared difference averaged over features."""
        adversarial_weight: float = Field(default=1.0, ge=0, allow_inf_nan=False)
        """lambda_adv."""
        sigma: float = Field(default=1.0, ge=0, allow_inf_nan=False)
        """Standard deviation of the corruption, at the beginning."""
        anneal: int = Field(default=100_000, ge=0)
        """Critic steps in which sigma falls linearly to 0; with 0 sigma is constant."""

    def __init__(self, config: PartConfig, sizes: Sizes, image_critic: Borrowed) -> None:
        """Borrow the image critic and make the denoiser."""
        super().__init__(config, sizes)
        layer: str | None = self.config.layer
        if not image_critic.is_a(FeatureCritic):
            raise PlanError(
                f"game '{self.name}' denoises features of the image critic; critic '{image_critic.name}' has none. "
                "Use an image critic with features, or game 'nonsaturating'"
            )
        if layer is not None and layer not in image_critic.feature_layers:
            raise PlanError(
                f"game '{self.name}' denoises layer '{layer}', which critic '{image_critic.name}' does not have"
                f"{did_you_mean(layer, image_critic.feature_layers)}"
            )
        self.image_critic = image_critic
        features = _width(image_critic, layer, sizes)
        widths = (features, *self.config.hidden)
        layers: list[nn.Module] = []
        for i, o in zip(widths, widths[1:], strict=False):
            layers += [nn.Linear(i, o), nn.ReLU(inplace=True)]
        self.denoiser = nn.Sequential(*layers, nn.Linear(widths[-1], features))
        self.register_buffer("steps_seen", torch.zeros((), dtype=torch.int64))
        self._seen: dict[str, Tensor] = {}

    def critic_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_D, a scalar in nats: the cross-entropy of the logits [n] of real samples and of each kind of fake."""
        on_fakes = torch.stack([softplus(critic(*fake)).mean() for fake in fakes]).sum()
        weight: float = self.config.fake_weight
        return softplus(-critic(*real)).mean() + weight * on_fakes + zero_centred(critic, real, self.config.r1)

    def generator_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_G, a scalar, averaged over each kind of fake, summed over the kinds."""
        fool = torch.stack([softplus(-critic(*fake)).mean() for fake in fakes]).sum()
        loss: Tensor = self.config.adversarial_weight * fool
        if self.config.denoising_weight:
            error = torch.stack([self._denoising_error(self._phi(*fake)) for fake in fakes]).sum()
            loss = loss + self.config.denoising_weight * error
        return loss

    def own_loss(
        self, critic: Callable[[Tensor, Tensor], Tensor], real: tuple[Tensor, Tensor], *fakes: tuple[Tensor, Tensor]
    ) -> Tensor:
        """L_r, a scalar: the squared error of the denoiser on features of real samples, averaged over features."""
        with torch.no_grad():
            phi = self._phi(*real)
            sigma = self._sigma().to(phi.dtype)
            corrupted = phi + sigma * torch.randn_like(phi)
        loss = (phi - self._denoised(corrupted)).square().mean()
        self._seen = {"denoising": loss.detach(), "sigma": sigma}
        return loss

    def advance(self) -> Callable[[], None] | None:
        """Count a critic step, on which sigma depends; None if sigma is constant."""
        return self._count if self.config.anneal else None

    def notes(self) -> dict[str, Tensor]:
        """`denoising` and `sigma` of the denoiser's last loss."""
        return dict(self._seen)

    def _sigma(self) -> Tensor:
        left = 1 - self.steps_seen / self.config.anneal if self.config.anneal else torch.ones_like(self.steps_seen)
        sigma: Tensor = self.config.sigma * left.clamp(min=0)
        return sigma

    @torch.no_grad()
    def _count(self) -> None:
        self.steps_seen.add_(1)

    def _phi(self, x: Tensor, known: Tensor) -> Tensor:
        layer = self.config.layer
        borrowed = self.image_critic
        phi: Tensor = borrowed.trunk(x, known) if layer is None else borrowed.features(x, known, layer)
        # Squares of small differences are not exact in half precision.
        return phi.to(torch.promote_types(phi.dtype, torch.float32))

    def _denoised(self, phi: Tensor) -> Tensor:
        denoised: Tensor = self.denoiser(phi)
        return denoised.to(phi.dtype)

    def _denoising_error(self, phi: Tensor) -> Tensor:
        """|phi - r(phi)|^2 averaged over features and samples, r(phi) being constant."""
        with torch.no_grad():
            target = self._denoised(phi)
        return (phi - target).square().mean()


@torch.no_grad()
def _width(critic: Borrowed, layer: str | None, sizes: Sizes) -> int:
    """The number of features phi; for a layer it is found by running the critic."""
    if layer is None:
        return int(critic.trunk_width)
    training = critic.training
    critic.eval()
    try:
        like = next(critic.parameters())
        features: Tensor = critic.features(like.new_zeros(1, *sizes.image), like.new_zeros(1, sizes.known), layer)
    finally:
        critic.train(training)
    return features.shape[1]
