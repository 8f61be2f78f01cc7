"""Naming clusters: by the surest image and by the majority, on matrices made by hand."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import torch

from genprior.errors import ScoreError
from genprior.parts import ImageSet
from genprior.scoring.context import SampleContext
from genprior_std.scores.cluster_error import ClusterError, named_by_the_majority, named_by_the_surest

# Cluster 0 holds two images of class 1 and one, the surest, of class 2; nobody is in cluster 2.
Q = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.95, 0.04, 0.01], [0.3, 0.5, 0.2], [0.1, 0.6, 0.3]])
LABELS = torch.tensor([1, 1, 2, 0, 0])


def test_the_two_rules_differ_where_the_surest_image_is_of_the_minority():
    assert named_by_the_surest(Q, LABELS).tolist() == [2, 0, 0]
    assert named_by_the_majority(Q, LABELS, 3).tolist() == [1, 0, 0]


class Sorting:
    """A model that reads q from the pixels of an image of 1 x 3."""

    name = "sorting"
    embedder = None

    def clusters(self, batch):
        return ((batch.x.flatten(1) + 1) / 2).softmax(1)


class Plain:
    name = "plain"
    embedder = None

    def clusters(self, batch):
        return None


def context_of(model, **splits):
    @contextlib.contextmanager
    def trained():
        yield model

    return SampleContext(
        lambda n: None, splits.__getitem__, device="cpu", seed=0, cache=Path("unused"), trained=trained
    )


def images_of(q, labels, classes=("a", "b", "c")):
    return ImageSet((q * 255).round().to(torch.uint8)[:, None, None], labels, classes)


def test_errors_are_percent_of_the_test_images():
    """Of four test images in cluster 0 two are of class 1 and one of class 2; the one in cluster 1 is of class 0."""
    test = images_of(Q[[0, 0, 0, 0, 4]], torch.tensor([1, 1, 2, 0, 0]))
    context = context_of(Sorting(), validation=images_of(Q, LABELS), test=test)
    found = ClusterError.Config().make().measure(context)
    assert found == pytest.approx({"cluster_error": 60.0, "cluster_error_majority": 40.0, "clusters_used": 2.0})
    # Named by other labels: cluster 0 becomes 1 by its surest image and 0 by majority, cluster 1 becomes 2 by both.
    context = context_of(Sorting(), train=images_of(Q, torch.tensor([0, 0, 1, 2, 2])), test=test)
    found = ClusterError.Config(named_by="train").make().measure(context)
    assert found == pytest.approx({"cluster_error": 60.0, "cluster_error_majority": 80.0, "clusters_used": 2.0})


def test_a_model_without_clusters_and_data_without_labels_are_refused():
    data = images_of(Q, LABELS)
    with pytest.raises(ScoreError, match="model 'plain' does not cluster images, so it has no cluster error"):
        ClusterError.Config().make().measure(context_of(Plain(), validation=data, test=data.take(slice(4))))
    bare = ImageSet(data.images, torch.zeros(5, dtype=torch.int64), ())
    with pytest.raises(ScoreError, match="compare clusters with classes, and this data set has no labels"):
        ClusterError.Config().make().measure(context_of(Sorting(), validation=bare, test=bare.take(slice(4))))
