"""The capabilities that a score states, for a plugin's score with unknown settings and for the standard ones."""

from __future__ import annotations

import pytest
from pydantic import Field, ValidationError

import genprior
from genprior import Column, PartConfig, SampleScore, Score, ScoreError
from genprior.bench.requests import with_samples
from genprior.scoring.measure import columns_of, measure_all
from genprior.tables.columns import Entry, Measured, tabulate
from genprior_std.scores.active_units import ActiveUnits
from genprior_std.scores.bits_per_dim import BitsPerDimension
from genprior_std.scores.classifier_score import ClassifierScore
from genprior_std.scores.elbo import EvidenceLowerBound
from genprior_std.scores.fid import FID
from genprior_std.scores.inception_score import InceptionScore
from genprior_std.scores.kid import KID
from genprior_std.scores.memorisation import Memorisation
from genprior_std.scores.nearest_distance import NearestDistance
from genprior_std.scores.nll import NegativeLogLikelihood
from genprior_std.scores.parzen import Parzen
from genprior_std.scores.precision_recall import PrecisionRecall


class Slices(SampleScore):
    """How bright the first slice of the images is; a score that no file of genprior's names."""

    name = "slices"
    higher_is_better = True
    filled = {"wide_slices": 2}

    class Config(PartConfig):
        """Settings."""

        samples: int = Field(default=12, ge=1)
        wide_slices: int = 4
        exact: bool = False

    def measure(self, context):
        return {"slices": float(context.generated(self.samples).float().mean())}


class Plain(Score):
    """A score without settings."""

    name = "plain"
    higher_is_better = False

    def measure(self, context):
        return {"plain": 1.0}


def test_a_score_says_nothing_but_its_name_by_default():
    score = Plain(Plain.Config())
    assert score.columns == (Column("plain", "plain", False),)
    assert (score.samples, score.needs_generated, score.caveat, score.needs) == (None, False, "", {})
    assert score.with_samples(5) is score.on_undivided() is score.config
    assert with_samples(score.config, 5) is with_samples(score.config, None) is score.config
    assert score.protocol({"name": "plain"}, "") == []
    score.check()


@pytest.mark.parametrize("part", [Slices, InceptionScore, ClassifierScore, FID, KID, PrecisionRecall, Parzen])
def test_a_score_of_samples_needs_a_model_that_makes_images(part):
    assert part.needs_generated and part.Config().make().samples == part.Config().samples


def test_samples_are_drawn_for_the_score_that_takes_most(make_context, sampler):
    scores = [Slices(Slices.Config(samples=n)) for n in (20, 30)]
    scores[1].measure = lambda context: {"more": 0.0}
    measure_all([*scores, Plain(Plain.Config())], make_context(), "A")
    assert sampler.asked == [30]


def test_another_number_of_samples_keeps_the_rest_and_is_validated():
    config = Slices.Config(wide_slices=3, exact=True)
    assert with_samples(config, 7) == Slices.Config(samples=7, wide_slices=3, exact=True)
    with pytest.raises(ScoreError) as caught:
        with_samples(config, 0)
    assert isinstance(caught.value.__context__, ValidationError)
    assert str(caught.value) == (
        "--samples 0 is not possible for score 'slices': samples: Input should be greater than or equal to 1"
    )


@pytest.mark.parametrize(
    ("config", "least"),
    [
        (Slices.Config(wide_slices=4), 6),
        (InceptionScore.Config(splits=5), 5),
        (ClassifierScore.Config(splits=5), 5),
        (KID.Config(subset_size=9), 9),
        (PrecisionRecall.Config(neighborhood=3), 4),
        (FID.Config(), 2),
        (Parzen.Config(), 1),
    ],
)
def test_samples_must_fill_the_settings_that_count_them(config, least):
    with_samples(config, least).make().check()
    if not config.part.filled:
        return
    with pytest.raises(ScoreError, match=rf"is asked of {least - 1} samples with .*, which needs at least {least};"):
        with_samples(config, least - 1).make().check()


