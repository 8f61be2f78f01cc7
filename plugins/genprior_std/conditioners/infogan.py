"""The InfoGAN conditioner: random codes that images must show, by a bound on mutual information."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from genprior import (
    Asks,
    Batch,
    Borrowed,
    Condition,
    Conditioner,
    DataInfo,
    FeatureCritic,
    PartConfig,
    PlanError,
    Sizes,
    Widths,
)
from genprior_std.conditioners.known_labels import check_labels_known
from genprior_std.layers.initialisation import initialise_normal

__all__ = ["InfoGAN"]


class InfoGAN(Conditioner):
    """Random codes s are asked of new images, and a head Q on the image critic's trunk reads them back.

        I(s; x) >= H(s) + E log Q(s | x),    asked = s = [one-hot of each categorical code, continuous codes in (-1, 1)]

    `consistency` is -E log Q(s | x), the part of the bound that training can change. Q gives logits for each
    categorical code and a mean for each continuous one, whose variance is fixed to 1. `known` has width 0, unless
    `supervised`: then the first categorical code is the image's label, and known is its one-hot.

    This part owns only the head of Q; the trunk belongs to the image critic.

    Raises:
        PlanError: the image critic has no trunk to share.

    Source: Chen et al., "InfoGAN", equations 4 to 6 and appendix C; "Learning priors for adversarial autoencoders",
    section 3, algorithm 1 and table 4 (Q: one layer of softmax outputs on the trunk).
    """

    name = "infogan"
    borrows = ("image_critic",)

    class Config(PartConfig):
        """Settings of the codes and of their head."""

        categorical: tuple[Annotated[int, Field(ge=2)], ...] = (10,)
        """The number of categories of each categorical code."""
        continuous: int = Field(default=0, ge=0)
        """How many continuous codes, each drawn from U(-1, 1)."""
        supervised: bool = False
        """Whether the first categorical code is the label."""
        head: int = Field(default=0, ge=0)
        """Hidden units of Q, batch-normalised, leaky ReLU; 0 puts one linear layer on the trunk."""
        slope: float = Field(default=0.1, ge=0, allow_inf_nan=False)
        """Slope of Q's leaky ReLU below zero; the published code has 0.01."""
        init: Literal["default", "normal"] = "default"
        """Initial weights of Q: torch's default, or N(0, 0.02^2) as DCGAN's and those of the published code."""

        @model_validator(mode="after")
        def _has_codes(self) -> Self:
            if not self.categorical and not self.continuous:
                raise ValueError("there are no codes; give categorical, for example [10], or continuous, or both")
            if self.supervised and not self.categorical:
                raise ValueError("supervised needs a categorical code for the label; give one, for example [10]")
            return self

    @classmethod
    def widths(cls, config: Any, info: DataInfo) -> Widths:
        """The width of all codes; known is as wide as the label where supervised, else 0.

        Raises:
            PlanError: supervised, but the data has not as many classes as the first code has categories.
        """
        asked = sum(config.categorical) + config.continuous
        one_hot = len(config.categorical) == 1 and not config.continuous
        if not config.supervised:
            return Widths(known=0, asked=asked, one_hot=one_hot)
        if len(info.classes) != config.categorical[0]:
            raise PlanError(
                f"conditioner '{cls.name}' is supervised with a first code of {config.categorical[0]} categories; the "
                f"data has {len(info.classes)} classes. "
                + (f"Set categorical[0] = {len(info.classes)}" if len(info.classes) > 1 else "Use labelled images")
                + ", or supervised = false"
            )
        check_labels_known(f"conditioner '{cls.name}' with supervised = true", info)
        return Widths(known=config.categorical[0], asked=asked, one_hot=one_hot)

    def __init__(self, config: PartConfig, sizes: Sizes, image_critic: Borrowed) -> None:
        """Borrow the image critic and make the head Q."""
        super().__init__(config, sizes)
        if not image_critic.is_a(FeatureCritic):
            raise PlanError(
                f"conditioner '{self.name}' puts its head on the trunk of the image critic; critic "
                f"'{image_critic.name}' has none. Use an image critic with features, or another conditioner"
            )
        self.image_critic = image_critic
        self._splits: list[int] = [*self.config.categorical, self.config.continuous]
        trunk, hidden, codes = image_critic.trunk_width, self.config.head, sum(self._splits)
        self.head: nn.Module = nn.Linear(trunk, codes)
        if hidden:
            self.head = nn.Sequential(
                nn.Linear(trunk, hidden),
                nn.BatchNorm1d(hidden),
                nn.LeakyReLU(self.config.slope),
                nn.Linear(hidden, codes),
            )
        if self.config.init == "normal":
            initialise_normal(self.head)

    @property
    def asks(self) -> Asks:
        """The first categorical code: the label where supervised, else a category; nothing without such a code."""
        if not self.config.categorical:
            return Asks()
        return Asks("label" if self.config.supervised else "category", self.config.categorical[0])

    def forward(self, batch: Batch) -> Condition:
        """Codes drawn for a training batch; where supervised, the first is the batch's label."""
        return self._codes(batch.x, batch.y if self.config.supervised else None)

    def draw(self, like: Tensor) -> Condition:
        """Codes drawn for new images, one row for each of `like`."""
        return self._codes(like)

    def of_label(self, y: Tensor) -> Condition:
        """Codes with y [n] as the first categorical code and the others random, in torch's default dtype.

        Raises:
            PlanError: there is no categorical code, or it has no such category.
        """
        if not self.config.categorical:
            raise PlanError(
                f"conditioner '{self.name}' has only continuous codes, so no label can be asked for; "
                "sample without one, or train with categorical codes"
            )
        categories: int = self.config.categorical[0]
        if len(y) and not 0 <= int(y.min()) <= int(y.max()) < categories:
            raise PlanError(
                f"conditioner '{self.name}' was asked for labels from {int(y.min())} to {int(y.max())}; its first code "
                f"has {categories} categories. Ask for labels from 0 to {categories - 1}"
            )
        return self._codes(y, y.long())

    def _codes(self, like: Tensor, first: Tensor | None = None) -> Condition:
        """One row of codes for each of `like`; the first categorical code is `first` [n], or drawn."""
        n, device = len(like), like.device
        dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
        parts = []
        for i, categories in enumerate(self.config.categorical):
            y = first if i == 0 and first is not None else torch.randint(categories, (n,), device=device)
            parts.append(functional.one_hot(y, categories).to(dtype))
        known = parts[0] if self.config.supervised else like.new_empty((n, 0), dtype=dtype)
        parts.append(2 * torch.rand(n, self.config.continuous, device=device, dtype=dtype) - 1)
        return Condition(known=known, asked=torch.cat(parts, 1))

    def consistency(self, x: Tensor, asked: Tensor) -> Tensor:
        """-E log Q(asked | x), a scalar in nats, for images x [n, c, h, w] and codes asked [n, k].

        The sum over categorical codes of the softmax cross-entropy, plus 1/2 |c - mu|^2 over the continuous codes c,
        averaged over the batch. The constant 1/2 log(2 pi) of each continuous code is left out. Q never sees the label,
        or it could ignore x: a conditional critic gets zeros as `known` here.
        """
        known = x.new_zeros(len(x), self.sizes.known)
        read, codes = self._read(x, known), torch.split(asked, self._splits, 1)
        loss: Tensor = 0.5 * (codes[-1] - read[-1]).square().sum(1).mean()
        for logits, code in zip(read[:-1], codes[:-1], strict=True):
            loss = loss + functional.cross_entropy(logits, code)
        return loss

    @property
    def recognises(self) -> bool:
        """Whether the first code is the label, which is known of real images."""
        supervised: bool = self.config.supervised
        return supervised

    def recognition(self, x: Tensor, known: Tensor) -> Tensor:
        """The cross-entropy of Q's first categorical code, in nats, for real images x with one-hot labels [n, K]."""
        return functional.cross_entropy(self._read(x, x.new_zeros(len(x), self.sizes.known))[0], known)

    def codes(self, x: Tensor) -> Tensor:
        """Q's most probable category [n] of the first categorical code, for images x [n, c, h, w] without labels.

        Raises:
            PlanError: there is no categorical code.
        """
        if not self.config.categorical:
            raise PlanError(f"conditioner '{self.name}' has no categorical code to read; give it categorical codes")
        return self._read(x, x.new_zeros(len(x), self.sizes.known))[0].argmax(1)

    def clusters(self, x: Tensor) -> Tensor | None:
        """Q of the first categorical code, [n, K]; None where there is none."""
        if not self.config.categorical:
            return None
        return self._read(x, x.new_zeros(len(x), self.sizes.known))[0].softmax(1)

    def _read(self, x: Tensor, known: Tensor) -> tuple[Tensor, ...]:
        """Q's logits for each categorical code, then its means of the continuous ones."""
        read: Tensor = self.head(self.image_critic.trunk(x, known))
        return torch.split(read, self._splits, 1)
