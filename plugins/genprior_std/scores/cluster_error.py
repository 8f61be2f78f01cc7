"""The error of clusters found without labels, measured against the labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from genprior import Column, ImageSet, PartConfig, Score, ScoreContext, ScoreError, needed_split
from genprior_std.answers import answers_in_batches
from genprior_std.scores.validation import HOLD_BACK

__all__ = ["ClusterError"]


class ClusterError(Score):
    """The share of test images, in percent, whose cluster is assigned to another class than their own.

    An image is in the cluster i of largest q(i | x). Clusters are assigned to classes by labelled images other than the
    test images, in two ways:

        cluster_error:           the class of the image with the largest q(i | x)
        cluster_error_majority:  the most frequent class of its images; as above where it has none

    The first is the rule of the papers. It depends on one image per cluster and so is noisy: compare means over several
    runs. Also writes `clusters_used`, the number of clusters that have test images.

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, section 6; Makhzani and Frey, PixelGAN Autoencoders, 2017.
    """

    name = "cluster_error"
    higher_is_better = False

    class Config(PartConfig):
        """The labels that name the clusters."""

        named_by: Literal["validation", "train"] = "validation"
        """The split whose labels name the clusters; the papers hold images back for that."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        return (
            Column("cluster_error", "cluster error %", False),
            Column("cluster_error_majority", "cluster error % (majority)", False),
        )

    @property
    def needs(self) -> Mapping[str, str]:
        """The split that names the clusters."""
        return {self.config.named_by: f'{HOLD_BACK}, or set named_by = "train"'}

    def facts(self, key: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Its settings, and the rule that names clusters."""
        rule = "the majority" if key == "cluster_error_majority" else "the surest image"
        return {**super().facts(key, data), "rule": rule}

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """Both errors in percent, and how many clusters are used.

        Raises:
            ScoreError: the model has no clusters, or the data no labels or no images to name clusters by.
        """
        names, test = needed_split(self, self.config.named_by, context.real), context.real("test")
        if not test.classes:
            raise ScoreError("cluster errors compare clusters with classes, and this data set has no labels")
        by_image, of_test = _clusters(context, names), _clusters(context, test)
        member = of_test.argmax(1)
        result = {"clusters_used": float(len(torch.unique(member)))}
        for key, named in (
            ("cluster_error", named_by_the_surest(by_image, names.labels)),
            ("cluster_error_majority", named_by_the_majority(by_image, names.labels, len(test.classes))),
        ):
            result[key] = 100 * float((named[member] != test.labels).double().mean())
        return result


def named_by_the_surest(q: Tensor, labels: Tensor) -> Tensor:
    """The class [K] of the image with the largest q in each cluster, for q [n, K] and labels [n]."""
    return labels[q.argmax(0)]


def named_by_the_majority(q: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The most frequent class [K] of each cluster's images; that of the surest image where a cluster has none."""
    counts = torch.zeros(q.shape[1], classes, dtype=torch.int64)
    counts.index_put_((q.argmax(1), labels), torch.ones_like(labels), accumulate=True)
    return torch.where(counts.sum(1) > 0, counts.argmax(1), named_by_the_surest(q, labels))


def _clusters(context: ScoreContext, images: ImageSet) -> Tensor:
    with context.trained() as model:
        q = answers_in_batches(images, model.clusters, model=model, device=context.device, seed=context.seed)
        if q is None:
            raise ScoreError(
                f"model '{model.name}' does not cluster images, so it has no cluster error. Models that implement "
                "`clusters`: 'ncrp_vae', 'aae_clustering', 'pixelgan' with an encoder of posterior \"softmax\", "
                "and any model with conditioner 'infogan'"
            )
        return q
