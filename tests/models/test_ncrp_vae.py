"""The nonparametric VAE: its bound against written-out terms, its memory, updated modules, and resuming."""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import genprior
from genprior.engine.build import build_model, model_config
from genprior.engine.step import run_phase
from genprior.errors import PlanError
from genprior.parts import Batch, DataInfo, DensityPosterior, Encoder
from genprior.runs.trainer import Trainer
from genprior.testing import check_model
from genprior_std.conditioners.none import NoCondition
from genprior_std.model_pieces.ring_buffer import filled
from genprior_std.models.ncrp_vae import NestedCrpAutoencoder
from genprior_std.networks.mlp_decoder import MlpDecoder
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.priors.gaussian import Gaussian
from genprior_std.priors.nested_crp import NestedCrp
from genprior_std.reconstruction.pixel import Pixel

INFO = DataInfo((1, 4, 4), ())
CODE = 3
SIGMA = 0.4
TREE = {"branching": 2, "depth": 2, "gamma": 1.5, "node_std": 1.2, "leaf_std": 0.8}

PLAN = """
[run]
steps = 6
batch = 8
checkpoint_every = 3
log_every = 3
[data]
name = "digits"
size = 8
[optimiser.default]
lr = 1e-2
[model]
name = "ncrp_vae"
code_size = 4
prior = { name = "nested_crp", branching = 2, depth = 2 }
encoder = { name = "mlp", hidden = [16], batch_norm = true, posterior = "gaussian" }
decoder = { name = "mlp", hidden = [16], batch_norm = true }
reconstruction = { name = "pixel", metric = "gaussian", sigma = 0.5, reduction = "sum" }
conditioner = { name = "none" }
memory = 20
tree_every = 2
warmup = 1
[[row]]
label = "nCRP"
"""


def config(**changes):
    parts = {
        "prior": NestedCrp.Config(**TREE),
        "encoder": MlpEncoder.Config(hidden=(8,), posterior="gaussian"),
        "decoder": MlpDecoder.Config(hidden=(8,)),
        "reconstruction": Pixel.Config(metric="gaussian", sigma=SIGMA, reduction="sum"),
        "conditioner": NoCondition.Config(),
        "memory": 20,
        "warmup": 0,
    }
    return NestedCrpAutoencoder.Config(code_size=CODE, **{**parts, **changes})


def model_of(**changes):
    return build_model(config(**changes), INFO, 0).double().train()


def batch_of(n, seed=1):
    torch.manual_seed(seed)
    return Batch(torch.rand(n, *INFO.image, dtype=torch.float64) * 2 - 1, torch.zeros(n, dtype=torch.int64))


def codes_of(model, batch):
    with torch.no_grad():
        q = model.encoder(batch.x, batch.x.new_zeros(len(batch.x), 0))
        return q.mean, q.log_variance.exp()


