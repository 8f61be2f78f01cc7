"""What conditions of new images reach: gradients of the mutual information, codes of the learned prior, fakes."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.nn.functional import softplus

from genprior.engine.build import build_model
from genprior.engine.step import run_phase
from genprior.errors import PlanError
from genprior.parts import Batch, DataInfo
from genprior.testing import check_model
from genprior_std.conditioners.infogan import InfoGAN
from genprior_std.conditioners.label import Label
from genprior_std.conditioners.none import NoCondition
from genprior_std.conditioners.sentence import Sentence
from genprior_std.games.catgan import CategoricalGame
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.games.wasserstein_gp import WassersteinGradientPenalty
from genprior_std.models.aae import AdversarialAutoencoder
from genprior_std.models.gan import GenerativeAdversarialNetwork
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.categorical_gaussian import CategoricalGaussian
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian
from genprior_std.reconstruction.pixel import Pixel

from ..small import moved, snapshot
from ..small_embedder import HashedWords

INFO = DataInfo((1, 4, 4), ("a", "b", "c"), captioned=True)
WORDS = HashedWords.Config(size=5)
CONDITIONERS = {
    "infogan": InfoGAN.Config(categorical=(3,), continuous=1),
    "supervised": InfoGAN.Config(categorical=(3,), supervised=True),
    "head": Sentence.Config(embedder=WORDS, kept=4),
    "critic": Sentence.Config(embedder=WORDS, kept=4, reads="critic"),
}
HEADS = ("infogan", "supervised", "head")
SEES = MlpImageCritic.Config(hidden=(9, 8), conditional=True)


def config(conditioner="head", **changes):
    parts = {
        "code_size": 7,
        "prior": CodeGenerator.Config(noise=3),
        "encoder": MlpEncoder.Config(hidden=(8,)),
        "decoder": MlpDecoder.Config(hidden=(8,)),
        "code_critic": CodeCritic.Config(hidden=(8,)),
        "image_critic": SEES,
        "reconstruction": Pixel.Config(),
        "conditioner": CONDITIONERS.get(conditioner, conditioner),
        "code_game": NonSaturating.Config(),
        "image_game": NonSaturating.Config(),
        "improves": {"prior": True, "decoder": True},
    }
    return AdversarialAutoencoder.Config(**{**parts, **changes})


def gan(conditioner="critic", **changes):
    parts = {
        "code_size": 7,
        "prior": CodeGenerator.Config(noise=3),
        "decoder": MlpDecoder.Config(hidden=(8,)),
        "image_critic": SEES,
        "conditioner": CONDITIONERS.get(conditioner, conditioner),
        "game": NonSaturating.Config(),
    }
    return GenerativeAdversarialNetwork.Config(**{**parts, **changes})


def batch_of(n=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = 2 * torch.rand(n, *INFO.image, generator=generator) - 1
    return Batch(x, torch.arange(n) % 3, text=torch.randn(n, WORDS.size, generator=generator))


def model_of(settings):
    model = build_model(settings, INFO, 0).train()
    model.begin(batch_of)
    return model


def optimisers(model, rates):
    """Plain gradient descent at the given rates; the other modules stay where they are."""
    modules = dict(model.named_children())
    return modules, {
        name: torch.optim.SGD(module.parameters(), lr=rates.get(name, 0.0))
        for name, module in modules.items()
        if list(module.parameters())
    }


def phase_of(model, name):
    return {phase.name: phase for phase in model.phases()}[name]


# ---------------------------------------------------------------------------------------------------------------------
# Which modules move
# ---------------------------------------------------------------------------------------------------------------------


# The codes of plain InfoGAN are of no image, so there is no mismatch.
@pytest.mark.parametrize(
    ("conditioner", "mismatched"),
    [*itertools.product(CONDITIONERS, [False]), *itertools.product(list(CONDITIONERS)[1:], [True])],
)
@pytest.mark.parametrize(("prior", "decoder"), list(itertools.product([False, True], repeat=2)))
def test_many_steps_of_a_phase_move_exactly_what_it_names(prior, decoder, conditioner, mismatched):
    settings = config(conditioner, improves={"prior": prior, "decoder": decoder}, mismatched_as_fake=mismatched)
    model = model_of(settings)
    modules, steps = optimisers(model, dict.fromkeys(dict(model.named_children()), 0.05))
    improved = {"image_critic"} | ({"prior"} if prior else set()) | ({"decoder"} if decoder else set())
    improved |= {"conditioner"} if conditioner in HEADS else set()
    for name, expected in (("improve_prior", improved), ("regularise", {"encoder", "decoder", "code_critic"})):
        before = snapshot(modules)
        for step in range(5):
            run_phase(phase_of(model, name), batch_of(seed=step), modules, steps)
        assert moved(modules, before) == expected


@pytest.mark.parametrize("conditioner", HEADS)
def test_the_mutual_information_has_a_gradient_in_generator_critic_and_head_alone(conditioner):
    model = model_of(config(conditioner))
    # Alone, without the games: the note is L_Q itself.
    known, asked = model.conditioner(batch_of())
    info = model.conditioner.consistency(model.decoder(model.prior.sample(asked), known), asked)
    reached = set()
    for name, module in model.named_children():
        parameters = list(module.parameters())
        if parameters:
            gradients = torch.autograd.grad(info, parameters, retain_graph=True, allow_unused=True)
            reached |= {name} if any(g is not None and g.abs().sum() > 0 for g in gradients) else set()
    assert reached == {"prior", "decoder", "image_critic", "conditioner"}


@pytest.mark.parametrize("mover", ["conditioner", "decoder", "prior"])
@pytest.mark.parametrize("conditioner", HEADS)
def test_each_of_head_decoder_and_code_generator_lowers_the_information_term_alone(mover, conditioner):
    """With all others frozen; the games weigh nothing against L_Q here, whose weight is 1000."""
    model = model_of(config(conditioner, info_weight=1000.0))
    modules, steps = optimisers(model, {mover: 2e-5})
    phase, batch = phase_of(model, "improve_prior"), batch_of(200)

    def run():
        torch.manual_seed(1)  # the same codes and the same noise each time
        result = run_phase(phase, batch, modules, steps)
        return float(result.values[result.keys.index("improve_prior/info")])

    weights = {name: [p.detach().clone() for p in module.parameters()] for name, module in modules.items()}
    first, *_, last = [run() for _ in range(30)]
    assert last < first
    for name, module in modules.items():
        same = all(torch.equal(a, b) for a, b in zip(module.parameters(), weights[name], strict=True))
        assert same == (name != mover or not weights[name])


# ---------------------------------------------------------------------------------------------------------------------
# Codes of the prior
# ---------------------------------------------------------------------------------------------------------------------


def sampled(model, asked):
    torch.manual_seed(2)
    with torch.no_grad():
        return model.prior.sample(asked)


def two_conditions(model):
    """Conditions of training images, and the same ones in another order, so that no row keeps its own."""
    torch.manual_seed(3)
    asked = model.conditioner(batch_of(9)).asked
    other = asked.roll(1, 0)
    differs = (asked != other).any(1)
    assert differs.sum() >= 4
    return asked, other, differs


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("conditioner", ["label", *CONDITIONERS])
def test_the_learned_prior_makes_other_codes_of_another_condition_and_the_same_noise(conditioner, trained):
    chosen = {"label": Label.Config(), **CONDITIONERS}[conditioner]
    model = model_of(config(chosen))
    if trained:
        modules, steps = optimisers(model, dict.fromkeys(dict(model.named_children()), 0.05))
        for step, phase in itertools.product(range(10), model.phases()):
            run_phase(phase, batch_of(seed=step), modules, steps)
    model.eval()
    asked, other, differs = two_conditions(model)
    seen = []
    handle = model.prior.network.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    first, again, changed = sampled(model, asked), sampled(model, asked), sampled(model, other)
    handle.remove()
    width = asked.shape[1]
    assert torch.equal(seen[0][:, width:], seen[2][:, width:])  # the noise
    assert torch.equal(seen[0][:, :width], asked)
    assert torch.equal(first, again)
    assert torch.equal((first != changed).any(1), differs)
    assert (first - changed)[differs].abs().amax(1).min() > 1e-3


@pytest.mark.parametrize("conditioner", ["label", *CONDITIONERS])
def test_the_fixed_prior_puts_the_condition_itself_into_the_code(conditioner):
    chosen = {"label": Label.Config(), **CONDITIONERS}[conditioner]
    model = model_of(config(chosen, prior=CategoricalGaussian.Config(), improves={"decoder": True}))
    asked, other, _ = two_conditions(model)
    first, changed = sampled(model, asked), sampled(model, other)
    width = asked.shape[1]
    assert torch.equal(first[:, :width], asked) and torch.equal(changed[:, :width], other)
    assert torch.equal(first[:, width:], changed[:, width:])


# ---------------------------------------------------------------------------------------------------------------------
# Mismatched conditions
# ---------------------------------------------------------------------------------------------------------------------


def losses_of(settings, phase):
    model, batch = model_of(settings), batch_of()
    torch.manual_seed(4)
    return model, batch, phase_of(model, phase).objectives(batch)


@pytest.mark.parametrize("make", [config, gan])
@pytest.mark.parametrize("conditioner", ["supervised", "head", "critic"])
def test_real_images_with_another_condition_are_a_further_fake_of_the_critic(make, conditioner):
    """-log(1 - D(x, known of the image before)) by hand, at the weight of the game."""
    judging = "improve_prior" if make is config else "judge"
    game = {"image_game" if make is config else "game": NonSaturating.Config(fake_weight=0.5)}
    _, _, without = losses_of(make(conditioner, **game), judging)
    model, batch, objectives = losses_of(make(conditioner, mismatched_as_fake=True, **game), judging)
    torch.manual_seed(4)
    known = model.conditioner(batch).known
    other = torch.cat([known[-1:], known[:-1]])
    further = 0.5 * softplus(model.image_critic(batch.x, other)).mean()
    torch.testing.assert_close(objectives["image_critic"], without["image_critic"] + further)
    if make is config:
        assert torch.equal(objectives["decoder"], without["decoder"])
        assert torch.equal(objectives["prior"], without["prior"])
    else:
        assert set(phase_of(model, "generate").objectives(batch)) == {"decoder", "prior"}


def test_each_update_of_the_critic_of_a_gan_has_the_captions_of_its_own_images():
    model, batch, told = model_of(gan(critic_steps=3)), batch_of(), []
    handle = model.image_critic.register_forward_hook(lambda module, inputs, output: told.append(inputs))
    for phase in model.phases()[:3]:
        phase.objectives(batch)
    handle.remove()
    for x, known in told:
        for rows in known:
            assert (rows == batch.text).all(1).any()
        of = (x[:, None] == batch.x).flatten(2).all(2)
        if of.any():
            assert torch.equal(known, batch.text[of.int().argmax(1)])


@pytest.mark.parametrize("game", [WassersteinGradientPenalty.Config(), CategoricalGame.Config(categories=3)])
def test_games_that_interpolate_or_share_a_loss_take_the_further_fake(game):
    check_model(
        gan("critic", game=game, mismatched_as_fake=True),
        INFO._replace(image=(1, 16, 16)),
        # The head of the categorical game takes the place of the critic's last layer.
        frozen=("image_critic",) if game.part is CategoricalGame else (),
    )


def test_the_head_of_the_categorical_game_learns_from_the_further_fake_too():
    _, _, objectives = losses_of(
        gan("critic", game=CategoricalGame.Config(categories=3), mismatched_as_fake=True), "judge"
    )
    assert objectives["game"] is objectives["image_critic"]


BLIND = MlpImageCritic.Config(hidden=(9, 8))
ASKS = (
    "model '{}' has mismatched_as_fake = true, which shows the image critic real images with the condition of other "
    "images"
)


@pytest.mark.parametrize("make", [config, gan])
@pytest.mark.parametrize("conditioner", [NoCondition.Config(), CONDITIONERS["infogan"]])
def test_a_mismatch_without_a_condition_of_images_is_refused(make, conditioner):
    with pytest.raises(PlanError) as caught:
        build_model(make(conditioner, mismatched_as_fake=True), INFO, 0)
    assert str(caught.value) == (
        ASKS.format(caught.value.args[0].split("'")[1])
        + f"; conditioner '{conditioner.name}' gives real images no condition. Use a conditioner that does, such as "
        "'sentence' or 'label', or set mismatched_as_fake = false"
    )


@pytest.mark.parametrize("make", [config, gan])
def test_a_mismatch_that_the_image_critic_does_not_see_is_refused(make):
    with pytest.raises(PlanError) as caught:
        build_model(make("head", image_critic=BLIND, mismatched_as_fake=True), INFO, 0)
    assert str(caught.value) == (
        ASKS.format("aae" if make is config else "gan")
        + ", and image critic 'image_mlp' does not see the condition. Set conditional = true in the table of "
        "image_critic, or mismatched_as_fake = false"
    )


def test_a_mismatch_without_an_image_critic_is_refused():
    settings = config(Label.Config(), improves={}, prior=Gaussian.Config(), mismatched_as_fake=True)
    with pytest.raises(PlanError) as caught:
        build_model(settings, INFO, 0)
    assert str(caught.value) == (
        ASKS.format("aae") + "; no other setting needs an image critic here, so there is none. "
        "Set improves.prior or improves.decoder = true, or mismatched_as_fake = false"
    )


# ---------------------------------------------------------------------------------------------------------------------
# A head that learns from real images
# ---------------------------------------------------------------------------------------------------------------------

RECOGNISE = ("supervised", "head")


def read_by_hand(model, conditioner, x, known):
    """E[-log Q(known | x)] of the trunk and the head, by the distribution's own density; constants of it left out."""
    numbers = model.conditioner.head(model.image_critic.trunk(x, torch.zeros_like(known)))
    if conditioner == "head":
        constant = WORDS.size / 2 * math.log(2 * math.pi)
        return -torch.distributions.Normal(numbers, 1.0).log_prob(known).sum(1).mean() - constant
    return -torch.distributions.Categorical(logits=numbers).log_prob(known.argmax(1)).mean()


