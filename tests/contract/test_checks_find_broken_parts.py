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
from pydantic import BaseModel
from torch import nn

from genprior import (
    Asks,
    Borrowed,
    Condition,
    Conditioner,
    Critic,
    DensityPosterior,
    PartConfig,
    PluginError,
    Prior,
    Widths,
)
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


def numpy_codes(self: Any, asked: Any) -> Any:
    return np.random.default_rng().normal(size=(len(asked), self.sizes.code))


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


def constant_scale(self: Any, config: Any, sizes: Any) -> None:
    Shifted.__init__(self, config, sizes)
    self.scale = torch.linspace(1, 2, sizes.code)  # no buffer


def constant_scales(self: Any, config: Any, sizes: Any) -> None:
    Shifted.__init__(self, config, sizes)
    self.scales = [torch.linspace(1, 2, sizes.code)]


def scale_and_read(self: Any, asked: Any) -> Any:
    z = Shifted.sample(self, asked)
    return z * self.scale.to(z.dtype) if float(z.detach().sum()) < math.inf else z


def constant_beside_a_loan(self: Any, config: Any, sizes: Any, encoder: Borrowed) -> None:
    NearCodes.__init__(self, config, sizes, encoder)
    self.scale = torch.linspace(1, 2, sizes.code)


def owns_a_layer(self: Any, config: Any, sizes: Any, encoder: Borrowed) -> None:
    NearCodes.__init__(self, config, sizes, encoder)
    self.layer = encoder.to_code


def constant_of_two(self: Any, z: Any, asked: Any) -> Any:
    return -0.5 * z.square().sum(1) - math.log(2 * math.pi)


