"""Small VAE/GANs for tests, and the modules that a phase changes."""

from __future__ import annotations

import math

import torch
from torch.distributions import Normal
from torch.nn.functional import binary_cross_entropy_with_logits

from genprior.engine.build import build_model
from genprior.parts import Batch, DataInfo
from genprior_std.conditioners.none import NoCondition
from genprior_std.games.minimax import Minimax
from genprior_std.models.vae_gan import VaeGan
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.gaussian import Gaussian
from genprior_std.reconstruction.learned_similarity import LearnedSimilarity

INFO = DataInfo((1, 4, 4), ("round", "square"))
CODE = 3


def similarity(**settings):
    return LearnedSimilarity.Config(**{"layer": "hidden1", "scale": "none", "reduction": "sum", **settings})


def config(**changes):
    parts = {
        "code_size": CODE,
        "prior": Gaussian.Config(),
        "encoder": MlpEncoder.Config(hidden=(6,), posterior="gaussian"),
        "decoder": MlpDecoder.Config(hidden=(6,)),
        "image_critic": MlpImageCritic.Config(hidden=(8, 5), activation="tanh"),
        "reconstruction": similarity(),
        "conditioner": NoCondition.Config(),
    }
    return VaeGan.Config(**{**parts, **changes})


def model_of(seed=0, **changes):
    return build_model(config(**changes), INFO, seed).double().train()


def batch_of(n=6, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, *INFO.image, dtype=torch.float64, generator=generator) * 2 - 1
    return Batch(x, torch.arange(n) % 2)


def parameters(model, role):
    return list(getattr(model, role).parameters())


def moving(model):
    return {name: module for name, module in model.named_children() if list(module.parameters())}


def snapshot(model):
    return {name: [p.detach().clone() for p in module.parameters()] for name, module in moving(model).items()}


def moved(model, before):
    now = snapshot(model)
    return {name for name in now if any(not torch.equal(a, b) for a, b in zip(now[name], before[name], strict=True))}


def sgd(model, lr=0.1):
    return {name: torch.optim.SGD(module.parameters(), lr=lr) for name, module in moving(model).items()}


class Written:
    """The losses of the paper at the codes that the model drew: densities by torch.distributions, the game by torch.

    The model's networks are evaluated anew. The noise of the posterior is read off the code that the decoder was given.
    """

    def __init__(self, model, batch):
        self.model, self.x = model, batch.x
        self.none = batch.x.new_zeros(len(batch.x), 0)
        codes = []
        hook = model.decoder.register_forward_hook(lambda module, inputs, output: codes.append(inputs[0]))
        torch.manual_seed(4)
        self.objectives = model.autoencode(batch)
        hook.remove()
        (self.z_prior,) = [z for z in codes if not z.requires_grad]
        (drawn,) = [z.detach() for z in codes if z.requires_grad]
        q = model.encoder(self.x, self.none)
        self.q = Normal(q.mean, (0.5 * q.log_variance).exp())
        self.z = q.mean + self.q.scale * ((drawn - q.mean) / self.q.scale).detach()
        self.x_rec = model.decoder(self.z, self.none)
        self.x_new = model.decoder(self.z_prior, self.none)

    def llike(self):
        """-log N(F(x); F(x_rec), I) without its constant."""
        f_rec = self.model.image_critic.layers["hidden1"](self.x_rec.flatten(1))
        f = self.model.image_critic.layers["hidden1"](self.x.flatten(1)).detach()
        log_density = Normal(f_rec, 1.0).log_prob(f).sum(1) + 0.5 * f.shape[1] * math.log(2 * math.pi)
        return -log_density.mean()

    def kl(self):
        log_prior = self.model.prior.log_prob(self.z, self.none)
        return (self.q.log_prob(self.z).sum(1) - log_prior).mean()

    def cross_entropy(self, images, is_real):
        logits = self.model.image_critic(images, self.none)
        return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(is_real)))

    def judge(self):
        real = self.cross_entropy(self.x, True)
        return real + self.cross_entropy(self.x_new, False) + self.cross_entropy(self.x_rec, False)

    def fool(self, game):
        fakes = (self.x_new, self.x_rec)
        if game is Minimax:
            return -sum(self.cross_entropy(fake, False) for fake in fakes)
        return sum(self.cross_entropy(fake, True) for fake in fakes)