@pytest.mark.parametrize("conditioner", RECOGNISE)
def test_the_loss_of_critic_and_head_has_the_conditions_of_real_images(conditioner):
    settings = config(conditioner, info_weight=0.7)
    without, on_real = model_of(settings), model_of(settings.model_copy(update={"info_from": "both"}))
    batch = batch_of()
    found = []
    for model in (without, on_real):
        torch.manual_seed(1)
        found.append(phase_of(model, "improve_prior").objectives(batch))
    known = on_real.conditioner(batch).known
    torch.manual_seed(1)
    alone = phase_of(model_of(settings.model_copy(update={"info_from": "real"})), "improve_prior").objectives(batch)
    more = 0.7 * read_by_hand(on_real, conditioner, batch.x, known)
    for role in ("image_critic", "conditioner"):
        assert torch.allclose(found[1][role], found[0][role] + more, atol=1e-5)
        assert torch.allclose(alone[role], found[1][role] - 0.7 * found[0].note["info"], atol=1e-5)
    for role in ("prior", "decoder"):
        assert torch.equal(found[1][role], found[0][role])


@pytest.mark.parametrize("source", ["real", "both"])
@pytest.mark.parametrize("conditioner", RECOGNISE)
def test_a_head_that_learns_from_real_images_moves_nothing_else(conditioner, source):
    model = model_of(config(conditioner, info_from=source))
    modules, steps = optimisers(model, dict.fromkeys(dict(model.named_children()), 0.05))
    before = snapshot(modules)
    for step in range(3):
        run_phase(phase_of(model, "improve_prior"), batch_of(seed=step), modules, steps)
    assert moved(modules, before) == {"image_critic", "conditioner", "prior", "decoder"}


@pytest.mark.parametrize("conditioner", RECOGNISE)
def test_the_head_comes_to_read_the_conditions_of_real_images(conditioner):
    """Even where new images cannot show them, because neither decoder nor code generator is trained."""
    batch, losses = batch_of(), {}
    for source in ("new", "both", "real"):
        model = model_of(config(conditioner, info_from=source, reconstruction_as_fake=False))
        modules, steps = optimisers(model, {"conditioner": 0.1, "image_critic": 0.1})
        known = model.conditioner(batch).known
        for _ in range(400):
            run_phase(phase_of(model, "improve_prior"), batch, modules, steps)
        losses[source] = float(read_by_hand(model, conditioner, batch.x, known).detach())
    assert max(losses["both"], losses["real"]) < 0.5 * losses["new"]


@pytest.mark.parametrize("conditioner", ["infogan", "critic", Label.Config(), NoCondition.Config()])
def test_a_head_that_no_real_image_teaches_is_refused(conditioner):
    message = "info_from = \"real\", so Q learns from real images; conditioner '.*' has no Q that reads"
    with pytest.raises(PlanError, match=message):
        model_of(config(conditioner, info_from="real"))
