"""An error in the features of the image critic."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from genprior import Borrowed, FeatureCritic, PartConfig, PlanError, Reconstruction, Sizes, did_you_mean

__all__ = ["LearnedSimilarity"]


class LearnedSimilarity(Reconstruction):
    """Distance in the features of a layer of the image critic, F(x) in R^f: an error [n] >= 0.

        error_i = 1/f |F(x_i) - F(x_rec_i)|^2 / v,    v = 1/f sum_j var_i F_j(x_i)

    Reduction "sum" leaves out the mean over features: error_i = 1/2 |F(x_i) - F(x_rec_i)|^2 / v, which is -log
    N(F(x_i); F(x_rec_i), v I) up to a constant, in nats per image, as a likelihood bound needs it.

    Scale "none" has v = 1. With "variance", v is one number for a batch: the variance of each feature over the n target
    images (with 1/n), averaged over the features. The error of predicting the mean feature of the batch is then 1 on
    average, whatever the size of the features, so one weight serves critics with and without batch normalisation. If
    all targets of a batch have the same features, v is their mean square instead, and 1 if that is zero too.

    F is computed in one pass over [x_rec, x], so that batch normalisation takes the same statistics for both. The
    gradient goes through the critic to x_rec; x, F(x) and v are constants. The critic is borrowed: its parameters are
    trained only if a phase assigns this error to the critic, and none does. In training mode the pass updates the
    running statistics of the critic's normalisation, like every pass.

    Raises:
        PlanError: the image critic has no features, or no layer of that name.

    Source: "Learning priors for adversarial autoencoders", section 3 (L_rec); Larsen et al., "Autoencoding beyond
    pixels using a learned similarity metric", section 2.3 (its L_llike is reduction "sum" with scale "none").
    The mean over features, and v, are choices made here.
    """

    name = "learned_similarity"
    borrows = ("image_critic",)

    class Config(PartConfig):
        """Settings of the learned similarity."""

        layer: str = "conv3"
        """The layer of the image critic whose features are compared."""
        scale: Literal["variance", "none"] = "variance"
        """Whether the error is divided by the variance of the target's features."""
        reduction: Literal["mean", "sum"] = "mean"
        """The mean square over features, or half the sum of squares, which is a Gaussian's -log density."""

    def __init__(self, config: PartConfig, sizes: Sizes, image_critic: Borrowed) -> None:
        """Borrow the image critic and check that it has the layer."""
        super().__init__(config, sizes)
        if not image_critic.is_a(FeatureCritic):
            raise PlanError(
                f"reconstruction '{self.name}' compares features of the image critic; critic '{image_critic.name}' has "
                "none. Use an image critic with features, or reconstruction 'pixel'"
            )
        layers: tuple[str, ...] = image_critic.feature_layers
        if self.config.layer not in layers:
            raise PlanError(
                f"reconstruction '{self.name}' compares layer '{self.config.layer}', which critic "
                f"'{image_critic.name}' does not have{did_you_mean(self.config.layer, layers)}"
            )
        self.image_critic = image_critic

    @classmethod
    def sums(cls, config: Any) -> bool:
        """With reduction "sum", over the features."""
        return bool(config.reduction == "sum")

    def forward(self, x: Tensor, x_rec: Tensor, known: Tensor) -> Tensor:
        """The error [n] of reconstructions x_rec [n, c, h, w] of images x, given known [n, k]."""
        images = torch.cat([x_rec, x.detach()])
        features: Tensor = self.image_critic.features(images, torch.cat([known, known]), self.config.layer)
        f_rec, f = features.to(torch.promote_types(features.dtype, torch.float32)).chunk(2)
        f = f.detach()
        square = (f_rec - f).square()
        error = square.mean(1) if self.config.reduction == "mean" else 0.5 * square.sum(1)
        return error / self._scale(f) if self.config.scale == "variance" else error

    def _scale(self, f: Tensor) -> Tensor:
        variance, square = f.var(0, correction=0).mean(), f.square().mean()
        # A variance below the rounding error of its computation is unusable as a scale.
        scale = torch.where(variance > torch.finfo(f.dtype).eps * square, variance, square)
        return torch.where(scale > 0, scale, 1.0)
