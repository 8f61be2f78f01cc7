"""The conditioner of hidden labels: its `known` and `asked`, and the four streams of the adversarial autoencoder.

Statistical tests reject a right sampler with probability 0.1% under a random seed; their seeds are fixed.
"""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch.nn.functional import one_hot

from genprior.data.batches import DeviceData
from genprior.data.labels import HIDDEN_LABEL
from genprior.engine.build import build_model
from genprior.engine.step import run_phase
from genprior.errors import PlanError
from genprior.parts import Batch, DataInfo, ImageSet, Sizes, Widths
from genprior.testing import check_conditioner
from genprior_std.conditioners.partial_label import PartialLabel
from genprior_std.games.nonsaturating import NonSaturating
from genprior_std.models.aae import AdversarialAutoencoder
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.image_mlp import MlpImageCritic
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.mixture import Mixture
from genprior_std.reconstruction.pixel import Pixel

ERROR_RATE = 1e-3
K = 4
INFO = DataInfo((1, 4, 4), ("circle", "square", "star", "cross"))
# Components that no sample leaves: neighbours are 16 standard deviations apart.
PRIOR = Mixture.Config(components=K, shift=2.0, radial=0.1, tangential=0.1)


def conditioner():
    return PartialLabel.Config().make(Sizes(INFO.image, 2, *PartialLabel.widths(PartialLabel.Config(), INFO)))


def model_of(prior=PRIOR, **settings):
    config = AdversarialAutoencoder.Config(
        code_size=2,
        prior=prior,
        encoder=MlpEncoder.Config(hidden=(8,)),
        decoder=MlpDecoder.Config(hidden=(8,)),
        code_critic=CodeCritic.Config(hidden=(32, 32), **settings),
        image_critic=MlpImageCritic.Config(hidden=(8,)),
        reconstruction=Pixel.Config(),
        conditioner=PartialLabel.Config(),
        code_game=NonSaturating.Config(),
        image_game=NonSaturating.Config(),
    )
    return build_model(config, INFO, 0)


def batch_of(n, hidden):
    """Random images; the labels of those before `hidden` are known."""
    generator = torch.Generator().manual_seed(n)
    x = 2 * torch.rand(n, *INFO.image, generator=generator) - 1
    y = torch.randint(K, (n,), generator=generator)
    y[hidden:] = HIDDEN_LABEL
    return Batch(x, y)


def streams(model, batch):
    """What the code critic is shown in the first phase: (z, known) of the prior, and of images."""
    seen = []
    handle = model.code_critic.register_forward_hook(lambda module, inputs, output: seen.append(inputs))
    model.regularise(batch)
    handle.remove()
    # Which comes first is not promised: codes of images have a gradient, those of the prior have none.
    assert len(seen) == 2
    (of_images,) = (pair for pair in seen if pair[0].requires_grad)
    (of_prior,) = (pair for pair in seen if not pair[0].requires_grad)
    return of_prior, of_images


def component(z):
    """The component [n] of samples z [n, 2], from their angle."""
    turn = torch.atan2(z[:, 1], z[:, 0]) * K / (2 * math.pi)
    assert (turn - turn.round()).abs().max() < 0.4
    return turn.round().long() % K


def test_the_contract_holds():
    check_conditioner(PartialLabel.Config(), labels=True, one_hot=True)
    check_conditioner(PartialLabel.Config(), info=INFO._replace(labelled=10), labels=True, one_hot=True)


def test_widths_are_one_more_than_the_classes_and_the_classes():
    assert PartialLabel.widths(PartialLabel.Config(), INFO) == Widths(known=K + 1, asked=K, one_hot=True)
    assert PartialLabel.widths(PartialLabel.Config(), INFO._replace(labelled=8)) == Widths(
        known=K + 1, asked=K, one_hot=True
    )


