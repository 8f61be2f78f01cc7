"""A sentence as the condition: the embedded caption of an image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from genprior import (
    Batch,
    Borrowed,
    Condition,
    DataInfo,
    EmbedderSpec,
    FeatureCritic,
    PartConfig,
    PlanError,
    Sizes,
    TextConditioner,
    Widths,
)
from genprior_std.embedders.lsa import LatentSemanticAnalysis

__all__ = ["Sentence"]


class Sentence(TextConditioner):
    """The embedded caption s as the condition: known = asked = s, [n, size of the embedder].

    The paper gives s to the code generator "and the discriminator in image space". `reads` is how D_I uses it:

        head:    Q, one linear layer on the trunk of D_I, reads s from new images:
                 consistency = E[-log Q(s | x)] = E 1/2 |s - mu_Q(x)|^2,    Q = N(mu_Q(x), I)
        critic:  D_I sees s, with `conditional = true` in its table:        consistency = 0

    The constant d/2 log(2 pi) of Q is left out. The square is a sum over the d numbers of s: a head that knows nothing
    pays 1/2 E |s|^2, which is d/2 if each number of s has variance 1 (100 nats for d = 200, where a D_I that cannot
    tell new from real images pays log 4 = 1.4), and 1/2 if s has length 1. Nothing is rescaled: set the model's
    `info_weight` to about 1/d for numbers of variance 1. The code critic sees s with `conditional = true`, as the
    paper's text demands.

    Sentences of `kept` training images, drawn independently, are kept with the model: conditions drawn for new images
    are among them, so a model is sampled without the training captions. Images of a label are refused.

    Raises:
        PlanError: Q has no trunk to be put on, or D_I is to see s and does not.

    Source: "Learning priors for adversarial autoencoders", section 4.3 (both readings), section 3 and table 4 (Q).
    """

    name = "sentence"
    borrows = ("image_critic",)
    kept: Tensor

    class Config(PartConfig):
        """Settings of a condition on sentences."""

        embedder: EmbedderSpec = LatentSemanticAnalysis.Config()
        """Makes vectors of sentences; fitted to the training captions."""
        reads: Literal["head", "critic"] = "head"
        """Whether Q reads the sentence from new images, or the image critic sees it."""
        kept: int = Field(default=500, gt=0)
        """How many sentences of training images are kept, from which conditions of new images are drawn."""

    @classmethod
    def widths(cls, config: Any, info: DataInfo) -> Widths:
        """The size of the embedder, twice.

        Raises:
            PlanError: the data has no captions.
        """
        if not info.captioned:
            raise PlanError(
                f"conditioner '{cls.name}' needs captions of all images; this data set has none. Use data set "
                "'flowers102' or 'captioned_digits', or give the images of 'folder' or 'arrays' captions in a "
                "captions.jsonl or metadata.csv; or use conditioner 'label' or 'infogan'"
            )
        return Widths(config.embedder.size, config.embedder.size)

    def __init__(self, config: PartConfig, sizes: Sizes, image_critic: Borrowed) -> None:
        """Make the embedder and, where it is to read, the head Q on the borrowed image critic."""
        super().__init__(config, sizes)
        self.embedder = self.config.embedder.make()
        self.image_critic = image_critic
        self.register_buffer("kept", torch.zeros(self.config.kept, sizes.asked))
        self.head: nn.Linear | None = None
        if self.config.reads == "head":
            if not image_critic.is_a(FeatureCritic):
                raise PlanError(
                    f"conditioner '{self.name}' puts its head on the trunk of the image critic; critic "
                    f"'{image_critic.name}' has none. Use an image critic with features, or reads = \"critic\""
                )
            self.head = nn.Linear(image_critic.trunk_width, sizes.asked)
        elif not image_critic.sees_known(image_critic.config):
            raise PlanError(
                f"conditioner '{self.name}' has reads = \"critic\", and image critic '{image_critic.name}' does not "
                'see the sentence. Set conditional = true in the table of image_critic, or reads = "head"'
            )

    def begin(self, draw: Callable[[int | None], Batch]) -> None:
        """Keep the sentences of `kept` training images, one draw for each, so that few images are enough.

        Raises:
            PlanError: the images have no captions.
        """
        with torch.no_grad():
            self.kept.copy_(torch.cat([self._text(draw(1)) for _ in range(len(self.kept))]))

    def forward(self, batch: Batch) -> Condition:
        """The embedded caption of each image, in the dtype of the images.

        Raises:
            PlanError: the images have no captions.
        """
        s = self._text(batch).to(batch.x.dtype)
        return Condition(known=s, asked=s)

    def draw(self, like: Tensor) -> Condition:
        """Sentences of training images, drawn uniformly from those that are kept, one for each row of `like`."""
        rows = torch.randint(len(self.kept), (len(like),), device=self.kept.device)
        s = self.kept[rows].to(like.device, like.dtype if like.is_floating_point() else torch.get_default_dtype())
        return Condition(known=s, asked=s)

    def of_text(self, text: Tensor) -> Condition:
        """The condition of new images that embedded sentences [n, size] describe: the vectors themselves."""
        return Condition(known=text, asked=text)

    def of_label(self, y: Tensor) -> Condition:
        """Refuse a label.

        Raises:
            PlanError: always.
        """
        raise PlanError(
            f"conditioner '{self.name}' takes a sentence, and no label; sample with --text \"...\", without a "
            "condition, or train with conditioner 'label'"
        )

    def consistency(self, x: Tensor, asked: Tensor) -> Tensor:
        """E 1/2 |s - mu_Q(x)|^2, a scalar in nats, for images x [n, c, h, w] and sentences asked [n, d]; 0 without Q.

        Q never sees the sentence, or it could ignore x: a conditional critic gets zeros as `known` here.
        """
        if self.head is None:
            return super().consistency(x, asked)
        mean: Tensor = self.head(self.image_critic.trunk(x, x.new_zeros(len(x), self.sizes.known)))
        loss: Tensor = 0.5 * (asked - mean).square().sum(1).mean()
        return loss

    @property
    def recognises(self) -> bool:
        """Whether there is a head: the sentence of a real image is what it should read."""
        return self.head is not None

    def recognition(self, x: Tensor, known: Tensor) -> Tensor:
        """E 1/2 |s - mu_Q(x)|^2 for real images x [n, c, h, w] and their own sentences s [n, d], in nats."""
        return self.consistency(x, known)

    def _text(self, batch: Batch) -> Tensor:
        if batch.text is None:
            raise PlanError(
                f"conditioner '{self.name}' needs the caption of every image, and these images have none. "
                "Use images with captions"
            )
        return batch.text
