"""Caption accuracy: its shares on tables made by hand, and a model whose mistakes are known."""

from __future__ import annotations

import contextlib

import pytest
import torch

from genprior import Asks, Attribute, Condition, Embedder, ImageSet, Model, PartConfig, ScoreError
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import columns_of, measure_all
from genprior_std.scores import classifier as classifier_file
from genprior_std.scores.caption_accuracy import CaptionAccuracy, has_new_pair, shares_right

SHADES, SIDES = ("dark", "light"), ("left", "right", "both")


def test_a_pair_is_new_where_no_training_caption_states_both_values():
    known = torch.tensor([[0, 0, 0], [0, 1, 1], [1, 0, -1], [-1, 1, 0]])
    stated = torch.tensor([[0, 0, 0], [1, 1, 0], [1, 0, 1], [1, -1, -1], [-1, 1, 0], [0, 1, 0], [-1, 0, 1], [5, 0, -1]])
    # (1, 1, 0): 1 and 1 of the first two. (1, 0, 1): 1 and 1 of the first and third. (0, 1, 0): all pairs of its values
    # are known, though not all three together. (-1, 0, 1): 0 and 1 of the last two. (5, 0, -1): 5 never occurs.
    assert has_new_pair(stated, known).tolist() == [False, True, True, False, False, False, True, True]
    assert not has_new_pair(known, known).any()
    assert has_new_pair(known, known[:0]).tolist() == [True] * 4
    assert not has_new_pair(known[:, :1], known[:0, :1]).any()


def test_shares_are_of_the_captions_that_state_an_attribute():
    stated = torch.tensor([[0, 1], [0, -1], [1, 1], [-1, -1], [1, 0]])
    judged = torch.tensor([[0, 1], [0, 0], [0, 1], [1, 1], [0, 0]])
    new = torch.tensor([False, False, False, False, True])
    found = shares_right(stated, judged, new, ["shade", "side"])
    # Three captions without a new pair state something, and in two of them all is right.
    assert found == pytest.approx(
        {
            "caption_accuracy": 200 / 3,
            "caption_shade": 200 / 3,
            "caption_side": 100.0,
            "caption_accuracy_unseen": 0.0,
            "caption_shade_unseen": 0.0,
            "caption_side_unseen": 100.0,
        }
    )
    assert shares_right(stated, judged, new & False, ["shade", "side"]).keys() == {
        "caption_accuracy",
        "caption_shade",
        "caption_side",
    }


def draw(values, generator=None):
    """Images [n, 3, 8, 8] of shades (the first channel) and sides (bright columns of the second), in levels, noisy."""
    shade, side = values.T
    x = torch.full((len(values), 3, 8, 8), 60.0)
    x[shade == 1, 0] = 200.0
    x[(side == 0) | (side == 2), 1, :, :3] = 220.0
    x[(side == 1) | (side == 2), 1, :, 5:] = 220.0
    return (x + 8 * torch.randn(x.shape, generator=generator)).clamp(0, 255)


