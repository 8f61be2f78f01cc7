"""GANs: updated modules and separate codes of each phase, resuming, what it learns and refuses."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from genprior.engine.build import build_model
from genprior.engine.step import run_phase
from genprior.errors import PlanError
from genprior.parts import Batch, Critic, DataInfo, Sizes
from genprior.recipe.plan import Plan, RunConfig
from genprior.runs.trainer import Trainer
from genprior.testing import check_model
from genprior_std.conditioners.infogan import InfoGAN
from genprior_std.conditioners.label import Label
from genprior_std.conditioners.none import NoCondition
from genprior_std.datasets.digits import Digits
from genprior_std.games.began import BoundaryEquilibrium
from genprior_std.games.catgan import CategoricalGame
from genprior_std.games.dfm import DenoisingFeatureMatching
from genprior_std.games.hinge import Hinge
from genprior_std.games.least_squares import LeastSquares
from genprior_std.games.minimax import Minimax
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.games.wasserstein_gp import WassersteinGradientPenalty
from genprior_std.models.aae import AdversarialAutoencoder
from genprior_std.models.gan import GenerativeAdversarialNetwork
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.optimisers.adam import Adam
from genprior_std.priors.categorical_gaussian import CategoricalGaussian
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.mixture import Mixture
from genprior_std.priors.vampprior import VampPrior
from genprior_std.reconstruction.pixel import Pixel

INFO = DataInfo((1, 4, 4), ("a", "b", "c"))


class Reconstructing(Critic):
    """Minus the error of an autoencoder, -mean |v - AE(v)|, as `began` needs it."""

    name = "reconstructing"

    def __init__(self, config, sizes: Sizes):
        super().__init__(config, sizes)
        pixels = math.prod(sizes.image)
        self.network = nn.Sequential(nn.Linear(pixels, 5), nn.ELU(), nn.Linear(5, pixels))

    def forward(self, x, known):
        x = x.flatten(1)
        return -(x - self.network(x)).abs().mean(1)


def config(**changes):
    parts = {
        "prior": Gaussian.Config(),
        "decoder": MlpDecoder.Config(hidden=(8,), batch_norm=True),
        "image_critic": MlpImageCritic.Config(hidden=(9, 8), batch_norm=True),
        "game": NonSaturating.Config(),
        "conditioner": NoCondition.Config(),
    }
    return GenerativeAdversarialNetwork.Config(**{"code_size": 2, **parts, **changes})


SMOOTH = MlpImageCritic.Config(hidden=(9, 8))
INFOGAN = {
    "prior": CategoricalGaussian.Config(categories=3),
    "conditioner": InfoGAN.Config(categorical=(3,), continuous=0),
    "code_size": 5,
}
VARIANTS = {
    "nonsaturating": {},
    "r1": {"game": NonSaturating.Config(r1=1.0), "image_critic": SMOOTH},
    "minimax": {"game": Minimax.Config()},
    "least_squares": {"game": LeastSquares.Config()},
    "hinge": {"game": Hinge.Config(), "critic_steps": 2},
    "wasserstein_gp": {"game": WassersteinGradientPenalty.Config(), "image_critic": SMOOTH, "critic_steps": 3},
    # With gamma = 1, k rises at once, for images of noise are harder to reconstruct than those of a new decoder.
    "began": {"game": BoundaryEquilibrium.Config(gamma=1), "image_critic": Reconstructing.Config()},
    "dfm": {"game": DenoisingFeatureMatching.Config(hidden=(6,))},
    "catgan": {"game": CategoricalGame.Config(categories=3)},
    "mixture": {"prior": Mixture.Config(components=3)},
    "code_generator": {"prior": CodeGenerator.Config()},
    "label": {"conditioner": Label.Config(), "decoder": MlpDecoder.Config(hidden=(8,), conditional=True)},
    "infogan": INFOGAN,
    "supervised": {**INFOGAN, "conditioner": InfoGAN.Config(categorical=(3,), supervised=True)},
    "dfm, code_generator, infogan": {
        **INFOGAN,
        "prior": CodeGenerator.Config(),
        "game": DenoisingFeatureMatching.Config(hidden=(6,), layer="hidden1", anneal=5),
    },
}
JUDGE = {"began": {"game"}, "dfm": {"game"}, "catgan": {"game"}, "infogan": {"conditioner"}}
JUDGE |= {"supervised": {"conditioner"}, "dfm, code_generator, infogan": {"game", "conditioner"}}
GENERATE = {"code_generator": {"prior"}, "dfm, code_generator, infogan": {"prior"}}


def batch_of(n=6, info=INFO):
    generator = torch.Generator().manual_seed(1)
    return Batch(2 * torch.rand(n, *info.image, generator=generator) - 1, torch.arange(n) % 3)


def model_of(variant="nonsaturating", **changes):
    return build_model(config(**{**VARIANTS[variant], **changes}), INFO, 0).train()


def phases_of(model):
    return {phase.name: phase for phase in model.phases()}


# ---------------------------------------------------------------------------------------------------------------------
# Who moves, and down what
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_contract_of_a_model(variant):
    # CatGAN reads the critic's trunk alone, so the critic's last layer has nothing to learn.
    check_model(config(**VARIANTS[variant]), INFO, frozen=("image_critic",) if variant == "catgan" else ())


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_phase_moves_exactly_its_side_of_the_game(variant):
    model = model_of(variant)
    modules = dict(model.named_children())
    optimisers = {n: torch.optim.SGD(m.parameters(), lr=0.1) for n, m in modules.items() if list(m.parameters())}
    expected = {
        "judge": {"image_critic"} | JUDGE.get(variant, set()),
        "generate": {"decoder"} | GENERATE.get(variant, set()),
    }
    assert {name.split("_")[0] for name in phases_of(model)} == set(expected)
    for name, phase in phases_of(model).items():
        before = {n: {k: t.clone() for k, t in m.state_dict().items()} for n, m in modules.items()}
        torch.manual_seed(2)
        run_phase(phase, batch_of(), modules, optimisers)
        after = {n: m.state_dict() for n, m in modules.items()}
        moved = {n for n, state in before.items() if any(not torch.equal(state[k], after[n][k]) for k in state)}
        assert moved == expected[name.split("_")[0]]


def test_each_phase_draws_codes_of_its_own():
    model, seen = model_of(), []
    model.decoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    for phase in model.phases():
        phase.objectives(batch_of())
    assert len(seen) == 2
    assert (seen[0] != seen[1]).all()


@pytest.mark.parametrize("variant", ["nonsaturating", "infogan"])
def test_the_losses_are_those_of_the_game_on_what_the_model_makes(variant):
    """Recomputed from the parts under the same seed, in the order in which the model draws."""
    model, batch, w = model_of(variant, info_weight=0.3, image_critic=SMOOTH, critic_steps=1), batch_of(), 0.3
    for name, phase in phases_of(model).items():
        torch.manual_seed(3)
        objectives = phase.objectives(batch)
        torch.manual_seed(3)
        known, asked = model.conditioner(batch)
        fake = model.decoder(model.prior.sample(asked), known)
        real_logits, logits = model.image_critic(batch.x, known), model.image_critic(fake, known)
        info = torch.zeros(())
        if variant == "infogan":
            q = model.conditioner.head(model.image_critic.trunk(fake, known)).log_softmax(1)
            info = -(q * asked).sum(1).mean()
        if name == "judge":
            expected = -real_logits.sigmoid().log().mean() - (1 - logits.sigmoid()).log().mean() + w * info
            assert set(objectives) == {"image_critic"} | JUDGE.get(variant, set())
        else:
            expected = -logits.sigmoid().log().mean() + w * info
        torch.testing.assert_close(objectives.note["info"], info)
        for loss in objectives.values():
            torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("variant", ["catgan", "dfm"])
def test_what_shares_a_loss_shares_a_backward_pass(variant):
    losses = phases_of(model_of(variant, critic_steps=1))["judge"].objectives(batch_of())
    assert (losses["game"] is losses["image_critic"]) == (variant == "catgan")


def test_the_critics_phase_makes_fakes_without_gradients():
    model = model_of("wasserstein_gp", critic_steps=1)
    loss = phases_of(model)["judge"].objectives(batch_of())["image_critic"]
    assert torch.autograd.grad(loss, list(model.decoder.parameters()), allow_unused=True) == (None,) * 5


def test_what_a_game_has_to_say_is_recorded():
    for variant, names in (
        ("began", {"k", "M"}),
        ("wasserstein_gp", {"distance", "penalty"}),
        ("dfm", {"denoising", "sigma"}),
        ("catgan", {"entropy_of_mean", "entropy", "entropy_on_fakes"}),
    ):
        assert names <= set(phases_of(model_of(variant, critic_steps=1))["judge"].objectives(batch_of()).note)


# ---------------------------------------------------------------------------------------------------------------------
# Runs
# ---------------------------------------------------------------------------------------------------------------------


def plan(variant, steps=6, **changes):
    """A short run on digits."""
    run = RunConfig(steps=steps, batch=16, checkpoint_every=3, log_every=1, sample_every=100, ema=0.9)
    model = config(**{**VARIANTS[variant], **changes})
    return Plan(
        label=variant,
        run=run,
        data=Digits.Config(size=8),
        optimiser={"default": Adam.Config(lr=1e-3)},
        model=model,
    )


@pytest.mark.parametrize("critic_steps", [1, 3])
def test_a_step_moves_the_generator_once_and_the_critic_so_often_each_with_images_of_its_own(critic_steps):
    model = build_model(config(critic_steps=critic_steps), INFO, 0).train()
    phases = model.phases()
    names = ["judge"] if critic_steps == 1 else [f"judge_{i + 1}" for i in range(critic_steps)]
    assert [phase.name for phase in phases] == [*names, "generate"]
    assert all(phase.every == 1 for phase in phases)
    batch, seen = batch_of(12), []
    forward = model.image_critic.forward
    model.image_critic.forward = lambda x, known: (seen.append(x.detach().clone()), forward(x, known))[1]
    for phase in phases[:-1]:
        phase.objectives(batch)
    judged = len(seen)
    phases[-1].objectives(batch)
    assert len(seen) == judged + 1 and len(seen[-1]) == 12 // critic_steps  # the generator makes as many
    real = [x for x in seen if any(torch.equal(x[0], image) for image in batch.x)]
    assert torch.equal(torch.cat(real), batch.x) and len(real) == critic_steps


def test_too_few_images_for_the_updates_of_the_critic_are_refused():
    model = build_model(config(critic_steps=5), INFO, 0)
    with pytest.raises(PlanError) as caught:
        model.phases()[0].objectives(batch_of(9))
    assert str(caught.value) == (
        "model 'gan' with critic_steps = 5 divides the images of a step among 5 updates of the critic, and a "
        "batch of 9 leaves fewer than two images for each. Set run.batch to 5 times the images of one update, such as "
        "320"
    )


@pytest.mark.parametrize("variant", ["wasserstein_gp", "began", "dfm, code_generator, infogan", "catgan"])
def test_six_steps_equal_three_and_three_bit_for_bit(variant, tmp_path):
    row = plan(variant, critic_steps=2)
    Trainer(row, 3, tmp_path / "once").run()
    Trainer(row, 3, tmp_path / "twice").run(until=3)
    Trainer(row, 3, tmp_path / "twice").run()
    once, twice = (
        load_file(tmp_path / name / "checkpoints" / "step-00000006.safetensors") for name in ("once", "twice")
    )
    assert once.keys() == twice.keys()
    assert [key for key in once if not torch.equal(once[key], twice[key])] == []
    if variant == "began":
        assert once["model/game.k"] > 0
    if "dfm" in variant:
        assert int(once["model/game.steps_seen"]) == 12  # two updates of the critic a step


@pytest.mark.parametrize("prior", ["gaussian", "code_generator"])
def test_a_generator_finds_the_grey_of_its_data(prior, tmp_path):
    """All images are of one grey, 0.4; from 0, generated ones get there on average in 300 steps."""
    priors = {"gaussian": Gaussian.Config(), "code_generator": CodeGenerator.Config()}
    model = build_model(
        config(prior=priors[prior], image_critic=SMOOTH, game=LeastSquares.Config(r1=1.0)), INFO, 1
    ).train()
    modules = dict(model.named_children())
    optimisers = {
        n: torch.optim.Adam(m.parameters(), 5e-3, (0.5, 0.9))
        for n, m in modules.items()
        if n != "game" and list(m.parameters())
    }
    x = torch.full((32, *INFO.image), 0.4)
    torch.manual_seed(4)
    with torch.no_grad():
        before = (model.generate(model.condition(torch.zeros(200))).mean() - 0.4).abs()
    for _ in range(300):
        for phase in model.phases():
            run_phase(phase, Batch(x, torch.zeros(32, dtype=torch.int64)), modules, optimisers)
    with torch.no_grad():
        after = (model.generate(model.condition(torch.zeros(200))).mean() - 0.4).abs()
    assert before > 0.25
    assert after < 0.1


# ---------------------------------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------------------------------


def test_a_prior_that_borrows_an_encoder_is_refused():
    with pytest.raises(PlanError) as caught:
        model_of(prior=VampPrior.Config())
    assert str(caught.value) == (
        "prior 'vampprior' borrows 'encoder', which model 'gan' does not lend here. "
        "It lends: decoder, image_critic, game, conditioner. Choose another prior or another model."
    )


@pytest.mark.parametrize(
    "game", [BoundaryEquilibrium.Config(), DenoisingFeatureMatching.Config(), CategoricalGame.Config()]
)
def test_an_adversarial_autoencoder_refuses_a_game_that_would_not_move(game):
    parts = AdversarialAutoencoder.Config(
        code_size=2,
        prior=CodeGenerator.Config(),
        encoder=MlpEncoder.Config(hidden=(8,)),
        decoder=MlpDecoder.Config(hidden=(8,)),
        code_critic=CodeCritic.Config(hidden=(8,)),
        image_critic=SMOOTH,
        reconstruction=Pixel.Config(),
        conditioner=NoCondition.Config(),
        code_game=NonSaturating.Config(),
        image_game=game,
        improves={"prior": True},
    )
    with pytest.raises(PlanError) as caught:
        build_model(parts, INFO, 0)
    assert str(caught.value) == (
        f"model 'aae' trains only networks, and image_game '{game.name}' has parameters or a state of its own. "
        "Use 'nonsaturating', 'minimax', 'least_squares', 'hinge' or 'wasserstein_gp', or model 'gan'"
    )


def test_an_adversarial_autoencoder_plays_the_wasserstein_game():
    parts = AdversarialAutoencoder.Config(
        code_size=2,
        prior=CodeGenerator.Config(),
        encoder=MlpEncoder.Config(hidden=(8,)),
        decoder=MlpDecoder.Config(hidden=(8,)),
        code_critic=CodeCritic.Config(hidden=(8,)),
        image_critic=SMOOTH,
        reconstruction=Pixel.Config(),
        conditioner=NoCondition.Config(),
        code_game=WassersteinGradientPenalty.Config(),
        image_game=WassersteinGradientPenalty.Config(),
        improves={"prior": True, "decoder": True},
    )
    check_model(parts, INFO)
