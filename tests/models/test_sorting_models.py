"""The phase `sort` in every model that has it: what it moves, its gradient, which images it sees, and refusals."""

from __future__ import annotations

import pytest
import torch

import genprior
from genprior.engine.build import build_model
from genprior.engine.step import run_phase
from genprior.parts import Batch, DataInfo
from genprior.testing import check_model
from genprior_std.conditioners.label import Label
from genprior_std.layers.moved import moved
from genprior_std.layers.posterior import log_category
from genprior_std.models.aae_clustering import ClusteringAutoencoder
from genprior_std.models.aae_dimension_reduction import DimensionReductionAutoencoder
from genprior_std.models.aae_semi_supervised import SemiSupervisedAutoencoder
from genprior_std.models.pixelgan import PixelGanAutoencoder
from genprior_std.models.pixelgan_semi_supervised import SemiSupervisedPixelGan
from genprior_std.networks.code_mlp import CodeCritic
from genprior_std.networks.mlp_encoder import MlpEncoder
from genprior_std.networks.strided_encoder import StridedEncoder
from genprior_std.priors.gaussian import Gaussian

from . import small_autoregressive as pixels
from . import small_categorical_aae as aae

BOTH = {"consistency": 2.0, "information": 3.0}
WEIGHTS = [{"consistency": 2.0}, {"information": 3.0}, BOTH, {"consistency": 2.0, "adversarial": 0.5}]


def clustering(**sorts):
    return aae.config(ClusteringAutoencoder, categories=3, sorts=sorts)


def semi_supervised(**sorts):
    return aae.config(SemiSupervisedAutoencoder, sorts=sorts)


def reducing(**sorts):
    return aae.config(DimensionReductionAutoencoder, categories=3, sorts=sorts)


def reducing_with_labels(**sorts):
    return aae.config(DimensionReductionAutoencoder, labels=True, sorts=sorts)


def pixelgan(**sorts):
    return PixelGanAutoencoder.Config(**{"code_size": 4, **pixels.parts(), "sorts": sorts})


def pixelgan_semi_supervised(**sorts):
    return SemiSupervisedPixelGan.Config(**pixels.parts(), sorts=sorts)


def pixelgan_with_labels(**sorts):
    critic = CodeCritic.Config(hidden=(7,), conditional=True)
    encoder = MlpEncoder.Config(hidden=(6,), posterior="softmax", conditional=True)
    decoder = pixels.Independent.Config(conditional=True)
    parts = pixels.parts(conditioner=Label.Config(), encoder=encoder, decoder=decoder, code_critic=critic)
    return PixelGanAutoencoder.Config(**{"code_size": 3, **parts, "sorts": sorts})


MODELS = {
    "aae_clustering": (clustering, aae.INFO, ["regularise", "sort"]),
    "aae_dimension_reduction": (reducing, aae.INFO, ["regularise", "sort"]),
    "aae_dimension_reduction with labels": (reducing_with_labels, aae.INFO, ["regularise", "sort", "classify"]),
    "aae_semi_supervised": (semi_supervised, aae.INFO, ["regularise", "sort", "classify"]),
    "pixelgan": (pixelgan, pixels.INFO, ["regularise", "sort"]),
    "pixelgan_semi_supervised": (pixelgan_semi_supervised, pixels.INFO, ["regularise", "sort", "classify"]),
    "pixelgan with labels": (pixelgan_with_labels, pixels.INFO, ["regularise", "sort"]),
}
"""For each model: its settings by those of `sorts`, the data, and its phases."""
every_model = pytest.mark.parametrize("name", MODELS)


def built(name, **sorts):
    make, info, _ = MODELS[name]
    return build_model(make(**sorts), info, 0).double().train()


def batch_of(name, n=6, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, *MODELS[name][1].image, generator=generator, dtype=torch.float64) * 2 - 1
    return Batch(x, torch.arange(n) % 3)


def log_q(model, x, y):
    """log q(y | x), by hand."""
    known = model.conditioner(Batch(x, y)).known if hasattr(model, "conditioner") else x.new_zeros(len(x), 0)
    q = model.encoder(x, known)
    return log_category(q) if model.name.startswith("pixelgan") else q.mean[:, : model.categories].log_softmax(1)


