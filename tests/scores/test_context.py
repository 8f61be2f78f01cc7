"""The context of scores: everything is sampled, read and computed once."""

from __future__ import annotations

import math

import pytest
import torch

from genprior.errors import ScoreError
from genprior.parts import PartConfig, Score, ScoreContext
from genprior.scoring.context import Features, SampleContext
from genprior.scoring.measure import columns_of, measure_all
from genprior.storage.cache import content_hash, keep_on_disk, made_once
from genprior_std.scores.classifier_score import ClassifierScore
from genprior_std.scores.fid import FID
from genprior_std.scores.inception_score import InceptionScore
from genprior_std.scores.kid import KID
from genprior_std.scores.precision_recall import PrecisionRecall


def constant(key, value):
    class Constant(Score):
        higher_is_better = True
        Config = PartConfig

        def measure(self, context):
            return {key: value}

    Constant.name = f"constant-{key}"
    return Constant(PartConfig())


def test_all_scores_sample_once_and_extract_each_image_once(make_context, sampler, counting, seen_through):
    scores = [
        InceptionScore(InceptionScore.Config(samples=90, splits=3)),
        FID(FID.Config(samples=120)),
        KID(KID.Config(samples=100, subset_size=50, subsets=5)),
        PrecisionRecall(PrecisionRecall.Config(samples=80)),
    ]
    results = measure_all(scores, seen_through(make_context()), "AAE")
    assert sampler.asked == [120]
    # 120 generated at most, 240 to train, 60 to test: each image once, whichever score asks.
    assert counting.seen == 120 + 240 + 60
    assert set(results) == {
        "inception_score", "inception_score_std", "real_inception_score", "fid", "real_fid", "kid", "kid_std",
        "real_kid", "precision", "recall", "real_precision", "real_recall",
            "real_inception_score_images", "real_fid_images", "real_kid_images", "real_precision_images",
            "real_recall_images",
    }  # fmt: skip


def test_another_key_is_another_extractor(make_context, counting):
    context = make_context()
    other = type(counting)(key="counting-other")
    first = context.features(counting, "train").features
    assert not torch.equal(first, context.features(other, "train").features)
    assert torch.equal(first, context.features(counting, "train").features)
    assert counting.seen == other.seen == 240


def test_more_images_extend_what_is_known(make_context, counting):
    context = make_context()
    few = context.features(counting, "generated", 40)
    many = context.features(counting, "generated", 100)
    assert counting.seen == 100
    assert torch.equal(many.features[:40], few.features)
    assert torch.equal(many.features, make_context().features(type(counting)(), "generated", 100).features)


def test_all_is_train_then_test(make_context, counting):
    context = make_context()
    both = context.features(counting, "all").features
    expected = torch.cat([context.real("train").images, context.real("test").images]).flatten(1).double()
    torch.testing.assert_close(both, (expected @ counting.weights).float())
    assert counting.seen == 300


@pytest.mark.parametrize("made", [torch.zeros(5, 1, 8, 8), torch.zeros(4, 1, 8, 8, dtype=torch.uint8)])
def test_a_sampler_that_gives_something_else_is_refused(make_context, made):
    with pytest.raises(ScoreError, match=r"sampler must return 5 images as uint8 \[5, c, h, w\]"):
        make_context(sample=lambda n: made).generated(5)


def test_a_sampler_that_changes_its_sequence_is_refused(make_context):
    context = make_context(sample=lambda n: torch.full((n, 1, 8, 8), n, dtype=torch.uint8))
    context.generated(5)
    with pytest.raises(ScoreError, match="first images differ between n = 7 and n = 5"):
        context.generated(7)


def test_an_empty_split_is_refused(make_context, load_shapes):
    def empty(split):
        whole = load_shapes(split)
        return whole._replace(images=whole.images[:0], labels=whole.labels[:0])

    with pytest.raises(ScoreError, match="'test' split has no images"):
        make_context(load=empty).real("test")


def test_two_scores_of_one_key_are_refused(make_context):
    scores = [constant("fid", 1.0), constant("fid", 2.0)]
    with pytest.raises(ScoreError, match="both write 'fid', so one number would hide the other"):
        measure_all(scores, make_context(), "AAE")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_refused(make_context, value):
    with pytest.raises(ScoreError, match=rf"AAE: score 'constant-odd' is not finite: odd = {value}"):
        measure_all([constant("odd", value)], make_context(), "AAE")


def test_an_error_names_row_and_score(make_context, seen_through):
    scores = [InceptionScore(InceptionScore.Config(samples=5, splits=10))]
    with pytest.raises(ScoreError, match=r"A\+B: score 'inception_score': 10 splits need at least 10 images"):
        measure_all(scores, seen_through(make_context()), "A+B")


