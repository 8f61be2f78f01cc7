"""How often clusters that were found without labels disagree with the labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from genprior import Column, ImageSet, PartConfig, Score, ScoreContext, ScoreError, needed_split
from genprior_std.answers import answers_in_batches
from genprior_std.scores.validation import HOLD_BACK

__all__ = ["ClusterError"]


class ClusterError(Score):
    """The share of test images, in percent, whose cluster is named after another class than their own.

    An image is in the cluster i of largest q(i | x). Clusters are named after classes by labelled images that are not
    the test images, in two ways:

        cluster_error:           by the one image that is most surely in it, the argmax over x of q(i | x)
        cluster_error_majority:  by the class that most of its images have; as above where it has none

    The first is the rule of the papers. It hangs on one image a cluster and so is noisy: compare means over several
    runs. Writes `clusters_used` besides, how many clusters any test image is in.

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, section 6; Makhzani and Frey, PixelGAN Autoencoders, 2017.
    """

    name = "cluster_error"
    higher_is_better = False

    class Config(PartConfig):
        """Whose labels name the clusters."""

        named_by: Literal["validation", "train"] = "validation"
        """The split whose labels name the clusters; the papers hold images back for that."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """How tables show it."""
        return (
            Column("cluster_error", "cluster error %", False),
            Column("cluster_error_majority", "cluster error % (majority)", False),
        )

    @property
    def needs(self) -> Mapping[str, str]:
        """The split that names the clusters."""
        return {self.config.named_by: f'{HOLD_BACK}, or set named_by = "train"'}

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
    """The class [K] of the image that is most surely in each cluster, of q [n, K] and labels [n]."""
    return labels[q.argmax(0)]


def named_by_the_majority(q: Tensor, labels: Tensor, classes: int) -> Tensor:
    """The class [K] that most images of each cluster have; of the surest image where a cluster has none."""
    counts = torch.zeros(q.shape[1], classes, dtype=torch.int64)
    counts.index_put_((q.argmax(1), labels), torch.ones_like(labels), accumulate=True)
    return torch.where(counts.sum(1) > 0, counts.argmax(1), named_by_the_surest(q, labels))


def _clusters(context: ScoreContext, images: ImageSet) -> Tensor:
    with context.trained() as model:
        q = answers_in_batches(images, model.clusters, device=context.device, seed=context.seed)
        if q is None:
            raise ScoreError(
                f"model '{model.name}' sorts images into no clusters, so there is no cluster error. Models that do say "
                "so by `clusters`: 'ncrp_vae', 'aae_clustering', 'pixelgan' with an encoder of posterior \"softmax\", "
                "and any model with conditioner 'infogan'"
            )
        return q
