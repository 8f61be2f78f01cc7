"""Training batches from a data set on the device, as a function of seed and step only."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, pad

from genprior.data.images import check_images, images_to_float
from genprior.data.labels import HIDDEN_LABEL, balanced
from genprior.data.room import check_room
from genprior.data.streamed import ReadAhead, StreamedImages
from genprior.data.text import EmbeddedCaptions
from genprior.errors import DataError, PlanError
from genprior.parts import Batch, ImageSet

__all__ = ["DeviceData", "generator_of", "slice_of"]


def generator_of(*key: int | str) -> torch.Generator:
    """A new generator on the host, seeded by `key`: the same numbers for every device."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def slice_of(batch: int, rank: int, world: int) -> slice:
    """The slice of a batch that a rank gets; the slices of all ranks differ by at most one image."""
    return slice(rank * batch // world, (rank + 1) * batch // world)


def _fits(size: int, device: torch.device) -> bool:
    """Whether `size` bytes leave at least half of the device's free memory to the networks."""
    return device.type != "cuda" or 2 * size <= torch.cuda.mem_get_info(device)[0]


class DeviceData:
    """A data set on the training device, whose batches are a function of (seed, step) only.

    Epoch e visits the images in a permutation drawn under (seed, e) on the host, so it is the same on every device and
    a resumed run needs no state; the last, partial batch of an epoch is dropped. Gathering, flips and scaling run on
    the device, batched, without synchronisation. A set that would take more than half of the free CUDA memory stays on
    the host; its batches are gathered into pinned memory and copied without blocking. Batches of streamed images are
    decoded in threads, ahead of the steps.
    """

    def __init__(
        self,
        image_set: ImageSet,
        device: torch.device | str,
        *,
        batch: int,
        seed: int,
        flip: bool = False,
        shift: int = 0,
        rotate: float = 0.0,
        zoom: float = 0.0,
        channels_last: bool = False,
        stochastic: bool = False,
        labels: int | None = None,
        labelled_batch: int | None = None,
        text: EmbeddedCaptions | None = None,
        rank: int = 0,
        world: int = 1,
        resident: bool | None = None,
    ) -> None:
        """Move the images to the device.

        Args:
            image_set: the split to train on.
            device: the device of the batches.
            batch: images per step, over all ranks.
            seed: the run's seed.
            flip: mirror each image left to right with probability 1/2, drawn under (seed, step).
            shift: move each image by up to this many pixels, across and down, drawn under (seed, step); black margins.
            rotate: rotate each image by an angle drawn from -rotate to rotate, in degrees, under (seed, step).
            zoom: scale each image by a factor drawn from 1 - zoom to 1 + zoom, under (seed, step).
            channels_last: give batches in the channels-last memory format.
            stochastic: interpret a pixel as its probability of white, and draw black or white under (seed, step).
            labels: how many images keep their label, equally many of each class, drawn under the seed; None for all.
            labelled_batch: labelled images per step, over all ranks; by default `batch`, or the number of images that
                keep their label if that is smaller.
            text: the embedded captions; a batch has one for each image, drawn under (seed, step).
            rank: which slice of each batch this process gets.
            world: how many ranks share a batch.
            resident: whether the set is kept on the device; None decides by its free memory.

        Raises:
            DataError: the set is not valid, the batch is larger than the set, there are more ranks than images in it,
                or the set cannot keep this number of labels.
        """
        check_images(image_set, "data set")
        if not 1 <= batch <= len(image_set.images):
            raise DataError(
                f"batch = {batch}, but the data set has {len(image_set.images)} images; "
                f"a batch of 1 to {len(image_set.images)} is possible"
            )
        if not 0 <= rank < world or batch < world:
            raise DataError(
                f"a batch of {batch} images cannot be shared by {world} ranks (this is rank {rank}); choose a batch of "
                "at least as many images as there are ranks"
            )
        if labels is not None and batch % world:
            raise DataError(
                f"a batch of {batch} images cannot be shared equally by {world} ranks, as run.labels needs: the images "
                "that keep their label are shared equally too; choose a batch that is a multiple of the number of ranks"
            )
        self.info = image_set.info._replace(binary=True) if stochastic else image_set.info
        self.device = torch.device(device)
        self.batch_size = batch
        self.seed = seed
        self.flip = flip
        self.shift = shift
        self.rotate, self.zoom = rotate, zoom
        self.channels_last = channels_last
        self.stochastic = stochastic
        self._pinned = self.device.type == "cuda"
        self._mine = slice_of(batch, rank, world)
        self.share = (self._mine.stop - self._mine.start) / batch
        """The share of the images of a batch that this process gets."""
        self._dim = 2 if channels_last else 3
        images = image_set.images
        self._stream = ReadAhead(images, pinned=self._pinned) if isinstance(images, StreamedImages) else None
        fits = resident if resident is not None else _fits(images.numel(), self.device)
        self.resident = fits and self._stream is None
        home = self.device if self.resident else torch.device("cpu")
        if self._stream is None:
            self._images = (images.permute(0, 2, 3, 1) if channels_last else images).to(home).contiguous()
        self._labels = image_set.labels.to(home)
        self._text = text.to(home) if text is not None else None
        self._orders: dict[str, dict[int, Tensor]] = {}
        self.labelled: Tensor | None = None
        """The indices [labels] of the images that keep their label, on the host; None where all do."""
        if labels is not None:
            self._hide_labels(image_set, labels, labelled_batch, rank, world)

    def __len__(self) -> int:
        """The number of images."""
        return len(self._labels)

    @property
    def batches_per_epoch(self) -> int:
        """The number of whole batches in an epoch."""
        return len(self) // self.batch_size

    def batch(self, step: int) -> Batch:
        """The batch of a step, or this rank's slice of it.

        Args:
            step: counted from 0 over the whole run.

        Returns:
            x float32 [n, c, h, w] in [-1, 1], y and index int64 [n] on the device, n being about batch / world.
        """
        batch = self._prepared(self._of_step, step, "", self.batch_size, self._mine)
        if self._text is not None:
            chosen = self._of_step(step)
            uniform = torch.rand(self.batch_size, generator=generator_of(self.seed, "caption", step))[self._mine]
            batch = batch._replace(text=self._captions(self._text, chosen, uniform))
        if self.labelled is None:
            return batch
        labelled = self._prepared(self._labelled_of_step, step, "labelled ", self._labelled_batch, self._my_labelled)
        return batch._replace(labelled=labelled)

    def _of_step(self, step: int) -> Tensor:
        """The images of this process in a step."""
        return self._indices("order", step, len(self), self.batch_size)[self._mine]

    def _labelled_of_step(self, step: int) -> Tensor:
        """The labelled images of this process in a step."""
        among = self._indices("labelled order", step, len(self._labelled_here), self._labelled_batch)
        return self._labelled_here.index_select(0, among[self._my_labelled])

    def _prepared(self, of_step: Callable[[int], Tensor], step: int, stream: str, of: int, mine: slice) -> Batch:
        """The images of a step, augmented and scaled: slice `mine` of a stream of `of` images per step."""
        chosen = of_step(step)
        if self._stream is None:
            images, labels = self._gather(chosen)
        else:
            images, labels = self._sent(self._stream.batch(stream, step, of_step), chosen)
        if self.flip:
            uniform = torch.rand(of, generator=generator_of(self.seed, f"{stream}flip", step))[mine]
            mirrored = self._send(uniform < 0.5)[:, None, None, None]
            images = torch.where(mirrored, images.flip(self._dim), images)
        if self.shift:
            offsets = torch.randint(
                2 * self.shift + 1, (2, of, 1), generator=generator_of(self.seed, f"{stream}shift", step)
            )
            images = self._shifted(images, *self._send(offsets[:, mine]))
        if self.rotate or self.zoom:
            uniform = torch.rand(2, of, generator=generator_of(self.seed, f"{stream}turn", step))[:, mine]
            images = self._rotated(images, *self._send(2 * uniform - 1))
        if self.stochastic:
            images = self._binarised(images, generator_of(self.seed, f"{stream}pixels", step), of, mine)
        return Batch(self._scaled(images), labels, index=self._index(chosen))

    def _hide_labels(self, image_set: ImageSet, labels: int, labelled_batch: int | None, rank: int, world: int) -> None:
        self.info = self.info._replace(labelled=labels)
        self.labelled = balanced(image_set, labels, generator_of(self.seed, "labels"))
        self._labelled_batch = labelled_batch or max(world, min(self.batch_size, labels) // world * world)
        if self._labelled_batch > labels or self._labelled_batch % world:
            raise DataError(
                f"labelled_batch = {self._labelled_batch}, but {labels} images keep their label; a multiple of the "
                f"number of ranks, {world}, up to {labels} is possible"
            )
        share = self._labelled_batch // world
        self._my_labelled = slice(rank * share, (rank + 1) * share)
        known = torch.full_like(image_set.labels, HIDDEN_LABEL)
        known[self.labelled] = image_set.labels[self.labelled]
        self._labels = known.to(self._labels.device)
        self._labelled_here = self.labelled.to(self._labels.device)

    def draw(self, n: int | None) -> Batch:
        """N different training images, chosen with torch's default generator on the host, scaled and binarised.

        With embedded captions, each has the vector of one of its captions.

        Args:
            n: how many; None for all, in a random order.

        Raises:
            PlanError: the set has fewer images.
            DataError: as numbers they take more than half of the memory of this machine.
        """
        n = len(self) if n is None else n
        if not 1 <= n <= len(self):
            raise PlanError(
                f"{n} different training images are needed, but the data set has {len(self)}; "
                f"1 to {len(self)} are possible"
            )
        check_room(4 * n * math.prod(self.info.image), f"{n} training images as single precision numbers")
        chosen = torch.randperm(len(self))[:n]
        return self._chosen(self._send(chosen) if self.resident else chosen)

    def _chosen(self, chosen: Tensor) -> Batch:
        """The images of these indices, drawn with torch's default generator where anything is drawn."""
        n = len(chosen)
        images, labels = self._gather(chosen)
        if self.stochastic:
            seed = int(torch.randint(2**62, ()))
            images = self._binarised(images, torch.Generator().manual_seed(seed), n)
        text = None if self._text is None else self._captions(self._text, chosen, torch.rand(n))
        return Batch(self._scaled(images), labels, text=text, index=self._index(chosen))

    def _index(self, chosen: Tensor) -> Tensor:
        """The places of the chosen images among the training images, on the device."""
        return chosen if self.resident else self._send(chosen)

    def in_order(self, n: int, *, in_turn: bool = False) -> Iterator[Batch]:
        """All images, n at a time, scaled, binarised and captioned with torch's default generator.

        Args:
            n: images of a batch; the last one may have fewer.
            in_turn: the first image of each label, then the second of each, and so on, so that the first batches have
                every label where the set is sorted by them; else the images in their order.
        """
        order = _in_turn(self._labels.cpu()) if in_turn else torch.arange(len(self))
        for chosen in torch.split(order, n):
            yield self._chosen(self._send(chosen) if self.resident else chosen)

    def _captions(self, text: EmbeddedCaptions, chosen: Tensor, uniform: Tensor) -> Tensor:
        """The vector of one caption of each chosen image, on the device."""
        return text.choose(chosen, self._send(uniform)) if self.resident else self._send(text.choose(chosen, uniform))

    def _shifted(self, images: Tensor, down: Tensor, across: Tensor) -> Tensor:
        """Each image shifted: its window in the image with a black margin of `shift` pixels, at offsets [n, 1]."""
        _, h, w = self.info.image
        margin = (self.shift,) * 4
        images = pad(images, (0, 0, *margin) if self.channels_last else margin)
        images = images if self.channels_last else images.permute(0, 2, 3, 1)
        index = torch.arange(len(images), device=images.device)[:, None, None]
        rows, columns = (torch.arange(size, device=images.device) for size in (h, w))
        windows = images[index, (down + rows)[:, :, None], (across + columns)[:, None]]
        return windows if self.channels_last else windows.permute(0, 3, 1, 2)

    def _rotated(self, images: Tensor, turn: Tensor, growth: Tensor) -> Tensor:
        """Each image rotated and scaled about its centre, by `turn` and `growth` [n], fractions of the maxima."""
        angle, scale = turn * math.radians(self.rotate), 1 / (1 + growth * self.zoom)
        cos, sin, zero = scale * angle.cos(), scale * angle.sin(), torch.zeros_like(angle)
        # Both sides have length 2 for `affine_grid`, which would shear an image that is not square.
        _, h, w = self.info.image
        theta = torch.stack([torch.stack([cos, -sin * h / w, zero], 1), torch.stack([sin * w / h, cos, zero], 1)], 1)
        x = (images.permute(0, 3, 1, 2) if self.channels_last else images).float()
        x = grid_sample(x, affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)
        x = x.round_().to(torch.uint8)
        return x.permute(0, 2, 3, 1) if self.channels_last else x

    def _binarised(self, images: Tensor, generator: torch.Generator, of: int, mine: slice = slice(None)) -> Tensor:
        """Each byte v drawn as 255 with probability v / 255, else as 0: the same draw for every device and layout.

        Args:
            images: bytes as they are stored.
            generator: draws for all ranks.
            of: the number of images over all ranks.
            mine: the slice of them that `images` are.
        """
        c, h, w = self.info.image
        thresholds = torch.randint(255, (of, c, h, w), dtype=torch.uint8, generator=generator)[mine]
        thresholds = thresholds.permute(0, 2, 3, 1).contiguous() if self.channels_last else thresholds
        return (self._send(thresholds) < images).to(torch.uint8).mul_(255)

    def _scaled(self, images: Tensor) -> Tensor:
        # Stored as [n, h, w, c], a batch viewed as [n, c, h, w] is in the channels-last format.
        return images_to_float(images.permute(0, 3, 1, 2) if self.channels_last else images)

    def _indices(self, stream: str, step: int, n: int, batch: int) -> Tensor:
        """The indices [batch] of the images of all ranks in `step`, on the device that holds the images."""
        epoch, place = divmod(step, n // batch)
        orders = self._orders.setdefault(stream, {})
        if epoch not in orders:
            order = torch.randperm(n, generator=generator_of(self.seed, stream, epoch))
            orders[epoch] = self._send(order) if self.resident else order
            if len(orders) > (1 if self._stream is None else 2):  # batches of the next epoch are read ahead
                del orders[next(iter(orders))]
        return orders[epoch][place * batch : (place + 1) * batch]

    def _gather(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The chosen images and labels, on the device."""
        if self.resident:
            return self._images.index_select(0, chosen), self._labels.index_select(0, chosen)
        if self._stream is not None:
            return self._sent(self._stream.read(chosen), chosen)
        # A new pinned buffer each time: the allocator reuses one only after the copy from it is done.
        images = torch.empty((len(chosen), *self._images.shape[1:]), dtype=torch.uint8, pin_memory=self._pinned)
        torch.index_select(self._images, 0, chosen, out=images)
        return images.to(self.device, non_blocking=True), self._send(self._labels.index_select(0, chosen))

    def _sent(self, rows: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Streamed images uint8 [n, h, w, c] in the layout that batches are prepared in, and labels, on the device."""
        images = rows.to(self.device, non_blocking=True)
        images = images if self.channels_last else images.permute(0, 3, 1, 2).contiguous()
        return images, self._send(self._labels.index_select(0, chosen))

    def _send(self, tensor: Tensor) -> Tensor:
        """Copy a tensor from the host to the device without blocking."""
        return (tensor.pin_memory() if self._pinned else tensor).to(self.device, non_blocking=True)


def _in_turn(labels: Tensor) -> Tensor:
    """The indices of the labels [n]: the first of each label, then the second of each, and so on."""
    order = labels.argsort(stable=True)
    counts = (labels - labels.min()).bincount()
    first = (counts.cumsum(0) - counts).repeat_interleave(counts)
    return order[(torch.arange(len(labels)) - first).argsort(stable=True)]
