"""Conditioners: widths, `known` and `asked`, and InfoGAN's bound.

Statistical tests reject a right sampler with probability 0.1% under a random seed; their seeds are fixed.
"""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from torch.distributions import Categorical, Normal
from torch.nn.functional import one_hot

from genprior.errors import PlanError
from genprior.parts import Batch, Borrowed, Critic, DataInfo, FeatureCritic, Sizes, Widths
from genprior_std.conditioners.infogan import InfoGAN
from genprior_std.conditioners.label import Label
from genprior_std.conditioners.none import NoCondition
from genprior_std.networks.image_mlp import MlpImageCritic

ERROR_RATE = 1e-3
DIGITS = DataInfo((1, 4, 4), tuple("0123456789"))
NAMELESS = DataInfo((1, 4, 4), ())


class Pixels(FeatureCritic):
    """A critic whose trunk is the image, then what it was told, padded or cut to a given width."""

    name = "pixels"

    def __init__(self, config, sizes, width=16):
        super().__init__(config, sizes)
        self.width = width
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.told = []

    @property
    def feature_layers(self):
        return ("pixels",)

    def features(self, x, known, layer):
        return x.flatten(1)

    def trunk(self, x, known):
        self.told.append(known)
        return torch.nn.functional.pad(x.flatten(1), (0, self.width - 16)) * self.weight

    @property
    def trunk_width(self):
        return self.width

    def forward(self, x, known):
        return self.trunk(x, known).sum(1)


class Blind(Critic):
    """A critic without a trunk."""

    name = "blind"

    def forward(self, x, known):
        return x.flatten(1).sum(1)


def infogan(info=DIGITS, width=16, **settings):
    torch.manual_seed(0)
    config = InfoGAN.Config(**settings)
    widths = InfoGAN.widths(config, info)
    sizes = Sizes(info.image, 8, *widths)
    return config.make(sizes, image_critic=Borrowed(Pixels(Pixels.Config(), sizes, width=width)))


def plain(part, info=DIGITS):
    widths = part.widths(part.Config(), info)
    return part.Config().make(Sizes(info.image, 8, *widths))


def batch(n=12, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, 1, 4, 4, dtype=dtype, generator=generator) * 2 - 1
    return Batch(x, torch.arange(n) % 10)


# None and label


def test_no_condition_is_of_width_zero_and_never_none():
    part = plain(NoCondition)
    assert part.widths(part.config, NAMELESS) == Widths(0, 0)
    for condition in (part(batch()), part.draw(batch().x)):
        assert condition.known.shape == condition.asked.shape == (12, 0)
        assert condition.known.dtype == torch.float64
    assert part.draw(torch.zeros(4, dtype=torch.uint8)).asked.dtype == torch.float32


def test_no_condition_asks_for_no_label_and_is_consistent_with_anything():
    part = plain(NoCondition)
    with pytest.raises(PlanError, match="conditioner 'none' takes no label; sample without one"):
        part.of_label(torch.tensor([1]))
    assert part.consistency(batch().x, part(batch()).asked) == 0


def test_label_tells_and_asks_for_the_one_hot_of_the_label():
    part = plain(Label)
    assert part.widths(part.config, DIGITS) == Widths(10, 10, one_hot=True)
    condition = part(batch())
    expected = torch.eye(10, dtype=torch.float64)[batch().y]
    assert torch.equal(condition.known, expected)
    assert torch.equal(condition.asked, expected)
    assert part(batch(dtype=torch.float32)).asked.dtype == torch.float32


def test_label_draws_classes_uniformly():
    torch.manual_seed(1)
    condition = plain(Label).draw(torch.zeros(5000, 2, dtype=torch.float64))
    assert torch.equal(condition.known, condition.asked)
    assert torch.equal(condition.asked.sum(1), torch.ones(5000, dtype=torch.float64))
    assert stats.chisquare(condition.asked.sum(0).numpy()).pvalue > ERROR_RATE


