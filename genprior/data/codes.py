"""Batches of codes for fitting a prior, as a function of seed and step only."""

from __future__ import annotations

import torch
from torch import Tensor

from genprior.data.batches import generator_of, slice_of
from genprior.errors import PlanError
from genprior.parts import Codes

__all__ = ["CodeBatches"]


class CodeBatches:
    """The codes of all training images on the device, whose batches are a function of (seed, step) only.

    Epoch e visits the codes in a permutation drawn under (seed, e) on the host; the last, partial batch is dropped.
    """

    labelled: Tensor | None = None
    """None: labels are not used in a fit."""

    def __init__(self, codes: Codes, *, batch: int, seed: int, rank: int = 0, world: int = 1) -> None:
        """Hold codes z [n, d] and asked [n, k].

        Args:
            codes: the codes of all training images.
            batch: codes per step, over all ranks.
            seed: the run's seed.
            rank: which slice of each batch this process gets.
            world: how many ranks share a batch.

        Raises:
            PlanError: the batch is larger than the number of codes, or there are more ranks than codes in it.
        """
        if not 1 <= batch <= len(codes.z):
            raise PlanError(
                f"run.fit.batch = {batch}, but the training images have {len(codes.z)} codes; "
                f"a batch of 1 to {len(codes.z)} is possible"
            )
        if batch < world:
            raise PlanError(
                f"run.fit.batch = {batch} cannot be shared by {world} ranks; choose a batch of at least {world} codes"
            )
        self.all = codes
        self._batch, self._seed = batch, seed
        self._mine = slice_of(batch, rank, world)
        self.share = (self._mine.stop - self._mine.start) / batch
        """The share of the codes of a batch that this process gets."""
        self._order: tuple[int, Tensor] = -1, torch.empty(0)

    @property
    def batches_per_epoch(self) -> int:
        """The number of whole batches in an epoch."""
        return len(self.all.z) // self._batch

    def batch(self, step: int) -> Codes:
        """The codes of a step, counted from 0, or this rank's slice of them."""
        epoch, place = divmod(step, self.batches_per_epoch)
        if self._order[0] != epoch:
            order = torch.randperm(len(self.all.z), generator=generator_of(self._seed, "codes", epoch))
            self._order = epoch, order.to(self.all.z.device)
        chosen = self._order[1][place * self._batch : (place + 1) * self._batch][self._mine]
        return Codes(self.all.z.index_select(0, chosen), self.all.asked.index_select(0, chosen))