def run(model, name, batch, lr=0.01):
    """Run one phase with SGD; the notes of it, by name."""
    modules = dict(model.named_children())
    optimisers = {
        key: torch.optim.SGD(module.parameters(), lr) for key, module in modules.items() if list(module.parameters())
    }
    (phase,) = (each for each in model.phases() if each.name == name)
    result = run_phase(phase, batch, modules, optimisers)
    return dict(zip(result.keys, result.values.tolist(), strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# The bound
# ---------------------------------------------------------------------------------------------------------------------


def test_the_loss_is_the_negative_bound_with_every_constant():
    """The likelihood and H(q) by torch.distributions; the tree's terms one by one, with phi from its definition."""
    model, batch = model_of().eval(), batch_of(6)
    prior, (mean, variance) = model.prior, codes_of(model, batch)
    torch.manual_seed(4)
    result = model.network(batch)
    torch.manual_seed(4)
    q = torch.distributions.Normal(mean, variance.sqrt())
    x_rec = model.decoder(mean + variance.sqrt() * torch.randn_like(mean), batch.x.new_zeros(6, 0))
    rec = -torch.distributions.Normal(x_rec, SIGMA).log_prob(batch.x).flatten(1).sum(1)
    scores = torch.zeros(6, 4, dtype=torch.float64)
    taken = torch.digamma(prior.stick_a) - torch.digamma(prior.stick_a + prior.stick_b)
    left = torch.digamma(prior.stick_b) - torch.digamma(prior.stick_a + prior.stick_b)
    for leaf in range(4):
        first, second = leaf // 2, leaf % 2
        edge = 2 + leaf
        log_pi = taken[first] + (left[0] if first else 0) + taken[edge] + (left[edge - 1] if second else 0)
        centre, spread = prior.means[3 + leaf], prior.variances[3 + leaf]
        square = (mean - centre).square().sum(1) + CODE * spread + variance.sum(1)
        scores[:, leaf] = log_pi - CODE * math.log(0.8 * math.sqrt(2 * math.pi)) - square / (2 * 0.8**2)
    phi = scores.softmax(1)
    kl = (phi * (phi.log() - scores)).sum(1) - q.entropy().sum(1)
    torch.testing.assert_close(result.note["reconstruction"], rec.mean())
    torch.testing.assert_close(result.note["kl"], kl.mean())
    torch.testing.assert_close(result["encoder"], (rec + kl).mean())
    assert set(result) == {"encoder", "decoder"} and result["decoder"] is result["encoder"]


def test_what_is_noted_of_the_tree_is_the_bound_without_its_divergence():
    """Summed over images, minus kl and minus H(q) is tree_elbo and the tree's divergence: one bound in two phases."""
    model, batch = model_of(memory=6), batch_of(6)
    kl = model.network(batch).note["kl"].detach()
    mean, variance = codes_of(model, batch)
    entropy = torch.distributions.Normal(mean, variance.sqrt()).entropy().sum(1).mean()
    divergence = model.prior.family.divergence(model.prior.tree)
    note = model.tree(batch).note
    torch.testing.assert_close(note["tree_elbo"], -kl - entropy - divergence / 6)
    share = model.prior.responsibilities(mean, variance).mean(0)
    torch.testing.assert_close(note["leaves"], torch.distributions.Categorical(share).entropy().exp())


def test_what_is_inferred_has_the_predictive_density_as_its_prior_and_a_tighter_bound():
    """E_q log p(z) of the predictive density lies above the tree's bound: 4000 draws, four standard errors."""
    model, batch = model_of().eval(), batch_of(3)
    mean, variance = codes_of(model, batch)
    with torch.no_grad():
        inference = model.infer(batch)
        draws = inference.draw(4000)
        torch.testing.assert_close(inference.mean, mean)
        expected = model.prior.log_prob(draws.z.flatten(0, 1), draws.z.new_zeros(12000, 0)).view(4000, 3)
        torch.testing.assert_close(draws.log_prior, expected)
        error = draws.log_prior.std(0) / math.sqrt(4000)
        assert (draws.log_prior.mean(0) - 4 * error > model.prior.bound(mean, variance)).all()


# ---------------------------------------------------------------------------------------------------------------------
# The memory
# ---------------------------------------------------------------------------------------------------------------------


def test_the_memory_holds_the_last_codes_and_a_batch_beyond_it_its_last_ones():
    model = model_of(memory=10)
    seen = []
    for n, full in ((4, 4), (4, 8), (5, 10), (3, 10)):
        batch = batch_of(n, seed=len(seen))
        seen.append(codes_of(model, batch))
        model.network(batch)
        assert float(filled(model.codes_mean, model.codes_seen).sum()) == full
        last = torch.cat([mean for mean, _ in seen])[-full:]
        spread = torch.cat([variance for _, variance in seen])[-full:]
        for held, expected in ((model.codes_mean, last), (model.codes_variance, spread)):
            rows = held[:full]
            assert {tuple(r) for r in rows.tolist()} == {tuple(r) for r in expected.tolist()}
    batch = batch_of(25, seed=9)
    model.network(batch)
    mean, _ = codes_of(model, batch)
    torch.testing.assert_close(model.codes_mean.sort(0).values, mean[-10:].sort(0).values)


def test_only_training_is_remembered():
    model = model_of().eval()
    model.network(batch_of(4))
    model.infer(batch_of(4)).draw(2)
    assert int(model.codes_seen) == int(model.steps_seen) == 0 and not model.codes_mean.any()


def test_the_tree_is_fitted_to_the_codes_in_memory_alone():
    model, batch = model_of(sweeps=3), batch_of(7)
    mean, variance = codes_of(model, batch)
    other = model_of().prior
    for _ in range(3):
        other.sweep(mean, variance)
    model.network(batch)
    before = float(model.prior.tree_elbo(mean, variance))
    note = run(model, "tree", batch)
    assert note["tree/tree_elbo"] == pytest.approx(before / 7, rel=1e-5)
    for mine, expected in zip(model.prior.tree, other.tree, strict=True):
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize("warmup", [0, 2])
def test_the_tree_waits_for_codes_and_for_the_end_of_the_warm_up(warmup):
    model, batch = model_of(warmup=warmup), batch_of(5)
    start = [t.clone() for t in model.prior.tree]
    for step in range(warmup + 2):
        note = run(model, "tree", batch)  # an empty memory first
        assert math.isfinite(note["tree/tree_elbo"]) and math.isfinite(note["tree/leaves"])
        unmoved = [torch.equal(old, new) for old, new in zip(start, model.prior.tree, strict=True)]
        assert all(unmoved) if step <= warmup else not any(unmoved)
        run(model, "network", batch)


# ---------------------------------------------------------------------------------------------------------------------
# Who moves, and how a run goes on
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_contract_of_a_model(batch_norm):
    encoder = MlpEncoder.Config(hidden=(8,), posterior="gaussian", batch_norm=batch_norm)
    decoder = MlpDecoder.Config(hidden=(8,), batch_norm=batch_norm)
    check_model(config(encoder=encoder, decoder=decoder), INFO)


@pytest.fixture
def plan(tmp_path):
    """The row of PLAN with settings changed."""
    path = tmp_path / "ncrp.toml"
    path.write_text(PLAN)
    return lambda *settings: genprior.load_recipe(path, settings=settings).row("nCRP")


def test_six_steps_equal_three_and_three_bit_for_bit(plan, tmp_path):
    row = plan()
    Trainer(row, 3, tmp_path / "once").run()
    Trainer(row, 3, tmp_path / "twice").run(until=3)
    Trainer(row, 3, tmp_path / "twice").run()
    once, twice = (
        load_file(tmp_path / name / "checkpoints" / "step-00000006.safetensors") for name in ("once", "twice")
    )
    assert once.keys() == twice.keys()
    assert [key for key in once if not torch.equal(once[key], twice[key])] == []
    assert int(once["model/codes_seen"]) == 48 and int(once["model/steps_seen"]) == 6
    halfway = load_file(tmp_path / "twice" / "checkpoints" / "step-00000003.safetensors")
    assert not torch.equal(halfway["model/prior.means"], once["model/prior.means"])


def test_training_spreads_digits_over_leaves_and_raises_the_bound(plan, tmp_path):
    """The bound must beat that of independent Gaussian pixels, and leaves must tell something of the classes.

    Purity is the share of images whose class is the most frequent one of their leaf; without codes it would be that of
    the most frequent class, a tenth.
    """
    settings = ["run.batch=64", "run.steps=300", "model.warmup=150", "model.tree_every=25", "model.memory=512"]
    trainer = Trainer(plan(*settings, "model.prior.branching=4"), 0, tmp_path)
    trainer.prepare()
    for _ in range(300):
        trainer.one_step()
    trainer.recorder.check("nCRP")
    train = trainer.images("train")
    x = train.images.float() / 127.5 - 1
    model = trainer.model.eval()
    with torch.no_grad():
        bound = model.network(Batch(x, train.labels))["encoder"]
        mean = model.infer(Batch(x, train.labels)).mean
        leaf = model.prior.responsibilities(mean, torch.zeros_like(mean)).argmax(1)
    sigma, d = 0.5, x[0].numel()
    centred = (x - x.mean(0)).square().flatten(1).sum(1).mean()
    without_codes = float(centred) / (2 * sigma**2) + d * math.log(sigma * math.sqrt(2 * math.pi))
    assert float(bound) < without_codes - 1
    largest = sum(int(torch.bincount(train.labels[leaf == one]).max()) for one in leaf.unique())
    assert largest / len(leaf) > 0.4


# ---------------------------------------------------------------------------------------------------------------------
# What is refused
# ---------------------------------------------------------------------------------------------------------------------


def test_a_prior_without_a_tree_is_refused():
    with pytest.raises(PlanError) as caught:
        build_model(config(prior=Gaussian.Config()), INFO, 0)
    assert str(caught.value) == (
        "model 'ncrp_vae' infers a tree of codes and needs prior 'nested_crp'; 'gaussian' has no tree. "
        "Use prior = { name = \"nested_crp\" }, or model 'vae', which takes any prior with a density"
    )


def test_a_reconstruction_that_is_no_likelihood_is_refused():
    with pytest.raises(PlanError, match=r"model 'ncrp_vae' needs -log p\(x \| z\) of a whole image"):
        build_model(config(reconstruction=Pixel.Config(metric="gaussian", sigma=SIGMA, reduction="mean")), INFO, 0)


def test_an_encoder_without_a_density_is_refused():
    with pytest.raises(PlanError, match="model 'ncrp_vae' needs an encoder whose posterior has a density"):
        build_model(config(encoder=MlpEncoder.Config(hidden=(8,))), INFO, 0)


class LaplacePosterior(DensityPosterior):
    def __init__(self, mean):
        self._q = torch.distributions.Laplace(mean, torch.ones_like(mean))

    @property
    def mean(self):
        return self._q.mean

    def rsample(self):
        return self._q.rsample()

    def log_prob(self, z):
        return self._q.log_prob(z).sum(1)


class LaplaceEncoder(Encoder):
    name = "laplace_of_this_test"

    def __init__(self, config, sizes):
        super().__init__(config, sizes)
        self.layer = nn.Linear(math.prod(sizes.image), sizes.code)

    def forward(self, x, known):
        return LaplacePosterior(self.layer(x.flatten(1)))


class LaplaceEncoderThatSaysSo(LaplaceEncoder):
    name = "open_laplace_of_this_test"

    @classmethod
    def posterior_of(cls, config):
        return LaplacePosterior


@pytest.mark.parametrize("encoder", [LaplaceEncoder, LaplaceEncoderThatSaysSo], ids=lambda encoder: encoder.name)
def test_an_encoder_whose_posterior_is_no_gaussian_is_refused(encoder):
    """When the model is built if the encoder says so, else in the first step."""
    with pytest.raises(PlanError) as caught:
        model = build_model(config(encoder=encoder.Config()), INFO, 0)
        assert encoder is LaplaceEncoder
        model.network(Batch(torch.zeros(2, *INFO.image), torch.zeros(2, dtype=torch.int64)))
    assert str(caught.value) == (
        "model 'ncrp_vae' needs an encoder whose posterior is a Gaussian, because the tree's updates need its mean "
        f"and variance; that of encoder '{encoder.name}' is a LaplacePosterior. "
        "Use an encoder with posterior = \"gaussian\", or model 'vae'"
    )


@pytest.mark.parametrize("setting", [{"memory": 0}, {"tree_every": 0}, {"sweeps": 0}, {"warmup": -1}])
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        config(**setting)


@pytest.mark.parametrize("model", ["vae", "iwae"])
def test_a_model_that_would_never_update_the_tree_refuses_it(model):
    table = {
        "name": model,
        "code_size": 4,
        "prior": {"name": "nested_crp", "depth": 2},
        "encoder": {"name": "mlp", "hidden": [12], "posterior": "gaussian"},
        "decoder": {"name": "mlp", "hidden": [12]},
        "reconstruction": {"name": "pixel", "metric": "gaussian", "sigma": 0.3, "reduction": "sum"},
    }
    message = f"prior 'nested_crp' is learned by closed-form updates, which model '{model}' does not make"
    with pytest.raises(PlanError, match=message):
        build_model(model_config(table), DataInfo((1, 8, 8), ()), 0)
