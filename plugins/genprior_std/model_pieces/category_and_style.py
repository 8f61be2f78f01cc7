"""Base classes of autoencoders whose code is a category and a style."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from genprior import Asks, Batch, Condition, Model, PlanError
from genprior_std.checks.parts import check_enough_images
from genprior_std.model_pieces.start_from_codes import start_from_codes

__all__ = ["CategoryAndStyle", "CategoryBesideStyle"]


class CategoryAndStyle(Model):
    """An autoencoder whose encoder gives a category y, one of K, and a style z.

        y = softmax of the first K numbers of enc(x),  z = the d numbers after them,  x_rec = dec(representation(y, z))

    It has an encoder, a decoder and a prior of the style, whose condition `asked` is the one-hot of a category; its
    setting `code_size` is d.
    """

    # Also the encoder: it gives classes and clusters, and a reconstruction needs both networks' averaged weights.
    generating: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "prior")
    categories: int
    """K."""
    supervised: bool
    """Whether the categories are the classes of the data, learnt from labels."""
    start_steps: int = 0
    """Steps of each training before the first step, see `start_from_codes`; 0 for none."""
    encoder: Any
    decoder: Any
    prior: Any
    reconstruction: Any

    @abstractmethod
    def representation(self, y: Tensor, z: Tensor) -> Tensor:
        """The decoder's input for categories y [n, K] and styles z [n, d]."""

    def begin(self, draw: Callable[[int | None], Batch]) -> None:
        """Begin training, which needs at least one training image for each category; from codes with `start_steps`.

        Raises:
            PlanError: there are more categories than training images.
        """
        super().begin(draw)
        check_enough_images(self.name, self.categories, draw, None if self.supervised else "categories")
        if self.start_steps:
            start_from_codes(self, draw, self.start_steps)

    def codes(self, x: Tensor, *, draw: bool = False) -> tuple[Tensor, Tensor]:
        """The logits of q(y | x), [n, K] in at least single precision, and the style, [n, d]: drawn, or its mean."""
        q = self.encoder(x, x.new_zeros(len(x), 0))
        logits = q.mean[:, : self.categories]
        z = (q.rsample() if draw else q.mean)[:, self.categories :]
        return logits.to(torch.promote_types(logits.dtype, torch.float32)), z

    def reconstruction_error(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        """The mean over images x of the error of the images decoded from categories y [n, K] and styles z [n, d]."""
        no_condition = x.new_zeros(len(x), 0)
        x_rec = self.decoder(self.representation(y, z), no_condition)
        error: Tensor = self.reconstruction(x, x_rec, no_condition).mean()
        return error

    def draw_categories(self, like: Tensor) -> Tensor:
        """One-hots [n, K] of categories drawn uniformly, one for each row of `like`, in its dtype if it is floating."""
        return self._one_hot(torch.randint(self.categories, (len(like),), device=like.device), like)

    @property
    def asks(self) -> Asks:
        """The label where categories are classes; else nothing."""
        return Asks("label", self.categories) if self.supervised else Asks()

    def condition(self, like: Tensor, y: Tensor | None = None) -> Condition:
        """A category for each row of `like`: drawn uniformly, or class y [n] where categories are classes.

        `known` is empty; `asked` is the category's one-hot, [n, K].

        Raises:
            PlanError: a class is asked for and categories are not classes, or the data has no such class.
        """
        if y is None:
            asked = self.draw_categories(like)
        elif not self.supervised:
            raise PlanError(
                f"model '{self.name}' finds its {self.categories} categories without labels, so none of them is a "
                "class that could be asked for. Sample without a class, or train model 'aae_semi_supervised'"
            )
        elif len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.categories:
            raise PlanError(
                f"model '{self.name}' was asked for classes from {int(y.min())} to {int(y.max())}; the data has "
                f"{self.categories}. Ask for classes from 0 to {self.categories - 1}"
            )
        else:
            asked = self._one_hot(y.long(), like)
        return Condition(known=asked[:, :0], asked=asked)

    def generate(self, condition: Condition) -> Tensor:
        """The image of the category that is asked for, [n, K], and of a style from the prior."""
        z = self.prior.sample(condition.asked)
        images: Tensor = self.decoder(self.representation(condition.asked, z), condition.known)
        return images

    def reconstruct(self, batch: Batch) -> Tensor | None:
        """The image of the soft category and the mean style of each image of the batch."""
        logits, z = self.codes(batch.x)
        images: Tensor = self.decoder(self.representation(logits.softmax(1), z), batch.x.new_zeros(len(batch.x), 0))
        return images

    def clusters(self, batch: Batch) -> Tensor:
        """The soft category y = q(y | x), [n, K]."""
        return self.codes(batch.x)[0].softmax(1)

    def classify(self, batch: Batch) -> Tensor | None:
        """q(y | x) where categories are classes, [n, classes]; else None."""
        return self.clusters(batch) if self.supervised else None

    def cluster_heads(self) -> Tensor | None:
        """The image of each category with style z = 0: [K, c, h, w]."""
        like = next(self.decoder.parameters())
        y = torch.eye(self.categories, device=like.device, dtype=like.dtype)
        z = y.new_zeros(self.categories, self.config.code_size)
        images: Tensor = self.decoder(self.representation(y, z), y[:, :0])
        return images

    def _one_hot(self, y: Tensor, like: Tensor) -> Tensor:
        dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
        return functional.one_hot(y, self.categories).to(dtype)


class CategoryBesideStyle(CategoryAndStyle):
    """An autoencoder whose decoder sees the category and the style concatenated, and whose codes are styles."""

    def representation(self, y: Tensor, z: Tensor) -> Tensor:
        """The decoder's input for categories y [n, K] and styles z [n, d]: [y, z], [n, K + d]."""
        return torch.cat([y, z], dim=1)

    def encode(self, batch: Batch) -> Tensor | None:
        """The mean style z, [n, d]."""
        return self.codes(batch.x)[1]

    def decode(self, z: Tensor, condition: Condition) -> Tensor | None:
        """Images of styles z [n, d] in the categories that the condition asks for."""
        images: Tensor = self.decoder(self.representation(condition.asked, z), condition.known)
        return images
