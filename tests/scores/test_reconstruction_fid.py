"""FID of reconstructions and the prior gap: both terms of equally many images, and features computed once."""

from __future__ import annotations

import contextlib

import pytest
import torch

from genprior.engine.sampling import evaluating
from genprior.errors import ScoreError
from genprior.parts import Model
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import columns_of, measure_all
from genprior.tables.columns import Entry, Measured, tabulate
from genprior_std.scores.entropy import random_rows
from genprior_std.scores.fid import FID, frechet_distance
from genprior_std.scores.reconstruction_fid import ReconstructionFID

from .conftest import images_of


class Reconstructing(Model):
    """Reconstructs images as they are, or darker, or not at all."""

    name = "reconstructing"
    factor: float | None = 1.0

    def __init__(self, factor: float | None = 1.0):
        super().__init__(self.Config())
        self.factor = factor
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def phases(self):
        return ()

    def generate(self, condition):
        raise NotImplementedError

    def reconstruct(self, batch):
        return None if self.factor is None else (batch.x + 1) * self.factor - 1


@pytest.fixture
def make(load_shapes, sampler, seen_through, tmp_path):
    def made(model):
        @contextlib.contextmanager
        def trained():
            with evaluating(model):
                yield model

        context = SampleContext(sampler, load_shapes, device="cpu", seed=0, cache=tmp_path, trained=trained)
        return seen_through(context)

    return made


def features(extractor, images):
    """Of all images, in the batches that the extractor takes."""
    return torch.cat([extractor(part).features for part in torch.split(images, extractor.batch)]).float()


def score(**given):
    return ReconstructionFID.Config(**given).make()


def test_a_perfect_reconstruction_leaves_the_gap_to_the_prior(make, counting, load_shapes):
    found = score(samples=500).measure(make(Reconstructing()))
    assert list(found) == [
        "reconstruction_fid",
        "prior_gap",
        "prior_gap_fid",
        "prior_gap_images",
        "real_reconstruction_fid",
    ]
    assert found["prior_gap_images"] == 60  # there are 60 test images
    train, test = (features(counting, load_shapes(split).images) for split in ("train", "test"))
    samples = features(counting, images_of(torch.arange(1000) % 3, seed=3)[:60])
    assert found["reconstruction_fid"] == found["real_reconstruction_fid"] == frechet_distance(test, train)
    assert found["prior_gap_fid"] == frechet_distance(samples, train)
    assert found["prior_gap"] == found["prior_gap_fid"] - found["reconstruction_fid"]


def test_a_worse_decoder_is_not_a_worse_prior(make):
    good, bad = (score(samples=60).measure(make(Reconstructing(factor))) for factor in (1.0, 0.6))
    assert bad["reconstruction_fid"] > 10 * good["reconstruction_fid"]
    assert bad["prior_gap"] < 0 and bad["prior_gap_fid"] == good["prior_gap_fid"]


def test_of_more_test_images_than_samples_some_are_chosen_for_both(make, counting, load_shapes):
    found = score(samples=40).measure(make(Reconstructing()))
    assert found["prior_gap_images"] == 40
    chosen = random_rows(torch.arange(60), 40)
    test = features(counting, load_shapes("test").images[chosen])
    train = features(counting, load_shapes("train").images)
    assert found["reconstruction_fid"] == pytest.approx(frechet_distance(test, train), rel=1e-5)
    assert found["real_reconstruction_fid"] == pytest.approx(found["reconstruction_fid"], rel=1e-5)


@pytest.mark.parametrize("reference", ["train", "test", "all"])
def test_the_gap_is_fid_minus_its_own_and_features_are_computed_once(make, counting, reference):
    settings = {"samples": 60, "reference": reference}
    found = measure_all([FID.Config(**settings).make(), score(**settings)], make(Reconstructing(0.9)), "A")
    assert found["prior_gap"] == found["fid"] - found["reconstruction_fid"]
    assert counting.seen == 60 + 60 + 60 * (reference != "train" or "real_fid" in found) + 240 * (reference != "test")


def test_keys_and_columns_name_the_network(make):
    context = make(Reconstructing(0.9))
    found = score(samples=60, extractor="classifier").measure(context)
    assert all("classifier_" in key for key in found)
    columns = columns_of([score(extractor="random")])
    assert {key: column.title for key, column in columns.items()} == {
        "random_features_reconstruction_fid": "FID of reconstructions (random features)",
        "random_features_prior_gap": "prior gap (random features)",
    }
    assert [column.higher_is_better for column in columns.values()] == [False, None]


def test_a_gap_below_0_is_never_bold_nor_best():
    config = ReconstructionFID.Config(samples=60)
    rows = {"few steps": (30.0, -14.0), "trained": (2.0, 1.0)}
    entries = [
        Entry(label, label, k, [Measured(config, {"name": "x"}, {"reconstruction_fid": fid + k, "prior_gap": gap})])
        for label, (fid, gap) in rows.items()
        for k in (0, 1)
    ]
    table = tabulate("", entries)
    assert [table.bold(column) for column in table.columns] == ["trained", None]
    assert table.layout().header[1:] == ["FID of reconstructions ↓", "prior gap"]


def test_the_protocol_states_a_bound_and_no_number_of_images_that_were_not_there():
    config = ReconstructionFID.Config(extractor="classifier", samples=5_000)
    words = config.make().protocol(config.model_dump(mode="json"), "")
    assert words == ["extractor classifier", "at most 5,000 samples", "reference train"]


REFUSED = (
    "model 'reconstructing' has no encoder and reconstructs no images, so there is no FID of reconstructions and no "
    "prior gap. Models that implement `reconstruct`, such as 'vae' and 'aae', have both; score this one by 'fid'"
)


def test_a_model_without_an_encoder_is_refused_before_training_and_after(make, load_shapes):
    model = Reconstructing(None)
    for refused in (
        lambda: score(samples=60).check_row(model, load_shapes),
        lambda: score(samples=60).measure(make(model)),
    ):
        with pytest.raises(ScoreError) as caught:
            refused()
        assert str(caught.value) == REFUSED
    state = torch.get_rng_state()
    score(samples=60).check_row(Reconstructing(), load_shapes)
    assert torch.equal(torch.get_rng_state(), state)


def test_one_test_image_has_no_covariance(make, load_shapes):
    model = Reconstructing()
    one = make(model)
    one._load = lambda split: load_shapes(split).take(slice(0, 1)) if split == "test" else load_shapes(split)
    with pytest.raises(ScoreError, match="FID needs a covariance, so at least 2 generated images; there are 1"):
        score(samples=60).measure(one)
    with pytest.raises(ScoreError, match="FID of reconstructions needs at least 2 test images, and there is 1; use a"):
        score(samples=60).check_row(model, one._load)


def test_images_alone_have_no_reconstructions(make_context):
    with pytest.raises(ScoreError, match="needs the model, but there are only images; score the run instead"):
        score(samples=60).measure(make_context())


def test_weights_of_inception_are_refused_with_another_network():
    with pytest.raises(ValueError, match="extractor is 'classifier', which has its own; leave 'weights' out"):
        ReconstructionFID.Config(extractor="classifier", weights="inception.pth")
