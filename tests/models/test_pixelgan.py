"""PixelGAN autoencoders: updated modules and their losses, likelihoods, which labels are used, what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from genprior.engine.build import build_model
from genprior.errors import PlanError
from genprior.parts import Batch, DataInfo, PointPosterior
from genprior.randomness import seeded
from genprior.testing import check_model
from genprior_std.conditioners.infogan import InfoGAN
from genprior_std.conditioners.label import Label
from genprior_std.games.began import BoundaryEquilibrium
from genprior_std.games.wasserstein_gp import WassersteinGradientPenalty
from genprior_std.layers.posterior import SoftCategory, log_category
from genprior_std.models.pixelgan import PixelGanAutoencoder
from genprior_std.models.pixelgan_semi_supervised import SemiSupervisedPixelGan
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.networks.pixelcnn_decoder import PixelCnnDecoder
from genprior_std.networks.strided_encoder import StridedEncoder
from genprior_std.priors.code_generator import CodeGenerator
from genprior_std.priors.gaussian import Gaussian

from .small_autoregressive import INFO, Independent, K, batch_of, bernoulli_by_hand, moved_by, parts, phase_of

PLAIN = parts(posterior="point", prior=Gaussian.Config())


def config(**changes):
    return PixelGanAutoencoder.Config(**{"code_size": 4, **parts(), **changes})


def semi(**changes):
    given = parts()
    for own in ("prior", "conditioner"):
        del given[own]
    return SemiSupervisedPixelGan.Config(**{**given, **changes})


LABEL = {**PLAIN, "conditioner": Label.Config(), "decoder": Independent.Config(conditional=True)}
LABEL |= {"code_critic": CodeCritic.Config(hidden=(7,), conditional=True)}
VARIANTS = {
    "categorical": config(),
    "gaussian": config(**PLAIN),
    "label": config(**LABEL),
    "wasserstein_gp": config(code_game=WassersteinGradientPenalty.Config()),
    "strided": config(encoder=StridedEncoder.Config(widths=(3, 4), posterior="softmax", input_noise=0.1)),
    "semi-supervised": semi(),
}


# ---------------------------------------------------------------------------------------------------------------------
# Who moves, and down what
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_contract_of_a_model(variant):
    check_model(VARIANTS[variant], INFO)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_phase_moves_encoder_decoder_and_code_critic(variant):
    model = build_model(VARIANTS[variant], INFO, 0)
    assert moved_by(model, phase_of(model, "regularise"), batch_of()) == {"encoder", "decoder", "code_critic"}


def losses_of(model, batch, seed=3):
    torch.manual_seed(seed)
    return model.regularise(batch)


def test_the_losses_are_the_paper_s_by_hand():
    model, batch = build_model(config(rec_weight=2.0, adversarial_weight=0.3), INFO, 0).double().eval(), batch_of()
    batch = batch._replace(x=batch.x.double())
    objectives = losses_of(model, batch)
    nothing = batch.x.new_empty(6, 0)
    torch.manual_seed(3)
    real, z = model.prior.sample(nothing), model.encoder(batch.x, nothing).mean
    rec = -bernoulli_by_hand(batch.x, z @ model.decoder.weight.T + model.decoder.bias).mean() / 12
    logit_of_fakes, logit_of_reals = model.code_critic(z, nothing), model.code_critic(real, nothing)
    fool = -torch.sigmoid(logit_of_fakes).log().mean()
    judge = -(torch.sigmoid(logit_of_reals).log() + (1 - torch.sigmoid(logit_of_fakes)).log()).mean()
    torch.testing.assert_close(objectives.note["reconstruction"], rec)
    torch.testing.assert_close(objectives["encoder"], 2 * rec + 0.3 * fool)
    assert objectives["decoder"] is objectives["encoder"]
    torch.testing.assert_close(objectives["code_critic"], judge)


def test_the_weight_of_a_reconstruction_does_not_depend_on_the_size_of_images():
    """Of a decoder that always says 1/2 every image costs ln 2 a sub-pixel."""
    for image in ((1, 3, 4), (3, 8, 8)):
        model = build_model(config(), INFO._replace(image=image), 0)
        with torch.no_grad():
            model.decoder.weight.zero_(), model.decoder.bias.zero_()
        x = torch.ones(5, *image)
        rec = model.regularise(Batch(x, torch.zeros(5, dtype=torch.int64))).note["reconstruction"]
        assert float(rec.detach()) == pytest.approx(math.log(2), rel=1e-6)


def test_fooling_raises_the_critic_s_logit_of_codes_and_judging_lowers_it():
    model, batch = build_model(config(**PLAIN), INFO, 0).eval(), batch_of()
    known = batch.x.new_empty(6, 0)

    def logit():
        return model.code_critic(model.encoder(batch.x, known).mean, known).mean()

    for role, loss, sign in (("encoder", "fool", 1), ("code_critic", "code_critic", -1)):
        objectives = losses_of(model, batch)
        scalar = objectives.note[loss] if loss == "fool" else objectives[loss]
        own = list(getattr(model, role).parameters())
        down = torch.autograd.grad(scalar, own, retain_graph=True)
        up = torch.autograd.grad(logit(), own)
        # A small step against the loss changes the logit by minus the product of both gradients.
        assert sign * -sum(float((a * b).sum()) for a, b in zip(down, up, strict=True)) > 0


def test_the_reconstruction_reaches_the_encoder_through_the_code_of_the_likelihood_alone():
    model, batch = build_model(config(), INFO, 0), batch_of()
    seen = []
    log_prob = model.decoder.log_prob

    def detached(x, z, known):
        seen.append((x, z))
        return log_prob(x, z.detach(), known)

    def gradients():
        rec = losses_of(model, batch).note["reconstruction"]
        return torch.autograd.grad(rec, list(model.encoder.parameters()), allow_unused=True)

    assert any(g is not None and bool(g.abs().sum() > 0) for g in gradients())
    model.decoder.log_prob = detached
    assert all(g is None for g in gradients())
    (x, z), *others = seen
    assert x is batch.x and not x.requires_grad and z.requires_grad and not others


def test_clusters_are_found_where_images_are_of_two_kinds():
    """Dark and light images with one pixel in ten flipped; two categories are enough to tell them."""
    torch.manual_seed(0)
    kind = torch.arange(64) % 2
    flip = torch.where(torch.rand(64, *INFO.image) < 0.1, -1.0, 1.0)
    batch = Batch(flip * (2.0 * kind - 1).view(-1, 1, 1, 1), torch.zeros(64, dtype=torch.int64))
    encoder = MlpEncoder.Config(hidden=(8,), posterior="softmax")
    model = build_model(config(code_size=2, encoder=encoder, adversarial_weight=0.1), INFO, 0)
    modules = dict(model.named_children())
    optimisers = {n: torch.optim.Adam(m.parameters(), lr=0.01) for n, m in modules.items() if list(m.parameters())}
    from genprior.engine.step import run_phase

    for _ in range(300):
        run_phase(model.phases()[0], batch, modules, optimisers)
    member = model.eval().clusters(batch).argmax(1)
    assert bool((member == kind).all()) or bool((member == 1 - kind).all())
    with torch.no_grad():
        heads = model.cluster_heads().mean((1, 2, 3))
    light = int(member[kind == 1][0])
    assert heads[light] > 0 > heads[1 - light]


# ---------------------------------------------------------------------------------------------------------------------
# What is known of images
# ---------------------------------------------------------------------------------------------------------------------


def test_the_likelihood_under_a_categorical_prior_is_the_mean_over_all_categories():
    model, batch = build_model(config(), INFO, 0), batch_of()
    weight, bias = model.decoder.weight.detach(), model.decoder.bias.detach()
    each = [bernoulli_by_hand(batch.x, (weight[:, k] + bias).expand(6, -1)).exp() for k in range(4)]
    expected = (sum(each) / 4).log()
    torch.testing.assert_close(model.log_likelihood(batch).double(), expected, atol=1e-4, rtol=1e-5)


def test_the_likelihood_of_an_asked_category_is_that_of_its_code():
    changes = {"code_size": K, "conditioner": Label.Config()}
    model, batch = build_model(config(**changes), INFO, 0), batch_of()
    logits = model.decoder.weight.detach()[:, batch.y].T + model.decoder.bias.detach()
    torch.testing.assert_close(
        model.log_likelihood(batch).double(), bernoulli_by_hand(batch.x, logits), atol=1e-4, rtol=1e-5
    )


def test_the_likelihood_given_the_code_is_that_of_the_mean_code():
    model, batch = build_model(config(**PLAIN), INFO, 0).eval(), batch_of()
    with torch.no_grad():
        z = model.encode(batch)
        expected = bernoulli_by_hand(batch.x, z @ model.decoder.weight.T + model.decoder.bias)
    assert z.shape == (6, 4)
    torch.testing.assert_close(model.log_likelihood_given_code(batch).double(), expected, atol=1e-4, rtol=1e-5)
    assert model.log_likelihood(batch) is None  # a Gaussian's mean over codes is not known


def certain(model):
    """Let pixels be white where the category is 1, and black elsewhere."""
    with torch.no_grad():
        model.decoder.bias.fill_(-50)
        model.decoder.weight.zero_()[:, 1] = 100
    return model


def test_heads_decoded_codes_and_reconstructions_are_draws_of_their_codes():
    model, batch = certain(build_model(config(), INFO, 0)).eval(), batch_of()
    assert model.cluster_heads().mean((1, 2, 3)).tolist() == [-1, 1, -1, -1]
    nobody = model.condition(torch.zeros(2))
    assert model.decode(torch.eye(4)[[1, 3]], nobody).mean((1, 2, 3)).tolist() == [1, -1]
    with seeded("test"):
        rec = model.reconstruct(batch)
    with seeded("test"):
        assert torch.equal(rec, model.decode(model.encode(batch), model.conditioner(batch)))
    # A draw is white as often as the category is drawn: 4000 draws miss 1/4 by 0.035 with probability below 1e-6.
    white = (model.generate(model.condition(torch.zeros(4000))) > 0).double().mean()
    assert float(white) == pytest.approx(0.25, abs=0.035)


def test_only_soft_categories_are_clusters():
    batch = batch_of()
    model = build_model(config(), INFO, 0).eval()
    torch.testing.assert_close(model.clusters(batch).sum(1), torch.ones(6))
    assert torch.equal(model.clusters(batch), model.encode(batch)) and model.classify(batch) is None
    model = build_model(config(**PLAIN), INFO, 0).eval()
    assert model.clusters(batch) is None and model.cluster_heads() is None
    changes = {"code_size": K, "conditioner": Label.Config()}
    assert build_model(config(**changes), INFO, 0).cluster_heads() is None


# ---------------------------------------------------------------------------------------------------------------------
# Few labels
# ---------------------------------------------------------------------------------------------------------------------


def test_classification_moves_the_encoder_alone_by_the_cross_entropy_of_labelled_images():
    model, batch = build_model(semi(label_weight=3.0), INFO, 0), batch_of(8, labelled=5)
    assert [phase.name for phase in model.phases()] == ["regularise", "classify"]
    classify = phase_of(model, "classify")
    assert moved_by(model, classify, batch) == {"encoder"}
    model.eval()
    few = batch.labelled
    logits = model.encoder.to_code(model.encoder.layers(few.x.flatten(1)))
    expected = F.cross_entropy(logits, few.y)
    objectives = classify.objectives(batch)
    torch.testing.assert_close(objectives.note["cross_entropy"], expected)
    torch.testing.assert_close(objectives["encoder"], 3 * expected)
    own = list(model.encoder.parameters())
    for mine, theirs in zip(
        torch.autograd.grad(objectives["encoder"], own), torch.autograd.grad(3 * expected, own), strict=True
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-4)


def test_a_class_that_is_ruled_out_costs_a_finite_number():
    model, batch = build_model(semi(), INFO, 0).eval(), batch_of()
    with torch.no_grad():
        model.encoder.to_code.weight.zero_()
        model.encoder.to_code.bias.copy_(torch.tensor([0.0, 0.0, -500.0]))
    objectives = phase_of(model, "classify").objectives(batch)
    assert bool((model.classify(batch)[:, 2] == 0).all()) and bool(objectives["encoder"].isfinite())
    gradients = torch.autograd.grad(objectives["encoder"], list(model.encoder.parameters()))
    assert all(bool(g.isfinite().all()) for g in gradients)


def test_hidden_labels_are_never_used():
    batch = batch_of(8, labelled=5)
    told = batch._replace(y=torch.arange(8) % K)
    other = batch._replace(labelled=batch.labelled._replace(y=(batch.labelled.y + 1) % K))
    model = build_model(semi(), INFO, 0).eval()

    def all_losses(given):
        torch.manual_seed(3)
        return {phase.name: dict(phase.objectives(given)) for phase in model.phases()}

    found, with_told, with_other = all_losses(batch), all_losses(told), all_losses(other)
    for name, losses in found.items():
        for module, loss in losses.items():
            assert torch.equal(loss, with_told[name][module])
            assert torch.equal(loss, with_other[name][module]) == (name == "regularise")


def test_where_no_label_is_hidden_those_of_the_batch_are_used():
    model, batch = build_model(semi(), INFO, 0).eval(), batch_of()
    probabilities = model.classify(batch)
    expected = -probabilities[torch.arange(6), batch.y].log().mean()
    torch.testing.assert_close(phase_of(model, "classify").objectives(batch)["encoder"], expected)


def test_settings_of_old_run_folders_are_read_and_the_labels_alone_are_a_model_of_their_own():
    assert semi(labels_alone=False) == semi()
    with pytest.raises(
        ValidationError, match="'labels_alone' = True, but this setting was removed: its value is always False"
    ):
        semi(labels_alone=True)


def test_an_image_whose_class_is_taken_for_impossible_is_still_learnt_from():
    """Logits so far apart that the probability is 0: the gradient of the cross-entropy is q - y all the same."""
    logits = torch.tensor([[0.0, 200.0, 0.0]], requires_grad=True)
    assert SoftCategory(logits).mean[0, 0] == 0
    (slope,) = torch.autograd.grad(-log_category(SoftCategory(logits))[0, 0], logits)
    torch.testing.assert_close(slope, torch.tensor([[-1.0, 1.0, 0.0]]))
    plain = PointPosterior(torch.tensor([[0.25, 0.75, 0.0]]))
    torch.testing.assert_close(log_category(plain)[0, :2], torch.tensor([0.25, 0.75]).log())
    assert log_category(plain).isfinite().all()


def test_the_class_is_the_code():
    model, batch = certain(build_model(semi(), INFO, 0)).eval(), batch_of()
    assert model.config.code_size is None and model.encoder.sizes.code == model.decoder.sizes.code == K
    assert torch.equal(model.classify(batch), model.clusters(batch)) and model.classify(batch).shape == (6, K)
    images = model.generate(model.condition(torch.zeros(4), torch.tensor([1, 0, 1, 2])))
    assert images.mean((1, 2, 3)).tolist() == [1, -1, 1, -1]
    blind = Batch(batch.x, torch.full((6,), -1))
    assert torch.equal(model.classify(blind), model.classify(batch))
    with pytest.raises(PlanError) as caught:
        model.condition(torch.zeros(1), torch.tensor([K]))
    assert str(caught.value) == (
        "model 'pixelgan_semi_supervised' was asked for labels from 3 to 3; the data has 3 classes. Ask for labels "
        "from 0 to 2"
    )


# ---------------------------------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------------------------------

REFUSED = {
    "images alone": (
        config(decoder=MlpDecoder.Config()),
        "model 'pixelgan' needs a decoder with log_prob, an AutoregressiveDecoder; decoder 'mlp' makes images and "
        "gives no likelihood of them. Use decoder = { name = \"pixelcnn\" }, or model 'aae'",
    ),
    "grey images": (
        config(decoder=PixelCnnDecoder.Config(width=2, head_width=2)),
        "model 'pixelgan' has a Bernoulli likelihood, which is for black and white pixels, and these training images "
        'have grey ones. Set binarise = "dynamic" or "static" in [data] (mnist, fashion_mnist and digits have it). Or '
        'set distribution = "discretised_logistic" in the decoder\'s table, which is for 256 levels',
    ),
    "learned prior": (
        config(**{**PLAIN, "prior": CodeGenerator.Config()}),
        "prior 'code_generator' would not learn in model 'pixelgan': its decoder draws pixels one by one, so that no "
        "gradient of an image game reaches the codes. Use a prior without parameters, such as 'gaussian', 'mixture' or "
        "'categorical', or model 'aae' with improves.prior = true",
    ),
    "learned game": (
        config(code_game=BoundaryEquilibrium.Config()),
        "model 'pixelgan' trains only networks, and code_game 'began' has parameters or a state of its own. "
        "Use 'nonsaturating', 'minimax', 'least_squares', 'hinge' or 'wasserstein_gp', or model 'gan'",
    ),
    "image critic": (
        config(conditioner=InfoGAN.Config(categorical=(4,), continuous=0)),
        "conditioner 'infogan' borrows 'image_critic', which model 'pixelgan' does not lend here. It lends: prior, "
        "encoder, decoder, code_critic, code_game. Choose another conditioner or another model.",
    ),
    "number of classes": (
        semi(code_size=30),
        "model 'pixelgan_semi_supervised' has one category for each class of the data; code_size = 30, and there are 3 "
        "classes. Leave code_size out, or use model 'pixelgan' for other numbers of clusters",
    ),
    "other codes": (
        semi(prior=Gaussian.Config()),
        "model 'pixelgan_semi_supervised' has the class as its code; prior 'gaussian' draws other codes. "
        "Leave prior out, or use model 'pixelgan'",
    ),
    "hard codes": (
        semi(encoder=MlpEncoder.Config()),
        "model 'pixelgan_semi_supervised' reads the class of an image from a soft category, and encoder 'mlp' gives "
        'other codes. Set posterior = "softmax" in the encoder\'s table',
    ),
    "told labels": (
        semi(conditioner=Label.Config()),
        "model 'pixelgan_semi_supervised' has the class as its code, and conditioner 'label' adds a condition. "
        "Leave conditioner out, or use model 'pixelgan'",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused(case):
    settings, text = REFUSED[case]
    with pytest.raises(PlanError) as caught:
        build_model(settings, INFO, 0)
    assert str(caught.value) == text


def test_data_without_classes_has_nothing_to_classify():
    with pytest.raises(PlanError) as caught:
        build_model(semi(), DataInfo(INFO.image, ()), 0)
    assert str(caught.value) == (
        "model 'pixelgan_semi_supervised' learns classes, and this data set has none. Use a data set with labels, or "
        "model 'pixelgan'"
    )
    assert build_model(semi(code_size=K), INFO, 0).config.code_size == K
