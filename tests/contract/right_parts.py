"""Correct parts, from which the tests of the contract checks derive broken ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from genprior import (
    Asks,
    Batch,
    Borrowed,
    Condition,
    Conditioner,
    Critic,
    DataInfo,
    Decoder,
    DensityPrior,
    Encoder,
    FeatureCritic,
    Game,
    Model,
    Objectives,
    PartConfig,
    Phase,
    PlanError,
    PointPosterior,
    Prior,
    Reconstruction,
    Sizes,
    Widths,
)


class Normal(DensityPrior):
    name = "test_normal"

    def sample(self, asked: Tensor) -> Tensor:
        return torch.randn(len(asked), self.sizes.code, device=asked.device, dtype=asked.dtype)

    def log_prob(self, z: Tensor, asked: Tensor) -> Tensor:
        return -0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)


class Shifted(Prior):
    """A learned location."""

    name = "test_shifted"

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.shift = nn.Parameter(torch.randn(sizes.code))

    def sample(self, asked: Tensor) -> Tensor:
        return self.shift + torch.randn(len(asked), self.sizes.code, device=asked.device, dtype=asked.dtype)


class NearCodes(Prior):
    """Codes near those of a learned image, seen by the borrowed encoder."""

    name = "test_near_codes"
    borrows = ("encoder",)

    def __init__(self, config: PartConfig, sizes: Sizes, encoder: Borrowed) -> None:
        super().__init__(config, sizes)
        self.image = nn.Parameter(torch.rand(1, *sizes.image))
        self.encoder: Any = encoder

    def sample(self, asked: Tensor) -> Tensor:
        known = asked.new_zeros(len(asked), self.sizes.known)
        return self.encoder(self.image.expand(len(asked), -1, -1, -1), known).rsample()


class Squared(Reconstruction):
    name = "test_squared"

    def forward(self, x: Tensor, x_rec: Tensor, known: Tensor) -> Tensor:
        return (x - x_rec).square().flatten(1).sum(1)


class OneHot(Conditioner):
    name = "test_one_hot"

    @classmethod
    def widths(cls, config: Any, info: DataInfo) -> Widths:
        return Widths(0, len(info.classes), one_hot=True)

    @property
    def asks(self) -> Asks:
        return Asks("label", self.sizes.asked)

    def rows(self, y: Tensor, dtype: torch.dtype) -> Condition:
        asked = torch.eye(self.sizes.asked, dtype=dtype, device=y.device)[y]
        return Condition(asked[:, :0], asked)

    def forward(self, batch: Batch) -> Condition:
        return self.rows(batch.y, batch.x.dtype)

    def draw(self, like: Tensor) -> Condition:
        return self.rows(torch.randint(self.sizes.asked, (len(like),), device=like.device), like.dtype)

    def of_label(self, y: Tensor) -> Condition:
        if int(y.max()) >= self.sizes.asked:
            raise PlanError(f"there are {self.sizes.asked} classes")
        return self.rows(y, torch.get_default_dtype())


class LinearEncoder(Encoder):
    name = "test_linear_encoder"

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.layer = nn.Linear(math.prod(sizes.image), sizes.code)

    def forward(self, x: Tensor, known: Tensor) -> Any:
        return PointPosterior(self.layer(x.flatten(1)))


class LinearDecoder(Decoder):
    name = "test_linear_decoder"

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.layer = nn.Linear(sizes.code, math.prod(sizes.image))

    def forward(self, z: Tensor, known: Tensor) -> Tensor:
        return torch.tanh(self.layer(z)).view(-1, *self.sizes.image)


class LinearCritic(Critic):
    name = "test_linear_critic"

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.layer = nn.Linear(sizes.code, 1)

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        return self.layer(x).squeeze(1)


class ImageCritic(FeatureCritic):
    name = "test_image_critic"

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
        self.first = nn.Linear(math.prod(sizes.image), 5)
        self.head = nn.Linear(5, 1)

    feature_layers = ("first",)
    trunk_width = 5

    def features(self, x: Tensor, known: Tensor, layer: str) -> Tensor:
        return self.first(x.flatten(1)).tanh()

    def trunk(self, x: Tensor, known: Tensor) -> Tensor:
        return self.features(x, known, "first")

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        return self.head(self.trunk(x, known)).squeeze(1)


class Logistic(Game):
    name = "test_logistic"

    def critic_loss(self, critic: Callable[..., Tensor], real: Any, *fakes: Any) -> Tensor:
        on_fakes = torch.stack([nn.functional.softplus(critic(*fake)).mean() for fake in fakes]).sum()
        return nn.functional.softplus(-critic(*real)).mean() + on_fakes

    def generator_loss(self, critic: Callable[..., Tensor], real: Any, *fakes: Any) -> Tensor:
        return torch.stack([nn.functional.softplus(-critic(*fake)).mean() for fake in fakes]).sum()


class Auto(Model):
    """A small autoencoder whose codes are drawn to a Gaussian by a critic."""

    name = "test_auto"

    def __init__(self, config: Any, info: DataInfo, build: Any) -> None:
        super().__init__(config)
        self.sizes = Sizes(info.image, 3, 0, 0)
        self.encoder = build("encoder", LinearEncoder.Config(), self.sizes)
        self.decoder = build("decoder", LinearDecoder.Config(), self.sizes)
        self.code_critic = build("code_critic", LinearCritic.Config(), self.sizes)
        self.prior = build("prior", Normal.Config(), self.sizes)
        self.game = build("game", Logistic.Config(), self.sizes)

    def phases(self) -> tuple[Phase, ...]:
        return Phase("reconstruct", self.by_pixels), Phase("regularise", self.regularise)

    def by_pixels(self, batch: Batch) -> Objectives:
        known = batch.x.new_zeros(len(batch.x), 0)
        rec = (self.decoder(self.encoder(batch.x, known).mean, known) - batch.x).square().mean()
        return Objectives({"encoder": rec, "decoder": rec})

    def regularise(self, batch: Batch) -> Objectives:
        known = batch.x.new_zeros(len(batch.x), 0)
        z, z_prior = self.encoder(batch.x, known).mean, self.prior.sample(known)
        samples = (z_prior, known), (z, known)
        judge = self.game.critic_loss(self.code_critic, *samples)
        return Objectives({"code_critic": judge, "encoder": self.game.generator_loss(self.code_critic, *samples)})

    def condition(self, like: Tensor, y: Tensor | None = None) -> Condition:
        if y is not None:
            raise PlanError("there are no classes")
        nothing = like.new_zeros(len(like), 0)
        return Condition(nothing, nothing)

    def generate(self, condition: Condition) -> Tensor:
        return self.decoder(self.prior.sample(condition.asked), condition.known)
