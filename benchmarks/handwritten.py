"""Algorithm 1 with the choices A, B and C, written by hand: the loop that one writes without an engine.

Each loss has its own forward pass, other networks are detached or run without gradients, and each network is
stepped by zero_grad, backward, step. The networks are the ones it is given, so that only the loop differs from
genprior's: same parameters, same losses, same noise. fp32, NCHW, images as one float tensor, foreach Adam.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

__all__ = ["HandwrittenLoop"]


class HandwrittenLoop:
    """One step of "Learning priors for adversarial autoencoders", Algorithm 1, on given networks.

    The non-saturating reading of equations 4 and 5, with both x_noise and x_rec as fakes; the reconstruction is
    compared in the features of the image critic's third convolution, over the variance of the target's features.
    """

    def __init__(
        self,
        networks: dict[str, Any],
        images: Tensor,
        *,
        batch: int = 64,
        learning_rate: float = 2e-4,
        rec_weight: float = 10.0,
        layer: str = "conv3",
    ) -> None:
        """Make an optimiser for each network.

        Args:
            networks: `encoder`, `decoder`, `prior` (a code generator), `code_critic` and `image_critic`.
            images: float [n, c, h, w] in [-1, 1]; visited in order, batch by batch.
            batch: images a step.
            learning_rate: of every network; 0 evaluates the losses and updates nothing.
            rec_weight: weight of the reconstruction in the encoder's and the decoder's step.
            layer: the layer of the image critic whose features are compared.
        """
        self.encoder, self.decoder, self.prior = networks["encoder"], networks["decoder"], networks["prior"]
        self.code_critic, self.image_critic = networks["code_critic"], networks["image_critic"]
        self.images, self.batch, self.rec_weight, self.layer = images, batch, rec_weight, layer
        self.position = 0
        self.optimisers = {
            name: torch.optim.Adam(networks[name].parameters(), lr=learning_rate, betas=(0.5, 0.999), foreach=True)
            for name in ("encoder", "decoder", "prior", "code_critic", "image_critic")
        }

    def next_batch(self) -> Tensor:
        """The next images [batch, c, h, w]; starts over where fewer than a batch are left."""
        if self.position + self.batch > len(self.images):
            self.position = 0
        x = self.images[self.position : self.position + self.batch]
        self.position += self.batch
        return x

    def step(self) -> dict[str, Tensor]:
        """One step on the next batch; returns each network's loss, detached."""
        return self.step_on(self.next_batch())

    def step_on(self, x: Tensor) -> dict[str, Tensor]:
        """One step on images x [n, c, h, w]; returns each network's loss, detached."""
        known = x.new_zeros(len(x), 0)
        losses = {}

        # The AAE phase. Code critic:
        noise = torch.randn(len(x), self._noise_width, device=x.device, dtype=x.dtype)
        with torch.no_grad():
            z_prior = self.prior.network(noise)
            z = self.encoder(x, known).rsample()
        loss = softplus(-self.code_critic(z_prior, known)).mean() + softplus(self.code_critic(z, known)).mean()
        losses["code_critic"] = self._descend(loss, "code_critic")

        # Encoder:
        z = self.encoder(x, known).rsample()
        rec = self._feature_error(x, self.decoder(z, known), known)
        loss = self.rec_weight * rec + softplus(-self.code_critic(z, known)).mean()
        losses["encoder"] = self._descend(loss, "encoder")

        # Decoder:
        with torch.no_grad():
            z = self.encoder(x, known).rsample()
        loss = self.rec_weight * self._feature_error(x, self.decoder(z, known), known)
        losses["decoder"] = self._descend(loss, "decoder")

        # The prior-improvement phase. Image critic:
        noise = torch.randn(len(x), self._noise_width, device=x.device, dtype=x.dtype)
        with torch.no_grad():
            x_new = self.decoder(self.prior.network(noise), known)
            x_rec = self.decoder(self.encoder(x, known).rsample(), known)
        on_fakes = softplus(self.image_critic(x_new, known)).mean() + softplus(self.image_critic(x_rec, known)).mean()
        loss = softplus(-self.image_critic(x, known)).mean() + on_fakes
        losses["image_critic"] = self._descend(loss, "image_critic")

        # Code generator and decoder:
        x_new = self.decoder(self.prior.network(noise), known)
        with torch.no_grad():
            z = self.encoder(x, known).rsample()
        x_rec = self.decoder(z, known)
        loss = softplus(-self.image_critic(x_new, known)).mean() + softplus(-self.image_critic(x_rec, known)).mean()
        losses["prior"] = self._descend(loss, "prior", "decoder")
        return losses

    @property
    def _noise_width(self) -> int:
        first = next(module for module in self.prior.network if isinstance(module, nn.Linear))
        return first.in_features

    def _feature_error(self, x: Tensor, x_rec: Tensor, known: Tensor) -> Tensor:
        features = self.image_critic.features(torch.cat([x_rec, x]), torch.cat([known, known]), self.layer)
        f_rec, f = features.chunk(2)
        f = f.detach()
        return (f_rec - f).square().mean() / f.var(0, correction=0).mean()

    def _descend(self, loss: Tensor, *names: str) -> Tensor:
        for name in names:
            self.optimisers[name].zero_grad()
        loss.backward()
        for name in names:
            self.optimisers[name].step()
        return loss.detach()
