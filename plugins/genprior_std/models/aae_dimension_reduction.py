"""The adversarial autoencoder that lays images out in few dimensions, one blob a cluster.

Makhzani et al. 2015 ("Adversarial autoencoders", section 7): each cluster has a head, a point of the space of codes,
and the style is where an image lies about the head of its cluster.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from genprior import Batch, Condition, DataInfo, ModulePart, Objectives, PartConfig, PlanError, Sizes
from genprior_std.models.categorical_aae import check_classes
from genprior_std.models.labelled_aae import LabelledAutoencoder

__all__ = ["ClusterHeads", "DimensionReductionAutoencoder"]

CLUSTERS = 20
"""How many clusters the paper lays out where there are no labels."""
DRAWN = 1_000
"""Points that are drawn to find the box of a walk."""


class ClusterHeads(ModulePart):
    """The heads of K clusters, the rows w_i of W_C, [K, n]; they start as N(0, spread^2 I).

    Source: Makhzani et al., "Adversarial autoencoders", 2015, section 7.
    """

    name = "cluster_heads"

    class Config(PartConfig):
        """How many heads there are, and where they start."""

        categories: int = Field(ge=2)
        """K."""
        spread: float = Field(gt=0, allow_inf_nan=False)
        """Standard deviation of each number of a head at the start."""

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Draw the heads; `sizes.code` is n."""
        super().__init__(config, sizes)
        self.weight = nn.Parameter(self.config.spread * torch.randn(self.config.categories, sizes.code))

    def forward(self, y: Tensor) -> Tensor:
        """W_C^T y of categories y [n, K], one-hot or soft: [n, n_dim]."""
        return y @ self.weight

    def repulsion(self, eta: float) -> Tensor:
        """The cost sum_(i<j) max(0, eta - |w_i - w_j|), a scalar: 0 once all heads are eta apart."""
        cost: Tensor = (eta - functional.pdist(self.weight)).relu().sum()
        return cost

    def to_plane(self) -> Tensor:
        """The map P [n, 2] with the least sum_i |w_i P - c_i|^2, c_i at angle 2 pi i / K of the unit circle.

        Of several the one of least norm. It puts every head on its point where the heads are linearly independent,
        which K <= n of them are but for chance.
        """
        heads = self.weight
        angle = torch.arange(len(heads), device=heads.device, dtype=heads.dtype) * (2 * math.pi / len(heads))
        circle = torch.stack([angle.cos(), angle.sin()], dim=1)
        plane: Tensor = torch.linalg.pinv(heads) @ circle
        return plane


