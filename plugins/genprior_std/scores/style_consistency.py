"""How far the noise alone decides the style of an image, whatever its label."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from pydantic import Field
from torch import Tensor

from genprior import Column, ImageSet, Model, PartConfig, ScoreContext, ScoreError, generate_labels
from genprior_std.scores.asked import AskedScore
from genprior_std.strokes import height_to_width, ink_of, slant, thickness

__all__ = ["StyleConsistency", "consistencies", "style_of"]

CONSTANT = 1e-6
"""A property whose standard deviation is not above this is constant; one level of a pixel is 4e-3."""
BATCH = 500
"""Images that are measured at once."""


class StyleConsistency(AskedScore):
    """How much more alike two labels of one noise are than two noises of one label: 1 if noise decides the style.

        style_consistency = 1 - E_{i, j != k} |phi_ij - phi_ik|^2 / E_{j, i != l} |phi_ij - phi_lj|^2

    x_ij is the image of noise i = 1..N and label j = 1..K; each noise is used with every label. phi_ij is the style of
    x_ij: the mean of each channel, the contrast (standard deviation of grey), and of the ink the slant, the thickness
    of strokes and the ratio of height to width; see `genprior_std.strokes`. A class has a typical style, so each
    property is standardised within its label: less its mean over the N noises, divided by its standard deviation (with
    N - 1). A property that is constant for some label is left out. The first mean is taken over i as a sum divided by
    N - 1, because the labels' means are estimated.

    Then the denominator is 2 for each property, and the score is the mean, over properties and pairs of labels, of the
    Pearson correlation over the noises. So it is 1 if noise alone decides the style, and its expectation is exactly 0
    if the styles of labels are independent; if half of the variance is of the noise and half of noise and label
    together, it is about 1/2. It can be below 0. Also writes `style_consistency_<property>` for each property that is
    not left out. There is no value of real images, since a real image has no other label. A model that ignores its
    label has 1, so read the score beside `label_accuracy` or `category_purity`.

    The measure is of this toolkit; it puts a number to the figures of the supervised and unsupervised models in
    "Learning priors for adversarial autoencoders", section 4.2, where a row has one noise and a column one label.
    """

    name = "style_consistency"
    higher_is_better = True
    kinds = ("label", "category")

    class Config(PartConfig):
        """How many noises are drawn."""

        noises: int = Field(default=500, ge=3)
        """N; an image is made of each with every label."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables."""
        return (Column(self.name, "style consistency", True),)

    def check_row(self, model: Model, load: Callable[[str], ImageSet]) -> None:
        """Refuse a model without two labels or categories.

        Raises:
            ScoreError: says what the model can be asked for.
        """
        self.check_asks(model, at_least=2)

    def measure(self, context: ScoreContext) -> dict[str, float]:
        """The score, and its part of each property of the style.

        Raises:
            ScoreError: the model has not two labels, or for some label all images have one style.
        """
        styles: list[Tensor] = []
        names: tuple[str, ...] = ()
        with context.trained() as model:
            self.check_row(model, context.real)
            for label in range(model.asks.number):
                y = torch.full((self.config.noises,), label)
                # The same seed and stream for each label, so that they have the same noise.
                images = generate_labels(model, y, seed=context.seed, stream=self.name)
                pieces = []
                for batch in torch.split(images, BATCH):
                    piece, names = style_of(batch)
                    pieces.append(piece)
                styles.append(torch.cat(pieces))
        found = consistencies(torch.stack(styles, 1), names)
        if not found:
            raise ScoreError(
                "for some label every property of the style is the same in all images, so there is no variety that "
                "noise could decide; look at the images, the model may always make the same one"
            )
        parts = {f"{self.name}_{key}": value for key, value in found.items()}
        return {self.name: sum(found.values()) / len(found), **parts}


def style_of(images: Tensor) -> tuple[Tensor, tuple[str, ...]]:
    """The style phi, float64 [n, p], of images uint8 [n, c, h, w], and the names of its p properties."""
    x = images.double() / 255
    ink = ink_of(images)
    ink = ink / ink.amax((1, 2), keepdim=True).clamp_min(1 / 255)  # thickness is measured at half of the darkest ink
    properties = {
        **{f"channel_{i}": mean for i, mean in enumerate(x.mean((2, 3)).T)},
        "contrast": x.mean(1).std((1, 2), correction=0),
        "slant": slant(ink),
        "thickness": thickness(ink),
        "height_to_width": height_to_width(ink),
    }
    return torch.stack(list(properties.values()), 1), tuple(properties)


def consistencies(phi: Tensor, names: Sequence[str]) -> dict[str, float]:
    """The mean correlation over the noises, of all pairs of labels, by property; without those left out.

    Args:
        phi: the properties of each noise and label, float64 [N, K, p].
        names: of the p properties.
    """
    noises, labels, _ = phi.shape
    spread = phi.std(0)  # [K, p]
    varies = (spread > CONSTANT).all(0)
    z = (phi - phi.mean(0))[..., varies] / spread[:, varies]
    # sum_{j != k} z_j z_k = (sum_j z_j)^2 - sum_j z_j^2
    pairs = (z.sum(1).square() - z.square().sum(1)).sum(0) / ((noises - 1) * labels * (labels - 1))
    kept = [name for name, keeps in zip(names, varies.tolist(), strict=True) if keeps]
    return dict(zip(kept, pairs.tolist(), strict=True))