@pytest.mark.parametrize("sorts", WEIGHTS)
@every_model
def test_the_phase_moves_the_encoder_alone(name, sorts):
    model = built(name, **sorts)
    assert [phase.name for phase in model.phases()] == MODELS[name][2]
    phase = pixels.phase_of(model, "sort")
    assert pixels.moved_by(model, phase, batch_of(name)) == {"encoder"}


@pytest.mark.parametrize("sorts", WEIGHTS)
@every_model
def test_it_keeps_the_contract_of_a_model(name, sorts):
    check_model(MODELS[name][0](**sorts), MODELS[name][1])


@every_model
def test_without_a_weight_nothing_is_sorted(name):
    plain, (make, _, phases) = built(name), MODELS[name]
    assert [phase.name for phase in plain.phases()] == [phase for phase in phases if phase != "sort"]
    assert type(plain.config).model_fields["sorts"].default == make().sorts


@pytest.mark.parametrize(("finished", "share"), [(0, 0.25), (2, 0.75), (3, 1.0), (90, 1.0), (None, 1.0)])
@every_model
def test_the_weights_rise_linearly_over_the_warm_up(name, finished, share):
    """The first step has a quarter of the weights, the fourth and later ones the whole; the records do not rise."""
    batch = batch_of(name)
    later = batch if finished is None else batch._replace(step=torch.tensor(finished))
    losses = []
    for steps, given in ((0, batch), (4, later)):
        model = built(name, **BOTH, warmup=steps)
        torch.manual_seed(5)
        found = pixels.phase_of(model, "sort").objectives(given)
        losses.append((found["encoder"], found.note))
    torch.testing.assert_close(losses[1][0], share * losses[0][0])
    torch.testing.assert_close(losses[1][1], losses[0][1])


@every_model
def test_the_gradient_is_that_of_the_formula(name):
    model, batch = built(name, **BOTH), batch_of(name, 9)
    torch.manual_seed(5)
    found = model.sort(batch)
    torch.manual_seed(5)
    x = torch.cat([batch.x, moved(batch.x, 2.0, 10.0, 0.1)])  # together, as batch normalisation sees them
    q, of_moved = log_q(model, x, batch.y.repeat(2)).exp().chunk(2)
    apart = -(q.detach() * of_moved.log()).sum(1).mean()
    mean = q.mean(0)
    told = -(mean * mean.log()).sum() + (q * q.log()).sum(1).mean()
    torch.testing.assert_close(found.note, {"consistency": apart, "information": told})
    mine = aae.gradients(found["encoder"], model.encoder)
    for one, other in zip(mine, aae.gradients(2 * apart - 3 * told, model.encoder), strict=True):
        torch.testing.assert_close(one, other)


@every_model
def test_the_moves_are_those_of_the_settings(name):
    model, batch, seen = built(name, consistency=1.0, shift=1.0, rotate=20.0, zoom=0.3), batch_of(name), []
    model.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    torch.manual_seed(5)
    model.sort(batch)
    torch.manual_seed(5)
    assert torch.equal(seen[0], torch.cat([batch.x, moved(batch.x, 1.0, 20.0, 0.3)]))


@every_model
def test_images_are_perturbed_by_the_length_of_the_settings(name, monkeypatch):
    still = {"shift": 0.0, "rotate": 0.0, "zoom": 0.0}
    model, batch, seen = built(name, consistency=1.0, adversarial=0.7, **still), batch_of(name), []
    whole = model.encoder.forward
    monkeypatch.setattr(model.encoder, "forward", lambda x, *known: seen.append(x.detach().clone()) or whole(x, *known))
    run_one = next(phase for phase in model.phases() if phase.name == "sort")
    run_one.objectives(batch)
    n = len(batch.x)
    (both,) = (x for x in seen if len(x) == 2 * n)
    torch.testing.assert_close(both[:n], batch.x)
    torch.testing.assert_close((both[n:] - batch.x).flatten(1).norm(dim=1), torch.full((n,), 0.7).double())


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS[name][2][-1] == "classify"])
def test_all_images_are_sorted_and_no_label_is_seen(name):
    model, batch, seen = built(name, **BOTH), batch_of(name, 6), []
    model.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    some = batch_of(name, 3, seed=2)
    losses = []
    for y in (batch.y, torch.full_like(batch.y, -1)):
        torch.manual_seed(5)
        losses.append(model.sort(Batch(batch.x, y, some))["encoder"].item())
    assert losses[0] == losses[1]
    assert all(torch.equal(x[:6], batch.x) and len(x) == 12 for x in seen) and len(seen) == 2


