"""The error rate, on predictions made by hand."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch

from genprior.errors import ScoreError
from genprior.parts import Batch, ImageSet
from genprior.scoring.context import SampleContext
from genprior.scoring.measure import columns_of
from genprior_std.answers import BATCH, answers_in_batches
from genprior_std.scores.error_rate import ErrorRate

# The most likely classes are 0, 2, 1, 2.
Q = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.3, 0.6], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4]])
CLASSES = ("a", "b", "c")


class Reading:
    """A model that reads q(y | x) from the three pixels of an image, and notes the batches that it saw."""

    name = "reading"
    embedder = None

    def __init__(self):
        self.seen = []

    def classify(self, batch):
        self.seen.append(batch)
        return ((batch.x.flatten(1) + 1) / 2).softmax(1)


class Cheating(Reading):
    """A model that classifies perfectly if it gets the labels."""

    def classify(self, batch):
        told = torch.nn.functional.one_hot(batch.y.clamp(min=0), 3).double()
        return torch.where(batch.y[:, None] >= 0, told, torch.tensor([0.0, 0.0, 1.0]))


class Plain:
    name = "plain"
    embedder = None

    def classify(self, batch):
        return None


def context_of(model, **splits):
    @contextlib.contextmanager
    def trained():
        yield model

    return SampleContext(
        lambda n: None, splits.__getitem__, device="cpu", seed=0, cache=Path("unused"), trained=trained
    )


def images_of(q, labels, classes=CLASSES):
    return ImageSet((q * 255).round().to(torch.uint8)[:, None, None], torch.tensor(labels), classes)


def measure(model, images, **settings):
    return ErrorRate.Config(**settings).make().measure(context_of(model, **{settings.get("split", "test"): images}))


@pytest.mark.parametrize(
    ("labels", "error"), [([0, 2, 1, 2], 0.0), ([0, 2, 1, 1], 25.0), ([1, 0, 1, 0], 75.0), ([1, 1, 0, 0], 100.0)]
)
def test_the_error_is_percent_of_the_images(labels, error):
    assert measure(Reading(), images_of(Q, labels)) == {"error_rate": error}


def test_the_validation_split_can_be_asked_for():
    splits = {"test": images_of(Q, [0, 2, 1, 2]), "validation": images_of(Q, [1, 2, 1, 2])}
    score = ErrorRate.Config(split="validation").make()
    assert score.measure(context_of(Reading(), **splits)) == {"error_rate": 25.0}


def test_labels_are_hidden_from_the_model():
    model, images = Reading(), images_of(Q, [0, 2, 1, 2])
    measure(model, images)
    assert all(bool((batch.y == -1).all()) for batch in model.seen)
    # It says class 2 of every image, as one that sees no label must; told, it would make no error.
    assert measure(Cheating(), images) == {"error_rate": 50.0}


def test_many_images_are_asked_about_in_order_and_in_batches():
    n = 2 * BATCH + 7
    labels = torch.arange(n) % 3
    q = torch.nn.functional.one_hot((labels + (torch.arange(n) % 5 == 0)) % 3, 3).double()
    model = Reading()
    found = measure(model, images_of(q, labels.tolist()))
    assert found["error_rate"] == pytest.approx(100 * len(range(0, n, 5)) / n)
    assert [len(batch.x) for batch in model.seen] == [BATCH, BATCH, 7]


def test_what_is_drawn_for_a_batch_depends_on_the_seed_and_its_place_alone():
    context, images = context_of(None), images_of(Q, [0, 0, 0, 0])

    def noise(batch: Batch):
        return torch.rand(len(batch.x))

    first = answers_in_batches(images, noise, model=Reading(), device="cpu", seed=context.seed, size=2)
    torch.rand(3)
    assert torch.equal(
        first, answers_in_batches(images, noise, model=Reading(), device="cpu", seed=context.seed, size=2)
    )
    assert not torch.equal(first[:2], first[2:])


def test_the_column():
    assert [column[:3] for column in columns_of([ErrorRate.Config().make()]).values()] == [
        ("error_rate", "error %", False)
    ]


def test_a_model_that_does_not_classify_and_data_without_labels_are_refused():
    with pytest.raises(ScoreError) as caught:
        measure(Plain(), images_of(Q, [0, 2, 1, 2]))
    assert str(caught.value) == (
        "model 'plain' does not classify images, so it has no error rate. Models that implement `classify`: "
        "'aae_semi_supervised', 'aae_dimension_reduction' with labels = true, 'pixelgan_semi_supervised' and "
        "'labels_alone'. Clusters that were found without labels are scored by 'cluster_error'"
    )
    with pytest.raises(ScoreError, match="compares classes with labels, and this data set has no labels"):
        measure(Reading(), images_of(Q, [0, 0, 0, 0], ()))
