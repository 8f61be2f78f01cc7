"""The modes of a ring of eight Gaussians that a GAN covers, for each game and prior.

Run it by `python benchmarks/ring_of_gaussians.py`. Trains model `gan` on points of the plane, given as images of 1 x 1
x 2 pixels, with fully connected networks and batches of 256. A generated point is good within 3 sigma of a centre. A
mode is covered if the good points nearest to it are at least a quarter of its fair share of all points, which is an
eighth. Of a perfect generator, 1 - exp(-9 / 2) = 98.9% of the points are good.

A step is one update of the generator; `wasserstein_gp` updates its critic five times before each, and has a weight of
0.1: with the 10 that is right for images it found no mode at all. Game `began` is left out: its critic judges how well
an autoencoder reconstructs an image, and two pixels leave nothing to compress.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from genprior import Batch, DataInfo, PartConfig
from genprior.engine.build import build_model
from genprior.engine.optimise import make_optimiser
from genprior.engine.sampling import evaluating
from genprior.engine.step import run_phase
from genprior.parts import Model
from genprior.randomness import reseed, seeded
from genprior_std.conditioners.none import NoCondition
from genprior_std.games.catgan import CategoricalGame
from genprior_std.games.dfm import DenoisingFeatureMatching
from genprior_std.games.hinge import Hinge
from genprior_std.games.least_squares import LeastSquares
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.games.wasserstein_gp import WassersteinGradientPenalty
from genprior_std.models.gan import GenerativeAdversarialNetwork
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.optimisers.adam import Adam
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.mixture import Mixture

__all__ = ["GAMES", "PRIORS", "Coverage", "centres", "coverage", "main", "ring", "train"]

MODES = 8
RADIUS = 0.7
SIGMA = 0.03
INFO = DataInfo((1, 1, 2), ())


class Coverage(NamedTuple):
    """How well points cover the ring."""

    modes: int
    """How many of the eight modes are covered."""
    good: float
    """The share of points within 3 sigma of a centre."""


GAMES: dict[str, tuple[PartConfig, int]] = {
    "nonsaturating": (NonSaturating.Config(), 1),
    "nonsaturating, r1 = 0.1": (NonSaturating.Config(r1=0.1), 1),
    "least_squares": (LeastSquares.Config(), 1),
    "hinge": (Hinge.Config(), 1),
    "wasserstein_gp, weight = 0.1": (WassersteinGradientPenalty.Config(weight=0.1), 5),
    "dfm": (DenoisingFeatureMatching.Config(hidden=(128,), anneal=2000), 1),
    "catgan": (CategoricalGame.Config(categories=MODES), 1),
}
"""Each game with its critic steps."""

PRIORS: dict[str, PartConfig] = {
    "gaussian": Gaussian.Config(),
    "mixture": Mixture.Config(components=MODES),
    "code_generator": CodeGenerator.Config(),
}


def centres(like: Tensor) -> Tensor:
    """The eight centres [8, 2], on the device and in the dtype of `like`."""
    angles = torch.arange(MODES, device=like.device, dtype=like.dtype) * (2 * math.pi / MODES)
    return RADIUS * torch.stack([angles.cos(), angles.sin()], 1)


def ring(n: int, device: torch.device | str = "cpu") -> Tensor:
    """Points of the ring as images [n, 1, 1, 2] in [-1, 1], all modes alike in expectation."""
    noise = SIGMA * torch.randn(n, 2, device=device)
    points = centres(noise)[torch.randint(MODES, (n,), device=device)] + noise
    return points.clamp(-1, 1).view(n, 1, 1, 2)


def coverage(points: Tensor) -> Coverage:
    """The modes covered and the share of good ones among points [n, 2]."""
    distance, nearest = torch.cdist(points, centres(points)).min(1)
    good = distance <= 3 * SIGMA
    found = torch.bincount(nearest[good], minlength=MODES)
    return Coverage(int((found >= len(points) / MODES / 4).sum()), float(good.float().mean()))


def train(game: str, prior: str, *, steps: int, seed: int, batch: int = 256) -> tuple[Model, float]:
    """A trained model and the seconds that it took.

    Args:
        game: a key of `GAMES`.
        prior: a key of `PRIORS`.
        steps: generator updates.
        seed: the run's seed.
        batch: points an update.
    """
    rules, critic_steps = GAMES[game]
    config = GenerativeAdversarialNetwork.Config(
        code_size=2,
        prior=PRIORS[prior],
        decoder=MlpDecoder.Config(hidden=(128, 128)),
        image_critic=MlpImageCritic.Config(hidden=(128, 128)),
        game=rules,
        conditioner=NoCondition.Config(),
        critic_steps=critic_steps,
    )
    model = build_model(config, INFO, seed).train()
    modules = dict(model.named_children())
    adam = Adam.Config(lr=1e-3, betas=(0.5, 0.9))
    optimisers = {name: make_optimiser(adam, module) for name, module in modules.items() if list(module.parameters())}
    n = batch * critic_steps
    phases, labels = model.phases(), torch.zeros(n, dtype=torch.int64)
    began = time.perf_counter()
    with torch.random.fork_rng():
        for step in range(steps):
            reseed(seed, "step", step)
            points = Batch(ring(n), labels)
            for phase in phases:
                run_phase(phase, points, modules, optimisers)
    return model, time.perf_counter() - began


def measure(model: Model, n: int = 4000) -> Coverage:
    """The coverage of n generated points."""
    with seeded("ring", "coverage"), evaluating(model), torch.no_grad():
        return coverage(model.generate(model.condition(torch.zeros(n))).view(n, 2))


def main(arguments: Sequence[str] | None = None) -> int:
    """Train the games and priors of the command line, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", choices=GAMES, default=list(GAMES), metavar="GAME", help="all by default")
    parser.add_argument("--priors", nargs="+", choices=PRIORS, default=list(PRIORS), metavar="PRIOR", help="likewise")
    parser.add_argument("--steps", type=int, default=2000, help="generator updates of a run")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each game with each prior")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"{options.steps} steps, seeds 0 to {options.seeds - 1}: mean +- standard deviation\n")
    print("| game | prior | modes covered, of 8 | good samples, % | seconds a run |\n|---|---|---|---|---|")
    for game in options.games:
        for prior in options.priors:
            found, seconds = [], []
            for seed in range(options.seeds):
                model, took = train(game, prior, steps=options.steps, seed=seed)
                found.append(measure(model))
                seconds.append(took)
            modes, good = _spread([f.modes for f in found]), _spread([100 * f.good for f in found])
            print(f"| {game} | {prior} | {modes} | {good} | {statistics.mean(seconds):.1f} |", flush=True)
    return 0


def _spread(values: Sequence[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f} +- {deviation:.1f}"


if __name__ == "__main__":
    raise SystemExit(main())
