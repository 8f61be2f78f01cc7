"""Each promise of a contract, broken on purpose: the check must fail, and say what is wrong.

The unbroken parts that these derive from pass, so a failure is due to the one thing that a broken part does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from genprior import Asks, Borrowed, Condition, Conditioner, DensityPosterior, PartConfig, Prior, Widths
from genprior.testing import (
    ContractError,
    check_conditioner,
    check_critic,
    check_decoder,
    check_encoder,
    check_game,
    check_prior,
    check_reconstruction,
)

from .right_parts import (
    ImageCritic,
    LinearCritic,
    LinearDecoder,
    LinearEncoder,
    Logistic,
    NearCodes,
    Normal,
    OneHot,
    Shifted,
    Squared,
)

Check = Callable[..., None]


def critic_of_codes(part: Any, **sizes: int) -> None:
    check_critic(part, of="codes", **sizes)


def critic_of_images(part: Any) -> None:
    check_critic(part, of="images")


CHECK: dict[type, Check] = {
    Normal: check_prior,
    Shifted: check_prior,
    NearCodes: check_prior,
    Squared: check_reconstruction,
    OneHot: lambda part: check_conditioner(part, labels=True, one_hot=True),
    LinearEncoder: check_encoder,
    LinearDecoder: check_decoder,
    LinearCritic: critic_of_codes,
    ImageCritic: critic_of_images,
    Logistic: check_game,
}


@pytest.mark.parametrize("part", CHECK, ids=lambda part: part.__name__)
def test_what_is_not_broken_passes(part: type) -> None:
    assert CHECK[part](part) is None  # a check says nothing of what is right, and raises otherwise


@pytest.mark.parametrize("part", [LinearEncoder, LinearDecoder, LinearCritic], ids=lambda part: part.__name__)
def test_a_network_that_does_not_look_at_what_is_known_has_to_say_so(part: type) -> None:
    with pytest.raises(ContractError, match=r"the same numbers, and sees_known\(config\) is True"):
        CHECK[part](part, known=3)
    blind = type("Blind", (part,), {"name": "blind", "sees_known": classmethod(lambda cls, config: False)})
    CHECK[part](blind, known=3)


def with_parameter(self: Any, config: Any, sizes: Any) -> None:
    super(type(self), self).__init__(config, sizes)
    self.unused = nn.Parameter(torch.ones(2))


def owns_the_encoder(self: Any, config: Any, sizes: Any, encoder: Borrowed) -> None:
    NearCodes.__init__(self, config, sizes, encoder)
    self.encoder = encoder._module


def numpy_draw(self: Any, asked: Any) -> Any:
    noise = torch.from_numpy(np.random.default_rng().normal(size=(len(asked), self.sizes.code)))
    return noise.to(asked.dtype)


def hidden_scale(self: Any, config: Any, sizes: Any) -> None:
    Normal.__init__(self, config, sizes)
    self.scale = torch.rand(())  # no buffer


def counting(self: Any, config: Any, sizes: Any) -> None:
    Normal.__init__(self, config, sizes)
    self.register_buffer("count", torch.zeros(()))


def count_and_draw(self: Any, asked: Any) -> Any:
    self.count += 1
    return Normal.sample(self, asked)


def one_centre(self: Any, z: Any, asked: Any) -> Any:
    return Normal.log_prob(self, z - z.mean(0), asked)


def halved(self: Any, x: Any, x_rec: Any, known: Any) -> Any:
    error = Squared.forward(self, x, x_rec, known)
    return error / error.detach().mean()


def always_the_first(self: Any, like: Any) -> Any:
    return self.rows(torch.zeros(len(like), dtype=torch.int64, device=like.device), like.dtype)


def of_targets(self: Any, x: Any, x_rec: Any, known: Any) -> Any:
    return Squared.forward(self, x, x_rec, known) / x.var()


def zeroing(self: Any, asked: Any) -> Any:
    asked.zero_()
    return Normal.sample(self, asked)


def sharp(self: Any, config: Any, sizes: Any) -> None:
    LinearEncoder.__init__(self, config, sizes)
    self.norm = nn.BatchNorm1d(sizes.code, affine=False, track_running_stats=False)


BROKEN: list[tuple[str, type, dict[str, Any], list[str]]] = [
    # priors
    (
        "one code too wide",
        Normal,
        {"sample": lambda s, a: torch.randn(len(a), 3, dtype=a.dtype)},
        ["[32, 3]", "[32, 2]"],
    ),
    ("always float32", Normal, {"sample": lambda s, a: torch.randn(len(a), 2)}, ["float32", "dtype=..."]),
    ("nan", Normal, {"sample": lambda s, a: Normal.sample(s, a) * math.nan}, ["64 numbers are infinite or nan"]),
    ("constant", Normal, {"sample": lambda s, a: a.new_ones(len(a), 2)}, ["the same codes both times", "a new draw"]),
    (
        "one draw for all rows",
        Normal,
        {"sample": lambda s, a: torch.randn(1, 2, dtype=a.dtype).expand(len(a), -1)},
        ["the same code in each row"],
    ),
    ("numpy's generator", Normal, {"sample": numpy_draw}, ["torch.manual_seed", "not with numpy"]),
    (
        "cpu only",
        Normal,
        {"sample": lambda s, a: torch.randn(len(a), 2, dtype=a.dtype)},
        ["on another device", "on cpu"],
    ),
    ("raises", Normal, {"sample": lambda s, a: a.no_such_thing}, ["AttributeError", "no_such_thing", "look at"]),
    (
        "hidden state",
        Normal,
        {"__init__": hidden_scale, "sample": lambda s, a: Normal.sample(s, a) * s.scale},
        ["state_dict"],
    ),
    (
        "counts in evaluation",
        Normal,
        {"__init__": counting, "sample": count_and_draw},
        ["it changed count", "evaluation"],
    ),
    ("unused parameter", Normal, {"__init__": with_parameter}, ["no gradient reaches unused"]),
    (
        "detached",
        Shifted,
        {"sample": lambda s, a: Shifted.sample(s, a).detach()},
        ["no gradient reaches shift", "detach()"],
    ),
    ("owns what it borrowed", NearCodes, {"__init__": owns_the_encoder}, ["borrowed module 'encoder'", "one owner"]),
    # densities
    (
        "not normalised",
        Normal,
        {"log_prob": lambda s, z, a: -0.5 * z.square().sum(1)},
        ["too high by 1.8", "integrates to 1"],
    ),
    (
        "too wide",
        Normal,
        {"sample": lambda s, a: 1.2 * Normal.sample(s, a)},
        ["standard errors apart", "mean log-density"],
    ),
    ("moved", Normal, {"sample": lambda s, a: Normal.sample(s, a) + 0.2}, ["standard errors apart"]),
    ("density [n, 1]", Normal, {"log_prob": lambda s, z, a: Normal.log_prob(s, z, a)[:, None]}, ["[32, 1]", "[32]"]),
    (
        "density detached",
        Normal,
        {"log_prob": lambda s, z, a: Normal.log_prob(s, z.detach(), a)},
        ["gradient", "autograd"],
    ),
    (
        "density in float32",
        Normal,
        {"log_prob": lambda s, z, a: Normal.log_prob(s, z.float(), a).double()},
        ["finite differences"],
    ),
    ("density of the batch", Normal, {"log_prob": one_centre}, ["different densities", "that row alone"]),
    (
        "samples outside",
        Normal,
        {"log_prob": lambda s, z, a: torch.where(z[:, 0] > 0, Normal.log_prob(s, z, a), -math.inf)},
        ["density of zero"],
    ),
    (
        "another posterior than it says",
        LinearEncoder,
        {"posterior_of": classmethod(lambda c, config: DensityPosterior)},
        ["DensityPosterior, and forward gives a PointPosterior", "return the class that forward gives"],
    ),
    # reconstructions
    (
        "reduced",
        Squared,
        {"forward": lambda s, x, r, k: (x - r).square().mean()},
        ["[] float64", "one error for each image"],
    ),
    (
        "sign",
        Squared,
        {"forward": lambda s, x, r, k: -Squared.forward(s, x, r, k)},
        ["are smaller than that of the image"],
    ),
    ("constant error", Squared, {"forward": lambda s, x, r, k: 0 * r.flatten(1).sum(1)}, ["no error is larger"]),
    (
        "no gradient",
        Squared,
        {"forward": lambda s, x, r, k: Squared.forward(s, x, r.detach(), k)},
        ["reaches x_rec[0]"],
    ),
    ("of the batch", Squared, {"forward": halved}, ["reconstructions of others"]),
    (
        "of the targets",
        Squared,
        {"forward": of_targets},
        ["only on that image and its reconstruction", "batch_statistic"],
    ),
    (
        "an average that does not say so",
        Squared,
        {"forward": lambda s, x, r, k: (x - r).square().flatten(1).mean(1)},
        ["sums(config), which is True", "is 1 times", "return False from"],
    ),
    (
        "a sum that says that it is none",
        Squared,
        {"sums": classmethod(lambda c, config: False)},
        ["sums(config), which is False", "is 2 times", "return True from"],
    ),
    (
        "a likelihood of a pixel",
        Squared,
        {
            "forward": lambda s, x, r, k: (x - r).square().flatten(1).mean(1),
            "sums": classmethod(lambda c, config: False),
            "normalised": True,
        },
        ["an average over pixels", "let normalised be False"],
    ),
    (
        "no probabilities",
        Squared,
        {"likelihood_of": classmethod(lambda c, config: "binary"), "normalised": True},
        ["one pixel with each of its 2 values", "add up to 0.797"],
    ),
    # conditioners
    ("wrong widths", OneHot, {"widths": classmethod(lambda c, config, info: Widths(1, 3))}, ["[12, 1]", "announced"]),
    (
        "tuple widths",
        OneHot,
        {"widths": classmethod(lambda c, config, info: (0, 3))},
        ["a tuple", "Widths(known=..., asked=...)"],
    ),
    (
        "widths that do not say one-hot",
        OneHot,
        {"widths": classmethod(lambda c, config, info: Widths(0, 3))},
        ["one_hot=False", "Widths(known=..., asked=..., one_hot=True)"],
    ),
    ("no condition", OneHot, {"draw": lambda s, like: None}, ["draw(like", "None"]),
    ("plain tuple", OneHot, {"forward": lambda s, b: tuple(OneHot.forward(s, b))}, ["a tuple", "genprior.Condition"]),
    (
        "float32 only",
        OneHot,
        {"rows": lambda s, y, t: OneHot.rows(s, y, torch.float32)},
        ["float64", "dtype of the inputs"],
    ),
    ("always one class", OneHot, {"draw": always_the_first}, ["under two seeds", "a new draw"]),
    (
        "not one-hot",
        OneHot,
        {"rows": lambda s, y, t: Condition(*(2 * each for each in OneHot.rows(s, y, t)))},
        ["one-hot"],
    ),
    (
        "another class",
        OneHot,
        {"of_label": lambda s, y: OneHot.of_label(s, (y + 1) % 3 if y.max() < 3 else y)},
        ["column y"],
    ),
    (
        "class not there",
        OneHot,
        {"of_label": lambda s, y: s.rows(y % 3, torch.float32)},
        ["of_label(10000)", "PlanError"],
    ),
    ("no classes", OneHot, {"of_label": lambda s, y: (_ for _ in ()).throw(KeyError("y"))}, ["KeyError", "PlanError"]),
    (
        "asks for nothing",
        OneHot,
        {"asks": property(lambda s: Asks())},
        ["of_label(y [12] int64) returns a condition", "override the property asks"],
    ),
    (
        "asks for what it refuses",
        OneHot,
        {"of_label": Conditioner.of_label},
        ["Asks(kind='label', number=3)", "raises a PlanError"],
    ),
    ("asks a word", OneHot, {"asks": property(lambda s: "label")}, ["a genprior.Asks"]),
    ("consistency a row", OneHot, {"consistency": lambda s, x, a: x.flatten(1).sum(1)}, ["[12] float64", "one number"]),
    # networks
    ("no posterior", LinearEncoder, {"forward": lambda s, x, k: s.layer(x.flatten(1))}, ["PointPosterior"]),
    (
        "batch statistics",
        LinearEncoder,
        {
            "__init__": sharp,
            "forward": lambda s, x, k: type(LinearEncoder.forward(s, x, k))(
                s.layer(x.flatten(1)) - s.layer(x.flatten(1)).mean()
            ),
        },
        ["depends on that row alone"],
    ),
    ("no tanh", LinearDecoder, {"forward": lambda s, z, k: s.layer(z).view(-1, *s.sizes.image)}, ["[-1, 1]", "tanh"]),
    ("flat images", LinearDecoder, {"forward": lambda s, z, k: s.layer(z).tanh()}, ["[6, 256]", "[6, 1, 16, 16]"]),
    (
        "codes unused",
        LinearDecoder,
        {"forward": lambda s, z, k: LinearDecoder.forward(s, z.detach(), k)},
        ["nothing reaches"],
    ),
    ("logits [n, 1]", LinearCritic, {"forward": lambda s, x, k: s.layer(x)}, ["[6, 1]", "one logit"]),
    (
        "samples unused",
        LinearCritic,
        {"forward": lambda s, x, k: LinearCritic.forward(s, x.detach(), k)},
        ["in x", "critic"],
    ),
    ("trunk width", ImageCritic, {"trunk_width": 7}, ["trunk_width, 7", "[6, 5]"]),
    (
        "features [n, c, h]",
        ImageCritic,
        {
            "features": lambda s, x, k, layer: ImageCritic.features(s, x, k, layer)[:, :, None],
            "trunk": lambda s, x, k: ImageCritic.features(s, x, k, "first"),
        },
        ["features(", "[n, f]"],
    ),
    # games
    ("a loss each", Logistic, {"generator_loss": lambda s, c, *f: -c(*f[0])}, ["[16] float64", "a scalar"]),
    (
        "critic's sign",
        Logistic,
        {"critic_loss": lambda s, c, r, *f: -Logistic.critic_loss(s, c, r, *f)},
        ["brings real and fake"],
    ),
    (
        "generator's sign",
        Logistic,
        {"generator_loss": lambda s, c, *f: -Logistic.generator_loss(s, c, *f)},
        ["does not rise"],
    ),
    (
        "one fake of two",
        Logistic,
        {"generator_loss": lambda s, c, *f: Logistic.generator_loss(s, c, f[0])},
        ["never called with"],
    ),
    (
        "copies of known",
        Logistic,
        {"generator_loss": lambda s, c, *f: Logistic.generator_loss(s, c, *((x, k.clone()) for x, k in f))},
        ["called with another `known`"],
    ),
]


@pytest.mark.parametrize(
    ("what", "base", "changes", "words"), BROKEN, ids=[each[0].replace(" ", "-") for each in BROKEN]
)
def test_what_is_broken_is_found(what: str, base: type, changes: dict[str, Any], words: list[str]) -> None:
    broken = type("Broken", (base,), {**changes, "name": "broken"})
    with pytest.raises(ContractError) as caught:
        CHECK[base](broken)
    text = str(caught.value)
    assert "'broken'" in text
    for word in [*words, "came back:", "contract:", "what to do:"]:
        assert word in text


def test_all_failures_are_in_one_report() -> None:
    changes = {"sample": lambda s, a: torch.randn(len(a), 3), "__init__": counting}
    with pytest.raises(ContractError, match=r"in \d places") as caught:
        check_prior(type("Broken", (Normal,), {**changes, "name": "broken"}))
    assert len(caught.value.failures) >= 2
    assert "code 2, known 0, asked 0" in str(caught.value)


def test_a_prior_that_changes_what_is_asked() -> None:
    with pytest.raises(ContractError, match="it changed `asked`"):
        check_prior(type("Broken", (Normal,), {"sample": zeroing, "name": "broken"}), asked=2)


def test_a_prior_that_should_use_what_is_asked() -> None:
    with pytest.raises(ContractError, match="two different conditions"):
        check_prior(Normal, asked=3, uses_asked=True)


def test_settings_that_do_not_survive_a_file() -> None:
    class Lossy(Normal):
        name = "lossy"

        class Config(PartConfig):
            exact: complex = 1j
            """A number that JSON has not."""

            def model_dump(self, **kwargs: Any) -> Any:
                return {"exact": 2.0}

    with pytest.raises(ContractError, match="written to a file and read again are the same"):
        check_prior(Lossy)


class NeedsSettings(Normal):
    name = "needs_settings"

    class Config(PartConfig):
        radius: float
        """No default."""


class Abstract(Prior):
    name = "abstract"


class Nameless(Prior):
    def sample(self, asked: Any) -> Any:
        return asked


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (NeedsSettings, ["settings without a default: radius", "NeedsSettings.Config(radius=...)"]),
        (Abstract, ["lacks sample"]),
        (Nameless, ["has no name", 'name = "..."']),
        (Squared, ["a prior is needed here", "genprior.Prior"]),
        (int, ["a prior is needed here"]),
    ],
)
def test_what_cannot_be_checked_says_why(part: Any, words: list[str]) -> None:
    with pytest.raises(ContractError) as caught:
        check_prior(part)
    for word in words:
        assert word in str(caught.value)


def test_a_role_that_nobody_lends() -> None:
    with pytest.raises(ContractError, match=r"borrows 'decoder'.*lend=\{'decoder': module\}"):
        check_prior(type("Lost", (NearCodes,), {"name": "lost", "borrows": ("decoder",)}))