def test_labels_are_told_and_asked_and_hidden_ones_are_told_as_hidden():
    torch.manual_seed(0)
    y = torch.tensor([2, HIDDEN_LABEL, 0, HIDDEN_LABEL])
    known, asked = conditioner()(Batch(torch.zeros(4, *INFO.image, dtype=torch.float64), y))
    assert known.tolist() == [[0, 0, 1, 0, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]]
    assert asked[0].tolist() == [0, 0, 1, 0] and asked[2].tolist() == [1, 0, 0, 0]
    assert asked.sum(1).tolist() == [1, 1, 1, 1]
    assert known.dtype == asked.dtype == torch.float64
    assert y.tolist() == [2, HIDDEN_LABEL, 0, HIDDEN_LABEL]


def test_with_all_labels_known_it_tells_and_asks_the_label():
    batch = batch_of(20, hidden=20)
    known, asked = conditioner()(batch)
    assert torch.equal(known, one_hot(batch.y, K + 1).float())
    assert torch.equal(asked, one_hot(batch.y, K).float())


@pytest.mark.parametrize("source", ["forward", "draw"])
def test_what_is_asked_for_hidden_labels_is_uniform(source):
    """Chi-square over the classes; refused at random with probability 0.1%."""
    torch.manual_seed(1)
    batch = batch_of(4000, hidden=0)
    known, asked = conditioner()(batch) if source == "forward" else conditioner().draw(batch.x)
    assert stats.chisquare(asked.sum(0).numpy()).pvalue > ERROR_RATE
    assert torch.equal(known, one_hot(torch.full((4000,), K), K + 1).float())


def test_a_label_that_is_asked_is_told():
    known, asked = conditioner().of_label(torch.tensor([3, 1]))
    assert known.tolist() == [[0, 0, 0, 1, 0], [0, 1, 0, 0, 0]]
    assert asked.tolist() == [[0, 0, 0, 1], [0, 1, 0, 0]]


@pytest.mark.parametrize("y", [HIDDEN_LABEL, K])
def test_a_label_that_is_not_there_is_refused(y):
    with pytest.raises(PlanError) as caught:
        conditioner().of_label(torch.tensor([0, y]))
    assert str(caught.value) == (
        f"conditioner 'partial_label' was asked for labels from {min(0, y)} to {max(0, y)}; the data has 4 classes. "
        "Ask for labels from 0 to 3"
    )


def test_data_without_classes_is_refused():
    with pytest.raises(PlanError) as caught:
        PartialLabel.widths(PartialLabel.Config(), DataInfo((1, 4, 4), ()))
    assert str(caught.value) == (
        "conditioner 'partial_label' needs images of which at least some are labelled; this data set has no classes. "
        "Use conditioner 'none' or 'infogan', or a data set with labels"
    )


def test_the_code_critic_sees_the_four_streams_of_the_paper():
    """Unlabelled positives: chi-square over the components; refused at random with probability 0.1%."""
    torch.manual_seed(2)
    model, batch = model_of(), batch_of(4000, hidden=1000)
    (z_prior, with_prior), (z, with_images) = streams(model, batch)
    told = torch.where(batch.y < 0, K, batch.y)
    assert torch.equal(with_prior, one_hot(told, K + 1).float())
    assert torch.equal(with_images, one_hot(told, K + 1).float())
    assert torch.equal(component(z_prior[:1000]), batch.y[:1000])
    counts = torch.bincount(component(z_prior[1000:]), minlength=K).numpy()
    assert stats.chisquare(counts).pvalue > ERROR_RATE
    assert torch.equal(z, model.encoder(batch.x, with_images).mean)


def test_without_hidden_labels_each_code_of_the_prior_is_of_its_label():
    model, batch = model_of(), batch_of(200, hidden=200)
    (z_prior, with_prior), _ = streams(model, batch)
    assert torch.equal(component(z_prior), batch.y)
    assert not with_prior[:, K].any()