def captioned(split):
    """Every third caption leaves the side out; training has no light image whose right side alone is bright."""
    n, seed = {"train": (300, 1), "test": (60, 2)}[split]
    values = torch.stack([torch.arange(n) // 3 % 2, torch.arange(n) // 6 % 3], 1)
    if split == "train":
        values = values[~((values[:, 0] == 1) & (values[:, 1] == 1))]
    images = draw(values, torch.Generator().manual_seed(seed)).to(torch.uint8)
    stated = values.clone()
    stated[::3, 1] = -1
    captions = tuple(
        (" ".join([SHADES[a], SIDES[b]] if b >= 0 else [SHADES[a]]), "another") for a, b in stated.tolist()
    )
    attributes = (Attribute("shade", SHADES, stated[:, 0]), Attribute("bright side", SIDES, stated[:, 1]))
    return ImageSet(images, torch.zeros(len(values), dtype=torch.int64), (), captions, attributes)


class Words(Embedder):
    """The vector of a caption is the places of its words."""

    name = "test_words"

    def fit(self, captions):
        raise NotImplementedError

    def embed(self, sentences):
        self.read = list(sentences)
        words = [[*sentence.split(), ""][:2] for sentence in sentences]
        return torch.tensor([[SHADES.index(a), SIDES.index(b) if b else -1] for a, b in words]).float()

    def state(self):
        raise NotImplementedError

    def restore(self, state):
        raise NotImplementedError


class Painter(Model):
    """Paints as it is told, but light images whose right side is bright become dark; a side not told is 0."""

    name = "painter"
    Config = PartConfig

    def __init__(self, kind="text"):
        super().__init__(PartConfig())
        self.gain = torch.nn.Parameter(torch.ones(()))
        self.kind = kind
        self.words = Words(Words.Config())

    @property
    def asks(self):
        return Asks(self.kind)

    @property
    def embedder(self):
        return self.words

    def phases(self):
        return ()

    def condition_on_text(self, text):
        return Condition(text[:, :0], text)

    def generate(self, condition):
        values = condition.asked.long().clamp_min(0)
        values[(values == torch.tensor([1, 1])).all(1), 0] = 0
        return draw(values) / 127.5 - 1


def score(model, load, cache, samples=120):
    @contextlib.contextmanager
    def trained():
        yield model

    context = SampleContext(lambda n: None, load, device="cpu", seed=0, cache=cache, trained=trained)
    return measure_all([CaptionAccuracy.Config(samples=samples).make()], context, "row")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def test_a_model_is_judged_by_attribute_and_apart_on_unseen_pairs(cache, monkeypatch):
    calls = []
    fit = classifier_file.fit
    monkeypatch.setattr(classifier_file, "fit", lambda *given: calls.append(given) or fit(*given))
    model = Painter()
    found = score(model, captioned, cache)
    # Attributes are far apart in the pixels, so that classifiers of images with seen pairs make no mistake.
    seen = {"caption_accuracy": 100.0, "caption_shade": 100.0, "caption_bright_side": 100.0}
    assert {key: found[key] for key in seen} == seen
    assert {key: found[f"real_{key}"] for key in seen} == {key: 100.0 for key in seen}
    # Asked for light and right it paints dark and right, which is half right.
    assert found["caption_accuracy_unseen"] == found["caption_shade_unseen"] == 0.0
    assert found["caption_bright_side_unseen"] == 100.0
    assert found["real_caption_shade_unseen"] == 100.0
    assert model.words.read[0] == "dark" and len(model.words.read) == 60 and "another" not in model.words.read
    # One classifier for each attribute, of the images whose caption states it, kept on disk.
    train = captioned("train")
    assert [(len(images), classes) for images, _, classes, _ in calls] == [
        (len(train.images), 2),
        (int((train.attributes[1].values >= 0).sum()), 3),
    ]
    assert len(list((cache / "classifiers").glob("*.safetensors"))) == 2
    assert score(Painter(), captioned, cache) == found and len(calls) == 2
    assert score(Painter(), captioned, cache, samples=7).keys() < found.keys()


def test_columns_are_of_all_attributes_at_once():
    assert list(columns_of([CaptionAccuracy.Config().make()])) == ["caption_accuracy", "caption_accuracy_unseen"]
    assert CaptionAccuracy.Config().make().samples is None


def without(part):
    return lambda split: captioned(split)._replace(**{part: ()})


def of_one_value(split):
    whole = captioned(split)
    return whole._replace(attributes=(Attribute("shade", SHADES, torch.zeros(len(whole.images), dtype=torch.int64)),))


def of_other_order(split):
    whole = captioned(split)
    shade = Attribute("shade", SHADES[::-1] if split == "test" else SHADES, whole.attributes[0].values)
    return whole._replace(attributes=(shade,))


def of_one_key(split):
    whole = captioned(split)
    shade, _ = whole.attributes
    return whole._replace(attributes=(shade._replace(name="stroke shade"), shade._replace(name="stroke_shade")))


@pytest.mark.parametrize(
    ("model", "load", "text"),
    [
        (
            Painter("label"),
            captioned,
            "model 'painter' is asked for labels: score it by 'label_accuracy'; 'caption_accuracy' needs a model that "
            "takes a text (conditioner 'sentence'). Leave the score out of this row, or use another model",
        ),
        (
            Painter(),
            without("attributes"),
            "the images of the split 'train' have no attributes (what the captions state, in numbers), so nothing can "
            "be compared with the samples. Leave the score out of this row, or use a data set that has captions and "
            "attributes, such as 'captioned_digits'",
        ),
        (
            Painter(),
            without("captions"),
            "the images of the split 'train' have no captions, so nothing can be compared with the samples. Leave the "
            "score out of this row, or use a data set that has captions and attributes, such as 'captioned_digits'",
        ),
        (
            Painter(),
            of_one_value,
            "the captions of the training images state 1 of the values of 'shade' (dark, light), and a classifier "
            "needs at least 2; leave this attribute out of the data",
        ),
        (
            Painter(),
            of_other_order,
            "the training images have the attributes shade: dark, light, and the test images shade: light, dark; give "
            "both the same attributes, with the same names of values in the same order",
        ),
        (
            Painter(),
            of_one_key,
            "two results would be called 'caption_stroke_shade'; rename the attributes (stroke shade: dark, light; "
            "stroke_shade: dark, light) so that they differ from each other and from 'accuracy'",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused_before_training(model, load, text, tmp_path):
    with pytest.raises(ScoreError) as caught:
        CaptionAccuracy.Config().make().check_row(model, load)
    assert str(caught.value) == text
    with pytest.raises(ScoreError) as caught:
        score(model, load, tmp_path)
    assert str(caught.value) == f"row: score 'caption_accuracy': {text}"
    assert list(tmp_path.iterdir()) == []