def test_a_context_of_images_has_no_model(make_context):
    with pytest.raises(ScoreError, match="there are only images; score the run instead"):
        make_context().trained()


def test_another_context_is_refused():
    class Other(ScoreContext):
        def generated(self, n):
            pytest.fail("a score that is refused must ask for nothing")

        def real(self, split):
            pytest.fail("a score that is refused must ask for nothing")

        def trained(self):
            pytest.fail("a score that is refused must ask for nothing")

    with pytest.raises(ScoreError, match=r"needs a genprior\.SampleContext; got Other"):
        ClassifierScore(ClassifierScore.Config()).measure(Other())


def test_columns_keep_the_classifier_apart_from_inception():
    scores = [
        ClassifierScore(ClassifierScore.Config()),
        FID(FID.Config()),
        FID(FID.Config(extractor="classifier")),
        PrecisionRecall(PrecisionRecall.Config(extractor="classifier")),
        constant("plain", 1.0),
    ]
    assert {key: (column.title, column.higher_is_better) for key, column in columns_of(scores).items()} == {
        "classifier_score": ("classifier score", True),
        "fid": ("FID", False),
        "classifier_fid": ("FID (classifier)", False),
        "classifier_precision": ("precision (classifier)", True),
        "classifier_recall": ("recall (classifier)", True),
        "constant-plain": ("constant-plain", True),
    }


def test_what_is_kept_is_made_once_whatever_it_is(tmp_path):
    path, made = tmp_path / "folder" / "number.txt", []

    def make():
        made.append(len(made))
        return 17 + made[-1]

    def read(file):
        return int(file.read_text()) if file.exists() and file.read_text().isdecimal() else None

    def write(file, number):
        file.write_text(str(number))

    assert [made_once(path, read, make, write) for _ in range(2)] == [17, 17]
    path.write_text("damaged")
    assert made_once(path, read, make, write) == 18 and path.read_text() == "18"


def test_digest_changes_with_value_shape_dtype_order_and_name():
    ones = torch.ones(4)
    variants = [
        (ones,),
        (ones.double(),),
        (ones.view(2, 2),),
        (ones * 2,),
        (ones, ones),
        ({"a": ones},),
        ({"b": ones},),
    ]
    hashes = [content_hash(*items) for items in [*variants, ("a",), ("a", "b"), ("b", "a"), ("ab",)]]
    assert len(set(hashes)) == len(hashes) == 11
    assert content_hash({"a": ones, "b": ones * 2}) == content_hash({"b": ones * 2, "a": ones})
    assert content_hash(torch.arange(6).view(2, 3).T) == content_hash(torch.tensor([[0, 3], [1, 4], [2, 5]]))


def test_slow_features_of_real_images_outlive_the_process(tmp_path, sampler, load_shapes, counting):
    counting.keep = True
    first = SampleContext(sampler, load_shapes, device="cpu", seed=0, cache=tmp_path).features(counting, "train")
    again = type(counting)()
    again.keep = True
    second = SampleContext(sampler, load_shapes, device="cpu", seed=0, cache=tmp_path).features(again, "train")
    assert (counting.seen, again.seen) == (240, 0)
    assert torch.equal(first.features, second.features) and torch.equal(first.logits, second.logits)
    other = type(counting)(key="counting-retrained")
    other.keep = True
    SampleContext(sampler, load_shapes, device="cpu", seed=0, cache=tmp_path).features(other, "train")
    assert other.seen == 240


def test_a_truncated_file_is_made_anew(tmp_path):
    path = tmp_path / "kept.safetensors"
    made = keep_on_disk(path, lambda: ({"a": torch.arange(100)}, {"note": "1"}))
    path.write_bytes(path.read_bytes()[:-7])
    tensors, notes = keep_on_disk(path, lambda: ({"a": torch.arange(100)}, {"note": "2"}))
    assert torch.equal(tensors["a"], made[0]["a"]) and notes == {"note": "2"}
    assert keep_on_disk(path, lambda: pytest.fail("it was kept"))[1] == {"note": "2"}


def test_a_failure_leaves_nothing_behind(tmp_path):
    def fail():
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        keep_on_disk(tmp_path / "kept.safetensors", fail)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock"}


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    with pytest.raises(ScoreError, match="set GENPRIOR_DATA to a folder that can be written"):
        keep_on_disk(blocked / "kept.safetensors", lambda: ({"a": torch.zeros(1)}, {}))


def test_features_first():
    features = Features(torch.arange(6).view(3, 2), torch.arange(3)[:, None])
    assert features.first(2).features.tolist() == [[0, 1], [2, 3]] and features.first(2).logits.tolist() == [[0], [1]]