def two_numbers(self: Any, asked: Any) -> Any:
    return torch.randn(len(asked), 2, dtype=asked.dtype, device=asked.device)


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
    (
        "a plain tensor",
        Shifted,
        {"__init__": constant_scale, "sample": lambda s, a: Shifted.sample(s, a) * s.scale.to(a.dtype)},
        ["another device", "mul was called with a tensor [2] on the CPU, at ", "self.register_buffer('name', tensor)"],
    ),
    (
        "a plain tensor where values are read",
        Shifted,
        {"__init__": constant_scale, "sample": scale_and_read},
        ["mul was called with a tensor [2] on the CPU, at ", "in scale_and_read", "register_buffer"],
    ),
    (
        "a plain tensor in a list",
        Shifted,
        {"__init__": constant_scales, "sample": lambda s, a: Shifted.sample(s, a) * s.scales[0].to(a.dtype)},
        ["mul was called with a tensor [2] on the CPU", "register_buffer"],
    ),
    (
        "a plain tensor beside a borrowed module",
        NearCodes,
        {"__init__": constant_beside_a_loan, "sample": lambda s, a: NearCodes.sample(s, a) * s.scale.to(a.dtype)},
        ["mul was called with a tensor [2] on the CPU", "register_buffer"],
    ),
    ("owns a layer of what it borrowed", NearCodes, {"__init__": owns_a_layer}, ["borrowed module 'encoder'"]),
    ("numpy", Normal, {"sample": numpy_codes}, ["a numpy.ndarray [32, 2] float64", "compute with torch"]),
    (
        "a tuple",
        Normal,
        {"sample": lambda s, a: (Normal.sample(s, a),)},
        ["a tuple of [32, 2]", "not a tuple; a comma"],
    ),
    ("nothing", Normal, {"sample": lambda s, a: None}, ["None", "return a value on every path"]),
    ("a text", Normal, {"sample": lambda s, a: "codes"}, ["'codes', a str", "a tensor of shape [32, 2]"]),
    # densities
    ("right for two numbers alone", Normal, {"log_prob": constant_of_two}, ["d = 1", "0.3967", "log_prob is too high"]),
    ("two numbers alone", Normal, {"sample": two_numbers}, ["sizes.code = 1", "[32, 2]", "genprior.PlanError"]),
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
    ("a loss each", Logistic, {"generator_loss": lambda s, c, r, *f: -c(*f[0])}, ["[16] float64", "a scalar"]),
    (
        "critic's sign",
        Logistic,
        {"critic_loss": lambda s, c, r, *f: -Logistic.critic_loss(s, c, r, *f)},
        ["brings real and fake"],
    ),
    (
        "generator's sign",
        Logistic,
        {"generator_loss": lambda s, c, r, *f: -Logistic.generator_loss(s, c, r, *f)},
        ["does not rise"],
    ),
    (
        "one fake of two",
        Logistic,
        {"generator_loss": lambda s, c, r, *f: Logistic.generator_loss(s, c, r, f[0])},
        ["never called with"],
    ),
    (
        "copies of known",
        Logistic,
        {"generator_loss": lambda s, c, r, *f: Logistic.generator_loss(s, c, r, *((x, k.clone()) for x, k in f))},
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


@pytest.mark.parametrize(
    "what",
    [each[0] for each in BROKEN if "plain tensor" in each[0] or each[0] in ("numpy", "a tuple", "nothing", "a text")],
)
def test_one_fault_has_one_hint(what: str) -> None:
    (broken,) = [each for each in BROKEN if each[0] == what]
    with pytest.raises(ContractError) as caught:
        CHECK[broken[1]](type("Broken", (broken[1],), {**broken[2], "name": "broken"}))
    assert len(caught.value.failures) == 1


@pytest.mark.parametrize("result", [None, "a text", np.zeros((6, 2)), (torch.zeros(6, 2),), [], {"z": 1}])
@pytest.mark.parametrize(
    ("base", "method"),
    [
        (Normal, "sample"),
        (Normal, "log_prob"),
        (LinearEncoder, "forward"),
        (LinearDecoder, "forward"),
        (LinearCritic, "forward"),
        (ImageCritic, "features"),
        (ImageCritic, "trunk"),
        (Squared, "forward"),
        (OneHot, "forward"),
        (OneHot, "draw"),
        (OneHot, "of_label"),
        (Logistic, "critic_loss"),
        (Logistic, "generator_loss"),
    ],
)
def test_what_is_no_tensor_is_a_failure_and_no_crash(base: type, method: str, result: Any) -> None:
    broken = type("Broken", (base,), {method: lambda self, *args: result, "name": "broken"})
    with pytest.raises(ContractError):
        CHECK[base](broken)


def test_a_constant_for_two_numbers_is_found_in_wide_codes() -> None:
    for code in (5, 8, 32):
        broken = type("Broken", (Normal,), {"log_prob": constant_of_two, "name": "broken"})
        with pytest.raises(ContractError, match="log_prob is too high where the samples are.*") as caught:
            check_prior(broken, code=code)
        assert f"d = {code}" in str(caught.value)


@pytest.mark.parametrize("code", [5, 16, 64])
def test_other_errors_of_wide_codes_are_found(code: int) -> None:
    def wide(self: Any, asked: Any) -> Any:
        return Normal.sample(self, asked) * (1.2 if self.sizes.code == code else 1)

    def higher(self: Any, z: Any, asked: Any) -> Any:
        return Normal.log_prob(self, z, asked) + (math.log(2) if z.shape[1] == code else 0)

    for changes in ({"sample": wide}, {"log_prob": higher}):
        with pytest.raises(ContractError, match=f"d = {code}"):
            check_prior(type("Broken", (Normal,), {**changes, "name": "broken"}), code=code)


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


class NamelessWithSettings(Normal):
    class Config(PartConfig):
        radius: float = 1.0
        """A setting."""


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (NeedsSettings, ["settings without a default: radius", "NeedsSettings.Config(radius=...)"]),
        (Abstract, ["lacks sample"]),
        (Nameless, ["has no name", 'name = "..."']),
        (Squared, ["a prior is needed here", "genprior.Prior"]),
        (type("Heir", (Normal,), {}), ["Heir has the name 'test_normal' of its base class", 'name = "..."']),
        (Nameless.Config(), ["genprior.parts.base.PartConfig are the settings of no part", 'name = "..."']),
        (NamelessWithSettings.Config(), ["settings of no part", 'name = "..."` to the body of NamelessWithSettings']),
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


def test_a_density_of_a_plain_prior() -> None:
    changes = {"sample": Normal.sample, "log_prob": Normal.log_prob, "name": "broken"}
    with pytest.raises(ContractError) as caught:
        check_prior(type("Broken", (Prior,), changes))
    (failure,) = caught.value.failures
    assert failure.called == "the class Broken, which derives from genprior.Prior"
    assert failure.came == "it defines log_prob, which nothing will call"
    assert failure.do.startswith("derive it from genprior.DensityPrior in place of genprior.Prior")


def test_features_of_a_plain_critic() -> None:
    methods = {name: vars(ImageCritic)[name] for name in ("__init__", "forward", "features", "trunk")}
    stated = {"feature_layers": ("first",), "trunk_width": 5, "__init__": plain_critic}
    with pytest.raises(ContractError, match=r"it defines feature_layers, features, trunk, trunk_width"):
        check_critic(type("Broken", (Critic,), {**methods, **stated, "name": "broken"}), of="images")


def plain_critic(self: Any, config: Any, sizes: Any) -> None:
    Critic.__init__(self, config, sizes)
    self.first = nn.Linear(math.prod(sizes.image), 5)
    self.head = nn.Linear(5, 1)


@pytest.mark.parametrize("base", [object, BaseModel])
def test_settings_that_are_no_part_config(base: type) -> None:
    with pytest.raises(PluginError) as caught:
        type("Broken", (Normal,), {"Config": type("Config", (base,), {}), "name": "broken", "__module__": __name__})
    assert str(caught.value) == (
        f"prior 'broken' ({__name__}.Broken) has a Config that is no table of settings: derive it from "
        "genprior.PartConfig, `class Config(PartConfig):`"
    )


def test_a_setting_called_name() -> None:
    class Config(PartConfig):
        name: str = "Gauss"
        """A title."""

    with pytest.raises(PluginError) as caught:
        type("Broken", (Normal,), {"Config": Config, "name": "broken", "__module__": __name__})
    assert str(caught.value) == (
        f"prior 'broken' ({__name__}.Broken) has a setting called 'name', which genprior.PartConfig has already: it is "
        "the part's name, by which recipes select it. Rename the setting"
    )


def test_settings_that_derive_from_those_of_another_part() -> None:
    derived = type(
        "Derived", (NeedsSettings,), {"Config": type("Config", (NeedsSettings.Config,), {}), "name": "derived"}
    )
    assert derived.Config(radius=1.0).name == "derived"
    assert type("Heir", (NeedsSettings,), {"name": "heir"}).Config(radius=1.0).name == "heir"