def test_moved_black_and_white_images_are_grey_where_pixels_are_between():
    model, seen = built("pixelgan", consistency=1.0), []
    model.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    x = pixels.batch_of().x.double()
    model.sort(Batch(x, torch.zeros(len(x))))
    black_and_white, between = seen[0].chunk(2)
    assert torch.equal(black_and_white, x)
    assert between.min() >= -1 and between.max() <= 1 and ((between.abs() < 0.9).sum() > 6)


def test_images_of_a_kind_get_one_category_where_the_decoder_says_nothing():
    """The phase alone sorts images of two kinds, moved by a pixel, without labels."""
    info = DataInfo((1, 8, 8), ("a", "b", "c"))
    encoder = StridedEncoder.Config(widths=(4, 8), posterior="softmax", normalise_code=True)
    settings = PixelGanAutoencoder.Config(
        **{"code_size": 2, **pixels.parts(encoder=encoder)}, sorts={"consistency": 10.0, "information": 5.0, "shift": 1}
    )
    model = build_model(settings, info, 0)
    y = torch.arange(40) % 2
    x = torch.full((40, 1, 8, 8), -1.0)
    x[y == 0, :, 3:5, 1:7] = 1  # a bar that lies
    x[y == 1, :, 1:7, 3:5] = 1  # and one that stands
    torch.manual_seed(0)
    optimiser = {"encoder": torch.optim.Adam(model.encoder.parameters(), lr=1e-2)}
    for _ in range(60):
        run_phase(pixels.phase_of(model, "sort"), Batch(moved(x, 1, 0, 0), y), {"encoder": model.encoder}, optimiser)
    found = model.eval().clusters(Batch(x, y)).argmax(1)
    assert torch.equal(found == found[0], y == y[0])


@pytest.mark.parametrize(
    ("encoder", "prior", "sorts"),
    [(MlpEncoder.Config(), Gaussian.Config(), {"consistency": 2.0}), (MlpEncoder.Config(), None, {"information": 3.0})],
)
def test_codes_that_are_no_categories_cannot_be_sorted(encoder, prior, sorts):
    parts = pixels.parts(encoder=encoder) | ({"prior": prior} if prior else {})
    with pytest.raises(genprior.PlanError) as caught:
        build_model(PixelGanAutoencoder.Config(**{"code_size": 4, **parts}, sorts=sorts), pixels.INFO, 0)
    assert str(caught.value) == (
        "model 'pixelgan' has a weight of sorts.consistency or sorts.information, losses of soft categories, and "
        "encoder 'mlp' gives other codes. Set posterior = \"softmax\" in the encoder's table and prior = "
        '"categorical", or leave sorts out'
    )
    build_model(PixelGanAutoencoder.Config(**{"code_size": 4, **parts}, sorts={"shift": 1.0}), pixels.INFO, 0)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "aae_clustering"])
def test_only_clusters_start_from_codes(name):
    with pytest.raises(ValueError, match=r"(?s)start_steps.*Extra inputs are not permitted"):
        MODELS[name][0](start_steps=5)


@pytest.mark.parametrize(
    ("recipe", "rows"),
    [("aae_semi_supervised", 4), ("aae_dim_reduction", 2), ("pixelgan_clustering", 1), ("pixelgan_semi_supervised", 3)],
)
@pytest.mark.parametrize("changes", [[], ["short"], ["quick"]])
def test_rows_with_an_addition_say_so_and_the_others_have_none(recipe, rows, changes):
    plans = genprior.load_recipe(recipe, changes=changes).plans
    sorted_ = [plan.label for plan in plans if getattr(plan.model, "sorts", None) and plan.model.sorts.on]
    assert len(sorted_) == rows and sorted_ == [plan.label for plan in plans if " consistency" in plan.label]