class DimensionReductionAutoencoder(LabelledAutoencoder):
    """AAE for pictures of a data set: the decoder sees a category and a style as one point of n dimensions.

        r = W_C^T y + z,    x_rec = dec(r),    cost of heads = sum_(i<j) max(0, eta - |w_i - w_j|)

    with z [n_images, n] and the heads of the clusters the rows w_i of W_C [K, n]. The heads learn with the
    reconstruction and by their cost, which keeps them eta apart; labels do not move them. With `labels = true` the
    categories are the classes, learnt as in model `aae_semi_supervised`. All else is as `CategoricalAutoencoder` says,
    including where it departs from the paper's phases.

    Of more than two dimensions, `on_circle = true` makes a picture: the linear map by which heads come to lie evenly on
    a circle (the paper's ten dimensions for ten classes).

    References:
        Makhzani et al., Adversarial Autoencoders, 2015, section 7.
    """

    name = "aae_dimension_reduction"
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior", "heads")

    class Config(LabelledAutoencoder.Config):
        """The parts of an adversarial autoencoder that reduces dimensions."""

        code_size: int = Field(2, gt=0)
        """n, the width of the representation, of the style and of a head."""
        categories: int | None = Field(default=None, ge=2)
        """K, how many clusters there are; 20 if not given, and with labels as many as classes."""
        labels: bool = False
        """Whether the categories are the classes, learnt from the labels that training may see."""
        eta: float = Field(2.0, gt=0, allow_inf_nan=False)
        """How far apart two heads must be to cost nothing."""
        repulsion_weight: float = Field(1.0, ge=0, allow_inf_nan=False)
        """Weight of the cost of heads."""
        on_circle: bool = False
        """Whether codes are shown in the plane in which the heads lie evenly on a circle, for n > 2."""

        @model_validator(mode="after")
        def _check_circle(self) -> Self:
            """Refuse to map to a plane what lies in one."""
            if self.on_circle and self.code_size <= 2:
                raise ValueError(
                    f"on_circle = true maps codes of more than two numbers to a plane, and code_size = "
                    f"{self.code_size}. Set code_size to 3 or more, or leave on_circle out"
                )
            return self

        @model_validator(mode="after")
        def _check_labels(self) -> Self:
            """Refuse a baseline of labels that are not learnt."""
            if self.labels_alone and not self.labels:
                raise ValueError(
                    "labels_alone = true learns from nothing but labels, and labels = false. Set labels = true, or "
                    "leave labels_alone out"
                )
            return self

    def count_categories(self, config: Any, info: DataInfo) -> int:
        """K: as the settings say, or the number of classes with labels.

        Raises:
            PlanError: labels are asked for of data with fewer than two classes, or of another number than `categories`.
        """
        if not config.labels:
            return int(config.categories or CLUSTERS)
        classes = check_classes(self.name, info)
        if config.categories not in (None, classes):
            raise PlanError(
                f"model '{self.name}' has a category for each class with labels = true: the data has {classes} "
                f"classes, and categories = {config.categories}. Leave categories out, or labels"
            )
        return classes

    @property
    def supervised(self) -> bool:
        """Whether labels are learnt."""
        return bool(self.config.labels)

    def representation_size(self, config: Any) -> int:
        """The decoder sees r alone, n numbers."""
        return int(config.code_size)

    def make_autoencoder(self, config: Any, info: DataInfo, build: Any) -> None:
        """Make the encoder, the decoder, the prior and the heads."""
        super().make_autoencoder(config, info, build)
        heads = ClusterHeads.Config(categories=self.categories, spread=config.eta)
        self.heads = build("heads", heads, Sizes(info.image, config.code_size, 0, 0))

    def representation(self, y: Tensor, z: Tensor) -> Tensor:
        """The point r = W_C^T y + z, [n_images, n], of categories y [n_images, K] and styles z [n_images, n]."""
        r: Tensor = self.heads(y) + z
        return r

    def regularise(self, batch: Batch) -> Objectives:
        """The AAE phase, in which the heads learn too: with the reconstruction, and away from one another."""
        shared = super().regularise(batch)
        repulsion = self.heads.repulsion(self.config.eta)
        # This cost depends on the heads alone, and the games do not: one backward pass serves all three modules.
        loss = shared["encoder"] + self.config.repulsion_weight * repulsion
        losses = {**shared, **dict.fromkeys(("encoder", "decoder", "heads"), loss)}
        return Objectives(losses, note={**shared.note, "repulsion": repulsion})

    def to_plane(self) -> Tensor:
        """The linear map P [n, 2] that puts the heads evenly on a circle, as nearly as can be."""
        plane: Tensor = self.heads.to_plane()
        return plane

    def encode(self, batch: Batch) -> Tensor | None:
        """The point r at the mean style, [n_images, n]; with `on_circle`, r P, [n_images, 2].

        None where labels alone are learnt from, which train neither heads nor styles.
        """
        if self.config.labels_alone:
            return None
        logits, z = self.codes(batch.x)
        return self._shown(self.representation(logits.softmax(1), z))

    def draw_codes(self, condition: Condition) -> Tensor:
        """Points r of the categories that are asked for and of styles from the prior, [n, n_dim]; r P on a circle."""
        return self._shown(self.representation(condition.asked, self.prior.sample(condition.asked)))

    def walk(self, columns: int, like: Tensor) -> Tensor | None:
        """A grid over the heads and what lies about them, [columns, columns, 2]; None but for n = 2.

        Of 1,000 points r that are drawn, 1 in 100 lies beyond each side of its box. The first number rises along a row,
        and the second falls from row to row, as in a drawing of the plane.
        """
        if self.config.code_size != 2:
            return None
        r = self.draw_codes(self.condition(like.new_empty(DRAWN)))
        # Quantiles of half precision cannot be had.
        r = r.to(torch.promote_types(r.dtype, torch.float32))
        low, high = r.quantile(r.new_tensor([0.01, 0.99]), dim=0)
        share = torch.linspace(0, 1, columns, device=r.device, dtype=r.dtype)
        across, up = torch.lerp(low[:, None], high[:, None], share)
        return torch.stack(torch.meshgrid(across, up.flip(0), indexing="xy"), -1).to(like.dtype)

    def _shown(self, r: Tensor) -> Tensor:
        """Where points r [n_images, n] are shown: where they are, or with `on_circle` in the plane."""
        return r @ self.to_plane() if self.config.on_circle else r

    def decode(self, z: Tensor, condition: Condition) -> Tensor | None:
        """Images of points r [n_images, n], whatever is asked; None with `on_circle`, where r is more than its place.

        Points of the plane have no one point of the n dimensions that they stand for. None too where the decoder is not
        trained, for labels alone are learnt from.
        """
        if self.config.on_circle or self.config.labels_alone:
            return None
        images: Tensor = self.decoder(z, condition.known)
        return images
