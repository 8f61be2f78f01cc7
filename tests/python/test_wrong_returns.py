"""The check of a recipe names the part that returns a wrong value, and not the model that meets it."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

import genprior
from genprior import (
    Condition,
    Conditioner,
    Critic,
    Decoder,
    DensityPosterior,
    DensityPrior,
    Encoder,
    Game,
    RecipeError,
    Reconstruction,
    Widths,
)
from genprior.launch.preflight import preflight
from genprior.launch.returned import checking_returns

from .small_tables import tables

pytestmark = pytest.mark.usefixtures("clean_session")


class Normal(DensityPrior):
    """A standard normal, right but for what a test replaces."""

    name = "own"

    def sample(self, asked):
        return torch.randn(len(asked), self.sizes.code, device=asked.device, dtype=asked.dtype)

    def log_prob(self, z, asked):
        return torch.distributions.Normal(0, 1).log_prob(z).sum(1)


class OwnEncoder(Encoder):
    """A linear encoder with a density."""

    name = "own"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.layer = nn.Linear(64, sizes.code)

    def forward(self, x, known):
        return Gaussian(self.layer(x.flatten(1)))


class Gaussian(DensityPosterior):
    """A Gaussian of unit variance."""

    def __init__(self, mean):
        self._mean = mean

    @property
    def mean(self):
        return self._mean

    def rsample(self):
        return self._mean + torch.randn_like(self._mean)

    def log_prob(self, z):
        return torch.distributions.Normal(self._mean, 1).log_prob(z).sum(1)


class KeptDim(Gaussian):
    """A density that keeps the axis over which it sums."""

    def log_prob(self, z):
        return torch.distributions.Normal(self._mean, 1).log_prob(z).sum(1, keepdim=True)


class OwnDecoder(Decoder):
    """A linear decoder."""

    name = "own"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.layer = nn.Linear(sizes.code, 64)

    def forward(self, z, known):
        return torch.tanh(self.layer(z)).view(-1, 1, 8, 8)


class OwnCritic(Critic):
    """A linear critic of codes."""

    name = "own"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.layer = nn.Linear(sizes.code, 1)

    def forward(self, x, known):
        return self.layer(x)[:, 0]


class OwnError(Reconstruction):
    """Half the squared error."""

    name = "own"

    @classmethod
    def likelihood_of(cls, config):
        return "real"

    def forward(self, x, x_rec, known):
        return 0.5 * (x - x_rec).square().flatten(1).sum(1)


class OwnCondition(Conditioner):
    """Two numbers that say nothing."""

    name = "own"

    @classmethod
    def widths(cls, config, info):
        return Widths(known=2, asked=2)

    def forward(self, batch):
        return self.draw(batch.x)

    def draw(self, like):
        return Condition(like.new_ones(len(like), 2), like.new_ones(len(like), 2))


class OwnGame(Game):
    """The hinge game without a hinge."""

    name = "own"

    def critic_loss(self, critic, real, *fakes):
        return critic(*fakes[0]).mean() - critic(*real).mean()

    def generator_loss(self, critic, real, *fakes):
        return -critic(*fakes[0]).mean()


def keeps_axis(self, z, asked):
    return torch.distributions.Normal(0, 1).log_prob(z).sum(1, keepdim=True)


def nothing(self, *arguments):
    return None


WRONG = {
    "no log-density": (Normal, "log_prob", nothing, "returned None from log_prob(z [8, 4], asked [8, 0])", "[8]"),
    "one for each coordinate": (
        Normal,
        "log_prob",
        lambda self, z, asked: torch.distributions.Normal(0, 1).log_prob(z),
        "returned a tensor [8, 4] from log_prob(z [8, 4], asked [8, 0])",
        "one log-density for each code, a tensor [8]. ",
    ),
    "a kept axis, which is broadcast": (
        Normal,
        "log_prob",
        keeps_axis,
        "returned a tensor [8, 1] from log_prob(",
        "a tensor [8]. ",
    ),
    "one code": (
        Normal,
        "sample",
        lambda self, asked: torch.randn(1, self.sizes.code),
        "returned a tensor [1, 4] from sample(asked [",
        "one code for each row of asked, a tensor [",
    ),
    "codes without a distribution": (
        OwnEncoder,
        "forward",
        lambda self, x, known: self.layer(x.flatten(1)),
        "returned a tensor [8, 4] from forward(x [8, 1, 8, 8], known [8, 0])",
        "a posterior over codes, a genprior.Posterior. ",
    ),
    "codes of another width": (
        OwnEncoder,
        "forward",
        lambda self, x, known: Gaussian(self.layer(x.flatten(1))[:, :2]),
        "returned the posterior Gaussian, whose mean is a tensor [8, 2] from forward(",
        "whose mean is a tensor [8, 4]. ",
    ),
    "a posterior's density": (
        OwnEncoder,
        "forward",
        lambda self, x, known: KeptDim(self.layer(x.flatten(1))),
        "returned a tensor [8, 1] from log_prob(z [8, 4])",
        "a tensor [8]. ",
    ),
    "flat images": (
        OwnDecoder,
        "forward",
        lambda self, z, known: torch.tanh(self.layer(z)),
        "returned a tensor [8, 64] from forward(z [8, 4], known [8, 0])",
        "one image for each code, a tensor [8, 1, 8, 8]. ",
    ),
    "logits with an axis": (
        OwnCritic,
        "forward",
        lambda self, x, known: self.layer(x),
        "returned a tensor [8, 1] from forward(x [8, 4], known [8, 0])",
        "one logit for each row of x, a tensor [8]. ",
    ),
    "an error of the batch": (
        OwnError,
        "forward",
        lambda self, x, x_rec, known: (x - x_rec).square().mean(),
        "returned a tensor [] from forward(x [8, 1, 8, 8], x_rec [8, 1, 8, 8], known [8, 0])",
        "one error for each image, a tensor [8]. ",
    ),
    "a pair for a condition": (
        OwnCondition,
        "draw",
        lambda self, like: (like.new_ones(len(like), 2), like.new_ones(len(like), 2)),
        "returned a tuple from draw(like [8, 1, 8, 8])",
        "a genprior.Condition of known [n, 2] and asked [n, 2]. ",
    ),
    "losses": (
        OwnGame,
        "critic_loss",
        lambda self, critic, real, *fakes: critic(*fakes[0]) - critic(*real),
        "returned a tensor [8] from critic_loss(",
        "one number, the loss, a tensor []. ",
    ),
}
ROLES = {"prior": "prior", "encoder": "encoder", "decoder": "decoder", "critic": "code_critic",
         "reconstruction": "reconstruction", "conditioner": "conditioner", "game": "code_game"}  # fmt: skip


def content(base, model):
    """The tables of a recipe of the model, with the registered part in its role."""
    given = tables()
    aae = given["model"]
    vae = {"name": "vae", "code_size": 4, "prior": aae["prior"], "decoder": aae["decoder"]}
    vae["encoder"] = aae["encoder"] | {"posterior": "gaussian"}
    vae["reconstruction"] = {"name": "pixel", "reduction": "sum", "metric": "gaussian"}
    given["model"] = (vae if model == "vae" else aae) | {ROLES[base.kind]: {"name": "own"}}
    return given


@pytest.mark.parametrize("case", WRONG)
def test_the_part_is_named_with_what_it_returned_and_what_is_needed(case):
    base, method, function, returned, needed = WRONG[case]
    model = "aae" if base.kind in ("critic", "game", "conditioner") or method == "sample" else "vae"
    part = type(base.__name__, (base,), {"name": "own", method: function, "__doc__": base.__doc__})
    genprior.register(part)
    with pytest.raises(RecipeError) as caught:
        preflight(genprior.make_recipe(content(base, model)), "cpu")
    text = str(caught.value)
    role = ROLES[base.kind]
    named = f"{base.kind} 'own'" + (f" ({role})" if role != base.kind else "")
    assert f"{named} of " in text
    assert returned in text
    assert needed in text
    assert "model 'vae'" not in text
    assert "[row base]" in text
    if case != "a posterior's density":
        assert f", at {__file__}:{inspect.getsourcelines(function)[1]}; " in text


@pytest.mark.parametrize("base", [Normal, OwnEncoder, OwnDecoder, OwnError])
def test_right_parts_pass_and_are_as_before(base):
    genprior.register(base)
    before = dict(vars(base))
    preflight(genprior.make_recipe(content(base, "vae")), "cpu")
    assert dict(vars(base)) == before


def test_methods_are_put_back_after_a_failure():
    model = nn.Module()
    model.prior = Normal(Normal.Config(), genprior.Sizes((1, 8, 8), 4, 0, 0))
    before = set(vars(model.prior))
    with pytest.raises(ZeroDivisionError), checking_returns(model):
        assert "sample" in vars(model.prior)
        raise ZeroDivisionError
    assert set(vars(model.prior)) == before