def test_label_asks_for_a_given_class():
    condition = plain(Label).of_label(torch.tensor([3, 9]))
    assert condition.asked.argmax(1).tolist() == [3, 9]
    assert condition.known.sum(1).tolist() == [1, 1]
    assert condition.asked.dtype == torch.float32


@pytest.mark.parametrize("y", [[10], [0, 12], [-1]])
def test_label_refuses_a_class_that_the_data_has_not(y):
    with pytest.raises(PlanError) as caught:
        plain(Label).of_label(torch.tensor(y))
    assert str(caught.value) == (
        f"conditioner 'label' was asked for labels from {min(y)} to {max(y)}; the data has 10 classes. "
        "Ask for labels from 0 to 9"
    )


def test_label_needs_labels():
    with pytest.raises(PlanError) as caught:
        Label.widths(Label.Config(), NAMELESS)
    assert str(caught.value) == (
        "conditioner 'label' needs labelled images; this data set has no classes. "
        "Use conditioner 'none' or 'infogan', or a data set with labels"
    )


# InfoGAN


@pytest.mark.parametrize(
    ("settings", "widths"),
    [
        ({}, Widths(0, 10, one_hot=True)),
        ({"supervised": True}, Widths(10, 10, one_hot=True)),
        ({"continuous": 2}, Widths(0, 12)),
        ({"categorical": (), "continuous": 3}, Widths(0, 3)),
        ({"categorical": (10, 4), "continuous": 1, "supervised": True}, Widths(10, 15)),
    ],
)
def test_infogan_widths_hold_for_what_it_gives(settings, widths):
    part = infogan(**settings)
    assert part.widths(part.config, DIGITS) == widths
    for condition in (part(batch()), part.draw(batch().x)):
        rows = condition.asked
        assert bool(((rows == 0) | (rows == 1)).all() and (rows.sum(1) == 1).all()) == widths.one_hot
        assert condition.known.shape == (12, widths.known)
        assert condition.asked.shape == (12, widths.asked)
        assert condition.asked.dtype == condition.known.dtype == torch.float64


def test_q_of_table_4_is_one_layer_and_infogans_own_has_a_hidden_one():
    assert sum(p.numel() for p in infogan(width=1000).parameters()) == 10_010
    own = sum(p.numel() for p in infogan(width=1024, continuous=2, head=128).parameters())
    assert own == (1024 * 128 + 128) + 2 * 128 + (128 * 12 + 12)


def test_codes_are_uniform_and_independent_of_the_images():
    torch.manual_seed(2)
    part = infogan(categorical=(4, 3), continuous=2)
    torch.manual_seed(3)
    asked = part.draw(torch.zeros(5000, 1, dtype=torch.float64)).asked
    first, second, continuous = asked.split([4, 3, 2], 1)
    # Five tests, each at a fifth of the error rate.
    assert stats.chisquare(first.sum(0).numpy()).pvalue > ERROR_RATE / 5
    assert stats.chisquare(second.sum(0).numpy()).pvalue > ERROR_RATE / 5
    assert stats.chi2_contingency((first.mT @ second).numpy()).pvalue > ERROR_RATE / 5
    for code in continuous.T:
        assert stats.kstest(code.numpy(), stats.uniform(-1, 2).cdf).pvalue > ERROR_RATE / 5
    assert torch.equal(first.sum(1), torch.ones(5000, dtype=torch.float64))


def test_supervised_tells_and_asks_for_the_label_and_draws_the_rest():
    part = infogan(categorical=(10, 4), continuous=1, supervised=True)
    condition = part(batch())
    assert torch.equal(condition.known, torch.eye(10, dtype=torch.float64)[batch().y])
    assert torch.equal(condition.asked[:, :10], condition.known)
    assert not torch.equal(part(batch()).asked, condition.asked)
    drawn = part.draw(batch().x)
    assert torch.equal(drawn.known, drawn.asked[:, :10])
    asked = part.of_label(torch.tensor([7, 2]))
    assert asked.known.argmax(1).tolist() == [7, 2]


