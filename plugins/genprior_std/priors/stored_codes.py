"""The base of fitted priors that keep the codes of the training images, apart for each condition."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from genprior import Codes, FittedPrior, PartConfig, PlanError, Sizes

__all__ = ["StoredCodes"]


class StoredCodes(FittedPrior):
    """A prior in closed form that keeps all codes: `codes` [n, d], in the order of their conditions.

    A condition must be a one-hot, whose codes are those of the training images with the same row of `asked`: `counts`
    [c] says how many each condition has; without a condition c = 1.
    """

    closed_form = True
    sized_by_codes = ("codes",)
    least: ClassVar[int] = 1
    """How many codes each condition needs."""

    codes: Tensor
    counts: Tensor

    def __init__(self, config: PartConfig, sizes: Sizes) -> None:
        """Begin with a single code of zeros for each condition.

        Args:
            config: this part's settings.
            sizes: the sizes of codes and of the condition.

        Raises:
            PlanError: the condition is not a one-hot.
        """
        super().__init__(config, sizes)
        if sizes.asked and not sizes.one_hot:
            raise self._not_one_hot()
        conditions = max(sizes.asked, 1)
        self.register_buffer("codes", torch.zeros(conditions, sizes.code))
        self.register_buffer("counts", torch.ones(conditions, dtype=torch.int64))

    def begin_fit(self, codes: Codes) -> None:
        """Keep all codes z [n, d].

        Raises:
            PlanError: a condition has too few codes, or a row of `asked` is not a one-hot.
        """
        if not _is_one_hot(codes.asked):
            raise self._not_one_hot()
        condition = self.condition_of(codes.asked)
        counts = torch.bincount(condition, minlength=len(self.counts))
        if int(counts.min()) < self.least:
            rarest = int(counts.argmin())
            raise PlanError(
                f"prior '{self.name}' uses the training codes of the condition that it is asked for, and needs at "
                f"least {self.least} of each; condition {rarest} (of 0 to {len(counts) - 1}) has "
                f"{int(counts[rarest])}. Train with images of every condition, or use conditioner 'none'"
            )
        self.codes = codes.z[condition.argsort(stable=True)].to(self.codes.dtype)
        self.counts.copy_(counts)

    def condition_of(self, asked: Tensor) -> Tensor:
        """The condition of each row of `asked` [n, k], the place of its largest number: [n], 0 .. c - 1."""
        if not asked.shape[1]:
            return torch.zeros(len(asked), dtype=torch.int64, device=asked.device)
        return asked.argmax(1)

    def condition_of_codes(self) -> Tensor:
        """The condition of each stored code: [n], 0 .. c - 1."""
        places = torch.arange(len(self.counts), device=self.counts.device)
        return places.repeat_interleave(self.counts, output_size=len(self.codes))

    def draw_codes(self, condition: Tensor) -> Tensor:
        """A stored code [n, d] for each row of `condition` [n], uniformly among those of that condition."""
        first = self.counts.cumsum(0) - self.counts
        # A remainder of 53 random bits is never out of range, as a rounded share of the count may be.
        draws = torch.randint(2**53, condition.shape, device=condition.device)
        return self.codes[first[condition] + draws % self.counts[condition]]

    def _not_one_hot(self) -> PlanError:
        return PlanError(
            f"prior '{self.name}' draws from the training codes of one condition, so it needs a one-hot as the "
            f"condition, or none; the condition here has {self.sizes.asked} numbers and is not a one-hot. Use a fitted "
            "prior that takes any condition ('two_stage_vae', 'noise_contrastive'), or a condition that is a one-hot "
            "(conditioner 'label', or 'infogan' with one categorical code)"
        )


def _is_one_hot(asked: Tensor) -> bool:
    """Whether each row of `asked` [n, k] is a one-hot, or there is no condition."""
    rows = ((asked == 1).sum(1) == 1) & ((asked != 0).sum(1) == 1)
    return asked.shape[1] == 0 or bool(rows.all())