def test_no_label_reaches_the_encoder_or_the_decoder():
    model, batch = model_of().eval(), batch_of(40, hidden=20)
    other = batch._replace(y=(batch.y + 1) % K)
    assert torch.equal(model.encode(batch), model.encode(other))
    assert torch.equal(model.reconstruct(batch), model.reconstruct(other))
    recs = [model.regularise(some).note["reconstruction"] for some in (batch, other)]
    assert torch.equal(recs[0], recs[1])
    fools = [model.regularise(some).note["fool"] for some in (batch, other)]
    assert not torch.equal(fools[0], fools[1])
    assert model.encoder.layers[0][0].in_features == 16 and model.decoder.layers[0][0].in_features == 2
    assert model.code_critic.layers[0][0].in_features == 2 + K + 1


def test_a_batch_of_a_run_with_few_labels_trains():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (60, 1, 4, 4), dtype=torch.uint8, generator=generator)
    data = DeviceData(ImageSet(images, torch.arange(60) % K, INFO.classes), "cpu", batch=30, seed=0, labels=12)
    model = build_model(model_of().config, data.info, 0)
    modules = dict(model.named_children())
    steps = {name: torch.optim.SGD(m.parameters(), lr=0.1) for name, m in modules.items() if list(m.parameters())}
    batch = data.batch(0)
    before = model.encode(batch)
    assert 0 < int((batch.y >= 0).sum()) < 30
    for phase in model.phases():
        run_phase(phase, batch, modules, steps)
    assert not torch.equal(model.encode(batch), before)


@pytest.fixture(scope="module")
def judge():
    """A model whose code critic has learnt codes of the mixture with their label from codes with any label.

    That is what it sees once the encoder's codes have the right distribution but ignore the labels.
    """
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wide = Mixture.Config(components=K, shift=1.4, radial=0.4, tangential=0.4)
        model = model_of(prior=wide)
        optimiser = torch.optim.Adam(model.code_critic.parameters(), lr=3e-3)
        for _ in range(400):
            y, other = torch.randint(K, (2, 256))
            told = one_hot(y, K + 1).float()
            right, any_label = (model.prior.sample(one_hot(k, K).float()) for k in (y, other))
            loss = model.code_game.critic_loss(model.code_critic, (right, told), (any_label, told))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return model


def test_a_wrong_label_is_punished(judge):
    """The best logit is log p(z | k) / p(z): at most log 4 = 1.4, and about -11 on the mean of a neighbour of k."""
    torch.manual_seed(1)
    y = torch.arange(400) % K
    z = judge.prior.sample(one_hot(y, K).float())
    right = one_hot(y, K + 1).float()
    with torch.no_grad():
        for shift in range(1, K):
            wrong = one_hot((y + shift) % K, K + 1).float()
            assert judge.code_critic(z, right).mean() > judge.code_critic(z, wrong).mean() + 2
            pay = judge.code_game.generator_loss(judge.code_critic, (z, right), (z, wrong))
            assert pay > judge.code_game.generator_loss(judge.code_critic, (z, right), (z, right)) + 1
            # The critic itself finds it harder to call codes with their own label fakes.
            easy = judge.code_game.critic_loss(judge.code_critic, (z, right), (z, wrong))
            hard = judge.code_game.critic_loss(judge.code_critic, (z, wrong), (z, right))
            assert easy < hard


def test_the_encoder_is_drawn_to_the_component_of_the_label(judge):
    """A step down the game from a neighbour's mean goes towards the mean of the own component."""
    phi = 2 * math.pi * torch.arange(K) / K
    means = 1.4 * torch.stack([phi.cos(), phi.sin()], 1)
    for shift in (1, 2, 3):
        y = torch.arange(K)
        z = means[(y + shift) % K].clone().requires_grad_()
        told = one_hot(y, K + 1).float()
        loss = judge.code_game.generator_loss(judge.code_critic, (means.detach(), told), (z, told))
        (gradient,) = torch.autograd.grad(loss, z)
        assert (-gradient * (means[y] - z)).sum(1).min() > 0


def test_a_critic_that_is_not_conditional_knows_no_label():
    blind = model_of(conditional=False).code_critic
    z = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    told = [one_hot(torch.full((6,), k), K + 1).float() for k in (0, 1)]
    assert torch.equal(blind(z, told[0]), blind(z, told[1]))