def test_of_label_asks_for_a_category_of_the_first_code():
    condition = infogan(categorical=(4, 3), continuous=1).of_label(torch.tensor([3, 0, 1]))
    assert condition.asked[:, :4].argmax(1).tolist() == [3, 0, 1]
    assert condition.asked[:, 4:7].sum(1).tolist() == [1, 1, 1]
    assert condition.known.shape == (3, 0)


def test_consistency_is_the_cross_entropy_of_independent_codes():
    part = infogan(categorical=(4, 3), continuous=2).double()
    x, asked = batch().x, part.draw(batch().x).asked
    output = part.head(x.flatten(1))
    first, second, mean = output[:, :4], output[:, 4:7], output[:, 7:]
    log_q = Categorical(logits=first).log_prob(asked[:, :4].argmax(1))
    log_q = log_q + Categorical(logits=second).log_prob(asked[:, 4:7].argmax(1))
    # The Gaussian's constant is left out.
    log_q = log_q + (Normal(mean, 1.0).log_prob(asked[:, 7:]) + 0.5 * math.log(2 * math.pi)).sum(1)
    torch.testing.assert_close(part.consistency(x, asked), -log_q.mean())


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, math.log(10)), ({"categorical": (4, 3)}, math.log(12)), ({"categorical": (), "continuous": 2}, 1 / 3)],
)
def test_a_head_that_knows_nothing_pays_the_entropy_of_the_codes(settings, expected):
    part = infogan(**settings).double()
    torch.nn.init.zeros_(part.head.weight)
    torch.nn.init.zeros_(part.head.bias)
    torch.manual_seed(4)
    x = torch.zeros(20_000, 1, 4, 4, dtype=torch.float64)
    # Continuous codes: 1/2 E c^2 = 1/6 each, of standard deviation 0.15; 0.006 is four standard errors.
    assert part.consistency(x, part.draw(x).asked).item() == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("head", [0, 6])
def test_consistency_reaches_images_head_and_trunk(head):
    part = infogan(continuous=2, head=head).double()
    x = batch().x.requires_grad_()
    trunk = part.image_critic.weight.data.double().requires_grad_()
    part.image_critic._module.weight = torch.nn.Parameter(trunk.detach().clone())
    part.consistency(x, part.draw(x).asked).backward()
    assert (x.grad.abs().flatten(1).sum(1) > 0).all()
    assert part.image_critic.weight.grad.abs().sum() > 0
    assert part.head.weight.grad.abs().sum() > 0 if not head else part.head[0].weight.grad.abs().sum() > 0
    assert all("head" in name for name, _ in part.named_parameters())


def test_consistency_gradient_is_right():
    part = infogan(categorical=(3,), continuous=1).double()
    x = batch(4).x.requires_grad_()
    asked = part.draw(x).asked
    assert torch.autograd.gradcheck(lambda x: part.consistency(x, asked), x)


def test_what_the_trunk_is_told():
    part = infogan(supervised=True).double()
    asked = part(batch()).asked
    part.consistency(batch().x, asked)
    part.codes(batch().x)
    told_with_label, told_nothing = part.image_critic.told
    assert told_with_label.shape == asked.shape and not told_with_label.any()  # or Q need not look at the image
    assert torch.equal(told_nothing, torch.zeros(12, 10, dtype=torch.float64))
    free = infogan().double()
    free.consistency(batch().x, free(batch()).asked)
    assert free.image_critic.told[0].shape == (12, 0)