def test_the_protocol_is_in_words_of_the_settings():
    score = Slices(Slices.Config())
    settings = {"name": "slices", "samples": 12_000, "wide_slices": 4, "exact": False, "left_out": None}
    assert score.protocol(settings, "") == ["12,000 samples", "4 wide slices", "exact False"]
    assert score.protocol(settings, "net-12ab")[0] == "network net-12ab"


@pytest.mark.parametrize("part", [InceptionScore, FID, KID, PrecisionRecall])
def test_weights_are_told_as_a_part_of_the_network(part):
    settings = part.Config().model_dump(mode="json")
    unknown = "Inception with weights as downloaded (their hash was not recorded)"
    assert part.Config().make().protocol(settings, "")[0] == unknown
    of_file = part.Config().make().protocol(settings | {"weights": "sha256:12"}, "")
    assert of_file[0] == "Inception with weights sha256:12 (their hash was not recorded)"
    known = part.Config().make().protocol(settings | {"weights": "sha256:12"}, "inception-77")
    assert known[0] == "network inception-77" and not [word for word in known if "weights" in word]


def test_the_classifier_has_no_weights_and_a_caveat():
    config = FID.Config(extractor="classifier", samples=100)
    words = config.make().protocol(config.model_dump(mode="json"), "")
    assert words == ["extractor classifier", "100 samples", "reference train"]
    assert ClassifierScore.Config().make().caveat == config.make().caveat != "" == FID.Config().make().caveat


def test_a_table_tells_the_caveats_of_its_own_columns():
    entries = [
        Entry("a", "a", 0, [Measured(ClassifierScore.Config(), {"name": "x"}, {"classifier_score": 2.0})]),
        Entry("b", "b", 0, [Measured(Slices.Config(), {"name": "x"}, {"slices": 2.0})]),
    ]
    table = tabulate("", entries)
    assert table.footnote().endswith("of a network trained on this data set, not comparable with published ones.")
    assert table.caveats.keys() == {"classifier_score"}
    assert table.protocols["slices"] == "exact False, 12 samples, 4 wide slices, real images: x"
    assert "network trained" not in tabulate("", entries[1:]).footnote()


@pytest.mark.parametrize("part", [NegativeLogLikelihood, EvidenceLowerBound, BitsPerDimension, ActiveUnits])
def test_a_number_of_images_that_is_a_bound_is_told_as_one(part):
    score = part.Config().make()
    assert "at most 500 images" in score.protocol({"name": part.name, "images": 500}, "")
    assert score.protocol({"name": part.name, "images": None}, "") == []


def test_a_sentence_that_two_caveats_share_stands_once_below_a_table():
    nearest, memorised = (part.Config(extractor="classifier") for part in (NearestDistance, Memorisation))
    values = {column.key: 1.0 for config in (nearest, memorised) for column in config.make().columns}
    table = tabulate("", [Entry("a", "a", 0, [Measured(each, {"name": "x"}, values) for each in (nearest, memorised)])])
    own = "Far from training images are new images and also noise, so read memorisation beside a score of quality."
    shared = nearest.make().caveat
    assert set(table.caveats.values()) == {shared, f"{shared} {own}"}
    assert table.footnote().endswith(f"lower is better. {shared} {own}")


def test_an_undivided_set_is_its_own_reference():
    assert FID.Config(reference="train", samples=9).make().on_undivided() == FID.Config(reference="test", samples=9)
    assert Parzen.Config().make().on_undivided() == Parzen.Config()


def test_a_score_may_set_what_it_says_as_attributes():
    class Own(genprior.Score):
        name = "own"
        higher_is_better = True

        class Config(genprior.PartConfig):
            samples: int = 50
            reference: str = "train"

        def __init__(self, config):
            super().__init__(config)
            self.columns = [genprior.Column("k", "T", True)]
            self.caveat = "Not comparable."

        def measure(self, context):
            return {"k": 1.0}

    score = Own.Config().make()
    assert list(columns_of([score])) == ["k"] and score.caveat == "Not comparable."
    assert score.samples == 50 and score.with_samples(30).samples == 30 and score.on_undivided().reference == "test"
    score.columns = ()
    assert columns_of([score]) == {"own": genprior.Column("own", "own", True)}