def test_the_head_learns_to_read_codes_that_images_show():
    part = infogan(categorical=(10,))
    torch.manual_seed(5)
    optimiser = torch.optim.Adam(part.parameters(), lr=0.1)
    y = torch.arange(200) % 10
    x = torch.nn.functional.pad(one_hot(y, 10).float(), (0, 6)).reshape(200, 1, 4, 4)
    for _ in range(60):
        optimiser.zero_grad()
        part.consistency(x, one_hot(y, 10).float()).backward()
        optimiser.step()
    assert part.codes(x).tolist() == y.tolist()
    assert part.consistency(x, one_hot(y, 10).float()) < 0.5 < part.consistency(x, one_hot(9 - y, 10).float())


def test_infogan_refuses_a_critic_without_a_trunk():
    sizes = Sizes(image=(1, 4, 4), code=8, known=0, asked=10)
    with pytest.raises(PlanError) as caught:
        InfoGAN.Config().make(sizes, image_critic=Borrowed(Blind(Blind.Config(), sizes)))
    assert str(caught.value) == (
        "conditioner 'infogan' puts its head on the trunk of the image critic; critic 'blind' has none. "
        "Use an image critic with features, or another conditioner"
    )


@pytest.mark.parametrize(
    ("info", "ending"),
    [
        (DIGITS, "the data has 10 classes. Set categorical[0] = 10, or supervised = false"),
        (NAMELESS, "the data has 0 classes. Use labelled images, or supervised = false"),
    ],
)
def test_supervised_needs_as_many_categories_as_classes(info, ending):
    with pytest.raises(PlanError) as caught:
        InfoGAN.widths(InfoGAN.Config(categorical=(7,), supervised=True), info)
    assert str(caught.value) == ("conditioner 'infogan' is supervised with a first code of 7 categories; " + ending)


def test_infogan_without_categorical_codes_has_no_labels():
    part = infogan(categorical=(), continuous=2)
    with pytest.raises(PlanError) as caught:
        part.of_label(torch.tensor([1]))
    assert str(caught.value) == (
        "conditioner 'infogan' has only continuous codes, so no label can be asked for; "
        "sample without one, or train with categorical codes"
    )
    with pytest.raises(PlanError, match="conditioner 'infogan' has no categorical code to read; give it categorical"):
        part.codes(batch().x.float())


def test_infogan_refuses_a_label_beyond_its_first_code():
    with pytest.raises(PlanError) as caught:
        infogan(categorical=(4, 10)).of_label(torch.tensor([2, 4]))
    assert str(caught.value) == (
        "conditioner 'infogan' was asked for labels from 2 to 4; its first code has 4 categories. "
        "Ask for labels from 0 to 3"
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"categorical": ()}, "there are no codes; give categorical, for example .10., or continuous, or both"),
        ({"categorical": (1,)}, "greater than or equal to 2"),
        ({"categorical": (), "continuous": 1, "supervised": True}, "supervised needs a categorical code for the label"),
        ({"continuous": -1}, "greater than or equal to 0"),
        ({"head": -1}, "greater than or equal to 0"),
    ],
)
def test_infogan_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        InfoGAN.Config(**settings)


def test_infogan_reads_categories_as_probabilities():
    """The head's first logits through a softmax, as `codes` picks the largest of them."""
    sizes = Sizes((1, 4, 4), 2, 0, 4)
    critic = MlpImageCritic.Config(hidden=(6,)).make(sizes).double()
    head = InfoGAN.Config(categorical=(3,), continuous=1).make(sizes, image_critic=Borrowed(critic)).double()
    x = torch.rand(5, 1, 4, 4, dtype=torch.float64)
    q = head.clusters(x)
    logits = head.head(critic.trunk(x, x.new_zeros(5, 0)))[:, :3]
    torch.testing.assert_close(q, logits.exp() / logits.exp().sum(1, keepdim=True))
    assert torch.equal(q.argmax(1), head.codes(x))
    bare = InfoGAN.Config(categorical=(), continuous=1).make(sizes, image_critic=Borrowed(critic)).double()
    assert bare.clusters(x) is None
